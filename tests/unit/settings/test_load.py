"""The file: every mistake at once, each with its place and remedy, and never a value."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.pq import Conninfo

from relay.domain.codes import MessageType, Permission, RequestedRoute, Route
from relay.settings import LogLevel, Settings, SettingsError, load_settings, require_credentials
from relay.settings.load import settings_of
from relay.settings.postgres_options import find_wrong_option

Load = Callable[..., Settings]
Mistakes = Callable[..., dict[str, str]]

CANARY = "hunter2-Canary"

SPEC_EXAMPLE = """
[log]
level = "info"
[listen]
host = "127.0.0.1"
port = 8080
[smsclone]
base_url = "https://smsclone.com"
timeout_seconds = 20
connect_timeout_seconds = 5
keepalive_seconds = 0
max_recipients_per_call = 100
max_connections = 50
[sending]
notification_deadline_seconds = 25
calls_at_a_time = 4
dnd_second_attempt = []
[routes]
otp = "dnd-fallback"
alert = "dnd-fallback"
transactional = "dnd-fallback"
promotional = "normal"
[quiet_hours]
promotional = { from = "20:00", to = "08:00", time_zone = "Africa/Lagos" }
[prefilter]
lists = []
[journal]
url = "sqlite:///relay.db"
idempotency_days = 7
retention_days = 30
"""

SPEC_CLIENTS = """
[[clients]]
name = "billing"
keys = [{ id = "k1", sha256 = "DIGEST", expires = "2027-01-01" }]
senders = ["ACME"]
default_sender = "ACME"
message_types = ["otp", "alert", "transactional"]
routes = ["auto"]
permissions = ["send", "read", "preview", "balance"]
require_idempotency_key = false
requests_per_second = 50
recipients_per_day = 100000
callback_hosts = ["orders.internal"]
callback_secrets = ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]
sandbox = false

[[clients]]
name = "monitoring"
senders = ["ACME"]

