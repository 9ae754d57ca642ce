"""Between the facts of the domain and what a row holds: JSON that an operator can read with the database's tools."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from relay.domain.codes import Route
from relay.domain.notification import Call, CallState, Notification, Outcome, Stored
from relay.journal.statements import Row

OWNED = "owned"
QUEUED = "queued"
DONE = "done"

_encoder = msgspec.json.Encoder()
_notification = msgspec.json.Decoder(Notification)
_outcomes = msgspec.json.Decoder(tuple[Outcome, ...])
_indexes = msgspec.json.Decoder(tuple[int, ...])


class Kept(NamedTuple):
    """A notification as a row holds it: what callers see, and whose it is."""

    stored: Stored
    state: str
    owner: str | None
    fence: int
    key_expires_at: int | None


def encode_facts(notification: Notification) -> str:
    """Everything of a notification but its message, which has a column of its own to be erased from."""
    return _encoder.encode(replace(notification, message=None)).decode()


def encode_outcomes(outcomes: Sequence[Outcome]) -> str | None:
    """Outcomes as text; none at all as null."""
    return _encoder.encode(outcomes).decode() if outcomes else None


def encode_indexes(indexes: Sequence[int]) -> str:
    """Indexes of entries as text."""
    return _encoder.encode(indexes).decode()


def decode_call(row: Row) -> Call:
    """A call from its columns, in the order of the table."""
    _, ordinal, state, route, level, dialled, recipients, outcomes = row
    return Call(
        ordinal=ordinal,
        route=Route(route),
        recipients=_indexes.decode(recipients),
        state=CallState(state),
        outcomes=() if outcomes is None else _outcomes.decode(outcomes),
        level=level,
        dialled=bool(dialled),
    )


def decode_kept(row: Row, calls: Sequence[Call]) -> Kept:
    """A notification from its columns (see ``reading.COLUMNS``) and its calls."""
    _, facts, message, capped, state, owner, fence, completed_at, resolved_at, key_expires_at = row
    stored = Stored(
        notification=replace(_notification.decode(facts), message=message),
        calls=tuple(calls),
        capped=() if capped is None else _indexes.decode(capped),
        completed_at=completed_at,
        resolved_at=resolved_at,
        owned=state == OWNED,
    )
    return Kept(stored, state, owner, fence, key_expires_at)
