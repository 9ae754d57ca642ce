"""The upstream's own list of messages, as a customer downloads it (CSV): who got what, when. Pure.

Nobody documents its form, so it is read by its headings: a number, a time, a status, in any order and beside whatever
else is there. What a row says counts only where its words are known.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from relay.domain.errors import FieldError, ValidationFailed

MOST_ROWS: Final = 10_000
_MOST_HEADINGS: Final = 100
_ZONE = ZoneInfo("Africa/Lagos")

_HEADINGS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "number": frozenset(
            ("number", "phone", "phonenumber", "mobile", "mobilenumber", "msisdn", "gsm", "recipient", "recipients")
        )
        | {"receiver", "destination", "to"},
        "date": frozenset(
            ("date", "datetime", "dateandtime", "datetimesent", "datesent", "sentat", "senton", "created", "createdat")
        )
        | {"timestamp", "submitted", "submittedat"},
        "time": frozenset(("time", "timesent")),
        "status": frozenset(("status", "state", "deliverystatus", "messagestatus", "report", "result")),
    }
)
"""Headings by what they mean, without blanks, marks and case."""

_SENT = frozenset(("1111", "0000", "0014", "sent", "dnd sent", "delivered", "message sent to provider"))
_NOT_SENT = frozenset(("2222", "3333", "rejected", "dnd rejected", "message rejected", "not sent"))
"""Not "failed": what the upstream took and a network could not deliver may be called so, and was paid for."""
_FORMATS = tuple(
    f"{day} {time}"
    for day in ("%d/%m/%Y", "%d-%m-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%d/%m/%y")
    for time in ("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
)
_NO_LETTER = re.compile(r"[^a-z]")
_SEPARATED = re.compile(r"[\s_-]+")


class ListedMessage(Struct, frozen=True):
    """A row: its line, the number as it stands there, when (milliseconds since 1970-01-01 UTC), and the status.

    ``sent``: whether its words say that the message was sent, or that it was not; ``None`` where they say neither.
    """

    line: int
    number: str
    at: int
    status: str
    sent: bool | None


class UnreadableRow(Struct, frozen=True):
    """A row without a time or a number that can be read, and why in a word."""

    line: int
    why: str


def read_message_list(text: str) -> Iterator[ListedMessage | UnreadableRow]:
    """Read a list row by row; empty rows are left out. Times without a zone are those of Lagos, the day comes first.

    Raises:
        ValidationFailed: on ``csv``: no headings that are known, or too many rows.

    Example:
        >>> [row.sent for row in read_message_list("Mobile,Date,Status\\n0803,2026-11-29 14:05,SENT")]
        [True]
    """
    first = text.lstrip("\ufeff").split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""), delimiter=delimiter)
    columns = _find_columns(next(rows, []))
    try:
        for line, row in enumerate(rows, 2):
            if line > MOST_ROWS + 1:
                raise _wrong("out_of_range", f"Give at most {MOST_ROWS:,} rows at a time: split the file by time.")
            if any(cell.strip() for cell in row):
                yield _read_row(line, row, columns)
    except csv.Error:
        raise _wrong("malformed", "This is not CSV: a quotation mark is not closed.") from None


def _find_columns(headings: list[str]) -> Mapping[str, int]:
    columns: dict[str, int] = {}
    if len(headings) > _MOST_HEADINGS:
        raise _wrong("out_of_range", f"Its first line has more than {_MOST_HEADINGS} headings.")
    for place, heading in enumerate(headings):
        plain = _NO_LETTER.sub("", heading.lower())
        for meaning, names in _HEADINGS.items():
            if plain in names:
                columns.setdefault(meaning, place)
    if "date" not in columns and "time" in columns:
        columns["date"] = columns.pop("time")
    missing = [meaning for meaning in ("number", "date", "status") if meaning not in columns]
    if missing:
        raise _wrong("required", f"Its first line needs headings for: {', '.join(missing)}.")
    return columns


def _wrong(code: str, remedy: str) -> ValidationFailed:
    return ValidationFailed([FieldError("csv", code, remedy)])


def _read_row(line: int, row: list[str], columns: Mapping[str, int]) -> ListedMessage | UnreadableRow:
    cells = {meaning: row[place].strip() if place < len(row) else "" for meaning, place in columns.items()}
    at = _read_time(" ".join(filter(None, (cells["date"], cells.get("time")))))
    if at is None:
        return UnreadableRow(line, "time")
    if not cells["number"]:
        return UnreadableRow(line, "number")
    return ListedMessage(line, cells["number"], at, cells["status"], _read_status(cells["status"]))


def _read_time(text: str) -> int | None:
    for form in (None, *_FORMATS):
        try:
            found = datetime.fromisoformat(text) if form is None else datetime.strptime(text, form)  # noqa: DTZ007 — see below
        except ValueError:
            continue
        return round((found if found.tzinfo is not None else found.replace(tzinfo=_ZONE)).timestamp() * 1000)
    return None


def _read_status(text: str) -> bool | None:
    words = _SEPARATED.sub(" ", text.strip().lower())
    if words in _NOT_SENT:
        return False
    return True if words in _SENT else None
