"""Bodies of senders that cannot be changed: the settings say by JMESPath where our fields are in them. Pure.

Expressions are compiled once; what they give is held to the kind of the field. A field that is not mapped, or that
gives nothing, is the receiver's own.
"""

from collections.abc import Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from msgspec import Struct

from relay.domain.codes import MessageType
from relay.domain.errors import FieldError, ValidationFailed

LONGEST_REFERENCE = 64
MOST_RECIPIENTS = 1_000

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


class FieldMapping:
    """Our fields, each with the place of it in a body.

    Args:
        expressions: by our name for the field; the settings have checked names and expressions.
    """

    def __init__(self, expressions: Mapping[str, str]) -> None:
        self._expressions = {name: jmespath.compile(expression) for name, expression in expressions.items()}

    def __contains__(self, field: str) -> bool:
        return field in self._expressions

    def read(self, document: Any) -> GenericMessage:
        """Take our fields out of a body.

        Raises:
            ValidationFailed: there is no message, or a field is of the wrong kind; all of them at once, no value.
        """
        errors: list[FieldError] = []
        found = {name: self._find(name, document, errors) for name in _READERS}
        message = found["message"]
        if message is None and not any(error.field == "message" for error in errors):
            errors.append(FieldError("message", "required", _MISSING.format("message")))
        if errors or message is None:
            raise ValidationFailed(errors, detail="The body does not hold what this receiver's fields say; see errors.")
        return GenericMessage(**found)

    def _find(self, name: str, document: Any, errors: list[FieldError]) -> Any:
        expression = self._expressions.get(name)
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
    """Text, or a whole number as text; blanks alone are nothing."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise TypeError
    return value if value.strip() else None


def _read_recipients(value: Any) -> tuple[str, ...] | None:
    """A text or a list of texts; a JSON number would have lost zeros and plus sign."""
    numbers = [value] if isinstance(value, str) else value
    if not isinstance(numbers, list) or not all(isinstance(number, str) for number in numbers):
        raise TypeError
    if len(numbers) > MOST_RECIPIENTS:
        raise ValueError
    return tuple(numbers) or None


def _read_reference(value: Any) -> str | None:
    """What can be a reference of it: no message is held up by its reference."""
    text = _read_text(value) or ""
    return "".join(character for character in text if "!" <= character <= "~")[:LONGEST_REFERENCE] or None


_TEXT = "a text"
_READERS = {
    "message": (_TEXT, _read_text),
    "recipients": (f"a text or a list of at most {MOST_RECIPIENTS} texts", _read_recipients),
    "sender": (_TEXT, _read_text),
    "message_type": ("one of " + ", ".join(MessageType), MessageType),
    "reference": (_TEXT, _read_reference),
    "deduplication_key": (_TEXT, _read_text),
}
