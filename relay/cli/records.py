"""From a file's bytes to its records: UTF-8 and RFC 4180, strictly, with a place for everything that is neither.

Python's own reader says neither where a quote was left open nor that one stands where none may.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

LINE_END = re.compile(r"\r\n|\r|\n")
_MOST_MISTAKES = 10_000

_OTHER_FILES = (
    ((b"pk\x03\x04", b"\xd0\xcf\x11\xe0"), "a workbook"),
    ((b"\x1f\x8b", b"rar!", b"7z\xbc\xaf"), "packed"),
    ((b"%pdf-", b"{\\rtf"), "a document"),
    ((b"<!doctype html", b"<html", b"<table", b"<?xml", b"<meta"), "a web page, as some programs export workbooks"),
    ((b"[{", b'{"'), "JSON"),
    ((b"begin:vcard",), "an address book"),
)
_LONGEST_BEGINNING = 64


class SheetMistake(Struct, frozen=True, order=True):
    """Something that is wrong with a file. ``line`` 0: with the text; ``column`` 0: with the whole line."""

    line: int
    column: int
    heading: str
    what: str
    remedy: str

    @property
    def place(self) -> str:
        """Where in the file, in words."""
        heading = f" ({self.heading})" if self.heading else ""
        return f"line {self.line}" + (f", column {self.column}{heading}" if self.column else "")


class SheetError(Exception):
    """The file cannot be used; ``mistakes`` are all that were found, by line."""

    def __init__(self, mistakes: Sequence[SheetMistake]) -> None:
        super().__init__(f"{len(mistakes)} mistakes")
        self.mistakes = sorted(mistakes)


class SheetLine(Struct, frozen=True):
    """The cells between two line ends, and the line in which each begins."""

    cells: tuple[str, ...]
    lines: tuple[int, ...]

    @property
    def is_blank(self) -> bool:
        """Whether no cell holds anything."""
        return not any(cell.strip() for cell in self.cells)


def decode(content: bytes) -> str:
    """The text of a file.

    Raises:
        SheetError: it is none in UTF-8.
    """
    save = "Save it as “CSV UTF-8”."

    def refuse(line: int, what: str, remedy: str = save) -> SheetError:
        return SheetError([SheetMistake(line, 0, "", what, remedy)])

    for beginning, kind in _OTHER_FILES:
        if content[:_LONGEST_BEGINNING].removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(beginning):
            raise refuse(1, f"the file is {kind}, no CSV")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:4]:
        raise refuse(1, "the file is in UTF-16, which spreadsheets call Unicode text")
    if b"\0" in content:
        line = _count_lines(content[: content.index(b"\0")].decode("latin-1")) + 1
        raise refuse(line, "a NUL byte stands in the file: it is damaged, or no text")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        before = content[: failure.start].decode("latin-1")
        what = f"byte {failure.start - max(before.rfind(chr(10)), before.rfind(chr(13)))} of the line is not UTF-8"
        raise refuse(_count_lines(before) + 1, f"{what}: the file is in another encoding, as Windows-1252") from None
    if text.startswith("\u00ef\u00bb\u00bf"):
        raise refuse(1, "letters were garbled when the file was saved: UTF-8 was read as Windows-1252")
    first = LINE_END.split(text, maxsplit=1)[0].strip().strip('"').lower()
    if re.fullmatch(r"sep=.?", first):
        raise refuse(1, "is Excel's sep= line, no heading", "Take this line out.")
    return text


def _count_lines(text: str) -> int:
    return len(LINE_END.findall(text))


@lru_cache
def _cell_pattern(delimiter: str) -> re.Pattern[str]:
    end = re.escape(delimiter)
    return re.compile(rf'(?:"([^"]*+(?:""[^"]*+)*+)"|([^"{end}\r\n]*+))({end}|\r\n|\r|\n|\Z)')


def scan(text: str, delimiter: str) -> tuple[list[SheetLine], list[SheetMistake]]:
    """Take a file apart as RFC 4180 says; after a line that is broken, go on with the next one.

    Returns:
        The records, and where quotes are wrong.
    """
    pattern = _cell_pattern(delimiter)
    records, mistakes = list[SheetLine](), list[SheetMistake]()
    position, line = 0, 1
    cells, lines = list[str](), list[int]()
    while position < len(text):
        found = pattern.match(text, position)
        if found is None:
            if len(mistakes) < _MOST_MISTAKES:
                mistakes.append(_broken_quote(text[position] == '"', line, len(cells) + 1))
            end = LINE_END.search(text, position)
            position, line = (end.end() if end else len(text)), line + 1
            cells, lines = [], []
            continue
        quoted, bare, end_of_cell = found.groups()
        cells.append(bare if quoted is None else quoted.replace('""', '"'))
        lines.append(line)
        if quoted is not None:
            line += _count_lines(quoted)
        position = found.end()
        if end_of_cell != delimiter:
            records.append(SheetLine(tuple(cells), tuple(lines)))
            cells, lines, line = [], [], line + 1
    if cells:  # the file ends with a delimiter
        records.append(SheetLine((*cells, ""), (*lines, line)))
    return records, mistakes


def _broken_quote(opens: bool, line: int, column: int) -> SheetMistake:
    if opens:
        what = "the quote that opens this cell is not closed at the end of the cell"
        return SheetMistake(
            line, column, "", what, 'Close it, or take it out; a quote inside a quoted cell is written "".'
        )
    what = "a quote stands inside a cell that does not begin with one"
    return SheetMistake(line, column, "", what, 'Take it out, or put the cell in quotes and write "" for the quote.')
