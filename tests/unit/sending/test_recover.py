"""What a dead process left, on a real journal: dialled calls are unknown, the others certainly were not sent."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from relay.domain.codes import Code, MessageType, NotificationStatus, Status
from relay.domain.notification import Ended, Mode, Outcome, PlannedCall, UpstreamRecord, view_recipients
from relay.journal.sqlite import SqliteJournal
from relay.sending.events import Event, NotificationCompleted, Recovered
from relay.sending.ports import CallRef, Journal, Lease, Queued
from relay.sending.recover import recover_dead
from support.core import FailingJournal
from support.fakes import FakeClock
from support.journal import NOON, make_claim, make_queued

SENT = Outcome(code=Code.SENT, upstream=UpstreamRecord("0000", "SENT"))
ENDED = Ended(status=NotificationStatus.SENT, at=NOON + 1, results=())


class Heard:
    """Keeps what was said."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "relay.db", clock=FakeClock())
    await journal.open()
    yield journal
    await journal.close()


async def reopen(journal: SqliteJournal) -> None:
    """Become another process: what the first one owned belongs to a dead one now."""
    await journal.close()
    await journal.open()


async def claim(journal: SqliteJournal) -> Lease:
    [claimed] = await journal.claim([make_claim()])
    assert isinstance(claimed, Lease)
    return claimed


async def codes(journal: SqliteJournal, notification_id: str) -> list[Code]:
    stored = await journal.find(notification_id)
    assert stored is not None
    assert stored.completed_at is not None
    return [result.code for result in view_recipients(stored)]


async def test_a_claim_that_was_not_dialled_ends_as_not_sent(journal: SqliteJournal) -> None:
    claimed = await claim(journal)
    await reopen(journal)
    remains = await recover_dead(journal, FakeClock(), Heard())

    assert await codes(journal, claimed.stored.notification.id) == [Code.INTERRUPTED_BEFORE_DIAL]
    assert (remains.before_dial, remains.interrupted) == (1, 0)


async def test_a_call_that_was_out_is_unknown(journal: SqliteJournal) -> None:
    claimed = await claim(journal)
    notification_id = claimed.stored.notification.id
    await journal.start_dialling(CallRef(notification_id, claimed.stored.calls[0].ordinal, claimed.fence))
    await reopen(journal)
    await recover_dead(journal, FakeClock(), Heard())

    assert await codes(journal, notification_id) == [Code.INTERRUPTED]


async def test_what_was_queued_goes_back_to_the_queue(journal: SqliteJournal) -> None:
    [claimed] = await journal.claim([make_queued()])
    assert isinstance(claimed, Queued)
    [taken] = await journal.take(["billing"], list(MessageType), 1, NOON)
    await reopen(journal)
    heard = Heard()
    remains = await recover_dead(journal, FakeClock(), heard)
    [again] = await journal.take(["billing"], list(MessageType), 1, NOON)

    assert (remains.notifications, remains.requeued) == (1, 1)
    assert [type(event) for event in heard.events] == [Recovered]
    assert again.stored.notification.id == claimed.stored.notification.id
    assert again.fence > taken.fence


class SlowOwner(SqliteJournal):
    """A journal in which the owner that seemed dead ends the notification just before it is recovered."""

    late: CallRef | None = None

    async def take_from_dead(self, limit: int) -> list[Lease]:
        taken = await super().take_from_dead(limit)
        if self.late is not None:
            ref, self.late = self.late, None
            await self.record(ref, (SENT,), ended=Ended(status=NotificationStatus.SENT, at=NOON + 1, results=()))
        return taken


async def test_what_its_owner_ended_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    journal = SlowOwner(tmp_path / "relay.db", clock=FakeClock())
    await journal.open()
    claimed = await claim(journal)
    ref = CallRef(claimed.stored.notification.id, claimed.stored.calls[0].ordinal, claimed.fence)
    await journal.start_dialling(ref)
    await reopen(journal)
    journal.late = ref
    heard = Heard()
    await recover_dead(journal, FakeClock(), heard)

    assert await codes(journal, claimed.stored.notification.id) == [Code.SENT]
    assert [event for event in heard.events if isinstance(event, NotificationCompleted)] == []
    await journal.close()


class LateOwner(SqliteJournal):
    """A journal in which the owner that seemed dead records its answer just before it is recovered."""

    late: CallRef | None = None
    follow_ups: tuple[PlannedCall, ...] = ()

    async def take_from_dead(self, limit: int) -> list[Lease]:
        taken = await super().take_from_dead(limit)
        if taken and self.late is not None:
            ref, self.late = self.late, None
            outcomes = () if self.follow_ups else (SENT,)
            await self.record(ref, outcomes, follow_ups=self.follow_ups)
        return taken


@pytest.mark.parametrize("halved", [False, True], ids=["an answer", "follow-ups"])
async def test_what_a_late_owner_still_records_stands_and_nothing_stays_open(tmp_path: Path, halved: bool) -> None:
    journal = LateOwner(tmp_path / "relay.db", clock=FakeClock())
    await journal.open()
    claimed = await claim(journal)
    notification_id = claimed.stored.notification.id
    call = claimed.stored.calls[0]
    ref = CallRef(notification_id, call.ordinal, claimed.fence)
    await journal.start_dialling(ref)
    await reopen(journal)
    journal.late = ref
    journal.follow_ups = (PlannedCall(route=call.route, recipients=call.recipients),) if halved else ()
    await recover_dead(journal, FakeClock(), Heard())

    stored = await journal.find(notification_id)
    assert stored is not None
    assert stored.notification.mode is Mode.SYNCHRONOUS
    expected = Code.INTERRUPTED_BEFORE_DIAL if halved else Code.SENT
    assert await codes(journal, notification_id) == [expected]
    assert view_recipients(stored)[0].status is (Status.NOT_SENT if halved else Status.SENT)
    await journal.close()


async def test_what_can_never_be_ended_is_given_up_and_left_to_the_next_look(journal: SqliteJournal) -> None:
    claimed = await claim(journal)
    await reopen(journal)
    looks = 0

    failing = FailingJournal(journal)

    async def refuse(_real: object, *_: object) -> bool:
        nonlocal looks
        looks += 1
        return False

    failing.hooks["end"] = refuse
    await recover_dead(cast("Journal", failing), FakeClock(), Heard())
    stored = await journal.find(claimed.stored.notification.id)

    assert stored is not None
    assert stored.completed_at is None
    assert looks > 1
