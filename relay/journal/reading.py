"""Look-ups: one notification, a listing, what nobody can know, what waits. Nothing here writes."""

from collections.abc import Sequence
from functools import cache
from itertools import groupby

from sqlalchemy import ColumnElement, Select, bindparam, func, select, tuple_

from relay.domain.codes import NotificationStatus, Status
from relay.domain.notification import Stored, find_outcomes, overall_status, view_recipients
from relay.journal.encoding import Kept, decode_call, decode_kept
from relay.journal.schema import calls, notifications, word
from relay.journal.statements import Statement, Work, one_of
from relay.sending.ports import Cursor, ListFilter, QueueDepth, UnknownCall

_n = notifications.c
COLUMNS = (
    _n.id,
    _n.facts,
    _n.message,
    _n.capped,
    _n.state,
    _n.owner,
    _n.fence,
    _n.completed_at,
    _n.resolved_at,
    _n.key_expires_at,
)
_is_owned = _n.state == word("owned")
_is_queued = _n.state == word("queued")

_BY_IDS = select(*COLUMNS).where(one_of(_n.id, "ids"))
_FIND = Statement(_BY_IDS, lists=("ids",))
_FIND_AND_LOCK = Statement(_BY_IDS.order_by(_n.id).with_for_update(key_share=True), lists=("ids",))
_CALLS = Statement(
    select(
        calls.c.notification_id,
        calls.c.ordinal,
        calls.c.state,
        calls.c.route,
        calls.c.level,
        calls.c.dialled,
        calls.c.recipients,
        calls.c.outcomes,
    )
    .where(one_of(calls.c.notification_id, "ids"))
    .order_by(calls.c.notification_id, calls.c.ordinal),
    lists=("ids",),
)
HOLDER = Statement(
    select(_n.id).where(
        _n.client == bindparam("holder"), _n.idempotency_key == bindparam("key"), _n.key_freed == word("")
    )
)
_DEPTH = Statement(
    select(_n.client, func.count(), func.count().filter(_n.due_at > bindparam("now")), func.min(_n.due_at))
    .where(_is_queued)
    .group_by(_n.client)
    .order_by(_n.client)
)
_OWNED = Statement(select(func.count()).select_from(notifications).where(_is_owned))

_FIELDS: dict[str, ColumnElement[bool]] = {
    "reference": _n.reference == bindparam("reference"),
    "idempotency_key": _n.idempotency_key == bindparam("idempotency_key"),
    "created_from": _n.created_at >= bindparam("created_from"),
    "created_to": _n.created_at < bindparam("created_to"),
    "before": tuple_(_n.created_at, _n.id) < tuple_(bindparam("before_at"), bindparam("before_id")),
}
"""What a listing may ask for besides client and status: the first instant counts, the last one does not."""


def load(ids: Sequence[str], *, lock: bool = False) -> Work[dict[str, Kept]]:
    """Notifications with their calls, by id; those that are not there are absent.

    Args:
        lock: keep others from changing them until the transaction ends (SQLite has one writer anyway).
    """
    if not ids:
        return {}
    wanted = {"ids": list(ids)}
    found, their_calls = yield [(_FIND_AND_LOCK if lock else _FIND, wanted), (_CALLS, wanted)]
    grouped = {key: [decode_call(row) for row in rows] for key, rows in groupby(their_calls.rows, lambda row: row[0])}
    return {row[0]: decode_kept(row, grouped.get(row[0], ())) for row in found.rows}


def find(notification_id: str, client: str | None) -> Work[Stored | None]:
    """One notification; of this client only, where one is given."""
    kept = (yield from load([notification_id])).get(notification_id)
    if kept is None or (client is not None and kept.stored.notification.client != client):
        return None
    return kept.stored


def find_by_key(client: str, key: str, now: int) -> Work[Stored | None]:
    """The notification that holds this key now."""
    [holder] = yield [(HOLDER, {"holder": client, "key": key})]
    found = yield from load([row[0] for row in holder.rows])
    for kept in found.values():
        if kept.key_expires_at is not None and kept.key_expires_at > now:
            return kept.stored
    return None


