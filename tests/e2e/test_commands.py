"""The command line as a person meets it: what it prints, what the shell learns, one line with a remedy for an error."""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support_relay import COVERED, ClientKey, RelayProcess, make_client, running_relay
from support_upstream import Upstream, running_upstream

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(*words: str, typed: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "relay", *words],
        input=typed,
        env={**COVERED, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def client() -> ClientKey:
    return make_client(permissions='["send", "read", "preview", "balance", "operate"]')


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, client: ClientKey) -> Iterator[RelayProcess]:
    with running_relay(tmp_path_factory.mktemp("relay"), client, upstream=upstream.base_url) as running:
        yield running


@pytest.fixture
def connection(relay: RelayProcess, client: ClientKey) -> dict[str, str]:
    return {"RELAY_CLIENT_URL": relay.base_url, "RELAY_CLIENT_KEY": client.key}


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "sandbox",
        "demo",
        "doctor",
        "send",
        "preview",
        "balance",
        "keys new",
        "check-config",
        "openapi",
        "migrate",
        "recover",
        "pause",
        "resume",
        "erase",
        "unknown list",
        "unknown resolve",
        "words test",
        "words list",
        "words add",
        "words remove",
    ],
)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    told = run(*command.split(), "--help")

    assert told.returncode == 0
    assert f"Example: relay {command}" in told.stdout or "relay " + command in told.stdout.split("Example:")[-1]


def test_a_new_key_is_shown_with_the_line_for_the_settings() -> None:
    told = run("keys", "new").stdout
    key = re.search(r"rk_\S+", told)
    digest = re.search(r'sha256 = "([0-9a-f]{64})"', told)

    assert key is not None
    assert digest is not None
    assert tomllib.loads(told.splitlines()[-1].strip())["keys"][0]["sha256"] == digest.group(1)
    assert hashlib.sha256(key.group().encode()).hexdigest() == digest.group(1)


def test_send_shows_what_became_of_each_recipient(connection: dict[str, str]) -> None:
    told = run("send", "--to", "08012345678", "--to", "12", "--message", "Hello", **connection)

    assert "sent" in told.stdout
    assert "invalid_number (too_short)" in told.stdout
    assert told.stderr.startswith("idempotency key ")
    assert told.returncode == 4


def test_a_refusal_is_one_line_with_code_and_remedy(connection: dict[str, str]) -> None:
    told = run("send", "--to", "12", "--message", "Hello", **connection)

    assert told.returncode == 1
    assert told.stderr.splitlines()[-1].startswith("relay: validation_failed: ")
    assert "recipients[0]" in told.stderr


def test_what_a_caller_wrote_is_shown_as_it_is(connection: dict[str, str], upstream: Upstream) -> None:
    told = run("send", "--to", "[/b]", "--to", "08030009777", "--message", "Hello", **connection)

    assert "[/b]" in told.stdout
    assert told.returncode == 4
    assert upstream.count()["2348030009777"] == 1


def test_an_asynchronous_send_is_queued_with_the_options_that_were_given(
    connection: dict[str, str], upstream: Upstream
) -> None:
    words = [
        "--to",
        "08030009778",
        "--message",
        "Hello",
        "--sender",
        "ACME",
        "--reference",
        "shell",
        "--route",
        "normal",
    ]
    told = run("send", *words, "--async", **connection)

    assert (told.returncode, told.stdout.split()[0]) == (0, "queued")
    while "2348030009778" not in upstream.count():
        assert upstream.arrived.acquire(timeout=20), "it was never sent"
    assert upstream.sends[-1].path.endswith("/sendsms")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--message", "Hello"], "nobody to send to"),
        (["--message", "Hello", "--file", "none.csv", "--to", "08030009779"], "--async"),
        (["--message", "Hello", "--file", "none.csv", "--async"], "none.csv"),
    ],
)
def test_a_send_to_nobody_is_wrong_usage(connection: dict[str, str], words: list[str], says: str) -> None:
    told = run("send", *words, **connection)

    assert told.returncode == 2
    assert says in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1


def test_preview_shows_encoding_segments_route_and_cost(connection: dict[str, str]) -> None:
    told = run("preview", "--to", "08012345678", "--to", "12", "--message", "Hello", **connection)

    assert told.returncode == 0
    for shown in (
        "would be accepted",
        "gsm-7",
        "1 segment(s)",
        "route dnd-fallback",
        "1 call(s)",
        "08012345678 → 2348012345678",
    ):
        assert shown in told.stdout
    assert "12 → too_short" in told.stdout


def test_preview_sends_nothing_and_names_the_hits(connection: dict[str, str], upstream: Upstream) -> None:
    before = len(upstream.sends)
    told = run("preview", "--to", "08012345678", "--message", "You have W0N", "--type", "promotional", **connection)

    assert "you have won" in told.stdout
    assert told.returncode == 1
    assert len(upstream.sends) == before


def test_the_balance_is_shown(connection: dict[str, str]) -> None:
    assert "256.21 units" in run("balance", **connection).stdout


def test_nothing_unknown_is_said_so(connection: dict[str, str]) -> None:
    told = run("unknown", "list", **connection)

    assert (told.returncode, told.stdout.strip()) == (0, "Nothing is unknown.")


def test_without_a_relay_the_error_says_how_to_start_one() -> None:
    told = run("balance", "--url", "http://127.0.0.1:9", "--key", "rk_x_y")

    assert told.returncode == 3
    assert "relay serve" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1


def test_without_a_key_the_error_says_where_to_get_one() -> None:
    told = run("balance", "--url", "http://127.0.0.1:9")

    assert told.returncode == 2
    assert "relay keys new" in told.stderr


