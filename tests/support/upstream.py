"""What smsclone says when all is well, and the fault server saying it, or whatever else a test wants said."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from urllib.parse import parse_qs, urlsplit

from support import fault_server
from support.fault_server import FaultServer, Peer

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


def http_answer(body: str, status: str = "200 OK", content_type: str = fault_server.HTML) -> bytes:
    """An HTTP answer with a length, and the connection closed after it."""
    return fault_server.http_answer(body, status=status, headers=("Connection: close",), content_type=content_type)


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


class Upstream(FaultServer):
    """The fault server, answering as the test says. It lives in the test's own process, so that what it saw outlives
    whatever happens to the relay.

    Attributes:
        answer: gives the answer; may be replaced at any time.
        gate: holds every answer back while it is cleared.
        reset: close connections with a reset instead of an end where there is no answer.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(self._answer_one)
        self.answer = answer
        self.gate = threading.Event()
        self.gate.set()
        self.reset = False

    @property
    def sends(self) -> list[Request]:
        """The requests that were sends."""
        return [request for request in map(_parse, self.ledger) if not request.path.endswith("/balance")]

    def count(self) -> dict[str, int]:
        """How many sends arrived for each number."""
        return dict(Counter(number for request in self.sends for number in request.numbers))

    def _answer_one(self, peer: Peer) -> None:
        request = _parse(peer.receive())
        self.gate.wait()
        answer = self.answer(request)
        if answer is not None:
            peer.send(answer)
        elif self.reset:
            peer.reset()

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        super().__exit__()


@cache
def _parse(head: bytes) -> Request:
    target = urlsplit(head.split(b" ", 2)[1].decode("ascii"))
    query = {name: values[0] for name, values in parse_qs(target.query, keep_blank_values=True).items()}
    return Request(target.path, query)


@contextmanager
def nobody_listening() -> Iterator[str]:
    """An address that refuses connections, and that nobody else can begin to listen on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def running_upstream(answer: Answer = send_all) -> Iterator[Upstream]:
    """An upstream that listens until the block ends."""
    with Upstream(answer) as upstream:
        yield upstream