def select_newest(selection: ListFilter) -> Work[list[Stored]]:
    """One page of a listing, newest first."""
    asked: dict[str, object] = {name: getattr(selection, name) for name in _FIELDS if name != "before"}
    asked = {name: value for name, value in asked.items() if value is not None}
    asked |= {"client": selection.client, "limit": selection.limit}
    if selection.before is not None:
        asked |= {"before_at": selection.before.created_at, "before_id": selection.before.id}
    fields = tuple(name for name in _FIELDS if getattr(selection, name) is not None)
    status = selection.status
    if status is None:
        [page] = yield [(_listing(fields, "any"), asked)]
        return _in_order((yield from load([row[0] for row in page.rows])))
    settled = "sent" if status is NotificationStatus.SENT else "other"
    page, owned = yield [
        (_listing(fields, settled), asked | {"status": status.value}),
        (_listing(fields, "owned"), {name: value for name, value in asked.items() if name != "limit"}),
    ]
    found = yield from load([row[0] for row in (*page.rows, *owned.rows)])
    matching = {key: kept for key, kept in found.items() if overall_status(view_recipients(kept.stored)) is status}
    return _in_order(matching)[: selection.limit]


@cache
def _listing(fields: tuple[str, ...], kind: str) -> Statement:
    """Ids of one page. While a process holds a notification its row does not tell the status: those come whole."""
    query: Select[tuple[str]] = select(_n.id).where(
        _n.client == bindparam("client"), *(_FIELDS[field] for field in fields)
    )
    query = query.order_by(_n.created_at.desc(), _n.id.desc())
    if kind == "owned":
        return Statement(query.where(_is_owned))
    if kind != "any":
        query = query.where(_n.status == bindparam("status"))
    if kind == "other":
        query = query.where(_n.status != word("sent"))
    return Statement(query.limit(bindparam("limit")))


def _in_order(found: dict[str, Kept]) -> list[Stored]:
    stored = [kept.stored for kept in found.values()]
    return sorted(stored, key=lambda item: (item.notification.created_at, item.notification.id), reverse=True)


_UNKNOWN = select(_n.id).where(_n.unknown.is_(True)).order_by(_n.created_at.desc(), _n.id.desc())
_NEWEST_UNKNOWN = Statement(_UNKNOWN.limit(bindparam("limit")))
_UNKNOWN_BEFORE = Statement(_UNKNOWN.where(_FIELDS["before"]).limit(bindparam("limit")))


def list_unknown(limit: int, before: Cursor | None) -> Work[list[UnknownCall]]:
    """Terminal notifications with unknown recipients, newest first."""
    if before is None:
        [page] = yield [(_NEWEST_UNKNOWN, {"limit": limit})]
    else:
        cursor = {"before_at": before.created_at, "before_id": before.id}
        [page] = yield [(_UNKNOWN_BEFORE, cursor | {"limit": limit})]
    found = yield from load([row[0] for row in page.rows])
    return [UnknownCall(stored, unknown_indexes(stored)) for stored in _in_order(found)]


def unknown_indexes(stored: Stored) -> tuple[int, ...]:
    """The entries that nobody can know about."""
    outcomes, _ = find_outcomes(stored)
    return tuple(sorted(index for index, outcome in outcomes.items() if outcome.status is Status.UNKNOWN))


def measure_depth(now: int) -> Work[QueueDepth]:
    """What waits now: ``queued`` is due, ``held`` is not yet, ``claimed`` is in some process's hands."""
    queue, owned = yield [(_DEPTH, {"now": now}), (_OWNED, {})]
    queued = sum(row[1] for row in queue.rows)
    held = sum(row[2] for row in queue.rows)
    oldest = min((row[3] for row in queue.rows), default=None)
    return QueueDepth(
        queued=queued - held,
        held=held,
        claimed=owned.rows[0][0],
        oldest_due_at=oldest if oldest is not None and oldest <= now else None,
        clients=tuple(row[0] for row in queue.rows),
    )
