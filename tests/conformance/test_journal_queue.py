"""The journal's contract, over both stores: who owns a notification, and how it changes hands."""

import asyncio
from collections import Counter

import psycopg
import pytest

from relay.domain.codes import Code, MessageType, NotificationStatus, Route, Status
from relay.domain.notification import CallState, PlannedCall, view_recipients
from relay.sending.ports import (
    UNKNOWN_INTERRUPTED,
    CallRef,
    DialLease,
    Journal,
    Lease,
    LeftOut,
    ListFilter,
    QueueDepth,
    RecordResult,
)
from support.journal import (
    NO_ANSWER,
    NOON,
    NOT_SENT,
    SENT,
    accept,
    codes,
    ended,
    first_call,
    found,
    make_claim,
    make_queued,
    send,
)
from support.stores import Store

ALL_TYPES = tuple(MessageType)


async def take(journal: Journal, *clients: str, limit: int = 10, now: int = NOON) -> list[Lease]:
    """Take notifications of any type."""
    return await journal.take(clients or ("billing",), ALL_TYPES, limit, now)


def ids(taken: list[Lease]) -> list[str]:
    """Which notifications were taken."""
    return [item.stored.notification.id for item in taken]


# --- taking -------------------------------------------------------------------------------------------------------


async def test_what_is_taken_belongs_to_this_process_under_a_new_fence(journal: Journal) -> None:
    claim = make_queued()
    before = first_call(await accept(journal, claim))

    [taken] = await take(journal)

    assert taken.stored.owned
    assert taken.stored == await found(journal, claim)
    assert taken.fence > before.fence
    assert not await journal.start_dialling(before)
    assert await journal.start_dialling(first_call(taken))


async def test_nothing_is_taken_twice(journal: Journal) -> None:
    for _ in range(30):
        await accept(journal, make_queued())

    taken = await asyncio.gather(*(take(journal, limit=4) for _ in range(12)))
    taken.append(await take(journal, limit=30))  # what another one was just looking at was passed over

    counts = Counter(key for batch in taken for key in ids(batch))
    assert len(counts) == 30
    assert set(counts.values()) == {1}


async def test_what_is_not_due_is_not_taken(journal: Journal) -> None:
    await accept(journal, make_queued(due_at=NOON + 1))

    assert await take(journal, now=NOON) == []
    assert len(await take(journal, now=NOON + 1)) == 1


async def test_what_is_synchronous_or_done_is_not_taken(journal: Journal) -> None:
    await accept(journal, make_claim())
    await send(journal, make_queued())

    assert await take(journal) == []


async def test_only_the_given_clients_and_types_are_taken(journal: Journal) -> None:
    otp = make_queued(message_type=MessageType.OTP)
    await accept(journal, otp)
    await accept(journal, make_queued(message_type=MessageType.PROMOTIONAL))
    await accept(journal, make_queued(client="monitoring", message_type=MessageType.OTP))

    taken = await journal.take(["billing"], [MessageType.OTP, MessageType.ALERT], 10, NOON)

    assert ids(taken) == [otp.notification.id]
    assert await journal.take([], ALL_TYPES, 10, NOON) == []


async def test_clients_take_turns_in_the_given_order_each_giving_its_oldest(journal: Journal) -> None:
    queued: dict[str, list[str]] = {"busy": [], "quiet": [], "other": []}
    for client, due in [("busy", 3), ("busy", 1), ("busy", 2), ("quiet", 9), ("other", 5), ("other", 4)]:
        claim = make_queued(client=client, due_at=NOON - 10 + due)
        await accept(journal, claim)
        queued[client].append(claim.notification.id)

    taken = ids(await take(journal, "quiet", "busy", "other", limit=5))

    busy, other = queued["busy"], queued["other"]
    assert taken == [queued["quiet"][0], busy[1], other[1], busy[2], other[0]]
    assert ids(await take(journal, "quiet", "busy", "other")) == [busy[0]]


