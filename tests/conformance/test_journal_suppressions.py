"""Numbers that are not to be written to: left out by claims and by the queue, for as long as the list says."""

import asyncio
from typing import Any

import pytest

from relay.domain.audit import Act
from relay.domain.codes import Code, MessageType, Route
from relay.domain.notification import CallState, Outcome, PlannedCall, UpstreamRecord, view_recipients
from relay.domain.suppression import Addressed, SuppressedBy, SuppressionWish
from relay.journal.base import StoredJournal
from relay.journal.lookups import Subjects
from relay.journal.opening import open_journal
from relay.journal.suppressing import find_suppressed
from relay.sending.ports import Cap, Cursor, DialLease, Journal, Lease, LeftOut, Quota
from support.journal import DAY_MS, NOON, SENT, accept, codes, ended, first_call, make_claim, make_queued
from support.stores import Store

HOUR_MS = 3_600_000
ONE, TWO, THREE = "2348012345678", "2348012345679", "2348012345670"
ACT = Act(at=NOON, client="ops", action="suppress")
DND = Outcome(code=Code.DND_REJECTED, upstream=UpstreamRecord("3333", "DND_REJECTED", "DND_REJECTED_NUMBER", "6"))


def wish(number: str = ONE, **fields: Any) -> SuppressionWish:
    return SuppressionWish(**({"number": number, "client": "billing", "reason": "asked"} | fields))


async def take(journal: Journal, now: int = NOON) -> list[Lease]:
    return await journal.take(["billing"], list(MessageType), 10, now)


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ({}, True),
        ({"client": ""}, True),
        ({"client": "orders"}, False),
        ({"message_types": (MessageType.TRANSACTIONAL, MessageType.OTP)}, True),
        ({"message_types": (MessageType.PROMOTIONAL,)}, False),
        ({"until": NOON + 1}, True),
        ({"until": NOON}, False),
    ],
)
async def test_it_holds_for_its_client_its_types_and_its_time(
    journal: Journal, fields: dict[str, Any], holds: bool
) -> None:
    await journal.suppress([wish(**fields)], ACT)
    lease = await accept(journal, make_claim(ONE, TWO, calls=[[0], [1]]))

    assert [call.recipients for call in lease.stored.calls] == ([(1,)] if holds else [(0,), (1,)])
    assert codes(lease.stored) == [Code.SUPPRESSED if holds else Code.QUEUED, Code.QUEUED]
    assert await journal.find(lease.stored.notification.id) == lease.stored
    addressed = Addressed("billing", MessageType.TRANSACTIONAL, {0: ONE, 5: TWO})
    assert await journal.find_suppressed(addressed, NOON) == ((0,) if holds else ())


async def test_where_nobody_is_left_the_claim_stands_and_nothing_is_dialled(journal: Journal) -> None:
    await journal.suppress([wish()], ACT)
    waiting = await accept(journal, make_claim(ONE, claim={"dials": True}, idempotency_key="k"))
    assert not isinstance(waiting, DialLease)
    assert waiting.stored.calls == ()
    assert [result.code for result in view_recipients(waiting.stored)] == [Code.SUPPRESSED]
    assert await journal.end(waiting.stored.notification.id, ended())
    assert await journal.find_by_key("billing", "k", NOON) is not None

    await accept(journal, make_queued(ONE))
    [lease] = await take(journal)
    assert lease.stored.calls == ()


async def test_it_counts_under_no_cap_and_uses_no_place(journal: Journal) -> None:
    await journal.suppress([wish()], ACT)
    cap = Cap(MessageType.TRANSACTIONAL, 1, 600_000, {0: b"one", 1: b"two"})
    quota = Quota("2026-12-01", 2, 10)
    for _ in range(2):
        lease = await accept(journal, make_claim(ONE, claim={"cap": Cap(MessageType.OTP, 1, 1, {0: b"one"})}))
        assert codes(lease.stored) == [Code.SUPPRESSED]
    first = await accept(journal, make_claim(ONE, TWO, claim={"cap": cap, "quota": quota}))
    assert codes(first.stored) == [Code.SUPPRESSED, Code.QUEUED]


