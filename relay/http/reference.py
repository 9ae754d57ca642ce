"""The operations of the API as data, for the OpenAPI document: what each takes, answers and refuses.

``tests/unit/http`` hold it against the routes, and against what a running relay answers.
"""

from msgspec import Struct

from relay.domain.codes import Permission, ProblemCode
from relay.domain.codes import ProblemCode as P

JSON = "application/json"
NDJSON = "application/x-ndjson"


class Content(Struct, frozen=True):
    """A body: its media type, the name of its schema (``None``: text), the name of its example."""

    media_type: str
    schema: str | None
    example: str | None = None


class Outcome(Struct, frozen=True):
    """An answer that is no problem."""

    status: int
    description: str
    contents: tuple[Content, ...] = ()
    headers: tuple[str, ...] = ()


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    text: str
    permission: Permission | None = None
    schemes: tuple[str, ...] = ("key",)
    """How the caller may say who it is, where a permission is needed."""
    parameters: tuple[str, ...] = ()
    body: tuple[Content, ...] = ()
    outcomes: tuple[Outcome, ...]
    problems: tuple[ProblemCode, ...] = ()
    come_again: tuple[ProblemCode, ...] = ()
    """Problems that are 503 here, whatever they are elsewhere."""


ALWAYS = (P.BAD_REQUEST, P.INTERNAL_ERROR)
"""What any request can be answered with."""

ANY_CALLER = (P.UNAUTHENTICATED, P.PERMISSION_MISSING)
ANY_BODY = (P.INVALID_JSON, P.UNSUPPORTED_MEDIA_TYPE, P.BODY_TOO_LARGE, P.VALIDATION_FAILED)
JUDGED = (P.USE_ASYNC, P.MESSAGE_TOO_LONG_ENCODED, P.NON_GSM_TEXT, P.TOO_MANY_SEGMENTS)
NOT_ALLOWED = (P.SENDER_NOT_ALLOWED, P.ROUTE_NOT_ALLOWED, P.MESSAGE_TYPE_NOT_ALLOWED)
LIMITS = (P.RATE_LIMITED, P.QUOTA_EXCEEDED, P.RECIPIENT_CAPPED)
UNAVAILABLE = (P.JOURNAL_UNAVAILABLE, P.OVERLOADED, P.DRAINING, P.PAUSED)

NOTIFICATION = Content(JSON, "Notification", "notification")
QUEUED = Content(JSON, "Notification", "queued")
