"""Who owns a notification: taken from the queue, put back, taken over from the dead. Each new owner has a new fence."""

from collections.abc import Sequence

from msgspec.structs import replace
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    Select,
    bindparam,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)

from relay.domain.codes import Code, MessageType
from relay.domain.notification import Mode, Stored, find_status, may_move, set_send_at
from relay.journal.claims import FIRST_FENCE, key_expiry
from relay.journal.control import BURY_DEAD
from relay.journal.encoding import OWNED, QUEUED, encode_facts
from relay.journal.lookups import Subjects, leave_account_steps
from relay.journal.reading import load
from relay.journal.schema import calls, notifications, processes, word
from relay.journal.statements import Statement, Step, Work, database_now, one_of
from relay.journal.suppressing import leave_out
from relay.journal.usage_ledger import day_of, rebook
from relay.sending.ports import Lease

_MOST_PICKS = 3
"""How often the queue is looked at where other processes are faster; each time beyond what they are at."""

_n = notifications.c
_is_queued = _n.state == word(QUEUED)
_is_owned = _n.state == word(OWNED)
_is_mine = _is_owned & (_n.owner == bindparam("process"))

_PICK = Statement(
    sqlite=text("""
        SELECT id FROM (
            SELECT n.id, asked.key AS place, row_number() OVER (PARTITION BY asked.key ORDER BY n.due_at, n.id) AS rank
            FROM json_each(:clients) AS asked CROSS JOIN json_each(:message_types) AS types
            CROSS JOIN notifications AS n
            WHERE n.rowid IN (
                SELECT rowid FROM notifications
                WHERE state = 'queued' AND client = asked.value AND message_type = types.value AND due_at <= :now
                ORDER BY due_at, id LIMIT :row_limit
            )
        ) ORDER BY rank, place LIMIT :row_limit"""),
    postgres=text("""
        SELECT id FROM (
            SELECT due.id, asked.place, row_number() OVER (PARTITION BY asked.place ORDER BY due.due_at, due.id) AS rank
            FROM unnest(CAST(:clients AS text[])) WITH ORDINALITY AS asked(client, place)
            CROSS JOIN unnest(CAST(:message_types AS text[])) AS types(message_type)
            CROSS JOIN LATERAL (
                SELECT id, due_at FROM notifications
                WHERE state = 'queued' AND client = asked.client COLLATE "C"
                    AND message_type = types.message_type COLLATE "C" AND due_at <= CAST(:now AS bigint)
                ORDER BY due_at, id LIMIT CAST(:row_limit AS integer)
            ) AS due
        ) AS ranked ORDER BY rank, place LIMIT CAST(:row_limit AS integer)"""),
    lists=("clients", "message_types"),
)
"""Ids in the order of fairness: every client's oldest first, then every client's second, and so on."""


def _own(chosen: Select[tuple[str]], *, wait: bool = False, lists: Sequence[str] = ()) -> Statement:
    """Make rows this process's, under a new fence. Rows that another process is at are passed over, or waited for."""
    rows = chosen.with_for_update(skip_locked=not wait, key_share=True).cte("chosen")
    changes = {
        "state": word(OWNED),
        "owner": bindparam("process"),
        "fence": _n.fence + literal_column("1"),
        "status": null(),
        "claimed_at": database_now(),
    }
    owning = update(notifications).values(changes).where(_n.id.in_(select(rows.c.id))).returning(_n.id)
    return Statement(owning, lists=lists)


_one: ColumnElement[int] = literal_column("1")
_was_dialled = exists(select(_one).where(calls.c.notification_id == _n.id, calls.c.dialled.is_(True)))
_owner_lives = exists(select(_one).where(processes.c.id == _n.owner))
_most: BindParameter[int] = bindparam("row_limit")

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
    .values(state=word("claimed"), dialled=literal_column("false", Boolean), account=null(), account_reason=null())
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
_DEAD_OWNERS = Statement(select(_n.owner).where(_is_owned, _n.owner != bindparam("process"), ~_owner_lives).distinct())
_OWN_OF_DEAD = _own(select(_n.id).where(_is_owned, one_of(_n.owner, "owners")).limit(_most), lists=("owners",))
_PUT_BACK = Statement(
    update(notifications)
    .values(
        state=word(QUEUED),
        owner=null(),
        due_at=bindparam("new_due_at"),
        status=bindparam("new_status"),
        waiting=bindparam("new_waiting"),
        held_at=func.coalesce(_n.held_at, bindparam("held_then", type_=BigInteger)),
    )
    .where(_n.id == bindparam("notification"), _is_mine, _n.fence == bindparam("fence_held"))
)

_MOVE = Statement(
    update(notifications)
    .values(
        state=word(QUEUED),
        owner=null(),
        fence=_n.fence + literal_column("1"),
        due_at=bindparam("new_due_at"),
        status=bindparam("new_status"),
        waiting=bindparam("new_waiting"),
        facts=bindparam("new_facts"),
        expires_at=bindparam("new_expires_at"),
        key_expires_at=bindparam("new_key_expires_at"),
    )
    .where(_n.id == bindparam("notification"))
)


