"""What calling services do: send, cancel, look up."""

from relay.domain.codes import Permission
from relay.domain.codes import ProblemCode as P
from relay.http.reference import (
    ANY_BODY,
    ANY_CALLER,
    JSON,
    JUDGED,
    LIMITS,
    NDJSON,
    NOT_ALLOWED,
    NOTIFICATION,
    QUEUED,
    UNAVAILABLE,
    Content,
    Operation,
    Outcome,
)

_WORDS = (P.BLOCKED_WORDS, P.BLOCKED_SENDER, P.QUIET_HOURS)
_IDEMPOTENCY = (P.IDEMPOTENCY_MISMATCH, P.IDEMPOTENCY_IN_PROGRESS, P.INVALID_IDEMPOTENCY_KEY)
_UPSTREAM = (P.UPSTREAM_CREDENTIALS, P.UPSTREAM_CONTRACT, P.UPSTREAM_NO_BALANCE, P.UPSTREAM_UNREACHABLE)
_SENT_WITH = ("Idempotency-Replayed", "Preference-Applied")

CALLING: tuple[Operation, ...] = (
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
            Outcome(200, "What became of each recipient.", (NOTIFICATION,), _SENT_WITH),
            Outcome(202, "Accepted for later.", (QUEUED,), (*_SENT_WITH, "Location")),
        ),
        problems=(
            *(*ANY_CALLER, *ANY_BODY, *JUDGED, *NOT_ALLOWED, *_WORDS, *_IDEMPOTENCY, *LIMITS, *_UPSTREAM, *UNAVAILABLE),
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
        problems=(*ANY_CALLER, *ANY_BODY, P.INVALID_IDEMPOTENCY_KEY, P.RATE_LIMITED, *UNAVAILABLE),
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
        problems=(*ANY_CALLER, *ANY_BODY, *JUDGED, P.RATE_LIMITED),
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
        problems=(*ANY_CALLER, P.VALIDATION_FAILED, P.JOURNAL_UNAVAILABLE),
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
        outcomes=(Outcome(200, "The notification as it stands.", (NOTIFICATION,)),),
        problems=(*ANY_CALLER, P.NOT_FOUND, P.JOURNAL_UNAVAILABLE),
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
        outcomes=(Outcome(200, "The notification, cancelled.", (NOTIFICATION,)),),
        problems=(*ANY_CALLER, P.NOT_FOUND, P.ALREADY_DIALLED, P.JOURNAL_UNAVAILABLE),
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
        problems=(*ANY_CALLER, P.UPSTREAM_UNREACHABLE),
    ),
    Operation(
        method="POST",
        path="/v1/webhooks/{kind}/{receiver}",
        name="receiveWebhook",
        tag="Webhooks",
        summary="Turn an alert into a page",
        text=(
            "For Alertmanager, Grafana, and senders that cannot be changed (`generic`, mapped in the settings). Always"
            " asynchronous; an alert that was accepted within ten minutes is not sent again. Whatever may pass is 503,"
            " limits included, because Alertmanager gives up on everything else; `code` still says what it was. Besides"
            " the schemes here, Grafana may sign its body (HMAC), where the receiver has a secret."
        ),
        permission=Permission.SEND,
        schemes=("key", "basic"),
        parameters=("Kind", "Receiver", "RequestId"),
        body=(Content(JSON, "AlertsBody", "alerts"),),
        outcomes=(Outcome(202, "Accepted, or accepted before.", (Content(JSON, "AlertsAccepted"),)),),
        problems=(*ANY_CALLER, *ANY_BODY, P.NOT_FOUND, *NOT_ALLOWED, P.BLOCKED_WORDS, *UNAVAILABLE),
        come_again=(*LIMITS, *_UPSTREAM, P.IDEMPOTENCY_IN_PROGRESS),
    ),
)
