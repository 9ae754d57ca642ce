"""The relay's own stand-in for smsclone, running beside a test: ``with`` and ``async with`` both do.

It listens in a thread with a loop of its own, so that a test that blocks does not block it. What it remembers is read
in that loop; nothing is read through the relay.

    async with running_sandbox(username="demo") as sandbox:
        sandbox.set(fault="hang", calls=1)
        ...
        assert [entry.message for entry in sandbox.sends()] == ["Hello"]
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from decimal import Decimal
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlencode

from relay.domain.secret import Secret
from relay.sandbox.ledger import LedgerEntry
from relay.sandbox.responder import Responder
from relay.sandbox.server import RunningSandbox, SandboxConfig, start_sandbox
from support.waiting import PATIENCE_SECONDS

FALLBACK = "/api/sms/dnd-fallback"
NORMAL = "/api/sms/sendsms"
DND = "/api/sms/dnd-route"
BALANCE = "/api/sms/balance"

T = TypeVar("T")


def make_responder(**config: Any) -> Responder:
    """A stand-in without a socket, at a fixed time."""
    return Responder(SandboxConfig(**config), lambda: 1_764_000_000_000)


def make_query(**change: str) -> str:
    """A query that is sent to one number, with parameters changed."""
    values = {
        "username": "demo",
        "password": "demo",
        "sender": "ACME",
        "recipient": "2348010000001",
        "message": "Hello",
    }
    return urlencode(values | change)


def ask(responder: Responder, path: str = FALLBACK, **change: str) -> str:
    """Send one message to a stand-in without a socket; the body of its answer."""
    return responder.answer(path, make_query(**change).encode()).body.decode()


class running_sandbox:
    """A stand-in that listens until the block ends.

    Args:
        config: fields of ``SandboxConfig``; ``password`` may be a plain string.
    """

    def __init__(self, **config: Any) -> None:
        if isinstance(config.get("password"), str):
            config["password"] = Secret(config["password"])
        self._config = SandboxConfig(**config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="sandbox", daemon=True)
        self._started: Future[RunningSandbox] = Future()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._sandbox: RunningSandbox

    @property
    def base_url(self) -> str:
        """Where it listens, without a slash at the end."""
        return self._sandbox.base_url

    @property
    def port(self) -> int:
        """The port it took."""
        return self._sandbox.port

    def ledger(self) -> list[LedgerEntry]:
        """Every request that arrived in full and is kept, oldest first."""
        return self._ask(self._sandbox.responder.ledger.since)

    def sends(self) -> list[LedgerEntry]:
        """The same without balance calls."""
        return [entry for entry in self.ledger() if entry.route != "balance"]

    def count(self) -> dict[str, int]:
        """How often each number was taken for sending (a batch was processed): above 1 somebody got it twice."""
        counts: dict[str, int] = {}
        for entry in self.sends():
            for delivery in entry.deliveries:
                counts[delivery.recipient] = counts.get(delivery.recipient, 0) + 1
        return counts

    def wait_for_sends(self, number: int, seconds: float = PATIENCE_SECONDS) -> list[LedgerEntry]:
        """Wait, blocking, until so many sends arrived."""
        give_up = time.monotonic() + seconds
        while len(sends := self.sends()) < number:
            assert time.monotonic() < give_up, f"{len(sends)} of {number} sends arrived in {seconds} s"
            time.sleep(0.01)
        return sends

    async def received(self, number: int, seconds: float = PATIENCE_SECONDS) -> list[LedgerEntry]:
        """Wait until so many sends arrived."""
        return await asyncio.to_thread(self.wait_for_sends, number, seconds)

    def set(self, **change: object) -> None:
        """Set switches, as ``POST /behaviours`` does; ``calls`` and ``on`` too."""
        self._ask(lambda: self._sandbox.responder.switches.set(change))

    def set_units(self, units: str) -> None:
        """Top the account up, or empty it."""
        self._ask(lambda: self._sandbox.responder.set_units(Decimal(units)))

    @property
    def units(self) -> Decimal:
        """Units left."""
        return self._ask(lambda: self._sandbox.responder.units)

    def clear(self) -> None:
        """Take every switch back and forget every entry."""
        self._ask(self._sandbox.responder.switches.clear)
        self._ask(self._sandbox.responder.ledger.clear)

    def __enter__(self) -> "running_sandbox":
        self._thread.start()
        self._sandbox = self._started.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def __aenter__(self) -> "running_sandbox":
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            sandbox = await start_sandbox(self._config)
        except OSError as failure:
            self._started.set_exception(failure)
            return
        self._started.set_result(sandbox)
        await self._stop.wait()
        await sandbox.close()

    def _ask(self, question: Callable[[], T]) -> T:
        async def answer() -> T:
            return question()

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result()
