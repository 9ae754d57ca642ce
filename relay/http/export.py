"""``POST /v1/operator/export``: what is held about a number, for whoever has a right to know it."""

from typing import Annotated

from litestar import Controller, Response, post
from litestar.params import JSONBody
from msgspec import Meta, Struct

from relay.domain.codes import Code, MessageType, Permission, Source, Status
from relay.domain.codes import ProblemCode as P
from relay.domain.errors import FieldError, ValidationFailed
from relay.domain.notification import Stored, view_recipients
from relay.http.answers import PRIVATE, UpstreamBody
from relay.http.openapi import ANY_BODY, ANY_CALLER, JSON, Answered, Content, described
from relay.http.parameters import Service, format_cursor, parse_cursor, parse_recipient
from relay.http.request import RelayRequest
from relay.http.times import format_time
from relay.http.validation import Wrong
from relay.sending.operator_search import OperatorSearch

_ITEMS_A_PAGE = 200


class ExportRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """A number, and where the last page ended."""

    recipient: Annotated[str, Meta(description="A number, in any form.")]
    cursor: Annotated[str | None, Meta(description="The `next_cursor` of the page before.")] = None


class HeldBody(Struct, frozen=True, kw_only=True):
    """What one notification holds about the number."""

    id: str
    client: str
    reference: str | None
    message_type: MessageType
    sender: str
    created_at: str
    completed_at: str | None
    input: str
    status: Status
    code: Code
    upstream: UpstreamBody | None
    text_held: bool


class ExportBody(Struct, frozen=True):
    """A page of what is held."""

    recipient: str
    at: str
    items: list[HeldBody]
    next_cursor: str | None


class ExportController(Controller):
    """What is held about a number."""

    opt = {"permission": Permission.OPERATE, "source": Source.OPERATOR, "heavy": True}  # noqa: RUF012 — as litestar declares it

    @post(
        "/v1/operator/export",
        operation_id="exportRecipient",
        tags=["Operating"],
        summary="What is held about a number",
        description="Of every client, newest first, 200 a page; nothing about others in the same one. Audited.",
        status_code=200,
        operation_class=described(
            Answered(200, "A page.", (Content(JSON, ExportBody),)),
            takes=(Content(JSON, ExportRequest, "erase"),),
            problems=(*ANY_CALLER, *ANY_BODY, P.OVERLOADED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def export(
        self, request: RelayRequest, data: JSONBody[ExportRequest], lookup: Service[OperatorSearch]
    ) -> Response[ExportBody]:
        """Tell it."""
        try:
            number = parse_recipient(data.recipient)
        except Wrong as wrong:
            raise ValidationFailed([FieldError("recipient", wrong.code, wrong.remedy)]) from None
        try:
            before = None if data.cursor is None else parse_cursor(data.cursor)
        except Wrong as wrong:
            raise ValidationFailed([FieldError("cursor", wrong.code, wrong.remedy)]) from None
        page, more, at = await lookup.export(number, _ITEMS_A_PAGE, before, request.user)
        items = [held for stored in page for held in _held(stored, number)]
        last = format_cursor(page[-1].notification) if more else None
        return Response(ExportBody(number, format_time(at), items, last), headers=PRIVATE)


def _held(stored: Stored, number: str) -> list[HeldBody]:
    notification = stored.notification
    return [
        HeldBody(
            id=notification.id,
            client=notification.client,
            reference=notification.reference,
            message_type=notification.message_type,
            sender=notification.sender,
            created_at=format_time(notification.created_at),
            completed_at=None if stored.completed_at is None else format_time(stored.completed_at),
            input=result.input,
            status=result.status,
            code=result.code,
            upstream=None
            if result.upstream is None
            else UpstreamBody(
                result.upstream.code,
                result.upstream.status,
                result.upstream.description,
                result.upstream.message_id,
            ),
            text_held=notification.message is not None,
        )
        for result in view_recipients(stored)
        if result.recipient == number
    ]
