"""The stand-in over real sockets: what arrives in full is in the ledger once, whatever then goes wrong on the wire."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.relay import COVERED
from support.sandbox import BALANCE, FALLBACK, make_query, running_sandbox

DEADLINE = 60.0


@pytest.fixture
def sandbox() -> Iterator[running_sandbox]:
    with running_sandbox() as running:
        yield running


def connect(sandbox: running_sandbox) -> socket.socket:
    """A connection that gives up in the end."""
    return socket.create_connection(("127.0.0.1", sandbox.port), timeout=DEADLINE)


def request_bytes(path: str = FALLBACK, headers: str = "", **change: str) -> bytes:
    """One GET, as it goes over the wire."""
    return f"GET {path}?{make_query(**change)} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()


def read_to_end(connection: socket.socket) -> bytes:
    """Everything until the other side ends the connection."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def exchange(sandbox: running_sandbox, data: bytes) -> bytes:
    """Send bytes on a fresh connection; everything that comes back until it ends."""
    with connect(sandbox) as connection:
        connection.sendall(data)
        return read_to_end(connection)


def ask_once(sandbox: running_sandbox, **change: str) -> bytes:
    """One send on a connection of its own; the raw answer."""
    return exchange(sandbox, request_bytes(headers="Connection: close\r\n", **change))


def test_the_documented_sample_comes_back_to_the_letter(sandbox: running_sandbox) -> None:
    answer = httpx.get(
        f"{sandbox.base_url}{FALLBACK}?{make_query(recipient='2348012345678,234803456789')}",
        trust_env=False,
        timeout=60,
    )

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=UTF-8"
    assert answer.text == (
        "TG00-MESSAGE PROCESSED:0000|2348012345678|9967534522177818556581618|SENT|MESSAGE SENT TO PROVIDER,"
        "3333|234803456789|6667534522177818556581618|DND_REJECTED|DND_REJECTED_NUMBER"
    )


def test_the_balance_is_a_bare_decimal_and_goes_down(sandbox: running_sandbox) -> None:
    with httpx.Client(base_url=sandbox.base_url, trust_env=False, timeout=60) as client:
        before = client.get(f"{BALANCE}?{make_query()}").text
        client.get(f"{FALLBACK}?{make_query(message='A' * 200)}")

        assert (before, client.get(f"{BALANCE}?{make_query()}").text) == ("10000.00", "9998.00")


def test_many_requests_go_over_one_connection_pipelined_too(sandbox: running_sandbox) -> None:
    last = request_bytes(headers="Connection: close\r\n")

    answers = exchange(sandbox, request_bytes() * 20 + last)

    assert answers.count(b"HTTP/1.1 200 OK") == 21
    assert len(sandbox.sends()) == 21


def test_the_absolute_form_of_a_proxy_request_is_understood(sandbox: running_sandbox) -> None:
    request = request_bytes(headers="Connection: close\r\n").replace(b"GET ", b"GET http://smsclone.example", 1)

    assert b"TG00" in exchange(sandbox, request)


def test_half_a_request_is_not_in_the_ledger(sandbox: running_sandbox) -> None:
    for length in (1, 20, len(request_bytes()) - 2, len(request_bytes()) - 1):
        with connect(sandbox) as connection:
            connection.sendall(request_bytes()[:length])

    ask_once(sandbox, message="the only one")

    assert [entry.message for entry in sandbox.ledger()] == ["the only one"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"not HTTP\r\n\r\n", 400),
        (b"GET /api/sms/balance HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"POST /behaviours HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b" " * 70_000, 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    ],
)
def test_what_is_no_good_request_is_refused_and_ends_the_connection(
    sandbox: running_sandbox, data: bytes, status: int
) -> None:
    with connect(sandbox) as connection:
        connection.sendall(data)
        head = connection.recv(100)

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert sandbox.ledger() == []


def test_a_hang_never_answers_until_the_caller_leaves(sandbox: running_sandbox) -> None:
    with connect(sandbox) as connection:
        connection.sendall(request_bytes(recipient="2348010000011"))
        [entry] = sandbox.wait_for_sends(1)
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)

    assert entry.fault == "hang"
    assert b"TG00" in ask_once(sandbox)


