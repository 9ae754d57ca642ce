"""What callers send, as structs, and the way from bytes to them.

Limits that the core judges (counts, lengths, ranges) are in the schemas for readers only: it words them better.
Decoding goes straight into a struct. That stops at the first error and names foreign fields, so whatever fails is
looked at again, slowly, in ``malformed``: all errors at once, and no name or value that is not ours.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from relay.domain.codes import MessageType, OnNonGsm, ProblemCode, RequestedRoute
from relay.domain.errors import FieldError, Refusal, ValidationFailed
from relay.http.malformed import find_shape_errors
from relay.http.repeated_names import check_names, quote_names
from relay.http.times import to_milliseconds
from relay.sending.requests import Submission

Moment = Annotated[datetime, Meta(tz=True)]


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
        str,
        Meta(description="1 to 10 segments; no control characters but line feeds.", extra_json_schema={"minLength": 1}),
    ]
    sender: Annotated[
        str | None, Meta(description="A sender ID of 3 to 11 characters; left out: the client's default.")
    ] = None
    message_type: Annotated[MessageType, Meta(description="The traffic class.")] = MessageType.TRANSACTIONAL
    route: Annotated[RequestedRoute, Meta(description="Anything but auto needs permission.")] = RequestedRoute.AUTO
    reference: Annotated[
        str | None,
        Meta(
            description="Your own id: up to 64 visible ASCII characters, echoed, searchable, not unique.",
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
    expires_at: Annotated[
        Moment | None, Meta(description="RFC 3339 with an offset: what is not dialled by then is not sent.")
    ] = None
    callback_url: Annotated[
        str | None, Meta(description="Asynchronous only: where the outcome is posted to; the host must be allowed.")
    ] = None


class BatchItem(NotificationRequest, forbid_unknown_fields=True, frozen=True):
    """One notification of a batch."""

    idempotency_key: Annotated[
        str | None, Meta(description="1 to 255 visible ASCII characters; goes before the batch's own header.")
    ] = None


class ResolveRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """The operator's verdict on recipients whose outcome is unknown."""

    outcome: Literal["sent", "not_sent"]
    recipients: Annotated[list[str] | None, Meta(description="Only these numbers; left out: all unknown ones.")] = None


class ResendRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """The text again, to be sent to the recipients whose outcome is unknown."""

    message: str


class EraseRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """A number to erase from every finished notification."""

    recipient: str


S = TypeVar("S", bound=Struct)

_decoders: dict[type[Struct], msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (NotificationRequest, BatchItem, ResolveRequest, ResendRequest, EraseRequest)
}
_names = {kind: quote_names(kind) for kind in _decoders}
_anything = msgspec.json.Decoder()
_SEARCHED_BYTES = 64 * 1024
"""Longer bodies that are refused anyway are not searched for names that come twice: of any shape, a MiB takes 0.4 s."""


class Malformed(ValidationFailed):
    """A body that is JSON but has not the shape asked for.

    ``sound`` are the fields that are well formed, so that the core can be asked what else is wrong with those; ``bad``
    are the names of the others.
    """

    def __init__(self, errors: list[FieldError], sound: dict[str, Any], bad: frozenset[str]) -> None:
        super().__init__(errors)
        self.sound = sound
        self.bad = bad


def decode(body: bytes | msgspec.Raw, kind: type[S]) -> S:
    """Decode a body that may be anything.

    Args:
        body: not nested deeper than ``bodies.check_nesting`` allows.
        kind: one of this module's structs.

    Raises:
        Refusal: ``invalid_json``, also where a name comes twice.
        Malformed: with every field that is not of its type, missing, or not ours.
    """
    try:
        decoded: S = _decoders[kind].decode(body)
    except (ValueError, RecursionError):
        errors, sound, bad = find_shape_errors(decode_anything(body), kind)
        # Without errors the decoder met what a later field of the same name hides.
        if not errors or len(body) <= _SEARCHED_BYTES:
            check_names(bytes(body), _names[kind])
        raise Malformed(errors, sound, bad) from None
    check_names(bytes(body), _names[kind])
    return decoded


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


def to_submission(request: NotificationRequest, idempotency_key: str | None) -> Submission:
    """Turn a decoded request into what the core takes."""
    recipients = request.recipients
    return Submission(
        recipients=(recipients,) if isinstance(recipients, str) else tuple(recipients),
        message=request.message,
        sender=request.sender,
        message_type=request.message_type,
        route=request.route,
        reference=request.reference,
        on_non_gsm=request.on_non_gsm,
        max_segments=request.max_segments,
        strict=request.strict,
        expires_at=None if request.expires_at is None else to_milliseconds(request.expires_at),
        callback_url=request.callback_url,
        idempotency_key=idempotency_key,
    )


def to_partial_submission(malformed: Malformed) -> Submission:
    """Make a submission of the well-formed fields, with stand-ins for required ones, to be judged field by field."""
    fields = {"recipients": [], "message": ""} | malformed.sound
    fields.pop("idempotency_key", None)
    return to_submission(msgspec.convert(fields, NotificationRequest), None)