async def test_a_long_queue_of_one_client_does_not_keep_another_waiting(journal: Journal) -> None:
    await journal.claim([make_queued(client="busy") for _ in range(300)])
    late = make_queued(client="quiet", due_at=NOON)
    await accept(journal, late)

    taken = ids(await take(journal, "busy", "quiet", limit=2))

    assert late.notification.id in taken


async def test_the_oldest_comes_first_over_message_types(journal: Journal) -> None:
    alert = make_queued(message_type=MessageType.ALERT, due_at=NOON - 1)
    otp = make_queued(message_type=MessageType.OTP, due_at=NOON - 2)
    await journal.claim([alert, otp])

    taken = ids(await journal.take(["billing"], [MessageType.ALERT, MessageType.OTP], 1, NOON))

    assert taken == [otp.notification.id]


async def test_two_processes_never_take_the_same_one(shared_store: Store) -> None:
    replicas = [await shared_store.open() for _ in range(3)]
    await replicas[0].claim([make_queued(client=f"client-{number % 5}") for number in range(200)])
    clients = [f"client-{number}" for number in range(5)]
    counts: Counter[str] = Counter()

    async def work_off(replica: Journal) -> None:
        while taken := await take(replica, *clients, limit=7):
            counts.update(ids(taken))

    await asyncio.gather(*(work_off(replica) for replica in replicas for _ in range(2)))
    await work_off(replicas[0])

    assert len(counts) == 200
    assert set(counts.values()) == {1}


async def test_expired_notifications_are_taken_of_any_client_due_or_not(journal: Journal) -> None:
    expired = make_queued(expires_at=NOON, due_at=NOON + 99, client="left-the-settings")
    await accept(journal, expired)
    await accept(journal, make_queued(expires_at=NOON + 1))
    await accept(journal, make_claim(expires_at=NOON))

    assert ids(await journal.take_expired(10, NOON)) == [expired.notification.id]
    assert await journal.take_expired(10, NOON) == []


# --- putting back -------------------------------------------------------------------------------------------------


async def test_what_is_put_back_may_be_taken_from_then_on_under_a_new_fence(journal: Journal) -> None:
    claim = make_queued()
    await accept(journal, claim)
    [taken] = await take(journal)

    assert await journal.requeue(claim.notification.id, taken.fence, NOON + 5_000)
    assert not (await found(journal, claim)).owned
    [listed] = await journal.select(ListFilter(client="billing", status=NotificationStatus.QUEUED))
    assert listed.notification.id == claim.notification.id
    assert not await journal.start_dialling(first_call(taken))
    assert await take(journal, now=NOON + 4_999) == []

    [again] = await take(journal, now=NOON + 5_000)
    assert again.fence > taken.fence
    assert not await journal.start_dialling(first_call(taken))


async def test_only_what_is_owned_now_and_asynchronous_is_put_back(journal: Journal) -> None:
    claim, synchronous = make_queued(), make_claim()
    await accept(journal, claim)
    fence = (await accept(journal, synchronous)).fence
    [taken] = await take(journal)

    assert not await journal.requeue(claim.notification.id, taken.fence + 1, NOON)
    assert not await journal.requeue(synchronous.notification.id, fence, NOON)
    assert not await journal.requeue("01900000-0000-7000-8000-ffffffffffff", 1, NOON)
    assert await journal.requeue(claim.notification.id, taken.fence, NOON)
    assert not await journal.requeue(claim.notification.id, taken.fence, NOON)


async def test_a_call_that_was_put_back_after_a_refusal_is_made_again(journal: Journal) -> None:
    claim = make_queued()
    await accept(journal, claim)
    [taken] = await take(journal)
    ref = first_call(taken)
    await journal.start_dialling(ref)
    again = PlannedCall(route=Route.DND_FALLBACK, recipients=(0,))
    await journal.record(ref, [], follow_ups=[again])
    await journal.requeue(claim.notification.id, taken.fence, NOON)
    assert codes(await found(journal, claim)) == [Code.QUEUED]

    [retaken] = await take(journal)
    second = first_call(retaken, 1)
    assert await journal.start_dialling(second)
    await journal.record(second, [SENT], ended=ended())

    [result] = view_recipients(await found(journal, claim))
    assert (result.status, result.attempts) == (Status.SENT, 2)


