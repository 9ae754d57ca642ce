"""``/v1/operator/notifications``: look-ups over all clients, and what happened to one notification."""

import re
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

from litestar import Controller, MediaType, Response, get
from litestar.params import QueryParameter
from litestar.types import ASGIApp
from msgspec import UNSET, Struct
from msgspec.structs import replace

from relay.domain.audit import mask_digits
from relay.domain.codes import Permission, Source
from relay.domain.codes import ProblemCode as P
from relay.domain.errors import Refusal
from relay.domain.notification import Stored
from relay.domain.numbers import mask_number
from relay.http.answers import PRIVATE, NotificationBody, RecipientBody, encode_notification
from relay.http.listing import PAGE, answer_page, ask_for, build_listed, encode_each, encode_stored
from relay.http.notifications import NOTIFICATION
from relay.http.openapi import ANY_CALLER, JSON, Answered, Content, described
from relay.http.parameters import (
    AccountFilter,
    Check,
    ClientFilter,
    CreatedFrom,
    CreatedTo,
    Expand,
    KeyFilter,
    ListLimit,
    NotificationId,
    PageCursor,
    RecipientFilter,
    Reference,
    Service,
    StatusFilter,
)
from relay.http.pieces import PiecewiseResponse
from relay.http.request import RelayRequest
from relay.http.times import format_time
from relay.http.validation import Wrong
from relay.sending.operator_search import OperatorSearch
from relay.sending.timeline import TimelineEvent
from relay.sending.turns import Slices

_MESSAGE_ID = re.compile(r"[!-~]{1,64}")


def _check_message_id(text: str) -> None:
    if _MESSAGE_ID.fullmatch(text) is None:
        raise Wrong("malformed", "Give smsclone's id of the message, 1 to 64 visible ASCII characters.")


class NumbersShown(StrEnum):
    """How much of each number is shown."""

    FULL = "full"


MessageIdFilter = Annotated[
    str | None,
    QueryParameter(description="The one to which smsclone gave this message id."),
    Check(_check_message_id),
]
Numbers = Annotated[
    NumbersShown | None,
    QueryParameter(description="`full`: whole numbers; the audit keeps that you asked for them. Left out: masked."),
]


class TimelineBody(Struct, frozen=True):
    """What happened to a notification, oldest first."""

    items: list[dict[str, Any]]


def mask_body(body: NotificationBody) -> NotificationBody:
    """The same without whole numbers."""
    return replace(body, recipients=[mask_recipient(entry) for entry in body.recipients])


def mask_recipient(entry: RecipientBody) -> RecipientBody:
    """The same without whole numbers."""
    upstream = entry.upstream
    if upstream is not None and upstream.description is not None:
        upstream = replace(upstream, description=mask_digits(upstream.description))
    recipient = None if entry.recipient is None else mask_number(entry.recipient)
    written = UNSET if entry.input is UNSET else mask_number(entry.input)
    return replace(entry, input=written, recipient=recipient, upstream=upstream)


async def _show(stored: Stored, slices: Slices, *, full: bool) -> list[bytes]:
    """A notification as an operator sees it."""
    if full:
        return await encode_notification(stored, slices, with_client=True)
    return await encode_notification(stored, slices, with_client=True, show=mask_recipient)


def _no_such() -> Refusal:
    return Refusal(P.NOT_FOUND, "There is no notification with this id, or its retention is over.")


