"""A file of recipients, judged as a whole before anything is sent.

What is wrong is collected with line, column and remedy. A file is taken only where it can mean one thing: cells divided
as RFC 4180 says, one heading that names the number, and something in every cell that the text uses. Nothing is guessed,
because a wrong guess sends one person's words to another.

Errors name lines and headings, never what a cell holds.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from relay.cli.cells import find_wrong_cell, find_wrong_number
from relay.cli.placeholders import fill, find_bad, find_used
from relay.cli.records import LINE_END, SheetError, SheetLine, SheetMistake, decode, scan
from relay.cli.terminal import CommandError
from relay.domain.codes import NumberReason
from relay.domain.numbers import parse_number

LARGEST_BYTES = 256 * 1024 * 1024
LONGEST_TEXT = 1_530
"""Characters in ten segments of GSM-7 (ten times 153): no text that is longer can be sent."""

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_NUMBER_HEADINGS = frozenset(
    (
        *("recipient", "recipients", "recipient number", "number", "msisdn", "gsm", "gsm number", "cell phone"),
        *("phone", "phone no", "phone number", "telephone", "telephone number"),
        *("mobile", "mobile no", "mobile number", "mobile phone"),
    )
)
_DIGITS = re.compile(r"\+?\d(?:[ .()-]*\d){6,}")
"""What a phone number looks like, with what people put between its digits."""
_MOST_MISTAKES = 10_000


class Row(Struct, frozen=True):
    """A message of the file: which row of the data it is (the first is 1), its line, the number, its text, and when it
    is to be sent where a column says so."""

    place: int
    line: int
    number: str
    message: str
    when: dict[str, Any] = {}
    """Fields of the request."""


class TimeColumn(Struct, frozen=True):
    """A column that says when its row is to be sent.

    ``read`` makes a request's field of a cell that is not empty; it raises ``CommandError`` where the cell is none.
    """

    field: str
    option: str
    heading: str
    read: Callable[[str], Any]


def read_rows(
    content: bytes,
    message: str,
    *,
    delimiter: str = ",",
    number_column: str | None = None,
    time_columns: Sequence[TimeColumn] = (),
    allow_empty: bool = False,
) -> list[Row]:
    """Read and judge a file.

    Args:
        content: CSV in UTF-8. Its first line has headings, unless it begins with a number: then it is a list of
            numbers, and the text can use no column.
        message: ``{heading}`` stands for what a row has there.
        delimiter: one of :data:`DELIMITERS`.
        number_column: the heading of the numbers, where it is none of the usual ones.
        time_columns: those that say when; an empty cell leaves that to what holds for all rows.
        allow_empty: whether cells that the text uses may be empty.

    Raises:
        SheetError: with everything that is wrong.
    """
    text = decode(content)
    records, mistakes = scan(text, delimiter)
    records = [record for record in records if not record.is_blank]
    if not records:
        raise SheetError(mistakes or [SheetMistake(1, 0, "", "the file has no rows", "Give one number a line.")])
    if mistakes and mistakes[0].line < records[0].lines[0]:
        raise SheetError(mistakes)  # the line of the headings is broken, and with it what all others mean
    judge = _SheetReader(message, allow_empty=allow_empty)
    judge.mistakes += mistakes
    judge.read_headings(records, delimiter, number_column)
    judge.find_time_columns(time_columns, records[0].lines[0])
    data = records[1:] if judge.names else records
    if not data and not mistakes:
        judge.mistakes.append(
            SheetMistake(1, 0, "", "the file has no rows below its headings", "Give one number a line.")
        )
    rows = [row for place, record in enumerate(data, 1) if (row := judge.read(place, record)) is not None]
    if judge.mistakes:
        raise SheetError(judge.mistakes)
    return rows


def _clean(heading: str) -> str:
    visible = "".join(character for character in heading if unicodedata.category(character) != "Cf")
    return " ".join(unicodedata.normalize("NFC", visible).split())


def _is_number_heading(name: str) -> bool:
    return " ".join(re.sub(r"[\W_]+", " ", name.casefold()).split()) in _NUMBER_HEADINGS


def _is_number(cell: str) -> bool:
    """Whether a cell without letters holds a phone number, or what should be one."""
    return not any(character.isalpha() for character in cell) and any(character.isdigit() for character in cell)


def _holds_number(text: str) -> bool:
    """Whether somebody's phone number stands in a text."""
    return any(not isinstance(parse_number(found), NumberReason) for found in _DIGITS.findall(text))


