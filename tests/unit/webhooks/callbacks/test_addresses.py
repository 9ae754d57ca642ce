"""Every form of an address that is not public is refused, unless the operator allowed it."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.webhooks.callbacks.addresses import METADATA, AddressRules

PUBLIC = AddressRules()


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "172.15.255.255", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1"]
)
def test_a_public_address_is_permitted(address: str) -> None:
    assert PUBLIC.permits(address)


def test_behind_nat64_the_public_world_is_permitted_and_the_private_one_is_not() -> None:
    assert PUBLIC.permits("64:ff9b::1.1.1.1")
    assert not PUBLIC.permits("64:ff9b::127.0.0.1")
    assert not PUBLIC.permits("64:ff9b::169.254.169.254")
    assert not PUBLIC.permits("64:ff9b:1::1.1.1.1"), "a prefix of one's own leads wherever its owner says"


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:a9fe:a9fe",
        "::ffff:0:127.0.0.1",
        "2002:7f00:1::",
        "2002:101:101::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "100::1",
        "4000::1",
        "5f00::1",
    ],
)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not PUBLIC.permits(address)


@pytest.mark.parametrize(
    "text", ["", "localhost", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "1.1.1.1:80", " 1.1.1.1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert not AddressRules(["0.0.0.0/0", "::/0"]).permits(text)


def test_an_allowed_network_is_permitted_and_its_neighbour_is_not() -> None:
    rules = AddressRules(["10.1.0.0/16", "fd12::/16"])

    assert rules.permits("10.1.255.255")
    assert rules.permits("::ffff:10.1.0.1")
    assert rules.permits("fd12::1")
    assert not rules.permits("10.2.0.0")
    assert not rules.permits("127.0.0.1")


def test_credentials_of_a_cloud_are_permitted_only_by_name() -> None:
    wide = AddressRules(["0.0.0.0/0", "::/0"])
    exact = AddressRules(["169.254.169.254/32"])

    assert not any(wide.permits(str(address)) for address in METADATA)
    assert exact.permits("169.254.169.254")
    assert not exact.permits("169.254.169.253")


@given(st.integers(0, 2**32 - 1))
def test_whatever_the_library_calls_not_global_is_refused(number: int) -> None:
    address = IPv4Address(number)
    if PUBLIC.permits(str(address)):
        assert address.is_global
        assert not address.is_multicast
        assert PUBLIC.permits(f"::ffff:{address}")


@given(st.integers(0, 2**128 - 1) | st.integers(0, 2**125 - 1).map((2**125).__add__))
def test_of_ipv6_too(number: int) -> None:
    address = IPv6Address(number)
    if PUBLIC.permits(str(address)) and address.ipv4_mapped is None and not str(address).startswith("64:ff9b:"):
        assert address.is_global
        assert not address.is_multicast
