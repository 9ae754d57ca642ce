"""Numbers that are not to be written to: for whom, which messages, until when. Only a keyed hash of each is kept."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from relay.domain.codes import MessageType

EVERYBODY = ""
"""The client of what holds for all."""


class SuppressedBy(StrEnum):
    """How a number came onto the list."""

    REQUEST = "request"
    LEARNED = "learned"
    """The upstream answered 3333 on the normal route."""


class Addressed(Struct, frozen=True):
    """To whom a message is to go: by the place in its request, numbers (``234…``).

    ``judged_at`` is when these numbers were judged before (milliseconds since 1970-01-01 UTC): only what came onto the
    list since counts.
    """

    client: str
    message_type: MessageType
    numbers: Mapping[int, str]
    judged_at: int | None = None


class SuppressionWish(Struct, frozen=True, kw_only=True):
    """A number (``234…``) that is not to be written to.

    ``client`` is ``EVERYBODY`` for all messages, ``message_types`` for those of every type; ``until`` is milliseconds
    since 1970-01-01 UTC, ``None`` for ever.
    """

    number: str
    client: str
    message_types: tuple[MessageType, ...] = ()
    reason: str = ""
    until: int | None = None


class Suppression(Struct, frozen=True, kw_only=True):
    """One as it is kept: of the number there is a hash, and its last two digits, to be told from others by a person."""

    id: str
    client: str
    last_digits: str
    message_types: tuple[MessageType, ...]
    reason: str
    until: int | None
    created_at: int
    by: SuppressedBy
