"""Word lists as data: what an entry is, and how a TOML file becomes entries, or all of its errors at once."""

import tomllib
from collections.abc import Iterable, Iterator
from typing import Any, Literal, cast

from msgspec import Struct

from relay.domain.codes import MessageType
from relay.domain.readings import split_entry

Field = Literal["message", "sender"]
Action = Literal["block", "warn"]

IN_MESSAGE: frozenset[Field] = frozenset({"message"})

_KNOWN_KEYS = ("text", "category", "action", "fields", "message_types", "except")
_ACTIONS = ("block", "warn")
_FIELDS = ("message", "sender")
_MESSAGE_TYPES = tuple(member.value for member in MessageType)


class WordListError(Exception):
    """A list cannot be used. ``errors`` has all that is wrong, each with its place; the list's own text is in none."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


class WordEntry(Struct, frozen=True, kw_only=True):
    """One entry: what is looked for, where, and what a hit does.

    ``message_types`` empty: all. ``exceptions`` are texts around the entry in which it is meant innocently.
    """

    text: str
    category: str
    action: Action
    fields: frozenset[Field] = IN_MESSAGE
    message_types: frozenset[MessageType] = frozenset()
    exceptions: tuple[str, ...] = ()

    def applies_to(self, field: Field, message_type: MessageType) -> bool:
        """Tell whether the entry counts in this field of a message of this type."""
        return field in self.fields and (not self.message_types or message_type in self.message_types)


def parse_word_list(source: str) -> list[WordEntry]:
    """Read a list.

    Args:
        source: TOML with any number of ``[[entry]]`` tables (SPEC section 4).

    Returns:
        The entries in order; at least one.

    Raises:
        WordListError: with every error of the list, each with its place, as ``entry[3].action: …``.
    """
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise WordListError((f"not TOML: {error}",)) from None
    errors = [f"{key}: not known; a list holds [[entry]] tables only" for key in document if key != "entry"]
    tables = document.get("entry", [])
    if not isinstance(tables, list) or not tables:
        # A filter that was emptied by mistake must not look like one that finds nothing.
        raise WordListError((*errors, "entry: a list holds at least one [[entry]] table"))
    entries = []
    for index, table in enumerate(tables):
        found = [f"entry[{index}]{error}" for error in _find_errors(table)]
        errors += found
        if not found:
            entries.append(_build(table))
    if errors:
        raise WordListError(tuple(errors))
    return entries


def _find_errors(table: object) -> Iterator[str]:
    if not isinstance(table, dict):
        yield ": a table is needed"
        return
    yield from (f".{key}: not known; use {', '.join(_KNOWN_KEYS)}" for key in table if key not in _KNOWN_KEYS)
    yield from (f".{place}: {error}" for place in ("text", "category") for error in _find_text_errors(table.get(place)))
    if table.get("text") and isinstance(table["text"], str) and not split_entry(table["text"]):
        yield ".text: holds no letter and no digit, so it would find nothing"
    if table.get("action") not in _ACTIONS:
        yield f".action: {_one_of(_ACTIONS)}"
    yield from _find_choice_errors("fields", table.get("fields", ["message"]), _FIELDS)
    if table.get("fields") == []:
        yield ".fields: none given; leave it out for the message"
    yield from _find_choice_errors("message_types", table.get("message_types", []), _MESSAGE_TYPES)
    yield from _find_exception_errors(table.get("except", []))


def _find_text_errors(value: object) -> Iterator[str]:
    if not isinstance(value, str) or not value.strip():
        yield "a text is needed"


def _find_choice_errors(key: str, values: object, choices: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(values, list):
        yield f".{key}: a list is needed"
        return
    yield from (f".{key}[{i}]: {_one_of(choices)}" for i, value in enumerate(values) if value not in choices)


def _find_exception_errors(values: object) -> Iterator[str]:
    if not isinstance(values, list):
        yield ".except: a list is needed"
        return
    for index, value in enumerate(values):
        if not isinstance(value, str) or not split_entry(value):
            yield f".except[{index}]: a text with a letter or a digit is needed"


def _one_of(choices: Iterable[str]) -> str:
    return "use " + " or ".join(f'"{choice}"' for choice in choices)


def _build(table: dict[str, Any]) -> WordEntry:
    return WordEntry(
        text=table["text"],
        category=table["category"],
        action=table["action"],
        fields=frozenset(cast("list[Field]", table["fields"])) if "fields" in table else IN_MESSAGE,
        message_types=frozenset(MessageType(value) for value in table.get("message_types", ())),
        exceptions=tuple(table.get("except", ())),
    )
