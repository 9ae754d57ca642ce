"""``POST /v1/webhooks/{kind}/{receiver}``: alerts in, pages out. ``GET`` says how the receiver is set up.

What is answered is what the sender does next: Alertmanager repeats on 5xx alone and gives up on any 4xx, 429 included.
So everything that may pass is 503 with Retry-After, and 4xx is said only of what can never work (SPEC section 8).
Always asynchronous: the journal is the promise.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Protocol, cast

from litestar import Controller, Response, get, post
from litestar.params import PathParameter
from msgspec import Struct

from relay.domain.codes import NotificationStatus, Permission, ProblemCode, Source
from relay.domain.errors import Refusal, Unavailable
from relay.domain.notification import find_status
from relay.http.answers import PRIVATE
from relay.http.openapi import (
    ANY_BODY,
    ANY_CALLER,
    JSON,
    LIMITS,
    NOT_ALLOWED,
    UNAVAILABLE,
    UPSTREAM,
    Answered,
    Content,
    described,
)
from relay.http.parameters import Check, Service
from relay.http.problems import PROBLEMS, refuse, render_problem
from relay.http.request import RelayRequest
from relay.sending.ports import Clock
from relay.sending.requests import Answer, Caller, Sending
from relay.webhooks.credentials import WebhookAuthenticator
from relay.webhooks.handing import hand_over
from relay.webhooks.parsing import IncomingWebhook, ParsedWebhook, parse_webhook
from relay.webhooks.receiver_body import ReceiverBody, describe_receiver
from relay.webhooks.receivers import Receiver


class WebhookKind(StrEnum):
    """What sends."""

    ALERTMANAGER = Source.ALERTMANAGER.value
    GRAFANA = Source.GRAFANA.value
    GENERIC = Source.GENERIC.value


def _check_kind(text: str) -> None:
    if text not in {kind.value for kind in WebhookKind}:
        raise Refusal(ProblemCode.NOT_FOUND, f"The kinds of webhook are {', '.join(WebhookKind)}.")


KindParameter = Annotated[WebhookKind, PathParameter(name="kind", description="What sends."), Check(_check_kind)]
ReceiverParameter = Annotated[str, PathParameter(name="receiver", description="A receiver of the relay's settings.")]

WEBHOOK_BYTES = 8 << 20
"""The greatest body: the page of the greatest outage is the largest, and must not be the one that is lost."""

_SMALL_BYTES = 4 << 10
"""Bodies above it are read in a thread, so that nobody else's request waits for a storm of alerts."""

_HUGE_BYTES = 256 << 10
"""Bodies above it take seconds and memory, so that they are read one at a time."""

_MOST_WAITING = 4
"""Huge bodies of one client that are read or wait; further ones are told to come again."""

_COME_AGAIN = 503
_RETRY_SECONDS = 5
_MAY_PASS = frozenset({408, 409, 425, 429})
"""Statuses below 500 of what may pass: towards a webhook's sender they are 503."""


class AlertsRecorder(Protocol):
    """Takes what webhooks told, for log and counters."""

    def record_alerts(
        self,
        *,
        kind: str,
        receiver: str,
        firing: int,
        resolved: int,
        duplicate: bool,
        unaddressed: int = 0,
        skipped: int = 0,
    ) -> None:
        """Take one accepted webhook. Never raises, never blocks."""
        ...

    def record_template_failed(self, *, receiver: str, cause: str) -> None:
        """Take that the default text went out instead; ``cause`` is a class of exception. Never raises."""
        ...


class AcceptedPage(Struct, frozen=True):
    """One notification that a webhook came to; ``duplicate``: an earlier webhook's, which stands."""

    id: str
    status: NotificationStatus
    duplicate: bool


class AlertsAccepted(Struct, frozen=True):
    """What became of a webhook. `unaddressed` counts alerts that name no allowed recipient; nobody gets them."""

    notifications: list[AcceptedPage]
    firing: int
    resolved: int
    unaddressed: int


