"""The ways in which a folded text can be read as words.

First come its plain words. If letters are separated (``w.o.n``, ``M T N``), a word is split by a mark (``pro-mo``), or
a mark stands for a letter (``c@sh``), the text is read in that way too. Whole words separated by blanks are never
joined: "now in stock" does not contain "win".

Source: domain.md section 6, matching advice and what users try.
"""

import re
from collections.abc import Iterable, Iterator

from relay.domain.words.folding import DOT_BELOW, fold
from relay.domain.words.look_alikes import I_OR_L, MARK_LETTERS

Word = tuple[str, int, int]
"""What is read, and its span in the folded text. A break between phrases has an empty span."""

BREAK: Word = (".", 0, 0)

# A phrase runs on over blanks, line breaks, quotes and marks without a blank, but not over the end of a clause:
# "Safety first. Bank with us" is not "first bank". Dots in a row are no such end.
_BREAKS = r"[,;:!?]++(?!\w)|(?<!\.)\.(?![\w.])|[\u2013\u2014]|(?<=\s)-++(?=\s)"
_WORDS = re.compile(rf"\w++(?:['`]\w++)*|{_BREAKS}")

# One letter alone, and what may stand between such letters: blanks, or up to three marks without a blank.
_SINGLE = rf"(?<!\w)[^\W{DOT_BELOW}]{DOT_BELOW}?(?!\w)"
_GAP = r"(?:\s++|[^\w\s]{1,3})"
_SPELLED = re.compile(rf"{_SINGLE}(?:{_GAP}{_SINGLE}){{2,}}")
_GAPS = re.compile(rf"({_GAP})")
_TWO_SINGLES = re.compile(rf" \w{DOT_BELOW}? [^ ]{DOT_BELOW}? ")  # cheap, and rarely there

# Parts of a word with the same mark between them. No slash and no comma: "w/in" and "so,on" are no such words.
# The search begins at a mark, which is fast; the word begins before it.
_CUT = re.compile(r"(?P<mark>[-.*~+\u00b7\u2022\u2013\u2014])(?<=\w.)\w++(?:(?P=mark)\w++)*")

_INNER_MARK = f"[{re.escape(''.join(MARK_LETTERS))}]"
# At the end an exclamation mark is one, and so are the signs of trade names; a bar may be a letter wherever it stands,
# and so may a sign of money.
_LAST_MARK = r"[$|\u00a2\u00a3\u00a5\u20a0-\u20bf]"
_MARKED = re.compile(
    rf"(?<!\w)(?:{_INNER_MARK}{{1,2}}\w++(?:{_INNER_MARK}{{1,2}}\w++)*+{_LAST_MARK}{{0,2}}"
    rf"|\w++(?:(?:{_INNER_MARK}{{1,2}}\w++)++{_LAST_MARK}{{0,2}}|{_LAST_MARK}{{1,2}}))"
)
_ANY_MARK = re.compile(_INNER_MARK)
# "MTN'NG" is two words; "won't", "MTN's" and "n'oge" are one.
_QUOTED = re.compile(r"(?<!\w)(\w{3,}+)'(?!(?:ll|re|ve)(?!\w))(\w{2,}+)")

_TO_LETTERS = str.maketrans({**MARK_LETTERS, I_OR_L: "i"})
_LETTER = re.compile(r"[^\W\d_]")

# Words of one letter that may stand before or behind spelled letters: "a M T N", "U W I N 4 U", "w o n a car".
_LEADING_WORDS = frozenset("aiud")
_TRAILING_WORDS = frozenset("au")
_FEWEST_LETTERS = 3


def split_words(folded: str) -> list[Word]:
    """Read a folded text plainly: its words in order, with breaks between clauses.

    An apostrophe does not separate words, and is left out.
    """
    words = [(match[0], match.start(), match.end()) for match in _WORDS.finditer(folded)]
    if "'" in folded or "`" in folded:
        return [(text.replace("'", "").replace("`", ""), start, end) for text, start, end in words]
    return words


def split_entry(text: str) -> list[str]:
    """Read an entry of a list: its folded words, with a mark inside a word read as the letter that it stands for.

    Example:
        >>> split_entry("You\\nhave WON!"), split_entry("$ex"), split_entry("***")
        (['you', 'have', 'won'], ['sex'], [])
    """
    folded = fold(text).text
    words = _put_in(split_words(folded), _read_marked(folded))
    return [word.translate(_TO_LETTERS) for word, _, _ in words if any(map(str.isalnum, word))]


