"""What waits for its time: held in the journal, moved, counted, found by its key until the window ends."""

from typing import Any

import pytest

from relay.domain.codes import Code, MessageType, NotificationStatus
from relay.domain.notification import Mode
from relay.sending.ports import Journal, KeyTaken, Lease, Queued, QueueDepth
from support.journal import DAY_MS, NOON, accept, codes, first_call, listing, make_claim, make_queued, send
from support.stores import Store

LATER = NOON + 3 * DAY_MS
WINDOW = 7 * DAY_MS


def scheduled(send_at: int = LATER, **changes: Any) -> dict[str, Any]:
    """Fields of a claim that waits until then."""
    fields = {"due_at": send_at, "waiting": Code.SCHEDULED}
    return {"send_at": send_at, "expires_at": send_at + DAY_MS, "lifetime_ms": DAY_MS, "claim": fields} | changes


async def take(journal: Journal, now: int) -> list[Lease]:
    return await journal.take(["billing"], list(MessageType), 10, now)


async def test_what_is_scheduled_says_so_and_is_taken_from_then_on(journal: Journal) -> None:
    claim = make_queued(**scheduled())
    stored = (await accept(journal, claim)).stored

    assert codes(stored) == [Code.SCHEDULED]
    assert await take(journal, LATER - 1) == []
    assert await journal.take_expired(10, LATER) == []
    [taken] = await take(journal, LATER)
    assert taken.stored.notification.send_at == LATER
    assert codes(taken.stored) == [Code.QUEUED]


@pytest.mark.parametrize("send_at", [NOON + 60_000, NOON + 30 * DAY_MS])
async def test_it_is_moved_with_its_expiry(journal: Journal, send_at: int) -> None:
    claim = make_queued(**scheduled())
    await accept(journal, claim)

    moved = await journal.move(claim.notification.id, "billing", send_at, NOON, WINDOW)
    assert moved is not None
    assert moved == await journal.find(claim.notification.id)
    assert (moved.notification.send_at, moved.notification.expires_at) == (send_at, send_at + DAY_MS)
    assert moved.notification.message == claim.notification.message
    assert await take(journal, send_at - 1) == []
    assert len(await take(journal, send_at)) == 1


async def test_moved_to_a_time_that_has_passed_it_is_due_now(journal: Journal) -> None:
    claim = make_queued(**scheduled())
    await accept(journal, claim)

    moved = await journal.move(claim.notification.id, "billing", NOON - 1, NOON, WINDOW)
    assert moved is not None
    assert codes(moved) == [Code.QUEUED]
    assert moved.notification.expires_at == NOON + DAY_MS
    assert len(await take(journal, NOON)) == 1


async def test_the_callers_own_expiry_stays_where_it_is(journal: Journal) -> None:
    claim = make_queued(**scheduled(expires_at=NOON + 9 * DAY_MS, lifetime_ms=None))
    await accept(journal, claim)

    moved = await journal.move(claim.notification.id, "billing", NOON + 1, NOON, WINDOW)
    assert moved is not None
    assert moved.notification.expires_at == NOON + 9 * DAY_MS


async def test_whoever_holds_it_loses_what_is_moved_and_may_not_dial(journal: Journal) -> None:
    claim = make_queued()
    await accept(journal, claim)
    [taken] = await take(journal, NOON)

    moved = await journal.move(claim.notification.id, "billing", LATER, NOON, WINDOW)
    assert moved is not None
    assert not moved.owned
    assert not await journal.start_dialling(first_call(taken))
    assert not await journal.requeue(claim.notification.id, taken.fence, NOON)
    [again] = await take(journal, LATER)
    assert await journal.start_dialling(first_call(again))


async def test_what_was_dialled_or_has_ended_or_is_waited_for_is_not_moved(journal: Journal) -> None:
    dialled, cancelled, synchronous = make_queued(), make_queued(), make_claim()
    await accept(journal, dialled)
    [taken] = await take(journal, NOON)
    await journal.start_dialling(first_call(taken))
    await accept(journal, cancelled)
    await journal.cancel(cancelled.notification.id, "billing", NOON)
    await accept(journal, synchronous)

    for claim in (dialled, cancelled, synchronous):
        before = await journal.find(claim.notification.id)
        assert await journal.move(claim.notification.id, "billing", LATER, NOON, WINDOW) == before
        assert await journal.find(claim.notification.id) == before


