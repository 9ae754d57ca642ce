"""Who owns a notification: taken from the queue, put back, taken over from the dead. Each new owner has a new fence."""

from collections.abc import Sequence

from msgspec.structs import replace
from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Select,
    bindparam,
    exists,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)

from relay.domain.codes import MessageType
from relay.domain.notification import Mode, overall_status, view_recipients
from relay.journal.claims import FIRST_FENCE
from relay.journal.control import BURY_DEAD
from relay.journal.encoding import OWNED, QUEUED
from relay.journal.reading import load
from relay.journal.schema import calls, notifications, processes, word
from relay.journal.statements import Statement, Step, Work, one_of
from relay.sending.ports import Taken

_MOST_PICKS = 3
"""How often the queue is looked at again where another process was faster."""

_n = notifications.c
_is_queued = _n.state == word(QUEUED)
_is_owned = _n.state == word(OWNED)
_is_mine = _is_owned & (_n.owner == bindparam("me"))

_PICK = Statement(
    sqlite=text("""
        SELECT id FROM (
            SELECT n.id, asked.key AS place, row_number() OVER (PARTITION BY asked.key ORDER BY n.due_at, n.id) AS turn
            FROM json_each(:clients) AS asked CROSS JOIN json_each(:message_types) AS types
            CROSS JOIN notifications AS n
            WHERE n.rowid IN (
                SELECT rowid FROM notifications
                WHERE state = 'queued' AND client = asked.value AND message_type = types.value AND due_at <= :now
                ORDER BY due_at, id LIMIT :most
            )
        ) ORDER BY turn, place LIMIT :most"""),
    postgres=text("""
        SELECT id FROM (
            SELECT due.id, asked.place, row_number() OVER (PARTITION BY asked.place ORDER BY due.due_at, due.id) AS turn
            FROM unnest(CAST(:clients AS text[])) WITH ORDINALITY AS asked(client, place)
            CROSS JOIN unnest(CAST(:message_types AS text[])) AS types(message_type)
            CROSS JOIN LATERAL (
                SELECT id, due_at FROM notifications
                WHERE state = 'queued' AND client = asked.client COLLATE "C"
                    AND message_type = types.message_type COLLATE "C" AND due_at <= CAST(:now AS bigint)
                ORDER BY due_at, id LIMIT CAST(:most AS integer)
            ) AS due
        ) AS ranked ORDER BY turn, place LIMIT CAST(:most AS integer)"""),
    lists=("clients", "message_types"),
)
"""Ids in the order of fairness: every client's oldest first, then every client's second, and so on."""


def _own(chosen: Select[tuple[str]], *, wait: bool = False, lists: Sequence[str] = ()) -> Statement:
    """Make rows this process's, under a new fence. Rows that another process is at are passed over, or waited for."""
    rows = chosen.with_for_update(skip_locked=not wait, key_share=True).cte("chosen")
    changes = {
        "state": word(OWNED),
        "owner": bindparam("me"),
        "fence": _n.fence + literal_column("1"),
        "status": null(),
    }
    owning = update(notifications).values(changes).where(_n.id.in_(select(rows.c.id))).returning(_n.id)
    return Statement(owning, lists=lists)


_one: ColumnElement[int] = literal_column("1")
_was_dialled = exists(select(_one).where(calls.c.notification_id == _n.id, calls.c.dialled.is_(True)))
_owner_lives = exists(select(_one).where(processes.c.id == _n.owner))
_most: BindParameter[int] = bindparam("most")

_OWN_PICKED = _own(select(_n.id).where(one_of(_n.id, "ids"), _is_queued), lists=("ids",))
_OWN_EXPIRED = _own(
    select(_n.id).where(_is_queued, _n.expires_at <= bindparam("now")).order_by(_n.expires_at).limit(_most)
)
_OWN_BACK = _own(
    select(_n.id).where(one_of(_n.id, "ids"), or_(_is_queued, _is_mine), ~_was_dialled).order_by(_n.id),
    wait=True,
    lists=("ids",),
)
_UNDO_DIAL = Statement(
    update(calls)
    .values(state=word("claimed"), dialled=literal_column("false", Boolean))
    .where(
        one_of(calls.c.notification_id, "ids"),
        calls.c.state == word("dialling"),
        exists(
            select(_one).where(_n.id == calls.c.notification_id, _is_mine, _n.fence == literal_column(str(FIRST_FENCE)))
        ),
    ),
    lists=("ids",),
)
_LOCK = Statement(
    select(_n.id).where(one_of(_n.id, "ids")).order_by(_n.id).with_for_update(key_share=True), lists=("ids",)
)
_DEAD_OWNERS = Statement(select(_n.owner).where(_is_owned, _n.owner != bindparam("me"), ~_owner_lives).distinct())
_OWN_OF_DEAD = _own(select(_n.id).where(_is_owned, one_of(_n.owner, "owners")).limit(_most), lists=("owners",))
_PUT_BACK = Statement(
    update(notifications)
    .values(state=word(QUEUED), owner=null(), due_at=bindparam("from_then"), status=bindparam("shown"))
    .where(_n.id == bindparam("of"), _is_mine, _n.fence == bindparam("under"))
)


