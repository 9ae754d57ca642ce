"""What was accepted, what was called, what came back: the facts of one notification.

Of some there are ten thousand in one notification: they hold nothing that could hold them, so the garbage collector is
told to pass them over, which else takes tens of milliseconds at a time.

Everything here is immutable. A :class:`Notification` is written once, at acceptance; a :class:`Call` is one GET and
changes state in the journal only; :func:`view_recipients` is the one place that turns both into the entries that a
caller sees.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from relay.domain.codes import (
    DEFINITE,
    STATUS_OF,
    AccountReason,
    Code,
    Encoding,
    MessageType,
    NotificationStatus,
    NumberReason,
    Rejection,
    RequestedRoute,
    ResolvedBy,
    Route,
    RouteReason,
    Source,
    Status,
    common_status,
    is_retry_safe,
)
from relay.domain.hours import DeliveryWindow


class Mode(StrEnum):
    """Whether the caller waits for the outcome."""

    SYNCHRONOUS = "sync"
    ASYNCHRONOUS = "async"


class CallState(StrEnum):
    """Where one call stands. Only the move from ``claimed`` to ``dialling`` authorises a dial."""

    CLAIMED = "claimed"
    DIALLING = "dialling"
    DONE = "done"


class Entry(Struct, frozen=True, omit_defaults=True, gc=False):
    """One requested recipient, in request order.

    ``number`` is the normalized ``234…`` form, or ``reason`` says why there is none; after an erasure both are gone and
    ``input`` is empty. ``duplicate_of`` is the index of the first entry with the same number.
    """

    input: str
    number: str | None = None
    reason: NumberReason | None = None
    duplicate_of: int | None = None


class UpstreamRecord(Struct, frozen=True, omit_defaults=True, gc=False):
    """What the upstream itself said about a recipient, as it said it. All values are strings (ids exceed 64 bits)."""

    code: str
    status: str | None = None
    description: str | None = None
    message_id: str | None = None


class Outcome(Struct, frozen=True, omit_defaults=True, gc=False):
    """Why a recipient has its status.

    Codes that only an answer of the upstream can cause are not buildable without that answer's record.
    """

    code: Code
    upstream: UpstreamRecord | None = None
    resolved_by: ResolvedBy | None = None
    rejection: Rejection | None = None
    """Of an ``upstream_rejected``: why. Outcomes that the first edition wrote do not say."""

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
    notification is terminal, after which it is ``None`` here. ``lifetime_ms`` is there where the caller gave no
    ``expires_at``: it follows from acceptance and ``send_at`` then, and moves with it. ``windows`` are the request's
    own and the client's, ``held_by`` is the code of the one that held it at acceptance, until ``held_until``.
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
    billing_code: str | None = None
    idempotency_key: str | None = None
    fingerprint: bytes | None = None
    warnings: tuple[SendWarning, ...] = ()
    send_at: int | None = None
    expires_at: int | None = None
    lifetime_ms: int | None = None
    held_until: int | None = None
    held_by: Code | None = None
    windows: tuple[DeliveryWindow, ...] = ()
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
    """How often the chunk was halved before because the upstream found it too large."""
    dialled: bool = False
    """Whether the call ever moved to ``dialling``."""
    account: str | None = None
    """Which account it was dialled at; before that, the one that it was planned for, if it was."""
    account_reason: AccountReason | None = None
    """Why the client's first account was not used."""


def may_have_left(call: Call) -> bool:
    """Whether bytes of a call may have left. One that others replaced, or that its account could not take, certainly
    sent nothing."""
    return call.dialled and not (call.state is CallState.DONE and all(map(lies_with_account, call.outcomes)))


def lies_with_account(outcome: Outcome) -> bool:
    """Whether certainly nothing was sent, and for a reason that another account need not share: no byte left, or the
    account's credentials or its units were refused. What is said about the message every account would say."""
    if outcome.code is Code.UPSTREAM_REJECTED:
        return outcome.rejection in (Rejection.CREDENTIALS, Rejection.NO_BALANCE)
    return outcome.code is Code.UPSTREAM_UNREACHABLE


class PlannedCall(Struct, frozen=True, kw_only=True):
    """A call that is still to be made; ``account`` is the one that it should take, if it may."""

    route: Route
    recipients: tuple[int, ...]
    level: int = 0
    account: str | None = None
    account_reason: AccountReason | None = None


class Stored(Struct, frozen=True, kw_only=True):
    """A notification as the journal holds it, with all its calls in order."""

    notification: Notification
    calls: tuple[Call, ...]
    capped: tuple[int, ...] = ()
    """Entries that a per-recipient limit left out at the claim."""
    suppressed: tuple[int, ...] = ()
    """Entries that are not to be written to, as found at the claim or when it was taken from the queue."""
    completed_at: int | None = None
    resolved_at: int | None = None
    owned: bool = False
    """Whether a process holds it now."""
    waiting: Code | None = None
    """What it waits for in the queue; what an earlier version put there does not say."""
    resent: Mapping[int, str] = {}
    """Unknown recipients that were sent to once more: entry → the notification that did it."""


