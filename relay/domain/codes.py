"""The closed vocabularies of the relay: every status, code, route and message type that can leave it.

Owns which status each recipient code implies and which answers are safe to repeat. It must never learn a code of the
upstream (``relay.smsclone.upstream_codes`` translates those) nor an HTTP status (``relay.http.problems`` does).
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """What became of one recipient."""

    SENT = "sent"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"


class NotificationStatus(StrEnum):
    """What became of a whole notification: the status that its recipients share, or ``partial``."""

    SENT = "sent"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    PARTIAL = "partial"


class Code(StrEnum):
    """Why a recipient has its status."""

    SENT = "sent"
    SENT_DND = "sent_dnd"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    DND_REJECTED = "dnd_rejected"
    NO_ANSWER = "no_answer"
    UNREADABLE_ANSWER = "unreadable_answer"
    MISSING_IN_ANSWER = "missing_in_answer"
    UNLISTED_CODE = "unlisted_code"
    CONFLICTING_ANSWER = "conflicting_answer"
    INTERRUPTED = "interrupted"
    INVALID_NUMBER = "invalid_number"
    RECIPIENT_CAPPED = "recipient_capped"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_REJECTED = "upstream_rejected"
    INTERRUPTED_BEFORE_DIAL = "interrupted_before_dial"
    QUEUED = "queued"
    SCHEDULED = "scheduled"
    HELD_QUIET_HOURS = "held_quiet_hours"
    HELD_WINDOW = "held_window"
    DIALLING = "dialling"
    DUPLICATE_RECIPIENT = "duplicate_recipient"


STATUS_OF: dict[Code, Status] = {
    Code.SENT: Status.SENT,
    Code.SENT_DND: Status.SENT,
    Code.DELIVERED: Status.SENT,
    Code.REJECTED: Status.REJECTED,
    Code.DND_REJECTED: Status.REJECTED,
    Code.NO_ANSWER: Status.UNKNOWN,
    Code.UNREADABLE_ANSWER: Status.UNKNOWN,
    Code.MISSING_IN_ANSWER: Status.UNKNOWN,
    Code.UNLISTED_CODE: Status.UNKNOWN,
    Code.CONFLICTING_ANSWER: Status.UNKNOWN,
    Code.INTERRUPTED: Status.UNKNOWN,
    Code.INVALID_NUMBER: Status.NOT_SENT,
    Code.RECIPIENT_CAPPED: Status.NOT_SENT,
    Code.SUPPRESSED: Status.NOT_SENT,
    Code.EXPIRED: Status.NOT_SENT,
    Code.DEADLINE: Status.NOT_SENT,
    Code.CANCELLED: Status.NOT_SENT,
    Code.UPSTREAM_UNREACHABLE: Status.NOT_SENT,
    Code.UPSTREAM_REJECTED: Status.NOT_SENT,
    Code.INTERRUPTED_BEFORE_DIAL: Status.NOT_SENT,
    Code.QUEUED: Status.QUEUED,
    Code.SCHEDULED: Status.QUEUED,
    Code.HELD_QUIET_HOURS: Status.QUEUED,
    Code.HELD_WINDOW: Status.QUEUED,
    Code.DIALLING: Status.IN_PROGRESS,
}
"""The one status that each code has. ``duplicate_recipient`` is absent: it takes the status of the first entry."""

TERMINAL: frozenset[Status] = frozenset({Status.SENT, Status.REJECTED, Status.UNKNOWN, Status.NOT_SENT})
"""The statuses in which a recipient may stay for ever."""

DEFINITE: frozenset[Status] = frozenset({Status.SENT, Status.REJECTED, Status.NOT_SENT})
"""The statuses that a later answer never changes."""


class MessageType(StrEnum):
    """The traffic class that the caller states."""

    OTP = "otp"
    ALERT = "alert"
    TRANSACTIONAL = "transactional"
    PROMOTIONAL = "promotional"


class Route(StrEnum):
    """A send path of the upstream (seed: normal, DND, DND fall-back)."""

    NORMAL = "normal"
    DND = "dnd"
    DND_FALLBACK = "dnd-fallback"


class RequestedRoute(StrEnum):
    """What a caller may ask for: a route, or ``auto`` for the settings' table."""

    AUTO = "auto"
    NORMAL = "normal"
    DND = "dnd"
    DND_FALLBACK = "dnd-fallback"


class AccountReason(StrEnum):
    """Why a call did not go by the first account of its client's list."""

    BREAKER_OPEN = "breaker_open"
    """It does not answer, or refused our credentials before; its breaker is open."""
    NO_BALANCE = "no_balance"
    PAUSED = "paused"
    CREDENTIALS = "credentials"
    """It refused our credentials for this very call."""
    UNREACHABLE = "unreachable"
    """No connection to it was made for this very call."""
    SENDER_NOT_REGISTERED = "sender_not_registered"


class RouteReason(StrEnum):
    """Why a notification takes its route."""

    DEFAULT = "default"
    """``auto``, and the table gives the shipped route."""
    CONFIGURED = "configured"
    """``auto``, and the operator's settings give another route than the shipped one."""
    PROMOTIONAL = "promotional"
    """``auto`` for promotional traffic, which may only go by the normal route."""
    REQUESTED = "requested"
    """The caller asked for this route by name, and may."""


class Encoding(StrEnum):
    """How a text travels (3GPP TS 23.038)."""

    GSM_7 = "gsm-7"
    UCS_2 = "ucs-2"


class OnNonGsm(StrEnum):
    """What to do with a text that GSM-7 cannot carry."""

    SEND = "send"
    FOLD = "fold"
    FOLD_LETTERS = "fold-letters"
    REJECT = "reject"


