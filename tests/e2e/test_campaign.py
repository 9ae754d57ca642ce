"""A campaign from a file: judged as a whole, stopped at any moment and continued, every row is sent once.

The judge is the sandbox's ledger. RELAY_TEST_ROWS=50000 python -m pytest tests/e2e/test_campaign.py -k killed
"""

import json
import os
import shlex
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.cli import main
from relay.cli.campaign import ROWS_AT_ONCE
from support.commands import run_command
from support.fault_server import FaultServer, Peer, lead_to, lose_the_answer
from support.relay import COVERED, PASSWORD, USERNAME, ClientKey, RelayProcess, make_client, running_relay
from support.sandbox import running_sandbox
from support.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CAMPAIGNS = Path(__file__).parent / "campaigns"
CASES: list[dict[str, Any]] = tomllib.loads((CAMPAIGNS / "cases.toml").read_text())["case"]
ROWS = int(os.environ.get("RELAY_TEST_ROWS", "4000"))
TEXT = "Dear {name}, we open at 9."


@pytest.fixture(scope="module")
def sandbox() -> Iterator[running_sandbox]:
    with running_sandbox(username=USERNAME, password=PASSWORD) as running:
        yield running


@pytest.fixture(scope="module")
def client() -> ClientKey:
    return make_client()


@pytest.fixture(scope="module")
def timed_client() -> ClientKey:
    return make_client("timed", keys_carry_time="true")


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, sandbox: running_sandbox, client: ClientKey, timed_client: ClientKey
) -> Iterator[RelayProcess]:
    with running_relay(tmp_path_factory.mktemp("relay"), client, timed_client, upstream=sandbox.base_url) as running:
        yield running


