"""Between the facts of the domain and what a row holds: JSON that an operator can read with the database's tools."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import asdict, replace

from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import AccountReason, Code, NotificationStatus, Route, Status
from relay.domain.notification import Call, CallState, Notification, Outcome, Overview, Stored
from relay.journal.statements import Row

OWNED = "owned"
QUEUED = "queued"
DONE = "done"

_encoder = msgspec.json.Encoder()
_notification = msgspec.json.Decoder(Notification)
_outcomes = msgspec.json.Decoder(tuple[Outcome, ...])
_indexes = msgspec.json.Decoder(tuple[int, ...])
_resent = msgspec.json.Decoder(dict[int, str])
_counts = msgspec.json.Decoder(dict[Status, int])


class _Head(Notification, frozen=True, omit_defaults=True, kw_only=True):
    """A notification whose entries are passed over: ten thousand of them cost more than the rest of a page."""

    entries: msgspec.Raw  # type: ignore[assignment]


_head = msgspec.json.Decoder(_Head)


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


def encode_counts(counts: Mapping[Status, int]) -> str:
    """How many entries have each status, as text."""
    return _encoder.encode(counts).decode()


def encode_resent(resent: Mapping[int, str]) -> str:
    """Which entries were sent to once more, as text."""
    return _encoder.encode(resent).decode()


def open_of(counts: str | None, resent: str | None) -> int:
    """How many recipients are unknown and were not sent to once more."""
    unknown = 0 if counts is None else _counts.decode(counts).get(Status.UNKNOWN, 0)
    return unknown - (0 if resent is None else len(_resent.decode(resent)))


def decode_overview(facts: str, status: str, counts: str, completed_at: int | None) -> Overview | None:
    """A notification without its entries; ``None`` where the counts are not of this status.

    Code of the version before ends notifications without counting.
    """
    counted = _counts.decode(counts)
    overall = NotificationStatus(status)
    if overall is not NotificationStatus.PARTIAL and overall.value not in {each.value for each in counted}:
        return None
    return Overview(Notification(**asdict(_head.decode(facts)) | {"entries": ()}), overall, counted, completed_at)


def decode_indexes(text: str) -> tuple[int, ...]:
    """Indexes from text."""
    return _indexes.decode(text)


def decode_call(row: Row) -> Call:
    """A call from its columns, in the order of the table."""
    _, ordinal, state, route, level, dialled, recipients, outcomes, account, reason = row
    return Call(
        ordinal=ordinal,
        route=Route(route),
        recipients=_indexes.decode(recipients),
        state=CallState(state),
        outcomes=() if outcomes is None else _outcomes.decode(outcomes),
        level=level,
        dialled=bool(dialled),
        account=account or (FIRST_ACCOUNT if dialled else None),  # code of the version before names none
        account_reason=None if reason is None else AccountReason(reason),
    )


def decode_kept(row: Row, calls: Sequence[Call]) -> Kept:
    """A notification from its columns (see ``reading.COLUMNS``) and its calls."""
    (
        _,
        facts,
        message,
        capped,
        state,
        owner,
        fence,
        completed_at,
        resolved_at,
        key_expires_at,
        resent,
        waiting,
        suppressed,
    ) = row
    stored = Stored(
        notification=replace(_notification.decode(facts), message=message),
        calls=tuple(calls),
        capped=() if capped is None else _indexes.decode(capped),
        completed_at=completed_at,
        resolved_at=resolved_at,
        owned=state == OWNED,
        resent={} if resent is None else _resent.decode(resent),
        waiting=None if waiting is None else Code(waiting),
        suppressed=() if suppressed is None else _indexes.decode(suppressed),
    )
    return Kept(stored, state, owner, fence, key_expires_at)
