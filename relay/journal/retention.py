"""The end of what was kept: retention, the erasure of a number, and what a restore from a backup leaves in doubt.

These walk over many notifications in small transactions of their own, so that claims do not wait for them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Table, bindparam, delete, func, literal_column, or_, select, tuple_, update

from relay.domain.notification import Call, CallState, Entry, Notification, Outcome
from relay.journal.encoding import DONE, Kept, encode_facts, encode_outcomes
from relay.journal.ending import close_open_calls
from relay.journal.lookups import Subjects, leave_all_steps, leave_steps
from relay.journal.reading import load
from relay.journal.schema import (
    TEXT,
    balances,
    budgets,
    calls,
    deduplications,
    disabled_callbacks,
    lookups,
    notifications,
    quotas,
    sends,
    suppressions,
    unindexed,
    usage,
    usage_totals,
    word,
)
from relay.journal.statements import Parameters, Statement, Step, Work, one_of
from relay.journal.usage_ledger import UsageLedger
from relay.sending.ports import UNKNOWN_INTERRUPTED

AT_A_TIME = 50
"""Notifications a transaction: on SQLite a send waits for no longer."""

ERASED_AT_A_TIME = 50
"""Notifications that an erasure changes in a transaction."""

WALK_AT_A_TIME = 2_000
"""Rows that an erasure looks at in a transaction."""


ROWS_AT_A_TIME = 500
"""Small rows of one table that are deleted in a transaction."""


class Found(NamedTuple):
    """A place in the order in which look-ups find what has one subject."""

    client: str
    created_at: int
    notification_id: str


EVERYTHING = Found("", 0, "")

_n, _l = notifications.c, lookups.c
_is_done = _n.state == word("done")
_PAST = Statement(
    select(_n.id)
    .where(
        _n.completed_at < bindparam("kept_from"),
        _is_done,
        # A key that still holds would be free for a second send if its notification went.
        or_(_n.idempotency_key.is_(None), _n.key_freed != word(""), _n.key_expires_at <= bindparam("now")),
    )
    .order_by(_n.completed_at)
    .limit(literal_column(str(AT_A_TIME)))
    .with_for_update(skip_locked=True)
)
_DELETIONS = [
    Statement(delete(table).where(one_of(column, "ids")), lists=("ids",))
    for table, column in (
        (calls, calls.c.notification_id),
        (sends, sends.c.notification_id),
        (deduplications, deduplications.c.notification_id),
        (unindexed, unindexed.c.notification_id),
        (notifications, _n.id),
    )
]


def _delete_some(table: Table, over: ColumnElement[bool]) -> Statement:
    key = list(table.primary_key)
    some = select(*key).where(over).limit(literal_column(str(ROWS_AT_A_TIME)))
    return Statement(delete(table).where(tuple_(*key).in_(some)))


_DELETE_SOME = [
    _delete_some(table, over)
    for table, over in (
        (deduplications, deduplications.c.expires_at <= bindparam("now")),
        (suppressions, suppressions.c.until <= bindparam("now")),
        (quotas, quotas.c.day < bindparam("first_day")),
        (usage, usage.c.day < bindparam("first_usage_day")),
        (usage_totals, usage_totals.c.day < bindparam("first_usage_day")),
        (budgets, budgets.c.month < func.substr(bindparam("first_usage_day", type_=TEXT), 1, 7)),
        (balances, balances.c.at < bindparam("kept_from")),
        (disabled_callbacks, disabled_callbacks.c.disabled_at < bindparam("kept_from")),
    )
]

_WALK = Statement(
    select(func.max(literal_column("id"))).select_from(
        select(_n.id)
        .where(_n.id > bindparam("after"))
        .order_by(_n.id)
        .limit(literal_column(str(WALK_AT_A_TIME)))
        .subquery()
    )
)
_WITH_NUMBER = Statement(
    sqlite=(
        _in_stretch := select(_n.id).where(_n.id > bindparam("after"), _n.id <= bindparam("up_to"), _is_done)
    ).where(func.instr(_n.facts, bindparam("number")) > 0),
    postgres=_in_stretch.where(func.strpos(_n.facts, bindparam("number")) > 0),
)
_FOUND = Statement(
    select(_l.client, _l.created_at, _l.notification_id)
    .where(
        _l.subject == bindparam("by"),
        tuple_(_l.client, _l.created_at, _l.notification_id)
        > tuple_(bindparam("client"), bindparam("created_at"), bindparam("notification_id")),
    )
    .order_by(_l.client, _l.created_at, _l.notification_id)
    .limit(literal_column(str(ERASED_AT_A_TIME)))
)
_WRITE_FACTS = Statement(
    update(notifications).values(facts=bindparam("new_facts")).where(_n.id == bindparam("notification"))
)
_WRITE_OUTCOMES = Statement(
    update(calls)
    .values(outcomes=bindparam("new_outcomes"))
    .where(calls.c.notification_id == bindparam("notification"), calls.c.ordinal == bindparam("call_ordinal"))
)
_OPEN = [
    Statement(select(_n.id).where(_n.state == word(state)).limit(literal_column(str(AT_A_TIME))))
    for state in ("queued", "owned")
]


def purge_some(before: int, now: int, subjects: Subjects) -> Work[int]:
    """Delete some of what is past its retention; 0 once nothing is left."""
    [past] = yield [(_PAST, {"kept_from": before, "now": now})]
    ids = [row[0] for row in past.rows]
    if ids:
        kept = yield from load(ids)
        left = [step for item in kept.values() for step in leave_all_steps(item.stored, subjects)]
        yield [*left, *((deletion, {"ids": ids}) for deletion in _DELETIONS)]
    return len(past.rows)


def purge_limits(over: Parameters) -> Work[int]:
    """Delete some of the windows that have passed, of what was kept beside notifications, and of the days before.

    Args:
        over: ``now``, ``kept_from`` (times), ``first_day`` (of quotas) and ``first_usage_day`` that are kept.
    """
    deleted = yield [(statement, over) for statement in _DELETE_SOME]
    return sum(result.changed for result in deleted)


def erase_found(number: str, after: Found, subjects: Subjects) -> Work[tuple[int, Found | None]]:
    """Erase a number from some of the notifications that look-ups find by it, past a place in their order.

    Returns:
        How many changed, and the place to go on after (``None`` at the end).
    """
    [found] = yield [(_FOUND, {"by": subjects.recipient(number), **after._asdict()})]
    if not found.rows:
        return 0, None
    changed = yield from _erase([row[2] for row in found.rows], number, subjects)
    return changed, Found(*found.rows[-1])


def erase_some(number: str, after: str, subjects: Subjects) -> Work[tuple[int, str | None]]:
    """Erase a number from the next stretch of notifications after an id.

    Returns:
        How many changed, and the id to go on after (``None`` at the end).
    """
    [walked] = yield [(_WALK, {"after": after})]
    up_to = walked.rows[0][0]
    if up_to is None:
        return 0, None
    [found] = yield [(_WITH_NUMBER, {"after": after, "up_to": up_to, "number": number})]
    changed = yield from _erase([row[0] for row in found.rows], number, subjects)
    return changed, up_to


def _erase(ids: Sequence[str], number: str, subjects: Subjects) -> Work[int]:
    changed = 0
    for kept in (yield from load(ids, lock=True)).values():
        if kept.state != DONE:
            continue
        steps = _erase_steps(kept, number)
        if steps:
            steps += leave_steps(kept.stored.notification, [subjects.recipient(number)])
            changed += 1
        yield steps
    return changed


def _erase_steps(kept: Kept, number: str) -> list[Step]:
    notification = kept.stored.notification
    indexes = {index for index, entry in enumerate(notification.entries) if entry.number == number}
    if not indexes:
        return []
    steps: list[Step] = [
        (
            _WRITE_FACTS,
            {"notification": notification.id, "new_facts": encode_facts(_erase_entries(notification, indexes))},
        )
    ]
    for call in kept.stored.calls:
        outcomes = _without_descriptions(call, indexes)
        if outcomes != call.outcomes:
            where = {"notification": notification.id, "call_ordinal": call.ordinal}
            steps.append((_WRITE_OUTCOMES, where | {"new_outcomes": encode_outcomes(outcomes)}))
    return steps


def _erase_entries(notification: Notification, indexes: set[int]) -> Notification:
    entries = tuple(
        Entry(input="", duplicate_of=entry.duplicate_of) if index in indexes else entry
        for index, entry in enumerate(notification.entries)
    )
    return replace(notification, entries=entries)


def _without_descriptions(call: Call, indexes: set[int]) -> tuple[Outcome, ...]:
    return tuple(
        replace(outcome, upstream=replace(outcome.upstream, description=None))
        if outcome.upstream is not None and index in indexes
        else outcome
        for index, outcome in zip(call.recipients, call.outcomes, strict=False)
    )


def restore_some(now: int, ledger: UsageLedger) -> Work[tuple[int, int]]:
    """End some of the notifications that a restored backup left open: nobody knows what became of their calls.

    Returns:
        How many notifications ended, and how many calls were turned.
    """
    found = yield [(statement, {}) for statement in _OPEN]
    turned = 0
    ids: Sequence[str] = [row[0] for result in found for row in result.rows]
    for kept in (yield from load(ids, lock=True)).values():
        turned += sum(1 for call in kept.stored.calls if call.state is not CallState.DONE)
        yield from close_open_calls(kept, UNKNOWN_INTERRUPTED, now, ledger)
    return len(ids), turned
