"""Which written words may stand for which other words: digits and marks for letters, stretched letters.

Two steps. In a *search form*, characters that may stand for one another become the same character, so one search finds
every candidate. Then :func:`reads_as` compares exactly, because the search form alone would take "Gio" for "glo".

Source: domain.md section 6 (digits count only in a word that also holds a letter, and the word is compared whole).
"""

import re
from itertools import groupby

from relay.domain.words.look_alikes import I_OR_L, MARK_LETTERS

_DIGIT_LETTERS = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g"}
_CLASS = {**_DIGIT_LETTERS, **MARK_LETTERS, "\u00a3": "i", "l": "i", I_OR_L: "i"}
"""Character: the one that stands in a search form for all that may be meant by it."""

_TO_CLASS = str.maketrans(_CLASS)
_TO_LETTER = str.maketrans({character: letter for character, letter in _CLASS.items() if letter != "i"})

_FEWEST_FOR_I_AND_L = 5
"""Letters of a word in which i and l may stand for each other: among shorter ones are names ("Gio") and other words."""

_DOUBLED = re.compile(r"(\w)\1+")
_TRIPLED = re.compile(r"([^\W\d_])\1\1")
_DIGITS_AFTER_LETTER = re.compile(r"([01345789])\1(?<=[^\W\d]..)")


def write_search_form(words: str) -> str:
    """Write folded words, separated by single blanks, in the form that is searched."""
    return words.translate(_TO_CLASS)


def collapse(search_form: str) -> str:
    """Reduce each run of the same letter in a search form to one letter."""
    return _DOUBLED.sub(r"\1", search_form)


def may_be_stretched(words: str) -> bool:
    """Whether some word may repeat a letter more often than its spelling does.

    Three times or more in a row: no word of the languages here is spelled so. Digits behind a letter count: "pr0m000".
    """
    return _TRIPLED.search(words) is not None or _DIGITS_AFTER_LETTER.search(words) is not None


def reads_as(written: str, word: str) -> bool:
    """Whether a folded word of a text may stand for a word of a list.

    Example:
        >>> reads_as("a1rtel", "airtel"), reads_as("g1o", "glo"), reads_as("gio", "glo"), reads_as("101", "ioi")
        (True, True, False, False)
        >>> reads_as("prlze", "prize"), reads_as("falling", "failing")
        (True, False)
        >>> reads_as("promooooo", "promo"), reads_as("promoo", "promo"), reads_as("w0n77k", "won")
        (True, False, False)
    """
    if written == word:
        return True
    is_mixed = not written.isalpha() and any(map(str.isalpha, written))
    if len(written) == len(word):
        return all(
            _stands_for(character, meant, is_mixed) or _is_swapped(written, word, index)
            for index, (character, meant) in enumerate(zip(written, word, strict=True))
        )
    return len(written) > len(word) and _is_stretched(written, word, is_mixed=is_mixed)


def _stands_for(character: str, meant: str, is_mixed: bool) -> bool:
    if character == meant:
        return True
    if character == I_OR_L:
        return meant in "il"
    # Of one class, and not two letters: i and l are of one class and different letters.
    return (
        is_mixed
        and _CLASS.get(character, character) == _CLASS.get(meant, meant)
        and not (character.isalpha() and meant.isalpha())
    )


def _is_swapped(written: str, word: str, index: int) -> bool:
    """Whether a letter is an l for an i, or the other way round ("prlze", "PAYPAI"); not beside another of the two,
    where that makes a word of its own ("falling", "failing")."""
    if len(word) < _FEWEST_FOR_I_AND_L or {written[index], word[index]} != {"i", "l"}:
        return False
    beside = written[max(index - 1, 0) : index] + written[index + 1 : index + 2]
    return not any(character in "il" for character in beside)


def _is_stretched(written: str, word: str, *, is_mixed: bool) -> bool:
    if is_mixed:
        written, word = written.translate(_TO_LETTER), word.translate(_TO_LETTER)
    written_runs, runs = _count_runs(written), _count_runs(word)
    return len(written_runs) == len(runs) and all(
        _stands_for(character, meant, is_mixed) and (count == wanted or count >= max(3, wanted))
        for (character, count), (meant, wanted) in zip(written_runs, runs, strict=True)
    )


def _count_runs(text: str) -> list[tuple[str, int]]:
    return [(character, len(list(run))) for character, run in groupby(text)]