[[receivers]]
name = "oncall"
client = "monitoring"
sender = "ACME"
recipients = ["08031234567"]
message_type = "alert"
max_segments = 2
""".replace("DIGEST", "0123456789abcdef" * 4)


def test_no_file_and_no_variable_give_the_defaults() -> None:
    assert load_settings({}) == Settings()


def test_what_the_contract_shows_is_what_nobody_has_to_write(load: Load) -> None:
    written, defaults = load(SPEC_EXAMPLE), load("")

    assert written.journal.url.reveal() == defaults.journal.url.reveal()
    for section in ("log", "listen", "smsclone", "sending", "routes", "quiet_hours", "prefilter"):
        assert getattr(written, section) == getattr(defaults, section)


def test_clients_and_receivers_are_read_as_the_contract_shows_them(load: Load) -> None:
    billing, monitoring = load(SPEC_CLIENTS).clients
    [receiver] = load(SPEC_CLIENTS).receivers

    [key] = billing.keys
    assert key.expires is not None
    assert key.expires.isoformat() == "2027-01-01T00:00:00+00:00"
    assert billing.requests_per_second == 50.0
    assert [secret.reveal()[:6] for secret in billing.callback_secrets] == ["whsec_"]
    assert monitoring.permissions == (Permission.SEND, Permission.READ, Permission.PREVIEW, Permission.BALANCE)
    assert monitoring.message_types == (MessageType.OTP, MessageType.ALERT, MessageType.TRANSACTIONAL)
    assert monitoring.routes == (RequestedRoute.AUTO,)
    assert (receiver.client, receiver.recipients, receiver.resolved) == ("monitoring", ("08031234567",), True)


def test_ten_different_mistakes_are_told_at_once_each_with_its_place(mistakes: Mistakes) -> None:
    found = mistakes(
        """
        [log]
        level = "loud"
        [listen]
        port = "8080"
        prot = 1
        [smsclone]
        base_url = "https://smsclone.com/?username=x"
        timeout_seconds = 0
        [routes]
        promotional = "dnd"
        [journal]
        replicas = 3
        [[clients]]
        name = "billing"
        keys = [{ id = "k1", sha256 = "abc" }]
        senders = ["ACME", "THIS IS MUCH TOO LONG"]
        [[receivers]]
        name = "oncall"
        client = "nobody"
        recipients = ["08031234567"]
        """,
        RELAY_SENDING_CALLS_AT_A_TIME="four",
    )

    assert set(found) == {
        "log.level",
        "listen.port",
        "listen.prot",
        "smsclone.base_url",
        "smsclone.timeout_seconds",
        "routes.promotional",
        "journal.replicas",
        "clients[0].keys[0].sha256",
        "clients[0].senders[1]",
        "receivers[0].client",
        "RELAY_SENDING_CALLS_AT_A_TIME",
    }
    assert found["log.level"] == 'must be one of "debug", "info", "warning", "error"'
    assert found["listen.prot"] == "is not a setting; did you mean port?"
    assert found["smsclone.timeout_seconds"] == "must be a number from 0.1 to 300"
    assert "too_long" in found["clients[0].senders[1]"]


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        (f'smsclone = "{CANARY}"', "smsclone"),
        (f'[smsclone]\npassword = ["{CANARY}"]', "smsclone.password"),
        (f'[smsclone]\npassword = "{CANARY}\\n"', "smsclone.password"),
        (f'[smsclone]\npassword_file = "{CANARY}"', "smsclone.password_file"),
        (f'[smsclone]\nbase_url = "https://user:{CANARY}@smsclone.com"', "smsclone.base_url"),
        (f'[smsclone]\nproxy = "ftp://user:{CANARY}@proxy"', "smsclone.proxy"),
        (f'[smsclone]\nallow_insecure = "{CANARY}"', "smsclone.allow_insecure"),
        (f'[journal]\nurl = "mysql://user:{CANARY}@host/db"', "journal.url"),
        (f'[journal]\nhash_key = "{CANARY}"', "journal.hash_key"),
        (f'[routes]\notp = "{CANARY}"', "routes.otp"),
        (f'[quiet_hours]\npromotional = {{ time_zone = "{CANARY}" }}', "quiet_hours.promotional.time_zone"),
        (f'[[clients]]\nname = "{CANARY}!"', "clients[0].name"),
        (f'[[clients]]\nname = "a"\ncallback_secrets = ["{CANARY}"]', "clients[0].callback_secrets[0]"),
        (f'[[clients]]\nname = "a"\nsenders = ["{CANARY}"]', "clients[0].senders[0]"),
        (f'[[clients]]\nname = "a"\nkeys = ["{CANARY}"]', "clients[0].keys[0]"),
        (f'[smsclone]\npassword = "{CANARY}', "RELAY_CONFIG"),
        (f'[smsclone]\npassword = "{CANARY}"\npassword = "{CANARY}"', "RELAY_CONFIG"),
    ],
)
def test_an_error_never_repeats_a_value(mistakes: Mistakes, toml: str, place: str) -> None:
    found = mistakes(toml)

    assert set(found) == {place}
    assert CANARY not in found[place]


def test_the_exception_names_every_place_and_no_value(load: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        load(f'[smsclone]\npassword = ["{CANARY}"]\nusername = 1')

    assert "smsclone.password" in str(caught.value)
    assert "smsclone.username" in str(caught.value)
    assert CANARY not in repr(caught.value) + str(caught.value)


def test_settings_do_not_show_their_secrets(load: Load) -> None:
    loaded = load(f'[smsclone]\npassword = "{CANARY}"\n[journal]\nurl = "postgresql://relay:{CANARY}@db/relay"')

    assert loaded.smsclone.password is not None
    assert loaded.smsclone.password.reveal() == CANARY
    assert CANARY not in repr(loaded) + str(loaded)


def test_a_foreign_name_is_told_short_and_clean(mistakes: Mistakes) -> None:
    [place] = mistakes(f'"{"x" * 500}\\n\\u001b[31m" = 1')

    assert len(place) < 130
    assert place.isprintable()
    assert "\x1b" not in place


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[listen\nport = 1", "not TOML (at line 1"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a = " + b"[" * 100_000, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "relay.toml"
    path.write_bytes(content)

    with pytest.raises(SettingsError) as caught:
        load_settings({"RELAY_CONFIG": str(path)})

    [error] = caught.value.errors
    assert error.path == "RELAY_CONFIG"
    assert said in error.message or "not TOML" in error.message


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_bytes(b"\xef\xbb\xbf[listen]\r\nport = 9000\r\n")

    assert load_settings({"RELAY_CONFIG": str(path)}).listen.port == 9000


def test_a_file_in_utf_16_is_told_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_bytes("[listen]\nport = 9000\n".encode("utf-16"))
    with pytest.raises(SettingsError) as caught:
        load_settings({"RELAY_CONFIG": str(path)})

    assert [error.message for error in caught.value.errors] == ["names a file that is not UTF-8; save it as UTF-8"]


def test_a_file_that_is_not_there_is_told_together_with_what_is_wrong_in_the_environment(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"RELAY_CONFIG": str(tmp_path / "none.toml"), "RELAY_LOG_LEVEL": "loud"})

    assert [error.path for error in caught.value.errors] == ["RELAY_CONFIG", "RELAY_LOG_LEVEL"]


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        ("[listen]\nmetrics_port = 8080", "listen.metrics_port"),
        ('[listen]\nhost = "smsclone.com"', "listen.host"),
        ('[smsclone]\nbase_url = "http://smsclone.com"', "smsclone.base_url"),
        ('[smsclone]\nbase_url = "HTTP://smsclone.com"', "smsclone.base_url"),
        ('[smsclone]\nbase_url = "https://smsclone.com/#top"', "smsclone.base_url"),
        ('[smsclone]\nbase_url = "smsclone.com"', "smsclone.base_url"),
        ('[smsclone]\nbase_url = "https://smsclone.com:99999"', "smsclone.base_url"),
        ("[smsclone]\ntimeout_seconds = nan", "smsclone.timeout_seconds"),
        ("[smsclone]\ntimeout_seconds = inf", "smsclone.timeout_seconds"),
        ("[smsclone]\nmax_connections = true", "smsclone.max_connections"),
        ("[smsclone]\nmax_connections = 5.0", "smsclone.max_connections"),
        ('[sending]\ndnd_second_attempt = ["promotional"]', "sending.dnd_second_attempt"),
        ('[routes]\npromotional = "dnd-fallback"', "routes.promotional"),
        ("[journal]\nidempotency_days = 31", "journal.retention_days"),
        ("[journal]\nreplicas = 2", "journal.replicas"),
        ('[journal]\nurl = "sqlite:///:memory:"', "journal.url"),
        ('[journal]\nurl = "sqlite:///"', "journal.url"),
        ('[journal]\nurl = "postgresql://h1:0,h2:5432/db"', "journal.url"),
        ('[journal]\nurl = "postgresql://h1:5432,h2:65536/db"', "journal.url"),
        ('[journal]\nurl = "postgresql://u:p@[::1/db"', "journal.url"),
        ('[journal]\nurl = "postgresql://u:a/b@h1/db"', "journal.url"),
        ('[journal]\nurl = "postgresql+psycopg://h1/db"', "journal.url"),
        ('[quiet_hours]\npromotional = { from = "24:00" }', "quiet_hours.promotional.from"),
        ("[limits]\nalert = { window_seconds = 5 }", "limits.alert.sends"),
        ('[callbacks]\nallowed_networks = ["10.0.0.1/8"]', "callbacks.allowed_networks[0]"),
        ('[kubernetes]\napi_url = "http://kubernetes.default.svc"', "kubernetes.api_url"),
    ],
)
def test_what_would_not_work_stops_the_start(mistakes: Mistakes, toml: str, place: str) -> None:
    assert set(mistakes(toml)) == {place}


@pytest.mark.parametrize(
    "toml",
    [
        '[smsclone]\nbase_url = "http://127.0.0.1:9100"',
        '[smsclone]\nbase_url = "http://localhost:9100"',
        '[smsclone]\nbase_url = "http://[::1]:9100"',
        '[smsclone]\nbase_url = "http://mirror.internal"\nallow_insecure = true',
        "[smsclone]\ntimeout_seconds = 2",
        "[listen]\nopenapi = false",
        '[journal]\nurl = "postgresql://relay:secret@db/relay?sslmode=require"\nreplicas = 3',
        '[journal]\nurl = "sqlite:////var/lib/relay/relay.db"',
        '[journal]\nurl = "postgresql://u:p@h1:1,h2:5432/db?target_session_attrs=read-write"',
        '[journal]\nurl = "postgres://u:p%40x@h1,h2,[2001:db8::1]:5432/db"',
        '[journal]\nurl = "postgresql:///relay?host=/var/run/postgresql&user=relay"',
        '[journal]\nurl = "postgresql://u:a#b?c@[::1]/db"',
        '[journal]\nurl = "postgresql://"',
        "[limits]\notp = { sends = 3 }",
        "[limits]\notp = { sends = 0 }\nalert = { sends = 10, window_seconds = 60 }",
        '[quiet_hours]\npromotional = { from = "00:00", to = "00:00" }',
    ],
)
def test_what_would_work_is_accepted(load: Load, toml: str) -> None:
    assert isinstance(load(toml), Settings)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("u:p@h/db?pgbouncer=true", "option pgbouncer, which is another program's: leave it out"),
        ("u:p@h/db?schema=sms", "options=-csearch_path%3DNAME"),
        ("u:p@h/db?sslmode=require&canary=x", "an option that libpq does not know (number 2 behind the question mark)"),
        ("u:p@h/db?canary", "an option that libpq does not know (number 1 behind the question mark)"),
        ("u:canary%zz@h/db", "a percent sign without two hexadecimal digits"),
        ("u:100%@h/db", "a percent sign without two hexadecimal digits"),
        ("u:p@h/db?sslmode=REQUIRE", "another sslmode than libpq knows: write one of disable, allow"),
        ("u:p@h1,h2/db?target_session_attrs=readwrite", "another target_session_attrs than libpq knows"),
    ],
)
def test_an_address_that_libpq_would_refuse_is_refused_with_the_remedy(
    mistakes: Mistakes, address: str, says: str
) -> None:
    [told] = mistakes(f'[journal]\nurl = "postgresql://{address}"').values()

    assert says in told
    assert "canary" not in told


def test_every_option_of_libpq_is_known() -> None:
    libpq = {option.keyword.decode() for option in Conninfo.get_defaults()}

    assert [name for name in sorted(libpq) if find_wrong_option("", f"{name}=disable") is not None] == [
        "target_session_attrs"  # which has no such value
    ]


def test_a_mistake_in_one_setting_brings_no_second_error_about_what_depends_on_it(mistakes: Mistakes) -> None:
    found = mistakes(
        """
        [[clients]]
        name = "not a name"
        default_sender = "#"
        [[receivers]]
        name = "oncall"
        client = "billing"
        sender = "ACME"
        recipients = ["08031234567"]
        """
    )

    assert set(found) == {"clients[0].name", "clients[0].default_sender"}


def test_serve_needs_an_account_unless_every_client_is_a_sandbox_client(load: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        require_credentials(load())
    assert [error.path for error in caught.value.errors] == ["smsclone.username", "smsclone.password"]
    assert "RELAY_SMSCLONE_PASSWORD_FILE" in caught.value.errors[1].message

    require_credentials(load('[[clients]]\nname = "a"\nsandbox = true'))
    require_credentials(load(RELAY_SMSCLONE_USERNAME="a", RELAY_SMSCLONE_PASSWORD="b"))
    with pytest.raises(SettingsError):
        require_credentials(load('[[clients]]\nname = "a"\nsandbox = true\n[[clients]]\nname = "b"'))


def test_routes_are_the_operators_to_choose(load: Load) -> None:
    assert load('[routes]\notp = "dnd"').routes.otp is Route.DND


def test_a_level_is_one_of_the_closed_set(load: Load) -> None:
    assert load(RELAY_LOG_LEVEL="debug").log.level is LogLevel.DEBUG


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
sections = st.sampled_from(
    ["log", "listen", "smsclone", "sending", "routes", "quiet_hours", "journal", "limits", "clients", "receivers"]
)
fields = st.sampled_from(
    ["name", "port", "keys", "senders", "url", "otp", "promotional", "password", "client", "default_sender", "x"]
)
tables = st.dictionaries(fields, json_like, max_size=4)


@given(document=st.dictionaries(sections, tables | st.lists(tables, max_size=3) | json_like, max_size=4))
@settings(max_examples=150)
def test_any_document_gives_settings_or_their_mistakes_and_nothing_else(document: dict[str, object]) -> None:
    try:
        outcome: object = settings_of(document, {})
    except SettingsError as failure:
        outcome = failure.errors

    assert outcome
    assert isinstance(outcome, Settings | tuple)
