"""The journal's contract, over both stores: listings, what nobody can know, retention, erasure, the operator's acts."""

import asyncio

import pytest

from relay.domain.codes import Code, MessageType, NotificationStatus, Status
from relay.domain.notification import CallState, Entry, Outcome, Stored, UpstreamRecord, view_recipients
from relay.journal.retention import purge_limits
from relay.sending.ports import CallRef, Claim, Cursor, Deduplication, Duplicate, Journal, KeyTaken, UnknownFilter
from support.journal import (
    DAY_MS,
    NO_ANSWER,
    NOON,
    NOT_SENT,
    REJECTED,
    SENT,
    accept,
    audit,
    codes,
    ended,
    first_call,
    found,
    listing,
    make_claim,
    make_queued,
    pause,
    send,
)
from support.stores import Store


def ids(listed: list[Stored]) -> list[str]:
    """Which notifications are listed."""
    return [stored.notification.id for stored in listed]


def named(*claims: Claim) -> list[str]:
    """Which notifications some claims are of."""
    return [claim.notification.id for claim in claims]


# --- listings -----------------------------------------------------------------------------------------------------


async def test_a_listing_is_newest_first_and_of_one_client(journal: Journal) -> None:
    old, new = make_claim(created_at=NOON), make_claim(created_at=NOON + 1)
    await journal.claim([new, old, make_claim(client="monitoring")])

    assert ids(await journal.select(listing())) == named(new, old)


async def test_a_listing_selects_by_reference_key_and_time(journal: Journal) -> None:
    one = make_claim(reference="order-1", idempotency_key="k1", created_at=NOON)
    two = make_claim(reference="order-2", idempotency_key="k2", created_at=NOON + 10)
    three = make_claim(reference="order-1", created_at=NOON + 20)
    await journal.claim([one, two, three])

    assert ids(await journal.select(listing(reference="order-1"))) == named(three, one)
    assert ids(await journal.select(listing(idempotency_key="k2"))) == named(two)
    assert ids(await journal.select(listing(created_from=NOON + 10))) == named(three, two)
    assert ids(await journal.select(listing(created_to=NOON + 10))) == named(one)
    assert ids(await journal.select(listing(created_from=NOON, created_to=NOON + 20))) == named(two, one)
    assert ids(await journal.select(listing(reference="order-1", created_from=NOON + 1))) == named(three)
    assert await journal.select(listing(reference="order-1", idempotency_key="k2")) == []


async def test_a_listing_finds_every_notification_that_ever_had_a_key(journal: Journal) -> None:
    freed = make_claim(idempotency_key="k", created_at=NOON)
    await send(journal, freed, NOT_SENT, frees_key=True)
    holder = make_claim(idempotency_key="k", created_at=NOON + 1)
    await accept(journal, holder)

    assert ids(await journal.select(listing(idempotency_key="k"))) == named(holder, freed)


async def test_a_listing_selects_by_the_status_that_callers_see(journal: Journal) -> None:
    expected: dict[NotificationStatus, list[str]] = {status: [] for status in NotificationStatus}
    for outcome in (SENT, REJECTED, NO_ANSWER, NOT_SENT):
        claim = make_claim()
        await send(journal, claim, outcome)
        expected[NotificationStatus(outcome.status.value)] += named(claim)
    queued, dialling, taken = make_queued(), make_claim(), make_queued(client="billing", due_at=NOON - 1)
    half = make_claim("2348012345678", "2348012345679", calls=[[0], [1]])
    accepted = await accept(journal, half)
    await journal.start_dialling(first_call(accepted))
    await accept(journal, queued)
    await journal.start_dialling(first_call(await accept(journal, dialling)))
    await accept(journal, taken)
    await journal.take(["billing"], [taken.notification.message_type], 1, NOON)
    bad = make_queued()
    entries = (*bad.notification.entries, Entry("bad", None))
    bad = make_queued(entries=entries, calls=[[0]])
    await accept(journal, bad)
    expected[NotificationStatus.QUEUED] += named(queued, taken)
    expected[NotificationStatus.IN_PROGRESS] += named(dialling)
    expected[NotificationStatus.PARTIAL] += named(half, bad)

    for status, claims in expected.items():
        assert sorted(ids(await journal.select(listing(status=status)))) == sorted(claims), status


async def test_the_status_of_what_was_put_back_is_listed_as_it_stands(journal: Journal) -> None:
    claim = make_queued("2348012345678", "2348012345679", calls=[[0], [1]])
    await accept(journal, claim)
    [taken] = await journal.take(["billing"], [claim.notification.message_type], 1, NOON)
    ref = first_call(taken)
    await journal.start_dialling(ref)
    await journal.record(ref, [SENT])
    await journal.requeue(claim.notification.id, taken.fence, NOON)

    assert ids(await journal.select(listing(status=NotificationStatus.PARTIAL))) == named(claim)
    assert await journal.select(listing(status=NotificationStatus.QUEUED)) == []


