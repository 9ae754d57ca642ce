"""What callers send, as structs, and the way from bytes to them.

Limits that the core judges (counts, lengths, ranges) are in the schemas for readers only: it words them better.
Decoding goes straight into a struct. That stops at the first error and names foreign fields, so whatever fails is
looked at again, slowly, in ``validation``: all errors at once, and no name or value that is not ours.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from relay.domain.callback_rules import LONGEST_URL
from relay.domain.codes import MessageType, OnNonGsm, ProblemCode, RequestedRoute
from relay.domain.errors import FieldError, Refusal, ValidationFailed
from relay.domain.templates import TemplateUse
from relay.http.times import to_milliseconds
from relay.http.validation import check_names, find_shape_errors, quote_names
from relay.sending.requests import AskedWindow, Submission

_CLOCK = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
Moment = Annotated[datetime, Meta(tz=True)]


class TemplateRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """A template in place of a text, with its values."""

    name: Annotated[str, Meta(description="One of those that GET /v1/templates lists.")]
    language: Annotated[str | None, Meta(description="One of its languages; left out: its first.")] = None
    version: Annotated[int | None, Meta(description="One of its versions; left out: the newest.")] = None
    values: Annotated[
        dict[str, Any],
        Meta(
            description="Every value that it declares; each stays text, whatever it looks like.",
            extra_json_schema={"additionalProperties": {"type": "string"}},
        ),
    ] = field(default_factory=dict)


class DeliveryWindowRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """When a message may be sent: from one minute of the day up to, not including, another; it may pass midnight."""

    begin: Annotated[
        str, Meta(description="When it opens.", extra_json_schema={"pattern": _CLOCK, "example": "08:00"})
    ] = field(name="from")
    end: Annotated[
        str, Meta(description="When it closes; not equal to from.", extra_json_schema={"pattern": _CLOCK})
    ] = field(name="to")
    time_zone: Annotated[str, Meta(description="A zone of the IANA database; left out: Africa/Lagos.")] = "Africa/Lagos"


class NotificationRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """One message to one or more recipients."""

    recipients: Annotated[
        str | list[str],
        Meta(
            description="1 to 10,000 numbers, local or international; above 100 only with Prefer: respond-async.",
            extra_json_schema={"minItems": 1, "maxItems": 10_000, "minLength": 1},
        ),
    ]
    message: Annotated[
        str | UnsetType,
        Meta(
            description="1 to 10 segments; no control characters but line feeds. This or template is needed.",
            extra_json_schema={"minLength": 1},
        ),
    ] = UNSET
    template: Annotated[TemplateRequest | None, Meta(description="In place of message.")] = None
    sender: Annotated[
        str | None, Meta(description="A sender ID of 3 to 11 characters; left out: the client's default.")
    ] = None
    message_type: Annotated[
        MessageType | UnsetType, Meta(description="The traffic class; left out: transactional, or the template's.")
    ] = UNSET
    route: Annotated[RequestedRoute, Meta(description="Anything but auto needs permission.")] = RequestedRoute.AUTO
    reference: Annotated[
        str | None,
        Meta(
            description="Your own id: up to 64 visible ASCII characters, echoed, searchable, not unique.",
            extra_json_schema={"pattern": "^[!-~]{1,64}$"},
        ),
    ] = None
    billing_code: Annotated[
        str | None,
        Meta(
            description="Whom it is charged to in the usage; left out: the client's default.",
            extra_json_schema={"pattern": "^[!-~]{1,64}$"},
        ),
    ] = None
    on_non_gsm: Annotated[OnNonGsm, Meta(description="What to do with characters that GSM-7 cannot carry.")] = (
        OnNonGsm.SEND
    )
    max_segments: Annotated[
        int | None,
        Meta(
            description="Refuse longer texts, from 1 to 10 segments; a text is never cut.",
            extra_json_schema={"minimum": 1, "maximum": 10},
        ),
    ] = None
    strict: Annotated[bool, Meta(description="Refuse the whole request where one number is bad.")] = False
    send_at: Annotated[
        Moment | None,
        Meta(
            description="Asynchronous only: RFC 3339 with an offset, up to 35 days ahead; it waits until then. A time"
            " that has passed means now."
        ),
    ] = None
    expires_at: Annotated[
        Moment | None, Meta(description="RFC 3339 with an offset: what is not dialled by then is not sent.")
    ] = None
    delivery_window: Annotated[
        DeliveryWindowRequest | None,
        Meta(description="Outside it an asynchronous message waits, and a synchronous one is refused."),
    ] = None
    allow_repeat: Annotated[
        bool,
        Meta(description="Without a key, for a client with a repeat window: send it although it equals a recent one."),
    ] = False
    callback_url: Annotated[
        str | None,
        Meta(
            description="Asynchronous only: where the outcome is posted to; the host must be allowed.",
            extra_json_schema={"format": "uri", "pattern": "^https?://[!-~]+$", "maxLength": LONGEST_URL},
        ),
    ] = None


class MoveRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """Another time for a notification that waits."""

    send_at: Annotated[
        Moment, Meta(description="RFC 3339 with an offset, up to 35 days ahead; a time that has passed means now.")
    ]


MOST_ITEMS = 1_000
"""Of a batch."""


class BatchItem(NotificationRequest, forbid_unknown_fields=True, frozen=True):
    """One notification of a batch."""

    idempotency_key: Annotated[
        str | None,
        Meta(
            description="1 to 255 visible ASCII characters; goes before the batch's own header.",
            extra_json_schema={"pattern": "^[!-~]{1,255}$"},
        ),
    ] = None


class Verdict(StrEnum):
    """What the operator found out."""

    SENT = "sent"
    NOT_SENT = "not_sent"


Reason = Annotated[
    str,
    Meta(
        description="Why: 1 to 200 characters, kept in the audit. Runs of seven or more digits are masked.",
        extra_json_schema={"minLength": 1, "maxLength": 200},
    ),
]


class PauseRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What to stop, and why. Every field that is given narrows it; without any, all sending stops."""

    reason: Reason
    duration: Annotated[
        str | None,
        Meta(
            description="It ends by itself after so long: a number with s, m or h, at most 24 h.",
            extra_json_schema={"pattern": "^[0-9]{1,6}[smh]$"},
        ),
    ] = msgspec.field(name="for", default=None)
    client: Annotated[str | None, Meta(description="Only what this client sends.")] = None
    message_type: Annotated[MessageType | None, Meta(description="Only messages of this type.")] = None
    account: Annotated[str | None, Meta(description="Only what would go over this account.")] = None


class ResumeRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which pause ends: the one with just these fields; without any, all of them."""

    client: Annotated[str | None, Meta(description="Of this client.")] = None
    message_type: Annotated[MessageType | None, Meta(description="Of this message type.")] = None
    account: Annotated[str | None, Meta(description="Of this account.")] = None


class ResolveRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """The operator's verdict on recipients whose outcome is unknown."""

    outcome: Verdict
    reason: Reason
    recipients: Annotated[list[str] | None, Meta(description="Only these numbers; left out: all unknown ones.")] = None


class OpenFilter(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which open unknown outcomes; every field that is given must match."""

    client: Annotated[str | None, Meta(description="Of this client.")] = None
    account: Annotated[str | None, Meta(description="That went over this account.")] = None
    created_from: Annotated[Moment | None, Meta(description="Accepted at this time or later.")] = None
    created_to: Annotated[Moment | None, Meta(description="Accepted before this time.")] = None


class ResolveManyRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The operator's verdict on many notifications at once: by `ids` or by `filter`, one of the two. `reason` is
    needed but for a dry run."""

    outcome: Verdict
    reason: Reason | None = None
    ids: Annotated[
        list[str] | None,
        Meta(description="Up to 1,000 notifications.", extra_json_schema={"maxItems": 1_000, "minItems": 1}),
    ] = None
    filter: Annotated[OpenFilter | None, Meta(description="All that match, at most 1,000 at once.")] = None
    recipients: Annotated[list[str] | None, Meta(description="Only these numbers; left out: all unknown ones.")] = None
    dry_run: Annotated[bool, Meta(description="Only say what it would settle.")] = False


class ResendRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """The text again, to be sent to the recipients whose outcome is unknown."""

    message: Annotated[str, Meta(description="The text, exactly as it was sent.")]


class EraseRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """A number to erase from every finished notification."""

    recipient: Annotated[
        str,
        Meta(
            description="A number, local or international.",
            extra_json_schema={"pattern": r"^[(\[ ]*\+?[(\[ ]*[0-9](?:[ .()\[\]-]*[0-9]){9,14}[ .()\[\]-]*$"},
        ),
    ]


S = TypeVar("S", bound=Struct)

_decoders: dict[type[Struct], tuple[msgspec.json.Decoder[Any], tuple[bytes, ...]]] = {}
_anything = msgspec.json.Decoder()
_SEARCHED_BYTES = 64 * 1024
"""Longer bodies that are refused anyway are not searched for names that come twice: of any shape, a MiB takes 0.4 s."""


class Malformed(ValidationFailed):
    """A body that is JSON but has not the shape asked for.

    ``sound`` are the fields that are well formed, so that the core can be asked what else is wrong with those; ``bad``
    are the names of the others; ``kind`` is the struct that it should have been.
    """

    def __init__(
        self, errors: list[FieldError], sound: dict[str, Any], bad: frozenset[str], kind: type[Struct]
    ) -> None:
        super().__init__(errors)
        self.sound = sound
        self.bad = bad
        self.kind = kind


def decode(body: bytes | msgspec.Raw, kind: type[S]) -> S:
    """Decode a body that may be anything.

    Args:
        body: not nested deeper than ``bodies.check_nesting`` allows.
        kind: a struct that forbids unknown fields.

    Raises:
        Refusal: ``invalid_json``, also where a name comes twice.
        Malformed: with every field that is not of its type, missing, or not ours.
    """
    if kind not in _decoders:
        _decoders[kind] = msgspec.json.Decoder(kind), quote_names(kind)
    decoder, names = _decoders[kind]
    try:
        decoded: S = decoder.decode(body)
        if isinstance(decoded, NotificationRequest) and (decoded.message is UNSET) is (decoded.template is None):
            raise ValueError("neither a message nor a template, or both")  # noqa: TRY301 — told with all that is wrong
    except (ValueError, RecursionError):
        document = decode_anything(body)
        errors, sound, bad = find_shape_errors(document, kind)
        if issubclass(kind, NotificationRequest):
            wrong = _find_text_error(document)
            errors = errors if wrong is None else [*errors, wrong]
            if wrong is not None or "template" in bad:
                bad |= {"message", "template"}  # what the text would be nobody knows
        # Without errors the decoder met what a later field of the same name hides.
        if not errors or len(body) <= _SEARCHED_BYTES:
            check_names(bytes(body), names)
        raise Malformed(errors, sound, bad, kind) from None
    check_names(bytes(body), names)
    return decoded


def _find_text_error(document: Any) -> FieldError | None:
    """Whether a request has neither a message nor a template, or both."""
    if not isinstance(document, dict):
        return None
    has_message, has_template = "message" in document, document.get("template") is not None
    if has_message is not has_template:
        return None
    if has_message:
        return FieldError("template", "beside_message", "Give a message or a template, not both.")
    return FieldError("message", "required", "Give a message, or a template.")


def decode_anything(body: bytes | msgspec.Raw) -> Any:
    """Decode JSON of any shape.

    Raises:
        Refusal: ``invalid_json``.
    """
    try:
        return _anything.decode(body)
    except (ValueError, RecursionError):
        detail = "The body is not JSON in UTF-8 (no byte-order mark, no NaN, nothing after the value)."
        raise Refusal(ProblemCode.INVALID_JSON, detail) from None


def to_submission(
    request: NotificationRequest, idempotency_key: str | None, key_made_at: int | None = None
) -> Submission:
    """Turn a decoded request into what the core takes."""
    recipients, message_type, window = request.recipients, request.message_type, request.delivery_window
    return Submission(
        recipients=(recipients,) if isinstance(recipients, str) else tuple(recipients),
        message="" if request.message is UNSET else request.message,
        template=None if request.template is None else _to_use(request.template, message_type),
        sender=request.sender,
        message_type=MessageType.TRANSACTIONAL if message_type is UNSET else message_type,
        route=request.route,
        reference=request.reference,
        billing_code=request.billing_code,
        on_non_gsm=request.on_non_gsm,
        max_segments=request.max_segments,
        strict=request.strict,
        send_at=None if request.send_at is None else to_milliseconds(request.send_at),
        expires_at=None if request.expires_at is None else to_milliseconds(request.expires_at),
        delivery_window=None if window is None else AskedWindow(window.begin, window.end, window.time_zone),
        callback_url=request.callback_url,
        idempotency_key=idempotency_key,
        key_made_at=key_made_at,
        allow_repeat=request.allow_repeat,
    )


def _to_use(template: TemplateRequest, message_type: MessageType | UnsetType) -> TemplateUse:
    return TemplateUse(
        name=template.name,
        language=template.language,
        version=template.version,
        values=template.values,
        message_type=None if message_type is UNSET else message_type,
    )


def to_partial_submission(malformed: Malformed) -> Submission:
    """Make a submission of the well-formed fields, with stand-ins for required ones, to be judged field by field."""
    fields = {"recipients": []} | malformed.sound
    fields.pop("idempotency_key", None)
    return to_submission(msgspec.convert(fields, NotificationRequest), None)
