"""The programs and commands of the pages as they stand there, against a relay: sending, and verifying callbacks."""

import asyncio
import base64
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from support.fault_server import FaultServer, Peer, lead_to, lose_the_answer
from support.receiver import CallbackReceiver, Received, running_receiver
from support.relay import ClientKey, RelayProcess, free_port, make_client, running_relay
from support.snippets import ROOT, make_program, read_snippet
from support.upstream import Request, Upstream, running_upstream, send_all
from support.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.slow

SENDING = "openapi/sending.md"
CALLBACKS = "openapi/callbacks.md"
SENDERS = ("bash", "python", "ts", "go")
VERIFIERS = ("python", "ts", "go", "java")
TEXT = "Your order 1204 is on its way."
SECRET = "whsec_" + base64.b64encode(b"canary-callback-secret-01234567").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"canary-callback-secret-76543210").decode()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    def answer(request: Request) -> bytes | None:
        return None if request.numbers and request.numbers[0].startswith("23480999") else send_all(request)

    with running_upstream(answer) as running:
        yield running


@pytest.fixture(scope="module")
def callback_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def client(callback_port: int) -> ClientKey:
    hosts = f'["http://127.0.0.1:{callback_port}"]'
    return make_client(callback_hosts=hosts, callback_secrets=json.dumps([OTHER_SECRET, SECRET]))


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, client: ClientKey) -> Iterator[RelayProcess]:
    toml = '[breaker]\nfailures = 1000\n[callbacks]\nallowed_networks = ["127.0.0.1/32"]\n'
    directory = tmp_path_factory.mktemp("relay")
    (directory / "templates.toml").write_text(read_snippet(SENDING, "toml"))
    toml += f'[templates]\nfiles = ["{directory / "templates.toml"}"]\n'
    with running_relay(directory, client, upstream=upstream.base_url, toml=toml) as running:
        yield running


