"""Readings of the balance, kept beside what the ledger knew then: evidence about calls whose outcome nobody knows, and
that somebody else sends by the account.

A reading has what was charged to the account on its day so far, so that two of them tell by how much the balance fell
and how much of that the calls in between explain, without a look at any of those calls.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import bindparam, func, literal_column, select

from relay.domain.codes import Status
from relay.domain.notification import Stored, open_indexes
from relay.domain.usage import MICRO
from relay.journal.schema import balances, calls, usage_totals
from relay.journal.statements import Statement, Work, insert_all, one_of
from relay.journal.usage_ledger import account_of, day_of
from relay.sending.ports import BalanceEvidence, CallEvidence

REACH_MS = 3_600_000
"""Readings further from a call than this say nothing about it."""

_b = balances.c
_KEEP = insert_all(balances)
_CHARGED = Statement(
    select(usage_totals.c.outcome, func.sum(usage_totals.c.micro_units))
    .where(usage_totals.c.day == bindparam("of_day"), usage_totals.c.account == bindparam("of_account"))
    .group_by(usage_totals.c.outcome)
)
_READING = select(_b.at, _b.micro_units, _b.day, _b.charged, _b.unknown).where(
    _b.account == bindparam("of_account"), _b.at >= bindparam("from_at"), _b.at <= bindparam("to_at")
)
_LAST = Statement(_READING.order_by(_b.at.desc()).limit(1))
_FIRST = Statement(_READING.order_by(_b.at).limit(1))
_NEWEST = Statement(
    select(_b.micro_units, _b.day, _b.charged, _b.unknown, _b.drift)
    .where(_b.account == bindparam("of_account"), _b.at <= bindparam("to_at"))
    .order_by(_b.at.desc())
    .limit(1)
)
_CHARGED_SINCE = Statement(
    select(func.coalesce(func.sum(usage_totals.c.micro_units), literal_column("0"))).where(
        usage_totals.c.day >= bindparam("first_day"),
        usage_totals.c.day <= bindparam("last_day"),
        usage_totals.c.account == bindparam("of_account"),
    )
)
_CALLS = Statement(
    select(calls.c.notification_id, calls.c.ordinal, calls.c.dialled_at, calls.c.done_at, calls.c.charge).where(
        one_of(calls.c.notification_id, "ids"), calls.c.dialled_at.is_not(None)
    ),
    lists=("ids",),
)


class Reading(NamedTuple):
    """What the balance was, and what was charged on that day by then: in all but unknown outcomes, and in those."""

    at: int
    micro_units: int
    day: str
    charged: int
    unknown: int


class Span(NamedTuple):
    """From the dial of the first call that nobody knows of a notification to the end of the last, on one account."""

    account: str
    dialled_at: int
    done_at: int


def keep_balance(account: str, units: Decimal, at: int) -> Work[Decimal]:
    """Keep a reading; by how much the balance fell beyond what the ledger explains, since it last rose."""
    charged, unknown = yield from _charged_on(day_of(at), account)
    micro_units = int(units * MICRO)
    drift = yield from _find_drift(account, micro_units, at)
    values = {"account": account, "at": at, "micro_units": micro_units, "day": day_of(at)}
    yield [(_KEEP, values | {"charged": charged, "unknown": unknown, "drift": drift})]
    return _units(drift)


def _find_drift(account: str, micro_units: int, at: int) -> Work[int]:
    """From the reading before: so it is known after a restart, and costs the same however long ago the rise was."""
    [found] = yield [(_NEWEST, {"of_account": account, "to_at": at})]
    if not found.rows or found.rows[0][0] < micro_units:
        return 0
    before, day_before, charged, unknown, drift = found.rows[0]
    [since] = yield [(_CHARGED_SINCE, {"first_day": day_before, "last_day": day_of(at), "of_account": account})]
    explained = int(since.rows[0][0]) - charged - unknown
    return int((drift or 0) + before - micro_units - explained)


def _charged_on(day: str, account: str) -> Work[tuple[int, int]]:
    [found] = yield [(_CHARGED, {"of_day": day, "of_account": account})]
    sums = {row[0]: int(row[1]) for row in found.rows}
    unknown = sums.pop(Status.UNKNOWN.value, 0)
    return sum(sums.values()), unknown


def read_evidence(items: Sequence[Stored]) -> Work[dict[str, CallEvidence]]:
    """When the calls were made whose outcome nobody knows, and what the balance says about them, by notification."""
    if not items:
        return {}
    [found] = yield [(_CALLS, {"ids": [item.notification.id for item in items]})]
    times: dict[str, dict[int, tuple[int, int, str]]] = {}
    for notification_id, ordinal, dialled_at, done_at, charge in found.rows:
        if done_at is not None and charge:
            times.setdefault(notification_id, {})[ordinal] = (dialled_at, done_at, account_of(charge))
    spans = {
        item.notification.id: span
        for item in items
        if (span := _span(item, times.get(item.notification.id, {}))) is not None
    }
    if not spans:
        return {}
    results = yield [step for span in spans.values() for step in _around(span)]
    pairs = {
        key: (Reading(*before.rows[0]), Reading(*after.rows[0])) if before.rows and after.rows else None
        for key, before, after in zip(spans, results[::2], results[1::2], strict=True)
    }
    midnights = {
        (spans[key].account, pair[0].day) for key, pair in pairs.items() if pair and pair[0].day != pair[1].day
    }
    totals: dict[tuple[str, str], tuple[int, int]] = {}
    for account, day in midnights:
        totals[account, day] = yield from _charged_on(day, account)
    return {
        key: CallEvidence(span.dialled_at, _compare(pairs[key], span.account, totals)) for key, span in spans.items()
    }


def _span(item: Stored, times: Mapping[int, tuple[int, int, str]]) -> Span | None:
    wanted = set(open_indexes(item))
    of_unknown = [
        times[call.ordinal]
        for call in item.calls
        if call.ordinal in times
        and any(
            index in wanted and outcome.status is Status.UNKNOWN
            for index, outcome in zip(call.recipients, call.outcomes, strict=False)
        )
    ]
    if not of_unknown:
        return None
    first = min(of_unknown)
    return Span(first[2], first[0], max(done_at for _, done_at, _ in of_unknown))


def _around(span: Span) -> list[tuple[Statement, dict[str, object]]]:
    account = {"of_account": span.account}
    return [
        (_LAST, account | {"from_at": span.dialled_at - REACH_MS, "to_at": span.dialled_at}),
        (_FIRST, account | {"from_at": span.done_at + 1, "to_at": span.done_at + REACH_MS}),
    ]


def _compare(
    pair: tuple[Reading, Reading] | None, account: str, totals: Mapping[tuple[str, str], tuple[int, int]]
) -> BalanceEvidence | None:
    if pair is None:
        return None
    before, after = pair
    explained, unknown = after.charged - before.charged, after.unknown - before.unknown
    if before.day != after.day:  # the sums begin anew at midnight
        charged, unknown_then = totals[account, before.day]
        explained, unknown = explained + charged, unknown + unknown_then
    return BalanceEvidence(
        before=_units(before.micro_units),
        before_at=before.at,
        after=_units(after.micro_units),
        after_at=after.at,
        explained=_units(explained),
        unknown=_units(unknown),
    )


def _units(micro_units: int) -> Decimal:
    return Decimal(micro_units) / MICRO