def test_a_reset_comes_after_the_request_was_taken(sandbox: running_sandbox) -> None:
    for number in range(20):
        with connect(sandbox) as connection:
            connection.sendall(request_bytes(recipient="2348010000012"))
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        assert len(sandbox.sends()) == number + 1


def test_a_reset_in_the_body_lets_the_first_part_through(sandbox: running_sandbox) -> None:
    sandbox.set(fault={"kind": "reset_in_body", "size": 30})

    with connect(sandbox) as connection:
        connection.sendall(request_bytes())
        received = connection.recv(65_536)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)

    assert received.endswith(b"\r\n\r\nTG00-MESSAGE PROCESSED:0000|23")


def test_a_close_is_an_end_without_a_byte(sandbox: running_sandbox) -> None:
    assert ask_once(sandbox, recipient="2348010000015") == b""
    assert len(sandbox.sends()) == 1


def test_a_cut_answer_ends_early(sandbox: running_sandbox) -> None:
    head, _, body = ask_once(sandbox, recipient="2348010000016").partition(b"\r\n\r\n")

    length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
    assert 0 < len(body) < length


def test_a_late_answer_comes_late_and_others_are_not_held_up(sandbox: running_sandbox) -> None:
    sandbox.set(fault={"kind": "slow", "seconds": 0.5}, calls=1)
    started = time.monotonic()

    with connect(sandbox) as slow:
        slow.sendall(request_bytes(headers="Connection: close\r\n"))
        sandbox.wait_for_sends(1)
        assert b"TG00" in ask_once(sandbox)
        assert b"TG00" in read_to_end(slow)

    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize("kind", ["slow_head", "slow_body"])
def test_a_dripping_answer_comes_byte_by_byte(sandbox: running_sandbox, kind: str) -> None:
    sandbox.set(fault={"kind": kind, "seconds": 0.001})

    assert ask_once(sandbox).endswith(b"MESSAGE SENT TO PROVIDER")


