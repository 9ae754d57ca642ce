"""Word lists as data: what an entry is, and how TOML becomes entries, or all of its mistakes at once."""

import tomllib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from relay.checking import TOML, Checker
from relay.domain.codes import MessageType
from relay.domain.words.readings import split_entry

Field = Literal["message", "sender"]
Action = Literal["block", "warn"]

IN_MESSAGE: frozenset[Field] = frozenset({"message"})


def _find_nothing_to_find(text: str) -> str | None:
    return None if split_entry(text) else "holds no letter and no digit, so it would find nothing"


def _find_blank(text: str) -> str | None:
    return None if text.strip() else "is empty; write a word"


def _find_no_fields(fields: tuple[Field, ...]) -> str | None:
    return None if fields else "names no field; leave it out for the message"


Words = Annotated[str, Meta(extra={"check": _find_nothing_to_find})]


class WordListError(Exception):
    """A list cannot be used. ``errors`` names every mistake with its place, and repeats nothing of the list's text."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


class WordEntry(Struct, frozen=True, kw_only=True):
    """One entry: what is looked for, where, and what a hit does.

    Empty ``message_types`` mean all. ``exceptions`` are longer texts in which the entry is innocent.
    """

    text: Words
    category: Annotated[str, Meta(extra={"check": _find_blank})]
    action: Action
    fields: Annotated[frozenset[Field], Meta(extra={"check": _find_no_fields})] = IN_MESSAGE
    message_types: frozenset[MessageType] = frozenset()
    exceptions: tuple[Words, ...] = field(name="except", default=())

    def applies_to(self, field: Field, message_type: MessageType) -> bool:
        """Whether the entry applies to this field of a message of this type."""
        return field in self.fields and (not self.message_types or message_type in self.message_types)


class _WordList(Struct):
    """A file of entries; at least one, because a list emptied by mistake must not look like one that finds nothing."""

    entry: Annotated[tuple[WordEntry, ...], Meta(min_length=1)]


def parse_word_list(source: str) -> list[WordEntry]:
    """Read a list.

    Args:
        source: TOML with any number of ``[[entry]]`` tables (SPEC section 4).

    Returns:
        The entries in order; at least one.

    Raises:
        WordListError: with every error of the list, each with its place, as ``entry[3].action must be …``.
    """
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise WordListError((f"is not TOML: {error}",)) from None
    checker = Checker(TOML)
    found = checker.check(msgspec.inspect.type_info(_WordList), document, "")
    if checker.mistakes:
        raise WordListError(tuple(map(str, checker.mistakes)))
    return list(msgspec.convert(found, _WordList).entry)