class Overview(Struct, frozen=True):
    """A notification as a list shows it: its text and its entries left out, the entries counted instead."""

    notification: Notification
    status: NotificationStatus
    counts: Mapping[Status, int]
    completed_at: int | None


class RecipientResult(Struct, frozen=True, gc=False):
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
    rejection: Rejection | None = None
    resent_as: str | None = None
    account: str | None = None
    """Where it was dialled last; ``None`` where nothing was."""
    account_reason: AccountReason | None = None


_QUEUED = Outcome(code=Code.QUEUED)
_DIALLING = Outcome(code=Code.DIALLING)
_CAPPED = Outcome(code=Code.RECIPIENT_CAPPED)
_SUPPRESSED = Outcome(code=Code.SUPPRESSED)
_INVALID = Outcome(code=Code.INVALID_NUMBER)


def find_outcomes(stored: Stored) -> tuple[dict[int, Outcome], dict[int, int]]:
    """Give the outcome and the number of dials of every dialable entry, by its index.

    A later call for the same entry speaks for it, except that a later ``not_sent`` leaves an earlier definite answer
    of the upstream standing (a second attempt that was never made changes nothing), and that the reason of the first of
    several accounts stands where no other could take the call either.
    """
    outcomes, attempts, _ = _read_calls(stored)
    return outcomes, attempts


def _read_calls(stored: Stored) -> tuple[dict[int, Outcome], dict[int, int], dict[int, Call]]:
    """Outcome, number of dials and the dialled call that speaks for it, of every dialable entry."""
    outcomes: dict[int, Outcome] = {}
    attempts: dict[int, int] = {}
    dialled: dict[int, Call] = {}
    waiting = _QUEUED if stored.owned else Outcome(code=_waits_for(stored))
    for call in stored.calls:
        if call.dialled:
            for index in call.recipients:
                attempts[index] = attempts.get(index, 0) + 1
        if call.dialled and not call.outcomes:
            dialled |= dict.fromkeys(call.recipients, call)
        if call.state is not CallState.DONE:
            outcomes |= dict.fromkeys(call.recipients, waiting if call.state is CallState.CLAIMED else _DIALLING)
            continue
        for index, outcome in zip(call.recipients, call.outcomes, strict=False):  # replaced by others: it has none
            if index not in outcomes or not _stands(outcomes[index], outcome):
                outcomes[index] = outcome
                if call.dialled:
                    dialled[index] = call
    _leave_out(stored, outcomes)
    return outcomes, attempts, dialled


def _leave_out(stored: Stored, outcomes: dict[int, Outcome]) -> None:
    """Say so of the entries that were not to be dialled."""
    for index in stored.capped:
        outcomes[index] = _CAPPED
    for index in stored.suppressed:
        if index not in outcomes or not _stands(outcomes[index], _SUPPRESSED):
            outcomes[index] = _SUPPRESSED


def _waits_for(stored: Stored) -> Code:
    if stored.waiting is not None:
        return stored.waiting
    return Code.QUEUED if stored.notification.held_until is None else Code.HELD_QUIET_HOURS


def _stands(earlier: Outcome, later: Outcome) -> bool:
    if later.status is not Status.NOT_SENT:
        return False
    definite = earlier.status in (Status.SENT, Status.REJECTED, Status.UNKNOWN)
    return definite or (lies_with_account(earlier) and lies_with_account(later))


def view_recipients(stored: Stored) -> list[RecipientResult]:
    """Give one result for each requested number, in request order, duplicates included."""
    return list(iterate_recipients(stored))


def iterate_recipients(stored: Stored) -> Iterator[RecipientResult]:
    """The same one by one, for who has better things to do in between."""
    outcomes, attempts, dialled = _read_calls(stored)
    results: list[RecipientResult] = []
    for index, entry in enumerate(stored.notification.entries):
        if entry.duplicate_of is not None:
            result = _duplicate(entry, results[entry.duplicate_of])
        else:
            outcome = outcomes.get(index, _INVALID if entry.number is None else _QUEUED)
            again = stored.resent.get(index)
            result = _result(entry, outcome, attempts.get(index, 0), again, dialled.get(index))
        results.append(result)
        yield result


def _result(
    entry: Entry, outcome: Outcome, attempts: int, resent_as: str | None, dialled: Call | None
) -> RecipientResult:
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
        rejection=outcome.rejection,
        resent_as=resent_as,
        account=None if dialled is None else dialled.account,
        account_reason=None if dialled is None else dialled.account_reason,
    )


