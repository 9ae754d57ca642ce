"""Numbers that are not to be written to: kept by keyed hash, looked up in the claim's transaction and the take's.

One point of an index a number, however many are kept; and for many numbers only where the list may name one of them at
all. When something is taken, that is so only if the list has grown since it was accepted.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from sqlalchemy import bindparam, select, text, update

from relay.domain.notification import CallState, Notification, Stored
from relay.domain.suppression import EVERYBODY, Addressed
from relay.journal.budgets import change_steps
from relay.journal.encoding import encode_indexes
from relay.journal.lookups import Subjects
from relay.journal.reading import load
from relay.journal.schema import calls, notifications, suppressions, word
from relay.journal.statements import Statement, Step, Work, one_of
from relay.journal.usage_ledger import Lines, pass_on
from relay.sending.ports import Lease

K = TypeVar("K")

_FEW = 50
"""So many numbers are looked up at once; for more it is asked first whether the list may name one of them."""
LOOKED_UP_AT_A_TIME = 500

_APART_MS = 3_600_000
"""By how much the clocks of two replicas may differ, and how long an import may take."""

_s = suppressions.c
_FIND = Statement(
    select(_s.number_hash, _s.client, _s.message_types, _s.until).where(one_of(_s.number_hash, "hashes")),
    lists=("hashes",),
)
_MAY_NAME = Statement(
    sqlite=text("""
        SELECT asked.value FROM json_each(:scopes) AS asked
        WHERE EXISTS (SELECT 1 FROM suppressions WHERE client = asked.value AND created_at >= :since)"""),
    postgres=text("""
        SELECT asked.scope FROM unnest(CAST(:scopes AS text[])) AS asked(scope)
        WHERE EXISTS (
            SELECT 1 FROM suppressions WHERE client = asked.scope COLLATE "C" AND created_at >= CAST(:since AS bigint)
        )"""),
    lists=("scopes",),
)


_BILL = Statement(
    select(calls.c.bill).where(
        calls.c.notification_id == bindparam("notification"), calls.c.ordinal == bindparam("call_ordinal")
    )
)
_SHRINK = Statement(
    update(calls)
    .values(
        recipients=bindparam("new_recipients"),
        bill=bindparam("new_bill"),
        state=bindparam("new_state"),
        done_at=bindparam("done_then"),
    )
    .where(
        calls.c.notification_id == bindparam("notification"),
        calls.c.ordinal == bindparam("call_ordinal"),
        calls.c.state == word(CallState.CLAIMED.value),
    )
)
_LEAVE_OUT = Statement(
    update(notifications)
    .values(suppressed=bindparam("new_suppressed"))
    .where(notifications.c.id == bindparam("notification"))
)


def address_of(notification: Notification) -> Addressed:
    """To whom a notification is to go."""
    numbers = {index: notification.entries[index].number or "" for index in notification.dialable()}
    return Addressed(notification.client, notification.message_type, numbers)


def find_suppressed(asked: Mapping[K, Addressed], subjects: Subjects, now: int) -> Work[dict[K, tuple[int, ...]]]:
    """The places of the numbers that are not to be written to; what has none is absent.

    Args:
        now: what ended by then holds no more.
    """
    judged = [addressed.judged_at for addressed in asked.values() if addressed.judged_at is not None]
    since = min(judged) - _APART_MS if asked and len(judged) == len(asked) else None
    if since is not None or sum(len(addressed.numbers) for addressed in asked.values()) > _FEW:
        scopes = sorted({EVERYBODY, *(addressed.client for addressed in asked.values())})
        [grown] = yield [(_MAY_NAME, {"scopes": scopes, "since": since or 0})]
        named = {row[0] for row in grown.rows}
        if EVERYBODY not in named:
            asked = {key: addressed for key, addressed in asked.items() if addressed.client in named}
    places = ((key, index, number) for key, addressed in asked.items() for index, number in addressed.numbers.items())
    hits: dict[K, list[int]] = {}
    while some := list(islice(places, LOOKED_UP_AT_A_TIME)):
        hashes = [subjects.recipient(number).hex() for _, _, number in some]
        [found] = yield [(_FIND, {"hashes": hashes})]
        rules: dict[str, list[tuple[str, str]]] = {}
        for number_hash, client, types, until in found.rows:
            if until is None or until > now:
                rules.setdefault(number_hash, []).append((client, types))
        for (key, index, _), number_hash in zip(some, hashes, strict=True) if rules else ():
            if _holds(rules.get(number_hash, ()), asked[key]):
                hits.setdefault(key, []).append(index)
    return {key: tuple(indexes) for key, indexes in hits.items()}


def _holds(rules: Iterable[tuple[str, str]], addressed: Addressed) -> bool:
    return any(
        client in (EVERYBODY, addressed.client) and (not types or addressed.message_type in types.split(","))
        for client, types in rules
    )


def leave_out(leases: Sequence[Lease], subjects: Subjects, now: int) -> Work[list[Lease]]:
    """Take numbers that came onto the list since acceptance out of calls that are still to be made."""
    if not leases:
        return []
    waiting = {lease.stored.notification.id: _address_of_waiting(lease.stored) for lease in leases}
    found = yield from find_suppressed(waiting, subjects, now)
    if not found:
        return list(leases)
    lines = Lines()
    for lease in leases:
        yield from _leave_out_of(lease, found.get(lease.stored.notification.id, ()), now, lines)
    yield change_steps(lines.budgets)
    again = yield from load(list(found))
    return [
        Lease(again[lease.stored.notification.id].stored, lease.fence)
        if lease.stored.notification.id in found
        else lease
        for lease in leases
    ]


def _address_of_waiting(stored: Stored) -> Addressed:
    """To whom calls of it are still to be made."""
    notification = stored.notification
    waiting = (index for call in stored.calls if call.state is CallState.CLAIMED for index in call.recipients)
    numbers = {index: notification.entries[index].number or "" for index in waiting}
    return Addressed(notification.client, notification.message_type, numbers, notification.created_at)


def _leave_out_of(lease: Lease, hits: Sequence[int], now: int, lines: Lines) -> Work[None]:
    notification_id = lease.stored.notification.id
    smaller = [
        (call, tuple(index for index in call.recipients if index not in hits))
        for call in lease.stored.calls
        if call.state is CallState.CLAIMED and any(index in hits for index in call.recipients)
    ]
    if not smaller:
        return
    bills = yield [(_BILL, {"notification": notification_id, "call_ordinal": call.ordinal}) for call, _ in smaller]
    left_out = {index for call, kept in smaller for index in call.recipients if index not in kept}
    for (call, kept), bill in zip(smaller, bills, strict=True):
        lines.reserve(bill.rows[0][0] or "", len(kept) - len(call.recipients))
    steps: list[Step] = [
        (
            _SHRINK,
            {
                "notification": notification_id,
                "call_ordinal": call.ordinal,
                "new_recipients": encode_indexes(kept),
                "new_bill": pass_on(bill.rows[0][0] or "", call.recipients, (), kept),
                "new_state": (CallState.CLAIMED if kept else CallState.DONE).value,
                "done_then": None if kept else now,
            },
        )
        for (call, kept), bill in zip(smaller, bills, strict=True)
    ]
    suppressed = encode_indexes(sorted({*lease.stored.suppressed, *left_out}))
    yield [*steps, (_LEAVE_OUT, {"notification": notification_id, "new_suppressed": suppressed})]