class _SheetReader:
    """Knows the headings and the text; collects what is wrong with them and with each row."""

    def __init__(self, message: str, *, allow_empty: bool) -> None:
        self.mistakes: list[SheetMistake] = []
        self.names: list[str] = []
        self._message = message
        self._allow_empty = allow_empty
        self._number = 0
        self._used: dict[str, int] = {}
        self._times: list[tuple[int, TimeColumn]] = []

    def read_headings(self, records: Sequence[SheetLine], delimiter: str, number_column: str | None) -> None:
        """Find which column is what.

        Raises:
            SheetError: nothing tells where the numbers are.
        """
        first = records[0]
        line, names = first.lines[0], [_clean(cell) for cell in first.cells]
        if number_column is None and _is_number(names[0]):
            for bad in find_bad(self._message, []):
                self.mistakes.append(SheetMistake(0, 0, "", bad.what, bad.remedy))
            return
        if number_column is None:
            numbers = [index for index, name in enumerate(names) if _is_number_heading(name)]
        else:
            wanted = _clean(number_column).casefold()
            numbers = [index for index, name in enumerate(names) if name.casefold() == wanted]
        if len(numbers) != 1:
            raise SheetError([*self.mistakes, _no_number(first, delimiter, number_column, numbers)])
        while names and not names[-1] and len(names) - 1 > numbers[0]:
            names.pop()  # columns that somebody once touched
        self.names, self._number = names, numbers[0]
        for bad in find_bad(self._message, names):
            self.mistakes.append(SheetMistake(0, 0, "", bad.what, bad.remedy))
        for name in find_used(self._message, names):
            places = [index for index, other in enumerate(names) if other.casefold() == name.casefold()]
            self._used[name] = places[0]
            if len(places) > 1:
                what = f"is called {name}, as column {places[0] + 1} is: the text names both"
                self.mistakes.append(
                    SheetMistake(line, places[1] + 1, "", what, "Give each column a heading of its own.")
                )

    def find_time_columns(self, columns: Sequence[TimeColumn], line: int) -> None:
        """Find the columns that say when."""
        for column in columns:
            wanted = _clean(column.heading).casefold()
            places = [index for index, name in enumerate(self.names) if name.casefold() == wanted]
            if len(places) == 1:
                self._times.append((places[0], column))
            else:
                what = f"{'several headings are' if places else 'no heading is'} the one of --{column.option}"
                self.mistakes.append(SheetMistake(line, 0, "", what, "Write it as in the file, where it stands once."))

    def _read_times(self, record: SheetLine) -> dict[str, Any]:
        when: dict[str, Any] = {}
        for index, column in self._times:
            cell = record.cells[index].strip() if index < len(record.cells) else ""
            try:
                when |= {column.field: column.read(cell)} if cell else {}
            except CommandError as failure:
                line = record.lines[index]
                what = "the cell is not what the column is for"
                self.mistakes.append(SheetMistake(line, index + 1, self.names[index], what, failure.remedy))
        return when

    def read(self, place: int, record: SheetLine) -> Row | None:
        """Judge a row; ``None`` where something is wrong with it."""
        if len(self.mistakes) >= _MOST_MISTAKES:
            return None
        wrong = list(self._find_wrong(record))
        self.mistakes += wrong
        if wrong:
            return None
        cells = (*record.cells, *[""] * len(self.names))  # a row may be short where cells may be empty
        text = fill(self._message, {name: cells[index].strip() for name, index in self._used.items()})
        if len(text) > LONGEST_TEXT:
            what = f"the text has {len(text):,} characters here"
            self.mistakes.append(
                SheetMistake(record.lines[0], 0, "", what, f"Shorten it: {LONGEST_TEXT:,} can be sent.")
            )
            return None
        return Row(place, record.lines[0], record.cells[self._number].strip(), text, self._read_times(record))

    def _find_wrong(self, record: SheetLine) -> Iterator[SheetMistake]:
        line, width = record.lines[0], len(self.names)
        if not width:
            yield from self._find_wrong_in_list(record)
        elif [_clean(cell).casefold() for cell in record.cells[:width]] == [name.casefold() for name in self.names]:
            yield SheetMistake(line, 0, "", "the headings stand here again", "Take this line out.")
        elif any(cell.strip() for cell in record.cells[width:]):
            headings = "is 1 heading" if width == 1 else f"are {width} headings"
            what = f"the line has {len(record.cells)} cells, and there {headings}"
            yield SheetMistake(line, 0, "", what, "Put a cell that holds the delimiter in quotes.")
        elif missing := self._find_missing(len(record.cells)):
            what = f"the line has {len(record.cells)} of {width} cells; {', '.join(missing)} would be empty"
            yield SheetMistake(line, 0, "", what, "Write all of them, or give --allow-empty.")
        else:
            yield from self._find_wrong_cells(record)

    def _find_missing(self, cells: int) -> list[str]:
        """The columns that are needed and that a line of so many cells does not reach. Spreadsheets leave off what is
        empty at the end of a line."""
        needed = {self._number} | (set() if self._allow_empty else set(self._used.values()))
        return [self.names[index] for index in sorted(needed) if index >= cells]

    def _find_wrong_in_list(self, record: SheetLine) -> Iterator[SheetMistake]:
        first, *others = record.cells
        wrong = find_wrong_number(first) or find_wrong_cell(first)
        if wrong is not None:
            yield SheetMistake(record.lines[0], 1, "", *wrong)
        elif any(other in first for other in DELIMITERS) or any(map(_holds_number, others)):
            what = "another number stands in the line, which would get nothing"
            yield SheetMistake(record.lines[0], 0, "", what, "Write one number a line, or headings in the first line.")

    def _find_wrong_cells(self, record: SheetLine) -> Iterator[SheetMistake]:
        used = {self._number, *self._used.values()}
        for index, (cell, line) in enumerate(zip(record.cells, record.lines, strict=True)):
            heading = self.names[index] if index < len(self.names) else ""
            if index in used:
                may_be_empty = self._allow_empty and index != self._number
                wrong = None if may_be_empty and not cell.strip() else find_wrong_cell(cell)
                if index == self._number:
                    wrong = find_wrong_number(cell) or wrong
                if wrong is not None:
                    yield SheetMistake(line, index + 1, heading, *wrong)
            elif any(map(_holds_number, LINE_END.split(cell)[1:])):
                what = "a quote opens here, and a number stands in a later line of the cell"
                yield SheetMistake(line, index + 1, heading, what, "Close the quote where the cell ends.")


