"""Finds everything that is wrong with the shape of a JSON object: all fields at once, by our own names only. Pure.

This is the slow path, taken once a struct could not be decoded. It must find at least one error wherever that failed.
"""

import types
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Struct

from relay.domain.errors import FieldError

BODY = "(body)"
UNKNOWN = "(unknown)"
"""Stand for a name that is not ours, which is never repeated."""

MOST_ITEMS = 10_000
"""Items of a list that are looked at; a longer one is one error."""


def find_shape_errors(document: Any, kind: type[Struct]) -> tuple[list[FieldError], dict[str, Any], frozenset[str]]:
    """Hold a decoded JSON value against a struct.

    Args:
        document: what the caller sent.
        kind: the struct it should become.

    Returns:
        Every error in the order of the struct's fields; the fields that are well formed; the names of those that are
        not.
    """
    if not isinstance(document, dict):
        return [FieldError(BODY, "not_an_object", "Send one JSON object.")], {}, frozenset()
    errors: list[FieldError] = []
    sound: dict[str, Any] = {}
    bad: set[str] = set()
    fields = msgspec.structs.fields(kind)
    for field in fields:
        found = list(_find_field_errors(field, document))
        errors += found
        if found:
            bad.add(field.name)
        elif field.name in document:
            sound[field.name] = document[field.name]
    known = {field.name: field for field in fields}
    strangers = sum(1 for name in document if name not in known)
    if strangers:
        errors.append(_unknown(strangers, list(known)))
    return errors, sound, frozenset(bad)


def _unknown(count: int, known: list[str]) -> FieldError:
    what = "1 field is" if count == 1 else f"{count} fields are"
    return FieldError(UNKNOWN, "unknown_field", f"{what} not known here; the known ones are {', '.join(known)}.")


def _find_field_errors(field: msgspec.structs.FieldInfo, document: dict[str, Any]) -> Iterator[FieldError]:
    name = field.name
    if name not in document:
        if field.default is NODEFAULT and field.default_factory is NODEFAULT:
            yield FieldError(name, "required", f"Give {name}.")
        return
    value = document[name]
    if _fits(value, field.type):
        return
    if isinstance(value, list) and _takes_list(field.type):
        yield from _find_item_errors(name, value)
    else:
        yield FieldError(name, *_describe(field.type))


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except (ValueError, OverflowError):
        return False
    return True


def _find_item_errors(name: str, items: list[Any]) -> Iterator[FieldError]:
    if len(items) > MOST_ITEMS:
        yield FieldError(name, "too_many", f"Give at most {MOST_ITEMS} of them in one request.")
        return
    for index, item in enumerate(items):
        if not isinstance(item, str):
            remedy = "Write it as a JSON string; a JSON number would lose leading zeros and the plus sign."
            yield FieldError(f"{name}[{index}]", "not_a_string", remedy)


def _takes_list(kind: Any) -> bool:
    return any(get_origin(member) is list for member in _members(kind))


def _describe(kind: Any) -> tuple[str, str]:
    """The error code and the remedy for a value that is not of this type."""
    members = _members(kind)
    choices = _choices(members)
    if choices:
        return "unlisted_value", f"Use one of: {', '.join(choices)}."
    if _takes_list(kind):
        return "not_a_list", "Give a list of JSON strings" + (", or one JSON string." if str in members else ".")
    if datetime in members:
        return "malformed", "Give an RFC 3339 time with an offset, such as 2026-12-01T10:00:00Z."
    for member, code, remedy in _PLAIN:
        if member in members:
            return code, remedy
    return "malformed", "This is not the JSON value that is expected here."


_PLAIN = (
    (bool, "not_a_boolean", "Give true or false."),
    (int, "not_an_integer", "Give a whole number, without quotes or decimal point."),
    (str, "not_a_string", "Give a JSON string."),
)


def _choices(members: list[Any]) -> list[str]:
    for member in members:
        if isinstance(member, type) and issubclass(member, StrEnum):
            return [choice.value for choice in member]
        if get_origin(member) is Literal:
            return list(get_args(member))
    return []


def _members(kind: Any) -> list[Any]:
    """The types that a type stands for: of a union each, without ``Annotated``."""
    if hasattr(kind, "__metadata__"):
        return _members(kind.__origin__)
    if get_origin(kind) in (Union, types.UnionType):
        return [member for part in get_args(kind) for member in _members(part)]
    return [kind]
