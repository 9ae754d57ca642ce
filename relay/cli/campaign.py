"""``relay send --file``: one message to every row of a CSV file, in batches, so that it can be stopped and continued.

Each row has an idempotency key made of the file, the message and the row's place. Whatever is lost on the way, the
relay's answer or this process, is asked for again with the same keys and brings no second SMS. What became of each
row stands in a file of results; rows that stand there are not asked for again.
"""

import csv
import hashlib
import io
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from relay.cli.connection import Reply, call, expect
from relay.cli.console import CommandError, ExitStatus, console

ROWS_AT_ONCE = 500
PATIENCE_SECONDS = 600.0
"""How long a relay that says "later", or nothing, is asked again without any progress."""
LONGEST_WAIT_SECONDS = 60.0

_NUMBER_COLUMNS = ("recipient", "number", "phone", "msisdn")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_LATER = (429, 503)


class Row(Struct, frozen=True):
    """A row of the file: its place (the first is 1), the number, and its text."""

    place: int
    number: str
    message: str


class Campaign(Struct, frozen=True):
    """All rows, and what they are known by."""

    id: str
    rows: tuple[Row, ...]
    repeated: int
    """Rows whose number stands in an earlier row as well."""


def read_campaign(path: Path, message: str, fields: Mapping[str, Any]) -> Campaign:
    """Read a file of recipients.

    Args:
        path: CSV in UTF-8; with a header where it names a column ``recipient`` (or number, phone, msisdn), else the
            first column has the numbers.
        message: ``{column}`` stands for what the row has in that column.
        fields: what else every notification says; part of what the campaign is known by.

    Raises:
        CommandError: the file cannot be read, or the message names a column that it does not have.
    """
    try:
        content = path.read_bytes()
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (OSError, UnicodeError, csv.Error) as failure:
        # Not the others' own words: they quote the file.
        why = failure.strerror if isinstance(failure, OSError) else "no CSV in UTF-8"
        raise CommandError(
            f"{path.name} cannot be read: {why}.", "Give a CSV file in UTF-8 with --file.", ExitStatus.USAGE
        ) from None
    lines = [line for line in lines if any(cell.strip() for cell in line)]
    names, column = _read_header(lines[0] if lines else [])
    data = lines[1:] if names else lines
    unknown = sorted(set(_PLACEHOLDER.findall(message)).difference(names))
    if unknown:
        remedy = f"The columns are: {', '.join(names) or 'none, for there is no header with a column recipient'}."
        raise CommandError(f"the message names {', '.join(unknown)}, which is no column.", remedy, ExitStatus.USAGE)
    if not data:
        raise CommandError("the file has no rows.", "Give a CSV file with one number a row.", ExitStatus.USAGE)
    rows = tuple(_read_row(place, line, names, column, message) for place, line in enumerate(data, 1))
    known_by = hashlib.sha256(content + b"\0" + msgspec.json.encode([message, dict(sorted(fields.items()))]))
    return Campaign(known_by.hexdigest()[:24], rows, len(rows) - len({row.number for row in rows}))


def _read_header(first: Sequence[str]) -> tuple[list[str], int]:
    names = [cell.strip() for cell in first]
    for column, name in enumerate(names):
        if name.lower() in _NUMBER_COLUMNS:
            return names, column
    return [], 0


def _read_row(place: int, line: Sequence[str], names: Sequence[str], column: int, message: str) -> Row:
    cells = dict(zip(names, line, strict=False))
    text = _PLACEHOLDER.sub(lambda found: cells.get(found[1], "").strip(), message) if names else message
    return Row(place, line[column].strip() if column < len(line) else "", text)


