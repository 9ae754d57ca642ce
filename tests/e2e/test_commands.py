"""The command line as a person meets it: what it prints, what the shell learns, one line with a remedy for an error."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay import __version__
from support.commands import BARE, Done, run_command, run_process
from support.relay import (
    PASSWORD,
    ClientKey,
    RelayProcess,
    free_port,
    make_client,
    make_relay,
    running_relay,
)
from support.terminal import at_terminal
from support.upstream import Upstream, running_upstream
from support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.slow


def run(*words: str, typed: str = "", **environment: str) -> Done:
    if words[0] == "serve" or "COLUMNS" in environment:
        return run_process(*words, input=typed, env=BARE | environment)
    return run_command(*words, typed=typed, environment=environment)


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
        "find",
        "show",
        "audit list",
        "audit verify",
        "export",
        "unknown resend",
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
    assert not any(line.rstrip() != line or "\u2500" in line for line in told.stdout.splitlines())


def test_help_in_a_pipe_breaks_no_line_so_that_its_examples_can_be_copied() -> None:
    told = run("send", "--help", COLUMNS="40")

    assert (
        'Example: relay send --file customers.csv --async --message "Dear {name}, we open at 9." --key rk_…'
        in told.stdout
    )


def test_a_refusal_says_its_reason_once(connection: dict[str, str]) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    told = run("send", "--to", "08030009785", "-m", "Hello", "--send-at", tomorrow, **connection)

    assert told.returncode == 1
    assert told.stderr.count("Nobody waits for a later time") == 1


def test_a_search_says_that_it_shows_only_the_newest(connection: dict[str, str]) -> None:
    for _ in range(2):
        assert run("send", "--to", "08030009784", "-m", "Hello", **connection).returncode == 0
    some = run("find", "--recipient", "08030009784", "--limit", "1", **connection)
    every = run("find", "--recipient", "08030009784", "--limit", "2", **connection)

    assert (some.stdout.count("\n"), every.stdout.count("\n")) == (1, 2)
    assert "There are more; these are the newest 1." in some.stderr
    assert every.stderr == ""


@pytest.mark.parametrize(
    "words",
    [
        "balance",
        "send --to 08030009781 -m Hello",
        "preview --to 08030009782 -m Hello",
        "unknown list",
        "pause --reason drill",
        "resume",
        "erase --recipient 08030009783",
        "find --recipient 08030009783 --from 00:00",
        "audit list",
        "audit verify",
        "keys new",
        "check-config",
        "doctor",
        "words list",
        "words test lottery",
    ],
)
def test_every_command_gives_one_json_document_on_request(connection: dict[str, str], words: str) -> None:
    told = run(*words.split(), "--json", **connection)

    json.loads(told.stdout)
    assert told.stdout.count("\n") == 1


def test_no_line_is_wrapped_or_cut_in_a_pipe_and_nothing_that_matters_at_80_columns(connection: dict[str, str]) -> None:
    numbers = [f"0803000{n:04}" for n in range(3)]
    words = ["send", *(word for number in numbers for word in ("--to", number)), "--message", "Hello " * 30]
    piped = run(*words, **connection | {"COLUMNS": "20"})
    shown = at_terminal(BARE | connection, 80, *words)

    rows = [line.split("\t") for line in piped.stdout.splitlines() if "\t" in line]
    assert rows == [[number, "sent", "sent", "0000", "no"] for number in numbers]
    assert all(line in shown for line in ("recipient", *numbers, "dnd-fallback (default)"))
    assert max(map(len, shown.splitlines())) <= 80
    refused = run(
        "preview",
        "--to",
        "08012345678",
        "-m",
        "You have W0N",
        "--type",
        "promotional",
        **connection | {"COLUMNS": "20"},
    )
    assert any("blocked_words" in line and "see hits" in line for line in refused.stdout.splitlines()), refused


def test_a_reader_that_has_enough_stops_a_list_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", "words", "list"],
        env=BARE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        pipesize=4096,  # less than the list, so that it cannot be all written before its reader leaves
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(1)
    process.stdout.close()
    complaint = process.stderr.read()
    process.stderr.close()

    assert (process.wait(), complaint) == (128 + 13, b"")


@pytest.mark.parametrize("words", ["--help", "--version", "words list", "words test lottery --json", "keys new"])
def test_a_reader_that_is_gone_and_one_that_can_take_nothing_are_told_apart(words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    gone = run_process(*words.split(), stdout=writer)
    os.close(writer)
    with Path("/dev/full").open("wb") as full:
        told = run_process(*words.split(), stdout=full)

    assert (gone.returncode, gone.stderr) == (128 + 13, "")
    assert told.returncode == 4
    assert told.stderr.startswith("relay: the output cannot be written in full: No space left on device.")
    assert told.stderr.count("\n") == 1


def test_where_notes_cannot_be_written_the_result_still_is(connection: dict[str, str]) -> None:
    words = ["send", "--to", "08012345678", "--message", "hi", "--json"]
    with Path("/dev/full").open("wb") as full:
        done = run_process(*words, env=BARE | connection, stderr=full)

    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "sent")


@pytest.mark.parametrize("words", ["send", "sned", "unknown list --limit x", "words test", "pause now"])
def test_wrong_usage_is_one_line_that_names_the_help(words: str) -> None:
    told = run(*words.split(), COLUMNS="20")

    assert (told.returncode, told.stdout) == (2, "")
    assert len(told.stderr.splitlines()) == 1
    assert "--help" in told.stderr


def test_names_that_a_caller_may_have_given_are_answered_with_the_right_ones(tmp_path: Path) -> None:
    served = run("serve", RELAY_URL="http://127.0.0.1:9", RELAY_KEY="rk_x_y")
    asked = run("balance", RELAY_KEY="rk_x_y")

    assert (served.returncode, asked.returncode) == (2, 2)
    for said in (served.stderr, asked.stderr):
        assert "RELAY_CLIENT_KEY" in said
        assert "rk_x_y" not in said
    assert "RELAY_CLIENT_URL" in served.stderr
    good = run("check-config", RELAY_CLIENT_URL="http://127.0.0.1:9", RELAY_CLIENT_KEY="rk_x_y")
    assert good.returncode == 0


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
        assert upstream.arrived.acquire(timeout=PATIENCE_SECONDS), "it was never sent"
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
        "1 segment",
        "route dnd-fallback",
        "1 call,",
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

    assert (told.returncode, told.stdout, told.stderr.strip()) == (0, "", "Nothing is unknown.")
    assert run("unknown", "list", "--json", **connection).stdout == "[]\n"


def test_without_a_relay_the_error_says_how_to_start_one() -> None:
    told = run("balance", "--url", "http://127.0.0.1:9", "--key", "rk_x_y")

    assert told.returncode == 3
    assert "relay serve" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1


def test_without_a_key_the_error_says_where_to_get_one() -> None:
    told = run("balance", "--url", "http://127.0.0.1:9")

    assert told.returncode == 2
    assert "relay keys new" in told.stderr


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("RELAY_CLIENT_URL", "127.0.0.1:8080", "--url is not an address. Write it like http://"),
        ("RELAY_CLIENT_URL", "localhost", "--url is not an address."),
        ("RELAY_CLIENT_KEY", "rk_a\u2011b", "the key has a character that no key has. Copy it anew."),
    ],
)
def test_an_address_or_a_key_that_is_none_is_wrong_usage(
    connection: dict[str, str], name: str, value: str, says: str
) -> None:
    told = run("balance", **(connection | {name: value}))

    assert (told.returncode, says in told.stderr, told.stderr.count("\n")) == (2, True, 1), told.stderr


def test_what_a_file_leaves_at_the_ends_of_address_and_key_changes_nothing(connection: dict[str, str]) -> None:
    frayed = {name: f" {value}\r\n" for name, value in connection.items() if name.startswith("RELAY_CLIENT")}

    assert run("balance", **(connection | frayed)).returncode == 0


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
    assert "Nothing was changed" in last.stderr


def test_words_are_listed_with_what_they_are_for(tmp_path: Path) -> None:
    words = tmp_path / "words.toml"
    run("words", "add", "cash prize", "--list", str(words), "--action", "warn", "--types", "promotional")
    run("words", "add", "ACME", "--list", str(words), "--fields", "sender")
    listed = run("words", "list", "--list", str(words))
    warned = run("words", "test", "Your cash prize", "--list", str(words), "--type", "promotional")
    as_sender = run("words", "test", "acme", "--list", str(words))

    assert listed.returncode == 0
    assert [line.split("\t") for line in listed.stdout.splitlines()] == [
        ["cash prize", "custom", "warn", "message", "promotional"],
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


def test_check_config_says_which_file_it_read(tmp_path: Path, client: ClientKey) -> None:
    config = tmp_path / "relay.toml"
    config.write_text(client.settings)

    assert f"{config}; 1 client, 0 receivers" in run("check-config", RELAY_CONFIG=str(config)).stdout
    assert f"{config}; 1 client, 0 receivers" in run("check-config", str(config)).stdout
    nothing = run("check-config")
    assert (nothing.returncode, "no file (RELAY_CONFIG is not set)" in nothing.stdout) == (0, True)
    config.write_text("[listen]\nport = 0\n")
    wrong = run("check-config", str(config))
    assert (wrong.returncode, f"1 mistake in the settings: {config}" in wrong.stderr) == (2, True)
    assert json.loads(run("check-config", str(config), "--json").stdout)["errors"][0]["path"] == "listen.port"


def test_a_repository_of_settings_is_checked_before_it_is_applied(tmp_path: Path) -> None:
    """Paths of the pod, files of secrets that are not there, a journal whose address is a secret."""
    config, words = tmp_path / "relay.toml", tmp_path / "words.toml"
    client = make_client(callback_hosts='["orders.internal"]', callback_secrets_file='"/run/secrets/callback"')
    config.write_text(
        '[prefilter]\nlists = ["/etc/relay/words.toml"]\n[smsclone]\npassword_file = "/run/secrets/password"\n'
        f"[journal]\nreplicas = 3\n{client.settings}"
    )
    words.write_text('[[entry]]\ntext = "lottery"\ncategory = "prize"\naction = "block"\n')

    whole = run("check-config", str(config))
    assert whole.returncode == 2
    assert "smsclone.password_file names a file that cannot be read" in whole.stderr
    listless = run("check-config", str(config), "--no-secrets")
    assert (listless.returncode, "give --list" in listless.stderr) == (2, True)
    good = run("check-config", str(config), "--list", str(words), "--no-secrets")
    assert (good.returncode, "1 word; secrets were not read" in good.stdout) == (0, True), good.stderr
    broken = tmp_path / "broken.toml"
    broken.write_text("[[entry]]\n")
    assert "broken.toml" in run("check-config", str(config), "--list", str(broken), "--no-secrets").stderr
    config.write_text(config.read_text().replace('["orders.internal"]', '["orders internal"]'))
    assert "callback_hosts" in run("check-config", str(config), "--list", str(words), "--no-secrets").stderr


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


def test_serve_says_in_one_line_what_it_is_at_every_log_level(tmp_path: Path, client: ClientKey) -> None:
    relay = make_relay(
        tmp_path,
        client,
        upstream="http://127.0.0.1:9",
        environment={
            "RELAY_LOG_LEVEL": "error",
            "RELAY_CLIENT_URL": "http://127.0.0.1:9",
            "RELAY_CLIENT_KEY": client.key,
            "RELAY_LISTEN_METRICS_PORT": str(free_port()),
        },
    )
    relay.start()
    relay.stop()
    started = [json.loads(line) for line in relay.log().splitlines() if "process.started" in line]

    assert len(started) == 1
    line = started[0]
    metrics = f"http://127.0.0.1:{relay.environment['RELAY_LISTEN_METRICS_PORT']}/metrics"
    assert line["version"] == __version__
    assert line["addresses"] == [relay.base_url, metrics]
    assert line["settings"] == str(relay.config)
    assert line["journal"] == f"sqlite {tmp_path / 'relay.db'}"
    assert line["accounts"] == {"smsclone": "http://127.0.0.1:9"}
    assert (line["clients"], line["receivers"]) == (1, 0)
    assert not any(secret in relay.log() for secret in (PASSWORD, client.key))


def test_serve_without_an_account_names_both_settings() -> None:
    told = run("serve", RELAY_LISTEN_PORT="1")

    assert told.returncode == 2
    assert "smsclone.username" in told.stderr
    assert "smsclone.password" in told.stderr
    assert "RELAY_SMSCLONE_PASSWORD" in told.stderr


def test_recover_needs_to_be_told_of_a_restore_and_runs_before_any_server(tmp_path: Path, relay: RelayProcess) -> None:
    journal = f"sqlite:///{tmp_path / 'old.db'}"

    assert run("recover").returncode == 2
    assert "unknown now: 0 calls" in run("recover", "--restored", RELAY_JOURNAL_URL=journal).stdout
    locked = run("recover", "--restored", RELAY_JOURNAL_URL=relay.environment["RELAY_JOURNAL_URL"])
    assert locked.returncode == 2
    assert "locked" in locked.stderr