def _no_number(first: SheetLine, delimiter: str, number_column: str | None, found: Sequence[int]) -> SheetMistake:
    line = first.lines[0]
    if len(found) > 1:
        columns = ", ".join(str(index + 1) for index in found)
        remedy = "Rename all but one of them" + (", or give --number-column." if number_column is None else ".")
        return SheetMistake(line, 0, "", f"columns {columns} could all be the numbers", remedy)
    text = delimiter.join(first.cells)
    if len(first.cells) == 1 and any(map(_is_number_heading, text.split(delimiter)[1:] and text.split(delimiter))):
        remedy = "Export the file anew, with quotes around single cells only."
        return SheetMistake(line, 0, "", "the whole line stands in quotes, as one cell", remedy)
    for other, name in DELIMITERS.items():
        cells = text.split(other)
        if other != delimiter and len(cells) > 1 and (any(map(_is_number_heading, cells)) or _is_number(cells[0])):
            given = "tab" if other == "\t" else other
            remedy = f"Give --delimiter '{given}', or save the file with {DELIMITERS[delimiter]}."
            return SheetMistake(line, 0, "", f"the cells are divided by {name}, not by {DELIMITERS[delimiter]}", remedy)
    if number_column is not None:
        return SheetMistake(line, 0, "", "no heading is the one that --number-column names", "Write it as in the file.")
    remedy = "Call it recipient, number, phone, mobile or msisdn, or give --number-column HEADING."
    return SheetMistake(line, 0, "", "no heading names the column of the numbers", remedy)


def normalize(number: str) -> str:
    """A number in the one form that stands for all its spellings; as it is where it is no number."""
    parsed = parse_number(number, allow_foreign=True)
    return number if isinstance(parsed, NumberReason) else parsed