class Shell:
    """Runs ``relay send --file`` as a person would."""

    def __init__(self, relay: RelayProcess, client: ClientKey, directory: Path) -> None:
        self.file = directory / "customers.csv"
        self.results = directory / "customers.csv.results"
        self.environment = {
            **COVERED,
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "RELAY_CLIENT_URL": relay.base_url,
            "RELAY_CLIENT_KEY": client.key,
        }

    def command(self, message: str, *words: str, file: Path | None = None) -> list[str]:
        return ["relay", "send", "--file", str(file or self.file), "--async", "-m", message, *words]

    def start(self, message: str, *, url: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", *self.command(message)],
            env=self.environment | {"RELAY_CLIENT_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, message: str = TEXT, *words: str, file: Path | None = None) -> tuple[int, str]:
        done = run_command(*self.command(message, *words, file=file)[1:], environment=self.environment)
        return done.returncode, done.stdout + done.stderr

    def kept(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.results.read_bytes().splitlines()[1:]]
        return [line for line in lines if "row" in line]


@pytest.fixture
def shell(relay: RelayProcess, client: ClientKey, tmp_path: Path) -> Shell:
    return Shell(relay, client, tmp_path)


def wait_for_texts(sandbox: running_sandbox, number: int) -> list[tuple[str, str]]:
    """Every number with its text, as the sandbox took them, once there are so many."""
    sends = sandbox.wait_for_sends(number, seconds=PATIENCE_SECONDS + number / 20)
    return sorted((delivery.recipient, entry.message) for entry in sends for delivery in entry.deliveries)


@pytest.mark.parametrize("case", CASES, ids=[f"{case['file']} {case.get('options', '')}" for case in CASES])
def test_a_file_is_sent_as_it_is_meant_or_refused_with_the_place_of_every_mistake(
    shell: Shell,
    sandbox: running_sandbox,
    case: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sandbox.clear()
    words = ["--campaign", case["file"], "--results", str(shell.results), *case.get("options", ())]
    command = shell.command(case.get("message", "Dear {name}, ready."), *words, file=CAMPAIGNS / case["file"])
    monkeypatch.setattr(sys, "argv", command)
    for name, value in shell.environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as ended:  # in this process: eighty of their own take minutes
        main()
    output = "".join(capsys.readouterr())

    if "says" in case:
        assert [words for words in case["says"] if words not in output] == [], output
        assert ended.value.code == 2, output
        assert not shell.results.exists()
        assert sandbox.sends() == []
    else:
        assert ended.value.code == 0, output
        assert wait_for_texts(sandbox, len(case["sent"])) == sorted(case["sent"].items())
    assert "0801234" not in output  # a number is on no screen


def test_every_file_of_the_folder_has_its_case() -> None:
    files = {path.name for path in CAMPAIGNS.iterdir() if path.name not in ("cases.toml", ".gitattributes")}

    assert files == {case["file"] for case in CASES}


def test_a_newcomers_campaign_reaches_everybody_once(
    shell: Shell, sandbox: running_sandbox, relay: RelayProcess
) -> None:
    """A refused row, mended; killed in the middle of a request; run again; once more."""
    sandbox.clear()
    people = [(f"080600{n:05}", f"Person {n}") for n in range(ROWS)]
    bad = 3

    def write(*, mended: bool) -> None:
        cells = [("0801-234" if n == bad and not mended else number, name) for n, (number, name) in enumerate(people)]
        rows = cells[:10] if not mended else cells
        shell.file.write_text("recipient,name\n" + "".join(f"{number},{name}\n" for number, name in rows))

    write(mended=False)
    status, output = shell.run()
    assert (status, "9 accepted, 1 refused" in output) == (1, True), output
    assert "validation_failed, too_short (recipients[0]): 1 row, line 5." in output
    assert [(line["line"], line["reason"]) for line in shell.kept() if "problem" in line] == [(5, "too_short")]

    write(mended=True)
    answered = threading.Event()

    def say_nothing(peer: Peer) -> None:
        answered.set()
        peer.hang()

    passes = [lead_to(relay.port)] * (ROWS // ROWS_AT_ONCE // 2)
    with FaultServer(*passes, lose_the_answer(relay.port, say_nothing)) as way:
        process = shell.start(TEXT, url=way.base_url)
        wait_until(lambda: answered.is_set() or process.poll() is not None)
        process.kill()  # it waits for an answer, and it is the middle
        output = process.communicate()[0]
    assert answered.is_set(), output
    assert len(passes) * ROWS_AT_ONCE <= len(shell.kept()) < ROWS
    with shell.results.open("ab") as results:  # a line that the kill tore
        results.write(b'{"campaign":"default","row":39')

    status, output = shell.run()
    assert status == 0, output
    assert f"{ROWS:,} accepted, 0 refused" in output
    assert "accepted before, and not sent again: " in output
    expected = sorted(("234" + number[1:], TEXT.replace("{name}", name)) for number, name in people)
    assert wait_for_texts(sandbox, ROWS) == expected

    assert shell.run()[0] == 0
    assert wait_for_texts(sandbox, ROWS) == expected


def test_a_campaign_whose_results_were_lost_doubles_nobody(shell: Shell, sandbox: running_sandbox) -> None:
    sandbox.clear()
    shell.file.write_text("recipient\n08070000021\n08070000022\n")
    assert shell.run("Hello")[0] == 0
    shell.results.unlink()
    other = shell.file.rename(shell.file.with_name("customers-mended.csv"))
    other.write_text("recipient\n+234 807 000 0022\n08070000023\n08070000021\n")

    status, output = shell.run("Hello", file=other)

    assert status == 0
    assert "accepted before, by a run whose results are not here, and not sent again: 2 rows" in output
    numbers = ("2348070000021", "2348070000022", "2348070000023")
    assert wait_for_texts(sandbox, 3) == [(number, "Hello") for number in numbers]


def test_rows_that_were_asked_for_long_ago_and_have_no_result_are_looked_up_by_their_keys(
    shell: Shell, sandbox: running_sandbox
) -> None:
    sandbox.clear()
    shell.file.write_text("recipient\n08070000025\n08070000026\n")
    assert shell.run("Hello")[0] == 0
    header, asked, first, _second = shell.results.read_text().splitlines()
    old = json.loads(asked) | {"at": int(time.time()) - 8 * 86_400}
    shell.results.write_text("\n".join([header, json.dumps(old, separators=(",", ":")), first, ""]))

    status, output = shell.run("Hello")

    assert (status, "2 accepted, 0 refused" in output) == (0, True), output
    assert [line["row"] for line in shell.kept()] == [1, 2]
    assert shell.results.read_text().count('{"asked"') == 1  # nothing was asked for again
    assert len(wait_for_texts(sandbox, 2)) == 2


@pytest.mark.parametrize("what_happened", ["stopped", "mended", "results lost"])
def test_where_keys_carry_their_time_a_campaign_continues_and_doubles_nobody(
    relay: RelayProcess, timed_client: ClientKey, tmp_path: Path, sandbox: running_sandbox, what_happened: str
) -> None:
    sandbox.clear()
    shell = Shell(relay, timed_client, tmp_path)
    text = f"Hello, {what_happened}"
    shell.file.write_text("recipient\n08070000027\n08070000028\n")
    status, output = shell.run(text)
    assert (status, "2 accepted, 0 refused" in output) == (0, True), output
    if what_happened == "stopped":  # it never heard what became of the second row, and was started again much later
        lines = shell.results.read_text().splitlines()
        assert [line for line in lines if '"timed"' in line] == [lines[-3]]
        shell.results.write_text("\n".join([*lines[:-1], ""]))
    elif what_happened == "mended":
        shell.file.write_text("recipient\n08070000029\n08070000028\n08070000027\n")
    else:
        shell.results.unlink()

    status, output = shell.run(text)

    assert (status, "0 refused" in output) == (0, True), output
    if what_happened == "stopped":
        assert shell.results.read_text().count('"timed"') == 1, "the row in doubt keeps its key"
    last = 9 if what_happened == "mended" else 8
    numbers = [f"234807000002{digit}" for digit in range(7, last + 1)]
    assert wait_for_texts(sandbox, len(numbers)) == [(number, text) for number in numbers]


def test_who_would_get_a_second_message_is_counted_and_gets_it_only_on_request(
    shell: Shell, sandbox: running_sandbox
) -> None:
    sandbox.clear()
    shell.file.write_text("recipient,name\n08070000031,Ada\n08070000032,Bola\n")
    assert shell.run()[0] == 0
    shell.file.write_text("recipient,name\n08070000031,Adaeze\n08070000032,Bola\n08070000033,Chidi\n")

    status, output = shell.run()
    assert status == 2
    assert (
        "1 row would bring a second message: this campaign had another text accepted for the number (line 2)" in output
    )
    assert "--again" in output
    assert len(wait_for_texts(sandbox, 2)) == 2

    status, output = shell.run(TEXT, "--again")
    assert (status, "3 accepted, 0 refused" in output) == (0, True)
    sent = wait_for_texts(sandbox, 4)
    assert [text for number, text in sent if number == "2348070000031"] == [
        "Dear Ada, we open at 9.",
        "Dear Adaeze, we open at 9.",
    ]
    assert len(sent) == 4


def test_another_text_is_another_campaign_and_needs_a_name(shell: Shell, sandbox: running_sandbox) -> None:
    sandbox.clear()
    shell.file.write_text("recipient\n08070000041\n")
    assert shell.run("Hello")[0] == 0

    status, output = shell.run("Hello again")
    assert (status, "--campaign NAME" in output) == (2, True)
    assert shell.run("Hello again", "--campaign", "second")[0] == 0
    assert wait_for_texts(sandbox, 2) == [("2348070000041", "Hello"), ("2348070000041", "Hello again")]

    status, output = shell.run("Hello again", "--campaign", "third")
    assert (status, "1 row would be sent again: accepted before in another campaign (line 2)" in output) == (2, True)
    assert shell.run("Hello again", "--campaign", "third", "--again")[0] == 0
    assert shell.run("Hello again", "--campaign", "third", "--again")[0] == 0
    assert len(wait_for_texts(sandbox, 3)) == 3


def test_rows_that_were_refused_are_asked_for_again(shell: Shell, sandbox: running_sandbox) -> None:
    sandbox.clear()
    shell.file.write_text("recipient\n08070000051\n08070000052\n")
    status, output = shell.run("Hello", "--sender", "12")
    assert (status, "0 accepted, 2 refused" in output) == (1, True)
    assert "(sender): 2 rows, lines 2, 3." in output

    assert shell.run("Hello", "--sender", "ACME")[0] == 0
    assert wait_for_texts(sandbox, 2) == [("2348070000051", "Hello"), ("2348070000052", "Hello")]


def test_rows_with_the_same_number_are_each_a_message_and_keep_their_keys_in_any_order(
    shell: Shell, sandbox: running_sandbox
) -> None:
    sandbox.clear()
    shell.file.write_text("recipient,name\n08070000061,Ada\n08070000061,Bola\n08070000061,Ada\n")
    status, output = shell.run()
    assert (status, "2 rows with a number that an earlier row has" in output) == (0, True)
    shell.file.write_text("recipient,name\n08070000061,Bola\n08070000061,Ada\n08070000061,Ada\n")

    assert shell.run()[0] == 0
    assert [text[5:8] for _, text in wait_for_texts(sandbox, 3)] == ["Ada", "Ada", "Bol"]


def test_the_results_of_the_first_edition_are_told_and_nothing_is_sent(shell: Shell, sandbox: running_sandbox) -> None:
    sandbox.clear()
    shell.file.write_text("recipient\n08070000071\n08070000072\n")
    old = '{"campaign":"9d09d49d449b4f130e1497d4","rows":2}\n{"row":1,"id":"0192f3c4"}\n{"row":2,"problem":"paused"}\n'
    shell.results.write_text(old)

    status, output = shell.run("Hello", "--again")

    assert status == 2
    assert "written by relay 0.1, which knew rows by their place only: 1 row accepted" in output
    assert "Every row that you leave in gets a message" in output
    assert shell.results.read_text() == old
    assert sandbox.sends() == []


@pytest.mark.parametrize(
    "content", ["recipient,name\n", "{}\n", '{"version":3}\n', "no line end", '{"version":2}\nx\n']
)
def test_a_file_that_holds_something_else_takes_no_results(shell: Shell, content: str) -> None:
    shell.file.write_text("recipient\n08070000081\n")
    shell.results.write_text(content)

    status, output = shell.run("Hello")

    assert (status, "it holds something else" in output) == (2, True)
    assert shell.results.read_text() == content


def test_where_the_results_cannot_be_written_the_same_command_continues_and_doubles_nobody(
    shell: Shell, sandbox: running_sandbox
) -> None:
    sandbox.clear()
    numbers = [f"0809666{place:04}" for place in range(40)]
    shell.file.write_text("recipient,name\n" + "".join(f"{number},Ada\n" for number in numbers))
    command = shlex.join([sys.executable, "-m", *shell.command(TEXT)])
    only_results = {name: value for name, value in shell.environment.items() if name not in COVERED}
    only_results["PYTHONDONTWRITEBYTECODE"] = "1"
    full = subprocess.run(
        ["bash", "-c", f"ulimit -f 1; {command}"], env=only_results, capture_output=True, text=True, check=False
    )

    assert (full.returncode, full.stderr.count("\n")) == (4, 1)
    assert "cannot take the results: File too large" in full.stderr
    assert shell.run()[0] == 0
    assert [number for number, _ in wait_for_texts(sandbox, 40)] == [f"234{number[1:]}" for number in numbers]


def test_a_second_command_on_the_same_results_is_told_of_the_first(shell: Shell) -> None:
    fcntl = pytest.importorskip("fcntl")
    shell.file.write_text("recipient\n08070000091\n")
    with shell.results.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        status, output = shell.run("Hello")

    assert (status, "another command writes customers.csv.results" in output) == (2, True)


def test_the_outcome_is_one_json_document_on_request(shell: Shell) -> None:
    shell.file.write_text("recipient\n08070000101\n12\n")
    status, output = shell.run("Hello", "--json")
    outcome = json.loads(output)
    assert (status, outcome["accepted"], outcome["refused"]) == (1, 1, 1)
    assert [(each["line"], each["reason"]) for each in outcome["refusals"]] == [(3, "too_short")]

    shell.file.write_text("recipient\n\n08070000102,x\n")
    status, output = shell.run("Hello", "--json")
    assert status == 2
    document = next(line for line in output.splitlines() if line.startswith("{"))
    assert json.loads(document)["mistakes"][0]["line"] == 3


def test_a_file_that_is_not_there_is_told(shell: Shell) -> None:
    status, output = shell.run("Hello")

    assert (status, "customers.csv cannot be read: No such file" in output) == (2, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--to", "08070000112"], "without --to"),
        (["--delimiter", "x"], "--delimiter"),
        (["--results", "{folder}"], "--results"),
    ],
)
def test_wrong_words_send_nothing(shell: Shell, tmp_path: Path, words: list[str], says: str) -> None:
    shell.file.write_text("recipient\n08070000111\n")

    status, output = shell.run("Hello", *(word.format(folder=tmp_path) for word in words))

    assert (status, says in output) == (2, True), output