def test_words_test_tells_what_a_text_would_hit() -> None:
    told = run("words", "test", "You have W0N", "--type", "promotional")

    assert told.returncode == 1
    assert "you have won" in told.stdout


def test_words_are_added_and_removed(tmp_path: Path) -> None:
    words = tmp_path / "words.toml"
    added = run("words", "add", "cash prize", "--list", str(words), "--category", "prize")
    hit = run("words", "test", "A CASH prize for you", "--list", str(words))
    run("words", "add", "lottery", "--list", str(words))
    removed = run("words", "remove", "cash prize", "--list", str(words))
    last = run("words", "remove", "lottery", "--list", str(words))

    assert (added.returncode, hit.returncode, removed.returncode) == (0, 1, 0)
    assert run("words", "test", "A CASH prize for you", "--list", str(words)).returncode == 0
    assert last.returncode == 2
    assert "at least one" in last.stderr


def test_words_are_listed_with_what_they_are_for(tmp_path: Path) -> None:
    words = tmp_path / "words.toml"
    run("words", "add", "cash prize", "--list", str(words), "--action", "warn", "--types", "promotional")
    run("words", "add", "ACME", "--list", str(words), "--fields", "sender")
    listed = run("words", "list", "--list", str(words))
    warned = run("words", "test", "Your cash prize", "--list", str(words), "--type", "promotional")
    as_sender = run("words", "test", "acme", "--list", str(words))

    assert listed.returncode == 0
    assert [line.split() for line in listed.stdout.splitlines()[1:]] == [
        ["cash", "prize", "custom", "warn", "message", "promotional"],
        ["ACME", "custom", "block", "sender", "all"],
    ]
    assert (warned.returncode, "warn “cash prize” (custom) in the message, 5 to 15" in warned.stdout) == (0, True)
    assert (as_sender.returncode, "in the sender" in as_sender.stdout) == (1, True)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["list", "--list", "none.toml"], 2, "none.toml: cannot be read"),
        (["add", "x", "--list", "words.toml", "--action", "shout"], 2, "--action block or warn"),
        (["add", "x", "--list", "words.toml", "--fields", "footer"], 2, "Nothing was changed"),
        (["remove", "not there", "--list", "words.toml"], 1, "relay words list"),
        (["remove", "x", "--list", "none.toml"], 2, "cannot be read"),
    ],
)
def test_what_cannot_be_done_to_a_list_is_one_line(tmp_path: Path, words: list[str], status: int, says: str) -> None:
    (tmp_path / "words.toml").write_text('[[entry]]\ntext = "lottery"\ncategory = "prize"\naction = "block"\n')
    told = run("words", *(str(tmp_path / word) if word.endswith(".toml") else word for word in words))

    assert told.returncode == status
    assert says in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
    assert "lottery" in (tmp_path / "words.toml").read_text()


def test_the_openapi_document_is_printed_as_json_or_written(tmp_path: Path) -> None:
    printed = run("openapi").stdout
    run("openapi", "--output", str(tmp_path / "openapi.json"))

    assert json.loads(printed)["openapi"].startswith("3.1")
    assert (tmp_path / "openapi.json").read_text() == printed


def test_check_config_tells_of_a_word_list_that_cannot_be_used(tmp_path: Path) -> None:
    config, words = tmp_path / "relay.toml", tmp_path / "words.toml"
    config.write_text(f'[prefilter]\nlists = ["{words}"]\n')
    words.write_text('[[entry]]\ntext = ""\n')
    told = run("check-config", RELAY_CONFIG=str(config))

    assert told.returncode == 2
    assert "words.toml" in told.stderr


def test_migrate_brings_a_journal_up_to_date_and_may_be_repeated(tmp_path: Path) -> None:
    journal = f"sqlite:///{tmp_path / 'relay.db'}"
    told = [run("migrate", RELAY_JOURNAL_URL=journal) for _ in range(2)]
    nowhere = run("migrate", RELAY_JOURNAL_URL=f"sqlite:///{tmp_path / 'none' / 'relay.db'}")

    assert [(each.returncode, each.stdout.strip()) for each in told] == [(0, "the journal's schema is up to date")] * 2
    assert nowhere.returncode == 2
    assert len(nowhere.stderr.strip().splitlines()) == 1


def test_serve_says_in_one_line_why_it_cannot_start(tmp_path: Path, relay: RelayProcess) -> None:
    environment = {**relay.environment, "RELAY_JOURNAL_URL": f"sqlite:///{tmp_path / 'relay.db'}"}
    taken = run("serve", **environment)

    assert taken.returncode == 2
    assert str(relay.port) in taken.stderr.splitlines()[-1]


def test_serve_without_an_account_names_both_settings() -> None:
    told = run("serve", RELAY_LISTEN_PORT="1")

    assert told.returncode == 2
    assert "smsclone.username" in told.stderr
    assert "smsclone.password" in told.stderr
    assert "RELAY_SMSCLONE_PASSWORD" in told.stderr


def test_recover_needs_to_be_told_of_a_restore_and_runs_before_any_server(tmp_path: Path, relay: RelayProcess) -> None:
    journal = f"sqlite:///{tmp_path / 'old.db'}"

    assert run("recover").returncode == 2
    assert "0 call(s) are unknown now" in run("recover", "--restored", RELAY_JOURNAL_URL=journal).stdout
    locked = run("recover", "--restored", RELAY_JOURNAL_URL=relay.environment["RELAY_JOURNAL_URL"])
    assert locked.returncode == 2
    assert "locked" in locked.stderr