class LookUpController(Controller):
    """Look-ups over all clients."""

    path = "/v1/operator/notifications"
    tags = ("Operating",)
    opt = {"permission": Permission.OPERATE, "source": Source.OPERATOR, "heavy": True}  # noqa: RUF012 — as litestar declares it

    @get(
        operation_id="searchNotifications",
        summary="Find notifications of any client",
        description=(
            "Newest first; every filter must match. Numbers are masked unless `numbers=full`. Each search is a row of"
            " the audit that names the kinds of filters, never their values."
        ),
        media_type=MediaType.JSON,
        operation_class=described(
            Answered(200, "A page.", (PAGE,)),
            problems=(*ANY_CALLER, P.VALIDATION_FAILED, P.OVERLOADED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def search(
        self,
        request: RelayRequest,
        lookup: Service[OperatorSearch],
        client: ClientFilter = None,
        account: AccountFilter = None,
        recipient: RecipientFilter = None,
        message_id: MessageIdFilter = None,
        reference: Reference = None,
        idempotency_key: KeyFilter = None,
        status: StatusFilter = None,
        created_from: CreatedFrom = None,
        created_to: CreatedTo = None,
        limit: ListLimit = None,
        cursor: PageCursor = None,
        expand: Expand = None,
        numbers: Numbers = None,
    ) -> ASGIApp:
        """Find them."""
        given = {
            "client": client,
            "account": account,
            "recipient": recipient,
            "message_id": message_id,
            "reference": reference,
            "idempotency_key": idempotency_key,
            "status": status,
            "created_from": created_from,
            "created_to": created_to,
        }
        filters = [name for name, value in given.items() if value is not None]
        asked = ask_for(given, limit=limit, cursor=cursor, expand=expand)
        slices = request.app.state.sending.begin_slices()
        if expand is None:
            overviews, more = await lookup.list_overviews(asked, request.user, filters=filters)
            listed = (replace(build_listed(each), client=each.notification.client) for each in overviews)
            last = overviews[-1].notification if more else None
            return await answer_page(encode_each(listed, slices), last, slices)
        full = numbers is not None
        page, more = await lookup.search(asked, request.user, filters=filters, full=full)
        last = page[-1].notification if more else None
        items = encode_stored(page, slices, partial(_show, full=full))
        return await answer_page(items, last, slices)

    @get(
        "/{id:str}",
        operation_id="openNotification",
        summary="Look up a notification of any client",
        description="Numbers are masked unless `numbers=full`. A row of the audit says that you looked.",
        media_type=MediaType.JSON,
        operation_class=described(
            Answered(200, "The notification as it stands.", (NOTIFICATION,)),
            problems=(*ANY_CALLER, P.NOT_FOUND, P.VALIDATION_FAILED, P.OVERLOADED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def open(
        self,
        request: RelayRequest,
        notification_id: NotificationId,
        lookup: Service[OperatorSearch],
        numbers: Numbers = None,
    ) -> ASGIApp:
        """Look it up."""
        stored = await lookup.open(notification_id, request.user, full=numbers is not None)
        if stored is None:
            raise _no_such()
        slices = request.app.state.sending.begin_slices()
        return PiecewiseResponse(200, await _show(stored, slices, full=numbers is not None), PRIVATE, slices)

    @get(
        "/{id:str}/timeline",
        operation_id="readTimeline",
        summary="What happened to a notification",
        description=(
            "Oldest first: `accepted`, `held`, `claimed`, `dialled`, `answered` (with smsclone's own code and words,"
            " and the milliseconds), `settled`, `resent`, `called_back`; each with `at` and `actor`, which is `relay`"
            " for what the relay did by itself."
        ),
        operation_class=described(
            Answered(200, "The timeline.", (Content(JSON, TimelineBody),)),
            problems=(*ANY_CALLER, P.NOT_FOUND, P.VALIDATION_FAILED, P.OVERLOADED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def timeline(
        self,
        request: RelayRequest,
        notification_id: NotificationId,
        lookup: Service[OperatorSearch],
        numbers: Numbers = None,
    ) -> Response[TimelineBody]:
        """Tell it."""
        full = numbers is not None
        events = await lookup.timeline(notification_id, request.user, full=full)
        if events is None:
            raise _no_such()
        return Response(TimelineBody([_render(event, full=full) for event in events]), headers=PRIVATE)


def _render(event: TimelineEvent, *, full: bool) -> dict[str, Any]:
    facts = event.facts if full else _masked(event.facts)
    if "until" in facts:
        facts = facts | {"until": format_time(facts["until"])}
    told = {"event": event.event, "at": format_time(event.at), "actor": event.actor, **facts}
    return told | {"approximate": True} if event.approximate else told


def _masked(facts: dict[str, Any]) -> dict[str, Any]:
    """Without numbers that a careless upstream repeated in its words."""
    masked = {**facts}
    if "words" in facts:
        masked["words"] = mask_digits(facts["words"])
    if "answers" in facts:
        masked["answers"] = [_masked(each) for each in facts["answers"]]
    return masked
