"""The ledger of units: what it holds is what the recorded calls came to, however they ended."""

import asyncio
from collections import Counter
from decimal import Decimal

import pytest

from relay.domain.codes import NotificationStatus, ResolvedBy, Route, Status
from relay.domain.notification import Outcome, PlannedCall, Stored
from relay.domain.usage import Prices, UsageField, UsageQuery
from relay.journal.base import StoredJournal
from relay.journal.opening import open_journal
from relay.sending.ports import CallRef, Journal, RecordResult
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
    found,
    make_claim,
    make_queued,
    send,
)
from support.stores import Store

PEOPLE = ("2348012345670", "2348012345671", "2348012345672")
ALL = UsageQuery(first_day="2026-01-01", until_day="2027-01-01")
EVERY_DAY = tuple(UsageField)


async def totals(journal: Journal, *by: UsageField) -> dict[tuple[str, ...], tuple[int, int, int, Decimal]]:
    """Everything, by these fields."""
    query = UsageQuery(first_day=ALL.first_day, until_day=ALL.until_day, by=by)
    return {row.group: (row.messages, row.recipients, row.segments, row.units) for row in await journal.usage(query)}


async def outcomes(journal: Journal) -> dict[str, tuple[int, int, int, Decimal]]:
    """By outcome; what adds up to nothing is left out."""
    found = await totals(journal, UsageField.OUTCOME)
    return {group[0]: amount for group, amount in found.items() if any(amount)}


async def test_each_outcome_is_charged_as_it_is(journal: StoredJournal) -> None:
    for outcome in (SENT, REJECTED, NO_ANSWER, NOT_SENT):
        await send(journal, make_claim(*PEOPLE), outcome)

    assert await outcomes(journal) == {
        "sent": (1, 3, 3, Decimal(3)),
        "rejected": (1, 3, 3, Decimal(0)),
        "unknown": (1, 3, 3, Decimal(3)),
    }


async def test_what_is_asked_for_groups_the_rows(journal: StoredJournal) -> None:
    await send(journal, make_claim(billing_code="marketing"))
    await send(journal, make_claim(client="monitoring"))

    [[day, month, client, *rest], other] = sorted(await totals(journal, *EVERY_DAY))
    assert (day, month, client) == ("2026-12-01", "2026-12", "billing")
    assert rest == ["marketing", "transactional", "dnd-fallback", "smsclone", "sent"]
    assert other[2:4] == ("monitoring", "")
    assert await totals(journal) == {(): (2, 2, 2, Decimal(2))}
    only = UsageQuery(first_day="2026-12-01", until_day="2026-12-02", client="monitoring")
    assert [row.messages for row in await journal.usage(only)] == [1]
    before = UsageQuery(first_day="2026-11-01", until_day="2026-12-01", by=(UsageField.DAY,))
    assert await journal.usage(before) == []


async def test_a_notification_is_counted_once_however_many_calls_it_takes(journal: StoredJournal) -> None:
    accepted = await accept(journal, make_claim(*PEOPLE, calls=[[0, 1], [2]]))
    for position, call in enumerate(accepted.stored.calls):
        ref = first_call(accepted, position)
        assert await journal.start_dialling(ref)
        await journal.record(ref, (SENT,) * len(call.recipients))

    assert await outcomes(journal) == {"sent": (1, 3, 3, Decimal(3))}


async def test_halves_and_second_attempts_are_charged_and_count_the_notification_once(journal: StoredJournal) -> None:
    accepted = await accept(journal, make_claim(*PEOPLE))
    whole = first_call(accepted)
    assert await journal.start_dialling(whole)
    halves = [PlannedCall(route=Route.DND_FALLBACK, recipients=each, level=1) for each in ((0, 1), (2,))]
    await journal.record(whole, (), follow_ups=halves)
    first, second = CallRef(whole.notification_id, 2, whole.fence), CallRef(whole.notification_id, 3, whole.fence)
    assert await journal.start_dialling(first)
    again = [PlannedCall(route=Route.DND, recipients=(0,))]
    await journal.record(first, (REJECTED, SENT), follow_ups=again)
    assert await journal.start_dialling(second)
    await journal.record(second, (SENT,))
    third = CallRef(whole.notification_id, 4, whole.fence)
    assert await journal.start_dialling(third)
    await journal.record(third, (SENT,))

    assert await outcomes(journal) == {"sent": (0, 3, 3, Decimal(3)), "rejected": (1, 1, 1, Decimal(0))}
    assert (await totals(journal))[()][0] == 1


async def test_a_call_that_follows_one_of_which_nothing_was_sent_counts_the_notification(
    journal: StoredJournal,
) -> None:
    accepted = await accept(journal, make_claim(*PEOPLE[:2]))
    ref = first_call(accepted)
    assert await journal.start_dialling(ref)
    again = [PlannedCall(route=Route.DND_FALLBACK, recipients=(0, 1))]
    await journal.record(ref, (NOT_SENT, NOT_SENT), follow_ups=again)
    following = CallRef(ref.notification_id, 2, ref.fence)
    assert await journal.start_dialling(following)
    await journal.record(following, (SENT, SENT))

    assert await outcomes(journal) == {"sent": (1, 2, 2, Decimal(2))}


