"""The journal's contract, over both stores: acceptance, keys, calls and how they end."""

import asyncio

import pytest

from relay.domain.codes import Code, MessageType, NotificationStatus, ResolvedBy, Route
from relay.domain.notification import CallState, Outcome, PlannedCall, UpstreamRecord, view_recipients
from relay.sending.ports import (
    CallRef,
    Cap,
    Claim,
    Deduplication,
    DialLease,
    Duplicate,
    Journal,
    JournalUnavailable,
    KeyTaken,
    Lease,
    RecordResult,
)
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
    send,
)
from support.stores import Store

# --- acceptance ---------------------------------------------------------------------------------------------------


async def test_a_claim_is_there_whole_once_it_is_acknowledged(journal: Journal) -> None:
    claim = make_claim("2348012345678", "2348012345679", calls=[[0], [1]], reference="order-1204")

    accepted = await accept(journal, claim)

    assert await found(journal, claim) == accepted.stored
    assert accepted.stored.notification == claim.notification
    assert [call.recipients for call in accepted.stored.calls] == [(0,), (1,)]
    assert {call.state for call in accepted.stored.calls} == {CallState.CLAIMED}
    assert accepted.stored.owned


async def test_an_asynchronous_claim_belongs_to_nobody(journal: Journal) -> None:
    accepted = await accept(journal, make_queued())

    assert not accepted.stored.owned
    assert [result.code for result in view_recipients(accepted.stored)] == [Code.QUEUED]


async def test_every_fact_of_a_notification_survives(journal: Journal) -> None:
    claim = make_queued(
        message="₦500 ọ̀ 😀\nline",
        expires_at=NOON + DAY_MS,
        held_until=NOON + 5,
        callback_url="https://orders.internal/sms",
        sandbox=True,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        resend_of="01900000-0000-7000-8000-0000000000ff",
        fingerprint=bytes(range(32)),
        idempotency_key='"quoted" ~ key',
    )
    await accept(journal, claim)

    assert (await found(journal, claim)).notification == claim.notification


async def test_results_come_in_the_order_of_the_claims(journal: Journal) -> None:
    claims = [make_claim(idempotency_key=f"key-{9 - number}") for number in range(9)]

    results = await journal.claim(claims)

    assert [r.stored.notification.id for r in results if isinstance(r, Lease)] == [c.notification.id for c in claims]


async def test_no_claims_bring_no_results(journal: Journal) -> None:
    assert await journal.claim([]) == []


async def test_a_notification_of_another_client_is_not_found(journal: Journal) -> None:
    claim = make_claim()
    await accept(journal, claim)

    assert await journal.find(claim.notification.id, "billing") is not None
    assert await journal.find(claim.notification.id, "monitoring") is None
    assert await journal.find("01900000-0000-7000-8000-ffffffffffff") is None


async def test_what_was_acknowledged_is_there_after_closing_and_opening(store: Store) -> None:
    journal = await store.open()
    claim = make_claim()
    await accept(journal, claim)
    key = await journal.hash_key()
    await journal.close()

    again = await store.open()

    assert (await found(again, claim)).notification == claim.notification
    assert await again.hash_key() == key


async def test_closing_twice_is_no_harm_and_a_closed_journal_says_so(journal: Journal) -> None:
    await journal.close()
    await journal.close()

    with pytest.raises(JournalUnavailable, match="closed"):
        await journal.find("01900000-0000-7000-8000-ffffffffffff")


async def test_the_hash_key_is_made_once(journal: Journal) -> None:
    keys = {await journal.hash_key() for _ in range(3)}

    assert [len(key) for key in keys] == [32]


# --- idempotency --------------------------------------------------------------------------------------------------


async def test_of_racers_with_one_key_exactly_one_is_claimed(journal: Journal) -> None:
    claims = [make_claim(idempotency_key="order-1204") for _ in range(20)]

    results = await asyncio.gather(*(journal.claim([claim]) for claim in claims))

    [winner] = [result for [result] in results if isinstance(result, Lease)]
    losers = [result.stored for [result] in results if isinstance(result, KeyTaken)]
    assert len(losers) == 19
    assert {stored.notification.id for stored in losers} == {winner.stored.notification.id}
    assert [await journal.find(claim.notification.id) is not None for claim in claims].count(True) == 1


