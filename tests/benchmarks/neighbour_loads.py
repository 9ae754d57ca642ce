"""What runs beside the quiet client of ``neighbours.py``: the upstream, and each kind of busy client.

Each is a process of its own, so that nobody's clock is held up by it:

    python neighbour_loads.py upstream PORT '{"send_seconds": 0.3, "balance_seconds": 4}'
    python neighbour_loads.py batches PORT '{"keys": ["…", "…"]}'

A load prints ``begun`` after its first answer and goes on until its input is closed; then it prints what it was
answered as JSON, counts by status.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import uvloop

RECIPIENTS = 10_000
ITEMS = 1_000
CONNECTIONS = 400
BALANCES = 120
BALANCE_PAUSE_SECONDS = 1.0
SLOW = 1_000
BAD_KEYS_A_SECOND = 500
COUNT_PATH = "/counted"


class Connection:
    """A kept-alive connection that sends one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and read its answer; a closed connection is opened again first, and counts as 0."""
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24)
            return await self._exchange(self._reader, self._writer, request)
        except (OSError, asyncio.IncompleteReadError):
            self._writer = None
            return 0, b""

    async def _exchange(self, reader: Any, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bytes]:
        writer.write(request)
        head: bytes = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        body: bytes = await reader.readexactly(length)
        return int(head[9:12]), body


def build_request(method: str, path: str, key: str, body: bytes | None = None, *headers: str) -> bytes:
    """A whole request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: relay", f"Authorization: Bearer {key}", *headers]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


def build_message(*recipients: str, message_type: str = "transactional") -> dict[str, object]:
    """A notification."""
    return {
        "sender": "ACME",
        "recipients": recipients,
        "message": "Your order 1204 is on its way.",
        "message_type": message_type,
    }


class Tally:
    """Counts answers, and says when the first have come."""

    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()

    def add(self, status: int) -> None:
        """Take an answer's status."""
        if not self.answers:
            print("begun", flush=True)
        self.answers[status] += 1


async def repeat(
    tally: Tally, port: int, request: bytes, pause_seconds: float = 0.0, first_seconds: float = 0.0
) -> None:
    """One connection that asks again and again, at first after a while."""
    await asyncio.sleep(first_seconds)
    connection = Connection(port)
    while True:
        status, _ = await connection.ask(request)
        tally.add(status)
        if pause_seconds or not status:
            await asyncio.sleep(pause_seconds or 0.1)


def connections(tally: Tally, port: int, keys: Sequence[str]) -> list[Coroutine[Any, Any, None]]:
    """One client with very many connections that sends over each as soon as it is answered."""
    requests = [
        build_request("POST", "/v1/notifications", keys[0], json.dumps(build_message(f"234801{i:07}")).encode())
        for i in range(CONNECTIONS)
    ]
    return [repeat(tally, port, request) for request in requests]


def batches(tally: Tally, port: int, keys: Sequence[str]) -> list[Coroutine[Any, Any, None]]:
    """A batch after the other from every client."""
    body = json.dumps([build_message(f"234802{i:07}") for i in range(ITEMS)]).encode()
    return [repeat(tally, port, build_request("POST", "/v1/notifications/batch", key, body)) for key in keys]


def recipients(tally: Tally, port: int, keys: Sequence[str]) -> list[Coroutine[Any, Any, None]]:
    """A notification to very many recipients after the other from every client."""
    body = json.dumps(build_message(*(f"234803{i:07}" for i in range(RECIPIENTS)))).encode()
    return [
        repeat(tally, port, build_request("POST", "/v1/notifications", key, body, "Prefer: respond-async"))
        for key in keys
    ]


def lists(tally: Tally, port: int, keys: Sequence[str]) -> list[Coroutine[Any, Any, None]]:
    """A list after the other from every client."""
    return [repeat(tally, port, build_request("GET", "/v1/notifications?limit=200", key)) for key in keys]


def expanded(tally: Tally, port: int, keys: Sequence[str]) -> list[Coroutine[Any, Any, None]]:
    """The same with recipients."""
    path = "/v1/notifications?limit=20&expand=recipients"
    return [repeat(tally, port, build_request("GET", path, key)) for key in keys]


def balances(tally: Tally, port: int, keys: Sequence[str]) -> list[Coroutine[Any, Any, None]]:
    """Many that ask for the balance, each again a second after its answer."""
    request = build_request("GET", "/v1/balance", keys[0])
    return [
        repeat(tally, port, request, BALANCE_PAUSE_SECONDS, place * BALANCE_PAUSE_SECONDS / BALANCES)
        for place in range(BALANCES)
    ]


def slow(tally: Tally, port: int, keys: Sequence[str]) -> list[Coroutine[Any, Any, None]]:
    """Connections that stand still, half of them in a head and half in a body, and a flood of keys that nobody has."""
    body = json.dumps(build_message("2348012345678")).encode()
    whole = build_request("POST", "/v1/notifications", keys[0], body)
    bad = build_request("POST", "/v1/notifications", keys[0][:-4] + "AAAA", body)
    lines = 10
    return [
        *(stand_still(port, whole[: -len(body) + 1] if i % 2 else whole[:40]) for i in range(SLOW)),
        *(repeat(tally, port, bad, lines / BAD_KEYS_A_SECOND) for _ in range(lines)),
    ]


async def stand_still(port: int, beginning: bytes) -> None:
    """Send the beginning of a request and no more; when the relay has had enough, begin again."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(beginning)
            await reader.read()
        except OSError:
            await asyncio.sleep(1.0)


LOADS: dict[str, Callable[[Tally, int, Sequence[str]], list[Coroutine[Any, Any, None]]]] = {
    load.__name__: load for load in (connections, batches, recipients, lists, expanded, balances, slow)
}


async def run_load(name: str, port: int, keys: Sequence[str]) -> None:
    """Run a load until the input is closed."""
    tally = Tally()
    tasks = [asyncio.ensure_future(work) for work in LOADS[name](tally, port, keys)]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    print(json.dumps(tally.answers), flush=True)


class SlowUpstream(asyncio.Protocol):
    """Says that everything was sent, after a while, and counts what it is asked for."""

    counted: ClassVar[Counter[str]] = Counter()

    def __init__(self, send_seconds: float, balance_seconds: float) -> None:
        self._seconds = {"send": send_seconds, "balance": balance_seconds, "count": 0.0}
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        target = urlsplit(self._received.split(b" ", 2)[1].decode())
        self._received = b""
        kind = "count" if target.path == COUNT_PATH else "balance" if target.path.endswith("/balance") else "send"
        self.counted[kind] += 1
        body = self._answer(kind, target.query)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n"
        asyncio.get_running_loop().call_later(self._seconds[kind], self._reply, head.encode() + body)

    def _reply(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)

    def _answer(self, kind: str, query: str) -> bytes:
        if kind == "balance":
            return b"256.21"
        if kind == "count":
            return json.dumps(self.counted).encode()
        records = (
            f"0000|{number}|99675{self.counted['send']:012}{place:05}|SENT|MESSAGE SENT TO PROVIDER"
            for place, number in enumerate(parse_qs(query)["recipient"][0].split(","))
        )
        return b"TG00-MESSAGE PROCESSED:" + ",".join(records).encode()


async def run_upstream(port: int, send_seconds: float, balance_seconds: float) -> None:
    """Be an upstream until the input is closed."""
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: SlowUpstream(send_seconds, balance_seconds), "127.0.0.1", port, backlog=4096)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Run what the arguments name."""
    name, port, options = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    uvloop.run(run_upstream(port, **options) if name == "upstream" else run_load(name, port, **options))


if __name__ == "__main__":
    main()
