"""The list of numbers that are not to be written to: entered, learned from answers, shown, taken off."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ClauseElement, ColumnElement, bindparam, case, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from relay.domain.audit import Act
from relay.domain.codes import Code, MessageType, Route
from relay.domain.notification import Outcome
from relay.domain.suppression import EVERYBODY, SuppressedBy, Suppression, SuppressionWish
from relay.journal import auditing
from relay.journal.lookups import Subjects
from relay.journal.reading import load
from relay.journal.schema import suppressions, word
from relay.journal.statements import Statement, Work, every_column
from relay.sending.ports import Cursor

ENTERED_AT_A_TIME = 50
"""Numbers that a transaction enters: one millisecond."""

_s = suppressions.c
_COLUMNS = (_s.id, _s.client, _s.last_digits, _s.message_types, _s.reason, _s.until, _s.created_at, _s.by)


def _put(insert: "type[sqlite.Insert] | type[postgresql.Insert]", *, learned: bool) -> ClauseElement:
    """Enter one; the same again changes only why and until when, and is new only where it had ended. What is learned
    changes nothing that was asked for."""
    row = insert(suppressions).values(every_column(suppressions))
    newer: dict[str, ColumnElement[Any]] = {name: row.excluded[name] for name in ("reason", "until", "by")}
    newer["created_at"] = case((_s.until <= row.excluded.created_at, row.excluded.created_at), else_=_s.created_at)
    where = _s.by == word(SuppressedBy.LEARNED.value) if learned else None
    statement: ClauseElement = row.on_conflict_do_update(index_elements=[_s.id], set_=newer, where=where).returning(
        *_COLUMNS
    )
    return statement


_PUT = {
    learned: Statement(sqlite=_put(sqlite.Insert, learned=learned), postgres=_put(postgresql.Insert, learned=learned))
    for learned in (False, True)
}
_DELETE = Statement(delete(suppressions).where(_s.id == bindparam("suppression"), _s.client == bindparam("whose")))
_READ = Statement(select(*_COLUMNS).where(_s.id == bindparam("suppression"), _s.client == bindparam("whose")))
_newest_first = (_s.created_at.desc(), _s.id.desc())
_of_client = select(*_COLUMNS).where(_s.client == bindparam("whose"))
_LIST = {
    False: Statement(_of_client.order_by(*_newest_first).limit(bindparam("most"))),
    True: Statement(
        _of_client.where(tuple_(_s.created_at, _s.id) < tuple_(bindparam("before_at"), bindparam("before_id")))
        .order_by(*_newest_first)
        .limit(bindparam("most"))
    ),
}
_OF_NUMBER = Statement(_of_client.where(_s.number_hash == bindparam("hash")).order_by(*_newest_first))


def in_order(wish: SuppressionWish) -> tuple[str, str, str]:
    """The one order in which all transactions enter numbers, so that two never wait for each other."""
    return wish.client, wish.number, _types(wish)


def suppress_some(wishes: Sequence[SuppressionWish], at: int, subjects: Subjects) -> Work[list[Suppression]]:
    """Enter numbers, which are in order."""
    entered = yield [(_PUT[False], _row(wish, at, SuppressedBy.REQUEST, subjects)) for wish in wishes]
    return [_decode(result.rows[0]) for result in entered]


def begin_suppressing(wishes: Sequence[SuppressionWish], act: Act, subjects: Subjects) -> Work[list[Suppression]]:
    """Enter the first numbers, with a row of the audit for all."""
    entered = yield from suppress_some(wishes, act.at, subjects)
    yield from auditing.append(act)
    return entered


def learn(answers: Mapping[str, Sequence[int]], until: int, now: int, subjects: Subjects) -> Work[None]:
    """Enter numbers that do not want promotional messages: by notification, the entries that were answered so."""
    kept = yield from load(list(answers))
    numbers = {
        number
        for notification_id, indexes in answers.items()
        for index in indexes
        if (number := kept[notification_id].stored.notification.entries[index].number) is not None
    }
    wishes = [
        SuppressionWish(
            number=number,
            client=EVERYBODY,
            message_types=(MessageType.PROMOTIONAL,),
            reason="3333 on the normal route",
            until=until,
        )
        for number in numbers
    ]
    yield [(_PUT[True], _row(wish, now, SuppressedBy.LEARNED, subjects)) for wish in sorted(wishes, key=in_order)]


def indexes_to_learn(route: str, recipients: Sequence[int], outcomes: Sequence[Outcome]) -> list[int]:
    """The entries that a call's answer says do not want promotional messages."""
    if route != Route.NORMAL:
        return []
    return [
        index
        for index, outcome in zip(recipients, outcomes, strict=False)
        if outcome.code is Code.DND_REJECTED and outcome.resolved_by is None
    ]


def _types(wish: SuppressionWish) -> str:
    return ",".join(sorted(wish.message_types))


def _row(wish: SuppressionWish, now: int, by: SuppressedBy, subjects: Subjects) -> dict[str, object]:
    number, types = subjects.recipient(wish.number).hex(), _types(wish)
    named = hashlib.blake2b("\0".join((wish.client, number, types)).encode(), digest_size=16).hexdigest()
    return {
        "id": named,
        "client": wish.client,
        "number_hash": number,
        "last_digits": wish.number[-2:],
        "message_types": types,
        "reason": wish.reason,
        "until": wish.until,
        "created_at": now,
        "by": by.value,
    }


def list_some(
    client: str, limit: int, before: Cursor | None, number: str | None, subjects: Subjects
) -> Work[list[Suppression]]:
    """What is kept for a client (or for everybody), newest first; of one number all of it."""
    values: dict[str, object] = {"whose": client, "most": limit}
    if number is not None:
        [found] = yield [(_OF_NUMBER, {"whose": client, "hash": subjects.recipient(number).hex()})]
    elif before is None:
        [found] = yield [(_LIST[False], values)]
    else:
        [found] = yield [(_LIST[True], values | {"before_at": before.created_at, "before_id": before.id})]
    return [_decode(row) for row in found.rows]


def lift(suppression_id: str, client: str, act: Act) -> Work[Suppression | None]:
    """Take one off the list, with a row of the audit; ``None`` if there is none of this client."""
    of = {"suppression": suppression_id, "whose": client}
    [found, _] = yield [(_READ, of), (_DELETE, of)]
    if not found.rows:
        return None
    yield from auditing.append(act)
    return _decode(found.rows[0])


def _decode(row: Sequence[object]) -> Suppression:
    id_, client, last_digits, types, reason, until, created_at, by = row
    return Suppression(
        id=str(id_),
        client=str(client),
        last_digits=str(last_digits),
        message_types=tuple(MessageType(each) for each in str(types).split(",") if each),
        reason=str(reason),
        until=None if until is None else int(str(until)),
        created_at=int(str(created_at)),
        by=SuppressedBy(str(by)),
    )