async def test_two_claims_with_one_key_in_one_list_behave_like_two_racers(journal: Journal) -> None:
    first, second = make_claim(idempotency_key="k"), make_claim(idempotency_key="k")

    won, lost = await journal.claim([first, second])

    assert isinstance(won, Lease)
    assert isinstance(lost, KeyTaken)
    assert lost.stored == won.stored
    assert await journal.find(second.notification.id) is None


async def test_the_same_key_of_another_client_is_another_key(journal: Journal) -> None:
    results = await journal.claim(
        [make_claim(idempotency_key="k"), make_claim(idempotency_key="k", client="monitoring")]
    )

    assert [type(result) for result in results] == [Lease, Lease]


async def test_a_taken_key_gives_the_stored_outcome(journal: Journal) -> None:
    stored = await send(journal, make_claim(idempotency_key="k"))

    [result] = await journal.claim([make_claim(idempotency_key="k")])

    assert result == KeyTaken(stored)
    assert stored.completed_at == NOON + 1_000


async def test_a_key_older_than_its_window_is_given_up(journal: Journal) -> None:
    old = make_claim(idempotency_key="k", claim={"key_window_ms": 1_000})
    await send(journal, old)

    [early] = await journal.claim([make_claim(idempotency_key="k", created_at=NOON + 999)])
    results = await asyncio.gather(
        *(journal.claim([make_claim(idempotency_key="k", created_at=NOON + 1_000)]) for _ in range(5))
    )

    assert isinstance(early, KeyTaken)
    assert sorted(type(result).__name__ for [result] in results) == ["KeyTaken"] * 4 + ["Lease"]
    assert (await found(journal, old)).completed_at is not None


async def test_a_completion_that_frees_the_key_lets_it_be_used_again(journal: Journal) -> None:
    await send(journal, make_claim(idempotency_key="k"), NOT_SENT, frees_key=True)
    assert await journal.find_by_key("billing", "k", NOON) is None

    again = make_claim(idempotency_key="k")
    await accept(journal, again)

    held = await journal.find_by_key("billing", "k", NOON)
    assert held is not None
    assert held.notification.id == again.notification.id


async def test_a_key_is_found_while_it_is_held_and_not_outdated(journal: Journal) -> None:
    await accept(journal, make_claim(idempotency_key="k", claim={"key_window_ms": 1_000}))

    assert await journal.find_by_key("billing", "k", NOON + 999) is not None
    assert await journal.find_by_key("billing", "k", NOON + 1_000) is None
    assert await journal.find_by_key("monitoring", "k", NOON) is None


# --- groups of webhooks -------------------------------------------------------------------------------------------


async def test_a_group_gives_one_notification_in_its_window(journal: Journal) -> None:
    group = {"deduplication": Deduplication(b"oncall", 600_000)}
    first = await accept(journal, make_queued(claim=group))

    results = await asyncio.gather(*(journal.claim([make_queued(claim=group)]) for _ in range(5)))

    assert [result for [result] in results] == [Duplicate(first.stored)] * 5


async def test_of_a_pair_that_delivers_at_once_one_is_accepted(journal: Journal) -> None:
    group = {"deduplication": Deduplication(b"oncall", 600_000)}

    results = await asyncio.gather(*(journal.claim([make_queued(claim=group)]) for _ in range(8)))

    assert sorted(type(result).__name__ for [result] in results) == ["Duplicate"] * 7 + ["Queued"]


async def test_a_group_is_new_again_after_its_window(journal: Journal) -> None:
    group = {"deduplication": Deduplication(b"oncall", 600_000)}
    await accept(journal, make_queued(claim=group))

    [early] = await journal.claim([make_queued(claim=group, created_at=NOON + 599_999)])
    await accept(journal, make_queued(claim=group, created_at=NOON + 600_000))

    assert isinstance(early, Duplicate)


async def test_a_group_whose_claim_was_refused_is_not_a_duplicate(journal: Journal) -> None:
    group = {"deduplication": Deduplication(b"oncall", 600_000)}
    await accept(journal, make_queued(idempotency_key="k"))
    [refused] = await journal.claim([make_queued(idempotency_key="k", claim=group)])
    assert isinstance(refused, KeyTaken)

    await accept(journal, make_queued(claim=group))