def take(
    clients: Sequence[str], message_types: Sequence[MessageType], limit: int, now: int, process: str
) -> Work[list[Taken]]:
    """Take due notifications, clients in turn."""
    taken: list[str] = []
    asked = {"clients": list(clients), "message_types": [kind.value for kind in message_types], "now": now}
    for _ in range(_MOST_PICKS):
        [picked] = yield [(_PICK, asked | {"most": limit - len(taken)})]
        ids = [row[0] for row in picked.rows]
        if not ids:
            break
        [owned] = yield [(_OWN_PICKED, {"me": process, "ids": ids})]
        mine = {row[0] for row in owned.rows}
        taken += [key for key in ids if key in mine]
        if len(taken) >= limit or len(mine) == len(ids):
            break
    return (yield from _load_taken(taken))


def take_expired(limit: int, now: int, process: str) -> Work[list[Taken]]:
    """Take what has waited past its ``expires_at``."""
    [owned] = yield [(_OWN_EXPIRED, {"me": process, "now": now, "most": limit})]
    return (yield from _load_taken(sorted(row[0] for row in owned.rows)))


def take_back(notification_ids: Sequence[str], undialled: Sequence[str], process: str) -> Work[list[Taken]]:
    """Take what a claim in doubt has left, if nobody ever dialled it and nobody else has it.

    Of those that are ``undialled`` this process alone knows that it did not use the right that the claim gave it.
    """
    ids = list(notification_ids)
    # Locked first: what is asked of another table must be seen as it is once nobody else is at the rows.
    steps: list[Step] = [(_LOCK, {"ids": ids})]
    if undialled:
        steps.append((_UNDO_DIAL, {"me": process, "ids": list(undialled)}))
    [*_, owned] = yield [*steps, (_OWN_BACK, {"me": process, "ids": ids})]
    mine = {row[0] for row in owned.rows}
    return (yield from _load_taken([key for key in notification_ids if key in mine]))


def take_from_dead(limit: int, process: str) -> Work[list[Taken]]:
    """Take over what dead processes own.

    Their ids are found first. A condition on another table would be judged, on PostgreSQL, as of the statement's begin,
    even for a row that a rival has just taken; a condition on the row itself is judged by what the row is now.
    """
    [_, dead] = yield [(BURY_DEAD, {"me": process}), (_DEAD_OWNERS, {"me": process})]
    owners = [row[0] for row in dead.rows]
    if not owners:
        return []
    [owned] = yield [(_OWN_OF_DEAD, {"me": process, "owners": owners, "most": limit})]
    return (yield from _load_taken(sorted(row[0] for row in owned.rows)))


def confirm_taken(taken: Sequence[Taken], process: str) -> Work[list[Taken]]:
    """After a commit in doubt: those of them that are this process's under just that fence."""
    found = yield from load([item.stored.notification.id for item in taken])
    return [
        item
        for item in taken
        if (kept := found.get(item.stored.notification.id)) is not None
        and (kept.state, kept.owner, kept.fence) == (OWNED, process, item.fence)
    ]


def requeue(notification_id: str, fence: int, due_at: int, process: str) -> Work[bool]:
    """Put an asynchronous notification back."""
    kept = (yield from load([notification_id], lock=True)).get(notification_id)
    if kept is None or kept.stored.notification.mode is not Mode.ASYNCHRONOUS:
        return False
    queued = replace(kept.stored, owned=False)
    shown = overall_status(view_recipients(queued)).value
    changes = {"of": notification_id, "me": process, "under": fence, "from_then": due_at, "shown": shown}
    [put_back] = yield [(_PUT_BACK, changes)]
    return bool(put_back.changed)


def _load_taken(ids: Sequence[str]) -> Work[list[Taken]]:
    found = yield from load(ids)
    return [Taken(found[key].stored, found[key].fence) for key in ids]
