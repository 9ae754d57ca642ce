"""Which addresses a callback may connect to. Pure.

Written as what is public, less what is not: an address of a form that nobody thought of is refused. Forms that carry
an IPv4 address inside of an IPv6 one are judged by the address that they lead to, or refused.

Source: IANA IPv4 and IPv6 special-purpose address registries, and the metadata addresses of cloud providers'
documentation, as of 2025.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


_NOT_PUBLIC_4 = _networks(
    "0.0.0.0/8",  # "this host": reaches loopback on some systems
    "10.0.0.0/8",
    "100.64.0.0/10",  # carrier-grade NAT; metadata at one provider
    "127.0.0.0/8",
    "169.254.0.0/16",  # link-local; metadata at most providers
    "172.16.0.0/12",
    "192.0.0.0/24",  # protocol assignments; metadata at one provider
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # 6to4 relays
    "192.168.0.0/16",
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
)
_PUBLIC_6 = ip_network("2000::/3")
_NOT_PUBLIC_6 = _networks(
    "2001::/23",  # protocol assignments, Teredo among them
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4
    "3fff::/20",  # documentation
)
_CARRIES_IPV4 = _networks("::ffff:0:0/96", "64:ff9b::/96")
"""IPv4-mapped addresses, and NAT64 by the well-known prefix, behind which IPv6-only clusters see the public world."""

METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",  # credentials of AWS ECS tasks
        "169.254.170.23",  # credentials of AWS EKS pods
        "fd00:ec2::23",
        "fd00:ec2::254",
        "fe80::a9fe:a9fe",
        "100.100.100.200",  # Alibaba Cloud
        "192.0.0.192",  # Oracle Cloud
        "168.63.129.16",  # Azure: a public address that leads to the host
    )
)
"""Where a cloud hands out credentials. Allowed only by a network that is exactly the one address."""


class AddressRules:
    """Says whether a callback may connect to an address.

    Args:
        allowed: networks that are allowed although they are not public.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = [ip_network(network) for network in allowed]

    def permits(self, address: str) -> bool:
        """Judge one address as the resolver gave it.

        Example:
            >>> rules = AddressRules(["10.1.0.0/16"])
            >>> [rules.permits(a) for a in ("1.1.1.1", "10.1.2.3", "10.2.2.3", "::ffff:127.0.0.1")]
            [True, True, False, False]
        """
        try:
            judged = _unwrap(ip_address(address))
        except ValueError:
            return False
        exactly = any(network.num_addresses == 1 and judged in network for network in self._allowed)
        if judged in METADATA:
            return exactly
        return exactly or any(judged in network for network in self._allowed) or _is_public(judged)


def _unwrap(address: Address) -> Address:
    """The IPv4 address to which an IPv6 one leads, where it says so itself."""
    if isinstance(address, IPv6Address) and any(address in network for network in _CARRIES_IPV4):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)