# --- calls --------------------------------------------------------------------------------------------------------


async def test_a_dial_is_authorised_once(journal: Journal) -> None:
    ref = first_call(await accept(journal, make_claim()))

    grants = await asyncio.gather(*(journal.start_dialling(ref) for _ in range(10)))

    assert grants.count(True) == 1
    stored = await journal.find(ref.notification_id)
    assert stored is not None
    assert stored.calls[0].state is CallState.DIALLING
    assert stored.calls[0].dialled


async def test_a_claim_may_give_the_right_to_dial_once(journal: Journal) -> None:
    claim = make_claim(claim={"dials": True})
    accepted = await accept(journal, claim)
    ref = first_call(accepted)

    assert isinstance(accepted, DialLease)
    assert [(call.state, call.dialled) for call in accepted.stored.calls] == [(CallState.DIALLING, True)]
    assert await journal.find(ref.notification_id) == accepted.stored
    assert not await journal.start_dialling(ref)
    assert await journal.record(ref, [SENT], ended=ended()) is RecordResult.RECORDED


async def test_a_claim_that_is_repeated_gives_the_right_to_dial_again_while_nobody_has_touched_it(
    journal: Journal,
) -> None:
    claim = make_claim(claim={"dials": True})
    await accept(journal, claim)

    assert isinstance(await accept(journal, claim), DialLease)
    await journal.record(first_call(await accept(journal, claim)), [NOT_SENT], ended=ended())
    assert not isinstance(await accept(journal, claim), DialLease)


async def test_of_a_claim_that_may_dial_only_what_is_not_capped_is_dialling(journal: Journal) -> None:
    first = Cap(MessageType.TRANSACTIONAL, 1, 60_000, {0: b"a"})
    await accept(journal, make_claim(claim={"cap": first}))

    both = Cap(MessageType.TRANSACTIONAL, 1, 60_000, {0: b"a", 1: b"b"})
    accepted = await accept(journal, make_claim("2348012345678", "2348012345679", claim={"cap": both, "dials": True}))

    assert [(call.recipients, call.state) for call in accepted.stored.calls] == [((1,), CallState.DIALLING)]


async def test_no_dial_is_authorised_under_another_fence_or_for_nothing(journal: Journal) -> None:
    ref = first_call(await accept(journal, make_claim()))
    queued = first_call(await accept(journal, make_queued()))

    assert not await journal.start_dialling(CallRef(ref.notification_id, ref.ordinal, ref.fence + 1))
    assert not await journal.start_dialling(CallRef(ref.notification_id, ref.ordinal + 1, ref.fence))
    assert not await journal.start_dialling(CallRef("01900000-0000-7000-8000-ffffffffffff", 1, 1))
    assert not await journal.start_dialling(queued)


async def test_an_outcome_and_the_end_are_written_together(journal: Journal) -> None:
    claim = make_claim()

    stored = await send(journal, claim)

    assert stored.calls[0].state is CallState.DONE
    assert stored.calls[0].outcomes == (SENT,)
    assert stored.completed_at == NOON + 1_000
    assert not stored.owned


async def test_from_claimed_only_not_sent_is_taken_and_only_under_the_fence(journal: Journal) -> None:
    ref = first_call(await accept(journal, make_claim()))

    assert await journal.record(ref, [SENT]) is RecordResult.STALE
    assert await journal.record(ref, [NO_ANSWER]) is RecordResult.STALE
    other = CallRef(ref.notification_id, ref.ordinal, ref.fence + 1)
    assert await journal.record(other, [NOT_SENT]) is RecordResult.STALE
    assert await journal.record(ref, [NOT_SENT]) is RecordResult.RECORDED
    assert not await journal.start_dialling(ref)


async def test_from_dialling_any_outcome_is_taken_whatever_the_fence(journal: Journal) -> None:
    ref = first_call(await accept(journal, make_claim()))
    await journal.start_dialling(ref)

    result = await journal.record(CallRef(ref.notification_id, ref.ordinal, 99), [SENT])

    assert result is RecordResult.RECORDED