@pytest.mark.parametrize(
    ("fault", "start"),
    [
        ({"kind": "html"}, b"HTTP/1.1 200 OK\r\n"),
        ({"kind": "api_page"}, b"HTTP/1.1 200 OK\r\n"),
        ({"kind": "status", "status": 500}, b"HTTP/1.1 500 Internal Server Error\r\n"),
        ({"kind": "error_page", "status": 429, "retry_after": "-1"}, b"HTTP/1.1 429 Too Many Requests\r\n"),
        ({"kind": "redirect", "status": 307}, b"HTTP/1.1 307 Temporary Redirect\r\n"),
        ({"kind": "continue_flood"}, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue"),
        ({"kind": "no_content_with_body"}, b"HTTP/1.1 204 No Content\r\n"),
        ({"kind": "garbage"}, b"\x00"),
        ({"kind": "surplus"}, b"HTTP/1.1 200 OK\r\n"),
        ({"kind": "cut_unannounced"}, b"HTTP/1.1 200 OK\r\n"),
    ],
)
def test_an_odd_answer_is_odd_on_the_wire(sandbox: running_sandbox, fault: dict[str, Any], start: bytes) -> None:
    sandbox.set(fault=fault)

    assert ask_once(sandbox).startswith(start)
    assert len(sandbox.sends()) == 1


def test_a_huge_answer_does_not_grow_the_stand_in_and_stops_with_the_caller(sandbox: running_sandbox) -> None:
    sandbox.set(fault="huge")

    with connect(sandbox) as connection:
        connection.sendall(request_bytes())
        received = 0
        while received < 1 << 20:
            received += len(connection.recv(65_536))

    sandbox.set(fault=None)
    assert b"TG00" in ask_once(sandbox)


def test_closing_does_not_wait_for_hanging_answers() -> None:
    with running_sandbox() as sandbox:
        connection = connect(sandbox)
        connection.sendall(request_bytes(recipient="2348010000011"))
        sandbox.wait_for_sends(1)
        idle = connect(sandbox)
    with connection, idle:
        assert ends(connection)
        assert ends(idle)


def ends(connection: socket.socket) -> bool:
    """Whether the other side has ended the connection, either way."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


async def test_switches_and_ledger_work_over_http() -> None:
    async with (
        running_sandbox() as sandbox,
        httpx.AsyncClient(base_url=sandbox.base_url, trust_env=False, timeout=60) as client,
    ):
        set_answer = await client.post("/behaviours", json={"tg": "TG17", "calls": 1})
        rejected = await client.get(f"{FALLBACK}?{make_query()}")
        await client.get(f"{FALLBACK}?{make_query(message='second')}")
        ledger = (await client.get("/ledger", params={"since": 1})).json()
        cleared = await client.delete("/ledger")

    assert set_answer.json()["set"]["tg"]["calls_left"] == 1
    assert rejected.text == "TG17-Not Enough Units Balance"
    assert (ledger["total"], [entry["message"] for entry in ledger["entries"]]) == (2, ["second"])
    assert cleared.json()["count"] == 0
    assert set_answer.headers["content-security-policy"].startswith("default-src 'none'")


async def next_events(lines: Any, wanted: int) -> list[tuple[str, Any]]:
    """Read so many events from a stream."""
    events, name = [], ""
    async for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            events.append((name, json.loads(line.removeprefix("data: "))))
            if len(events) == wanted:
                break
    return events


async def test_the_stream_tells_what_was_there_and_what_comes() -> None:
    async with (
        running_sandbox() as sandbox,
        httpx.AsyncClient(base_url=sandbox.base_url, trust_env=False, timeout=DEADLINE) as client,
    ):
        await client.get(f"{FALLBACK}?{make_query(message='before')}")
        async with client.stream("GET", "/events") as stream:
            lines = stream.aiter_lines()
            first = await next_events(lines, 2)
            await client.get(f"{FALLBACK}?{make_query(message='after')}")
            then = await next_events(lines, 2)
        started = first[0][1]["started"]
        async with client.stream("GET", "/events", headers={"Last-Event-ID": f"{started}-1"}) as stream:
            again = await next_events(stream.aiter_lines(), 2)
        async with client.stream("GET", "/events", headers={"Last-Event-ID": f"{started - 1}-1"}) as stream:
            restarted = await next_events(stream.aiter_lines(), 2)

    def messages(events: list[tuple[str, Any]]) -> list[str]:
        return [entry["message"] for name, entries in events if name == "entries" for entry in entries]

    assert [name for name, _ in first] == ["state", "entries"]
    assert messages(first) == ["before"]
    assert messages(then) == messages(again) == ["after"]
    assert messages(restarted) == ["before", "after"]


async def test_a_foreign_name_gets_no_stream() -> None:
    async with (
        running_sandbox() as sandbox,
        httpx.AsyncClient(base_url=sandbox.base_url, trust_env=False, timeout=60) as client,
    ):
        answer = await client.get("/events", headers={"Host": "evil.example"})

    assert answer.status_code == 421


async def test_two_hundred_callers_at_once_are_all_answered_and_entered_once() -> None:
    async with running_sandbox() as sandbox:

        async def call(index: int) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
            writer.write(request_bytes(headers="Connection: close\r\n", message=f"message {index}"))
            answer = await reader.read()
            writer.close()
            return answer

        answers = await asyncio.gather(*map(call, range(200)))

        assert all(b"TG00" in answer for answer in answers)
        assert sorted(entry.message for entry in sandbox.sends()) == sorted(f"message {n}" for n in range(200))


ENVIRONMENT = {**COVERED, "PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", "COLUMNS": "300"}
COMMAND = [sys.executable, "-m", "relay", "sandbox"]


@pytest.mark.slow
def test_the_command_says_where_it_listens_and_ends_on_a_signal() -> None:
    command = [*COMMAND, "--port", "0", "--switch", "fields=9", "--switch", "tg=TG17"]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip("/")
        with urllib.request.urlopen(f"{url}/behaviours", timeout=DEADLINE) as answer:
            switches = json.load(answer)["switches"]
        process.send_signal(signal.SIGTERM)

        assert (switches["fields"], switches["tg"]) == (9, "TG17")
        assert process.wait(DEADLINE) == 0


@pytest.mark.slow
def test_the_command_refuses_a_wrong_switch_and_a_taken_port_in_one_line(sandbox: running_sandbox) -> None:
    for options in (["--switch", "fields=7"], ["--port", str(sandbox.port)]):
        done = subprocess.run([*COMMAND, *options], env=ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE)

        assert done.returncode == 2
        assert done.stderr.startswith("relay: ")
        assert done.stderr.count("\n") == 1
