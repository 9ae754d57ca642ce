"""What a process does beside sending: it says that it lives, settles what dead processes left, looks at the operator's
switch, the balance and the queue.

Each job is a loop with its own interval; a failure is reported and tried again, and never stops another job.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime

from relay.domain.clients import Client
from relay.sending.balance import BalanceReader
from relay.sending.budget_watch import BudgetWatch
from relay.sending.channels import Channel
from relay.sending.delivery import Runtime
from relay.sending.events import (
    AuditSealed,
    JournalFailed,
    Paused,
    QueueMeasured,
    TaskFailed,
    UnknownMeasured,
)
from relay.sending.ports import JournalUnavailable
from relay.sending.recover import recover_dead

HEARTBEAT_SECONDS = 10.0
RECOVER_SECONDS = 15.0
PAUSE_SECONDS = 1.0
PROBE_SECONDS = 0.5
MEASURE_SECONDS = 5.0
PURGE_SECONDS = 3600.0
TEND_SECONDS = 5.0
TEND_PAUSE_SECONDS = 0.02
AUDIT_SECONDS = 3600.0
UNKNOWN_SECONDS = 15.0
BUDGET_SECONDS = 15.0

_DAY_MS = 86_400_000


class Jobs:
    """The background jobs of one process. Holds what they found out: the journal's health, who waits, the balances."""

    def __init__(
        self, runtime: Runtime, channels: Iterable[Channel], clients: Callable[[], Mapping[str, Client]]
    ) -> None:
        self._journal = runtime.journal
        self._clock = runtime.clock
        self._events = runtime.events
        self._policy = runtime.policy
        self._switches = runtime.switches
        self.balances = {channel.account: BalanceReader(runtime, channel) for channel in channels}
        self._budgets = BudgetWatch(runtime, clients)
        self.journal_state = "ok"
        self.queue_clients: tuple[str, ...] = ()
        self._looks_begun = 0
        self._looked = 0

    def all(self) -> list[tuple[str, Callable[[], Awaitable[None]], float]]:
        """Name, work and interval in seconds of every job."""
        per_account = [
            job
            for reader in self.balances.values()
            for job in (("balance", reader.poll, reader.interval_seconds), ("probe", reader.probe, PROBE_SECONDS))
        ]
        return [
            *per_account,
            ("heartbeat", self.beat, HEARTBEAT_SECONDS),
            ("recover", self.recover, RECOVER_SECONDS),
            ("pause", self.look_at_pause, PAUSE_SECONDS),
            ("measure", self.measure, MEASURE_SECONDS),
            ("purge", self.purge, PURGE_SECONDS),
            ("tend", self.tend, TEND_SECONDS),
            ("audit", self.note_audit, AUDIT_SECONDS),
            ("unknown", self.measure_unknown, UNKNOWN_SECONDS),
            ("budget", self._budgets.measure, BUDGET_SECONDS),
        ]

    async def repeat(self, name: str, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Do a job at its interval for ever; cancelled at the end of the process, also in the middle."""
        while True:
            try:
                await work()
            except JournalUnavailable as failure:
                self.journal_state = failure.reason
                self._events.emit(JournalFailed(during=name, reason=failure.reason))
            except Exception as bug:  # noqa: BLE001 — a bug in one job must not end the others
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
        """See what the operator stopped.

        A look is dropped where one that began later is over before it: it may have been too early for a stop that the
        operator has since been told is in force.
        """
        self._looks_begun += 1
        look = self._looks_begun
        pauses = await self._journal.list_pauses(self._clock.now_ms())
        self.journal_state = "ok"
        if look < self._looked:
            return
        self._looked = look
        known, self._switches.pauses = self._switches.pauses, pauses
        self._switches.paused = any(each.scope.is_everything for each in pauses)
        for each in known:
            if each not in pauses:
                self._events.emit(Paused(pause=each, over=True, everything=self._switches.paused))
        for each in pauses:
            if each not in known:
                self._events.emit(Paused(pause=each, over=False, everything=self._switches.paused))

    async def measure(self) -> None:
        """Look at how much waits."""
        now = self._clock.now_ms()
        depth = await self._journal.queue_depth(now)
        self.queue_clients = depth.clients
        oldest = 0.0 if depth.oldest_due_at is None else max(now - depth.oldest_due_at, 0) / 1000
        self._events.emit(
            QueueMeasured(
                queued=depth.queued,
                held=depth.held,
                scheduled=depth.scheduled,
                claimed=depth.claimed,
                oldest_age_seconds=oldest,
            )
        )

    async def purge(self) -> None:
        """Delete what is past its retention; one replica does it for all."""
        if await self._journal.leads():
            now = self._clock.now_ms()
            usage_from = datetime.fromtimestamp(_months_before(now, self._policy.usage_months) / 1000, UTC)
            await self._journal.purge(now - self._policy.retention_days * _DAY_MS, usage_from.strftime("%Y-%m-%d"))
            await self._journal.purge_audit(_months_before(now, self._policy.audit_months))

    async def measure_unknown(self) -> None:
        """Look at how many outcomes nobody knows; one replica tells it for all, the others say 0."""
        recipients: Mapping[str, int] = {}
        oldest = 0.0
        if await self._journal.leads():
            counted = await self._journal.count_unknown()
            recipients = counted.recipients
            if counted.oldest_at is not None:
                oldest = max(self._clock.now_ms() - counted.oldest_at, 0) / 1000
        self._events.emit(UnknownMeasured(recipients=recipients, oldest_age_seconds=oldest))

    async def note_audit(self) -> None:
        """Say what the audit's newest hash is, for a log that is kept elsewhere; one replica does it for all."""
        if await self._journal.leads():
            page = await self._journal.read_audit(1)
            self._events.emit(AuditSealed(hash=page.newest_hash, row=page.rows[0].id if page.rows else None))

    async def tend(self) -> None:
        """Do what the journal does at leisure, bit by bit; one replica does it for all."""
        more = await self._journal.leads()
        while more:
            more = await self._journal.tend()
            await asyncio.sleep(TEND_PAUSE_SECONDS)


def _months_before(now_ms: int, months: int) -> int:
    """The begin of the month so many months ago (UTC), in milliseconds: whole months go, so that few rows say so."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    year, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp()) * 1000
