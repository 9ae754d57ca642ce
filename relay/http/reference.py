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
    parameters: tuple[str, ...] = ()
    body: tuple[Content, ...] = ()
    outcomes: tuple[Outcome, ...]
    problems: tuple[ProblemCode, ...] = ()


ALWAYS = (P.BAD_REQUEST, P.INTERNAL_ERROR)
_KEY = (P.UNAUTHENTICATED, P.PERMISSION_MISSING)
_BODY = (P.INVALID_JSON, P.UNSUPPORTED_MEDIA_TYPE, P.BODY_TOO_LARGE, P.VALIDATION_FAILED)
_JUDGED = (P.USE_ASYNC, P.MESSAGE_TOO_LONG_ENCODED, P.NON_GSM_TEXT, P.TOO_MANY_SEGMENTS)
_NOT_ALLOWED = (P.SENDER_NOT_ALLOWED, P.ROUTE_NOT_ALLOWED, P.MESSAGE_TYPE_NOT_ALLOWED)
_WORDS = (P.BLOCKED_WORDS, P.BLOCKED_SENDER, P.QUIET_HOURS)
_IDEMPOTENCY = (P.IDEMPOTENCY_MISMATCH, P.IDEMPOTENCY_IN_PROGRESS, P.INVALID_IDEMPOTENCY_KEY)
_LIMITS = (P.RATE_LIMITED, P.QUOTA_EXCEEDED, P.RECIPIENT_CAPPED)
_UPSTREAM = (P.UPSTREAM_CREDENTIALS, P.UPSTREAM_CONTRACT, P.UPSTREAM_NO_BALANCE, P.UPSTREAM_UNREACHABLE)
_UNAVAILABLE = (P.JOURNAL_UNAVAILABLE, P.OVERLOADED, P.DRAINING, P.PAUSED)

