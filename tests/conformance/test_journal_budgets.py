"""The journal's contract, over both stores: what clients may spend in a month."""

import asyncio
import random
from decimal import Decimal
from typing import Any

from relay.domain.codes import MessageType, NotificationStatus, ResolvedBy, Route
from relay.domain.notification import PlannedCall
from relay.domain.suppression import SuppressionWish
from relay.domain.usage import MICRO, Prices, UsageQuery
from relay.journal.base import StoredJournal
from relay.journal.opening import open_journal
from relay.sending.ports import Budget, BudgetExhausted, CallRef, Cap, Claim, Journal, Lease
from support.journal import (
    DAY_MS,
    NO_ANSWER,
    NOON,
    NOT_SENT,
    REJECTED,
    SENT,
    accept,
    audit,
    ended,
    first_call,
    make_claim,
    make_queued,
    send,
)
from support.stores import Store

MONTH, NEXT = "2026-12", "2027-01"
PEOPLE = ("2348012345670", "2348012345671", "2348012345672")
THREE_UNITS = 3 * MICRO
"""What a recipient costs at the dearest account; at ``smsclone`` it is 1."""


def budgeted(*numbers: str, limit: int = 100, month: str = MONTH, queued: bool = False, **changes: Any) -> Claim:
    """A claim of a client with so many units a month."""
    numbers = numbers or PEOPLE[:1]
    claim = {"budget": Budget(month, THREE_UNITS, len(numbers), limit * MICRO)} | changes.pop("claim", {})
    return (make_queued if queued else make_claim)(*numbers, claim=claim, **changes)


async def spent(journal: Journal, month: str = MONTH) -> Decimal:
    """Units of the month that are used or reserved."""
    return (await journal.spent(month)).get("billing", Decimal(0))


async def test_what_does_not_fit_is_refused_and_writes_nothing(journal: Journal) -> None:
    await accept(journal, budgeted(*PEOPLE[:2], limit=10))
    claim = budgeted(*PEOPLE[:2], limit=10)

    assert await journal.claim([claim]) == [BudgetExhausted(6 * MICRO)]
    assert await journal.find(claim.notification.id) is None
    assert await spent(journal) == 6
    [fits, late] = await journal.claim([budgeted(limit=10), budgeted(limit=10)])
    assert (type(fits), late) == (Lease, BudgetExhausted(9 * MICRO))
    await accept(journal, budgeted(*PEOPLE, limit=10, month=NEXT))
    await accept(journal, make_claim())


async def test_what_a_call_came_to_takes_the_place_of_what_was_reserved(journal: Journal) -> None:
    for outcome, units in ((SENT, 3), (REJECTED, 3), (NO_ANSWER, 6), (NOT_SENT, 6)):
        await send(journal, budgeted(*PEOPLE), outcome)
        assert await spent(journal) == units


async def test_an_outcome_that_is_settled_costs_what_it_then_is(journal: Journal) -> None:
    lost = await send(journal, budgeted(*PEOPLE), NO_ANSWER)
    answers = {0: SENT, 1: REJECTED, 2: NOT_SENT}

    await journal.settle(lost.notification.id, answers, ResolvedBy.OPERATOR, NOON, audit("resolve"))

    assert await spent(journal) == 1


async def test_what_follows_a_call_is_reserved_anew_and_charged_once(journal: Journal) -> None:
    accepted = await accept(journal, budgeted(*PEOPLE))
    whole = first_call(accepted)
    assert await journal.start_dialling(whole)
    halves = [PlannedCall(route=Route.DND_FALLBACK, recipients=each, level=1) for each in ((0, 1), (2,))]
    await journal.record(whole, (), follow_ups=halves)
    assert await spent(journal) == 9
    first, second = (CallRef(whole.notification_id, ordinal, whole.fence) for ordinal in (2, 3))
    assert await journal.start_dialling(first)
    onward = [PlannedCall(route=Route.DND_FALLBACK, recipients=(0,), account="backup")]
    await journal.record(first, (NOT_SENT, SENT), follow_ups=onward)
    assert await spent(journal) == 3 + 1 + 3
    for ref in (second, CallRef(whole.notification_id, 4, whole.fence, "backup")):
        assert await journal.start_dialling(ref, ref.account)
        await journal.record(ref, (SENT,))
    assert await spent(journal) == 3


