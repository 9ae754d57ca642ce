"""Pages of notifications, newest first: every filter is read from an index, in steps that keep nobody waiting.

One filter drives: its index gives the notifications in the order of the page. The others are judged row by row. Where
several are asked for, one with few notifications drives; where all have many, the walk goes on in bounded steps, and a
step that found nothing jumps to where the other filters have their next ones. Each step is work of its own, so that on
SQLite, where there is one thread, sends go in between.

Not a second connection: SQLite before 3.51.3 can corrupt a WAL that several connections use (the WAL-reset bug), and
Python brings older ones for years to come.
"""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    LargeBinary,
    Select,
    bindparam,
    exists,
    func,
    literal_column,
    select,
    text,
    tuple_,
)

from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import NotificationStatus
from relay.domain.notification import overview_of
from relay.journal.lookups import Subjects, account_subject
from relay.journal.page_reading import Reader, read_stored
from relay.journal.reading import took_account
from relay.journal.schema import lookups, notifications, word
from relay.journal.statements import Statement, Work
from relay.sending.ports import Cursor, ListFilter

_STEP = 256
"""Index rows that a step looks at, at most: about a millisecond. The first one looks at twice the page."""
_COUNTED = 100
"""So many of a filter are many: which of those drives is told by the order of the filters."""

_MOST_OWNED = 2_000
_FEW_CLIENTS, _MANY_CLIENTS = 4, 64
"""Clients that a step of a look-up over all of them asks: the first ones for whole pages, the others for little."""

_WHILE_HELD = frozenset({NotificationStatus.QUEUED, NotificationStatus.IN_PROGRESS, NotificationStatus.PARTIAL})
"""What a notification can be while some process has it in hand."""

_n, _l = notifications.c, lookups.c
_is_owned = _n.state == word("owned")
HELD = "held"
"""Drives the look at what some process has in hand."""
_AFTER_EVERY_ID = "~"


class Key(NamedTuple):
    """A place in the order of a list."""

    created_at: int
    id: str


class Asked(NamedTuple):
    """What a list asks for, as statements take it."""

    filters: tuple[str, ...]
    """Names of :data:`_FILTERS`."""
    times: tuple[str, ...]
    values: dict[str, object]
    limit: int
    before: Cursor | None
    status: NotificationStatus | None

    @property
    def drivers(self) -> tuple[str, ...]:
        """The filters that an index is for."""
        return tuple(name for name in self.filters if name != ONLY_FIRST_ACCOUNT)

    def of(self, client: str) -> "Asked":
        """The same of one client."""
        return self._replace(values=self.values | {"client": client})

    def since(self, created_from: int) -> "Asked":
        """The same, and no older than this."""
        times = tuple(dict.fromkeys((*self.times, "created_from")))
        return self._replace(times=times, values=self.values | {"created_from": created_from})

    def at(self, before: Key | None) -> tuple[tuple[str, ...], dict[str, object]]:
        """The conditions on time, and the values, for what comes after a key."""
        if before is None:
            return self.times, self.values
        return (*self.times, "before"), self.values | {"before_at": before.created_at, "before_id": before.id}


def ask(selection: ListFilter, subjects: Subjects) -> Asked:
    """What a selection means."""
    values: dict[str, object] = {} if selection.client is None else {"client": selection.client}
    for name in ("idempotency_key", "reference", "created_from", "created_to"):
        if (value := getattr(selection, name)) is not None:
            values[name] = value
    if selection.recipient is not None:
        values["recipient"] = subjects.recipient(selection.recipient)
    if selection.status is not None:
        values["status"] = selection.status.value
    if selection.account == FIRST_ACCOUNT:
        values[ONLY_FIRST_ACCOUNT] = FIRST_ACCOUNT
    elif selection.account is not None:
        values["account"] = account_subject(selection.account)
    return Asked(
        filters=tuple(name for name in _FILTERS if name in values),
        times=tuple(name for name in ("created_from", "created_to") if name in values),
        values=values,
        limit=selection.limit,
        before=selection.before,
        status=selection.status,
    )


def _is_entered(subject: str) -> ColumnElement[bool]:
    """Whether a notification is found under a subject."""
    return exists(
        select(literal_column("1")).where(
            _l.subject == bindparam(subject),
            _l.client == _n.client,
            _l.created_at == _n.created_at,
            _l.notification_id == _n.id,
        )
    )


ONLY_FIRST_ACCOUNT = "first_account"
"""Nearly everything goes by the first account, so that an index for it would say nothing: it is judged."""

