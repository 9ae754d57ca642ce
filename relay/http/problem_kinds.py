"""The table of every problem: code → HTTP status, title, whether to send again, cause and remedy.

Source: SPEC section 2, "HTTP status and problem codes"; what is silent there stands below with its own reason.
"""

from msgspec import Struct

from relay.domain.codes import ProblemCode


class ProblemKind(Struct, frozen=True):
    """One row of the table.

    ``retry_safe`` tells whether the same request may be sent again without the risk of a second SMS; ``None`` where
    sending the same again is pointless or nothing was to be sent.
    """

    status: int
    title: str
    retry_safe: bool | None
    cause: str
    remedy: str


_MEND = "Mend the request and send it again; nothing was sent."
_WAIT = "Nothing was sent. Send the same request again after Retry-After."
_ASK = "Ask whoever runs the relay to change the client's settings."

PROBLEMS: dict[ProblemCode, ProblemKind] = {
    ProblemCode.INVALID_JSON: ProblemKind(
        400, "The body is not JSON", None, "It is not JSON in UTF-8, or nested more than 16 levels deep.", _MEND
    ),
    ProblemCode.UNSUPPORTED_MEDIA_TYPE: ProblemKind(
        415,
        "The media type is not accepted",
        None,
        "The Content-Type or Content-Encoding is not supported.",
        _MEND,
    ),
    ProblemCode.BODY_TOO_LARGE: ProblemKind(
        413, "The body is too large", None, "A body is at most 1 MiB, a batch 8 MiB.", "Split the request."
    ),
    ProblemCode.VALIDATION_FAILED: ProblemKind(
        422, "Fields are wrong", None, "One or more fields cannot be accepted; errors lists them all.", _MEND
    ),
    ProblemCode.USE_ASYNC: ProblemKind(
        422,
        "Nothing to wait for",
        None,
        "Above 100 recipients, or for a later time, nobody waits for the outcome.",
        "Send the header Prefer: respond-async, then look the outcome up.",
    ),
    ProblemCode.MESSAGE_TOO_LONG_ENCODED: ProblemKind(
        422,
        "The message is too long for the upstream's URL",
        None,
        "Percent-encoded, the text and one recipient take more than 6,000 bytes.",
        "Shorten the text, or fold it to GSM-7 with on_non_gsm.",
    ),
    ProblemCode.NON_GSM_TEXT: ProblemKind(
        422,
        "The message needs UCS-2",
        None,
        "on_non_gsm is reject, and the text has characters outside GSM-7.",
        "Replace them, or choose send, fold or fold-letters.",
    ),
    ProblemCode.NON_GSM_VALUE: ProblemKind(
        422,
        "A value of the template needs UCS-2",
        None,
        "A value has characters outside GSM-7, and the template was judged with those of GSM-7.",
        "Replace them, or use a template that says unicode = true.",
    ),
    ProblemCode.TOO_MANY_SEGMENTS: ProblemKind(
        422,
        "The message is too long",
        None,
        "It takes more segments than max_segments (or 10) allows.",
        "Shorten it; the relay never cuts a text.",
    ),
    ProblemCode.BLOCKED_WORDS: ProblemKind(
        422,
        "The message holds blocked words",
        None,
        "An entry of the relay's list (hits tells which and where), or of smsclone's own list, which it does not name.",
        "Reword the message; nothing was sent.",
    ),
    ProblemCode.BLOCKED_SENDER: ProblemKind(
        422,
        "The sender is blocked",
        None,
        "The sender ID is on the relay's list, or on smsclone's own.",
        "Use another sender; nothing was sent.",
    ),
    ProblemCode.QUIET_HOURS: ProblemKind(
        422,
        "Not at this hour",
        None,
        "Messages of this type are not sent now; allowed_from tells from when on.",
        "Send later, or with Prefer: respond-async, which holds it until then.",
    ),
    ProblemCode.OUTSIDE_WINDOW: ProblemKind(
        422,
        "Outside the delivery window",
        None,
        "The request's window, or the client's, is closed now; allowed_from tells from when on all hours are right.",
        "Send later, or with Prefer: respond-async, which holds it until then.",
    ),
    ProblemCode.UNAUTHENTICATED: ProblemKind(
        401,
        "No valid key",
        None,
        "The API key is missing, malformed, unknown, expired or revoked.",
        "Send Authorization: Bearer rk_<id>_<secret> with a current key.",
    ),
    ProblemCode.SENDER_NOT_ALLOWED: ProblemKind(
        403, "The sender is not yours", None, "The client may not use this sender ID.", _ASK
    ),
    ProblemCode.ROUTE_NOT_ALLOWED: ProblemKind(
        403,
        "The route is not allowed",
        None,
        "The client may not ask for this route, or it is a DND route for promotional traffic.",
        "Use auto, or ask whoever runs the relay.",
    ),
    ProblemCode.MESSAGE_TYPE_NOT_ALLOWED: ProblemKind(
        403, "The message type is not allowed", None, "The client may not send messages of this type.", _ASK
    ),
    ProblemCode.TEMPLATE_REQUIRED: ProblemKind(
        403,
        "This client sends by templates only",
        None,
        "The client's settings say templates_only, and the request has a message of its own.",
        "Name a template and its values; GET /v1/templates lists them.",
    ),
    ProblemCode.PERMISSION_MISSING: ProblemKind(
        403, "The permission is missing", None, "The client may not do this at all.", _ASK
    ),
    ProblemCode.IDEMPOTENCY_MISMATCH: ProblemKind(
        422,
        "The key belongs to another request",
        False,
        "This Idempotency-Key was used for a request with other content.",
        "Use a new key for a new message; to repeat one, send exactly the same request.",
    ),
    ProblemCode.IDEMPOTENCY_IN_PROGRESS: ProblemKind(
        409,
        "The first request is still running",
        False,
        "A request with this Idempotency-Key has no outcome yet.",
        "Ask again with the same key after Retry-After; a new key could send a second SMS.",
    ),
    ProblemCode.IDEMPOTENCY_KEY_EXPIRED: ProblemKind(
        422,
        "The key is too old",
        False,
        "This client's keys carry their time, and this one is older than keys are kept: nobody knows what it did.",
        "Look the message up by its reference or number; if it is to be sent, send it with a new key.",
    ),
    ProblemCode.INVALID_IDEMPOTENCY_KEY: ProblemKind(
        400,
        "The Idempotency-Key cannot be used",
        None,
        "It is malformed, was sent twice, is missing where the client's settings require it, or is not a UUIDv7 or ULID"
        " where they say that keys carry their time.",
        "Send one key of 1 to 255 visible ASCII characters.",
    ),
    ProblemCode.RATE_LIMITED: ProblemKind(
        429, "Too many requests", True, "The client sends more requests a second than it may.", _WAIT
    ),
    ProblemCode.QUOTA_EXCEEDED: ProblemKind(
        429,
        "The day's recipients are used up",
        True,
        "The client's recipients of today (Africa/Lagos) do not suffice for this request.",
        _WAIT,
    ),
    ProblemCode.BUDGET_EXCEEDED: ProblemKind(
        429,
        "The month's units are used up",
        True,
        "The client's units of the month (Africa/Lagos; an estimate) do not suffice for this request.",
        _WAIT,
    ),
    ProblemCode.RECIPIENT_CAPPED: ProblemKind(
        429,
        "Enough messages to these numbers",
        True,
        "Every recipient had as many messages of this type as a window allows.",
        _WAIT,
    ),
    ProblemCode.UPSTREAM_CREDENTIALS: ProblemKind(
        502,
        "smsclone refuses the relay's credentials",
        True,
        "TG11, TG12 or TG13: the relay's own settings are wrong.",
        "Nothing was sent. The operator mends the credentials; send again then.",
    ),
    ProblemCode.UPSTREAM_CONTRACT: ProblemKind(
        502,
        "smsclone refuses the call",
        True,
        "TG14, TG15, TG16, TG20 for a single recipient, or a code that is not documented.",
        "Nothing was sent. Report the id to the operator before sending again.",
    ),
    ProblemCode.UPSTREAM_NO_BALANCE: ProblemKind(
        503,
        "The units ran out",
        True,
        "TG17: not enough units at smsclone.",
        "Nothing was sent. The operator buys units; send again after Retry-After.",
    ),
    ProblemCode.UPSTREAM_UNREACHABLE: ProblemKind(
        503,
        "smsclone cannot be reached",
        True,
        "No connection was made, or the relay stopped trying for a while.",
        _WAIT,
    ),
    ProblemCode.JOURNAL_UNAVAILABLE: ProblemKind(
        503, "The journal cannot be used", True, "What is accepted must be written first, and that failed.", _WAIT
    ),
    ProblemCode.OVERLOADED: ProblemKind(
        503, "Too much at once", True, "As many notifications are under way as the relay takes on.", _WAIT
    ),
    ProblemCode.DRAINING: ProblemKind(
        503, "This instance stops or starts", True, "It takes nothing now; another instance does.", _WAIT
    ),
    ProblemCode.PAUSED: ProblemKind(503, "Sending is paused", True, "The operator stopped all sending.", _WAIT),
    ProblemCode.ALREADY_DIALLED: ProblemKind(
        409,
        "Too late to cancel or to move",
        None,
        "A call for this notification was made already.",
        "Look the notification up for its outcome.",
    ),
    ProblemCode.ALREADY_ENDED: ProblemKind(
        409,
        "It has ended",
        None,
        "The notification ended without a call: it expired, was cancelled, or nothing of it could be sent.",
        "Look the notification up for its outcome; nothing of it was sent.",
    ),
    ProblemCode.NOT_FOUND: ProblemKind(
        404, "Not found", None, "There is no such path, or no such notification of this client.", "Check path and id."
    ),
    ProblemCode.METHOD_NOT_ALLOWED: ProblemKind(
        405, "The method is not allowed", None, "This path has other methods.", "Use one that the Allow header names."
    ),
    ProblemCode.BAD_REQUEST: ProblemKind(
        400,
        "The request is malformed",
        None,
        "Its head contradicts itself, or the body did not arrive in full or in time.",
        _MEND,
    ),
    ProblemCode.INTERNAL_ERROR: ProblemKind(
        500,
        "A bug of the relay",
        None,
        "Something went wrong before the request was accepted.",
        "Report the request_id to whoever runs the relay.",
    ),
}
