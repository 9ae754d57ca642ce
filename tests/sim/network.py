"""The network and the upstream, simulated: what arrives, what is lost on the way, and what was sent for good."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sim.faults import Fault
from sim.guises import Guise
from sim.loop import Process, SimulatedLoop

_MEAN_SECONDS = 0.02
_PAGE = b"<html><body>Under maintenance</body></html>"
DND = "2348090000001"
"""On DND: rejected on the normal route, sent by the others."""
REJECTED = "2348090000002"
ACCOUNTS = ("demo", "demo2")
"""User names: of the account that is taken first, and of the one after it. Their units are not counted."""
PLAIN = Guise(plain=(DND, REJECTED))
"""Nothing is disguised."""


class Upstream:
    """Sends what arrives in full, and knows what it sent.

    Attributes:
        effects: how often each text was sent to each number, as the scenario has them.
        requests: how many sends arrived in full.
    """

    def __init__(
        self, loop: SimulatedLoop, faults: tuple[Fault, ...], most_per_call: int, guise: Guise = PLAIN
    ) -> None:
        self._loop = loop
        self._guise = guise
        self._most = most_per_call
        self._refusals = [fault for fault in faults if fault.kind == "upstream"]
        self.effects: Counter[tuple[str, str]] = Counter()
        self.requests = 0
        self.calm = False

    def receive(self, target: str) -> str:
        """Do what a request asks for, and give the text of the answer."""
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        refusal = self._refusal(query["username"][0])
        if parts.path.endswith("/balance"):
            return refusal or "256.21"
        self.requests += 1
        if "recipient" not in query:
            return "TG14-Empty Recipients"
        numbers, text = query["recipient"][0].split(","), query["message"][0]
        if refusal:
            return refusal
        if len(numbers) > self._most:
            return "TG20-Recipients above the maximum target"
        records = [self._send(number, text, parts.path) for number in numbers]
        return "TG00-MESSAGE PROCESSED:" + ",".join(records)

    def _send(self, number: str, text: str, path: str) -> str:
        plain = self._guise.undo_number(number), self._guise.undo_text(text)
        if number == DND and path.endswith("/sendsms"):
            return f"3333|{number}|{self.requests}|DND_REJECTED|DND_REJECTED_NUMBER"
        if number == REJECTED:
            return f"2222|{number}|{self.requests}|REJECTED|MESSAGE REJECTED"
        self.effects[plain] += 1
        return f"0000|{number}|{self.requests}|SENT|MESSAGE SENT TO PROVIDER"

    def _refusal(self, account: str) -> str:
        now = self._loop.time()
        if self.calm:
            return ""
        return next(
            (
                f"{fault.how}-No"
                for fault in self._refusals
                if fault.at <= now < fault.at + fault.seconds and fault.account in (None, account)
            ),
            "",
        )


class Network:
    """Carries bytes between processes and the upstream."""

    def __init__(
        self,
        loop: SimulatedLoop,
        upstream: Upstream,
        faults: tuple[Fault, ...],
        reach: Callable[[Process, str], bool],
        note: Callable[[Process, str], None],
    ) -> None:
        self.loop = loop
        self._upstream = upstream
        self.reach = reach
        self.note = note
        self._planned = {fault.point: fault.how for fault in faults if fault.kind == "call"}
        self.calls = 0
        self.calm = False
        loop.connector = self.connect

    async def connect(self, factory: Callable[[], asyncio.Protocol]) -> tuple[Any, Any]:
        """Make a connection for the process that asks."""
        process = self.loop.current
        self.calls += 1
        how = "" if self.calm else self._planned.get(self.calls, "")
        connected: asyncio.Future[None] = self.loop.create_future()
        if self.reach(process, "connects") and how != "silent":
            process.post(self.delay(), _resolve, connected)
        await connected
        if how == "refused":
            raise ConnectionRefusedError
        protocol = factory()
        line = Line(self, process, protocol, how)
        protocol.connection_made(line)
        return line, protocol

    def carry(self, line: "Line", request: bytes) -> None:
        """A request arrives at the other side, or does not."""
        process, how = line.process, line.how
        target = request.split(b" ", 2)[1].decode("ascii")
        what = "balance request" if "/balance" in target else "send"
        self.note(process, f"{what} {how or 'arrives'}")
        if how in ("request_lost", "request_cut"):
            if how == "request_cut":
                line.lose(self.delay(), ConnectionResetError())
            return
        text = "" if how == "page" else self._upstream.receive(target)
        self.reach(process, "has its request arrive")  # what was sent is sent, whoever dies now
        body, status = (_PAGE, 200) if how == "page" else (text.encode(), 200)
        if how == "sent_then_error":
            body, status = b"upstream error", 502
        answer = b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body
        self._answer(line, answer, how)

    def _answer(self, line: "Line", answer: bytes, how: str) -> None:
        delay, chance = self.delay(), self.loop.random
        if how == "answer_lost":
            return
        if how == "answer_reset":
            line.lose(delay, ConnectionResetError())
        elif how == "answer_closed":
            line.lose(delay, None)
        elif how == "answer_half":
            line.hear(delay, answer[: chance.randrange(1, len(answer))])
            line.lose(delay + self.delay(), None)
        elif how == "answer_dripped":
            step = chance.uniform(0.01, 0.5)
            for place in range(0, len(answer), 8):
                line.hear(delay + step * place / 8, answer[place : place + 8])
        else:
            line.hear(delay + (chance.uniform(0.5, 45.0) if how == "answer_slow" else 0.0), answer)

    def delay(self) -> float:
        """How long something is on its way."""
        return self.loop.random.expovariate(1 / _MEAN_SECONDS)


class Line(asyncio.Transport):
    """One connection, as the relay's end sees it."""

    def __init__(self, network: Network, process: Process, protocol: asyncio.Protocol, how: str) -> None:
        super().__init__()
        self.process = process
        self.how = how
        self._network = network
        self._protocol = protocol
        self._closing = False

    def write(self, data: Any) -> None:
        if not self._closing and self._network.reach(self.process, "writes its request"):
            self._network.loop.world.post(self._network.delay(), self._network.carry, self, bytes(data))

    def is_closing(self) -> bool:
        return self._closing

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            self._network.loop.call_soon(self._protocol.connection_lost, None)

    def close(self) -> None:
        self.abort()

    def hear(self, delay: float, data: bytes) -> None:
        """Let bytes arrive."""
        self.process.post(delay, self._hear, data)

    def lose(self, delay: float, error: Exception | None) -> None:
        """Let the other side end the connection."""
        self.process.post(delay, self._lose, error)

    def _hear(self, data: bytes) -> None:
        if not self._closing and self._network.reach(self.process, "hears an answer"):
            self._protocol.data_received(data)

    def _lose(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._protocol.connection_lost(error)


def _resolve(connected: "asyncio.Future[None]") -> None:
    if not connected.done():
        connected.set_result(None)