async def test_a_repeated_record_changes_nothing(journal: Journal) -> None:
    ref = first_call(await accept(journal, make_claim("2348012345678", "2348012345679")))
    await journal.start_dialling(ref)
    end = ended(NotificationStatus.PARTIAL)
    assert await journal.record(ref, [SENT, NO_ANSWER], ended=end) is RecordResult.RECORDED
    before = await journal.find(ref.notification_id)

    assert await journal.record(ref, [SENT, NO_ANSWER], ended=end) is RecordResult.STALE
    assert await journal.find(ref.notification_id) == before


async def test_a_record_of_a_call_that_is_not_there_is_stale(journal: Journal) -> None:
    assert await journal.record(CallRef("01900000-0000-7000-8000-ffffffffffff", 1, 1), [SENT]) is RecordResult.STALE


async def test_follow_ups_get_the_next_ordinals_under_the_owner(journal: Journal) -> None:
    claim = make_claim("2348012345678", "2348012345679")
    accepted = await accept(journal, claim)
    ref = first_call(accepted)
    await journal.start_dialling(ref)
    halves = [PlannedCall(route=Route.DND, recipients=(index,), level=1) for index in (0, 1)]

    assert await journal.record(ref, [], follow_ups=halves) is RecordResult.RECORDED

    _, *added = (await found(journal, claim)).calls
    assert [call.ordinal for call in added] == [ref.ordinal + 1, ref.ordinal + 2]
    assert [(call.recipients, call.level, call.route) for call in added] == [
        ((0,), 1, Route.DND),
        ((1,), 1, Route.DND),
    ]
    for call in added:
        assert await journal.start_dialling(CallRef(ref.notification_id, call.ordinal, accepted.fence))


async def test_a_call_that_was_ended_meanwhile_is_replaced_by_nothing(journal: Journal) -> None:
    claim = make_claim("2348012345678", "2348012345679")
    ref = first_call(await accept(journal, claim))
    await journal.start_dialling(ref)
    await journal.record(ref, [NO_ANSWER, NO_ANSWER], ended=ended(NotificationStatus.UNKNOWN))
    halves = [PlannedCall(route=Route.DND, recipients=(index,), level=1) for index in (0, 1)]

    assert await journal.record(ref, [], follow_ups=halves) is RecordResult.STALE
    assert len((await found(journal, claim)).calls) == 1


async def test_follow_ups_of_calls_that_end_at_once_do_not_clash(journal: Journal) -> None:
    numbers = [f"234801234567{digit}" for digit in range(4)]
    claim = make_claim(*numbers, calls=[[0, 1], [2, 3]])
    accepted = await accept(journal, claim)
    refs = [first_call(accepted, position) for position in (0, 1)]
    for ref in refs:
        await journal.start_dialling(ref)

    await asyncio.gather(
        *(
            journal.record(ref, [], follow_ups=[PlannedCall(route=Route.DND, recipients=call.recipients, level=1)])
            for ref, call in zip(refs, accepted.stored.calls, strict=True)
        )
    )

    added = (await found(journal, claim)).calls[2:]
    assert [call.ordinal for call in added] == [3, 4]
    assert sorted(call.recipients for call in added) == [(0, 1), (2, 3)]


async def test_calls_of_the_same_notifications_are_dialled_and_recorded_side_by_side(journal: Journal) -> None:
    numbers = [f"234801234567{digit}" for digit in range(4)]
    claims = [make_claim(*numbers, calls=[[0], [1], [2], [3]]) for _ in range(30)]
    accepted = [await accept(journal, claim) for claim in claims]
    refs = [first_call(item, position) for position in range(4) for item in accepted]

    async def run(refs: list[CallRef]) -> None:
        for ref in refs:
            assert await journal.start_dialling(ref)
            assert await journal.record(ref, [SENT]) is RecordResult.RECORDED

    await asyncio.gather(*(run(refs[turn::12][:: -1 if turn % 2 else 1]) for turn in range(12)))

    for claim in claims:
        assert codes(await found(journal, claim)) == [Code.SENT] * 4


