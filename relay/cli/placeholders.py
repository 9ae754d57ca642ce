"""``{column}`` in the text of a campaign: which columns it uses, and what in it only looks like a placeholder."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from msgspec import Struct

_BRACED = re.compile(r"\{\{[^{}]*\}\}|\{[^{}]*\}|[{}]")
_OTHER_MARKS = (
    ("<<", ">>"),
    ("[[", "]]"),
    ("«", "»"),
    ("*|", "|*"),
    ("%%", "%%"),
    ("<%", "%>"),
    ("｛", "｝"),  # noqa: RUF001 — braces of full width are what is looked for
    ("﹛", "﹜"),
    ("❴", "❵"),  # noqa: RUF001 — as above
    ("&#123;", "&#125;"),
)
"""Merge fields of other programs, which nobody writes for anything else."""
_MARKS_OF_A_HEADING = (
    *(("<", ">"), ("[", "]"), ("%", "%"), ("#", "#"), ("$", "")),
    *(("%(", ")s"), ("##", "##"), ("@@", "@@"), ("__", "__"), ("~", "~"), ("^", "^"), ("|", "|")),
)
"""The same, where a heading stands between them; with other words there they may be meant."""


class BadPlaceholder(Struct, frozen=True):
    """Something in the text that would be sent as it stands, and what to write instead."""

    written: str
    what: str
    remedy: str


def find_used(message: str, names: Sequence[str]) -> list[str]:
    """The headings that the text names, each once, in its order."""
    found = (written[1:-1] for written in _BRACED.findall(message))
    return list(dict.fromkeys(name for name in found if name in names))


def fill(message: str, cells: Mapping[str, str]) -> str:
    """Put cells in place of their ``{heading}``; what a cell holds is not looked at again."""
    return _BRACED.sub(lambda found: cells.get(found[0][1:-1], found[0]), message)


def find_bad(message: str, names: Sequence[str]) -> Iterator[BadPlaceholder]:
    """Find every brace and mark that no cell would take the place of.

    Args:
        message: the text of the campaign.
        names: the headings of the file; empty where it has none.
    """
    for written in dict.fromkeys(_BRACED.findall(message)):
        if len(written) == 1:
            what = f"a {written} without its partner stands in the text"
            yield BadPlaceholder(written, what, "Write {heading}; a brace itself can be sent from a column only.")
        elif written[1:-1] not in names:
            yield BadPlaceholder(written, f"{written} is no column of the file", _remedy(written, names))
    for begin, end in _OTHER_MARKS:
        for written in re.findall(rf"{re.escape(begin)}[^\n]{{1,60}}?{re.escape(end)}", message):
            yield BadPlaceholder(written, f"{written} would be sent as it stands", _remedy(written, names))
    for name in filter(None, names):
        for begin, end in _MARKS_OF_A_HEADING:
            mark = rf"(?<![\w{re.escape(begin)}]){re.escape(begin)}\s*{re.escape(name)}\s*"
            mark += rf"{re.escape(end)}(?!{re.escape(end)})" if end else r"(?!\w)"
            for written in re.findall(mark, message, re.IGNORECASE):
                yield BadPlaceholder(
                    written, f"{written} would be sent as it stands", f"Write {{{name}}} for the cell."
                )


def _remedy(written: str, names: Sequence[str]) -> str:
    if not any(names):
        return "The file has no headings: its first line is a number."
    meant = " ".join(re.sub(r"[^\w\s.-]", " ", written).split()).casefold()
    folded = {name.casefold(): name for name in names if name}
    close = get_close_matches(meant, folded, n=1, cutoff=0.6)
    return f"Write {{{folded[close[0]]}}}." if close else f"The columns are: {', '.join(filter(None, names))}."