async def test_numbers_that_are_left_out_cost_nothing(journal: StoredJournal) -> None:
    wish = SuppressionWish(client="billing", number=PEOPLE[1])
    await journal.suppress([wish], audit("suppress"))
    cap = Cap(MessageType.TRANSACTIONAL, 1, 600_000, dict(enumerate((b"a", b"b", b"c"))))
    capped = Cap(MessageType.TRANSACTIONAL, 1, 600_000, {0: b"c"})
    await accept(journal, make_claim(claim={"cap": capped}))

    await send(journal, budgeted(*PEOPLE, limit=3, claim={"cap": cap}))

    assert await spent(journal) == 1


async def test_numbers_that_are_left_out_at_the_dial_give_back_what_was_reserved(journal: StoredJournal) -> None:
    queued = budgeted(*PEOPLE, queued=True)
    await accept(journal, queued)
    wish = SuppressionWish(client="billing", number=PEOPLE[1])
    await journal.suppress([wish], audit("suppress"))

    await journal.take(["billing"], [queued.notification.message_type], 1, NOON)

    assert await spent(journal) == 6


async def test_what_ends_without_a_dial_gives_everything_back(journal: StoredJournal) -> None:
    queued = budgeted(*PEOPLE, queued=True)
    await accept(journal, queued)
    await journal.cancel(queued.notification.id, "billing", NOON)
    assert await spent(journal) == 0

    await accept(journal, budgeted(*PEOPLE))
    await journal.mark_restored()
    assert await spent(journal) == 3, "nobody knows of these: they count as sent"


async def test_a_message_that_is_moved_is_paid_from_the_month_in_which_it_is_sent(journal: StoredJournal) -> None:
    queued = budgeted(*PEOPLE, queued=True, send_at=NOON + DAY_MS)
    await accept(journal, queued)
    await journal.move(queued.notification.id, "billing", NOON + 35 * DAY_MS, NOON, 7 * DAY_MS)
    assert [await spent(journal, month) for month in (MONTH, NEXT)] == [0, 9]

    await journal.move(queued.notification.id, "billing", NOON, NOON, 7 * DAY_MS)
    assert [await spent(journal, month) for month in (MONTH, NEXT)] == [9, 0]


async def test_a_budget_that_is_set_in_the_middle_of_a_month_counts_what_was_sent_before(journal: Journal) -> None:
    await send(journal, make_claim(*PEOPLE))
    await send(journal, make_claim(*PEOPLE, client="monitoring"))

    assert await journal.claim([budgeted(limit=5)]) == [BudgetExhausted(3 * MICRO)]


async def test_what_last_months_budget_paid_is_not_counted_again(store: Store) -> None:
    journal = await store.open()
    late = budgeted(*PEOPLE, month="2026-11")
    await send(journal, late)  # accepted in November, sent in December

    await accept(journal, budgeted(limit=3))

    assert await spent(journal) == 3


async def test_prices_are_those_of_the_account_that_took_it(store: Store) -> None:
    prices = {"smsclone": Prices(Decimal("0.5")), "backup": Prices(Decimal("2.5"))}
    journal = open_journal(store.url, clock=store.clock, prices=prices)
    await journal.open()
    for account in prices:
        accepted = await accept(journal, budgeted())
        ref = CallRef(accepted.stored.notification.id, 1, accepted.fence, account)
        assert await journal.start_dialling(ref, account)
        await journal.record(ref, [SENT], ended=ended(NotificationStatus.SENT))

    assert await spent(journal) == 3
    await journal.close()


async def test_budgets_go_with_the_usage_that_they_were_of(journal: Journal) -> None:
    await send(journal, budgeted())

    await journal.purge(NOON, "2026-12-01")
    assert await spent(journal) == 1
    await journal.purge(NOON, "2027-01-01")
    assert await spent(journal) == 0


async def test_racers_over_replicas_spend_no_more_than_there_is_and_exactly_what_they_sent(shared_store: Store) -> None:
    replicas = [await shared_store.open() for _ in range(3)]
    chance = random.Random(7)
    outcomes = (SENT, REJECTED, NO_ANSWER, NOT_SENT)

    async def work(number: int) -> bool:
        journal = replicas[number % 3]
        [result] = await journal.claim([budgeted(*PEOPLE, limit=60)])
        if not isinstance(result, Lease):
            assert isinstance(result, BudgetExhausted)
            return False
        ref = first_call(result)
        assert await journal.start_dialling(ref)
        outcome = chance.choice(outcomes)
        status = NotificationStatus(outcome.status.value)
        await journal.record(ref, (outcome,) * 3, ended=ended(status))
        return True

    stood = await asyncio.gather(*(work(number) for number in range(60)))

    assert 6 <= sum(stood) < 60
    [row] = await replicas[0].usage(UsageQuery(first_day="2026-12-01", until_day="2027-01-01"))
    assert await spent(replicas[0]) == row.units <= 60