@pytest.mark.parametrize("status", [None, NotificationStatus.SENT, NotificationStatus.REJECTED])
async def test_pages_neither_repeat_nor_skip_while_new_ones_come(
    journal: Journal, status: NotificationStatus | None
) -> None:
    claims = [make_claim(created_at=NOON + number // 3) for number in range(20)]
    for claim in claims:
        await send(journal, claim, REJECTED if status is NotificationStatus.REJECTED else SENT)
    seen: list[str] = []
    cursor = None

    while page := await journal.select(listing(limit=3, before=cursor, status=status)):
        seen += ids(page)
        last = page[-1].notification
        cursor = Cursor(last.created_at, last.id)
        await accept(journal, make_claim(created_at=NOON + 100))

    assert sorted(seen) == sorted(named(*claims))
    assert len(set(seen)) == 20


async def test_a_page_has_at_most_its_limit(journal: Journal) -> None:
    await journal.claim([make_claim() for _ in range(5)])

    assert len(await journal.select(listing(limit=3))) == 3
    assert len(await journal.select(listing(limit=3, status=NotificationStatus.QUEUED))) == 3


# --- what nobody can know -----------------------------------------------------------------------------------------


async def test_unknown_recipients_of_ended_notifications_are_listed_newest_first(journal: Journal) -> None:
    claims = [make_claim("2348012345678", "2348012345679", created_at=NOON + number) for number in range(3)]
    for claim in claims:
        await send(journal, claim, NO_ANSWER)
    await send(journal, make_claim(), SENT)
    mixed = make_claim("2348012345678", "2348012345679", calls=[[0], [1]], created_at=NOON + 9)
    accepted = await accept(journal, mixed)
    for position, outcome in enumerate((SENT, NO_ANSWER)):
        ref = first_call(accepted, position)
        await journal.start_dialling(ref)
        await journal.record(ref, [outcome], ended=ended(NotificationStatus.PARTIAL) if position else None)
    still_open = first_call(await accept(journal, make_claim()))
    await journal.start_dialling(still_open)
    await journal.record(still_open, [NO_ANSWER])

    listed = await journal.list_unknown(10)
    assert [item.stored.notification.id for item in listed] == named(mixed, *reversed(claims))
    assert [item.indexes for item in listed] == [(1,), (0, 1), (0, 1), (0, 1)]

    last = listed[1].stored.notification
    rest = await journal.list_unknown(1, Cursor(last.created_at, last.id))
    assert [item.stored.notification.id for item in rest] == named(claims[1])


async def test_unknown_recipients_are_listed_by_the_account_that_was_called(journal: Journal) -> None:
    claims = [make_claim(created_at=NOON + number) for number in range(2)]
    for claim, account in zip(claims, ("smsclone", "backup"), strict=True):
        await send(journal, claim, NO_ANSWER, account)

    for claim, account in zip(claims, ("smsclone", "backup"), strict=True):
        listed = await journal.list_unknown(10, None, UnknownFilter(account=account))
        assert [item.stored.notification.id for item in listed] == named(claim)


async def test_an_unknown_that_a_second_attempt_made_definite_is_not_listed(journal: Journal) -> None:
    claim = make_claim()
    await send(journal, claim, NO_ANSWER)
    await journal.record(first_call_of(claim), [SENT])

    assert await journal.list_unknown(10) == []
    assert ids(await journal.select(listing(status=NotificationStatus.SENT))) == named(claim)


async def test_unknown_recipients_that_were_sent_to_once_more_are_open_no_more(journal: Journal) -> None:
    claim, again = make_claim(), make_claim()
    await send(journal, claim, NO_ANSWER)

    await journal.mark_resent(claim.notification.id, {0: again.notification.id})
    await journal.mark_resent(again.notification.id, {0: claim.notification.id})  # is gone, or never was: no matter

    assert await journal.list_unknown(10) == []
    assert (await found(journal, claim)).resent == {0: again.notification.id}


def first_call_of(claim: Claim) -> CallRef:
    """The first call of a claim, under its first fence."""
    return CallRef(claim.notification.id, 1, 1)


# --- retention ----------------------------------------------------------------------------------------------------


async def test_purging_deletes_what_ended_and_is_old_with_its_calls(store: Store) -> None:
    journal = await store.open()
    old, newer, still_open = make_claim(), make_claim(created_at=NOON + 10), make_claim()
    await send(journal, old, at=NOON + 9)
    await send(journal, newer, at=NOON + 10)
    await accept(journal, still_open)

    assert await journal.purge(NOON + 10) == 1
    assert await journal.purge(NOON + 10) == 0

    assert await journal.find(old.notification.id) is None
    assert {row[0] for row in store.query("SELECT notification_id FROM calls")} == set(named(newer, still_open))


async def test_purging_deletes_as_many_as_there_are(journal: Journal) -> None:
    claims = [make_queued() for _ in range(450)]
    await journal.claim(claims)
    for claim in claims:
        await journal.cancel(claim.notification.id, "billing", NOON)

    assert await journal.purge(NOON + 1) == 450


async def test_a_notification_whose_key_still_holds_outlives_its_retention(store: Store) -> None:
    journal = await store.open()
    held = make_claim(idempotency_key="k", claim={"key_window_ms": 7 * DAY_MS})
    await send(journal, held, at=NOON)
    store.clock.advance(86_400)

    assert await journal.purge(NOON + 1) == 0
    [again] = await journal.claim([make_claim(idempotency_key="k", created_at=NOON + DAY_MS)])
    assert isinstance(again, KeyTaken)

    store.clock.advance(7 * 86_400)
    assert await journal.purge(NOON + 1) == 1


async def test_a_window_that_has_passed_leaves_nothing_behind(store: Store) -> None:
    journal = await store.open()
    group = {"deduplication": Deduplication(b"oncall", 600_000)}
    await accept(journal, make_queued(claim=group))
    store.clock.advance(599)
    await journal.purge(0)
    [duplicate] = await journal.claim([make_queued(claim=group)])
    assert isinstance(duplicate, Duplicate)

    store.clock.advance(2)
    await journal.purge(0)

    assert store.query("SELECT count(*) FROM deduplications") == [(0,)]


async def test_very_many_windows_that_have_passed_go_in_pieces(store: Store) -> None:
    journal = await store.open()
    key = "CAST(CAST(i AS text) AS bytea)" if store.shared else "CAST(i AS blob)"
    store.query(
        "WITH RECURSIVE number(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 1200)"
        f" INSERT INTO deduplications SELECT {key}, 'x', 0 FROM number"
    )
    over = {"now": NOON, "kept_from": 0, "first_day": "", "first_usage_day": ""}

    assert await journal._write_later(lambda: purge_limits(over)) == 500, "a send waits for no more than that"
    await journal.purge(0)
    assert store.query("SELECT count(*) FROM deduplications") == [(0,)]


async def test_a_duplicate_that_arrives_while_its_key_is_purged_is_claimed_or_replayed_once(journal: Journal) -> None:
    old = make_claim(idempotency_key="k", claim={"key_window_ms": 0})
    await send(journal, old)
    claims = [make_claim(idempotency_key="k", created_at=NOON + 5) for _ in range(10)]

    _, *results = await asyncio.gather(journal.purge(NOON + 1), *(journal.claim([claim]) for claim in claims))

    there = [await journal.find(claim.notification.id) for claim in claims]
    assert len([stored for stored in there if stored is not None]) == 1
    assert len(results) == 10


# --- erasure ------------------------------------------------------------------------------------------------------


async def test_an_erased_number_is_nowhere(store: Store) -> None:
    journal = await store.open()
    number, other = "2348099999999", "2348012345679"
    outcome = Outcome(code=Code.SENT, upstream=UpstreamRecord("0000", "SENT", f"SENT TO {number}", "77"))
    claim = make_claim(number, other)
    entries = (*claim.notification.entries, Entry("+234 809 999 9999", number, None, 0))
    claim = make_claim(entries=entries, calls=[[0, 1]])
    await send(journal, claim, outcome)
    await send(journal, make_claim(other))
    row = audit("erase_recipient")

    assert await journal.erase_recipient(number, row) == 1
    assert await journal.erase_recipient(number, row) == 0

    stored = await found(journal, claim)
    assert stored.notification.entries == (
        Entry(""),
        Entry("0" + other[3:], other),
        Entry("", duplicate_of=0),
    )
    first, second = stored.calls[0].outcomes
    assert first.upstream == UpstreamRecord("0000", "SENT", None, "77")
    assert second == outcome
    assert [result.status for result in view_recipients(stored)] == [Status.SENT] * 3
    assert store.query("SELECT action FROM audit") == [("erase_recipient",)] * 2
    notifications = repr(store.query("SELECT * FROM notifications"))
    assert number not in notifications
    assert "809 999 9999" not in notifications


async def test_erasing_leaves_what_has_not_ended_alone(journal: Journal) -> None:
    claim = make_queued("2348099999999")
    await accept(journal, claim)

    assert await journal.erase_recipient("2348099999999", audit("erase_recipient")) == 0
    assert (await found(journal, claim)).notification == claim.notification


async def test_erasing_finds_a_number_among_many_notifications(journal: Journal) -> None:
    claims = [make_queued(f"2348{number:09d}") for number in range(300)]
    wanted = [make_queued("2348099999999") for _ in range(3)]
    await journal.claim(claims + wanted)
    for claim in claims + wanted:
        await journal.cancel(claim.notification.id, "billing", NOON)

    assert await journal.erase_recipient("2348099999999", audit("erase_recipient")) == 3


# --- after a restore ----------------------------------------------------------------------------------------------


async def test_after_a_restore_every_open_call_is_unknown_and_every_notification_ends(store: Store) -> None:
    journal = await store.open()
    claimed, dialling, queued = make_claim(), make_claim(), make_queued()
    half = make_claim("2348012345678", "2348012345679", calls=[[0], [1]], idempotency_key="k")
    done = make_claim()
    await accept(journal, claimed)
    await journal.start_dialling(first_call(await accept(journal, dialling)))
    await accept(journal, queued)
    ref = first_call(await accept(journal, half))
    await journal.start_dialling(ref)
    await journal.record(ref, [SENT])
    await send(journal, done)
    await journal.close()
    store.clock.advance(3_600)

    restored = await store.open()
    assert await restored.mark_restored() == 4
    assert await restored.mark_restored() == 0

    for claim in (claimed, dialling, queued):
        stored = await found(restored, claim)
        assert codes(stored) == [Code.INTERRUPTED]
        assert stored.completed_at == NOON + 3_600_000
        assert stored.notification.message is None
        assert {call.state for call in stored.calls} == {CallState.DONE}
    assert codes(await found(restored, half)) == [Code.SENT, Code.INTERRUPTED]
    assert codes(await found(restored, done)) == [Code.SENT]
    assert len(await restored.list_unknown(10)) == 4
    assert await restored.take_from_dead(10) == []
    assert await restored.find_by_key("billing", "k", NOON) is not None


# --- the switch and the operator's acts ---------------------------------------------------------------------------


async def test_pauses_are_kept_by_scope_and_leave_audit_rows(store: Store) -> None:
    journal = await store.open()
    assert await journal.list_pauses(NOON) == ()

    everything, marketing = pause(), pause(client="marketing", until=NOON + 1_000)
    await journal.pause(everything, audit("pause"))
    await journal.pause(marketing, audit("pause"))
    assert await journal.list_pauses(NOON) == (everything, marketing)
    longer = pause(client="marketing", until=NOON + 2_000)
    await journal.pause(longer, audit("pause"))
    await journal.close()
    again = await store.open()
    assert await again.list_pauses(NOON) == (everything, longer)
    assert await again.list_pauses(NOON + 2_000) == (everything,)
    await again.resume(everything.scope, audit("resume"))
    assert await again.list_pauses(NOON) == (longer,)
    await again.pause(pause(message_type=MessageType.PROMOTIONAL), audit("pause"))
    await again.resume(None, audit("resume"))

    assert await again.list_pauses(NOON) == ()
    assert [row[0] for row in store.query("SELECT action FROM audit ORDER BY id")] == [
        *["pause"] * 3,
        *["resume", "pause", "resume"],
    ]


async def test_a_switch_that_the_first_edition_moved_still_stops_everything(store: Store) -> None:
    journal = await store.open()
    await journal.pause(pause(client="marketing"), audit("pause"))
    store.query(
        "UPDATE control SET value = CAST('1' AS BLOB) WHERE name = 'paused'"
        if not store.shared
        else "UPDATE control SET value = '1' WHERE name = 'paused'"
    )

    assert [each.scope.is_everything for each in await journal.list_pauses(NOON)] == [False, True]
    await journal.resume(None, audit("resume"))
    assert await journal.list_pauses(NOON) == ()


async def test_a_pause_is_seen_by_every_replica_and_none_is_lost_among_racers(shared_store: Store) -> None:
    one, other = await shared_store.open(), await shared_store.open()
    names = [f"client-{number}" for number in range(10)]

    await asyncio.gather(
        *(
            process.pause(pause(client=name), audit("pause"))
            for name, process in zip(names, [one, other] * 5, strict=True)
        )
    )

    assert {each.scope.client for each in await other.list_pauses(NOON)} == set(names)


async def test_the_hash_key_is_the_same_on_every_replica(shared_store: Store) -> None:
    replicas = [await shared_store.open() for _ in range(4)]

    keys = await asyncio.gather(*(replica.hash_key() for replica in replicas))

    assert len(set(keys)) == 1


async def test_an_act_is_kept_with_who_and_what(store: Store) -> None:
    journal = await store.open()

    await journal.audit(audit("resend", "01900000-0000-7000-8000-000000000001"))

    assert store.query("SELECT at, actor, actor_key, action, notification_id, count FROM audit") == [
        (NOON, "ops", "k1", "resend", "01900000-0000-7000-8000-000000000001", 1)
    ]