def open_indexes(stored: Stored) -> tuple[int, ...]:
    """The entries that nobody can know about and to which nobody sent once more."""
    outcomes, _ = find_outcomes(stored)
    unknown = (index for index, outcome in outcomes.items() if outcome.status is Status.UNKNOWN)
    return tuple(sorted(index for index in unknown if index not in stored.resent))


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
        rejection=first.rejection,
        account=first.account,
        account_reason=first.account_reason,
    )


def count_statuses(results: Iterable[RecipientResult]) -> dict[Status, int]:
    """Count the results by status; statuses that do not occur are absent."""
    counts: dict[Status, int] = {}
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
    return counts


def count_recipients(stored: Stored) -> dict[Status, int]:
    """The same count from the notification itself, at a fifth of the cost where it has very many recipients."""
    outcomes, _ = find_outcomes(stored)
    counts: dict[Status, int] = {}
    for index, entry in enumerate(stored.notification.entries):
        place = index if entry.duplicate_of is None else entry.duplicate_of
        status = outcomes.get(place, _INVALID if entry.number is None else _QUEUED).status
        counts[status] = counts.get(status, 0) + 1
    return counts


def find_status(stored: Stored) -> NotificationStatus:
    """The status that all its recipients share, or ``partial``."""
    return common_status(count_recipients(stored))


def overall_status(results: Sequence[RecipientResult]) -> NotificationStatus:
    """Give the status that all results share, or ``partial``."""
    return common_status(result.status for result in results)


class Ended(Struct, frozen=True, kw_only=True):
    """How a notification ended: worked out once, for the journal, the log and the caller.

    ``results`` has one result for each requested number, ``at`` is milliseconds since 1970-01-01 UTC.
    """

    status: NotificationStatus
    at: int
    results: tuple[RecipientResult, ...]
    frees_key: bool = False
    """Whether the idempotency key may be used again: the caller waited, and certainly nothing was sent."""
    quota_given_back: int = 0
    """Reserved recipients that were certainly not sent to; ``unknown`` counts as used."""
    callback_url: str | None = None


def set_send_at(notification: Notification, send_at: int | None, now_ms: int) -> Notification:
    """Say when a notification is to be sent, and when it expires by that where its caller gave no ``expires_at``.

    Args:
        send_at: a time that has passed, or none, means now.
    """
    expires_at = notification.expires_at
    if notification.lifetime_ms is not None:
        expires_at = max(now_ms, send_at or now_ms) + notification.lifetime_ms
    return replace(notification, send_at=send_at, expires_at=expires_at)


def may_move(stored: Stored) -> bool:
    """Whether a notification may still be cancelled or sent at another time: it waits, and no byte of it may have
    left."""
    waits = stored.notification.mode is Mode.ASYNCHRONOUS and stored.completed_at is None
    return waits and not any(may_have_left(call) for call in stored.calls)


_NEVER_RESERVED = (Code.INVALID_NUMBER, Code.DUPLICATE_RECIPIENT)


_KEEPS_KEY = frozenset({*_NEVER_RESERVED, Code.SUPPRESSED})


def conclude(stored: Stored, now_ms: int, results: Sequence[RecipientResult] | None = None) -> Ended:
    """Say how a notification ends, all of whose calls are done; ``results`` where they are known already."""
    notification = stored.notification
    if results is None:
        results = view_recipients(stored)
    unsent = [result for result in results if result.status is Status.NOT_SENT]
    # To send the same again is of no use where nobody who can be written to may be.
    codes = {result.code for result in unsent}
    in_vain = Code.SUPPRESSED in codes and codes.issubset(_KEEPS_KEY)
    return Ended(
        status=overall_status(results),
        at=now_ms,
        results=tuple(results),
        frees_key=notification.mode is Mode.SYNCHRONOUS and len(unsent) == len(results) and not in_vain,
        quota_given_back=sum(1 for result in unsent if result.code not in _NEVER_RESERVED),
        callback_url=notification.callback_url,
    )


def overview_of(stored: Stored) -> Overview:
    """What a list shows of a notification."""
    counts = count_recipients(stored)
    head = replace(stored.notification, entries=(), message=None)
    return Overview(head, common_status(counts), counts, stored.completed_at)


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
        never does. What the upstream said is kept where nothing better is known.
    """
    outcomes = list(call.outcomes)
    changed: list[int] = []
    for position, index in enumerate(call.recipients[: len(outcomes)]):
        answer = answers.get(index)
        if answer is None or answer.status not in DEFINITE or outcomes[position].status is not Status.UNKNOWN:
            continue
        outcomes[position] = Outcome(
            code=answer.code,
            upstream=answer.upstream or outcomes[position].upstream,
            resolved_by=resolved_by,
            rejection=answer.rejection,
        )
        changed.append(index)
    if not changed:
        return None
    return replace(call, outcomes=tuple(outcomes)), tuple(changed)