# --- claims in doubt ----------------------------------------------------------------------------------------------


async def test_taking_back_gives_what_is_there_and_was_never_dialled(journal: Journal) -> None:
    mine, queued, dialled, done = make_claim(), make_queued(), make_claim(), make_claim()
    for claim in (mine, queued):
        await accept(journal, claim)
    ref = first_call(await accept(journal, dialled))
    await journal.start_dialling(ref)
    await send(journal, done)
    missing = make_claim()

    asked = [claim.notification.id for claim in (missing, queued, dialled, done, mine)]
    taken = await journal.take_back(asked)

    assert ids(taken) == [queued.notification.id, mine.notification.id]
    assert [item.fence for item in taken] == [2, 2]
    assert all(item.stored.owned for item in taken)
    assert await journal.start_dialling(first_call(taken[1]))


async def test_taking_back_withdraws_the_right_to_dial_that_nobody_used(journal: Journal) -> None:
    unused, other = make_claim(claim={"dials": True}), make_claim(claim={"dials": True})
    for claim in (unused, other):
        assert isinstance(await accept(journal, claim), DialLease)

    asked = [claim.notification.id for claim in (unused, other)]
    [taken] = await journal.take_back(asked, [unused.notification.id])

    assert taken.stored.notification.id == unused.notification.id
    assert taken.fence == 2
    assert [(call.state, call.dialled) for call in taken.stored.calls] == [(CallState.CLAIMED, False)]
    assert await journal.start_dialling(first_call(taken))
    assert (await found(journal, other)).calls[0].dialled


async def test_taking_back_withdraws_the_right_of_the_only_claim(journal: Journal) -> None:
    claim = make_claim(claim={"dials": True})
    await accept(journal, claim)
    asked = [claim.notification.id]

    assert ids(await journal.take_back(asked, asked)) == asked


async def test_taking_back_withdraws_no_right_that_somebody_else_took_over(store: Store) -> None:
    earlier = await store.open()
    claim = make_claim(claim={"dials": True})
    await accept(earlier, claim)
    await earlier.close()
    heir = await store.open()
    [inherited] = await heir.take_from_dead(10)
    await accept(heir, make_claim())
    asked = [claim.notification.id]

    assert inherited.fence == 2
    assert await heir.take_back(asked, asked) == []


async def test_taking_back_leaves_what_somebody_else_took(shared_store: Store) -> None:
    one, other = await shared_store.open(), await shared_store.open()
    queued, claimed = make_queued(), make_claim()
    await accept(one, queued)
    await accept(other, claimed)
    await take(other)

    assert await one.take_back([queued.notification.id, claimed.notification.id]) == []


# --- the dead -----------------------------------------------------------------------------------------------------


async def test_what_an_earlier_process_left_is_taken_over_after_a_restart(store: Store) -> None:
    journal = await store.open()
    synchronous, queued, waiting, done = make_claim(), make_queued(), make_queued(due_at=NOON + 1), make_claim()
    for claim in (synchronous, queued, waiting):
        await accept(journal, claim)
    [taken] = await take(journal)
    await journal.start_dialling(first_call(taken))
    await send(journal, done)
    await journal.close()

    again = await store.open()
    left = {item.stored.notification.id: item for item in await again.take_from_dead(10)}

    assert set(left) == {synchronous.notification.id, queued.notification.id}
    assert left[queued.notification.id].fence > taken.fence
    assert left[queued.notification.id].stored.calls[0].state is CallState.DIALLING
    assert await again.take_from_dead(10) == []


async def test_the_living_are_left_alone(journal: Journal) -> None:
    await accept(journal, make_claim())

    assert await journal.take_from_dead(10) == []


