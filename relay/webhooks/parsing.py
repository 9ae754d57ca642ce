"""From what a sender posted to the pages that it comes to. Pure, and slow where a storm of alerts was posted."""

from collections.abc import Mapping

from msgspec import Struct

from relay.domain.codes import ProblemCode, Source
from relay.domain.errors import FieldError, Refusal, ValidationFailed
from relay.webhooks.alertmanager import parse_alerts
from relay.webhooks.alerts import AlertBodyError
from relay.webhooks.generic import add_attributes
from relay.webhooks.lenient_json import decode_document, mend
from relay.webhooks.receivers import PagingPlan, Receiver, page_alerts, page_message


class IncomingWebhook(Struct, frozen=True):
    """What was posted, from a sender that may post it. ``headers`` are by lower-case name; the time is wall-clock."""

    kind: Source
    body: bytes
    headers: Mapping[bytes, bytes]
    now_ms: int


class ParsedWebhook(Struct, frozen=True):
    """How many alerts of each kind, and the pages that they come to.

    ``skipped`` parts were none of what they should be; ``failures`` are the causes why a template failed.
    """

    firing: int
    resolved: int
    pages: PagingPlan
    skipped: int
    failures: tuple[str, ...] = ()


def parse_webhook(receiver: Receiver, incoming: IncomingWebhook) -> ParsedWebhook:
    """Read a body and write its pages.

    Raises:
        Refusal: ``invalid_json``.
        ValidationFailed: there is nothing that could be sent, or nobody whom it could be sent to.
    """
    parse = _parse_generic if incoming.kind is Source.GENERIC else _parse_alerts
    try:
        parsed = parse(receiver, incoming)
    except AlertBodyError as failure:
        if not failure.is_json:
            raise Refusal(ProblemCode.INVALID_JSON, failure.detail) from None
        raise ValidationFailed([FieldError("alerts", "malformed", failure.detail)]) from None
    if parsed.pages.unaddressed and not parsed.pages.submissions:
        remedy = "The body names nobody whom the receiver's settings allow, and the receiver has no recipients."
        raise ValidationFailed([FieldError("recipients", "required", remedy)])
    return parsed


def _parse_alerts(receiver: Receiver, incoming: IncomingWebhook) -> ParsedWebhook:
    group = parse_alerts(incoming.body)
    failures: list[str] = []
    pages = page_alerts(receiver, group, incoming.now_ms, failures.append)
    return ParsedWebhook(group.firing_count, group.resolved_count, pages, group.skipped, tuple(failures))


def _parse_generic(receiver: Receiver, incoming: IncomingWebhook) -> ParsedWebhook:
    document = decode_document(mend(incoming.body))
    if receiver.attribute_headers is not None:
        document = add_attributes(document, incoming.headers, receiver.attribute_headers)
    message = receiver.mapping.read(document)
    return ParsedWebhook(1, 0, page_message(receiver, message, incoming.body, incoming.now_ms), message.ignored)