class Webhooks:
    """What a webhook is worth: its alerts as pages, handed to the core.

    Args:
        receivers: by name; read at every request, so that a reload takes effect at once.
        doorman: lets requests in.
        sending: the core.
        recorder: told what came in.
        clock: for ages and expiry.
    """

    def __init__(
        self,
        receivers: Callable[[], Mapping[str, Receiver]],
        doorman: WebhookAuthenticator,
        sending: Sending,
        recorder: AlertsRecorder,
        clock: Clock,
    ) -> None:
        self._receivers = receivers
        self._doorman = doorman
        self._sending = sending
        self._recorder = recorder
        self._clock = clock
        self._huge_bodies = asyncio.Semaphore()
        self._waiting: Counter[str] = Counter()

    async def receive(self, request: RelayRequest, kind: Source, name: str) -> AlertsAccepted:
        """Accept a webhook, also a duplicate."""
        read = partial(_read, request)
        caller, receiver, body = await self._doorman.admit(request, kind, self._receivers().get(name), read)
        incoming = IncomingWebhook(kind, body, request.head.fields, self._clock.now_ms())
        return await self._accept(request, receiver, caller, await self._parse(receiver, incoming))

    async def describe(self, request: RelayRequest, kind: Source, name: str) -> ReceiverBody:
        """Say how a receiver is set up, to who may send to it."""
        _, receiver, _ = await self._doorman.admit(request, kind, self._receivers().get(name), request.read)
        return describe_receiver(receiver, kind)

    async def _parse(self, receiver: Receiver, incoming: IncomingWebhook) -> ParsedWebhook:
        """Write the pages, of larger bodies beside the loop; of huge ones one at a time, and few of a client wait."""
        size, client = len(incoming.body), receiver.client
        if size <= _SMALL_BYTES:
            parsed = parse_webhook(receiver, incoming)
        elif size <= _HUGE_BYTES:
            parsed = await asyncio.to_thread(parse_webhook, receiver, incoming)
        elif self._waiting[client] >= _MOST_WAITING:
            raise Unavailable(ProblemCode.OVERLOADED, f"{_MOST_WAITING} large webhooks of this client are being read.")
        else:
            self._waiting[client] += 1
            try:
                async with self._huge_bodies:
                    parsed = await asyncio.to_thread(parse_webhook, receiver, incoming)
            finally:
                self._waiting[client] -= 1
        for cause in parsed.failures:
            self._recorder.record_template_failed(receiver=receiver.name, cause=cause)
        return parsed

    async def _accept(
        self, request: RelayRequest, receiver: Receiver, caller: Caller, parsed: ParsedWebhook
    ) -> AlertsAccepted:
        results, passed_over = await hand_over(self._sending, parsed.pages.submissions, caller, receiver.sender)
        refusals = [result for result in results if isinstance(result, Refusal)]
        answers = [result for result in results if isinstance(result, Answer)]
        # What may pass goes first: the sender repeats all of it, and what was accepted is then a duplicate.
        worst = next((refusal for refusal in refusals if _may_pass(refusal)), None)
        if worst is None and refusals and not answers:
            worst = refusals[0]
        for refusal in refusals:
            if refusal is not worst:  # which is reported when it is answered
                request.report(refusal)
        if worst is not None:
            raise worst
        self._recorder.record_alerts(
            kind=caller.source.value,
            receiver=receiver.name,
            firing=parsed.firing,
            resolved=parsed.resolved,
            duplicate=bool(answers) and all(answer.duplicate for answer in answers),
            unaddressed=parsed.pages.unaddressed,
            skipped=parsed.skipped + passed_over,
        )
        pages = [_page_body(answer) for answer in answers]
        return AlertsAccepted(pages, parsed.firing, parsed.resolved, parsed.pages.unaddressed)


async def _read(request: RelayRequest) -> bytes:
    """Read the body; one that did not come in full may come in full the next time."""
    try:
        return await request.read()
    except Refusal as refusal:
        if refusal.code is ProblemCode.BAD_REQUEST:
            raise Unavailable(ProblemCode.OVERLOADED, "The body did not arrive in full and in time.") from None
        raise