async def test_what_came_onto_the_list_meanwhile_is_left_out_when_it_is_taken(journal: Journal) -> None:
    whole, part = make_queued(ONE), make_queued(ONE, TWO, THREE, calls=[[0], [1, 2]])
    await accept(journal, whole)
    await accept(journal, part)
    await journal.suppress([wish(), wish(THREE)], ACT)

    leases = {lease.stored.notification.id: lease for lease in await take(journal)}
    assert codes(leases[whole.notification.id].stored) == [Code.SUPPRESSED]
    left = leases[part.notification.id]
    assert codes(left.stored) == [Code.SUPPRESSED, Code.QUEUED, Code.SUPPRESSED]
    assert [call.recipients for call in left.stored.calls] == [(), (1,)]
    assert not await journal.start_dialling(first_call(left))
    ref = first_call(left, 1)
    assert await journal.start_dialling(ref)
    await journal.record(ref, [SENT], ended=ended())
    stored = await journal.find(part.notification.id)
    assert stored is not None
    assert codes(stored) == [Code.SUPPRESSED, Code.SENT, Code.SUPPRESSED]
    assert await journal.end(whole.notification.id, ended())


async def test_what_came_onto_the_list_after_that_is_named_when_the_call_is_to_be_dialled(journal: Journal) -> None:
    await accept(journal, make_queued(ONE, TWO, calls=[[0, 1]]))
    await accept(journal, make_queued(THREE))
    leases = await take(journal)
    await journal.suppress([wish(TWO)], ACT)
    refs = [first_call(lease) for lease in leases]
    asked = [Addressed("billing", MessageType.TRANSACTIONAL, numbers) for numbers in ({0: ONE, 1: TWO}, {0: THREE})]

    granted = await asyncio.gather(
        *(journal.start_dialling(ref, addressed=each) for ref, each in zip(refs, asked, strict=True))
    )
    assert granted == [LeftOut((1,)), True]
    [still, dialling] = [await journal.find(lease.stored.notification.id) for lease in leases]
    assert still is not None
    assert dialling is not None
    assert [still.calls[0].state, dialling.calls[0].state] == [CallState.CLAIMED, CallState.DIALLING]


async def test_an_answer_that_is_there_stays_what_it_is(journal: Journal) -> None:
    claim = make_queued(ONE)
    await accept(journal, claim)
    [lease] = await take(journal)
    ref = first_call(lease)
    await journal.start_dialling(ref)
    await journal.record(ref, [DND], follow_ups=[PlannedCall(route=Route.DND, recipients=(0,))])
    await journal.requeue(claim.notification.id, lease.fence, NOON)
    await journal.suppress([wish()], ACT)

    [again] = await take(journal)
    assert codes(again.stored) == [Code.DND_REJECTED]


async def test_the_same_again_is_the_same_with_its_new_reason_and_end(journal: Journal) -> None:
    [first] = await journal.suppress([wish(until=NOON + 5)], ACT)
    [again, other] = await journal.suppress([wish(reason="asked twice"), wish(client="")], ACT)

    assert (again.id, again.reason, again.until, again.created_at) == (first.id, "asked twice", None, NOON)
    assert other.id != first.id
    assert (first.last_digits, first.by) == ("78", SuppressedBy.REQUEST)
    assert await journal.list_suppressions("billing", 10) == [again]
    assert await journal.list_suppressions("", 10) == [other]


async def test_one_that_had_ended_begins_anew_for_what_waits_already(journal: Journal) -> None:
    await journal.suppress([wish(until=NOON + 1)], ACT)
    later = NOON + 3 * HOUR_MS
    claim = make_queued(ONE, created_at=later, due_at=later)
    assert codes((await accept(journal, claim)).stored) == [Code.QUEUED]
    await journal.suppress([wish()], Act(at=later, client="ops", action="suppress"))

    [lease] = await take(journal, later)
    assert codes(lease.stored) == [Code.SUPPRESSED]


class Counting(Subjects):
    """Counts the numbers that are looked at."""

    looked_at = 0

    def recipient(self, number: str) -> bytes:
        self.looked_at += 1
        return super().recipient(number)


