"""The audit: rows in a chain of hashes, written in the transaction of the act itself, one after the other.

Whoever adds a row first takes the chain's head (a row of ``control``), and takes it last of all that a transaction
locks: so two processes never add after the same row, and never wait for each other in a circle.
"""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select, update

from relay.domain.audit import FIRST, Act, Action, AuditPage, AuditRow, hash_row, purge_reason
from relay.journal.schema import audit, control
from relay.journal.statements import Row, Statement, Work, every_column, insert_all, one_of

PURGED_AT_A_TIME = 1_000

_HEAD = "audit_head"
_OPEN_UNTIL = "audit_open_until"
"""Until then, rows without a hash are those of the version before, whose replicas are still being replaced."""

_a, _c = audit.c, control.c
_MAKE_HEAD = insert_all(control)
_TAKE_HEAD = Statement(
    update(control).values(value=_c.value).where(one_of(_c.name, "names")).returning(_c.name, _c.value),
    lists=("names",),
)
_READ_HEAD = Statement(select(_c.value).where(_c.name == bindparam("for_name")))
_MOVE_HEAD = Statement(update(control).values(value=bindparam("new_value")).where(_c.name == bindparam("for_name")))
_values = every_column(audit)
for _name in ("id", "previous_hash", "hash"):  # the database counts; the hash is of what it counted
    del _values[_name]
_INSERT = Statement(audit.insert().values(_values).returning(_a.id))
_SEAL = Statement(
    update(audit).values(previous_hash=bindparam("before"), hash=bindparam("own")).where(_a.id == bindparam("row"))
)
_COLUMNS = (
    *(_a.id, _a.at, _a.actor, _a.actor_key, _a.action, _a.notification_id, _a.other_id, _a.count, _a.detail),
    *(_a.previous_hash, _a.hash),
)
_newest = select(*_COLUMNS).order_by(_a.id.desc()).limit(bindparam("most"))
_PAGE = {
    (False, False): Statement(_newest),
    (True, False): Statement(_newest.where(_a.id < bindparam("before"))),
    (False, True): Statement(_newest.where(_a.notification_id == bindparam("notification"))),
    (True, True): Statement(
        _newest.where(_a.id < bindparam("before"), _a.notification_id == bindparam("notification"))
    ),
}
_UNSEALED = Statement(select(*_COLUMNS).where(_a.hash.is_(None)).order_by(_a.id))
_OLDEST = Statement(select(_a.id, _a.at, _a.hash).order_by(_a.id).limit(bindparam("most")))
_DELETE = Statement(delete(audit).where(_a.id <= bindparam("up_to")))


def append(act: Act) -> Work[str]:
    """Add a row, in the transaction of the act itself. Nothing may be locked after it.

    Returns:
        The row's hash.
    """
    head = yield from _take_head(act.at)
    return (yield from _add(act, head))


def _take_head(now: int) -> Work[str]:
    """The hash of the newest row; nobody else adds one until this transaction ends."""
    [_, found] = yield [
        (_MAKE_HEAD, {"name": _HEAD, "value": FIRST.encode()}),
        (_TAKE_HEAD, {"names": [_HEAD, _OPEN_UNTIL]}),
    ]
    kept = {name: bytes(value).decode() for name, value in found.rows}
    head = kept[_HEAD]
    if now < int(kept.get(_OPEN_UNTIL, "0")):
        [unsealed] = yield [(_UNSEALED, {})]
        for row in unsealed.rows:
            head = yield from _seal(row[0], _decode(row).act, head)
    return head


def _add(act: Act, head: str) -> Work[str]:
    values = {
        "at": act.at,
        "actor": act.client,
        "actor_key": act.key,
        "action": act.action,
        "notification_id": act.notification_id,
        "other_id": act.other_id,
        "count": act.count,
        "detail": act.reason or "",
    }
    [added] = yield [(_INSERT, values)]
    return (yield from _seal(added.rows[0][0], act, head))


def _seal(row_id: int, act: Act, head: str) -> Work[str]:
    own = hash_row(row_id, act, head)
    yield [
        (_SEAL, {"row": row_id, "before": head, "own": own}),
        (_MOVE_HEAD, {"for_name": _HEAD, "new_value": own.encode()}),
    ]
    return own


def read_page(limit: int, before: int | None, notification_id: str | None) -> Work[AuditPage]:
    """Rows newest first; those before an id, those about one notification."""
    asked: dict[str, object] = {"most": limit}
    if before is not None:
        asked["before"] = before
    if notification_id is not None:
        asked["notification"] = notification_id
    page = _PAGE[before is not None, notification_id is not None]
    found, head = yield [(page, asked), (_READ_HEAD, {"for_name": _HEAD})]
    newest_hash = bytes(head.rows[0][0]).decode() if head.rows else FIRST
    return AuditPage(tuple(map(_decode, found.rows)), newest_hash)


def purge_some(before: int, now: int) -> Work[int]:
    """Delete some of the oldest rows, those before a time, and note where the chain begins now; how many went."""
    head = yield from _take_head(now)
    [oldest] = yield [(_OLDEST, {"most": PURGED_AT_A_TIME})]
    past = _leading(oldest.rows, before)
    if past:
        last_id, _, last_hash = past[-1]
        yield [(_DELETE, {"up_to": last_id})]
        reason = purge_reason(last_id, last_hash or FIRST)
        yield from _add(Act(at=now, client="relay", action=Action.PURGE, count=len(past), reason=reason), head)
    return len(past)


def _leading(rows: Sequence[Row], before: int) -> Sequence[Row]:
    """The rows from the first one on that are all older: what is deleted is one end of the chain."""
    for place, row in enumerate(rows):
        if row[1] >= before:
            return rows[:place]
    return rows


def _decode(row: Row) -> AuditRow:
    row_id, at, client, key, action, notification_id, other_id, count, reason, previous_hash, own = row
    act = Act(
        at=at,
        client=client,
        key=key,
        action=action,
        notification_id=notification_id,
        other_id=other_id,
        count=count,
        reason=reason or None,
    )
    return AuditRow(id=row_id, act=act, previous_hash=previous_hash, hash=own)