async def test_what_is_another_clients_or_not_there_is_not_moved(journal: Journal) -> None:
    claim = make_queued()
    await accept(journal, claim)

    assert await journal.move(claim.notification.id, "orders", LATER, NOON, WINDOW) is None
    assert await journal.move("01900000-0000-7000-8000-ffffffffffff", "billing", LATER, NOON, WINDOW) is None
    assert len(await take(journal, NOON)) == 1


async def test_a_key_holds_until_its_window_after_send_at_ends(journal: Journal) -> None:
    claim = make_queued(idempotency_key="k", **scheduled())
    await accept(journal, claim)
    assert await journal.find_by_key("billing", "k", LATER + WINDOW - 1) is not None
    assert await journal.find_by_key("billing", "k", LATER + WINDOW) is None

    [early] = await journal.claim([make_queued(idempotency_key="k", created_at=LATER + WINDOW - 1)])
    assert isinstance(early, KeyTaken)

    await journal.move(claim.notification.id, "billing", NOON + 1, NOON, WINDOW)
    assert await journal.find_by_key("billing", "k", NOON + 1 + WINDOW) is None
    [late] = await journal.claim([make_queued(idempotency_key="k", created_at=NOON + 1 + WINDOW)])
    assert isinstance(late, Queued)


async def test_what_was_put_back_says_what_it_waits_for(journal: Journal) -> None:
    claim = make_queued(held_until=NOON, claim={"waiting": Code.HELD_QUIET_HOURS})
    assert codes((await accept(journal, claim)).stored) == [Code.HELD_QUIET_HOURS]
    for waiting in (Code.QUEUED, Code.HELD_QUIET_HOURS, Code.SCHEDULED):
        [taken] = await take(journal, NOON)
        await journal.requeue(claim.notification.id, taken.fence, NOON, waiting)
        found = await journal.find(claim.notification.id)
        assert found is not None
        assert codes(found) == [waiting]


async def test_what_is_scheduled_is_counted_apart(journal: Journal) -> None:
    await accept(journal, make_queued(**scheduled()))
    await accept(journal, make_queued(**scheduled(NOON + 1, client="campaigns")))
    await accept(journal, make_queued(due_at=NOON + 1))
    await accept(journal, make_queued(due_at=NOON - 1))

    depth = await journal.queue_depth(NOON)
    assert depth == QueueDepth(1, 1, 0, NOON - 1, ("billing",), scheduled=2)
    assert len(await journal.select(listing(status=NotificationStatus.QUEUED))) == 3


async def test_retention_counts_from_the_end_and_deletes_nothing_that_is_open(journal: Journal) -> None:
    waiting = make_queued(**scheduled())
    ended = make_claim()
    await accept(journal, waiting)
    await send(journal, ended)
    stored = await journal.find(ended.notification.id)
    assert stored is not None
    assert stored.completed_at is not None
    assert stored.completed_at > NOON

    assert await journal.purge(stored.completed_at) == 0
    assert await journal.purge(stored.completed_at + 1) == 1
    assert await journal.find(waiting.notification.id) is not None


async def test_a_row_of_the_version_before_is_read_and_waits_as_it_did(store: Store) -> None:
    journal = await store.open()
    held, plain = make_queued(held_until=LATER, due_at=LATER), make_queued()
    for claim in (held, plain):
        await accept(journal, claim)
    await journal.close()
    store.return_to("0008")

    again = await store.open()
    assert [codes(stored) for stored in await again.select(listing())] == [[Code.QUEUED], [Code.HELD_QUIET_HOURS]]
    depth = await again.queue_depth(NOON)
    assert (depth.queued, depth.held, depth.scheduled) == (1, 1, 0)
    moved = await again.move(held.notification.id, "billing", NOON, NOON, WINDOW)
    assert moved is not None
    assert moved.notification.mode is Mode.ASYNCHRONOUS
    assert len(await take(again, NOON)) == 2