async def test_what_rivals_are_taking_is_passed_over_and_nothing_is_taken_twice(shared_store: Store) -> None:
    journal = await shared_store.open()
    for _ in range(30):
        await accept(journal, make_queued())
    locking = "SELECT id FROM notifications WHERE state = 'queued' ORDER BY due_at, id LIMIT 10 FOR UPDATE SKIP LOCKED"
    async with (
        await psycopg.AsyncConnection.connect(shared_store.url) as one,
        await psycopg.AsyncConnection.connect(shared_store.url) as other,
    ):
        theirs = [row[0] for rival in (one, other) for row in await (await rival.execute(locking)).fetchall()]
        taken = ids(await take(journal, limit=10))
        none = ids(await take(journal, limit=10))

    assert len(theirs) == 20
    assert len(taken) == 10
    assert set(taken).isdisjoint(theirs)
    assert none == []
    assert sorted(ids(await take(journal, limit=20))) == sorted(theirs)


async def test_a_process_is_dead_after_a_minute_without_a_heartbeat_by_the_databases_clock(
    shared_store: Store,
) -> None:
    dead, living = await shared_store.open(), await shared_store.open()
    claim, other = make_claim(), make_claim()
    accepted = await accept(dead, claim)
    await accept(living, other)
    await dead.heartbeat()
    await age_heartbeats(shared_store, dead, seconds=50)
    assert await living.take_from_dead(10) == []

    await age_heartbeats(shared_store, dead, seconds=11)
    [taken] = await living.take_from_dead(10)

    assert ids([taken]) == [claim.notification.id]
    assert not await dead.start_dialling(first_call(accepted))
    assert await dead.record(first_call(accepted), [NOT_SENT]) is RecordResult.STALE
    assert await living.start_dialling(first_call(taken))


async def test_a_call_that_was_out_when_its_process_was_declared_dead_may_still_bring_its_answer(
    shared_store: Store,
) -> None:
    dead, living = await shared_store.open(), await shared_store.open()
    claim = make_claim()
    ref = first_call(await accept(dead, claim))
    await dead.start_dialling(ref)
    await age_heartbeats(shared_store, dead, seconds=61)
    await living.take_from_dead(10)

    assert await dead.record(ref, [SENT], ended=ended()) is RecordResult.RECORDED
    assert codes(await found(living, claim)) == [Code.SENT]


@pytest.mark.parametrize("own_idea", ["not sent", "tried again"])
async def test_one_that_was_wrongly_declared_dead_closes_no_call_that_its_heir_is_dialling(
    shared_store: Store, own_idea: str
) -> None:
    slow, heir = await shared_store.open(), await shared_store.open()
    claim = make_queued()
    await accept(slow, claim)
    [lease] = await take(slow)
    await age_heartbeats(shared_store, slow, seconds=61)
    [inherited] = await heir.take_from_dead(10)
    await heir.requeue(claim.notification.id, inherited.fence, NOON)
    [again] = await take(heir)
    assert await heir.start_dialling(first_call(again))

    outcomes, follow_ups = (
        ([NOT_SENT], []) if own_idea == "not sent" else ([], [PlannedCall(route=Route.DND_FALLBACK, recipients=(0,))])
    )
    recorded = await slow.record(first_call(lease), outcomes, follow_ups=follow_ups, undialled=True)

    assert recorded is RecordResult.STALE
    assert await heir.record(first_call(again), [SENT], ended=ended()) is RecordResult.RECORDED
    assert codes(await found(heir, claim)) == [Code.SENT]


async def test_one_that_never_dialled_knows_nothing_about_the_unknown_outcome_of_its_heirs_call(
    shared_store: Store,
) -> None:
    slow, heir = await shared_store.open(), await shared_store.open()
    claim = make_queued()
    await accept(slow, claim)
    [lease] = await take(slow)
    await age_heartbeats(shared_store, slow, seconds=61)
    [inherited] = await heir.take_from_dead(10)
    await heir.requeue(claim.notification.id, inherited.fence, NOON)
    [again] = await take(heir)
    await heir.start_dialling(first_call(again))
    await heir.record(first_call(again), [NO_ANSWER], ended=ended(NotificationStatus.UNKNOWN))

    assert await slow.record(first_call(lease), [NOT_SENT], undialled=True) is RecordResult.STALE
    assert codes(await found(heir, claim)) == [Code.NO_ANSWER]