async def test_taking_looks_at_numbers_only_where_the_list_has_grown_since(store: Store) -> None:
    journal = await store.open()
    long_ago = Act(at=NOON - 2 * HOUR_MS, client="ops", action="suppress")
    await journal.suppress([wish(THREE), wish(client="orders")], long_ago)
    for _ in range(2):
        await accept(journal, make_queued(ONE, TWO, calls=[[0], [1]]))
    journal._subjects = counting = Counting(await journal.hash_key())

    [first] = await journal.take(["billing"], list(MessageType), 1, NOON)
    await journal.suppress([wish(client="orders")], ACT)
    counting.looked_at = 0
    assert len(await take(journal)) == 1
    assert counting.looked_at == 0, "it is another client's list"

    await journal.start_dialling(first_call(first))
    await journal.record(first_call(first), [SENT])
    await journal.requeue(first.stored.notification.id, first.fence, NOON)
    await journal.suppress([wish(TWO)], ACT)
    counting.looked_at = 0
    [again] = await take(journal)
    assert counting.looked_at == 1, "the other call was made"
    assert codes(again.stored) == [Code.SENT, Code.SUPPRESSED]


async def test_what_was_judged_before_is_looked_at_only_where_the_list_has_grown_since(store: Store) -> None:
    journal = await store.open()
    asked = Addressed("billing", MessageType.TRANSACTIONAL, {0: ONE}, judged_at=NOON)
    await journal.suppress([wish(THREE)], Act(at=NOON - 2 * HOUR_MS, client="ops", action="suppress"))
    journal._subjects = counting = Counting(await journal.hash_key())
    assert await journal._read(lambda: find_suppressed({"": asked}, counting, NOON)) == {}
    assert counting.looked_at == 0

    await journal.suppress([wish()], ACT)
    assert await journal._read(lambda: find_suppressed({"": asked}, counting, NOON)) == {"": (0,)}


async def test_of_very_many_numbers_none_is_looked_at_where_the_client_has_no_list(store: Store) -> None:
    journal = await store.open()
    await journal.suppress([wish(client="orders")], ACT)
    numbers = [f"23480{position:08}" for position in range(600)] + [ONE]
    asked = Addressed("billing", MessageType.TRANSACTIONAL, dict(enumerate(numbers)))
    journal._subjects = counting = Counting(await journal.hash_key())
    assert await journal.find_suppressed(asked, NOON) == ()
    assert counting.looked_at == 0

    await journal.suppress([wish(client=""), wish(numbers[0])], ACT)
    assert await journal.find_suppressed(asked, NOON) == (0, 600)
    lease = await accept(journal, make_claim(*numbers))
    assert codes(lease.stored).count(Code.SUPPRESSED) == 2
    assert [call.recipients for call in lease.stored.calls] == [tuple(range(1, 600))]


async def test_many_are_entered_bit_by_bit_and_in_one_order_whoever_enters_them(store: Store) -> None:
    journal = await store.open()
    numbers = [f"23480{position:08}" for position in range(1_000)]
    importing = asyncio.create_task(journal.suppress([wish(number) for number in reversed(numbers)], ACT))
    sending = asyncio.create_task(accept(journal, make_claim(ONE)))

    done, _ = await asyncio.wait({importing, sending}, return_when=asyncio.FIRST_COMPLETED)
    assert done == {sending}, "a send waits for a bit of it"
    entered = await importing
    assert [each.last_digits for each in entered] == [number[-2:] for number in reversed(numbers)]
    place = "xmin::text::bigint, cmin::text::bigint" if store.shared else "rowid"
    in_order = [row[0] for row in store.query(f"SELECT last_digits FROM suppressions ORDER BY {place}")]
    assert in_order == [number[-2:] for number in numbers], "or two imports wait for each other"
    assert len((await journal.read_audit(10)).rows) == 1


