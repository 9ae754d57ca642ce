"""Clients and receivers: what must be unlike, and what a receiver needs its client for."""

from collections.abc import Callable

import pytest

from relay.settings import Settings

Load = Callable[..., Settings]
Mistakes = Callable[..., dict[str, str]]

DIGEST = "0123456789abcdef" * 4


def client(name: str = "a", fields: str = "") -> str:
    return f'[[clients]]\nname = "{name}"\nsenders = ["ACME"]\n{fields}\n'


def receiver(fields: str, name: str = "oncall") -> str:
    return f'[[receivers]]\nname = "{name}"\nclient = "a"\n{fields}\n'


REACHED = 'sender = "ACME"\nrecipients = ["08031234567"]'


def key(key_id: str, digest: str = DIGEST, more: str = "") -> str:
    return f'keys = [{{ id = "{key_id}", sha256 = "{digest}"{more} }}]'


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        (client("a") + client("a"), "clients[1].name"),
        (client("a", key("k1")) + client("b", key("k1", "f" * 64)), "clients[1].keys[0].id"),
        (client("a", key("k1")) + client("b", key("k2")), "clients[1].keys[0].sha256"),
        (client("a", key("k_1")), "clients[0].keys[0].id"),
        (client("a", key("k1", DIGEST.upper())), "clients[0].keys[0].sha256"),
        (client("a", key("k1", DIGEST[:-1])), "clients[0].keys[0].sha256"),
        (client("a", key("k1", more=', expires = "soon"')), "clients[0].keys[0].expires"),
        (client("a", key("k1", more=", expires = 2027-01-01T08:00:00")), "clients[0].keys[0].expires"),
        (client("a", 'service_account = "billing"'), "clients[0].service_account"),
        (
            client("a", 'service_account = "ns/x"') + client("b", 'service_account = "ns/x"'),
            "clients[1].service_account",
        ),
        (client("a", 'default_sender = "MTN"'), "clients[0].default_sender"),
        (client("a", 'default_sender = " ACME"'), "clients[0].default_sender"),
        (client("a", 'message_types = ["sms"]'), "clients[0].message_types[0]"),
        (client("a", 'routes = ["corporate"]'), "clients[0].routes[0]"),
        (client("a", 'permissions = ["admin"]'), "clients[0].permissions[0]"),
        (client("a", "requests_per_second = 0"), "clients[0].requests_per_second"),
        (client("a", "recipients_per_day = 1.5"), "clients[0].recipients_per_day"),
        (client("a", 'callback_hosts = ["orders.internal"]'), "clients[0].callback_secrets"),
        (client("a", 'callback_hosts = ["https://orders.internal/x"]'), "clients[0].callback_hosts[0]"),
        (client("a", 'password = "x"'), "clients[0].password"),
        ("clients = [1]", "clients[0]"),
        ("clients = {}", "clients"),
        (client() + receiver(REACHED) + receiver(REACHED), "receivers[1].name"),
        (client() + receiver(REACHED).replace('"a"', '"b"'), "receivers[0].client"),
        (client() + receiver('sender = "OTHER"\nrecipients = ["08031234567"]'), "receivers[0].sender"),
        (client() + receiver('recipients = ["08031234567"]'), "receivers[0].sender"),
        (client() + receiver('sender = "ACME"'), "receivers[0].recipients"),
        (client() + receiver('sender = "ACME"\nrecipients = ["abc", ""]'), "receivers[0].recipients[1]"),
        (client() + receiver('sender = "ACME"\nrecipients = ["abc"]'), "receivers[0].recipients"),
        (client() + receiver(REACHED + '\nrecipients_label = "team"'), "receivers[0].recipients_allowed"),
        (client() + receiver(REACHED + '\nmessage_type = "promotional"'), "receivers[0].message_type"),
        (client() + receiver(REACHED + "\nmax_segments = 11"), "receivers[0].max_segments"),
        (client() + receiver(REACHED + '\nfields = { message = "a ||" }'), "receivers[0].fields.message"),
        (client("a", 'permissions = ["read"]') + receiver(REACHED), "receivers[0].client"),
    ],
)
def test_what_could_not_work_is_told_with_its_place(mistakes: Mistakes, toml: str, place: str) -> None:
    assert set(mistakes(toml)) == {place}


@pytest.mark.parametrize(
    "toml",
    [
        client("a", key("k1") + '\ncallback_hosts = []\ndefault_sender = "ACME"'),
        client("a", 'default_sender = "Orders"'),
        client("a").replace("ACME", "MTN") + receiver(REACHED).replace("ACME", "MTN"),
        client("a", 'default_sender = "Orders"') + receiver('recipients = ["+2348031234567", "not a number"]'),
        client() + receiver('sender = "ACME"\nrecipients_label = "phone"\nrecipients_allowed = ["08031234567"]'),
        client() + receiver(REACHED + '\nfields = { message = "alert.title", reference = "id" }\nresolved = false'),
        client("a", 'service_account = "shop/billing"'),
    ],
)
def test_what_works_is_accepted(load: Load, toml: str) -> None:
    assert load(toml).clients[0].name == "a"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2027-01-01", "2027-01-01T00:00:00+00:00"),
        ('"2027-01-01"', "2027-01-01T00:00:00+00:00"),
        ("2027-01-01T08:00:00+01:00", "2027-01-01T08:00:00+01:00"),
        ('"2027-01-01T08:00:00Z"', "2027-01-01T08:00:00+00:00"),
    ],
)
def test_a_key_expires_at_a_date_or_a_moment(load: Load, written: str, read: str) -> None:
    [expiring] = load(client("a", key("k1", more=f", expires = {written}"))).clients[0].keys

    assert expiring.expires is not None
    assert expiring.expires.isoformat() == read


def test_numbers_and_secrets_of_receivers_are_in_no_error(mistakes: Mistakes) -> None:
    found = mistakes(client() + receiver('sender = "ACME"\nrecipients = ["0803123"]\nhmac_secret = 98765'))

    assert "0803123" not in str(found)
    assert "98765" not in str(found)