_FILTERS: dict[str, ColumnElement[bool]] = {
    "idempotency_key": _n.idempotency_key == bindparam("idempotency_key"),
    "recipient": _is_entered("recipient"),
    "reference": _n.reference == bindparam("reference"),
    "account": _is_entered("account"),
    "status": _n.status == bindparam("status"),
    ONLY_FIRST_ACCOUNT: took_account(ONLY_FIRST_ACCOUNT),
}
"""What a notification must be for each filter, the one that has the fewest first."""


def _keys(driver: str | None, times: Sequence[str]) -> Select[tuple[int, str]]:
    """The keys of one driver (or of the client, without), newest first."""
    at: ColumnElement[int]
    if driver in ("recipient", "account"):
        query = select(_l.created_at.label("at"), _l.notification_id.label("id")).where(
            _l.subject == bindparam(driver), _l.client == bindparam("client")
        )
        at, key = _l.created_at, _l.notification_id
    else:
        query = select(_n.created_at.label("at"), _n.id.label("id")).where(_n.client == bindparam("client"))
        at, key = _n.created_at, _n.id
        if driver in (HELD, "idempotency_key"):
            # Their indexes are in no order of time, and need not be: these are few. Without the sum SQLite takes
            # another index, for the order's sake, and reads everything that the client has.
            at = _n.created_at + literal_column("0", BigInteger)
        if driver is not None:
            query = query.where(_is_owned if driver == HELD else _FILTERS[driver])
    conditions = _times(at, key)
    query = query.where(*(conditions[name] for name in times))
    return query.order_by(at.desc(), key.desc()).limit(bindparam("most"))


@cache
def _count(driver: str, times: tuple[str, ...]) -> Statement:
    return Statement(select(func.count()).select_from(_keys(driver, times).subquery()))


@cache
def _walk(driver: str | None, others: tuple[str, ...], times: tuple[str, ...]) -> Statement:
    """Some keys of the driver, and whether each is what the others ask for."""
    keys = _keys(driver, times)
    if not others:
        return Statement(keys)
    walked = keys.subquery()
    matches = exists(select(literal_column("1")).where(_n.id == walked.c.id, *(_FILTERS[other] for other in others)))
    return Statement(select(walked.c.at, walked.c.id, matches))


async def find_page(read: Reader, asked: Asked) -> list[str]:
    """The ids of a page, in order."""
    return [key.id for key in await _find_keys(read, asked)]


async def merge_pages(read: Reader, asked: Asked) -> list[str]:
    """The ids of a page over all clients, each read in its own order, from its own index.

    No index for all clients together: every notification would pay for it, and only operators would use it. Once a page
    is full, the clients that follow are asked only for what is newer than its end.
    """
    clients = await read(partial(_list_clients, asked))
    keys: list[Key] = []
    begin, size = 0, _FEW_CLIENTS
    while begin < len(clients):
        some = clients[begin : begin + size]
        few = len(asked.drivers) < 2 and ONLY_FIRST_ACCOUNT not in asked.filters
        if few and asked.status not in _WHILE_HELD:
            keys += await read(partial(_step_of_clients, asked, some))
        else:
            for client in some:
                keys += await _find_keys(read, asked.of(client))
        keys = sorted(keys, reverse=True)[: asked.limit]
        if len(keys) == asked.limit:
            asked = asked.since(keys[-1].created_at)
        begin, size = begin + size, min(size * 4, _MANY_CLIENTS)
    return [key.id for key in keys]


def _list_clients(asked: Asked) -> Work[list[str]]:
    """Whom a look-up over all clients must ask: who has a notification, or one to the recipient or by the account."""
    subject = asked.values.get("recipient", asked.values.get("account"))
    [found] = yield [(_CLIENTS, {}) if subject is None else (_CLIENTS_OF_SUBJECT, {"subject": subject})]
    return [row[0] for row in found.rows]


def _step_of_clients(asked: Asked, clients: Sequence[str]) -> Work[list[Key]]:
    start = None if asked.before is None else Key(asked.before.created_at, asked.before.id)
    times, values = asked.at(start)
    walk = _walk(asked.drivers[0] if asked.drivers else None, (), times)
    results = yield [(walk, values | {"client": client, "most": asked.limit}) for client in clients]
    return [Key(*row) for result in results for row in result.rows]