async def test_an_heir_that_was_declared_dead_itself_closes_no_call_that_the_next_one_is_dialling(
    shared_store: Store,
) -> None:
    dead, heir, next_heir = [await shared_store.open() for _ in range(3)]
    claim = make_queued()
    await accept(dead, claim)
    await take(dead)
    await age_heartbeats(shared_store, dead, seconds=61)
    [inherited] = await heir.take_from_dead(10)
    await age_heartbeats(shared_store, heir, seconds=61)
    [lease] = await next_heir.take_from_dead(10)
    await next_heir.requeue(claim.notification.id, lease.fence, NOON)
    [again] = await take(next_heir)
    await next_heir.start_dialling(first_call(again))

    assert await heir.record(first_call(inherited), [UNKNOWN_INTERRUPTED], undialled=True) is RecordResult.STALE
    assert await next_heir.record(first_call(again), [SENT], ended=ended()) is RecordResult.RECORDED


async def test_a_process_that_was_declared_dead_learns_it_and_lives_anew(shared_store: Store) -> None:
    one, other = await shared_store.open(), await shared_store.open()
    assert await one.heartbeat()
    await age_heartbeats(shared_store, one, seconds=61)
    await other.take_from_dead(10)

    assert not await one.heartbeat()
    assert await one.heartbeat()
    await accept(one, make_claim())
    assert await other.take_from_dead(10) == []


async def test_a_process_never_takes_from_itself(shared_store: Store) -> None:
    one, other = await shared_store.open(), await shared_store.open()
    await accept(one, make_claim())
    await age_heartbeats(shared_store, one, seconds=61)

    assert await one.take_from_dead(10) == []
    assert len(await other.take_from_dead(10)) == 1


async def test_what_a_process_left_at_its_good_bye_is_taken_over_at_once(shared_store: Store) -> None:
    one, other = await shared_store.open(), await shared_store.open()
    await accept(one, make_claim())
    await one.close()

    assert len(await other.take_from_dead(10)) == 1


async def test_the_dead_are_shared_out_among_those_who_look(shared_store: Store) -> None:
    *dead, first, second, third, fourth, fifth = [await shared_store.open() for _ in range(10)]
    living = [first, second, third, fourth, fifth]
    counts: Counter[str] = Counter()

    async def take_over(replica: Journal) -> None:
        while taken := await replica.take_from_dead(1):  # one at a time: they meet at the same one over and over
            counts.update(ids(taken))

    for silent in dead:
        for replica in living:
            await replica.heartbeat()  # each round takes a while on a busy machine
        await silent.claim([make_claim() for _ in range(60)])
        await age_heartbeats(shared_store, silent, seconds=61)
        await asyncio.gather(*(take_over(replica) for replica in living))
        await take_over(first)  # what another one was just looking at was passed over

    assert len(counts) == 60 * len(dead)
    assert set(counts.values()) == {1}


async def test_the_longest_running_process_leads(shared_store: Store) -> None:
    first, second = await shared_store.open(), await shared_store.open()
    assert (await first.leads(), await second.leads()) == (True, False)

    await age_heartbeats(shared_store, first, seconds=61)

    assert (await first.leads(), await second.leads()) == (False, True)


async def test_a_process_alone_leads(journal: Journal) -> None:
    assert await journal.leads()


async def age_heartbeats(store: Store, journal: Journal, *, seconds: int) -> None:
    """Let a process have been silent for so long."""
    process = journal._process  # type: ignore[attr-defined]
    store.query(f"UPDATE processes SET beat_at = beat_at - {seconds * 1000} WHERE id = '{process}'")


# --- what waits ---------------------------------------------------------------------------------------------------


async def test_the_depth_of_the_queue_counts_what_is_due_held_and_taken(journal: Journal) -> None:
    assert await journal.queue_depth(NOON) == QueueDepth(0, 0, 0, None)
    await accept(journal, make_queued(due_at=NOON - 7))
    await accept(journal, make_queued(due_at=NOON - 9, client="monitoring"))
    await accept(journal, make_queued(due_at=NOON + 1, client="campaigns"))
    await accept(journal, make_claim())
    await send(journal, make_claim())

    depth = await journal.queue_depth(NOON)

    assert depth == QueueDepth(2, 1, 1, NOON - 9, ("billing", "monitoring"))


