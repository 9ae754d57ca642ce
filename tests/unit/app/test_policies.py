"""Settings in the words of the core, and what the log must hide."""

from decimal import Decimal
from pathlib import Path

import pytest

from relay.app.policies import client_policies, list_secrets, make_policy, make_rules
from relay.domain.clients import Client
from relay.domain.codes import Code, MessageType, Permission, RequestedRoute, Route
from relay.domain.hours import DeliveryWindow
from relay.domain.templates import TemplateBook
from relay.domain.words import WordMatcher
from relay.settings import ClientSettings, Settings, load_settings

BILLING = """
[[clients]]
name = "billing"
senders = ["ACME"]
default_sender = "Orders"
message_types = ["otp"]
routes = ["auto", "dnd"]
permissions = ["send"]
require_idempotency_key = true
requests_per_second = 50
recipients_per_day = 1000
units_per_month = 0.5
word_exceptions = ["free"]
sandbox = true
"""


@pytest.fixture
def load(tmp_path: Path) -> "Load":
    return Load(tmp_path)


class Load:
    """Settings of a file with this content, under these variables."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "relay.toml"

    def __call__(self, toml: str = "", **environ: str) -> Settings:
        self._path.write_text(toml)
        return load_settings(environ, self._path)


def test_clients_come_as_the_rules_see_them(load: Load) -> None:
    client = client_policies(load(BILLING))["billing"]

    assert client.may_use("ACME")
    assert client.may_use("Orders")
    assert client.message_types == {MessageType.OTP}
    assert client.routes == {RequestedRoute.AUTO, RequestedRoute.DND}
    assert client.permissions == {Permission.SEND}
    assert (client.requests_per_second, client.recipients_per_day) == (50.0, 1000)
    assert client.units_per_month == Decimal("0.5")
    assert client.require_idempotency_key
    assert client.word_exceptions == {"free"}
    assert client.sandbox


EVERYTHING = """
[smsclone]
username = "u"
password = "p"
[[accounts]]
name = "backup"
username = "other"
password = "p"
[[clients]]
name = "shop"
accounts = ["backup"]
default_billing_code = "marketing"
delivery_window = { from = "08:00", to = "20:00" }
templates_only = true
keys_carry_time = true
repeat_window_seconds = 60
callback_hosts = ["shop.example.com"]
callback_secrets = ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]
"""
ELSEWHERE = {"keys", "service_account", "callback_secrets", "callback_secrets_file"}
"""What the core does not need: these are read by authentication and by the callbacks."""


def test_no_setting_of_a_client_gets_lost_on_the_way_to_the_rules(load: Load) -> None:
    assert set(Client.__struct_fields__) == set(ClientSettings.__struct_fields__) - ELSEWHERE, (
        "a new setting is a field of Client too, or in ELSEWHERE"
    )
    clients = client_policies(load(BILLING.replace("[[clients]]", EVERYTHING + "[[clients]]")))
    untouched = Client(name="")
    same = {
        name
        for name in Client.__struct_fields__
        if all(getattr(client, name) == getattr(untouched, name) for client in clients.values())
    }
    assert same == set(), "a line of relay/app/policies.py is missing, or a value in BILLING or EVERYTHING"


def test_routes_hours_and_limits_come_by_message_type(load: Load) -> None:
    settings = load('[routes]\notp = "dnd"\n[limits]\notp = { sends = 0 }\nalert = { sends = 9, window_seconds = 60 }')

    rules = make_rules(settings, WordMatcher([]), TemplateBook())
    assert rules.routes[MessageType.OTP] is Route.DND
    assert rules.hours == {MessageType.PROMOTIONAL: DeliveryWindow(480, 1200, "Africa/Lagos", Code.HELD_QUIET_HOURS)}
    none = load('[quiet_hours]\npromotional = { from = "00:00", to = "00:00" }')
    assert make_rules(none, WordMatcher([]), TemplateBook()).hours == {}
    limits = make_policy(settings, b"").send_limits
    assert {kind: limit.sends for kind, limit in limits.items()} == {MessageType.ALERT: 9}


def test_every_secret_is_listed_for_the_log_to_look_out_for(load: Load) -> None:
    whsec = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    settings = load(
        f"""
        [smsclone]
        proxy = "http://user:proxy%40pass@proxy.internal:3128"
        [journal]
        url = "postgresql://relay:journal-pass@db/relay"
        hash_key = "{"ab" * 32}"
        [[clients]]
        name = "a"
        senders = ["ACME"]
        callback_secrets = ["{whsec}"]
        [[receivers]]
        name = "r"
        client = "a"
        sender = "ACME"
        recipients = ["08031234567"]
        hmac_secret = "hmac-secret"
        [[accounts]]
        name = "backup"
        username = "second-user"
        password = "second-password"
        proxy = "http://p:backup-proxy@proxy"
        """,
        RELAY_SMSCLONE_USERNAME="the-user",
        RELAY_SMSCLONE_PASSWORD="the-password",
    )

    assert {secret.reveal() for secret in list_secrets(settings)} == {
        "the-user",
        "the-password",
        "second-user",
        "second-password",
        "backup-proxy",
        "journal-pass",
        "proxy%40pass",
        "proxy@pass",
        "ab" * 32,
        "hmac-secret",
        whsec,
    }


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("postgresql://u:p%40ss@h1:1,h2:5432/db", {"p%40ss", "p@ss"}),
        ("postgresql://u:a#b?c@[::1]/db", {"a#b?c"}),
        ("postgresql://h1/db?user=u&password=in-the-query&sslpassword=of-the-key", {"in-the-query", "of-the-key"}),
        ("postgresql://h1/db?scram_client_key=key-1&scram_server_key=key-2", {"key-1", "key-2"}),
        ("postgresql://h1/db?oauth_client_secret=of-the-client", {"of-the-client"}),
        ("postgresql://u@h1,h2/db", set()),
    ],
)
def test_every_password_in_the_journals_address_is_a_secret(load: Load, url: str, passwords: set[str]) -> None:
    settings = load(f'[journal]\nurl = "{url}"')

    assert {secret.reveal() for secret in list_secrets(settings)} == passwords
