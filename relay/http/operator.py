"""``/v1/operator/…``: what the operator's commands do, through the server, with the permission ``operate``."""

from collections.abc import Sequence

from litestar import Controller, post
from litestar.params import JSONBody
from msgspec import Struct
from msgspec.structs import replace

from relay.domain.codes import Permission, Source
from relay.domain.codes import ProblemCode as P
from relay.domain.errors import FieldError, ValidationFailed
from relay.domain.numbers import mask_number
from relay.domain.pausing import Scope, SendingPause, parse_duration
from relay.http.openapi import (
    ANY_BODY,
    ANY_CALLER,
    JSON,
    Answered,
    Content,
    described,
)
from relay.http.parameters import Service
from relay.http.request import RelayRequest
from relay.http.schemas import EraseRequest, PauseRequest, ResumeRequest, decode
from relay.http.status import PauseBody, pause_body
from relay.http.times import format_time
from relay.sending.requests import Operations


class PausedBody(Struct, frozen=True):
    """What is stopped, on all replicas, from their next look; `paused` is whether that is everything."""

    paused: bool
    pauses: list[PauseBody]


class ErasedBody(Struct, frozen=True, kw_only=True):
    """The receipt of an erasure; the number is masked."""

    recipient: str
    notifications: int
    not_ended: int
    at: str
    hash: str


_PAUSED = Content(JSON, PausedBody)


def _paused(pauses: Sequence[SendingPause]) -> PausedBody:
    return PausedBody(any(each.scope.is_everything for each in pauses), list(map(pause_body, pauses)))


class OperatorController(Controller):
    """What an operator does."""

    path = "/v1/operator"
    tags = ("Operating",)
    opt = {"permission": Permission.OPERATE, "source": Source.OPERATOR}  # noqa: RUF012 — as litestar declares it

    @post(
        "/pause",
        operation_id="pause",
        summary="Stop sending",
        description=(
            "Everything, or a client, a message type, an account; on all replicas, within a second. Queued messages"
            " wait; waiting callers get 503 `paused`. Several pauses may be in force at once; one of the same kind is"
            " replaced. Who, why and until when stand in the log, in the audit and at `/readyz`."
        ),
        status_code=200,
        operation_class=described(
            Answered(200, "It is stopped.", (_PAUSED,)),
            takes=(Content(JSON, PauseRequest, "pause"),),
            problems=(*ANY_CALLER, *ANY_BODY, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def pause(
        self, request: RelayRequest, data: JSONBody[PauseRequest], operations: Service[Operations]
    ) -> PausedBody:
        """Stop what the fields name."""
        seconds = None
        if data.duration is not None and (seconds := parse_duration(data.duration)) is None:
            remedy = "Give a number with s, m or h, such as 15m; at most 24h."
            raise ValidationFailed([FieldError("for", "out_of_range", remedy)])
        scope = Scope(client=data.client, message_type=data.message_type, account=data.account)
        return _paused(await operations.pause(scope, request.user, reason=data.reason, seconds=seconds))

    @post(
        "/resume",
        operation_id="resume",
        summary="Start sending again",
        description="On all replicas, within a second. Without a body every pause ends; with one, just that one.",
        status_code=200,
        operation_class=described(
            Answered(200, "What is still stopped.", (_PAUSED,)),
            takes=(Content(JSON, ResumeRequest),),
            problems=(*ANY_CALLER, *ANY_BODY, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def resume(self, request: RelayRequest, operations: Service[Operations]) -> PausedBody:
        """Start again; the body may be left out."""
        data = ResumeRequest()
        if request.head.fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in request.head.fields:
            data = decode(await request.body(), ResumeRequest)
        scope = Scope(client=data.client, message_type=data.message_type, account=data.account)
        return _paused(await operations.resume(None if scope.is_everything else scope, request.user))

    @post(
        "/erase",
        operation_id="eraseRecipient",
        summary="Erase a number",
        description=(
            "From every finished notification, before its retention ends. The receipt names the row of the audit that"
            " says so."
        ),
        status_code=200,
        operation_class=described(
            Answered(200, "The receipt.", (Content(JSON, ErasedBody),)),
            takes=(Content(JSON, EraseRequest, "erase"),),
            problems=(*ANY_CALLER, *ANY_BODY, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def erase(
        self, request: RelayRequest, data: JSONBody[EraseRequest], operations: Service[Operations]
    ) -> ErasedBody:
        """Erase a number from every finished notification."""
        try:
            receipt = await operations.erase_recipient(data.recipient, request.user)
        except ValidationFailed as refusal:
            errors = [replace(error, field="recipient") for error in refusal.errors]
            raise ValidationFailed(errors, code=refusal.code) from None
        return ErasedBody(
            recipient=mask_number(receipt.number),
            notifications=receipt.notifications,
            not_ended=receipt.not_ended,
            at=format_time(receipt.at),
            hash=receipt.hash,
        )