@pytest.fixture(scope="module", params=SENDERS)
def language(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def sender(language: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that sends in this language."""
    return make_program(SENDING, language, tmp_path_factory.mktemp(f"sending-{language}"))


def place_of(language: str) -> int:
    """Makes numbers of its own for each language."""
    return SENDERS.index(language)


def run(command: list[str], url: str, client: ClientKey, number: str, key: str) -> tuple[int, str]:
    done = subprocess.run(
        [*command, number, TEXT, key],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "RELAY_CLIENT_URL": url, "RELAY_CLIENT_KEY": client.key},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    return done.returncode, done.stdout.strip() + done.stderr


def test_a_snippet_sends(
    sender: list[str], language: str, relay: RelayProcess, client: ClientKey, upstream: Upstream
) -> None:
    number = f"2348011{place_of(language):06}"

    assert run(sender, relay.base_url, client, number, f"sent-{language}") == (0, "sent")
    assert upstream.count()[number] == 1


def test_a_snippet_leaves_an_unknown_outcome_alone(
    sender: list[str], language: str, relay: RelayProcess, client: ClientKey, upstream: Upstream
) -> None:
    number = f"23480999{place_of(language):05}"

    assert run(sender, relay.base_url, client, number, f"unknown-{language}") == (3, "unknown")
    assert upstream.count()[number] == 1


def test_a_snippet_whose_answer_was_lost_asks_again_and_sends_once(
    sender: list[str], language: str, relay: RelayProcess, client: ClientKey, upstream: Upstream
) -> None:
    number = f"2348022{place_of(language):06}"
    with FaultServer(lose_the_answer(relay.port, Peer.end), lead_to(relay.port)) as way:
        assert run(sender, way.base_url, client, number, f"lost-{language}") == (0, "sent")
    assert upstream.count()[number] == 1


def test_a_snippet_gives_up_on_what_can_never_be_sent(
    sender: list[str], language: str, relay: RelayProcess, client: ClientKey
) -> None:
    status, output = run(sender, relay.base_url, client, "12", f"bad-{language}")

    assert status == 1
    assert "validation_failed" in output or "422" in output


def test_a_snippet_takes_the_409_of_a_request_that_still_runs_for_no_answer_yet(
    sender: list[str], client: ClientKey
) -> None:
    problem = {"status": 409, "code": "idempotency_in_progress"}
    with answering((409, problem, "1"), (409, problem, "1"), (200, {"status": "sent"}, None)) as (port, seen):
        assert run(sender, f"http://127.0.0.1:{port}", client, "08012345678", "quick") == (0, "sent")
    assert len(seen) == 3


def test_a_snippet_never_waits_longer_than_it_says(sender: list[str], language: str, client: ClientKey) -> None:
    problem = {"status": 503, "code": "upstream_no_balance"}
    with answering((503, problem, "3600")) as (port, seen):
        status, output = run(sender, f"http://127.0.0.1:{port}", client, "08012345678", "long")
    assert status == 1
    assert output == ("http 503" if language == "bash" else "upstream_no_balance")
    assert len(seen) == (5 if language == "bash" else 1)


def test_the_commands_of_the_page_run_as_they_stand(relay: RelayProcess, client: ClientKey, tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_text("recipient,name\n08012345671,Ada\n08012345672,Bola\n")
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / SENDING).read_text(), re.MULTILINE | re.DOTALL)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    looked_up, batch, lines, campaign, preview, by_template = (
        run_shell(each, relay, client, path, tmp_path) for each in blocks
    )

    assert json.loads(looked_up)["status"] in ("queued", "in_progress", "sent")
    assert json.loads(batch)["accepted"] == 2
    assert [json.loads(line)["index"] for line in lines.splitlines()] == [0, 1]
    assert re.search(r"accepted\D*2|2 accepted", campaign), campaign
    assert "too_short" in preview
    assert (json.loads(by_template)["status"], json.loads(by_template)["text"]["characters"]) == ("sent", 25)


def test_the_request_of_the_readme_runs_as_it_stands(relay: RelayProcess, client: ClientKey, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    [block] = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "curl" in block]
    assert block.startswith("export RELAY_CLIENT_URL=http://127.0.0.1:8080 RELAY_CLIENT_KEY=rk_…")
    [example] = re.findall(r"```json\n(.*?)```", text, re.DOTALL)

    answer = json.loads(run_shell(block.partition("\n")[2], relay, client, os.environ["PATH"], tmp_path))

    assert shape(answer) == shape(json.loads(example))


def run_shell(block: str, relay: RelayProcess, client: ClientKey, path: str, directory: Path) -> str:
    variables = {"RELAY_CLIENT_URL": relay.base_url, "RELAY_CLIENT_KEY": client.key, "PATH": path}
    shell = ["bash", "-euo", "pipefail", "-c", block]
    return subprocess.run(shell, cwd=directory, env=variables, capture_output=True, text=True, check=True).stdout


def shape(value: Any) -> Any:
    """What a JSON value is made of: the names of its fields, in order, without what they hold."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value[:1]] if isinstance(value, list) else type(value)


def call_back(relay: RelayProcess, client: ClientKey, port: int) -> Received:
    """What a relay really calls back with."""
    request = {
        "recipients": ["08012345678"],
        "message": TEXT,
        "reference": "order-1204",
        "callback_url": f"http://127.0.0.1:{port}/sms-status",
    }
    headers = client.headers | {"Prefer": "respond-async"}

    async def receive() -> Received:
        async with (
            running_receiver(CallbackReceiver(), port=port) as receiver,
            httpx.AsyncClient(base_url=relay.base_url, trust_env=False, timeout=60) as http,
            asyncio.timeout(PATIENCE_SECONDS),
        ):
            accepted = await http.post("/v1/notifications", json=request, headers=headers)
            assert accepted.status_code == 202
            await until(lambda: any(accepted.json()["id"].encode() in each.body for each in receiver.requests))
            return receiver.requests[-1]

    return asyncio.run(receive())


@pytest.fixture(scope="module", params=VERIFIERS)
def verifier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that verifies in a language."""
    return make_program(CALLBACKS, request.param, tmp_path_factory.mktemp(f"verifying-{request.param}"))


@pytest.fixture(scope="module")
def callback(verifier: list[str], relay: RelayProcess, client: ClientKey, callback_port: int) -> Received:
    """One for each language, once its verifier is there: to compile may take long, and what is old is refused."""
    return call_back(relay, client, callback_port)


def verify(command: list[str], secret: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    done = subprocess.run(
        [*command, *(headers[name] for name in names)],
        input=body,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "CALLBACK_SECRET": secret},
        capture_output=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    return done.returncode, done.stdout.decode()


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET], ids=["the new secret", "the old secret"])
def test_a_verifier_takes_what_the_relay_signed(verifier: list[str], secret: str, callback: Received) -> None:
    status, output = verify(verifier, secret, callback.headers, callback.body)

    assert status == 0
    assert "notification.completed" in output
    assert "sent" in output


def test_a_verifier_refuses_what_the_relay_did_not_sign(verifier: list[str], callback: Received) -> None:
    headers, body = callback.headers, callback.body
    stranger = "whsec_" + base64.b64encode(b"x" * 32).decode()
    old = int(headers["webhook-timestamp"]) - 301

    def signed_at(seconds: int) -> dict[str, str]:
        signature = Webhook(SECRET).sign("msg", datetime.fromtimestamp(seconds, UTC), body.decode())
        return {"webhook-id": "msg", "webhook-timestamp": str(seconds), "webhook-signature": signature}

    assert verify(verifier, SECRET, signed_at(int(time.time())), body)[0] == 0
    assert verify(verifier, SECRET, signed_at(old), body)[0] == 1
    assert verify(verifier, SECRET, signed_at(int(time.time()) + 600), body)[0] == 1
    assert verify(verifier, stranger, headers, body)[0] == 1
    assert verify(verifier, SECRET, headers, body.replace(b'"sent"', b'"gone"'))[0] == 1
    assert verify(verifier, SECRET, headers | {"webhook-id": "another"}, body)[0] == 1
    for signature in ("", "v1,", "v1", "v1,%%%", "v2," + headers["webhook-signature"].split(",")[1], "v1,é", "v1,AAAA"):
        assert verify(verifier, SECRET, headers | {"webhook-signature": signature}, body)[0] == 1, signature
    for timestamp in ("", "soon", "1e9", "-1"):
        assert verify(verifier, SECRET, headers | {"webhook-timestamp": timestamp}, body)[0] == 1, timestamp


def test_the_callback_that_the_page_shows_is_made_like_a_real_one(
    relay: RelayProcess, client: ClientKey, callback_port: int
) -> None:
    callback = call_back(relay, client, callback_port)
    assert shape(json.loads(read_snippet(CALLBACKS, "json"))) == shape(json.loads(callback.body))


@contextmanager
def answering(*answers: tuple[int, dict[str, Any], str | None]) -> Iterator[tuple[int, list[bytes]]]:
    """A server that gives these answers in turn, the last one again and again, and the requests that it saw."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []

    def answer() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    request = b""
                    while b"}" not in request and (piece := connection.recv(65536)):
                        request += piece
                    seen.append(request)
                    status, body, retry_after = answers[min(len(seen), len(answers)) - 1]
                    content = json.dumps(body, separators=(",", ":")).encode()
                    extra = f"Retry-After: {retry_after}\r\n" if retry_after else ""
                    head = f"HTTP/1.1 {status} X\r\n{extra}Connection: close\r\nContent-Length: {len(content)}\r\n\r\n"
                    connection.sendall(head.encode() + content)

    with _serving(listener, answer) as port:
        yield port, seen


@contextmanager
def _serving(listener: socket.socket, serve: Any) -> Iterator[int]:
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
