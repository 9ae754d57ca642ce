"""The queue of callbacks, over both stores: nothing is lost between an end and its callback, nothing comes unbidden."""

import asyncio
from typing import Any

import pytest

from relay.domain.callback_rules import CallbackOutcome
from relay.domain.codes import NotificationStatus, ResolvedBy
from relay.domain.notification import overall_status, view_recipients
from relay.journal.base import StoredJournal
from relay.sending.callback_queue import CallbackKind, DueCallback
from relay.sending.ports import CallRef, Claim
from support.journal import (
    DAY_MS,
    NO_ANSWER,
    NOON,
    SENT,
    accept,
    audit,
    ended,
    first_call,
    make_queued,
    send,
)
from support.stores import Store

URL = "https://orders.internal/sms"
END = NOON + 1_000
LEASE_MS = 60_000


def make_calling(url: str = URL, **changes: Any) -> Claim:
    """A claim of a notification that calls back."""
    return make_queued(callback_url=url, **changes)


def make_calling_twice() -> Claim:
    """The same with two calls."""
    return make_queued("2348012345678", "2348012345679", calls=[(0,), (1,)], callback_url=URL)


async def finish(journal: StoredJournal, claim: Claim, **changes: Any) -> None:
    """Take a notification through to its end."""
    fields = {"callback_url": claim.notification.callback_url} | changes
    await send(journal, claim, **fields)


async def take(
    journal: StoredJournal, now: int = END, limit: int = 10, per_target: int = 10, busy: tuple[str, ...] = ()
) -> list[DueCallback]:
    """Take what is due."""
    return await journal.take_callbacks(limit, now, lease_ms=LEASE_MS, per_target=per_target, busy=busy)


async def test_the_end_of_a_notification_puts_its_callback_in_line(journal: StoredJournal) -> None:
    claim = make_calling()
    assert await take(journal) == []
    await finish(journal, claim)
    [due] = await take(journal)

    assert due.id == f"msg_{claim.notification.id}_completed"
    assert (due.kind, due.url, due.target) == (CallbackKind.COMPLETED, URL, "https://orders.internal:443")
    assert (due.attempt, due.happened_at) == (1, END)
    assert overall_status(view_recipients(due.stored)) is NotificationStatus.SENT
    assert due.stored.notification.message is None


async def test_who_asked_for_none_gets_none(journal: StoredJournal) -> None:
    await send(journal, make_queued())

    assert await take(journal) == []


async def test_the_last_of_several_calls_puts_it_in_line(journal: StoredJournal) -> None:
    claim = make_calling_twice()
    accepted = await accept(journal, claim)
    [taken] = await journal.take(["billing"], [claim.notification.message_type], 1, NOON)
    refs = [CallRef(claim.notification.id, call.ordinal, taken.fence) for call in accepted.stored.calls]
    for ref in refs:
        assert await journal.start_dialling(ref)
    await journal.record(refs[0], (SENT,))
    assert await take(journal) == []
    await journal.record(refs[1], (SENT,), ended=ended(callback_url=URL))

    assert len(await take(journal)) == 1


async def test_completing_and_cancelling_put_it_in_line(journal: StoredJournal) -> None:
    claim = make_calling()
    await accept(journal, claim)
    await journal.cancel(claim.notification.id, "billing", END)
    [due] = await take(journal)

    assert due.stored.notification.id == claim.notification.id
    assert overall_status(view_recipients(due.stored)) is NotificationStatus.NOT_SENT


async def test_a_restored_backup_tells_what_nobody_knows_any_more(journal: StoredJournal, store: Store) -> None:
    claim = make_calling()
    await accept(journal, claim)
    store.clock.wall_ms = END
    await journal.mark_restored()

    assert [due.stored.notification.id for due in await take(journal)] == [claim.notification.id]


async def test_an_unknown_outcome_that_becomes_definite_calls_back_again(journal: StoredJournal) -> None:
    claim = make_calling()
    await finish(journal, claim, outcome=NO_ANSWER)
    [first] = await take(journal)
    await journal.finish_callback(first.id, first.stored.notification.id, CallbackOutcome.DELIVERED, END)
    await journal.settle(claim.notification.id, {0: SENT}, ResolvedBy.OPERATOR, END + 5_000, audit("settle"))
    [second] = await take(journal, END + 5_000)

    assert second.kind is CallbackKind.RESOLVED
    assert second.id == f"msg_{claim.notification.id}_resolved_{END + 5_000}"
    assert second.happened_at == END + 5_000
    assert overall_status(view_recipients(second.stored)) is NotificationStatus.SENT


async def test_a_late_answer_calls_back_again(journal: StoredJournal, store: Store) -> None:
    claim = make_calling()
    accepted = await accept(journal, claim)
    [taken] = await journal.take(["billing"], [claim.notification.message_type], 1, NOON)
    ref = CallRef(claim.notification.id, first_call(accepted).ordinal, taken.fence)
    await journal.start_dialling(ref)
    await journal.record(ref, (NO_ANSWER,), ended=ended(NotificationStatus.UNKNOWN, callback_url=URL))
    store.clock.wall_ms = END + 2_000
    await journal.record(ref, (SENT,))

    kinds = [due.kind for due in await take(journal, END + 2_000)]
    assert kinds == [CallbackKind.COMPLETED, CallbackKind.RESOLVED]


