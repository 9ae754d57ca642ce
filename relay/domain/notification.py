"""What was accepted, what was called, what came back: the facts of one notification.

Everything here is immutable. A :class:`Notification` is written once, at acceptance; a :class:`Call` is one GET and
changes state in the journal only; :func:`view_recipients` is the one place that turns both into the entries that a
caller sees.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from relay.domain.codes import (
    DEFINITE,
    STATUS_OF,
    Code,
    Encoding,
    MessageType,
    NotificationStatus,
    NumberReason,
    RequestedRoute,
    ResolvedBy,
    Route,
    RouteReason,
    Source,
    Status,
    common_status,
    is_retry_safe,
)


class Mode(StrEnum):
    """Whether the caller waits for the outcome."""

    SYNCHRONOUS = "sync"
    ASYNCHRONOUS = "async"


class CallState(StrEnum):
    """Where one call stands. Only the move from ``claimed`` to ``dialling`` authorises a dial."""

    CLAIMED = "claimed"
    DIALLING = "dialling"
    DONE = "done"


class Entry(Struct, frozen=True, omit_defaults=True):
    """One requested recipient, in request order.

    ``number`` is the normalized ``234…`` form, or ``reason`` says why there is none; after an erasure both are gone and
    ``input`` is empty. ``duplicate_of`` is the index of the first entry with the same number.
    """

    input: str
    number: str | None = None
    reason: NumberReason | None = None
    duplicate_of: int | None = None


class UpstreamRecord(Struct, frozen=True, omit_defaults=True):
    """What the upstream itself said about a recipient, as it said it. All values are strings (ids exceed 64 bits)."""

    code: str
    status: str | None = None
    description: str | None = None
    message_id: str | None = None


class Outcome(Struct, frozen=True, omit_defaults=True):
    """Why a recipient has its status.

    Codes that only an answer of the upstream can cause are not buildable without that answer's record.
    """

    code: Code
    upstream: UpstreamRecord | None = None
    resolved_by: ResolvedBy | None = None

    def __post_init__(self) -> None:
        if self.code not in STATUS_OF:
            raise ValueError(f"{self.code.value} is said of an entry, never an outcome of its own")
        if self.upstream is None and self.code in _NEEDS_ANSWER and self.resolved_by is not ResolvedBy.OPERATOR:
            raise ValueError(f"an outcome {self.code.value} needs the upstream's record")

    @property
    def status(self) -> Status:
        return STATUS_OF[self.code]


_NEEDS_ANSWER = frozenset(
    {Code.SENT, Code.SENT_DND, Code.DELIVERED, Code.REJECTED, Code.DND_REJECTED, Code.UPSTREAM_REJECTED}
)


class RouteDecision(Struct, frozen=True):
    """Which way a notification goes, and why."""

    requested: RequestedRoute
    used: Route
    reason: RouteReason


class Replacement(Struct, frozen=True):
    """One folded character: position (code point) in the caller's text, what stood there, what is sent instead."""

    position: int
    original: str
    replacement: str


class TextFacts(Struct, frozen=True):
    """How the text travels; our own count, an estimate of what the upstream bills."""

    encoding: Encoding
    characters: int
    segments: int
    replaced: tuple[Replacement, ...] = ()


class Hit(Struct, frozen=True):
    """A list entry found in a text: ``start`` and ``end`` count Unicode code points of the caller's text."""

    entry: str
    category: str
    start: int
    end: int


class SendWarning(Struct, frozen=True, omit_defaults=True):
    """Something that does not stop the send. ``code`` is one of ours; the rest is there when a list entry was hit."""

    code: str
    entry: str | None = None
    category: str | None = None
    start: int | None = None
    end: int | None = None


