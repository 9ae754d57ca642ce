"""Takes callbacks from their queue, tries them, and says what follows. Beside every send, never in its way.

At least once: what a process leaves behind comes back when its lease ends. So many at a time, and so few of them to
one target, that a receiver that hangs holds up no other.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from relay.domain.callback_rules import CallbackOutcome, find_url_error
from relay.domain.secret import Secret
from relay.sending.callback_queue import CallbackQueue, DueCallback
from relay.sending.events import Events, JournalFailed
from relay.sending.ports import Clock, JournalUnavailable
from relay.sending.tasks import Tasks
from relay.webhooks.callbacks.posting import DEADLINE_SECONDS
from relay.webhooks.callbacks.schedule import NextStep, Response, decide
from relay.webhooks.callbacks.signing import build_body, sign

AT_ONCE = 64
PER_TARGET = 4
POLL_SECONDS = 1.0
LEASE_MS = round(DEADLINE_SECONDS * 4000)
DRAIN_SECONDS = 5.0
"""How long a stop waits for attempts; those that are cut are repeated by whoever comes next."""


class CallbackClient(Struct, frozen=True):
    """Where a client's callbacks may go, and what signs them: one secret, or two while rotating."""

    hosts: frozenset[str]
    secrets: tuple[Secret, ...]


class Posting(Protocol):
    """Makes one attempt; ``relay.webhooks.callbacks.posting.Poster``."""

    async def post(self, url: str, headers: list[tuple[str, str]], body: bytes) -> Response:
        """Raises nothing that network or receiver can cause."""
        ...


class CallbackRecorder(Protocol):
    """Takes how attempts ended, for log and counter."""

    def record_callback(
        self, *, notification_id: str, client: str, outcome: CallbackOutcome, attempt: int, cause: str = ""
    ) -> None:
        """Take one. Never raises, never blocks. ``cause`` is a status or a closed word."""
        ...


class CallbackWorker:
    """The one of a process.

    Args:
        queue: the journal's.
        poster: makes attempts.
        clients: by name; read at every attempt, so that a reload (a rotated secret) takes effect at once.
        recorder: told how attempts end.
        events: told of a journal that fails, and of bugs.
        clock: for due times and signatures.
        chance: random numbers from 0 up to 1.
        poll_seconds: how often the queue is looked at.
    """

    def __init__(
        self,
        queue: CallbackQueue,
        poster: Posting,
        *,
        clients: Callable[[], Mapping[str, CallbackClient]],
        recorder: CallbackRecorder,
        events: Events,
        clock: Clock,
        chance: Callable[[], float],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._queue = queue
        self._poster = poster
        self._clients = clients
        self._recorder = recorder
        self._events = events
        self._clock = clock
        self._chance = chance
        self._poll_seconds = poll_seconds
        self._tasks = Tasks(events)
        self._under_way: Counter[str] = Counter()
        self._place_free = asyncio.Event()
        self._stopping = False

    def start(self) -> None:
        """Begin; needs the running loop."""
        self._tasks.loop(self._run(), "callbacks")

    async def stop(self, seconds: float = DRAIN_SECONDS) -> None:
        """Take nothing more, let attempts end for a while, then cut them."""
        self._stopping = True
        await self._tasks.drain(seconds)

    async def _run(self) -> None:
        while not self._stopping:
            self._place_free.clear()
            taken = await self._take()
            for due in taken:
                self._under_way[due.target] += 1
                self._tasks.spawn(self._deliver(due), "callback")
            # Where something was due, more may be: the next look is as soon as a place is free.
            await self._wait_for_place()

    async def _wait_for_place(self) -> None:
        try:
            async with asyncio.timeout(self._poll_seconds):
                await self._place_free.wait()
        except TimeoutError:
            return

    async def _take(self) -> list[DueCallback]:
        free = AT_ONCE - self._under_way.total()
        if free <= 0:
            return []
        try:
            return await self._queue.take_callbacks(
                free,
                self._clock.now_ms(),
                lease_ms=LEASE_MS,
                per_target=PER_TARGET,
                busy=list(self._under_way),
            )
        except JournalUnavailable as failure:
            self._events.emit(JournalFailed(during="take_callbacks", reason=failure.reason))
            return []

    async def _deliver(self, due: DueCallback) -> None:
        try:
            verdict = await self._attempt(due)
            notification = due.stored.notification
            self._recorder.record_callback(
                notification_id=notification.id,
                client=notification.client,
                outcome=verdict.outcome,
                attempt=due.attempt,
                cause=verdict.cause,
            )
            await self._settle(due, verdict)
        except JournalUnavailable as failure:
            # It comes back when its lease ends, and is repeated: its id tells the receiver.
            self._events.emit(JournalFailed(during="callback", reason=failure.reason))
        finally:
            self._leave(due.target)

    async def _attempt(self, due: DueCallback) -> NextStep:
        client = self._clients().get(due.stored.notification.client)
        if client is None or not client.secrets or find_url_error(due.url, client.hosts) is not None:
            return NextStep(CallbackOutcome.REFUSED, cause="not_allowed")
        body = build_body(due)
        headers = sign(due.id, body, client.secrets, self._clock.now_ms())
        response = await self._poster.post(due.url, headers, body)
        return decide(
            response,
            attempt=due.attempt,
            happened_at=due.happened_at,
            now_ms=self._clock.now_ms(),
            chance=self._chance(),
        )

    async def _settle(self, due: DueCallback, verdict: NextStep) -> None:
        now = self._clock.now_ms()
        if verdict.delay_seconds is not None:
            await self._queue.put_off_callback(due.id, now + round(verdict.delay_seconds * 1000))
        elif verdict.outcome is CallbackOutcome.GONE:
            await self._queue.disable_callbacks(due.stored.notification.client, due.url, now)
            await self._queue.finish_callback(due.id, due.stored.notification.id, verdict.outcome, now)
        else:
            await self._queue.finish_callback(due.id, due.stored.notification.id, verdict.outcome, now)

    def _leave(self, target: str) -> None:
        self._under_way[target] -= 1
        if self._under_way[target] <= 0:
            del self._under_way[target]
            self._place_free.set()
