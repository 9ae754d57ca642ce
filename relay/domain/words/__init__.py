"""The prefilter: finds the words of the block lists in a text, through the disguises that people write them in.

``entries`` reads a list, ``folding`` and ``look_alikes`` make letters comparable, ``readings`` cuts a text into words,
``disguise`` compares one word with another, ``matcher`` searches for all entries at once. Where lists come from (files,
and their changes) is ``relay.word_lists``.
"""

from relay.domain.words.entries import WordEntry, WordListError, parse_word_list
from relay.domain.words.matcher import WordMatch, WordMatcher

__all__ = ["WordEntry", "WordListError", "WordMatch", "WordMatcher", "parse_word_list"]
