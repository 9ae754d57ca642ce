"""``/v1/suppressions``: numbers that are not to be written to. Entered in full, shown with two digits only."""

import re
from enum import StrEnum
from typing import Annotated, Any

from litestar import Controller, MediaType, Response, delete, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from relay.domain.codes import MessageType, Permission
from relay.domain.codes import ProblemCode as P
from relay.domain.errors import FieldError, Refusal, ValidationFailed
from relay.domain.suppression import SuppressedBy, Suppression
from relay.http.answers import PRIVATE
from relay.http.openapi import ANY_BODY, ANY_CALLER, JSON, Answered, Content, described
from relay.http.parameters import (
    DEFAULT_LIMIT,
    Check,
    Limit,
    PageCursor,
    Service,
    format_cursor,
    parse_cursor,
    parse_recipient,
)
from relay.http.problems import problem_body
from relay.http.request import RelayRequest
from relay.http.schemas import Moment
from relay.http.times import format_time, to_milliseconds
from relay.sending.suppression_list import AskedSuppression, SuppressionList
from relay.sending.turns import Slices

MOST_AT_ONCE = 1_000

_ID = re.compile(r"[0-9a-f]{32}")


class SuppressionScope(StrEnum):
    """Whose messages a number is not to get."""

    CLIENT = "client"
    ALL = "all"


class SuppressionRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A number that is not to be written to."""

    recipient: Annotated[str, Meta(description="A number, in any form.")]
    message_types: Annotated[
        list[MessageType], Meta(description="Only messages of these types; none, or left out: all.")
    ] = []
    reason: Annotated[
        str,
        Meta(
            description="Why: 1 to 200 characters; runs of seven or more digits are masked.",
            extra_json_schema={"minLength": 1, "maxLength": 200},
        ),
    ]
    until: Annotated[Moment | None, Meta(description="RFC 3339 with an offset; left out: for ever.")] = None
    scope: Annotated[SuppressionScope, Meta(description="`all` needs the permission operate.")] = (
        SuppressionScope.CLIENT
    )


class SuppressionImport(Struct, forbid_unknown_fields=True, frozen=True):
    """Many of them at once; each item's own scope counts for nothing."""

    items: Annotated[
        list[SuppressionRequest], Meta(description="Up to 1,000.", extra_json_schema={"minItems": 1, "maxItems": 1_000})
    ]
    scope: Annotated[SuppressionScope, Meta(description="Of all items; `all` needs the permission operate.")] = (
        SuppressionScope.CLIENT
    )


class SuppressionBody(Struct, frozen=True, kw_only=True):
    """One that is kept; of the number only the last two digits are known."""

    id: str
    recipient: str
    scope: SuppressionScope
    message_types: list[MessageType]
    reason: str
    until: str | None
    created_at: str
    by: SuppressedBy


class EnteredItem(Struct, frozen=True):
    """An item, with its id where it was entered, or with the problem that it was refused for."""

    index: int
    id: str | UnsetType = UNSET
    problem: dict[str, Any] | UnsetType = UNSET


class SuppressionsEntered(Struct, frozen=True):
    """What became of each item."""

    items: list[EnteredItem]
    entered: int


class SuppressionPage(Struct, frozen=True):
    """A page of the list, newest first."""

    items: list[SuppressionBody]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


def _check_id(text: str) -> None:
    if _ID.fullmatch(text) is None:
        raise _no_such()


def _no_such() -> Refusal:
    return Refusal(P.NOT_FOUND, "There is no such suppression of this client.")


ScopeFilter = Annotated[
    SuppressionScope,
    QueryParameter(name="scope", description="`all`: those for everybody, for operators; else the client's own."),
]
SuppressionId = Annotated[
    str, PathParameter(name="id", description="A suppression's id.", pattern="^[0-9a-f]{32}$"), Check(_check_id)
]


