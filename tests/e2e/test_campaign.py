"""A campaign from a file: stopped at any moment and continued, every row is sent once.

RELAY_TEST_ROWS=50000 python -m pytest tests/e2e/test_campaign.py -k killed
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support_relay import COVERED, ClientKey, RelayProcess, make_client, running_relay
from support_upstream import Upstream, running_upstream

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ROWS = int(os.environ.get("RELAY_TEST_ROWS", "4000"))
TEXT = "Dear {name}, we open at 9."


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def client() -> ClientKey:
    return make_client()


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, client: ClientKey) -> Iterator[RelayProcess]:
    with running_relay(tmp_path_factory.mktemp("relay"), client, upstream=upstream.base_url) as running:
        yield running


class Shell:
    """Runs ``relay send --file`` as a person would."""

    def __init__(self, relay: RelayProcess, client: ClientKey, directory: Path) -> None:
        self.file = directory / "customers.csv"
        self.results = directory / "customers.csv.results"
        self._environment = {
            **COVERED,
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "RELAY_CLIENT_URL": relay.base_url,
            "RELAY_CLIENT_KEY": client.key,
        }

    def start(self, message: str = TEXT, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "relay", "send", "--file", str(self.file), "--async", "-m", message, *words],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, message: str = TEXT, *words: str) -> tuple[int, str]:
        process = self.start(message, *words)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def kept(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.results.read_bytes().splitlines()[1:]]


@pytest.fixture
def shell(relay: RelayProcess, client: ClientKey, tmp_path: Path) -> Shell:
    return Shell(relay, client, tmp_path)


def wait_for_sends(upstream: Upstream, numbers: list[str]) -> dict[str, int]:
    give_up = time.monotonic() + 60 + len(numbers) / 100
    while True:
        counts = upstream.count()
        if all(number in counts for number in numbers):
            return {number: counts[number] for number in numbers}
        assert time.monotonic() < give_up, "not everything was sent in time"
        time.sleep(0.2)


def test_every_row_gets_its_own_text_and_its_result(shell: Shell, upstream: Upstream) -> None:
    shell.file.write_text("name,Number\nAda,08070000001\n\nBola ,2348070000002\n")

    status, output = shell.run()

    assert (status, "2 accepted, 0 refused" in output) == (0, True)
    assert set(wait_for_sends(upstream, ["2348070000001", "2348070000002"]).values()) == {1}
    texts = {request.numbers[0]: request.query["message"] for request in upstream.sends if request.numbers}
    assert texts["2348070000001"] == "Dear Ada, we open at 9."
    assert texts["2348070000002"] == "Dear Bola, we open at 9."
    assert [line["row"] for line in shell.kept()] == [1, 2]


def test_a_file_without_a_header_has_its_numbers_first(shell: Shell, upstream: Upstream) -> None:
    shell.file.write_text("08070000011\n08070000012,ignored\n")

    assert shell.run("We open at 9.")[0] == 0
    wait_for_sends(upstream, ["2348070000011", "2348070000012"])


def test_a_campaign_that_is_killed_and_continued_sends_every_row_once(shell: Shell, upstream: Upstream) -> None:
    numbers = [f"234809{row:07}" for row in range(ROWS)]
    shell.file.write_text("recipient,name\n" + "".join(f"{number},Ada\n" for number in numbers))
    for share in (0.2, 0.5):
        process = shell.start()
        while not shell.results.exists() or len(shell.results.read_bytes().splitlines()) < share * ROWS:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        process.kill()
        process.communicate()
    with shell.results.open("ab") as results:  # a line that the kill tore
        results.write(b'{"row": 39')

    status, output = shell.run()

    assert status == 0, output
    assert "have their result already" in output
    assert sorted(int(str(line["row"])) for line in shell.kept()) == list(range(1, ROWS + 1))
    assert set(wait_for_sends(upstream, numbers).values()) == {1}


def test_a_campaign_whose_results_were_lost_doubles_nobody(shell: Shell, upstream: Upstream) -> None:
    shell.file.write_text("recipient\n08070000021\n08070000022\n")
    assert shell.run("Hello")[0] == 0
    shell.results.unlink()

    assert shell.run("Hello")[0] == 0
    assert set(wait_for_sends(upstream, ["2348070000021", "2348070000022"]).values()) == {1}


def test_another_message_or_file_is_another_campaign_and_is_refused(shell: Shell, upstream: Upstream) -> None:
    shell.file.write_text("recipient\n08070000031\n")
    assert shell.run("Hello")[0] == 0

    status, output = shell.run("Hello again")

    assert (status, "of another campaign" in output) == (2, True)
    assert wait_for_sends(upstream, ["2348070000031"]) == {"2348070000031": 1}


def test_what_is_refused_is_told_by_code_and_row_and_never_by_number(shell: Shell) -> None:
    shell.file.write_text("recipient\n08070000041\n12\n08070000042\n12\n")

    status, output = shell.run("Hello")

    assert status == 1
    assert "2 accepted, 2 refused" in output
    assert re.search(r"validation_failed: 2 row\(s\), the first is row 2", output)
    assert "1 row(s) repeat a number" in output
    assert "0807" not in output


@pytest.mark.parametrize(
    ("content", "message", "says"),
    [
        ("recipient\n08070000051\n", "Dear {name}", "the message names name"),
        ("08070000051\n", "Dear {name}", "no header"),
        ("recipient\n", "Hello", "no rows"),
        ("", "Hello", "no rows"),
        ("\udcff", "Hello", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_meant_sends_nothing(shell: Shell, content: str, message: str, says: str) -> None:
    shell.file.write_bytes(content.encode("utf-8", "surrogateescape"))

    status, output = shell.run(message)

    assert status == 2
    assert says in " ".join(output.split())
    assert not shell.results.exists()


def test_a_file_needs_async(shell: Shell) -> None:
    shell.file.write_text("recipient\n08070000061\n")

    assert shell.run("Hello", "--to", "08070000062")[0] == 2


def test_the_shell_completes_commands() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    script = subprocess.run(
        [sys.executable, "-m", "relay", "completion", "bash"],
        env={**COVERED, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    asked = 'COMP_WORDS=(relay do); COMP_CWORD=1; _relay; echo "${COMPREPLY[@]}"'
    done = subprocess.run([bash, "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=False)

    assert "doctor" in done.stdout, done.stderr
