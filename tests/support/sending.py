"""The sending core on a journal of the test's own: its runtime, and an ear for what it says."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from relay.domain.clients import Client
from relay.domain.codes import MessageType, Source
from relay.domain.hours import DeliveryWindow
from relay.domain.notification import Stored
from relay.domain.routing import DEFAULT_ROUTES
from relay.domain.words import WordMatcher
from relay.journal.sqlite import SqliteJournal
from relay.sandbox.responder import Responder
from relay.sandbox.switches import SandboxConfig
from relay.sending.breaker import Breaker
from relay.sending.bulkhead import Bulkhead
from relay.sending.channels import Channel, Channels
from relay.sending.delivery import Runtime, Switches
from relay.sending.events import Event
from relay.sending.lifecycle import Lifecycle
from relay.sending.policy import Policy
from relay.sending.ports import BalanceResult, Clock, Journal, SendRequest, SendResult, Upstream
from relay.sending.prepare import Rules
from relay.sending.requests import Caller, Submission
from relay.sending.tasks import Tasks
from relay.sending.turns import Turns
from relay.smsclone.client import SmscloneClient
from relay.smsclone.exchange import InProcessTransport
from relay.smsclone.query import Queries
from support.core import FailingJournal
from support.fakes import FakeClock, SequentialIds
from support.journal_file import lay_journal
from support.waiting import PATIENCE_SECONDS

LAGOS = ZoneInfo("Africa/Lagos")
AT_ANY_TIME: Mapping[Any, DeliveryWindow] = {}


class Heard:
    """Keeps what the core says."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """See ``Events.emit``."""
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        """The events of one type, in order."""
        return [event for event in self.events if isinstance(event, kind)]


def make_policy(**changes: Any) -> Policy:
    """The defaults of a relay, without limits and quiet hours."""
    fields: dict[str, Any] = {
        "notification_deadline_seconds": 25.0,
        "max_waiting": 100,
        "hash_key": b"k" * 32,
        "key_window_ms": 7 * 86_400_000,
        "queue_lifetime_ms": 86_400_000,
        "send_limits": {},
        "day_zone": LAGOS,
        "call_timeout_seconds": 20.0,
        "calls_at_a_time": 4,
        "second_attempt": frozenset(),
        "hours": AT_ANY_TIME,
        "queue_deliveries": 10,
        "queue_reserved": 2,
        "drain_seconds": 5.0,
        "balance_interval_seconds": 60.0,
        "retention_days": 30,
        "audit_months": 24,
        "usage_months": 24,
    }
    return Policy(**(fields | changes))


def make_runtime(journal: Journal, *, clock: Clock | None = None, heard: Heard | None = None, **policy: Any) -> Runtime:
    """What the stages share; ``policy`` are fields of the policy that a test wants otherwise."""
    events = heard or Heard()
    return Runtime(
        journal=journal,
        clock=clock or FakeClock(),
        events=events,
        tasks=Tasks(events),
        switches=Switches(started=True),
        turns=Turns(clock or FakeClock()),
        policy=make_policy(**policy),
    )


class Gated:
    """An upstream whose answers wait for a gate."""

    def __init__(self, real: Upstream) -> None:
        self._real = real
        self.open = asyncio.Event()
        self.open.set()
        self.arrived = asyncio.Event()

    def chunk(self, *arguments: Any) -> list[tuple[int, ...]]:
        """See ``Upstream.chunk``."""
        return self._real.chunk(*arguments)

    async def send(self, request: SendRequest, timeout_seconds: float) -> SendResult:
        """The answer, once the gate is open."""
        result = await self._real.send(request, timeout_seconds)
        self.arrived.set()
        await self.open.wait()
        return result

    async def balance(self, timeout_seconds: float) -> BalanceResult:
        """See ``Upstream.balance``."""
        return await self._real.balance(timeout_seconds)


class Scene:
    """The lifecycle on a SQLite journal, with the sandbox in this process as its upstream.

    Attributes:
        clock: the wall's time stands still until a test moves it.
        upstream: what arrived is in its ledger; its switches say how it behaves.
        gated: holds its answers back while a test wants it.
        journal: real, but for what a test lets fail.
    """

    def __init__(self, journal: SqliteJournal, clock: FakeClock, *, recipients_per_call: int, **policy: Any) -> None:
        self.clock = clock
        self.heard = Heard()
        self.journal = FailingJournal(journal)
        self.upstream = Responder(SandboxConfig(), clock.now_ms)
        client = SmscloneClient(
            Queries("https://upstream.invalid", "demo", "demo"),
            InProcessTransport(self.upstream.answer_in_process),
            most_recipients=recipients_per_call,
            monotonic=clock.monotonic,
        )
        self.breaker = Breaker(failures=3, open_seconds=10.0, on_change=lambda *_: None)
        self.bulkhead = Bulkhead(limit=4)
        self.gated = Gated(client)
        channel = Channel(self.gated, self.breaker, self.bulkhead)
        self.runtime = make_runtime(cast("Journal", self.journal), clock=clock, heard=self.heard, **policy)
        self.rules = Rules(matcher=WordMatcher([]), routes=DEFAULT_ROUTES, hours=self.runtime.policy.hours)
        self.lifecycle = Lifecycle(
            self.runtime, Channels({"smsclone": channel}, channel), SequentialIds(), lambda: self.rules, lambda: None
        )
        self.client = Client(name="billing", default_sender="ACME", message_types=frozenset(MessageType))

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return Caller(client=self.client, source=Source.API, request_id="r")

    def sends(self) -> dict[str, int]:
        """How many sends of each number were processed."""
        counts: dict[str, int] = {}
        for entry in self.upstream.ledger.since():
            for delivery in entry.deliveries:
                counts[delivery.recipient] = counts.get(delivery.recipient, 0) + 1
        return counts

    async def enqueue(self, *numbers: str, **fields: Any) -> Stored:
        """Accept a notification for later."""
        [answer] = await self.lifecycle.enqueue([submission(*numbers, **fields)], self.caller)
        if isinstance(answer, Exception):
            raise answer
        return answer.stored

    async def deliver_due(self, seconds: float = 0.0) -> int:
        """Let time pass, then take what is due from the queue and deliver it; how many there were."""
        self.clock.advance(seconds)
        leases = await self.journal.take(["billing"], list(MessageType), 10, self.clock.now_ms())
        for lease in leases:
            await self.lifecycle.deliver_taken(lease)
        return len(leases)

    async def find(self, notification_id: str) -> Stored:
        """A notification as the journal holds it."""
        stored = await self.journal.real.find(notification_id)
        assert stored is not None
        return stored


def submission(*numbers: str, **fields: Any) -> Submission:
    """A request to send a short text."""
    return Submission(
        **({"recipients": numbers or ("2348031234567",), "message": "Your order is on its way."} | fields)
    )


@asynccontextmanager
async def running_scene(directory: Path, *, recipients_per_call: int = 100, **policy: Any) -> AsyncIterator[Scene]:
    """A scene whose journal is in this directory; ``policy`` are fields of the policy that a test wants otherwise."""
    clock = FakeClock()
    lay_journal(directory / "relay.db")
    journal = SqliteJournal(directory / "relay.db", clock=clock)
    await journal.open()
    scene = Scene(journal, clock, recipients_per_call=recipients_per_call, **policy)
    try:
        yield scene
    finally:
        scene.journal.hooks.clear()
        await scene.runtime.tasks.drain(PATIENCE_SECONDS)
        await journal.close()