async def test_a_notification_ends_only_when_every_call_is_done(journal: Journal) -> None:
    claim = make_claim("2348012345678", "2348012345679", calls=[[0], [1]])
    accepted = await accept(journal, claim)
    first, second = first_call(accepted), first_call(accepted, 1)
    await journal.start_dialling(first)
    await journal.start_dialling(second)

    await journal.record(first, [SENT], ended=ended())
    assert not await journal.end(claim.notification.id, ended())
    assert (await found(journal, claim)).completed_at is None

    await journal.record(second, [REJECTED], ended=ended(NotificationStatus.PARTIAL))
    assert (await found(journal, claim)).completed_at == NOON + 1_000
    assert not await journal.end(claim.notification.id, ended())


async def test_completing_says_whether_it_did(journal: Journal) -> None:
    claim = make_claim()
    ref = first_call(await accept(journal, claim))
    await journal.record(ref, [NOT_SENT])

    assert await journal.end(claim.notification.id, ended(NotificationStatus.NOT_SENT))
    assert not await journal.end(claim.notification.id, ended(NotificationStatus.NOT_SENT))
    assert not await journal.end("01900000-0000-7000-8000-ffffffffffff", ended())


async def test_the_text_is_erased_at_the_end_and_its_hash_stays(store: Store) -> None:
    journal = await store.open()
    canary = "canary text of a message"
    claim = make_claim(message=canary)
    await accept(journal, claim)
    assert canary in store.dump()

    await send(journal, make_claim())
    ref = CallRef(claim.notification.id, 1, 1)
    await journal.start_dialling(ref)
    await journal.record(ref, [SENT], ended=ended())

    stored = await found(journal, claim)
    assert stored.notification.message is None
    assert stored.notification.message_hash == claim.notification.message_hash
    assert canary not in store.dump()


# --- settling -----------------------------------------------------------------------------------------------------


async def test_a_late_answer_settles_an_unknown_once(store: Store) -> None:
    journal = await store.open()
    claim = make_claim()
    await send(journal, claim, NO_ANSWER)
    ref = CallRef(claim.notification.id, 1, 1)
    store.clock.advance(30)

    assert await journal.record(ref, [SENT]) is RecordResult.SETTLED
    assert await journal.record(ref, [REJECTED]) is RecordResult.STALE

    stored = await found(journal, claim)
    [outcome] = stored.calls[0].outcomes
    assert outcome == Outcome(code=Code.SENT, upstream=SENT.upstream, resolved_by=ResolvedBy.LATE_ANSWER)
    assert stored.resolved_at == NOON + 30_000
    assert stored.completed_at == NOON + 1_000
    assert await journal.list_unknown(10) == []


async def test_an_answer_never_changes_a_definite_outcome(journal: Journal) -> None:
    claim = make_claim()
    await send(journal, claim, REJECTED)

    assert await journal.record(CallRef(claim.notification.id, 1, 1), [SENT]) is RecordResult.STALE
    assert codes(await found(journal, claim)) == [Code.REJECTED]


async def test_only_the_unknown_recipients_of_a_call_are_settled(journal: Journal) -> None:
    claim = make_claim("2348012345678", "2348012345679", "2348012345670")
    ref = first_call(await accept(journal, claim))
    await journal.start_dialling(ref)
    await journal.record(ref, [REJECTED, NO_ANSWER, NO_ANSWER], ended=ended(NotificationStatus.PARTIAL))

    assert await journal.record(ref, [SENT, SENT, NO_ANSWER]) is RecordResult.SETTLED
    assert codes(await found(journal, claim)) == [Code.REJECTED, Code.SENT, Code.NO_ANSWER]
    assert await journal.record(ref, [SENT, SENT, REJECTED]) is RecordResult.SETTLED
    assert codes(await found(journal, claim)) == [Code.REJECTED, Code.SENT, Code.REJECTED]


async def test_a_late_answer_before_the_end_is_in_the_end(journal: Journal) -> None:
    claim = make_claim("2348012345678", "2348012345679", calls=[[0], [1]])
    accepted = await accept(journal, claim)
    first, second = first_call(accepted), first_call(accepted, 1)
    for ref in (first, second):
        await journal.start_dialling(ref)
    await journal.record(first, [NO_ANSWER])
    assert await journal.record(first, [SENT]) is RecordResult.SETTLED

    await journal.record(second, [SENT], ended=ended(NotificationStatus.PARTIAL))

    [listed] = await journal.select(listing(status=NotificationStatus.SENT))
    assert listed == await found(journal, claim)
    assert await journal.list_unknown(10) == []


