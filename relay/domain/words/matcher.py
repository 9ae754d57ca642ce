"""Finds the entries of word lists in a text: whole words and phrases, through disguises.

One search for all entries at once (Aho-Corasick). The readings of the text and the entries are both written as words
separated and surrounded by single blanks, so a search for substrings finds whole words only, and its cost does not
depend on the number of entries. Each match is then compared exactly.

Source: SPEC section 4; domain.md section 6.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from unicodedata import normalize

from ahocorasick_rs import AhoCorasick
from msgspec import Struct

from relay.domain.codes import MessageType
from relay.domain.notification import Hit
from relay.domain.words.disguise import collapse, may_be_stretched, reads_as, write_search_form
from relay.domain.words.entries import Action, Field, WordEntry, WordListError
from relay.domain.words.folding import fold
from relay.domain.words.look_alikes import I_OR_L
from relay.domain.words.readings import BREAK, Word, list_readings, split_entry

_SENDERS_KEPT = 1024
_LONGEST_KEPT = 32
"""Characters of a sender whose finds are kept; an honest one has eleven."""


class WordMatch(Struct, frozen=True):
    """A hit, the field in which it was found, and what the list says to do about it."""

    hit: Hit
    action: Action
    field: Field


class _Form(Struct, frozen=True, gc=False):
    """One way to write an entry, or an exception to it: folded words with single blanks between.

    ``spelling`` is set if an exception has accents, which then count: the exception "pín" does not cover "pin".
    """

    words: str
    entry: int
    is_exception: bool
    spelling: str = ""


class _Find(Struct, frozen=True, gc=False):
    """A form found in the folded text. ``is_plain``: one word, or a phrase whose words are written as in the list."""

    start: int
    end: int
    entry: int
    is_plain: bool


class WordMatcher:
    """All entries of the current lists, ready for searching. Build it off the event loop if there are many.

    Args:
        entries: in the order in which hits at the same place are reported.

    Raises:
        WordListError: an entry folds to nothing.
    """

    def __init__(self, entries: Sequence[WordEntry]) -> None:
        self._entries = tuple(entries)
        forms: dict[str, tuple[_Form, ...]] = {}
        for index, entry in enumerate(self._entries):
            for pattern, form in _list_forms(index, entry):
                forms[pattern] = (*forms.get(pattern, ()), form)
        self._forms = tuple(forms.values())
        self._automaton = AhoCorasick((f" {pattern} " for pattern in forms), store_patterns=False)
        # Not functools.cache, which would hold the matcher: replaced lists must be freed without garbage collection.
        self._of_senders: dict[tuple[object, ...], tuple[WordMatch, ...]] = {}

    @property
    def categories(self) -> frozenset[str]:
        """The categories of its entries."""
        return frozenset(entry.category for entry in self._entries)

    def find(
        self, text: str, *, field: Field, message_type: MessageType, exceptions: frozenset[str] = frozenset()
    ) -> list[WordMatch]:
        """Find the entries that a text holds.

        Args:
            text: as the caller wrote it.
            field: where the text stands; an entry applies only to the fields and message types that it names.
            message_type: of the message.
            exceptions: texts of entries that do not apply to this client; case does not matter.

        Returns:
            One for each place of each entry, by position; overlapping entries are all reported.
        """
        if field != "sender" or len(text) > _LONGEST_KEPT:
            return list(self._find(text, field, message_type, exceptions))
        # A client has few senders and uses them all day. Texts all differ, and none is kept.
        asked = (text, message_type, exceptions)
        found = self._of_senders.get(asked)
        if found is None:
            if len(self._of_senders) >= _SENDERS_KEPT:
                self._of_senders.clear()
            found = self._of_senders[asked] = self._find(text, field, message_type, exceptions)
        return list(found)

    def _find(
        self, text: str, field: Field, message_type: MessageType, exceptions: frozenset[str]
    ) -> tuple[WordMatch, ...]:
        excepted = {exception.casefold() for exception in exceptions}
        folded = fold(text)
        finds: list[_Find] = []
        innocent: dict[int, list[tuple[int, int]]] = {}
        for find, form in self._search(list_readings(folded.text), field, message_type):
            if form.is_exception:
                if not form.spelling or form.spelling == _spell(folded.cut_out(find.start, find.end)):
                    innocent.setdefault(find.entry, []).append((find.start, find.end))
            elif self._entries[find.entry].text.casefold() not in excepted:
                finds.append(find)
        if innocent:
            finds = [find for find in finds if not _lies_inside(find, innocent.get(find.entry, []))]
        finds = [find for find in finds if find.is_plain or not self._repeats(find, finds)]
        places = sorted({(find.start, find.end, find.entry) for find in finds})
        spans = folded.locate([(start, end) for start, end, _ in places])
        return tuple(
            self._report(index, start, end, field) for (_, _, index), (start, end) in zip(places, spans, strict=True)
        )

    def _search(self, readings: list[Word], field: Field, message_type: MessageType) -> Iterator[tuple[_Find, _Form]]:
        words = f" {' '.join([text for text, _, _ in readings])} "
        haystack = write_search_form(words)
        haystacks = (haystack, collapse(haystack)) if may_be_stretched(words) else (haystack,)
        plain = readings.index(BREAK) if BREAK in readings else len(readings)
        seen: set[tuple[int, int, int]] = set()
        for pattern, first in chain.from_iterable(map(self._search_form, haystacks)):
            forms = self._forms[pattern]
            last = first + forms[0].words.count(" ")
            # Most words stand in several readings; the plain one comes first.
            place = (pattern, readings[first][1], readings[last][2])
            if place in seen:
                continue
            for form in forms:
                if self._entries[form.entry].applies_to(field, message_type):
                    find = _compare(form, readings, first, last, plain)
                    if find is not None:
                        seen.add(place)
                        yield find, form

    def _search_form(self, haystack: str) -> Iterator[tuple[int, int]]:
        """Each pattern that occurs, and the index of the word it begins with."""
        word = position = 0
        for pattern, start, _ in self._automaton.find_matches_as_indexes(haystack, overlapping=True):
            # Count from the previous match, not from the beginning, so that texts with many matches stay cheap.
            if start >= position:
                word += haystack.count(" ", position, start)
            else:
                word -= haystack.count(" ", start, position)
            position = start
            yield pattern, word

    def _repeats(self, phrase: _Find, finds: list[_Find]) -> bool:
        """Whether a phrase read through a disguise ("You have W0N") only repeats a word in it that is as bad."""
        action = self._entries[phrase.entry].action
        return any(
            phrase.start <= find.start
            and find.end <= phrase.end
            and find.end - find.start < phrase.end - phrase.start
            and self._entries[find.entry].action in ("block", action)
            for find in finds
        )

    def _report(self, index: int, start: int, end: int, field: Field) -> WordMatch:
        entry = self._entries[index]
        return WordMatch(Hit(entry=entry.text, category=entry.category, start=start, end=end), entry.action, field)


def _list_forms(index: int, entry: WordEntry) -> Iterator[tuple[str, _Form]]:
    for text, is_exception in ((entry.text, False), *((exception, True) for exception in entry.exceptions)):
        words = split_entry(text)
        if not words:
            raise WordListError((f"entry[{index}]: holds no letter and no digit, so it would find nothing",))
        # A phrase is also found as one word: "clickhere", and "y o u w o n" once its letters are joined.
        for written in dict.fromkeys((" ".join(words), "".join(words))):
            spelling = _spell(text) if is_exception and not text.isascii() else ""
            form = _Form(written, index, is_exception, spelling)
            pattern = write_search_form(written)
            for search_form in dict.fromkeys((pattern, collapse(pattern))):
                yield search_form, form


def _spell(text: str) -> str:
    return " ".join(normalize("NFC", text.casefold()).split())


def _compare(form: _Form, readings: list[Word], first: int, last: int, plain: int) -> _Find | None:
    written = " ".join([text for text, _, _ in readings[first : last + 1]])
    is_exact = form.words in (written, written.replace(I_OR_L, "i"), written.replace(I_OR_L, "l"))
    if not is_exact and not all(map(reads_as, written.split(" "), form.words.split(" "))):
        return None
    return _Find(readings[first][1], readings[last][2], form.entry, first == last or (is_exact and first < plain))


def _lies_inside(find: _Find, places: list[tuple[int, int]]) -> bool:
    return any(start <= find.start and find.end <= end for start, end in places)
