"""Facts that the core states; ``relay.observability.recorder`` turns them into log lines and counters.

No event holds a text, a password or a key; numbers are not in events either, only counts.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol

from msgspec import Struct

from relay.domain.codes import (
    AccountReason,
    Code,
    Encoding,
    MessageType,
    NotificationStatus,
    ProblemCode,
    Rejection,
    RequestedRoute,
    ResolvedBy,
    Route,
    RouteReason,
    Source,
    Status,
)
from relay.domain.notification import Mode
from relay.domain.pausing import SendingPause
from relay.sending.ports import SendOutcome


class Refused(Struct, frozen=True, kw_only=True):
    """A no before the claim. ``stage`` is where: ``prepare``, ``accept``; the front adds ``edge`` and ``auth``."""

    stage: str
    code: ProblemCode
    client: str | None
    source: Source
    limit: str | None = None
    shed: str | None = None
    """Why there was no place, where all were held."""


class WordsHit(Struct, frozen=True, kw_only=True):
    """One hit of the prefilter; ``action`` is ``block`` or ``warn``, ``field`` is ``sender`` or ``message``."""

    category: str
    action: str
    field: str


class WordsMissed(Struct, frozen=True, kw_only=True):
    """The upstream blocked what our list let pass: the sender, or words of the message."""

    notification_id: str
    client: str
    field: str
    sender: str


class KeyChecked(Struct, frozen=True, kw_only=True):
    """What an idempotency key met: ``new``, ``replayed``, ``in_progress``, ``mismatch``, ``none``."""

    result: str


class NotificationClaimed(Struct, frozen=True, kw_only=True):
    """Accepted and in the journal."""

    notification_id: str
    client: str
    source: Source
    mode: Mode
    message_type: MessageType
    route: Route
    encoding: Encoding
    segments: int
    recipients: int
    calls: int
    route_requested: RequestedRoute
    route_reason: RouteReason
    traceparent: str | None = None


class CallFinished(Struct, frozen=True, kw_only=True):
    """One GET is over and recorded (or kept in memory, if the journal is away)."""

    notification_id: str
    ordinal: int
    account: str
    account_reason: AccountReason | None
    route: Route
    recipients: int
    outcome: SendOutcome
    cause: str
    seconds: float
    upstream_code: str | None
    warnings: tuple[str, ...]
    attempt: int
    rejection: Rejection | None = None
    sandbox: bool = False
    traceparent: str | None = None


class NotificationCompleted(Struct, frozen=True, kw_only=True):
    """Every recipient has a terminal status."""

    notification_id: str
    client: str
    source: Source
    mode: Mode
    message_type: MessageType
    route: Route
    status: NotificationStatus
    recipients: Mapping[tuple[Status, Code], int]
    calls: int
    seconds: float
    request_id: str | None = None
    route_reason: RouteReason | None = None
    sandbox: bool = False
    traceparent: str | None = None


class UnknownSettled(Struct, frozen=True, kw_only=True):
    """Outcomes that nobody knew became definite."""

    notification_id: str
    client: str
    resolved_by: ResolvedBy
    recipients: int


class BalanceRead(Struct, frozen=True, kw_only=True):
    """A look at the units left; ``units`` is ``None`` where it failed, ``cause`` says why."""

    account: str
    units: str | None
    at: int
    seconds: float
    cause: str | None


class BreakerChanged(Struct, frozen=True, kw_only=True):
    """The circuit breaker moved: ``closed``, ``open``, ``half_open``; ``reason`` is a closed word."""

    account: str
    state: str
    reason: str


class CredentialsJudged(Struct, frozen=True, kw_only=True):
    """Changed credentials of an account were proven by its balance call and taken, or were not: then the old ones stay.

    ``cause`` is a closed word, or the code that the upstream gave.
    """

    account: str
    taken: bool
    cause: str


class JournalFailed(Struct, frozen=True, kw_only=True):
    """The journal did not take or give something; ``during`` names the operation, ``reason`` why."""

    during: str
    reason: str


class Recovered(Struct, frozen=True, kw_only=True):
    """What a dead process left was settled."""

    notifications: int
    interrupted: int
    before_dial: int
    requeued: int


class Paused(Struct, frozen=True, kw_only=True):
    """An operator stopped something, or it goes on: because somebody resumed it, or by itself.

    ``everything`` is whether all sending is stopped after it.
    """

    pause: SendingPause
    over: bool
    everything: bool


class AuditSealed(Struct, frozen=True, kw_only=True):
    """The newest hash of the audit, and its row (none yet): to be found again by ``relay audit verify --expect``."""

    hash: str
    row: int | None


class UnknownMeasured(Struct, frozen=True, kw_only=True):
    """How many recipients nobody knows about now, by account, and how long the oldest notification of them has been
    accepted."""

    recipients: Mapping[str, int]
    oldest_age_seconds: float


class BudgetMeasured(Struct, frozen=True, kw_only=True):
    """How much of its units of a month a client has used or reserved; ``reached``: a per cent it has just come to."""

    client: str
    month: str
    ratio: float
    used: Decimal
    limit: Decimal
    reached: int | None


class BalanceDrifted(Struct, frozen=True, kw_only=True):
    """By how many units a balance fell beyond what calls explain since it last rose; 0 at replicas that do not look."""

    account: str
    units: Decimal


class QueueMeasured(Struct, frozen=True, kw_only=True):
    """How much waits: notifications by state, and how long the oldest has been due."""

    queued: int
    held: int
    scheduled: int
    claimed: int
    oldest_age_seconds: float


class Drained(Struct, frozen=True, kw_only=True):
    """The process stops: how many sends were finished, how many had to be left."""

    drained: int
    abandoned: int


class TaskFailed(Struct, frozen=True, kw_only=True):
    """A bug of ours: the class of the exception and where, never its text."""

    task: str
    exception: str
    notification_id: str | None = None


Event = (
    Refused
    | WordsHit
    | WordsMissed
    | KeyChecked
    | NotificationClaimed
    | CallFinished
    | NotificationCompleted
    | UnknownSettled
    | BalanceRead
    | BreakerChanged
    | CredentialsJudged
    | JournalFailed
    | Recovered
    | Paused
    | AuditSealed
    | UnknownMeasured
    | BudgetMeasured
    | BalanceDrifted
    | QueueMeasured
    | Drained
    | TaskFailed
)


class Events(Protocol):
    """Where facts go. Never raises, never blocks."""

    def emit(self, event: Event) -> None:
        """Take one fact."""
        ...
