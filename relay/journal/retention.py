"""The end of what was kept: retention, the erasure of a number, and what a restore from a backup leaves in doubt.

These walk over many notifications in small transactions of their own, so that claims do not wait for them.
"""

from collections.abc import Sequence

from msgspec.structs import replace
from sqlalchemy import bindparam, delete, func, literal_column, or_, select, update

from relay.domain.notification import Call, CallState, Entry, Notification, Outcome
from relay.journal.calls import close_open_calls
from relay.journal.encoding import Kept, encode_facts, encode_outcomes
from relay.journal.reading import load
from relay.journal.schema import calls, deduplications, notifications, quotas, sends, word
from relay.journal.statements import Statement, Step, Work, one_of
from relay.sending.ports import UNKNOWN_INTERRUPTED

AT_A_TIME = 200
"""Notifications a transaction."""

WALK_AT_A_TIME = 2_000
"""Rows that an erasure looks at in a transaction."""

_n = notifications.c
_is_done = _n.state == word("done")
_PAST = Statement(
    select(_n.id)
    .where(
        _n.created_at < bindparam("kept_from"),
        _is_done,
        # A key that still holds would be free for a second send if its notification went.
        or_(_n.idempotency_key.is_(None), _n.key_freed != word(""), _n.key_expires_at <= bindparam("now")),
    )
    .order_by(_n.created_at)
    .limit(literal_column(str(AT_A_TIME)))
    .with_for_update(skip_locked=True)
)
_DELETIONS = [
    Statement(delete(table).where(one_of(column, "ids")), lists=("ids",))
    for table, column in (
        (calls, calls.c.notification_id),
        (sends, sends.c.notification_id),
        (deduplications, deduplications.c.notification_id),
        (notifications, _n.id),
    )
]
_DELETE_DEDUPLICATIONS = Statement(delete(deduplications).where(deduplications.c.expires_at <= bindparam("now")))
_DELETE_QUOTAS = Statement(delete(quotas).where(quotas.c.day < bindparam("first_day")))

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
_WRITE_FACTS = Statement(update(notifications).values(facts=bindparam("new_facts")).where(_n.id == bindparam("of")))
_WRITE_OUTCOMES = Statement(
    update(calls)
    .values(outcomes=bindparam("new_outcomes"))
    .where(calls.c.notification_id == bindparam("of"), calls.c.ordinal == bindparam("nr"))
)
_OPEN = [
    Statement(select(_n.id).where(_n.state == word(state)).limit(literal_column(str(AT_A_TIME))))
    for state in ("queued", "owned")
]


def purge_some(before: int, now: int) -> Work[int]:
    """Delete some of what is past its retention; 0 once nothing is left."""
    [past] = yield [(_PAST, {"kept_from": before, "now": now})]
    ids = {"ids": [row[0] for row in past.rows]}
    if past.rows:
        yield [(deletion, ids) for deletion in _DELETIONS]
    return len(past.rows)


def purge_limits(now: int, first_day: str) -> Work[None]:
    """Delete windows that have passed and days before ``first_day``."""
    yield [(_DELETE_DEDUPLICATIONS, {"now": now}), (_DELETE_QUOTAS, {"first_day": first_day})]


def erase_some(number: str, after: str) -> Work[tuple[int, str | None]]:
    """Erase a number from the next stretch of notifications after an id.

    Returns:
        How many changed, and the id to go on after (``None`` at the end).
    """
    [walked] = yield [(_WALK, {"after": after})]
    up_to = walked.rows[0][0]
    if up_to is None:
        return 0, None
    [found] = yield [(_WITH_NUMBER, {"after": after, "up_to": up_to, "number": number})]
    changed = 0
    for kept in (yield from load([row[0] for row in found.rows], lock=True)).values():
        steps = _erase_steps(kept, number)
        changed += bool(steps)
        yield steps
    return changed, up_to


def _erase_steps(kept: Kept, number: str) -> list[Step]:
    notification = kept.stored.notification
    indexes = {index for index, entry in enumerate(notification.entries) if entry.number == number}
    if not indexes:
        return []
    steps: list[Step] = [
        (_WRITE_FACTS, {"of": notification.id, "new_facts": encode_facts(_erase_entries(notification, indexes))})
    ]
    for call in kept.stored.calls:
        outcomes = _without_descriptions(call, indexes)
        if outcomes != call.outcomes:
            where = {"of": notification.id, "nr": call.ordinal}
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


def restore_some(now: int) -> Work[tuple[int, int]]:
    """End some of the notifications that a restored backup left open: nobody knows what became of their calls.

    Returns:
        How many notifications ended, and how many calls were turned.
    """
    found = yield [(statement, {}) for statement in _OPEN]
    turned = 0
    ids: Sequence[str] = [row[0] for result in found for row in result.rows]
    for kept in (yield from load(ids, lock=True)).values():
        turned += sum(1 for call in kept.stored.calls if call.state is not CallState.DONE)
        yield from close_open_calls(kept, UNKNOWN_INTERRUPTED, now)
    return len(ids), turned
