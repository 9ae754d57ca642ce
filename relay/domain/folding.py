"""A folded copy of a text for comparing, and the way back to the caller's text.

Folding removes what a reader does not see or does not mind: case, accents, invisible characters, another script's
letter of the same shape. It never joins or splits words (``relay.domain.readings`` reads on from here), and it never
changes what is sent.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from unicodedata import category, normalize

from msgspec import Struct

from relay.domain.look_alikes import I_OR_L, LOOK_ALIKES

DOT_BELOW = "\u02cc"
"""Stands in a folded copy for a dot below the letter before it: Yoruba and Igbo tell words apart by it (won, wọn)."""

_COMBINING_DOT_BELOW = "\u0323"
_COMBINING_LINE_BELOW = "\u0329"
_LETTERS_WITH_LINE_BELOW = "eos"  # Yoruba is also written with a line where others set the dot

_UNSEEN = frozenset({"Mn", "Me", "Cf", "Cs", "Cc"})
_MARKS = frozenset({"Mn", "Me"})
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")

# "AirteI", "GIo": a capital I inside a word of small letters. "GIO" and "Gio" stay what they are.
_CAPITAL_I_INSIDE = re.compile(r"(?<=[a-z])I|(?<=[A-Za-z])I(?=[a-z])")


class Folded(Struct, frozen=True):
    """A folded copy. ``pieces`` has what each character of the caller's text became; ``None``: itself."""

    text: str
    caller_text: str
    pieces: Sequence[str] | None = None

    def locate(self, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Turn spans of the folded copy into spans of the caller's text.

        Args:
            spans: start and end (exclusive) in code points of ``text``; never empty ones.

        Returns:
            The same in code points of ``caller_text``; marks that sit on the last letter are inside.
        """
        if self.pieces is None or not spans:
            return list(spans)
        origins = [index for index, piece in enumerate(self.pieces) for _ in piece]
        return [(origins[start], self._end_of_letter(origins[end - 1])) for start, end in spans]

    def cut_out(self, start: int, end: int) -> str:
        """Give the caller's text at a span of the folded copy."""
        ((first, last),) = self.locate([(start, end)])
        return self.caller_text[first:last]

    def _end_of_letter(self, index: int) -> int:
        end = index + 1
        while end < len(self.caller_text) and category(self.caller_text[end]) in _MARKS:
            end += 1
        return end


def fold(text: str) -> Folded:
    """Make the folded copy.

    Example:
        >>> fold("Pr\\u00f3\\u200bMO w\\u1ecdn").text
        'promo woˌn'
    """
    if text.isascii() and not _CONTROLS.search(text):
        return Folded(_lower(text), text)
    pieces = [_fold_character(character) for character in text]
    if _COMBINING_LINE_BELOW in text:
        _keep_lines_below(text, pieces)
    return Folded(_lower("".join(pieces)), text, pieces)


def _lower(text: str) -> str:
    if "I" in text:
        text = _CAPITAL_I_INSIDE.sub(I_OR_L, text)
    # An underscore is a mark here and a letter for regular expressions. All of this keeps the length: the one
    # character whose small form is longer (capital I with a dot) was decomposed before.
    return text.replace("_", "~").lower()


@lru_cache(maxsize=16_384)
def _fold_character(character: str) -> str:
    if character in LOOK_ALIKES:
        return LOOK_ALIKES[character]
    if character in "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85":
        return " "
    decomposed = normalize("NFKD", character)
    if len(decomposed) == 3 and decomposed[0] + decomposed[2] == "()":
        decomposed = decomposed[1]  # a letter in a bracket, as one character
    return "".join(_fold_part(part) for part in decomposed)


def _fold_part(part: str) -> str:
    if part == _COMBINING_DOT_BELOW:
        return DOT_BELOW
    if category(part) in _UNSEEN:
        return ""
    if part in LOOK_ALIKES:
        return LOOK_ALIKES[part]
    if category(part) == "Lm":
        return "'"  # a mark in the line, no letter of its own: it parts no word
    # The case of ASCII letters is still needed, to tell a capital I inside a word.
    return part if part.isascii() else part.casefold()


def _keep_lines_below(text: str, pieces: list[str]) -> None:
    last = ""
    for index, character in enumerate(text):
        if character == _COMBINING_LINE_BELOW and last.lower() in _LETTERS_WITH_LINE_BELOW:
            pieces[index] = DOT_BELOW
        last = pieces[index][-1:] or last