async def test_the_operator_settles_what_nobody_can_know_with_an_audit_row(store: Store) -> None:
    journal = await store.open()
    claim = make_claim("2348012345678", "2348012345679")
    await send(journal, claim, NO_ANSWER)
    sent = Outcome(code=Code.SENT, resolved_by=ResolvedBy.OPERATOR)
    row = audit("resolve_sent", claim.notification.id)

    settled = await journal.settle(claim.notification.id, {1: sent}, ResolvedBy.OPERATOR, NOON + 5_000, row)

    assert settled is not None
    assert codes(settled) == [Code.NO_ANSWER, Code.SENT]
    assert settled.resolved_at == NOON + 5_000
    assert settled == await found(journal, claim)
    assert store.query("SELECT action, notification_id FROM audit") == [("resolve_sent", claim.notification.id)]
    [left] = await journal.list_unknown(10)
    assert left.indexes == (0,)


async def test_settling_what_is_not_unknown_changes_and_keeps_nothing(store: Store) -> None:
    journal = await store.open()
    claim = make_claim()
    await send(journal, claim)
    row = audit("resolve_sent", claim.notification.id)

    assert await journal.settle(claim.notification.id, {0: REJECTED}, ResolvedBy.OPERATOR, NOON, row) is None
    assert (
        await journal.settle("01900000-0000-7000-8000-ffffffffffff", {0: SENT}, ResolvedBy.OPERATOR, NOON, row) is None
    )
    assert store.query("SELECT count(*) FROM audit") == [(0,)]


async def test_of_two_replicas_that_settle_at_once_exactly_one_does(shared_store: Store) -> None:
    one, other = await shared_store.open(), await shared_store.open()
    claims = [make_claim() for _ in range(15)]
    await one.claim(claims)
    for claim in claims:
        ref = CallRef(claim.notification.id, 1, 1)
        await one.start_dialling(ref)
        await one.record(ref, [NO_ANSWER], ended=ended(NotificationStatus.UNKNOWN))

    async def race(claim: Claim) -> list[bool]:
        """Whether each of four settled it: two late answers, then two operators."""
        key = claim.notification.id
        by_answer = (journal.record(CallRef(key, 1, 1), [SENT]) for journal in (one, other))
        row = audit("resolve_not_sent", key)
        by_hand = (journal.settle(key, {0: NOT_SENT}, ResolvedBy.OPERATOR, NOON, row) for journal in (one, other))
        late, settled = await asyncio.gather(asyncio.gather(*by_answer), asyncio.gather(*by_hand))
        return [*(one is RecordResult.SETTLED for one in late), *(one is not None for one in settled)]

    outcomes = await asyncio.gather(*(race(claim) for claim in claims))

    assert [sum(outcome) for outcome in outcomes] == [1] * len(claims)
    assert shared_store.query("SELECT count(*) FROM audit") == [(sum(sum(outcome[2:]) for outcome in outcomes),)]


async def test_of_two_replicas_that_end_at_once_exactly_one_does(shared_store: Store) -> None:
    one, other = await shared_store.open(), await shared_store.open()
    claims = [make_claim() for _ in range(40)]
    await one.claim(claims)
    for claim in claims:
        await one.record(CallRef(claim.notification.id, 1, 1), [NOT_SENT])

    async def race(claim: Claim) -> int:
        end = ended(NotificationStatus.NOT_SENT)
        return sum(await asyncio.gather(*(journal.end(claim.notification.id, end) for journal in (one, other))))

    assert await asyncio.gather(*(race(claim) for claim in claims)) == [1] * 40


async def test_a_long_answer_survives_as_the_upstream_wrote_it(journal: Journal) -> None:
    upstream = UpstreamRecord("0000", "SENT", "d" * 5_000, "9" * 40)
    claim = make_claim(*(f"2348{number:09d}" for number in range(100)))

    await send(journal, claim, Outcome(code=Code.SENT, upstream=upstream))

    stored = await found(journal, claim)
    assert stored.calls[0].outcomes == (Outcome(code=Code.SENT, upstream=upstream),) * 100