class Notification(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the relay accepted. Times are milliseconds since 1970-01-01 UTC.

    ``message`` is the text that is sent (after NFC and any folding); the journal keeps it apart and erases it when the
    notification is terminal, after which it is ``None`` here.
    """

    id: str
    client: str
    source: Source
    mode: Mode
    sender: str
    message: str | None
    message_hash: bytes
    message_type: MessageType
    route: RouteDecision
    text: TextFacts
    entries: tuple[Entry, ...]
    created_at: int
    reference: str | None = None
    idempotency_key: str | None = None
    fingerprint: bytes | None = None
    warnings: tuple[SendWarning, ...] = ()
    expires_at: int | None = None
    held_until: int | None = None
    callback_url: str | None = None
    sandbox: bool = False
    traceparent: str | None = None
    resend_of: str | None = None

    def dialable(self) -> list[int]:
        """The indexes of the entries that a call can be made for: valid and not a duplicate."""
        return [i for i, entry in enumerate(self.entries) if entry.number is not None and entry.duplicate_of is None]


class Call(Struct, frozen=True, kw_only=True):
    """One GET for one chunk. ``recipients`` are indexes into the notification's entries.

    ``outcomes`` has one outcome a recipient, in the same order, once ``state`` is ``done``; it is empty where the call
    was replaced by others (an upstream that wanted fewer recipients at a time, or a requeued call).
    """

    ordinal: int
    route: Route
    recipients: tuple[int, ...]
    state: CallState
    outcomes: tuple[Outcome, ...] = ()
    level: int = 0
    """How often the chunk was halved before (TG20)."""
    dialled: bool = False
    """Whether the call ever moved to ``dialling``."""


def may_have_left(call: Call) -> bool:
    """Whether bytes of a call may have left. One that others replaced certainly sent nothing."""
    return call.dialled and not (call.state is CallState.DONE and not call.outcomes)


class PlannedCall(Struct, frozen=True, kw_only=True):
    """A call that is still to be made."""

    route: Route
    recipients: tuple[int, ...]
    level: int = 0


class Stored(Struct, frozen=True, kw_only=True):
    """A notification as the journal holds it, with all its calls in order."""

    notification: Notification
    calls: tuple[Call, ...]
    capped: tuple[int, ...] = ()
    """Entries that a per-recipient limit left out at the claim."""
    completed_at: int | None = None
    resolved_at: int | None = None
    owned: bool = False
    """Whether a process holds it now."""


class RecipientResult(Struct, frozen=True):
    """One entry of the answer: what the caller wrote and what became of it."""

    input: str
    recipient: str | None
    status: Status
    code: Code
    retry_safe: bool
    attempts: int
    upstream: UpstreamRecord | None
    reason: str | None = None
    resolved_by: ResolvedBy | None = None


_QUEUED = Outcome(code=Code.QUEUED)
_HELD = Outcome(code=Code.HELD_QUIET_HOURS)
_DIALLING = Outcome(code=Code.DIALLING)
_CAPPED = Outcome(code=Code.RECIPIENT_CAPPED)
_INVALID = Outcome(code=Code.INVALID_NUMBER)


def find_outcomes(stored: Stored) -> tuple[dict[int, Outcome], dict[int, int]]:
    """Give the outcome and the number of dials of every dialable entry, by its index.

    A later call for the same entry speaks for it, except that a later ``not_sent`` leaves an earlier definite answer
    of the upstream standing (a second attempt that was never made changes nothing).
    """
    outcomes: dict[int, Outcome] = {}
    attempts: dict[int, int] = {}
    waiting = _HELD if stored.notification.held_until is not None and not stored.owned else _QUEUED
    for call in stored.calls:
        for position, index in enumerate(call.recipients):
            if call.dialled:
                attempts[index] = attempts.get(index, 0) + 1
            outcome = _outcome_at(call, position, waiting)
            if outcome is not None and not _stands(outcomes.get(index), outcome):
                outcomes[index] = outcome
    for index in stored.capped:
        outcomes[index] = _CAPPED
    return outcomes, attempts


def _outcome_at(call: Call, position: int, waiting: Outcome) -> Outcome | None:
    if call.state is CallState.CLAIMED:
        return waiting
    if call.state is CallState.DIALLING:
        return _DIALLING
    return call.outcomes[position] if call.outcomes else None


def _stands(earlier: Outcome | None, later: Outcome) -> bool:
    return (
        earlier is not None
        and later.status is Status.NOT_SENT
        and earlier.status in (Status.SENT, Status.REJECTED, Status.UNKNOWN)
    )


def view_recipients(stored: Stored) -> list[RecipientResult]:
    """Give one result for each requested number, in request order, duplicates included."""
    outcomes, attempts = find_outcomes(stored)
    results: list[RecipientResult] = []
    for index, entry in enumerate(stored.notification.entries):
        if entry.duplicate_of is not None:
            results.append(_duplicate(entry, results[entry.duplicate_of]))
            continue
        outcome = outcomes.get(index, _INVALID if entry.number is None else _QUEUED)
        results.append(_result(entry, outcome, attempts.get(index, 0)))
    return results


def _result(entry: Entry, outcome: Outcome, attempts: int) -> RecipientResult:
    status = outcome.status
    return RecipientResult(
        input=entry.input,
        recipient=entry.number,
        status=status,
        code=outcome.code,
        retry_safe=is_retry_safe(status),
        attempts=attempts,
        upstream=outcome.upstream,
        reason=entry.reason.value if entry.reason is not None else None,
        resolved_by=outcome.resolved_by,
    )


def _duplicate(entry: Entry, first: RecipientResult) -> RecipientResult:
    return RecipientResult(
        input=entry.input,
        recipient=first.recipient,
        status=first.status,
        code=Code.DUPLICATE_RECIPIENT,
        retry_safe=first.retry_safe,
        attempts=first.attempts,
        upstream=first.upstream,
        resolved_by=first.resolved_by,
    )


def count_statuses(results: Iterable[RecipientResult]) -> dict[Status, int]:
    """Count the results by status; statuses that do not occur are absent."""
    counts: dict[Status, int] = {}
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
    return counts


def overall_status(results: Sequence[RecipientResult]) -> NotificationStatus:
    """Give the status that all results share, or ``partial``."""
    return common_status(result.status for result in results)


def settle_unknown(
    call: Call, answers: Mapping[int, Outcome], resolved_by: ResolvedBy
) -> tuple[Call, tuple[int, ...]] | None:
    """Put definite outcomes where a call's outcome is ``unknown``, once.

    Args:
        call: a call that is ``done``.
        answers: entry index → outcome; outcomes that are not definite are ignored.
        resolved_by: who knows better now.

    Returns:
        The changed call and the entry indexes that changed, or ``None`` where nothing may change: a definite outcome
        never does.
    """
    outcomes = list(call.outcomes)
    changed: list[int] = []
    for position, index in enumerate(call.recipients[: len(outcomes)]):
        answer = answers.get(index)
        if answer is None or answer.status not in DEFINITE or outcomes[position].status is not Status.UNKNOWN:
            continue
        outcomes[position] = Outcome(code=answer.code, upstream=answer.upstream, resolved_by=resolved_by)
        changed.append(index)
    if not changed:
        return None
    return replace(call, outcomes=tuple(outcomes)), tuple(changed)