def list_readings(folded: str) -> list[Word]:
    """Read a folded text in every sensible way.

    Returns:
        The plain words, then every other reading, with breaks in between so that no phrase spans two readings.
    """
    plain = split_words(folded)
    spelled = list(_read_spelled(folded, plain))
    others = [*spelled, *_read_cut(folded, plain), *_read_marked(folded), *_read_quoted(folded)]
    if not others:
        return plain
    # Phrases run over mixed readings ("you have w o n a car", "send-your p-i-n"). Where readings overlap, a text is
    # read with the shorter ones, then with the longer ones; what is in neither stands alone.
    readings = [*plain, BREAK]
    read: list[list[Word]] = [[]]
    for words, longest_first in ((spelled, False), (others, False), (others, True)):
        chosen = _choose_disjoint(words, longest_first=longest_first)
        if chosen not in read:
            read.append(chosen)
            readings += [*_put_in(plain, chosen), BREAK]
    for word in set(others).difference(*read):
        readings += [word, BREAK]
    return readings


def _choose_disjoint(words: list[Word], *, longest_first: bool) -> list[Word]:
    """Of overlapping words, keep the longest or the shortest, in order of position."""
    chosen: list[Word] = []
    taken = bytearray(max((end for _, _, end in words), default=0))
    for word in sorted(words, key=lambda word: word[2] - word[1], reverse=longest_first):
        _, start, end = word
        if not any(taken[start:end]):
            taken[start:end] = b"\x01" * (end - start)
            chosen.append(word)
    return sorted(chosen, key=lambda word: word[1])


def _put_in(plain: Iterable[Word], others: Iterable[Word]) -> Iterator[Word]:
    """The plain words, with others in place of those that they overlap."""
    pending = iter(others)
    other = next(pending, None)
    covered = 0
    for word in plain:
        while other is not None and other[1] < word[2]:
            yield other
            covered = other[2]
            other = next(pending, None)
        if word[1] >= covered:
            yield word


def _read_spelled(folded: str, plain: list[Word]) -> Iterator[Word]:
    if not _TWO_SINGLES.search(f" {' '.join([text for text, _, _ in plain])} "):
        return
    for match in _SPELLED.finditer(folded):
        parts = _GAPS.split(match[0])
        letters: list[Word] = []
        position = match.start()
        for part in parts:
            letters.append((part, position, position + len(part)))
            position += len(part)
        gaps = parts[1::2]
        letters = letters[::2]
        yield from _join_letters(letters)
        if len(set(gaps)) > 1:
            for segment in _split_where_gaps_change(letters, gaps):
                yield from _join_letters(segment)


def _split_where_gaps_change(letters: list[Word], gaps: list[str]) -> Iterator[list[Word]]:
    start = 0
    for index in range(1, len(gaps) + 1):
        if index == len(gaps) or gaps[index] != gaps[index - 1]:
            yield letters[start : index + 1]
            start = index


def _join_letters(letters: list[Word]) -> Iterator[Word]:
    """Spelled-out letters as one word; also without digits or a one-letter word at either end."""
    texts = [text for text, _, _ in letters]
    if all(map(str.isdigit, texts)):
        return
    for start in _count_droppable(texts, _LEADING_WORDS):
        for dropped in _count_droppable(texts[::-1], _TRAILING_WORDS):
            end = len(texts) - dropped
            if end - start >= _FEWEST_LETTERS:
                yield "".join(texts[start:end]), letters[start][1], letters[end - 1][2]


def _count_droppable(texts: list[str], words: frozenset[str]) -> list[int]:
    """How many letters may be left out at the beginning: none, the digits, a one-letter word, digits behind it."""
    counts = [0, _skip_digits(texts, 0)]
    if counts[1] < len(texts) and texts[counts[1]] in words:
        counts += [counts[1] + 1, _skip_digits(texts, counts[1] + 1)]
    return sorted(set(counts))


def _skip_digits(texts: list[str], index: int) -> int:
    while index < len(texts) and texts[index].isdigit():
        index += 1
    return index


def _read_cut(folded: str, plain: list[Word]) -> Iterator[Word]:
    words_by_end: dict[int, Word] = {}
    for match in _CUT.finditer(folded):
        words_by_end = words_by_end or {word[2]: word for word in plain}
        first, start, _ = words_by_end.get(match.start(), BREAK)
        text = first + match[0].replace(match["mark"], "")
        if len(text) >= _FEWEST_LETTERS and first != BREAK[0] and _LETTER.search(text):
            yield text, start, match.end()


def _read_marked(folded: str) -> Iterator[Word]:
    if _ANY_MARK.search(folded):
        for match in _MARKED.finditer(folded):
            if _LETTER.search(match[0]):
                yield match[0], match.start(), match.end()


def _read_quoted(folded: str) -> Iterator[Word]:
    if "'" in folded:
        for match in _QUOTED.finditer(folded):
            yield match[1], *match.span(1)
            yield match[2], *match.span(2)