class SuppressionsController(Controller):
    """Numbers that are not to be written to."""

    path = "/v1/suppressions"
    tags = ("Sending",)
    opt = {"permission": Permission.SUPPRESS}  # noqa: RUF012 — as litestar declares it

    @post(
        operation_id="suppressNumber",
        summary="Do not write to a number any more",
        description=(
            "Its recipients end as `not_sent`, `suppressed`, also in what waits already. Only a keyed hash of the"
            " number is kept. The same again gives the same id, with the new reason and end."
        ),
        status_code=200,
        operation_class=described(
            Answered(200, "It is on the list.", (Content(JSON, SuppressionBody),)),
            takes=(Content(JSON, SuppressionRequest, "suppression"),),
            problems=(*ANY_CALLER, *ANY_BODY, P.VALIDATION_FAILED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def enter(
        self, request: RelayRequest, data: JSONBody[SuppressionRequest], suppressions: Service[SuppressionList]
    ) -> Response[SuppressionBody]:
        """Enter one."""
        [entered] = await suppressions.enter(
            [_asked(data)],
            request.user,
            everybody=data.scope is SuppressionScope.ALL,
            pause=request.app.state.sending.begin_slices().pause,
        )
        if isinstance(entered, Refusal):
            raise entered
        return Response(_body(entered), headers=PRIVATE)

    @post(
        "/import",
        operation_id="importSuppressions",
        summary="Do not write to many numbers any more",
        description="Each item is entered or refused by itself.",
        status_code=200,
        opt={"heavy": True},
        operation_class=described(
            Answered(200, "What became of each.", (Content(JSON, SuppressionsEntered),)),
            takes=(Content(JSON, SuppressionImport),),
            problems=(*ANY_CALLER, *ANY_BODY, P.VALIDATION_FAILED, P.OVERLOADED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def import_many(
        self, request: RelayRequest, data: JSONBody[SuppressionImport], suppressions: Service[SuppressionList]
    ) -> Response[SuppressionsEntered]:
        """Enter many."""
        if not 1 <= len(data.items) <= MOST_AT_ONCE:
            raise ValidationFailed([FieldError("items", "out_of_range", "Give 1 to 1,000 items.")])
        slices: Slices = request.app.state.sending.begin_slices()
        everybody = data.scope is SuppressionScope.ALL
        asked = [_asked(item) for item in data.items]
        results = await suppressions.enter(asked, request.user, everybody=everybody, pause=slices.pause)
        items: list[EnteredItem] = []
        for index, result in enumerate(results):
            items.append(
                EnteredItem(index, problem=problem_body(result, request.head.request_id))
                if isinstance(result, Refusal)
                else EnteredItem(index, result.id)
            )
            await slices.pause()
        entered = sum(1 for item in items if item.problem is UNSET)
        return Response(SuppressionsEntered(items, entered), headers=PRIVATE)

    @get(
        operation_id="listSuppressions",
        summary="Numbers that are not written to",
        description="Newest first, masked; with `recipient` those of one number.",
        media_type=MediaType.JSON,
        operation_class=described(
            Answered(200, "A page.", (Content(JSON, SuppressionPage),)),
            problems=(*ANY_CALLER, P.VALIDATION_FAILED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def select(
        self,
        request: RelayRequest,
        suppressions: Service[SuppressionList],
        whose: ScopeFilter = SuppressionScope.CLIENT,
        recipient: Annotated[
            str | None, QueryParameter(description="Only those of this number."), Check(parse_recipient)
        ] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: PageCursor = None,
    ) -> Response[SuppressionPage]:
        """A page of them."""
        found = await suppressions.select(
            request.user,
            limit + 1,
            None if cursor is None else parse_cursor(cursor),
            None if recipient is None else parse_recipient(recipient),
            everybody=whose is SuppressionScope.ALL,
        )
        page = found[:limit]
        following = format_cursor(page[-1]) if len(found) > limit else None
        return Response(SuppressionPage([_body(each) for each in page], following), headers=PRIVATE)

    @delete(
        "/{id:str}",
        operation_id="liftSuppression",
        summary="Write to a number again",
        description="It goes off the list; what ended meanwhile stays as it is.",
        status_code=200,
        operation_class=described(
            Answered(200, "It was on the list.", (Content(JSON, SuppressionBody),)),
            problems=(*ANY_CALLER, P.NOT_FOUND, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def lift(
        self, request: RelayRequest, suppression_id: SuppressionId, suppressions: Service[SuppressionList]
    ) -> Response[SuppressionBody]:
        """Take one off."""
        lifted = await suppressions.lift(suppression_id, request.user)
        if lifted is None:
            raise _no_such()
        return Response(_body(lifted), headers=PRIVATE)


def _asked(request: SuppressionRequest) -> AskedSuppression:
    return AskedSuppression(
        recipient=request.recipient,
        message_types=tuple(request.message_types),
        reason=request.reason,
        until=None if request.until is None else to_milliseconds(request.until),
    )


def _body(kept: Suppression) -> SuppressionBody:
    return SuppressionBody(
        id=kept.id,
        recipient=f"•••••••••••{kept.last_digits}",
        scope=SuppressionScope.CLIENT if kept.client else SuppressionScope.ALL,
        message_types=list(kept.message_types),
        reason=kept.reason,
        until=None if kept.until is None else format_time(kept.until),
        created_at=format_time(kept.created_at),
        by=kept.by,
    )
