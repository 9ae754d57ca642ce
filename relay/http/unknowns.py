"""``/v1/operator/unknown``: outcomes that nobody knows: see them, settle one or many, send once more."""

from typing import Annotated

from litestar import Controller, MediaType, Response, get, post
from litestar.params import JSONBody, QueryParameter
from litestar.types import ASGIApp
from msgspec import Struct
from msgspec.structs import asdict

from relay.domain.codes import FIELD_PROBLEMS, NotificationStatus, Permission, Source
from relay.domain.codes import ProblemCode as P
from relay.domain.errors import FieldError, ValidationFailed
from relay.domain.notification import find_status
from relay.http.answers import PRIVATE, NotificationBody, build_notification, location
from relay.http.listing import answer_page, encode_each
from relay.http.look_ups import mask_body
from relay.http.notifications import NOTIFICATION, QUEUED
from relay.http.openapi import (
    ANY_BODY,
    ANY_CALLER,
    JSON,
    LIMITS,
    NOT_ALLOWED,
    UNAVAILABLE,
    Answered,
    Content,
    described,
)
from relay.http.parameters import (
    DEFAULT_LIMIT,
    AccountFilter,
    ClientFilter,
    CreatedFrom,
    CreatedTo,
    Limit,
    NotificationId,
    PageCursor,
    Service,
    check_id,
    parse_cursor,
)
from relay.http.request import RelayRequest
from relay.http.schemas import OpenFilter, ResendRequest, ResolveManyRequest, ResolveRequest, Verdict
from relay.http.times import format_time, to_milliseconds
from relay.sending.ports import BalanceEvidence, UnknownCall, UnknownFilter, UnknownState
from relay.sending.requests import Operations, Settlement

_MOST_IDS = 1_000


class EvidenceBody(Struct, frozen=True, kw_only=True):
    """What the balance says about a call: the last reading before it, the first after it, by how much it fell between
    them, and how much of that other calls explain. For a person to judge by; the relay never acts upon it."""

    before: str
    before_at: str
    after: str
    after_at: str
    fell: str
    explained: str
    unknown: str


class UnknownNotification(NotificationBody, frozen=True, kw_only=True):
    """A notification that has, or had, recipients whose outcome nobody knows. Numbers are masked."""

    state: UnknownState
    open: int
    age_seconds: int
    dialled_at: str | None
    evidence: EvidenceBody | None


class UnknownPageBody(Struct, frozen=True):
    """One page of them."""

    items: list[UnknownNotification]
    next_cursor: str | None


class SettlementBody(Struct, frozen=True):
    """One notification of many: how many of its recipients matched, and how it stands now."""

    id: str
    client: str
    reference: str | None
    recipients: int
    settled: bool
    status: NotificationStatus


class SettlementsBody(Struct, frozen=True):
    """How many notifications matched, and how many were settled."""

    matched: int
    settled: int
    items: list[SettlementBody]