async def test_a_listing_goes_on_where_it_was_and_finds_a_number(journal: Journal) -> None:
    for position in range(5):
        await journal.suppress(
            [wish(f"234801234567{position}")], Act(at=NOON + position, client="x", action="suppress")
        )
    page = await journal.list_suppressions("billing", 3)
    rest = await journal.list_suppressions("billing", 3, Cursor(page[-1].created_at, page[-1].id))

    assert [each.last_digits for each in page + rest] == ["74", "73", "72", "71", "70"]
    assert await journal.list_suppressions("billing", 9, None, "2348012345673") == [page[1]]


async def test_what_is_lifted_holds_no_longer_and_only_its_own_client_lifts_it(journal: Journal) -> None:
    [kept] = await journal.suppress([wish()], ACT)
    assert await journal.lift_suppression(kept.id, "orders", ACT) is None
    assert await journal.lift_suppression(kept.id, "billing", ACT) == kept
    assert await journal.lift_suppression(kept.id, "billing", ACT) is None
    assert codes((await accept(journal, make_claim(ONE))).stored) == [Code.QUEUED]
    audit = await journal.read_audit(10)
    assert len(audit.rows) == 2


async def test_neither_the_number_is_kept_nor_does_an_erasure_undo_it(store: Store) -> None:
    journal = await store.open()
    await journal.suppress([wish()], ACT)
    assert ONE not in repr(store.query("SELECT * FROM suppressions"))
    await journal.erase_recipient(ONE, Act(at=NOON, client="ops", action="erase"))
    await journal.purge(NOON)
    assert codes((await accept(journal, make_claim(ONE))).stored) == [Code.SUPPRESSED]


async def test_what_is_over_is_deleted(store: Store) -> None:
    journal = await store.open()
    await journal.suppress([wish(until=NOON + 1_000), wish(TWO)], ACT)
    store.clock.advance(1)
    await journal.purge(NOON)
    assert [each.last_digits for each in await journal.list_suppressions("billing", 9)] == ["79"]


# --- learned ---


@pytest.fixture
async def learning(store: Store) -> StoredJournal:
    """A journal that learns for a day."""
    journal = open_journal(store.url, clock=store.clock, learn_dnd_ms=DAY_MS)
    await journal.open()
    store._opened.append(journal)
    return journal


async def answer(journal: Journal, route: Route, *outcomes: Outcome) -> None:
    claim = make_claim(ONE, TWO)
    call = PlannedCall(route=route, recipients=(0, 1))
    claim = type(claim)(notification=claim.notification, calls=(call,), key_window_ms=1)
    lease = await accept(journal, claim)
    await journal.start_dialling(first_call(lease))
    await journal.record(first_call(lease), outcomes, ended=ended())


async def test_a_3333_on_the_normal_route_keeps_promotions_away_for_everybody(learning: StoredJournal) -> None:
    await answer(learning, Route.NORMAL, DND, SENT)

    [learned] = await learning.list_suppressions("", 9)
    assert (learned.last_digits, learned.by, learned.message_types, learned.until) == (
        "78",
        SuppressedBy.LEARNED,
        (MessageType.PROMOTIONAL,),
        NOON + DAY_MS,
    )
    promotion = make_claim(ONE, client="campaigns", message_type=MessageType.PROMOTIONAL)
    assert codes((await accept(learning, promotion)).stored) == [Code.SUPPRESSED]
    assert codes((await accept(learning, make_claim(ONE))).stored) == [Code.QUEUED]


async def test_what_was_asked_for_is_not_shortened_by_what_is_learned(learning: StoredJournal) -> None:
    asked = wish(client="", message_types=(MessageType.PROMOTIONAL,))
    [kept] = await learning.suppress([asked], ACT)
    await answer(learning, Route.NORMAL, DND, SENT)

    assert await learning.list_suppressions("", 9) == [kept]


@pytest.mark.parametrize("route", [Route.DND, Route.DND_FALLBACK])
async def test_nothing_is_learned_from_other_routes(learning: StoredJournal, route: Route) -> None:
    await answer(learning, route, DND, SENT)
    assert await learning.list_suppressions("", 9) == []


async def test_nothing_is_learned_unless_it_is_switched_on(journal: Journal) -> None:
    await answer(journal, Route.NORMAL, DND, SENT)
    assert await journal.list_suppressions("", 9) == []