def answer_refusal(request: RelayRequest, refusal: Refusal) -> Response[bytes]:
    """Answer a refusal; one that may pass as 503 with Retry-After, and its code still says what it is."""
    if not _may_pass(refusal) or PROBLEMS[refusal.code].status == _COME_AGAIN:
        return refuse(request, refusal)
    request.report(refusal)
    response = render_problem(refusal, request.head.request_id, status=_COME_AGAIN).response()
    response.headers.setdefault("retry-after", str(_RETRY_SECONDS))
    return response


class WebhookController(Controller):
    """Alerts in."""

    exception_handlers = {Refusal: cast("Any", answer_refusal)}  # noqa: RUF012 — as litestar declares it

    @post(
        "/v1/webhooks/{kind:str}/{receiver:str}",
        operation_id="receiveWebhook",
        tags=["Webhooks"],
        summary="Turn an alert into a page",
        description=(
            "For Alertmanager, Grafana, and senders that cannot be changed (`generic`, mapped in the settings). Always"
            " asynchronous; an alert that was accepted within ten minutes is not sent again. Whatever may pass is 503,"
            " limits included, because Alertmanager gives up on everything else; `code` still says what it was. Besides"
            " the schemes here, the sender may sign the body, where the receiver has a secret. What to enter at which"
            " sender is on [a page of its own](/docs/webhooks)."
        ),
        status_code=202,
        security=[{"key": []}, {"basic": []}],
        opt={"permission": Permission.SEND, "own_admission": True, "body_bytes": WEBHOOK_BYTES},
        operation_class=described(
            Answered(202, "Accepted, or accepted before.", (Content(JSON, AlertsAccepted),)),
            takes=(Content(JSON, "AlertsBody", "alerts"),),
            problems=(
                *(*ANY_CALLER, *ANY_BODY, ProblemCode.NOT_FOUND, *NOT_ALLOWED, ProblemCode.BLOCKED_WORDS),
                *UNAVAILABLE,
            ),
            come_again=(*LIMITS, *UPSTREAM, ProblemCode.IDEMPOTENCY_IN_PROGRESS),
        ),
    )
    async def receive(
        self,
        request: RelayRequest,
        kind: KindParameter,
        receiver: ReceiverParameter,
        webhooks: Service[Webhooks],
    ) -> Response[AlertsAccepted]:
        """Accept a webhook: 202, also for a duplicate; 503 for what may pass; 4xx for what never will."""
        return Response(await webhooks.receive(request, Source(kind.value), receiver), headers=PRIVATE)

    @get(
        "/v1/webhooks/{kind:str}/{receiver:str}",
        operation_id="describeReceiver",
        tags=["Webhooks"],
        summary="See how a receiver is set up",
        description=(
            "For the person who sets up the sender: 200 says that address and key are right, and what the receiver does"
            " with what is posted to it. No number is shown in full. Nothing is sent."
        ),
        security=[{"key": []}, {"basic": []}],
        opt={"permission": Permission.SEND, "own_admission": True},
        operation_class=described(
            Answered(200, "How it is set up.", (Content(JSON, ReceiverBody),)),
            problems=(*ANY_CALLER, ProblemCode.NOT_FOUND),
        ),
    )
    async def describe(
        self,
        request: RelayRequest,
        kind: KindParameter,
        receiver: ReceiverParameter,
        webhooks: Service[Webhooks],
    ) -> Response[ReceiverBody]:
        """Say how a receiver is set up."""
        return Response(await webhooks.describe(request, Source(kind.value), receiver), headers=PRIVATE)


def _may_pass(refusal: Refusal) -> bool:
    status = PROBLEMS[refusal.code].status
    return status >= 500 or status in _MAY_PASS


def _page_body(answer: Answer) -> AcceptedPage:
    return AcceptedPage(answer.stored.notification.id, find_status(answer.stored), answer.duplicate)
