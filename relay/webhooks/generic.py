"""Bodies of senders that cannot be changed: the settings say by JMESPath where our fields are in them. Pure.

Expressions are compiled once; what they give is held to the kind of the field. A field that is not mapped, gives
nothing, or is of the wrong kind is the receiver's own: only a message must be there.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import unquote

import jmespath
import msgspec
from jmespath.exceptions import JMESPathError
from msgspec import Struct

from relay.domain.codes import MessageType
from relay.domain.errors import FieldError, ValidationFailed
from relay.http.schemas import Moment
from relay.http.times import to_milliseconds
from relay.webhooks.lenient_json import WrittenNumber

LONGEST_REFERENCE = 64
_GREATEST_NUMBER = 1e15
MOST_RECIPIENTS = 1_000
"""Numbers that a body or a label names and that are looked at, the first ones."""

_MISSING = "The expression of fields.{0} gives nothing for this body; the message is what is sent."
_WRONG = "The expression of fields.{0} must give {1}."


class GenericMessage(Struct, frozen=True, kw_only=True):
    """What a body says, as far as it says it."""

    message: str
    recipients: tuple[str, ...] | None = None
    sender: str | None = None
    message_type: MessageType | None = None
    reference: str | None = None
    deduplication_key: str | None = None
    send_at: int | None = None
    """Milliseconds since 1970-01-01 UTC."""
    ignored: int = 0
    """How many of our fields were of the wrong kind, and are the receiver's own."""


def add_attributes(document: Any, headers: Mapping[bytes, bytes], prefix: bytes) -> Any:
    """Give what headers say with a body, which then is ``data``: so CloudEvents travel in their binary mode.

    Args:
        document: the body.
        headers: by lower-case name.
        prefix: how the names begin that say something; without any of them the body comes back as it is.
    """
    said = {
        name.removeprefix(prefix).decode("latin-1"): unquote(value.decode("latin-1"))
        for name, value in headers.items()
        if name.startswith(prefix)
    }
    return {**said, "data": document} if said else document


class FieldMapping:
    """Our fields, each with the place of it in a body.

    Args:
        expressions: by our name for the field; the settings have checked names and expressions.
    """

    def __init__(self, expressions: Mapping[str, str]) -> None:
        self.expressions = expressions
        self._compiled = {name: jmespath.compile(expression) for name, expression in expressions.items()}

    def __contains__(self, field: str) -> bool:
        return field in self._compiled

    def read(self, document: Any) -> GenericMessage:
        """Take our fields out of a body. One of the wrong kind is left to the receiver, but for the message itself, and
        for its time: what is meant for later must not go out at once.

        Raises:
            ValidationFailed: there is no message, or no time where one should be; it tells all that is wrong at once,
                and no value.
        """
        errors: list[FieldError] = []
        found = {name: self._find(name, document, errors) for name in _READERS}
        message, bad_time = found["message"], any(error.field == "send_at" for error in errors)
        if message is None or bad_time:
            if message is None and not any(error.field == "message" for error in errors):
                errors.append(FieldError("message", "required", _MISSING.format("message")))
            raise ValidationFailed(errors, detail="The body does not hold what this receiver's fields say; see errors.")
        return GenericMessage(**found, ignored=len(errors))

    def _find(self, name: str, document: Any, errors: list[FieldError]) -> Any:
        expression = self._compiled.get(name)
        if expression is None:
            return None
        expected, read = _READERS[name]
        try:
            value = expression.search(document)
            return None if value is None else read(value)
        except (JMESPathError, ValueError, TypeError, RecursionError):
            errors.append(FieldError(name, "wrong_kind", _WRONG.format(name, expected)))
            return None


def _read_text(value: Any) -> str | None:
    """A text, or what a person would write for a number, true or false; blanks alone are nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, WrittenNumber):
        return value.written
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise TypeError
    return value if value.strip() else None


def _read_message(value: Any) -> str | None:
    """A text, or a list of them: a line each; what is no text in it is left out."""
    if not isinstance(value, list):
        return _read_text(value)
    lines = list(_read_texts(value))
    if value and not lines:
        raise TypeError
    return "\n".join(lines) or None


def _read_recipients(value: Any) -> tuple[str, ...] | None:
    """A text or a list of texts, each of one number or several; what names nobody is left out."""
    values = value if isinstance(value, list) else [value]
    texts = _read_texts([_read_digits(each) for each in values])
    return tuple(islice(texts, MOST_RECIPIENTS)) or None


def _read_digits(value: Any) -> Any:
    """A number that a program saved as 2348012345678.0 or 2.348012345678e12, with its digits."""
    return int(value) if isinstance(value, float) and value.is_integer() and value < _GREATEST_NUMBER else value


def _read_texts(values: list[Any]) -> Iterator[str]:
    for value in values:
        if value is not None and not isinstance(value, dict | list) and (text := _read_text(value)) is not None:
            yield text


def _read_message_type(value: Any) -> MessageType:
    return MessageType((_read_text(value) or "").strip().lower())


def _read_reference(value: Any) -> str | None:
    """What can be a reference of it: no message is held up by its reference."""
    text = _read_text(value) or ""
    return "".join(character for character in text if "!" <= character <= "~")[:LONGEST_REFERENCE] or None


def _read_send_at(value: Any) -> int | None:
    text = _read_text(value)
    return None if text is None else to_milliseconds(msgspec.convert(text.strip(), Moment))


_TEXT = "a text"
_READERS = {
    "message": (_TEXT, _read_message),
    "recipients": ("a text or a list of texts", _read_recipients),
    "sender": (_TEXT, _read_text),
    "message_type": ("one of " + ", ".join(MessageType), _read_message_type),
    "reference": (_TEXT, _read_reference),
    "deduplication_key": (_TEXT, _read_text),
    "send_at": ("an RFC 3339 time with an offset", _read_send_at),
}