class UnknownController(Controller):
    """Outcomes that nobody knows."""

    path = "/v1/operator/unknown"
    tags = ("Operating",)
    opt = {"permission": Permission.OPERATE, "source": Source.OPERATOR}  # noqa: RUF012 — as litestar declares it

    @get(
        operation_id="listUnknown",
        opt={"heavy": True},
        summary="Outcomes that nobody knows",
        description=(
            "Notifications of all clients, newest first, numbers masked. `open`: some recipient is `unknown` and was"
            " not sent to once more; `resent`: some was; `settled`: the others that were unknown once."
        ),
        media_type=MediaType.JSON,
        operation_class=described(
            Answered(200, "A page.", (Content(JSON, UnknownPageBody),)),
            problems=(*ANY_CALLER, P.VALIDATION_FAILED, P.OVERLOADED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def list_unknown(
        self,
        request: RelayRequest,
        operations: Service[Operations],
        standing: Annotated[
            UnknownState, QueryParameter(name="state", description="Where they stand; `open` if left out.")
        ] = UnknownState.OPEN,
        client: ClientFilter = None,
        account: AccountFilter = None,
        created_from: CreatedFrom = None,
        created_to: CreatedTo = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: PageCursor = None,
    ) -> ASGIApp:
        """A page of them."""
        asked = UnknownFilter(
            state=standing,
            client=client,
            account=account,
            created_from=None if created_from is None else to_milliseconds(created_from),
            created_to=None if created_to is None else to_milliseconds(created_to),
        )
        found = await operations.list_unknown(limit + 1, None if cursor is None else parse_cursor(cursor), asked)
        page = found[:limit]
        bodies = (_body(call, standing) for call in page)
        last = page[-1].stored.notification if len(found) > limit else None
        slices = request.app.state.sending.begin_slices()
        return await answer_page(encode_each(bodies, slices), last, slices)

    @post(
        "/resolve",
        operation_id="resolveManyUnknown",
        opt={"heavy": True},
        summary="Settle many unknown outcomes by hand",
        description=(
            "What is open of the notifications in `ids`, or of all that match `filter`, becomes `sent` or `not_sent`."
            " Ask with `dry_run` first. At most 1,000 notifications at once: ask again until nothing matches."
        ),
        status_code=200,
        operation_class=described(
            Answered(200, "What was settled, or would be.", (Content(JSON, SettlementsBody),)),
            takes=(Content(JSON, ResolveManyRequest, "resolve_many"),),
            problems=(*ANY_CALLER, *ANY_BODY, P.NOT_FOUND, P.OVERLOADED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def resolve_many(
        self, request: RelayRequest, data: JSONBody[ResolveManyRequest], operations: Service[Operations]
    ) -> Response[SettlementsBody]:
        """Settle what is open of many notifications."""
        done = await operations.resolve_many(
            _which(data),
            sent=data.outcome is Verdict.SENT,
            recipients=data.recipients,
            reason=data.reason,
            dry_run=data.dry_run,
            caller=request.user,
        )
        settled = sum(1 for each in done if each.settled)
        return Response(SettlementsBody(len(done), settled, list(map(_settlement, done))), headers=PRIVATE)

    @post(
        "/{id:str}/resolve",
        operation_id="resolveUnknown",
        summary="Settle an unknown outcome by hand",
        description=(
            "All unknown recipients of the notification, or those that are given, become `sent` or `not_sent`."
        ),
        status_code=200,
        operation_class=described(
            Answered(200, "The notification after it.", (NOTIFICATION,)),
            takes=(Content(JSON, ResolveRequest, "resolve"),),
            problems=(*ANY_CALLER, *ANY_BODY, P.NOT_FOUND, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def resolve(
        self,
        request: RelayRequest,
        notification_id: NotificationId,
        data: JSONBody[ResolveRequest],
        operations: Service[Operations],
    ) -> Response[NotificationBody]:
        """Settle unknown recipients as sent or not sent."""
        stored = await operations.resolve(
            notification_id,
            sent=data.outcome is Verdict.SENT,
            recipients=data.recipients,
            reason=data.reason,
            caller=request.user,
        )
        return Response(mask_body(build_notification(stored, with_client=True)), headers=PRIVATE)

    @post(
        "/{id:str}/resend",
        operation_id="resendUnknown",
        summary="Send once more to unknown recipients",
        description=(
            "The relay erased the text, so it is given again and checked against its hash. What is sent is a"
            " notification of its own, in the name of the original client; the two name each other (`resend_of`,"
            " `resent_as`), and the original's recipients stay `unknown`."
        ),
        status_code=202,
        operation_class=described(
            Answered(202, "The new notification.", (QUEUED,), ("Location",)),
            takes=(Content(JSON, ResendRequest, "resend"),),
            problems=(
                *(*ANY_CALLER, *ANY_BODY, *FIELD_PROBLEMS, *NOT_ALLOWED, *LIMITS, *UNAVAILABLE),
                *(P.BLOCKED_WORDS, P.BLOCKED_SENDER, P.NOT_FOUND, P.IDEMPOTENCY_MISMATCH),
            ),
        ),
    )
    async def resend(
        self,
        request: RelayRequest,
        notification_id: NotificationId,
        data: JSONBody[ResendRequest],
        operations: Service[Operations],
    ) -> Response[NotificationBody]:
        """Send once more to the unknown recipients, as a notification of its own."""
        answer = await operations.resend(notification_id, message=data.message, caller=request.user)
        body = mask_body(build_notification(answer.stored, with_client=True))
        return Response(body, headers=location(answer.stored) | PRIVATE)


def _which(data: ResolveManyRequest) -> list[str] | UnknownFilter:
    if (data.ids is None) == (data.filter is None):
        raise ValidationFailed([FieldError("ids", "required", "Give either ids or filter.")])
    if data.ids is not None:
        if not 1 <= len(data.ids) <= _MOST_IDS:
            raise ValidationFailed([FieldError("ids", "out_of_range", f"Give 1 to {_MOST_IDS:,} ids.")])
        for each in data.ids:
            check_id(each)
        return data.ids
    asked = data.filter or OpenFilter()
    return UnknownFilter(
        client=asked.client,
        account=asked.account,
        created_from=None if asked.created_from is None else to_milliseconds(asked.created_from),
        created_to=None if asked.created_to is None else to_milliseconds(asked.created_to),
    )


def _body(call: UnknownCall, state: UnknownState) -> UnknownNotification:
    body = mask_body(build_notification(call.stored, with_client=True))
    known = call.evidence
    return UnknownNotification(
        **asdict(body),
        state=state,
        open=len(call.indexes),
        age_seconds=call.age_seconds,
        dialled_at=None if known is None else format_time(known.dialled_at),
        evidence=None if known is None or known.balance is None else _evidence(known.balance),
    )


def _evidence(balance: BalanceEvidence) -> EvidenceBody:
    return EvidenceBody(
        before=f"{balance.before:.2f}",
        before_at=format_time(balance.before_at),
        after=f"{balance.after:.2f}",
        after_at=format_time(balance.after_at),
        fell=f"{balance.before - balance.after:.2f}",
        explained=f"{balance.explained:.2f}",
        unknown=f"{balance.unknown:.2f}",
    )


def _settlement(done: Settlement) -> SettlementBody:
    notification = done.stored.notification
    return SettlementBody(
        id=notification.id,
        client=notification.client,
        reference=notification.reference,
        recipients=done.recipients,
        settled=done.settled,
        status=find_status(done.stored),
    )