def take(
    clients: Sequence[str],
    message_types: Sequence[MessageType],
    limit: int,
    now: int,
    process: str,
    subjects: Subjects,
) -> Work[list[Lease]]:
    """Take due notifications, clients in turn, without the numbers that are not to be written to by now."""
    taken: list[str] = []
    lost: set[str] = set()
    asked = {"clients": list(clients), "message_types": [kind.value for kind in message_types], "now": now}
    for _ in range(_MOST_PICKS):
        left = limit - len(taken)
        [picked] = yield [(_PICK, asked | {"row_limit": left + len(lost)})]
        ids = [row[0] for row in picked.rows if row[0] not in lost][:left]
        if not ids:
            break
        [owned] = yield [(_OWN_PICKED, {"process": process, "ids": ids})]
        mine = {row[0] for row in owned.rows}
        taken += [key for key in ids if key in mine]
        lost.update(key for key in ids if key not in mine)
        if len(taken) >= limit or len(mine) == len(ids):
            break
    leases = yield from _load_taken(taken)
    return (yield from leave_out(leases, subjects, now))


def take_expired(limit: int, now: int, process: str) -> Work[list[Lease]]:
    """Take what has waited past its ``expires_at``."""
    [owned] = yield [(_OWN_EXPIRED, {"process": process, "now": now, "row_limit": limit})]
    return (yield from _load_taken(sorted(row[0] for row in owned.rows)))


def take_back(notification_ids: Sequence[str], undialled: Sequence[str], process: str) -> Work[list[Lease]]:
    """Take what a claim in doubt has left, if nobody ever dialled it and nobody else has it.

    Of those that are ``undialled`` this process alone knows that it did not use the right that the claim gave it.
    """
    ids = list(notification_ids)
    # Locked first: what is asked of another table must be seen as it is once nobody else is at the rows.
    yield [(_LOCK, {"ids": ids})]
    steps: list[Step] = []
    if undialled:
        steps += yield from _leave_accounts(undialled, process)
        steps.append((_UNDO_DIAL, {"process": process, "ids": list(undialled)}))
    [*_, owned] = yield [*steps, (_OWN_BACK, {"process": process, "ids": ids})]
    mine = {row[0] for row in owned.rows}
    return (yield from _load_taken([key for key in notification_ids if key in mine]))


def _leave_accounts(undialled: Sequence[str], process: str) -> Work[list[Step]]:
    """What takes those whose dial is undone out from under the account that was not used."""
    kept = yield from load(undialled)
    return [
        step
        for item in kept.values()
        if (item.owner, item.fence) == (process, FIRST_FENCE)
        for step in leave_account_steps(item.stored.notification, item.stored.calls)
    ]


def take_from_dead(limit: int, process: str) -> Work[list[Lease]]:
    """Take over what dead processes own.

    Their ids are found first. A condition on another table would be judged, on PostgreSQL, as of the statement's begin,
    even for a row that a rival has just taken; a condition on the row itself is judged by what the row is now.
    """
    [_, dead] = yield [(BURY_DEAD, {"process": process}), (_DEAD_OWNERS, {"process": process})]
    owners = [row[0] for row in dead.rows]
    if not owners:
        return []
    [owned] = yield [(_OWN_OF_DEAD, {"process": process, "owners": owners, "row_limit": limit})]
    return (yield from _load_taken(sorted(row[0] for row in owned.rows)))


def confirm_taken(taken: Sequence[Lease], process: str) -> Work[list[Lease]]:
    """After a commit in doubt: those of them that are this process's under just that fence."""
    found = yield from load([item.stored.notification.id for item in taken])
    return [
        item
        for item in taken
        if (kept := found.get(item.stored.notification.id)) is not None
        and (kept.state, kept.owner, kept.fence) == (OWNED, process, item.fence)
    ]


def requeue(notification_id: str, fence: int, due_at: int, waiting: Code, process: str, now: int) -> Work[bool]:
    """Put an asynchronous notification back."""
    kept = (yield from load([notification_id], lock=True)).get(notification_id)
    if kept is None or kept.stored.notification.mode is not Mode.ASYNCHRONOUS:
        return False
    changes = {
        "notification": notification_id,
        "process": process,
        "fence_held": fence,
        "held_then": now,
        **_in_queue(replace(kept.stored, owned=False, waiting=waiting), due_at),
    }
    [put_back] = yield [(_PUT_BACK, changes)]
    return bool(put_back.changed)


def move(notification_id: str, client: str, send_at: int, now: int, key_window_ms: int) -> Work[Stored | None]:
    """Send an asynchronous notification at another time, where no call of it was ever dialled.

    Whoever holds it loses it to the queue: the new fence forbids the old owner to dial.
    """
    kept = (yield from load([notification_id], lock=True)).get(notification_id)
    if kept is None or kept.stored.notification.client != client:
        return None
    if not may_move(kept.stored):
        return kept.stored
    notification = set_send_at(kept.stored.notification, send_at, now)
    waiting = Code.SCHEDULED if send_at > now else Code.QUEUED
    moved = replace(kept.stored, notification=notification, owned=False, waiting=waiting)
    changes = {
        "notification": notification_id,
        "new_facts": encode_facts(notification),
        "new_expires_at": notification.expires_at,
        "new_key_expires_at": key_expiry(notification, key_window_ms),
        **_in_queue(moved, max(send_at, now)),
    }
    yield [(_MOVE, changes)]
    yield from rebook(notification_id, day_of(max(notification.created_at, send_at))[:7])
    return moved


def _in_queue(stored: Stored, due_at: int) -> dict[str, object]:
    return {
        "new_due_at": due_at,
        "new_status": find_status(stored).value,
        "new_waiting": None if stored.waiting is None else stored.waiting.value,
    }


def _load_taken(ids: Sequence[str]) -> Work[list[Lease]]:
    found = yield from load(ids)
    return [Lease(found[key].stored, found[key].fence) for key in ids]
