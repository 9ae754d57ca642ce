"""What is wrong with a JSON object or a query string, all at once, by our own names only. Pure.

Valid input does not come here: bodies are decoded straight into a struct, and only what fails is checked again, slowly,
by the validator that settings and word lists use too (``relay.checking``). It must find at least one error wherever
decoding failed.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta, Struct
from msgspec import inspect as types

from relay.checking import INVALID, LEAVES, Checker, Mistake, Notation, bare_type
from relay.domain.codes import ProblemCode
from relay.domain.errors import FieldError, Refusal, ValidationFailed

BODY = "(body)"
UNKNOWN = "(unknown)"
"""Stand for a name that is not ours, which is never repeated."""

_MOST_PARAMETERS = 32
_ESCAPED_ASCII = b"\\u00"
"""A name may be written with escapes; all that could stand in ours begins like this."""
_CALLERS_OWN = b'"values"'
"""Holds an object whose names are the caller's own."""


class Wrong(Exception):
    """A value that cannot be read: its error code and the remedy. What a field's own check raises."""

    def __init__(self, code: str, remedy: str) -> None:
        super().__init__(code)
        self.code = code
        self.remedy = remedy


class Field(Struct, frozen=True):
    """What may stand under a name: a type, and where that does not say enough, a check that raises :class:`Wrong`."""

    name: str
    kind: Any
    required: bool = False
    check: Callable[[str], Any] | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is an integer."""
        return isinstance(bare_type(types.type_info(self.kind)), types.IntType)


def _rfc3339(_node: types.DateTimeType, value: object) -> Any:
    try:
        return msgspec.convert(value, Annotated[datetime, Meta(tz=True)])
    except ValueError:
        return INVALID


JSON: Final = Notation(
    leaves={**LEAVES, types.DateTimeType: _rfc3339, types.AnyType: lambda _, value: value},
    text="a JSON string",
    texts="JSON strings",
    table="a JSON object",
    whole_number="a whole number, without quotes or decimal point",
    moment="an RFC 3339 time with an offset, such as 2026-12-01T10:00:00Z",
    choice="{}",
    most_items=10_000,
    unknown="",
)


def find_shape_errors(document: Any, kind: type[Struct]) -> tuple[list[FieldError], dict[str, Any], frozenset[str]]:
    """Check a decoded JSON value against a struct.

    Args:
        document: what the caller sent.
        kind: the struct it should become.

    Returns:
        Every error, in the order of the struct's fields; the fields that are well formed; the names of those that are
        not.
    """
    checker = Checker(JSON)
    node = types.type_info(kind)
    found = checker.check(node, document, "")
    errors = list(map(_error_of, checker.mistakes))
    if found is INVALID:
        return errors, {}, frozenset()
    wrong = {re.split(r"[.[]", error.field)[0] for error in errors}
    sound = {name: document[name] for name in found if name in document and name not in wrong}
    return errors, sound, frozenset(wrong)


def _error_of(mistake: Mistake) -> FieldError:
    path, code = mistake.path or BODY, mistake.code
    if code == "required":
        return FieldError(path, code, f"Give {path}.")
    if code == "not_a_string" and path.endswith("]"):
        remedy = "Write it as a JSON string; a JSON number would lose leading zeros and the plus sign."
        return FieldError(path, code, remedy)
    if mistake.expected:
        verb = {"unlisted_value": "Use", "not_an_object": "Send"}.get(code, "Give")
        return FieldError(path, code, f"{verb} {mistake.expected}.")
    return FieldError(path, code, f"{mistake.message[0].upper()}{mistake.message[1:]}.")


def read_query(query: bytes, fields: Mapping[str, Field]) -> dict[str, str]:
    """Read a query string of known parameters, each at most once.

    Args:
        query: as it came, without the question mark.
        fields: what is known here, by name.

    Returns:
        The text of each parameter; of a number, in its plainest form.

    Raises:
        ValidationFailed: with every parameter that is unknown, repeated, malformed or missing.
    """
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS, errors="strict"
        )
    except ValueError:
        remedy = "Percent-encode the query as UTF-8, with each parameter once."
        raise ValidationFailed([FieldError("(query)", "malformed", remedy)]) from None
    values: dict[str, str] = {}
    errors: list[FieldError] = []
    strangers = 0
    for name, text in pairs:
        if name not in fields:
            strangers += 1
        elif name in values:
            errors.append(FieldError(name, "repeated", f"Give {name} once."))
        else:
            values[name] = str(int(text)) if _is_number(text) and fields[name].is_number else text
            errors += _find_errors(fields[name], text)
    errors += [
        FieldError(name, "required", f"Give {name}.")
        for name, field in fields.items()
        if field.required and name not in values
    ]
    if strangers:
        what = "1 parameter is" if strangers == 1 else f"{strangers} parameters are"
        known = f"{what} not known here; the known ones are {', '.join(fields)}."
        errors.append(FieldError(UNKNOWN, "unknown_parameter", known))
    if errors:
        raise ValidationFailed(errors)
    return values


def _is_number(text: str) -> bool:
    return len(text) < 19 and text.isascii() and text.isdigit()


def _find_errors(field: Field, value: str) -> Iterator[FieldError]:
    if field.check is None:
        checker = Checker(JSON)
        checker.check(types.type_info(field.kind), value, field.name)
        yield from map(_error_of, checker.mistakes)
        return
    try:
        field.check(value)
    except Wrong as wrong:
        yield FieldError(field.name, wrong.code, wrong.remedy)


def quote_names(kind: type[Struct]) -> tuple[bytes, ...]:
    """Give the names of a struct's fields as they stand in a body, for :func:`check_names`.

    Example:
        >>> class Point(Struct):
        ...     x: int
        ...     y: int
        >>> quote_names(Point)
        (b'"x"', b'"y"')
    """
    return tuple(f'"{name}"'.encode() for name in kind.__struct_encode_fields__)


def check_names(body: bytes, names: tuple[bytes, ...]) -> None:
    """Refuse a body in which one of our names comes twice in an object: what it means depends on who reads it.

    The decoder takes the last of them and says nothing. Looking for it in earnest costs as much as decoding several
    times, so a search for our own names goes first (1 to 3 µs for a usual request): unknown names are refused anyway.

    Args:
        body: JSON that a decoder took, of objects with these names only.
        names: from :func:`quote_names`.

    Raises:
        Refusal: ``invalid_json``.

    Example:
        >>> check_names(b'{"x": "\\\\"x\\\\"", "y": "x"}', (b'"x"', b'"y"'))
        >>> check_names(b'{"x": 1, "\\\\u0078": 2}', (b'"x"', b'"y"'))
        Traceback (most recent call last):
        ...
        relay.domain.errors.Refusal: invalid_json
    """
    if _ESCAPED_ASCII in body or _CALLERS_OWN in body or any(body.count(name) > 1 for name in names):
        json.loads(body, object_pairs_hook=_refuse_repeated, parse_int=str, parse_float=str)


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise Refusal(ProblemCode.INVALID_JSON, "A name comes twice in one object: say it once.")
