"""Variables: every scalar setting has one, secrets may stand in files, and a mistyped name is never silent."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relay.settings import Settings

Load = Callable[..., Settings]
Mistakes = Callable[..., dict[str, str]]

WHSEC = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def test_a_variable_wins_over_the_file(load: Load) -> None:
    loaded = load("[listen]\nport = 1", RELAY_LISTEN_PORT="9000", RELAY_SMSCLONE_TIMEOUT_SECONDS="7.5")

    assert loaded.listen.port == 9000
    assert loaded.smsclone.timeout_seconds == 7.5


def test_a_variable_mends_what_is_wrong_in_the_file(load: Load) -> None:
    assert load('[listen]\nport = "x"', RELAY_LISTEN_PORT="9000").listen.port == 9000


@pytest.mark.parametrize(
    ("name", "value", "section", "field", "expected"),
    [
        ("RELAY_LISTEN_METRICS_PORT", "9464", "listen", "metrics_port", 9464),
        ("RELAY_LISTEN_METRICS_PORT", "", "listen", "metrics_port", None),
        ("RELAY_LISTEN_DOCS", "false", "listen", "docs", False),
        ("RELAY_SENDING_ALLOW_FOREIGN_NUMBERS", "True", "sending", "allow_foreign_numbers", True),
        ("RELAY_SENDING_DRAIN_SECONDS", "30", "sending", "drain_seconds", 30.0),
        ("RELAY_JOURNAL_REPLICAS", "1", "journal", "replicas", 1),
    ],
)
def test_text_is_read_as_the_setting_has_it(
    load: Load, name: str, value: str, section: str, field: str, expected: object
) -> None:
    assert getattr(getattr(load(**{name: value}), section), field) == expected


def test_settings_in_tables_of_tables_have_a_variable_too(load: Load) -> None:
    loaded = load(RELAY_LIMITS_OTP_SENDS="3", RELAY_QUIET_HOURS_PROMOTIONAL_FROM="21:00")

    assert loaded.limits.otp is not None
    assert (loaded.limits.otp.sends, loaded.limits.otp.window_seconds) == (3, 600)
    assert (loaded.quiet_hours.promotional.start, loaded.quiet_hours.promotional.end) == ("21:00", "08:00")


@pytest.mark.parametrize("value", ["", " 1", "1e3", "0x10", "\uff11", "99999", "1" * 5_000, "\udcff"])
def test_a_mistake_in_a_variable_names_the_variable(mistakes: Mistakes, value: str) -> None:
    assert mistakes(RELAY_LISTEN_PORT=value) == {"RELAY_LISTEN_PORT": "must be a whole number from 1 to 65535"}


def test_rules_between_settings_name_the_variable_too(mistakes: Mistakes) -> None:
    assert set(mistakes(RELAY_JOURNAL_REPLICAS="3")) == {"RELAY_JOURNAL_REPLICAS"}


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("RELAY_SMSCLONE_PASWORD", "did you mean RELAY_SMSCLONE_PASSWORD?"),
        ("RELAY_LISTN_PORT", "did you mean RELAY_LISTEN_PORT?"),
        ("RELAY_CLIENTS_0_NAME", "clients, receivers and accounts are set in the file"),
        ("RELAY_WHATEVER", "remove it"),
        ("RELAY_", "remove it"),
        ("RELAY_SENDING_DND_SECOND_ATTEMPT", "is a list; set it in the file"),
        ("RELAY_PREFILTER_LISTS", "is a list; set it in the file"),
    ],
)
def test_a_variable_that_would_have_no_effect_is_an_error(mistakes: Mistakes, name: str, remedy: str) -> None:
    found = mistakes(**{name: "hunter2-Canary"})

    assert set(found) == {name}
    assert remedy in found[name]
    assert "hunter2" not in found[name]


def test_what_kubernetes_injects_for_services_is_ignored(load: Load) -> None:
    injected = {
        "RELAY_SERVICE_HOST": "10.96.0.12",
        "RELAY_SERVICE_PORT": "8080",
        "RELAY_SERVICE_PORT_HTTP": "8080",
        "RELAY_PORT": "tcp://10.96.0.12:8080",
        "RELAY_PORT_8080_TCP": "tcp://10.96.0.12:8080",
        "RELAY_PORT_8080_TCP_PROTO": "tcp",
        "RELAY_PORT_8080_TCP_ADDR": "10.96.0.12",
        "RELAY_METRICS_SERVICE_HOST": "10.96.0.13",
        "RELAY_METRICS_SERVICE_PORT_METRICS": "9464",
        "RELAY_METRICS_PORT": "tcp://10.96.0.13:9464",
        "RELAY_METRICS_PORT_9464_TCP_ADDR": "10.96.0.13",
    }

    assert load(**injected).listen == Settings().listen


def test_a_service_whose_name_clashes_with_a_setting_is_told_with_the_remedy(mistakes: Mistakes) -> None:
    found = mistakes(RELAY_LISTEN_PORT="tcp://10.96.0.12:8080")

    assert "enableServiceLinks" in found["RELAY_LISTEN_PORT"]


def test_variables_of_others_and_of_the_client_commands_are_none_of_ours(load: Load) -> None:
    load(RELAY_CLIENT_URL="http://127.0.0.1:8080", RELAY_CLIENT_KEY="rk_a_b", RELAYS="1", relay_x="1", OTHER="1")


def test_secrets_may_stand_in_files(load: Load, tmp_path: Path) -> None:
    for name, text in (("user", "team\n"), ("password", " pass word \r\n"), ("url", "postgresql://r:s@db/relay\n")):
        (tmp_path / name).write_text(text, newline="")
    (tmp_path / "whsec").write_text(f"{WHSEC}\n\n{WHSEC}\n")

    loaded = load(
        f'[[clients]]\nname = "a"\ncallback_secrets_file = "{tmp_path / "whsec"}"',
        RELAY_SMSCLONE_USERNAME_FILE=str(tmp_path / "user"),
        RELAY_SMSCLONE_PASSWORD_FILE=str(tmp_path / "password"),
        RELAY_JOURNAL_URL_FILE=str(tmp_path / "url"),
    )

    assert loaded.smsclone.username is not None
    assert loaded.smsclone.password is not None
    assert loaded.smsclone.username.reveal() == "team"
    assert loaded.smsclone.password.reveal() == " pass word "
    assert loaded.journal.url.reveal() == "postgresql://r:s@db/relay"
    assert [secret.reveal() for secret in loaded.clients[0].callback_secrets] == [WHSEC, WHSEC]


def test_a_byte_order_mark_is_no_part_of_a_secret_or_a_variable(load: Load, tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes("\ufeffpass\r\n".encode())
    (tmp_path / "whsec").write_bytes(f"\ufeff{WHSEC}\r\n".encode())
    loaded = load(
        f'[[clients]]\nname = "a"\ncallback_secrets_file = "{tmp_path / "whsec"}"',
        **{
            "\ufeffRELAY_LISTEN_PORT": "9000",
            "RELAY_SMSCLONE_USERNAME": "\ufeffteam",
            "RELAY_SMSCLONE_PASSWORD_FILE": str(tmp_path / "password"),
        },
    )

    assert loaded.listen.port == 9000
    assert loaded.smsclone.username is not None
    assert loaded.smsclone.password is not None
    assert (loaded.smsclone.username.reveal(), loaded.smsclone.password.reveal()) == ("team", "pass")
    assert [secret.reveal() for secret in loaded.clients[0].callback_secrets] == [WHSEC]


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"\xff", b"x" * 70_000])
def test_a_secret_file_without_one_line_of_text_is_an_error(mistakes: Mistakes, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "password").write_bytes(content)

    found = mistakes(RELAY_SMSCLONE_PASSWORD_FILE=str(tmp_path / "password"))

    assert set(found) == {"RELAY_SMSCLONE_PASSWORD_FILE"}
    assert "lines" not in found["RELAY_SMSCLONE_PASSWORD_FILE"]


def test_a_wrong_secret_in_a_file_is_told_by_the_files_setting(mistakes: Mistakes, tmp_path: Path) -> None:
    (tmp_path / "whsec").write_text("hunter2-Canary\n")

    found = mistakes(f'[[clients]]\nname = "a"\ncallback_secrets_file = "{tmp_path / "whsec"}"')

    assert set(found) == {"clients[0].callback_secrets_file[0]"}
    assert "hunter2" not in str(found)


def test_a_secret_given_twice_is_an_error_and_a_variable_wins_over_either_form_in_the_file(
    load: Load, mistakes: Mistakes, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("from-file")
    both = {"RELAY_SMSCLONE_PASSWORD": "x", "RELAY_SMSCLONE_PASSWORD_FILE": str(tmp_path / "password")}
    toml = f'[smsclone]\npassword_file = "{tmp_path / "password"}"'

    assert set(mistakes(**both)) == {"RELAY_SMSCLONE_PASSWORD_FILE"}
    assert set(mistakes(f'{toml}\npassword = "x"')) == {"smsclone.password_file"}
    loaded = load(toml, RELAY_SMSCLONE_PASSWORD="from-variable").smsclone
    assert loaded.password is not None
    assert loaded.password.reveal() == "from-variable"
