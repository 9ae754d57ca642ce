"""``relay doctor``: what is well, what is not, and what to do, without a send; by real files, sockets and servers."""

import json
import math
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from relay.app import self_check
from support.commands import Done, run_command
from support.pgbouncer import running_pooler
from support.postgres import PostgresServer
from support.relay import PASSWORD, USERNAME, make_client
from support.sandbox import running_sandbox

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


class Doctor:
    """Runs the command with settings of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.status = -1
        self.output = ""

    def look(self, toml: str = "", *words: str, **environment: str) -> dict[str, list[tuple[str, str]]]:
        """Findings by topic: verdict, and what it says with its remedy."""
        config = self.directory / "relay.toml"
        config.write_text(toml or make_client().settings)
        base = {
            "RELAY_CONFIG": str(config),
            "RELAY_SMSCLONE_USERNAME": USERNAME,
            "RELAY_SMSCLONE_PASSWORD": PASSWORD,
            "RELAY_JOURNAL_URL": f"sqlite:///{self.directory / 'relay.db'}",
        }
        done = run_command("doctor", "--json", *words, environment=base | environment)
        self.status, self.output = done.returncode, done.stdout + done.stderr
        found: dict[str, list[tuple[str, str]]] = {}
        for finding in json.loads(done.stdout):
            says = f"{finding['says']} {finding['remedy']}".strip()
            found.setdefault(finding["topic"], []).append((finding["verdict"], says))
        return found


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


@pytest.fixture
def sandbox() -> Iterator[running_sandbox]:
    with running_sandbox(username=USERNAME, password=PASSWORD) as running:
        yield running


def verdicts(found: dict[str, list[tuple[str, str]]]) -> set[str]:
    return {verdict for findings in found.values() for verdict, _ in findings}


def test_a_relay_that_is_ready_passes_and_nothing_was_sent(
    doctor: Doctor, sandbox: running_sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_check, "SLOW_FSYNC_MS", math.inf)  # the disk of this machine may be busy
    found = doctor.look(RELAY_SMSCLONE_BASE_URL=sandbox.base_url)

    assert verdicts(found) == {"pass"}
    assert doctor.status == 0
    assert set(found) >= {"settings", "client billing", "word lists", "time zone", "journal", "smsclone", "balance"}
    assert sandbox.sends() == []
    assert PASSWORD not in doctor.output


def test_the_settings_file_is_named_or_that_there_is_none(doctor: Doctor, sandbox: running_sandbox) -> None:
    named = doctor.look(RELAY_SMSCLONE_BASE_URL=sandbox.base_url)["settings"]
    none = doctor.look(RELAY_SMSCLONE_BASE_URL=sandbox.base_url, RELAY_CONFIG="")["settings"]

    assert named == [("pass", f"{doctor.directory / 'relay.toml'}; clients: 1, receivers: 0")]
    assert none[0][0] == "warn"
    assert "no file (RELAY_CONFIG is not set)" in none[0][1]


def test_wrong_settings_are_told_with_their_places(doctor: Doctor) -> None:
    found = doctor.look("[listen]\nport = 0.5\n[log]\nlevel = 'loud'\n")

    assert (set(found), doctor.status) == ({"listen.port", "log.level"}, 2)


def test_a_person_gets_a_table_with_a_remedy_for_what_is_not_well(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text("[listen]\nport = 0.5\n")

    def look(*words: str) -> Done:
        return run_command("doctor", *words, environment={"RELAY_CONFIG": str(tmp_path / "relay.toml")})

    told = look()
    assert told.returncode == 2
    assert told.stdout.split()[:2] == ["fail", "listen.port"]
    assert "is wrong" in told.stdout
    impatient = look("--idle", "-1")
    assert (impatient.returncode, "Give --idle 120." in impatient.stderr) == (2, True)


def test_a_missing_account_an_expired_key_and_no_client_are_told(doctor: Doctor, sandbox: running_sandbox) -> None:
    expired = make_client().settings.replace(" }]", ", expires = 2020-01-01 }]")
    found = doctor.look(expired, RELAY_SMSCLONE_BASE_URL=sandbox.base_url, RELAY_SMSCLONE_PASSWORD="")

    assert found["smsclone.password"][0][0] == "fail"
    assert found["client billing"] == [("fail", "has no key that is valid now make one with relay keys new")]
    assert found["balance"][0][0] == "warn"
    assert doctor.status == 1
    assert doctor.look("[log]\n", RELAY_SMSCLONE_BASE_URL=sandbox.base_url)["clients"][0][0] == "warn"


def test_a_wrong_password_and_an_empty_account_are_told(doctor: Doctor, sandbox: running_sandbox) -> None:
    wrong = doctor.look(RELAY_SMSCLONE_BASE_URL=sandbox.base_url, RELAY_SMSCLONE_PASSWORD="canary-wrong")
    assert wrong["balance"][0] == ("fail", "cannot be read (rejected, TG11) check user name and password")
    assert "canary-wrong" not in doctor.output

    sandbox.set_units("0")
    assert doctor.look(RELAY_SMSCLONE_BASE_URL=sandbox.base_url)["balance"][0][0] == "fail"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://smsclone.invalid", "its name cannot be resolved"),
        ("http://127.0.0.1:1", "nothing listens there"),
    ],
)
def test_a_way_that_leads_nowhere_is_told_with_its_reason(doctor: Doctor, url: str, says: str) -> None:
    found = doctor.look(RELAY_SMSCLONE_BASE_URL=url)

    assert found["smsclone"][0][0] == "fail"
    assert says in found["smsclone"][0][1]
    assert doctor.status == 1


def test_a_certificate_that_is_not_good_is_told(doctor: Doctor, tmp_path: Path) -> None:
    stranger = trustme.CA()
    stranger.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    with serving_tls(trustme.CA()) as port:
        found = doctor.look(
            RELAY_SMSCLONE_BASE_URL=f"https://127.0.0.1:{port}", RELAY_SMSCLONE_CA_FILE=str(tmp_path / "other.pem")
        )

    assert found["smsclone"][0][0] == "fail"
    assert "certificate is not valid" in found["smsclone"][0][1]


def test_a_good_certificate_is_told_with_its_end(doctor: Doctor, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with serving_tls(authority) as port:
        found = doctor.look(
            RELAY_SMSCLONE_BASE_URL=f"https://127.0.0.1:{port}", RELAY_SMSCLONE_CA_FILE=str(tmp_path / "ca.pem")
        )

    assert any("certificate ends on" in says for _, says in found["smsclone"])


def test_how_long_a_connection_is_kept_is_seen(doctor: Doctor, sandbox: running_sandbox) -> None:
    found = doctor.look("", "--idle", "1", RELAY_SMSCLONE_BASE_URL=sandbox.base_url)

    assert any("keeps an idle connection for" in says for _, says in found["smsclone"])


def test_a_folder_that_is_not_there_and_a_bad_word_list_are_told(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "words.toml").write_text("[[entry]]\n")
    toml = f'[prefilter]\nlists = ["{tmp_path / "words.toml"}"]\n' + make_client().settings
    found = doctor.look(
        toml, RELAY_SMSCLONE_BASE_URL="http://127.0.0.1:1", RELAY_JOURNAL_URL=f"sqlite:///{tmp_path}/no/such/relay.db"
    )

    assert found["journal"][0][0] == "fail"
    assert found["word lists"][0][0] == "fail"


def test_a_server_is_told_with_what_it_promises(
    doctor: Doctor, sandbox: running_sandbox, postgres_server: PostgresServer
) -> None:
    url = postgres_server.url(postgres_server.create_database())
    found = doctor.look(RELAY_SMSCLONE_BASE_URL=sandbox.base_url, RELAY_JOURNAL_URL=url)

    assert ("pass", "as the database's") in found["clock"]
    assert any("no synchronous standby" in says for verdict, says in found["journal"] if verdict == "warn")
    assert doctor.status == 0
    gone = doctor.look(
        RELAY_SMSCLONE_BASE_URL=sandbox.base_url, RELAY_JOURNAL_URL="postgresql://u:canary@127.0.0.1:1/relay"
    )
    assert gone["journal"][0][0] == "fail"
    assert "(refused)" in gone["journal"][0][1]
    assert "canary" not in doctor.output


def test_a_pooler_is_told_and_one_that_does_not_work_is_named(
    doctor: Doctor, sandbox: running_sandbox, postgres_server: PostgresServer
) -> None:
    at = {"RELAY_SMSCLONE_BASE_URL": sandbox.base_url}
    with running_pooler(postgres_server) as pooler:
        found = doctor.look(RELAY_JOURNAL_URL=pooler.url("postgres"), **at)
    with running_pooler(postgres_server, mode="statement") as pooler:
        refused = doctor.look(RELAY_JOURNAL_URL=pooler.url("postgres"), **at)

    assert found["journal"][0][0] == "pass"
    assert "through a pooler" in found["journal"][0][1]
    assert refused["journal"][0][0] == "fail"
    assert "pool_mode" in refused["journal"][0][1]


def test_a_user_who_may_not_make_the_tables_is_told_before_the_start(
    doctor: Doctor, sandbox: running_sandbox, postgres_server: PostgresServer
) -> None:
    with closing(postgres_server.connect("postgres")) as connection:
        connection.execute("CREATE ROLE visitor LOGIN")
    url = postgres_server.url(postgres_server.create_database()).replace("relay@", "visitor@")
    found = doctor.look(RELAY_SMSCLONE_BASE_URL=sandbox.base_url, RELAY_JOURNAL_URL=url)

    assert found["journal"][0][0] == "fail"
    assert "permission_denied" in found["journal"][0][1]


class Front(BaseHTTPRequestHandler):
    """Answers every request."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"256.21")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving_tls(authority: trustme.CA) -> Iterator[int]:
    """An upstream that speaks TLS; gives its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
