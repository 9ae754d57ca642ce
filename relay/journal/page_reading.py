"""What a page of a list shows, read in pieces: of a notification to ten thousand recipients that is a megabyte or two.

SQLite lets go of the interpreter for every row, and gets it back half a millisecond later where the event loop is busy:
a hundred calls in one piece took 2 ms alone and 24 ms beside lists (95th percentile), and every claim waited for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from sqlalchemy import bindparam, literal_column, select

from relay.domain.notification import Call, Overview, Stored, overview_of
from relay.journal.encoding import DONE, decode_call, decode_kept, decode_overview
from relay.journal.reading import CALL_COLUMNS, COLUMNS, FIND, load_rows
from relay.journal.schema import calls, notifications
from relay.journal.statements import Row, Statement, Work, one_of

T = TypeVar("T")

_STEP_BYTES = 200_000
"""A step that brought so much is large enough; the next one reads fewer notifications."""
_MOST_IN_A_STEP = 32
CALLS_AT_ONCE = 8
_OUTCOMES_AT_ONCE = 1_000
"""Outcomes that are decoded before others go first: a millisecond or two."""
_REST_SECONDS = 0.004

_n = notifications.c


class Reader(Protocol):
    """How a store runs work that only reads."""

    def __call__(self, work: Callable[[], Work[T]], /) -> Awaitable[T]:
        """Run it."""
        ...


_FIRST_CALLS = Statement(
    select(*CALL_COLUMNS)
    .where(one_of(calls.c.notification_id, "ids"), calls.c.ordinal <= literal_column(str(CALLS_AT_ONCE)))
    .order_by(calls.c.notification_id, calls.c.ordinal),
    lists=("ids",),
)
_NEXT_CALLS = Statement(
    select(*CALL_COLUMNS)
    .where(calls.c.notification_id == bindparam("notification"), calls.c.ordinal > bindparam("after"))
    .order_by(calls.c.ordinal)
    .limit(literal_column(str(CALLS_AT_ONCE)))
)
_STATE = [column.name for column in COLUMNS].index("state")


async def read_stored(read: Reader, ids: Sequence[str]) -> list[Stored]:
    """Notifications with their calls, in this order, a few at a time; those that are gone are left out.

    The calls of one that is done are read in pieces: nothing of them changes any more but what an operator settles.
    """
    items: list[Stored] = []
    begin, size = 0, 1
    while begin < len(ids):
        found, their_calls = await read(partial(_begin, ids[begin : begin + size]))
        some = [
            stored for row in found if (stored := await _read_one(read, row, their_calls.get(row[0], []))) is not None
        ]
        items += some
        begin += size
        entries = sum(len(stored.notification.entries) for stored in some)
        size = min(size * 2, _MOST_IN_A_STEP) if entries * 200 < _STEP_BYTES else 1
    return items


def _begin(ids: Sequence[str]) -> Work[tuple[list[Row], dict[str, list[Row]]]]:
    """The rows of notifications, in this order, and the first calls of each."""
    found, first_calls = yield [(FIND, {"ids": list(ids)}), (_FIRST_CALLS, {"ids": list(ids)})]
    grouped: dict[str, list[Row]] = {}
    for row in first_calls.rows:
        grouped.setdefault(row[0], []).append(row)
    by_id = {row[0]: row for row in found.rows}
    return [by_id[key] for key in ids if key in by_id], grouped


async def _read_one(read: Reader, row: Row, rows: Sequence[Row]) -> Stored | None:
    """One notification, from its row and its first calls. What is decoded of ten thousand recipients is work for
    milliseconds, so others go first now and then."""
    more = len(rows) == CALLS_AT_ONCE
    if more and row[_STATE] != DONE:  # what is under way is read at one moment
        found, rows = await read(partial(load_rows, [row[0]]))
        if not found:
            return None
        row, more = found[0], False
    made: list[Call] = []
    decoded = 0
    while True:
        for each in rows:
            made.append(decode_call(each))
            decoded += len(made[-1].outcomes)
            if decoded >= _OUTCOMES_AT_ONCE:
                decoded = 0
                await asyncio.sleep(_REST_SECONDS)
        if not more:
            break
        rows = await read(partial(_go_on, row[0], made[-1].ordinal))
        more = len(rows) == CALLS_AT_ONCE
    return decode_kept(row, made).stored


def _go_on(notification_id: str, after: int) -> Work[Sequence[Row]]:
    [found] = yield [(_NEXT_CALLS, {"notification": notification_id, "after": after})]
    return found.rows


_OVERVIEWS = Statement(
    select(_n.id, _n.facts, _n.status, _n.counts, _n.completed_at).where(one_of(_n.id, "ids")), lists=("ids",)
)


async def read_overviews(read: Reader, ids: Sequence[str]) -> list[Overview]:
    """Notifications without their entries, in this order, a few at a time; those that are gone are left out."""
    items: list[Overview] = []
    begin, size = 0, 8
    while begin < len(ids):
        some = ids[begin : begin + size]
        found, brought = await read(partial(_overviews, some))
        open_ones = [key for key, overview in found.items() if overview is None]
        found |= {item.notification.id: overview_of(item) for item in await read_stored(read, open_ones)}
        items += [overview for key in some if (overview := found.get(key)) is not None]
        begin += size
        size = min(size * 2, _MOST_IN_A_STEP) if brought < _STEP_BYTES else max(size // 4, 1)
    return items


def _overviews(ids: Sequence[str]) -> Work[tuple[dict[str, Overview | None], int]]:
    """Overviews from the rows alone; ``None`` where the calls must tell. And how much text that was."""
    [found] = yield [(_OVERVIEWS, {"ids": list(ids)})]
    overviews = {
        key: None if status is None or counts is None else decode_overview(facts, status, counts, completed_at)
        for key, facts, status, counts, completed_at in found.rows
    }
    return overviews, sum(len(row[1]) for row in found.rows)
