"""An upstream for tests that lives in the test's own process: its ledger survives whatever happens to the relay.

It answers as the test says, over real sockets, one thread a connection, and keeps every request that arrived in full.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

PAIRS = {
    "sent": ("0000", "SENT", "MESSAGE SENT TO PROVIDER"),
    "sent_dnd": ("0014", "DND_SENT", "MESSAGE THROUGH COOPERATE DND ROUTE"),
    "rejected": ("2222", "REJECTED", "MESSAGE REJECTED"),
    "dnd_rejected": ("3333", "DND_REJECTED", "DND_REJECTED_NUMBER"),
}
MESSAGE_ID = "9967534522177818556581618"


@dataclass(frozen=True)
class Request:
    """One request that arrived in full."""

    path: str
    query: dict[str, str]

    @property
    def numbers(self) -> list[str]:
        """The recipients that it names."""
        return [number for number in self.query.get("recipient", "").split(",") if number]


Answer = Callable[[Request], bytes | None]
"""Gives the whole HTTP answer, or ``None`` to close the connection without one."""


def http_answer(body: str, status: str = "200 OK", content_type: str = "text/html; charset=UTF-8") -> bytes:
    """An HTTP answer with a length, and the connection closed after it."""
    data = body.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + data


def processed(outcomes: dict[str, str]) -> str:
    """The body of a batch that was taken: number → one of :data:`PAIRS`."""
    records = []
    for number, outcome in outcomes.items():
        code, word, description = PAIRS[outcome]
        records.append(f"{code}|{number}|{MESSAGE_ID}|{word}|{description}")
    return "TG00-MESSAGE PROCESSED:" + ",".join(records)


def send_all(request: Request) -> bytes:
    """Say that every recipient was sent, and that there are units."""
    if request.path.endswith("/balance"):
        return http_answer("256.21")
    return http_answer(processed(dict.fromkeys(request.numbers, "sent")))


@dataclass
class Upstream:
    """A listening stand-in. ``answer`` may be replaced at any time; ``gate`` holds every answer back while cleared."""

    answer: Answer = send_all
    reset: bool = False
    """Close connections with a reset instead of an end."""
    ledger: list[Request] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0), backlog=512))

    def __post_init__(self) -> None:
        self.gate.set()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    @property
    def sends(self) -> list[Request]:
        """The requests that were sends."""
        with self._lock:
            return [request for request in self.ledger if not request.path.endswith("/balance")]

    def count(self) -> dict[str, int]:
        """How many sends arrived for each number."""
        counts: dict[str, int] = {}
        for request in self.sends:
            for number in request.numbers:
                counts[number] = counts.get(number, 0) + 1
        return counts

    def close(self) -> None:
        """Stop listening, and drop what is open."""
        self.gate.set()
        self.listener.close()
        with self._lock:
            for connection in self._connections:
                connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                chunk = connection.recv(65536)
                if not chunk:
                    return
                head += chunk
            target = urlsplit(head.split(b" ", 2)[1].decode("ascii"))
            query = {name: values[0] for name, values in parse_qs(target.query, keep_blank_values=True).items()}
            request = Request(target.path, query)
            with self._lock:
                self.ledger.append(request)
            self.arrived.release()
            self.gate.wait()
            answer = self.answer(request)
            if answer is not None:
                connection.sendall(answer)
            elif self.reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            return
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()


@contextmanager
def running_upstream(answer: Answer = send_all) -> Iterator[Upstream]:
    """An upstream that listens until the block ends."""
    upstream = Upstream(answer)
    try:
        yield upstream
    finally:
        upstream.close()