class NumberReason(StrEnum):
    """Why a recipient's number is refused."""

    EMPTY = "empty"
    BAD_CHARACTER = "bad_character"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    FOREIGN = "foreign"
    NOT_MOBILE = "not_mobile"
    UNASSIGNED = "unassigned"


class Source(StrEnum):
    """Where a notification came in."""

    API = "api"
    BATCH = "batch"
    ALERTMANAGER = "alertmanager"
    GRAFANA = "grafana"
    GENERIC = "generic"
    OPERATOR = "operator"


class Permission(StrEnum):
    """What a client may do."""

    SEND = "send"
    READ = "read"
    PREVIEW = "preview"
    BALANCE = "balance"
    USAGE = "usage"
    """Read what the client itself used."""
    SUPPRESS = "suppress"
    """Say to which numbers the client's own messages are not to go."""
    OPERATE = "operate"
    """Pause and resume, list and resolve unknown outcomes, erase: the operator's commands go through the server."""


class ResolvedBy(StrEnum):
    """What turned an ``unknown`` outcome into a definite one."""

    LATE_ANSWER = "late_answer"
    OPERATOR = "operator"


class ProblemCode(StrEnum):
    """Every ``code`` that a problem document can carry (SPEC section 2, HTTP status and problem codes)."""

    INVALID_JSON = "invalid_json"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    BODY_TOO_LARGE = "body_too_large"
    VALIDATION_FAILED = "validation_failed"
    USE_ASYNC = "use_async"
    MESSAGE_TOO_LONG_ENCODED = "message_too_long_encoded"
    NON_GSM_TEXT = "non_gsm_text"
    NON_GSM_VALUE = "non_gsm_value"
    TOO_MANY_SEGMENTS = "too_many_segments"
    BLOCKED_WORDS = "blocked_words"
    BLOCKED_SENDER = "blocked_sender"
    QUIET_HOURS = "quiet_hours"
    OUTSIDE_WINDOW = "outside_window"
    UNAUTHENTICATED = "unauthenticated"
    SENDER_NOT_ALLOWED = "sender_not_allowed"
    ROUTE_NOT_ALLOWED = "route_not_allowed"
    MESSAGE_TYPE_NOT_ALLOWED = "message_type_not_allowed"
    TEMPLATE_REQUIRED = "template_required"
    PERMISSION_MISSING = "permission_missing"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"
    IDEMPOTENCY_KEY_EXPIRED = "idempotency_key_expired"
    INVALID_IDEMPOTENCY_KEY = "invalid_idempotency_key"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    BUDGET_EXCEEDED = "budget_exceeded"
    RECIPIENT_CAPPED = "recipient_capped"
    UPSTREAM_CREDENTIALS = "upstream_credentials"
    UPSTREAM_CONTRACT = "upstream_contract"
    UPSTREAM_NO_BALANCE = "upstream_no_balance"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    JOURNAL_UNAVAILABLE = "journal_unavailable"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    PAUSED = "paused"
    ALREADY_DIALLED = "already_dialled"
    ALREADY_ENDED = "already_ended"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BAD_REQUEST = "bad_request"
    INTERNAL_ERROR = "internal_error"
    """A bug of ours before the claim: certainly nothing was sent."""


FIELD_PROBLEMS: Final = (
    ProblemCode.USE_ASYNC,
    ProblemCode.MESSAGE_TOO_LONG_ENCODED,
    ProblemCode.NON_GSM_TEXT,
    ProblemCode.NON_GSM_VALUE,
    ProblemCode.TOO_MANY_SEGMENTS,
)
"""Field errors that are a problem of their own when nothing else is wrong (SPEC section 2)."""


class Rejection(StrEnum):
    """Why an upstream refused a whole batch. Nothing of it was processed."""

    CREDENTIALS = "credentials"
    """User name or password."""
    CONTRACT = "contract"
    """The call itself was wrong, or the reason is undocumented."""
    NO_BALANCE = "no_balance"
    BLOCKED_SENDER = "blocked_sender"
    BLOCKED_WORDS = "blocked_words"
    TOO_MANY_RECIPIENTS = "too_many_recipients"

    @property
    def problem(self) -> ProblemCode:
        """The problem code for a caller whose whole notification was refused for this reason."""
        return _PROBLEM_OF[self]


_PROBLEM_OF: dict[Rejection, ProblemCode] = {
    Rejection.CREDENTIALS: ProblemCode.UPSTREAM_CREDENTIALS,
    Rejection.CONTRACT: ProblemCode.UPSTREAM_CONTRACT,
    Rejection.NO_BALANCE: ProblemCode.UPSTREAM_NO_BALANCE,
    Rejection.BLOCKED_SENDER: ProblemCode.BLOCKED_SENDER,
    Rejection.BLOCKED_WORDS: ProblemCode.BLOCKED_WORDS,
    Rejection.TOO_MANY_RECIPIENTS: ProblemCode.UPSTREAM_CONTRACT,
}


def is_retry_safe(status: Status) -> bool:
    """Whether the caller may send again: only if certainly nothing was sent."""
    return status is Status.NOT_SENT


def common_status(statuses: Iterable[Status]) -> NotificationStatus:
    """The status that all recipients share, or ``partial`` if they differ.

    Raises:
        ValueError: there are no recipients.
    """
    distinct = set(statuses)
    if not distinct:
        raise ValueError("a notification has at least one recipient")
    if len(distinct) > 1:
        return NotificationStatus.PARTIAL
    return NotificationStatus(distinct.pop().value)
