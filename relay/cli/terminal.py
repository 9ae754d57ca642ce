"""What commands print.

At a terminal: tables and colour, nothing essential cut. Anywhere else (a pipe, a file) plain whole lines: one record a
line, tab between fields, no headings, so that ``cut``, ``grep`` and ``while read`` work. ``--json`` gives one JSON
document in both. What is no part of the result goes to standard error.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Annotated, Any, TextIO

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text


class PlainConsole(Console):
    """A console that wraps no line where no terminal is, and tells of a pipe nobody reads by an exception; rich's own
    ends the program with status 1."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; a line of text stays one, unless a terminal shows it."""
        if not self.is_terminal and all(isinstance(each, str) for each in objects):
            options.setdefault("soft_wrap", True)
        super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        """Raise what rich caught."""
        raise BrokenPipeError


console = PlainConsole(highlight=False)
error_console = PlainConsole(stderr=True, highlight=False)

LONGEST_LINE = 10_000
"""Characters of a line of help where no terminal is: longer than any."""

_GAP, _PROSE = 2, 24
"""Blanks between cells, and how narrow a column of prose may become."""

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document.")]


class ExitStatus(IntEnum):
    """What the shell learns."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    UNCLEAR = 4


class CommandError(Exception):
    """A command cannot go on. ``what`` is wrong, and the ``remedy``; neither holds a secret, a number or a text."""

    def __init__(self, what: str, remedy: str, status: ExitStatus) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.status = status


def print_error(error: CommandError) -> None:
    """Print an error as one line."""
    remedy = f" [dim]{escape(error.remedy)}[/]" if error.remedy else ""
    note(f"[bold red]relay:[/] {escape(error.what)}{remedy}")


def is_terminal() -> bool:
    """Whether a person reads standard output. Not rich's own answer: CI systems set FORCE_COLOR for pipes."""
    return sys.stdout.isatty()


def say(markup: str) -> None:
    """Print a line of the result; ``markup`` is rich's, outside text is escaped by the caller."""
    if is_terminal():
        console.print(markup)
    else:
        sys.stdout.write(Text.from_markup(markup).plain + "\n")


def note(markup: str) -> None:
    """Print a line that is no part of the result to standard error; where that cannot be written, go on without."""
    try:
        error_console.print(markup, soft_wrap=True)
    except OSError:
        forget_output(sys.stderr)


def say_empty(markup: str) -> None:
    """Say that a list has no rows; beside the result where a program reads it, which would take the line for a row."""
    (say if is_terminal() else note)(markup)


def forget_output(stream: TextIO) -> None:
    """Send what is still buffered to nothing, so that the interpreter does not fail over it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def print_rows(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, styles: Mapping[str, str] | None = None
) -> None:
    """Print a table; at a terminal that is too narrow for it, a few lines for each row. No cell is broken but the last.

    Args:
        headings: shown at a terminal only.
        rows: plain text, a cell for each heading; the first one is what people copy, the last one may be prose.
        styles: styles of cells that hold just such a word.
    """
    if not is_terminal():
        # A tab or line break inside a cell would be read as one between them.
        blank = str.maketrans("\t\r\n", "   ")
        sys.stdout.writelines("\t".join(cell.translate(blank) for cell in row) + "\n" for row in rows)
        return
    widest = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    if sum(widest[:-1]) + _GAP * (len(widest) - 1) + min(widest[-1], _PROSE) > console.width:
        for row in rows:
            console.print(_packed(headings, row, styles or {}), soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=any(headings))
    for index, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", no_wrap=index < len(headings) - 1)
    for row in rows:
        table.add_row(*(Text(cell, (styles or {}).get(cell, "")) for cell in row))
    console.print(table)


def _packed(headings: Sequence[str], row: Sequence[str], styles: Mapping[str, str]) -> Text:
    """A row on as many lines as it needs: its first cell, then the others that say something, each by its heading."""
    packed, used = Text(row[0]), len(row[0])
    for heading, cell in zip(headings[1:], row[1:], strict=True):
        if not cell:
            continue
        said = Text(f"{heading} " if heading else "", "dim") + Text(cell, styles.get(cell, ""))
        if used + _GAP + len(said) > console.width:
            packed.append("\n    ")
            used = 4
        else:
            packed.append(" " * _GAP)
            used += _GAP
        packed.append_text(said)
        used += len(said)
    return packed


def print_json(value: Any) -> None:
    """Print one JSON document: indented where a person reads it, else on one line."""
    document = msgspec.json.encode(value)
    sys.stdout.write((msgspec.json.format(document, indent=2) if is_terminal() else document).decode() + "\n")


STATUS_STYLES = {
    "sent": "green",
    "rejected": "yellow",
    "unknown": "bold magenta",
    "not_sent": "red",
    "queued": "cyan",
    "in_progress": "cyan",
    "partial": "yellow",
}
"""Colours of the statuses; the words stand beside them, so that colour is never the only sign."""
