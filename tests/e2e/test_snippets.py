"""The README's snippets as they stand there, against a relay: sent, unknown, and an answer that was lost on the way."""

import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support_relay import ClientKey, RelayProcess, make_client, running_relay
from support_upstream import Request, Upstream, running_upstream, send_all

pytestmark = pytest.mark.slow

README = (Path(__file__).parents[2] / "README.md").read_text()
LANGUAGES = {
    "bash": ("snippet.sh", ["bash"]),
    "python": ("snippet.py", [sys.executable]),
    "ts": ("snippet.mjs", ["node"]),  # nothing in it that plain JavaScript has not
    "go": ("snippet.go", ["go"]),
}
TEXT = "Your order 1204 is on its way."


def read_snippet(language: str) -> str:
    """The one snippet of a language under the heading."""
    section = README.split("## From your code")[1].split("\n## ")[0]
    [snippet] = re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(snippet)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    def answer(request: Request) -> bytes | None:
        return None if request.numbers and request.numbers[0].startswith("23480999") else send_all(request)

    with running_upstream(answer) as running:
        yield running


@pytest.fixture(scope="module")
def client() -> ClientKey:
    return make_client()


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, client: ClientKey) -> Iterator[RelayProcess]:
    toml = "[breaker]\nfailures = 1000\n"
    with running_relay(tmp_path_factory.mktemp("relay"), client, upstream=upstream.base_url, toml=toml) as running:
        yield running


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    program = LANGUAGES[name][1][0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    return name


def place_of(language: str) -> int:
    """Makes numbers of its own for each language."""
    return list(LANGUAGES).index(language)


def run(language: str, directory: Path, url: str, client: ClientKey, number: str, key: str) -> tuple[int, str]:
    name, command = LANGUAGES[language]
    (directory / name).write_text(read_snippet(language))
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(directory)}
    program = [*command, str(directory / name)]
    if language == "go":  # its "run" ends with 1 whatever the program ends with
        program = [str(directory / "snippet")]
        subprocess.run(["go", "build", "-o", *program, name], cwd=directory, env=environment, check=True)
    done = subprocess.run(
        [*program, number, TEXT, key],
        env=environment | {"RELAY_URL": url, "RELAY_KEY": client.key},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout.strip() + done.stderr


def test_a_snippet_sends(
    language: str, tmp_path: Path, relay: RelayProcess, client: ClientKey, upstream: Upstream
) -> None:
    number = f"2348011{place_of(language):06}"

    assert run(language, tmp_path, relay.base_url, client, number, f"sent-{language}") == (0, "sent")
    assert upstream.count()[number] == 1


def test_a_snippet_leaves_an_unknown_outcome_alone(
    language: str, tmp_path: Path, relay: RelayProcess, client: ClientKey, upstream: Upstream
) -> None:
    number = f"23480999{place_of(language):05}"

    assert run(language, tmp_path, relay.base_url, client, number, f"unknown-{language}") == (3, "unknown")
    assert upstream.count()[number] == 1


def test_a_snippet_whose_answer_was_lost_asks_again_and_sends_once(
    language: str, tmp_path: Path, relay: RelayProcess, client: ClientKey, upstream: Upstream
) -> None:
    number = f"2348022{place_of(language):06}"
    with losing_the_first_answer(relay.port) as port:
        assert run(language, tmp_path, f"http://127.0.0.1:{port}", client, number, f"lost-{language}") == (0, "sent")
    assert upstream.count()[number] == 1


def test_a_snippet_gives_up_on_what_can_never_be_sent(
    language: str, tmp_path: Path, relay: RelayProcess, client: ClientKey
) -> None:
    status, output = run(language, tmp_path, relay.base_url, client, "12", f"bad-{language}")

    assert status == 1
    assert "validation_failed" in output or "422" in output


@contextmanager
def losing_the_first_answer(port: int) -> Iterator[int]:
    """A way to the relay on which the first answer gets lost."""
    listener = socket.create_server(("127.0.0.1", 0))

    def carry() -> None:
        first = True
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                with near, socket.create_connection(("127.0.0.1", port)) as far:
                    request = b""
                    while b"}" not in request:
                        request += near.recv(65536)
                    far.sendall(request)
                    answer = far.recv(65536)
                    if not first:
                        near.sendall(answer)
                    first = False

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
