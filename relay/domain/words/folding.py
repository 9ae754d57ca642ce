"""A folded copy of a text for comparing, and the way back to the caller's text.

Folding removes what a reader does not see or ignores: case, accents, invisible characters, letters of another script
with the same shape. It never joins or splits words (that is ``relay.domain.words.readings``), and it never changes
what is sent.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from unicodedata import category, normalize

from msgspec import Struct

from relay.domain.words.look_alikes import I_OR_L, LOOK_ALIKES, REGIONAL_INDICATORS, read_name

DOT_BELOW = "\u02cc"
"""Stands in a folded copy for a dot below the letter before it: Yoruba and Igbo tell words apart by it (won, wọn)."""

_COMBINING_DOT_BELOW = "\u0323"
_COMBINING_LINE_BELOW = "\u0329"
_LETTERS_WITH_LINE_BELOW = "eos"  # Yoruba is also written with a line where others set the dot
_LETTERS_WITH_DOT_BELOW = frozenset("bdeikosu")  # Yoruba, Igbo and their neighbours; elsewhere it is decoration

_UNSEEN = frozenset({"Mn", "Me", "Cf", "Cs", "Cc"})
_MARKS = frozenset({"Mn", "Me"})
_IN_BOXES = re.compile(f"[{chr(REGIONAL_INDICATORS[0])}-{chr(REGIONAL_INDICATORS[-1])}]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")

# "AirteI", "GIo", "CaII": capital I beside small letters. "IOAN", "I0an": one that begins a word. "PRlZE": small l
# beside capitals. "GIO" stays what it is.
_I_OR_L = re.compile(r"(?<=[a-z])I++|I++(?=[a-z])|(?<!\w)I(?=\w)|(?<=[A-Z])l++|l++(?=[A-Z])")


class Folded(Struct, frozen=True):
    """A folded copy. ``pieces`` says what each character of the caller's text became; ``None``: all are unchanged."""

    text: str
    caller_text: str
    pieces: Sequence[str] | None = None

    def locate(self, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Convert spans of the folded copy to spans of the caller's text.

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
        """The caller's text at a span of the folded copy."""
        ((first, last),) = self.locate([(start, end)])
        return self.caller_text[first:last]

    def _end_of_letter(self, index: int) -> int:
        end = index + 1
        while end < len(self.caller_text) and category(self.caller_text[end]) in _MARKS:
            end += 1
        return end


def fold(text: str) -> Folded:
    """Make a folded copy.

    Example:
        >>> fold("Pr\\u00f3\\u200bMO w\\u1ecdn").text
        'promo woˌn'
    """
    if text.isascii() and not _CONTROLS.search(text):
        return Folded(_lower(text), text)
    pieces = [_fold_character(character) for character in text]
    if _COMBINING_LINE_BELOW in text:
        _keep_lines_below(text, pieces)
    if any(DOT_BELOW in piece for piece in pieces):
        _drop_other_dots_below(pieces)
    if _IN_BOXES.search(text):
        _part_boxes(text, pieces)
    return Folded(_lower("".join(pieces)), text, pieces)


def _lower(text: str) -> str:
    if "I" in text or "l" in text:
        text = _I_OR_L.sub(lambda found: I_OR_L * len(found[0]), text)
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
    if len(decomposed) == 3 and (category(decomposed[0]), category(decomposed[2])) == ("Ps", "Pe"):
        decomposed = decomposed[1]  # a letter in a bracket, as one character
    elif len(decomposed) == 2 and decomposed[1] in ".,":
        decomposed = decomposed[0]  # a digit with a full stop or comma
    return "".join(_fold_part(part) for part in decomposed)


def _fold_part(part: str) -> str:
    if part == _COMBINING_DOT_BELOW:
        return DOT_BELOW
    if category(part) in _UNSEEN:
        return ""
    if part in LOOK_ALIKES:
        return LOOK_ALIKES[part]
    if part.isascii():
        return part  # its case is still needed, to tell a capital I beside small letters
    read = read_name(part)
    if read is not None:
        return read
    if category(part) == "Lm":
        return "'"  # a mark in the line, no letter of its own: it parts no word
    return part.casefold()


def _keep_lines_below(text: str, pieces: list[str]) -> None:
    last = ""
    for index, character in enumerate(text):
        if character == _COMBINING_LINE_BELOW and last.lower() in _LETTERS_WITH_LINE_BELOW:
            pieces[index] = DOT_BELOW
        last = pieces[index][-1:] or last


def _drop_other_dots_below(pieces: list[str]) -> None:
    last = ""
    for index, piece in enumerate(pieces):
        letter, dot, _ = piece.partition(DOT_BELOW)
        last = letter[-1:] or last
        if dot and last.lower() not in _LETTERS_WITH_DOT_BELOW:
            pieces[index] = letter


def _part_boxes(text: str, pieces: list[str]) -> None:
    """Set a hyphen between letters in boxes and others: a flag parts words, and a word in parts is read joined too."""
    for boxes in _IN_BOXES.finditer(text):
        first, last = boxes.start(), boxes.end() - 1
        if "".join(pieces[:first])[-1:].isalnum():
            pieces[first] = "-" + pieces[first]
        if "".join(pieces[last + 1 :])[:1].isalnum():
            pieces[last] += "-"
