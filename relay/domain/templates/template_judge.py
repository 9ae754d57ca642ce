"""A file of templates: what it may hold, and how each is judged before it is taken."""

import re
import tomllib
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field

from relay.checking import TOML, Checker, clean_name
from relay.domain.codes import Encoding, MessageType, OnNonGsm
from relay.domain.templates.book import MessageTemplate, TemplateError
from relay.domain.templates.wording import Wording, WordingError
from relay.domain.text import MOST_SEGMENTS, SegmentCount, count_segments, find_forbidden_character, prepare_text
from relay.domain.words import WordMatcher

LONGEST_VALUE = 1_600

_NAME = r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"
_VALUE_NAME = r"\A[A-Za-z_][A-Za-z0-9_]{0,63}\Z"
_LANGUAGE = r"\A[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*\Z"

_WIDEST_GSM, _WIDEST = "\u20ac", "\U0001f600"
"""One character that takes as much room as one can: two septets, two UTF-16 units."""


class _Listed(Struct, frozen=True, kw_only=True):
    """A template as a file has it."""

    name: Annotated[str, Meta(pattern=_NAME)]
    version: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    message_type: MessageType = MessageType.TRANSACTIONAL
    max_segments: Annotated[int, Meta(ge=1, le=MOST_SEGMENTS)] | None = None
    unicode: bool = False
    values: dict[str, Annotated[int, Meta(ge=1, le=LONGEST_VALUE)]] = field(default_factory=dict)
    text: Annotated[dict[str, str], Meta(max_length=50)]


class _File(Struct):
    """A file of templates."""

    template: Annotated[tuple[_Listed, ...], Meta(min_length=1)]


def parse_templates(source: str, matcher: WordMatcher) -> list[MessageTemplate]:
    """Read and judge a file.

    Args:
        source: TOML with any number of ``[[template]]`` tables (SPEC section 14).
        matcher: the word lists in force; a text that one of them blocks is refused.

    Returns:
        The templates in order; at least one.

    Raises:
        TemplateError: with every error of the file, each with its place, as ``template[3].text.en …``.
    """
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise TemplateError((f"is not TOML: {error}",)) from None
    checker = Checker(TOML)
    found = checker.check(msgspec.inspect.type_info(_File), document, "")
    errors = [str(mistake) for mistake in checker.mistakes]
    if errors:
        raise TemplateError(tuple(errors))
    templates: list[MessageTemplate] = []
    for index, listed in enumerate(msgspec.convert(found, _File).template):
        judged = _TemplateJudge(listed, f"template[{index}]", matcher)
        errors += judged.errors
        if not judged.errors:
            templates.append(judged.finish())
    if errors:
        raise TemplateError(tuple(errors))
    return templates


class _TemplateJudge:
    """One template on its way through the rules; ``errors`` is all that is wrong with it."""

    def __init__(self, listed: _Listed, place: str, matcher: WordMatcher) -> None:
        self._listed = listed
        self._place = place
        self._matcher = matcher
        self._segments = 1
        self._texts: dict[str, Wording] = {}
        self.errors: list[str] = []
        self._judge_names()
        for language, source in listed.text.items():
            for what in self._judge_text(language, source):
                self.errors.append(f"{place}.text.{clean_name(language)} {what}")

    def finish(self) -> MessageTemplate:
        listed = self._listed
        return MessageTemplate(
            name=listed.name,
            version=listed.version,
            message_type=listed.message_type,
            max_segments=listed.max_segments,
            unicode=listed.unicode,
            values=listed.values,
            texts=self._texts,
            segments=self._segments,
        )

    def _judge_names(self) -> None:
        if not self._listed.text:
            self.errors.append(f'{self._place}.text has no language; write en = "…"')
        for kind, names, pattern, what in (
            ("values", self._listed.values, _VALUE_NAME, "is not a name for a value; use letters, digits, underscores"),
            ("text", self._listed.text, _LANGUAGE, "is not a language; write one such as en, pcm or yo-NG"),
        ):
            self.errors += [
                f"{self._place}.{kind}.{clean_name(name)} {what}" for name in names if not re.match(pattern, name)
            ]

    def _judge_text(self, language: str, source: str) -> Iterator[str]:
        try:
            wording = self._texts[language] = Wording(source)
            undeclared = [name for name in wording.names if name not in self._listed.values]
            yield from (self._undeclared(wording, name) for name in undeclared)
            if not undeclared:
                yield from self._judge_cases(wording)
        except WordingError as error:
            yield f"{error.what} (line {error.line})"

    def _undeclared(self, wording: Wording, name: str) -> str:
        declared = ", ".join(self._listed.values) or "none"
        return f"uses {clean_name(name)}, which is not declared (line {wording.names[name]}); declared are {declared}"

    def _judge_cases(self, wording: Wording) -> Iterator[str]:
        listed, widest = self._listed, _WIDEST if self._listed.unicode else _WIDEST_GSM
        longest = {name: widest * listed.values[name] for name in wording.names}
        texts = [wording.write(values) for values in wording.list_cases(longest)]
        counts = [count_segments(text) for text in texts]
        wrong = next(filter(None, map(self._find_unsendable, texts, counts)), None)
        if wrong is not None:
            yield wrong
            return
        segments = max(count.segments for count in counts)
        self._segments = max(self._segments, segments)
        limit = MOST_SEGMENTS if listed.max_segments is None else listed.max_segments
        if segments > limit:
            yield f"takes {segments} segments with values at their longest; at most {limit} are allowed"
        yield from self._judge_words(wording)

    def _find_unsendable(self, text: str, count: SegmentCount) -> str | None:
        if not text.strip():
            return "can come out empty; write some words outside of the conditions"
        if find_forbidden_character(text) is not None:
            return "holds a control character; only line feeds are allowed"
        if count.encoding is Encoding.UCS_2 and not self._listed.unicode:
            point = f"U+{ord(text[prepare_text(text, OnNonGsm.REJECT).non_gsm[0]]):04X}"
            return f"holds what GSM-7 does not have, first {point}; reword it, or set unicode = true"
        return None

    def _judge_words(self, wording: Wording) -> Iterator[str]:
        """A digit stands for each value: what values bring in, and what they join, is judged with each request."""
        blocked = {
            f'holds the blocked entry "{found.hit.entry}" ({found.hit.category})': None
            for values in wording.list_cases(dict.fromkeys(wording.names, "0"))
            for found in self._matcher.find(
                wording.write(values), field="message", message_type=self._listed.message_type
            )
            if found.action == "block"
        }
        yield from blocked