async def test_what_is_only_held_has_no_age(journal: Journal) -> None:
    await accept(journal, make_queued(due_at=NOON + 1))

    assert (await journal.queue_depth(NOON)).oldest_due_at is None


# --- cancelling ---------------------------------------------------------------------------------------------------


async def test_a_queued_notification_is_cancelled_whole(journal: Journal) -> None:
    claim = make_queued("2348012345678", "2348012345679", calls=[[0], [1]], idempotency_key="k")
    await accept(journal, claim)

    cancelled = await journal.cancel(claim.notification.id, "billing", NOON + 1)

    assert cancelled is not None
    assert codes(cancelled) == [Code.CANCELLED, Code.CANCELLED]
    assert cancelled.completed_at == NOON + 1
    assert cancelled.notification.message is None
    assert cancelled == await found(journal, claim)
    assert await take(journal) == []
    assert await journal.find_by_key("billing", "k", NOON) is not None


async def test_what_was_taken_but_not_dialled_can_be_cancelled_and_is_then_not_dialled(journal: Journal) -> None:
    claim = make_queued()
    await accept(journal, claim)
    [taken] = await take(journal)

    await journal.cancel(claim.notification.id, "billing", NOON)

    assert not await journal.start_dialling(first_call(taken))
    assert await journal.record(first_call(taken), [NOT_SENT]) is RecordResult.STALE


async def test_what_was_dialled_or_is_synchronous_or_done_is_not_cancelled(journal: Journal) -> None:
    dialled, synchronous, done = make_queued(), make_claim(), make_queued(client="other")
    await accept(journal, dialled)
    await accept(journal, synchronous)
    await send(journal, done)
    [taken] = await take(journal)
    await journal.start_dialling(first_call(taken))

    for claim in (dialled, synchronous, done):
        before = await found(journal, claim)
        assert await journal.cancel(claim.notification.id, claim.notification.client, NOON) == before
        assert await found(journal, claim) == before


async def test_only_its_client_can_cancel_a_notification(journal: Journal) -> None:
    claim = make_queued()
    await accept(journal, claim)

    assert await journal.cancel(claim.notification.id, "monitoring", NOON) is None
    assert await journal.cancel("01900000-0000-7000-8000-ffffffffffff", "billing", NOON) is None
    assert len(await take(journal)) == 1


@pytest.mark.parametrize("_", range(5))
async def test_of_cancel_and_dial_exactly_one_wins(journal: Journal, _: int) -> None:
    claims = [make_queued() for _ in range(20)]
    await journal.claim(claims)
    taken = await take(journal, limit=20)
    refs = {item.stored.notification.id: first_call(item) for item in taken}

    async def race(ref: CallRef) -> tuple[bool | LeftOut, bool]:
        dialled, cancelled = await asyncio.gather(
            journal.start_dialling(ref), journal.cancel(ref.notification_id, "billing", NOON)
        )
        assert cancelled is not None
        return dialled, cancelled.completed_at is not None

    outcomes = await asyncio.gather(*(race(ref) for ref in refs.values()))

    assert all(dialled != cancelled for dialled, cancelled in outcomes)


async def test_of_cancel_and_dial_on_two_replicas_exactly_one_wins(shared_store: Store) -> None:
    one, other = await shared_store.open(), await shared_store.open()
    claims = [make_queued() for _ in range(40)]
    await one.claim(claims)
    taken = await take(one, limit=40)

    async def race(item: Lease) -> tuple[bool | LeftOut, bool]:
        ref = first_call(item)
        dialled, cancelled = await asyncio.gather(
            one.start_dialling(ref), other.cancel(ref.notification_id, "billing", NOON)
        )
        assert cancelled is not None
        return dialled, cancelled.completed_at is not None

    outcomes = await asyncio.gather(*(race(item) for item in taken))

    assert all(dialled != cancelled for dialled, cancelled in outcomes)