async def test_an_unknown_outcome_that_is_settled_before_the_end_calls_back_once(journal: StoredJournal) -> None:
    claim = make_calling_twice()
    accepted = await accept(journal, claim)
    [taken] = await journal.take(["billing"], [claim.notification.message_type], 1, NOON)
    one, two = (CallRef(claim.notification.id, call.ordinal, taken.fence) for call in accepted.stored.calls)
    await journal.start_dialling(one)
    await journal.record(one, (NO_ANSWER,))
    await journal.record(one, (SENT,))

    assert await take(journal) == []
    await journal.start_dialling(two)
    await journal.record(two, (SENT,), ended=ended(callback_url=URL))
    assert [due.kind for due in await take(journal)] == [CallbackKind.COMPLETED]


async def test_a_repeated_record_puts_nothing_in_line_again(journal: StoredJournal) -> None:
    claim = make_calling()
    await finish(journal, claim)
    [due] = await take(journal)
    await journal.finish_callback(due.id, due.stored.notification.id, CallbackOutcome.DELIVERED, END)
    await journal.end(claim.notification.id, ended(callback_url=URL))

    assert await take(journal, END + DAY_MS) == []


async def test_what_is_leased_comes_back_when_the_lease_ends(journal: StoredJournal) -> None:
    await finish(journal, make_calling())
    [first] = await take(journal)

    assert await take(journal, END + LEASE_MS - 1) == []
    [second] = await take(journal, END + LEASE_MS)
    assert (second.id, second.attempt) == (first.id, 2)


async def test_what_is_put_off_comes_again_then(journal: StoredJournal) -> None:
    await finish(journal, make_calling())
    [due] = await take(journal)
    await journal.put_off_callback(due.id, END + 500)

    assert await take(journal, END + 499) == []
    assert [again.attempt for again in await take(journal, END + 500)] == [2]


async def test_what_is_finished_does_not_come_again(journal: StoredJournal) -> None:
    await finish(journal, make_calling())
    [due] = await take(journal)
    await journal.finish_callback(due.id, due.stored.notification.id, CallbackOutcome.DELIVERED, END)
    await journal.finish_callback(due.id, due.stored.notification.id, CallbackOutcome.DELIVERED, END)
    await journal.put_off_callback(due.id, END)

    assert await take(journal, END + DAY_MS) == []


async def test_the_oldest_come_first_and_no_more_than_asked(journal: StoredJournal) -> None:
    claims = [make_calling() for _ in range(5)]
    for place, claim in enumerate(claims):
        await finish(journal, claim, at=END + 10 - place)
    ids = [claim.notification.id for claim in reversed(claims)]

    assert [due.stored.notification.id for due in await take(journal, END + 10, limit=3)] == ids[:3]
    assert [due.stored.notification.id for due in await take(journal, END + 10)] == ids[3:]


async def test_a_long_line_to_one_target_hides_no_other(journal: StoredJournal) -> None:
    for _ in range(6):
        await finish(journal, make_calling())
    await finish(journal, make_calling("https://events.internal:8443/x"), at=END + 10)
    taken = await take(journal, END + 10, limit=10, per_target=2)

    assert sorted(due.target for due in taken) == [
        "https://events.internal:8443",
        "https://orders.internal:443",
        "https://orders.internal:443",
    ]


async def test_a_busy_target_gets_none(journal: StoredJournal) -> None:
    await finish(journal, make_calling())
    await finish(journal, make_calling("https://events.internal/x"))
    taken = await take(journal, busy=("https://orders.internal:443", "https://nobody.internal:443"))

    assert [due.target for due in taken] == ["https://events.internal:443"]


async def test_an_address_that_is_gone_is_called_no_more(journal: StoredJournal) -> None:
    await finish(journal, make_calling())
    await finish(journal, make_calling("https://orders.internal/other"))
    await finish(journal, make_calling(client="monitoring"))

    assert await journal.disable_callbacks("billing", URL, END) == 1
    assert await journal.disable_callbacks("billing", URL, END) == 0
    await finish(journal, make_calling())
    left = {(due.stored.notification.client, due.url) for due in await take(journal)}
    assert left == {("billing", "https://orders.internal/other"), ("monitoring", URL)}


async def test_an_address_that_was_gone_gets_another_chance_after_the_retention(journal: StoredJournal) -> None:
    await journal.disable_callbacks("billing", URL, END)
    await journal.purge(END + 1)
    await finish(journal, make_calling())

    assert len(await take(journal)) == 1


async def test_a_callback_whose_notification_was_purged_goes_with_it(journal: StoredJournal, store: Store) -> None:
    await finish(journal, make_calling())
    await journal.purge(END + 1)

    assert await take(journal) == []
    assert store.query("SELECT count(*) FROM callbacks") == [(0,)]


async def test_two_processes_never_take_the_same_one(shared_store: Store) -> None:
    one, other = await shared_store.open(), await shared_store.open()
    for _ in range(20):
        await finish(one, make_calling())
    taken = await asyncio.gather(*(take(journal, limit=3) for journal in (one, other) * 8))

    ids = [due.id for batch in taken for due in batch]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("url", [URL, "https://orders.internal/sms?token=canary-token"])
async def test_an_erased_number_is_in_no_callback(journal: StoredJournal, url: str) -> None:
    await finish(journal, make_calling(url))
    await journal.erase_recipient("2348012345678", audit("erase"))
    [due] = await take(journal)

    assert "2348012345678" not in repr(due)
    assert "08012345678" not in repr(due)