def _each_client(table: str, where: str) -> str:
    """From one client to the next in an index: as many steps as there are clients."""
    return f"""
        WITH RECURSIVE found(client) AS (
            SELECT min(client) FROM {table} WHERE {where}
            UNION ALL
            SELECT (SELECT min(client) FROM {table} WHERE {where} AND client > found.client)
            FROM found WHERE found.client IS NOT NULL
        ) SELECT client FROM found WHERE client IS NOT NULL"""  # noqa: S608 — constants of ours


_CLIENTS = Statement(text(_each_client("notifications", "1 = 1")))
_CLIENTS_OF_SUBJECT = Statement(
    text(_each_client("lookups", "subject = :subject")).bindparams(bindparam("subject", type_=LargeBinary))
)


def _times(at: ColumnElement[int], key: ColumnElement[str]) -> dict[str, ColumnElement[bool]]:
    return {
        "created_from": at >= bindparam("created_from"),
        "created_to": at < bindparam("created_to"),
        "before": tuple_(at, key) < tuple_(bindparam("before_at"), bindparam("before_id")),
    }


async def _find_keys(read: Reader, asked: Asked) -> list[Key]:
    start = None if asked.before is None else Key(asked.before.created_at, asked.before.id)
    # What a process holds has no status in its row. Looked at first: what ends meanwhile is then found by its row.
    held = await _find_held(read, asked, start) if asked.status in _WHILE_HELD else []
    driver = await _choose(read, asked, start)
    others = tuple(name for name in asked.filters if name != driver)
    most = min(asked.limit * 2, _STEP) if others else asked.limit
    found: set[Key] = set(held)
    before, matched = start, 0
    while True:
        rows = await read(partial(_step, asked, driver, others, before, most))
        matches = [Key(row[0], row[1]) for row in rows if not others or row[2]]
        found.update(matches)
        matched += len(matches)
        if matched >= asked.limit or len(rows) < most:
            break
        before = Key(rows[-1][0], rows[-1][1])
        if not matches:
            before = await read(partial(_jump, asked, others, before))
            if before is None:
                break
        most = min(most * 2, _STEP)
    return sorted(found, reverse=True)[: asked.limit]


async def _choose(read: Reader, asked: Asked, start: Key | None) -> str | None:
    """The filter that drives: the first one with no more than a page, else the one with the fewest."""
    if len(asked.drivers) < 2:
        return asked.drivers[0] if asked.drivers else None
    times, values = asked.at(start)

    def count() -> Work[str]:
        fewest, driver = _COUNTED + 1, asked.drivers[0]
        for name in asked.drivers:
            [counted] = yield [(_count(name, times), _given(values, name) | {"most": _COUNTED})]
            if counted.rows[0][0] < fewest:
                fewest, driver = counted.rows[0][0], name
            if fewest <= asked.limit:
                break
        return driver

    return await read(count)


def _given(values: dict[str, object], *names: str | None) -> dict[str, object]:
    """The values that a statement with these filters takes."""
    left_out = set(_FILTERS) - set(names)
    return {name: value for name, value in values.items() if name not in left_out}


def _step(
    asked: Asked, driver: str | None, others: tuple[str, ...], before: Key | None, most: int
) -> Work[Sequence[tuple[Any, ...]]]:
    times, values = asked.at(before)
    [walked] = yield [(_walk(driver, others, times), _given(values, driver, *others) | {"most": most})]
    return sorted(walked.rows, reverse=True)


def _jump(asked: Asked, others: tuple[str, ...], before: Key) -> Work[Key | None]:
    """Where the walk may go on: just before the oldest of what the other filters have next."""
    times, values = asked.at(before)
    indexed = [other for other in others if other in asked.drivers]
    found = yield [(_walk(other, (), times), _given(values, other) | {"most": 1}) for other in indexed]
    if not all(result.rows for result in found):
        return None
    places = (Key(at, key + _AFTER_EVERY_ID) for at, key, *_ in (result.rows[0] for result in found))
    return min((before, *places))


async def _find_held(read: Reader, asked: Asked, start: Key | None) -> list[Key]:
    """Notifications in some process's hands that have the status by their calls."""
    times, values = asked.at(start)
    others = tuple(name for name in asked.filters if name != "status")

    def look() -> Work[list[str]]:
        [held] = yield [(_walk(HELD, others, times), _given(values, *others) | {"most": _MOST_OWNED})]
        return [row[1] for row in held.rows if not others or row[2]]

    ids = await read(look)
    found = await read_stored(read, ids)
    return [
        Key(item.notification.created_at, item.notification.id)
        for item in found
        if overview_of(item).status is asked.status
    ]