class Results:
    """What became of each row: a line of JSON a row, appended and made durable batch by batch.

    Args:
        path: made where it is not there; continued where it is of the same campaign.

    Raises:
        CommandError: it is of another campaign, or cannot be written.
    """

    def __init__(self, path: Path, campaign: Campaign) -> None:
        self._path = path
        self.accepted: set[int] = set()
        self.refused: dict[int, str] = {}
        try:
            whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""  # a torn last line is forgotten
            lines = [msgspec.json.decode(line) for line in whole.splitlines()]
            if lines and lines[0].get("campaign") != campaign.id:
                remedy = "Undo the change to file, message or options; or name another --results for a new campaign."
                raise CommandError(f"{path} is of another campaign.", remedy, ExitStatus.USAGE)
            for line in lines[1:]:
                self._take(line)
            self._file: BinaryIO = path.open("r+b" if path.exists() else "w+b")
            self._file.truncate(len(whole) + 1 if whole else 0)
            self._file.seek(0, os.SEEK_END)
            if not whole:
                self._write([{"campaign": campaign.id, "rows": len(campaign.rows)}])
        except (OSError, msgspec.DecodeError, AttributeError, KeyError):
            remedy = "Name a file that can be written, by --results."
            raise CommandError(f"{path} cannot be used for the results.", remedy, ExitStatus.USAGE) from None

    @property
    def done(self) -> int:
        """Rows that need no further request."""
        return len(self.accepted) + len(self.refused)

    def holds(self, row: Row) -> bool:
        """Whether a row has its result."""
        return row.place in self.accepted or row.place in self.refused

    def add(self, lines: Sequence[dict[str, Any]]) -> None:
        """Keep the results of a batch."""
        for line in lines:
            self._take(line)
        self._write(lines)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take(self, line: Mapping[str, Any]) -> None:
        if "id" in line:
            self.accepted.add(line["row"])
        else:
            self.refused[line["row"]] = line["problem"]

    def _write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        self._file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        self._file.flush()
        os.fsync(self._file.fileno())


def run_campaign(campaign: Campaign, results: Results, fields: Mapping[str, Any], url: str, key: str) -> int:
    """Ask for every row that has no result yet.

    Returns:
        The exit status.
    """
    if campaign.repeated:
        console.print(f"[yellow]{campaign.repeated} row(s) repeat a number[/]: each row is a message of its own")
    if results.done:
        console.print(f"{results.done} of {len(campaign.rows)} rows have their result already")
    with _progress() as progress:
        task = progress.add_task("rows", total=len(campaign.rows), completed=results.done)
        for batch in _batches([row for row in campaign.rows if not results.holds(row)]):
            _send_batch(campaign, batch, results, fields, url, key)
            progress.update(task, completed=results.done)
    console.print(f"{len(results.accepted)} accepted, {len(results.refused)} refused")
    for code in sorted(set(results.refused.values())):
        places = [place for place, said in sorted(results.refused.items()) if said == code]
        console.print(f"  [red]{code}[/]: {len(places)} row(s), the first is row {places[0]}")
    return ExitStatus.REFUSED if results.refused else ExitStatus.DONE


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[begin : begin + ROWS_AT_ONCE]


def _send_batch(
    campaign: Campaign, batch: Sequence[Row], results: Results, fields: Mapping[str, Any], url: str, key: str
) -> None:
    """Ask until every row of a batch has its result; rows are asked for again only with their own keys."""
    waiting, give_up = list(batch), time.monotonic() + PATIENCE_SECONDS
    while waiting:
        body = [
            {
                **fields,
                "recipients": [row.number],
                "message": row.message,
                "idempotency_key": f"{campaign.id}-{row.place}",
            }
            for row in waiting
        ]
        reply = _ask(body, url, key)
        lines = _read_items(waiting, reply)
        results.add(lines)
        waiting = [row for row in waiting if not results.holds(row)]
        if lines:
            give_up = time.monotonic() + PATIENCE_SECONDS
        elif time.monotonic() >= give_up:
            remedy = f"The same command continues: {results.done} of {len(campaign.rows)} rows have their result."
            raise CommandError("the relay takes nothing more for now.", remedy, ExitStatus.UNREACHABLE)
        if waiting:
            time.sleep(min(max(reply.retry_after if reply is not None else 1.0, 0.5), LONGEST_WAIT_SECONDS))


def _ask(body: list[dict[str, Any]], url: str, key: str) -> Reply | None:
    """One request; ``None`` where no answer came: the keys make it safe to ask again."""
    try:
        reply = call("POST", url, "/v1/notifications/batch", key, json=body)
    except CommandError as failure:
        if failure.status in (ExitStatus.UNREACHABLE, ExitStatus.UNCLEAR):
            return None
        raise
    if reply.status not in (*_LATER, 202) and not (isinstance(reply.body, dict) and "items" in reply.body):
        expect(reply)
    return reply


def _read_items(waiting: Sequence[Row], reply: Reply | None) -> list[dict[str, Any]]:
    if reply is None or "items" not in reply.body:
        return []
    lines = []
    for item in reply.body["items"]:
        row, problem = waiting[item["index"]], item.get("problem")
        if problem is None:
            lines.append({"row": row.place, "id": item["id"]})
        elif problem["status"] not in _LATER:
            lines.append({"row": row.place, "problem": problem["code"]})
    return lines
