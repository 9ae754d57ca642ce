"""The queue of callbacks: added when a notification ends or is settled, taken by lease, deleted when done.

A row only references its notification: its content is read when the callback is sent.
"""

from collections.abc import Sequence

from sqlalchemy import BigInteger, Insert, Text, bindparam, delete, exists, literal_column, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.domain.callback_rules import target_of
from relay.journal.reading import load
from relay.journal.schema import callbacks, disabled_callbacks, notifications
from relay.journal.statements import Statement, Step, Work, insert_all, one_of
from relay.sending.callback_queue import CallbackKind, DueCallback

_LOOKED_AT = 500
"""Due callbacks among which the next are chosen: a long line to one target stays cheap, and hides no other for long."""

_c, _d, _n = callbacks.c, disabled_callbacks.c, notifications.c
_is_disabled = exists(
    select(literal_column("1")).where(_d.client == _n.client, _d.url == bindparam("calls_url", type_=Text))
)
_row = select(
    bindparam("callback_id", type_=Text),
    _n.id,
    bindparam("kind", type_=Text),
    _n.client,
    bindparam("calls_url", type_=Text),
    bindparam("target", type_=Text),
    bindparam("happened_at", type_=BigInteger),
    bindparam("happened_at", type_=BigInteger),
    literal_column("0"),
).where(_n.id == bindparam("notification"), ~_is_disabled)


def _insert(insert: "postgresql.Insert | sqlite.Insert") -> Insert:
    return insert.from_select([column.name for column in callbacks.c], _row).on_conflict_do_nothing()


_PUT_IN_LINE = Statement(sqlite=_insert(sqlite.insert(callbacks)), postgres=_insert(postgresql.insert(callbacks)))
_PICK = Statement(
    sqlite=text(f"""
        SELECT id FROM (
            SELECT id, due_at, row_number() OVER (PARTITION BY target ORDER BY due_at, id) AS turn FROM (
                SELECT id, target, due_at FROM callbacks
                WHERE due_at <= :now AND target NOT IN (SELECT value FROM json_each(:busy))
                ORDER BY due_at, id LIMIT {_LOOKED_AT}
            )
        ) WHERE turn <= :per_target ORDER BY due_at, id LIMIT :row_limit"""),  # noqa: S608 — a constant of ours
    postgres=text(f"""
        SELECT id FROM (
            SELECT id, due_at, row_number() OVER (PARTITION BY target ORDER BY due_at, id) AS turn FROM (
                SELECT id, target, due_at FROM callbacks
                WHERE due_at <= CAST(:now AS bigint) AND target <> ALL(CAST(:busy AS text[]) COLLATE "C")
                ORDER BY due_at, id LIMIT {_LOOKED_AT}
            ) AS due
        ) AS ranked WHERE turn <= CAST(:per_target AS bigint)
        ORDER BY due_at, id LIMIT CAST(:row_limit AS integer)"""),  # noqa: S608 — a constant of ours
    lists=("busy",),
)
_chosen = (
    select(_c.id)
    .where(one_of(_c.id, "ids"), _c.due_at <= bindparam("now"))
    .with_for_update(skip_locked=True)
    .cte("chosen")
)
_LEASE = Statement(
    update(callbacks)
    .values(due_at=bindparam("leased_until"), attempts=_c.attempts + literal_column("1"))
    .where(_c.id.in_(select(_chosen.c.id)))
    .returning(_c.id, _c.notification_id, _c.kind, _c.url, _c.target, _c.happened_at, _c.attempts),
    lists=("ids",),
)
_FORGET = Statement(delete(callbacks).where(_c.id == bindparam("callback_id")))
_NOTE = Statement(
    update(notifications)
    .values(called_back=bindparam("new_status"), called_back_at=bindparam("ended_at"))
    .where(_n.id == bindparam("notification"))
)
_PUT_OFF = Statement(update(callbacks).values(due_at=bindparam("again_from")).where(_c.id == bindparam("callback_id")))
_DISABLE = insert_all(disabled_callbacks)
_FORGET_ALL = Statement(delete(callbacks).where(_c.client == bindparam("client"), _c.url == bindparam("url")))


def put_in_line_step(notification_id: str, url: str, kind: CallbackKind, at: int) -> Step:
    """Adds a callback to the queue, in the transaction of the change that it reports; repeating it changes nothing."""
    suffix = "" if kind is CallbackKind.COMPLETED else f"_{at}"
    return _PUT_IN_LINE, {
        "callback_id": f"msg_{notification_id}_{kind.value}{suffix}",
        "notification": notification_id,
        "kind": kind.value,
        "calls_url": url,
        "target": target_of(url),
        "happened_at": at,
    }


def take(limit: int, now: int, lease_ms: int, per_target: int, busy: Sequence[str]) -> Work[list[DueCallback]]:
    """Lease due callbacks; those whose notification is gone (its retention is over) go too."""
    [picked] = yield [(_PICK, {"now": now, "busy": list(busy), "per_target": per_target, "row_limit": limit})]
    ids = [row[0] for row in picked.rows]
    if not ids:
        return []
    [leased] = yield [(_LEASE, {"ids": ids, "now": now, "leased_until": now + lease_ms})]
    rows = {row[0]: row for row in leased.rows}
    kept = yield from load(sorted({row[1] for row in leased.rows}))
    yield [(_FORGET, {"callback_id": key}) for key, row in rows.items() if row[1] not in kept]
    return [
        DueCallback(
            id=key,
            kind=CallbackKind(rows[key][2]),
            url=rows[key][3],
            target=rows[key][4],
            happened_at=rows[key][5],
            attempt=rows[key][6],
            stored=kept[rows[key][1]].stored,
        )
        for key in ids
        if key in rows and rows[key][1] in kept
    ]


def finish(callback_id: str, notification_id: str, outcome: str, now: int) -> Work[None]:
    """Forget a callback, and note with its notification how it ended."""
    yield [
        (_FORGET, {"callback_id": callback_id}),
        (_NOTE, {"notification": notification_id, "new_status": outcome, "ended_at": now}),
    ]


def put_off(callback_id: str, due_at: int) -> Work[None]:
    """Try a callback again from then on."""
    yield [(_PUT_OFF, {"callback_id": callback_id, "again_from": due_at})]


def disable(client: str, url: str, now: int) -> Work[int]:
    """Call an address no more: forget what waits, put nothing in line."""
    [_, forgotten] = yield [
        (_DISABLE, {"client": client, "url": url, "disabled_at": now}),
        (_FORGET_ALL, {"client": client, "url": url}),
    ]
    return forgotten.changed