async def test_what_is_settled_moves_on_the_day_of_the_call(store: Store) -> None:
    journal = await store.open()
    claim = make_claim(*PEOPLE)
    await send(journal, claim, NO_ANSWER)
    store.clock.wall_ms += 3 * DAY_MS

    answers = {0: SENT, 1: REJECTED}
    await journal.settle(claim.notification.id, answers, ResolvedBy.OPERATOR, NOON, audit("resolve"))

    rows = await totals(journal, UsageField.DAY, UsageField.OUTCOME)
    assert rows == {
        ("2026-12-01", "rejected"): (0, 1, 1, Decimal(0)),
        ("2026-12-01", "sent"): (1, 1, 1, Decimal(1)),
        ("2026-12-01", "unknown"): (0, 1, 1, Decimal(1)),
    }
    await journal.settle(claim.notification.id, {2: SENT}, ResolvedBy.OPERATOR, NOON, audit("resolve"))
    assert "unknown" not in await outcomes(journal)


async def test_a_late_answer_moves_what_was_unknown_and_once(journal: StoredJournal) -> None:
    ref = first_call(await accept(journal, make_claim()))
    assert await journal.start_dialling(ref)
    await journal.record(ref, [NO_ANSWER], ended=ended(NotificationStatus.UNKNOWN))

    assert await journal.record(ref, [SENT]) is RecordResult.SETTLED
    assert await journal.record(ref, [SENT]) is RecordResult.STALE

    assert await outcomes(journal) == {"sent": (1, 1, 1, Decimal(1))}


async def test_what_was_cancelled_or_is_the_sandboxes_costs_nothing(journal: StoredJournal) -> None:
    await send(journal, make_claim(sandbox=True))
    queued = make_queued()
    await accept(journal, queued)
    await journal.cancel(queued.notification.id, "billing", NOON)

    assert await journal.usage(ALL) == []


async def test_after_a_restore_what_nobody_knows_is_charged_as_unknown(store: Store) -> None:
    journal = await store.open()
    await accept(journal, make_claim(*PEOPLE))

    await journal.mark_restored()

    assert await outcomes(journal) == {"unknown": (1, 3, 3, Decimal(3))}


async def test_prices_are_the_accounts_own(store: Store) -> None:
    prices = {"smsclone": Prices(Decimal("0.85"), Decimal("2.5"), bill_rejected=True)}
    journal = open_journal(store.url, clock=store.clock, prices=prices)
    await journal.open()
    await send(journal, make_claim(*PEOPLE), SENT)
    accepted = await accept(journal, make_claim(PEOPLE[0]))
    assert await journal.start_dialling(first_call(accepted))
    await journal.record(first_call(accepted), [REJECTED])
    await journal.close()

    again = await store.open()
    assert await outcomes(again) == {"sent": (1, 3, 3, Decimal("7.5")), "rejected": (1, 1, 1, Decimal("2.5"))}


async def test_the_ledger_outlives_the_notifications_and_ends_in_its_own_time(store: Store) -> None:
    journal = await store.open()
    await send(journal, make_claim())
    store.clock.wall_ms += 40 * DAY_MS
    await journal.purge(NOON + 30 * DAY_MS, "2026-12-01")
    assert await outcomes(journal) == {"sent": (1, 1, 1, Decimal(1))}

    await journal.purge(NOON + 30 * DAY_MS, "2026-12-02")
    assert await journal.usage(ALL) == []


@pytest.mark.parametrize("replicas", [1, 3])
async def test_the_ledger_adds_up_to_the_calls_however_many_write_at_once(shared_store: Store, replicas: int) -> None:
    journals = [await shared_store.open() for _ in range(replicas)]
    kinds = (SENT, REJECTED, NO_ANSWER, NOT_SENT)
    claims = [make_claim(*PEOPLE[: number % 3 + 1], billing_code=f"code-{number % 2}") for number in range(90)]

    await asyncio.gather(
        *(send(journals[number % replicas], claim, kinds[number % 4]) for number, claim in enumerate(claims))
    )
    stored = [await found(journals[0], claim) for claim in claims]
    unknown = [item for item in stored if any(each.status is Status.UNKNOWN for each in all_outcomes(item))]
    await asyncio.gather(
        *(
            journals[number % replicas].settle(
                item.notification.id, {0: SENT}, ResolvedBy.OPERATOR, NOON, audit("resolve")
            )
            for number, item in enumerate(unknown)
        )
    )

    expected: Counter[tuple[str, str]] = Counter()
    for claim in claims:
        item = await found(journals[0], claim)
        for outcome in all_outcomes(item):
            if outcome.status is not Status.NOT_SENT:
                expected[item.notification.billing_code or "", outcome.status.value] += 1
    rows = await totals(journals[0], UsageField.BILLING_CODE, UsageField.OUTCOME)
    assert {group: amount[1] for group, amount in rows.items()} == dict(expected)
    assert sum(amount[0] for amount in rows.values()) == sum(1 for number in range(90) if number % 4 != 3)


def all_outcomes(stored: Stored) -> list[Outcome]:
    """Of every call."""
    return [outcome for call in stored.calls for outcome in call.outcomes]
