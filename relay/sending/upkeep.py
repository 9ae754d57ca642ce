"""What a process does beside sending: say that it lives, settle what the dead left, look at switch, balance and queue.

Each duty is a loop with its own rhythm; a failure is told and tried again, and never stops another duty.
"""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

from msgspec import Struct

from relay.sending.dial import Line
from relay.sending.events import BalanceRead, Events, JournalFailed, Paused, QueueMeasured, TaskFailed
from relay.sending.ports import BalanceResult, Clock, Journal, JournalUnavailable
from relay.sending.recover import recover_dead
from relay.sending.requests import Balance

HEARTBEAT_SECONDS = 10.0
RECOVER_SECONDS = 15.0
PAUSE_SECONDS = 1.0
PROBE_SECONDS = 0.5
MEASURE_SECONDS = 5.0
PURGE_SECONDS = 3600.0
BALANCE_TIMEOUT_SECONDS = 10.0

_DAY_MS = 86_400_000


class UpkeepPolicy(Struct, frozen=True):
    """How often the balance is read, and how long notifications are kept."""

    balance_interval_seconds: float
    retention_days: int


class Upkeep:
    """The duties of one process. Holds what they found out: paused or not, the journal's health, the balance."""

    def __init__(self, journal: Journal, line: Line, clock: Clock, events: Events, policy: UpkeepPolicy) -> None:
        self._journal = journal
        self._line = line
        self._clock = clock
        self._events = events
        self._policy = policy
        self.paused = False
        self.journal_state = "ok"
        self.queue_clients: tuple[str, ...] = ()
        self.balance: Balance | None = None
        self._polled_at = float("-inf")

    def duties(self) -> list[tuple[str, Callable[[], Awaitable[None]], float]]:
        """Name, work and rhythm in seconds of every duty."""
        return [
            ("heartbeat", self.beat, HEARTBEAT_SECONDS),
            ("recover", self.recover, RECOVER_SECONDS),
            ("pause", self.look_at_pause, PAUSE_SECONDS),
            ("probe", self.probe, PROBE_SECONDS),
            ("measure", self.measure, MEASURE_SECONDS),
            ("balance", self.poll_balance, self._policy.balance_interval_seconds),
            ("purge", self.purge, PURGE_SECONDS),
        ]

    async def repeat(self, name: str, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Do a duty at its rhythm for ever; cancelled at the end of the process, between or within turns."""
        while True:
            try:
                await work()
            except JournalUnavailable as failure:
                self.journal_state = failure.reason
                self._events.emit(JournalFailed(during=name, reason=failure.reason))
            except Exception as bug:  # noqa: BLE001 — a bug in one duty must not end the others
                self._events.emit(TaskFailed(task=name, exception=type(bug).__name__))
            await asyncio.sleep(seconds)

    async def beat(self) -> None:
        """Say that this process lives."""
        await self._journal.heartbeat()
        self.journal_state = "ok"

    async def recover(self) -> None:
        """Settle what dead processes left."""
        await recover_dead(self._journal, self._clock, self._events)

    async def look_at_pause(self) -> None:
        """See whether the operator stopped all sending."""
        paused = await self._journal.is_paused()
        self.journal_state = "ok"
        if paused != self.paused:
            self.paused = paused
            self._events.emit(Paused(paused=paused))

    async def probe(self) -> None:
        """When the breaker has been open long enough, ask for the balance: one free call, and never a send."""
        breaker = self._line.breaker
        if breaker.may_probe(self._clock.monotonic()):
            result = BalanceResult(None, "bug")
            try:
                result = await self._line.upstream.balance(BALANCE_TIMEOUT_SECONDS)
            finally:
                breaker.record_probe(result, self._clock.monotonic())
        elif breaker.seconds_without_balance(self._clock.monotonic()) > 0:
            await self._poll_while_empty()

    async def _poll_while_empty(self) -> None:
        """TG17 stops sends until a poll shows units: look more often than every minute, but not at every turn."""
        if self._clock.monotonic() - self._polled_at >= BALANCE_TIMEOUT_SECONDS:
            await self.read_balance()

    async def poll_balance(self) -> None:
        """Read the balance for the gauge; one replica does it for all."""
        if await self._journal.leads():
            await self.read_balance()

    async def read_balance(self) -> str | None:
        """Read the units left now.

        Returns:
            ``None`` where they were read, else a closed word for why not.
        """
        started = self._polled_at = self._clock.monotonic()
        result = await self._line.upstream.balance(BALANCE_TIMEOUT_SECONDS)
        now = self._clock.now_ms()
        if result.units is not None:
            self.balance = Balance(result.units, now)
            self._line.breaker.record_balance(Decimal(result.units) > 0)
        seconds = self._clock.monotonic() - started
        self._events.emit(BalanceRead(units=result.units, at=now, seconds=seconds, cause=result.cause))
        return result.cause

    async def measure(self) -> None:
        """Look at how much waits."""
        now = self._clock.now_ms()
        depth = await self._journal.queue_depth(now)
        self.queue_clients = depth.clients
        oldest = 0.0 if depth.oldest_due_at is None else max(now - depth.oldest_due_at, 0) / 1000
        self._events.emit(
            QueueMeasured(queued=depth.queued, held=depth.held, claimed=depth.claimed, oldest_age_seconds=oldest)
        )

    async def purge(self) -> None:
        """Delete what is past its retention; one replica does it for all."""
        if await self._journal.leads():
            await self._journal.purge(self._clock.now_ms() - self._policy.retention_days * _DAY_MS)