_NOTIFICATION = Content(JSON, "Notification", "notification")
_QUEUED = Content(JSON, "Notification", "queued")
_SENT_WITH = ("Idempotency-Replayed", "Preference-Applied")

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/v1/notifications",
        name="sendNotification",
        tag="Sending",
        summary="Send a message",
        text=(
            "Answers 200 with one entry for each requested number, whatever became of it: look at `status` and"
            " `retry_safe`. With `Prefer: respond-async` it answers 202 and the outcome is looked up later. A 5xx means"
            " that certainly nothing was sent. `unknown` means that the message may be on its way: never send it again"
            " without looking."
        ),
        permission=Permission.SEND,
        parameters=("IdempotencyKey", "Prefer", "RequestId"),
        body=(Content(JSON, "NotificationRequest", "request"),),
        outcomes=(
            Outcome(200, "What became of each recipient.", (_NOTIFICATION,), _SENT_WITH),
            Outcome(202, "Accepted for later.", (_QUEUED,), (*_SENT_WITH, "Location")),
        ),
        problems=(
            *(*_KEY, *_BODY, *_JUDGED, *_NOT_ALLOWED, *_WORDS, *_IDEMPOTENCY, *_LIMITS, *_UPSTREAM, *_UNAVAILABLE),
        ),
    ),
    Operation(
        method="POST",
        path="/v1/notifications/batch",
        name="sendBatch",
        tag="Sending",
        summary="Send up to 1,000 different messages",
        text=(
            "A JSON array, or NDJSON with one request a line; NDJSON in gives NDJSON out, a line an item, without the"
            " totals. Always asynchronous. Each item is accepted or refused by itself. An item's own `idempotency_key`"
            " counts; where it has none, its key is `<Idempotency-Key header>:<index>` (where that is longer than 255"
            " characters, the hex SHA-256 of the header stands for it)."
        ),
        permission=Permission.SEND,
        parameters=("IdempotencyKey", "RequestId"),
        body=(Content(JSON, "BatchRequest", "batch"), Content(NDJSON, None, "batch_lines")),
        outcomes=(
            Outcome(
                202,
                "At least one item was accepted.",
                (Content(JSON, "Batch", "batch_answer"), Content(NDJSON, None)),
            ),
            Outcome(422, "No item was accepted.", (Content(JSON, "Batch"), Content(NDJSON, None))),
        ),
        problems=(*_KEY, *_BODY, P.INVALID_IDEMPOTENCY_KEY, P.RATE_LIMITED, *_UNAVAILABLE),
    ),
    Operation(
        method="POST",
        path="/v1/notifications/preview",
        name="previewNotification",
        tag="Sending",
        summary="See how a message would go out",
        text=(
            "Everything but the send: numbers, text, segments, word lists, route, calls. 200 wherever the request is"
            " well formed; what a send would be refused for is under `problems`. Units are an estimate."
        ),
        permission=Permission.PREVIEW,
        parameters=("Prefer", "RequestId"),
        body=(Content(JSON, "NotificationRequest", "request"),),
        outcomes=(Outcome(200, "How it would go out.", (Content(JSON, "Preview", "preview"),)),),
        problems=(*_KEY, *_BODY, *_JUDGED, P.RATE_LIMITED),
    ),
    Operation(
        method="GET",
        path="/v1/notifications",
        name="listNotifications",
        tag="Looking up",
        summary="List notifications, newest first",
        text="The notifications of this client that match every filter, page by page.",
        permission=Permission.READ,
        parameters=(
            *("Reference", "IdempotencyKeyFilter", "Status", "CreatedFrom", "CreatedTo", "Limit", "Cursor"),
            "RequestId",
        ),
        outcomes=(Outcome(200, "A page.", (Content(JSON, "NotificationPage"),)),),
        problems=(*_KEY, P.VALIDATION_FAILED, P.JOURNAL_UNAVAILABLE),
    ),
    Operation(
        method="GET",
        path="/v1/notifications/{id}",
        name="getNotification",
        tag="Looking up",
        summary="Look a notification up",
        text="Status and outcomes, for the client that sent it; to others it does not exist.",
        permission=Permission.READ,
        parameters=("Id", "RequestId"),
        outcomes=(Outcome(200, "The notification as it stands.", (_NOTIFICATION,)),),
        problems=(*_KEY, P.NOT_FOUND, P.JOURNAL_UNAVAILABLE),
    ),
    Operation(
        method="DELETE",
        path="/v1/notifications/{id}",
        name="cancelNotification",
        tag="Sending",
        summary="Cancel what is still queued",
        text="Its recipients end as `not_sent`, `cancelled`. Once a call was made it is too late.",
        permission=Permission.SEND,
        parameters=("Id", "RequestId"),
        outcomes=(Outcome(200, "The notification, cancelled.", (_NOTIFICATION,)),),
        problems=(*_KEY, P.NOT_FOUND, P.ALREADY_DIALLED, P.JOURNAL_UNAVAILABLE),
    ),
    Operation(
        method="GET",
        path="/v1/balance",
        name="getBalance",
        tag="Looking up",
        summary="Units left at smsclone",
        text="Read now. A sandbox client sees the stand-in's.",
        permission=Permission.BALANCE,
        parameters=("RequestId",),
        outcomes=(Outcome(200, "The balance.", (Content(JSON, "Balance", "balance"),)),),
        problems=(*_KEY, P.UPSTREAM_UNREACHABLE),
    ),
    Operation(
        method="POST",
        path="/v1/operator/pause",
        name="pause",
        tag="Operating",
        summary="Stop all sending",
        text="On all replicas, within a second. Queued messages wait; waiting callers get 503 `paused`.",
        permission=Permission.OPERATE,
        parameters=("RequestId",),
        outcomes=(Outcome(200, "Sending is stopped.", (Content(JSON, "Paused"),)),),
        problems=(*_KEY, P.JOURNAL_UNAVAILABLE),
    ),
    Operation(
        method="POST",
        path="/v1/operator/resume",
        name="resume",
        tag="Operating",
        summary="Start sending again",
        text="On all replicas, within a second.",
        permission=Permission.OPERATE,
        parameters=("RequestId",),
        outcomes=(Outcome(200, "Sending goes on.", (Content(JSON, "Paused"),)),),
        problems=(*_KEY, P.JOURNAL_UNAVAILABLE),
    ),
    Operation(
        method="GET",
        path="/v1/operator/unknown",
        name="listUnknown",
        tag="Operating",
        summary="Outcomes that nobody knows",
        text="Notifications of all clients with recipients whose outcome is `unknown`, newest first.",
        permission=Permission.OPERATE,
        parameters=("Limit", "Cursor", "RequestId"),
        outcomes=(Outcome(200, "A page.", (Content(JSON, "NotificationPage"),)),),
        problems=(*_KEY, P.VALIDATION_FAILED, P.JOURNAL_UNAVAILABLE),
    ),
    Operation(
        method="POST",
        path="/v1/operator/unknown/{id}/resolve",
        name="resolveUnknown",
        tag="Operating",
        summary="Settle an unknown outcome by hand",
        text="All unknown recipients of the notification, or those that are given, become `sent` or `not_sent`.",
        permission=Permission.OPERATE,
        parameters=("Id", "RequestId"),
        body=(Content(JSON, "ResolveRequest", "resolve"),),
        outcomes=(Outcome(200, "The notification after it.", (_NOTIFICATION,)),),
        problems=(*_KEY, *_BODY, P.NOT_FOUND, P.JOURNAL_UNAVAILABLE),
    ),
    Operation(
        method="POST",
        path="/v1/operator/unknown/{id}/resend",
        name="resendUnknown",
        tag="Operating",
        summary="Send once more to unknown recipients",
        text=(
            "The relay erased the text, so it is given again and checked against its hash. What is sent is a"
            " notification of its own, in the name of the original client."
        ),
        permission=Permission.OPERATE,
        parameters=("Id", "RequestId"),
        body=(Content(JSON, "ResendRequest", "resend"),),
        outcomes=(Outcome(202, "The new notification.", (_QUEUED,), ("Location",)),),
        problems=(
            *(*_KEY, *_BODY, *_JUDGED, *_NOT_ALLOWED, P.BLOCKED_WORDS, P.BLOCKED_SENDER, P.NOT_FOUND),
            *(*_LIMITS, *_UNAVAILABLE, P.IDEMPOTENCY_MISMATCH),
        ),
    ),
    Operation(
        method="POST",
        path="/v1/operator/erase",
        name="eraseRecipient",
        tag="Operating",
        summary="Erase a number",
        text="From every finished notification, before its retention ends.",
        permission=Permission.OPERATE,
        parameters=("RequestId",),
        body=(Content(JSON, "EraseRequest", "erase"),),
        outcomes=(Outcome(200, "From how many it was erased.", (Content(JSON, "Erased"),)),),
        problems=(*_KEY, *_BODY, P.JOURNAL_UNAVAILABLE),
    ),
    Operation(
        method="GET",
        path="/healthz",
        name="live",
        tag="Watching",
        summary="Liveness",
        text="Answers as long as the event loop turns.",
        outcomes=(Outcome(200, "It turns.", (Content(JSON, "Live"),)),),
    ),
    Operation(
        method="GET",
        path="/readyz",
        name="ready",
        tag="Watching",
        summary="Readiness",
        text="Started and not draining. Journal, upstream and word lists are told, and do not decide.",
        outcomes=(
            Outcome(200, "Requests may come.", (Content(JSON, "Health"),)),
            Outcome(503, "None should come now.", (Content(JSON, "Health"),)),
        ),
    ),
    Operation(
        method="GET",
        path="/metrics",
        name="metrics",
        tag="Watching",
        summary="Metrics",
        text="Prometheus text or OpenMetrics, by `Accept`; absent where a listener of its own has them.",
        outcomes=(
            Outcome(
                200,
                "Everything counted so far.",
                (Content("text/plain", None), Content("application/openmetrics-text", None)),
            ),
        ),
    ),
)
