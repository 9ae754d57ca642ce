"""``POST /v1/webhooks/{kind}/{receiver}``: alerts in, pages out.

What is answered is what the sender does next: Alertmanager repeats on 5xx alone and gives up on any 4xx, 429 included.
So everything that may pass is 503 with Retry-After, and 4xx is said only of what can never work (SPEC section 8).
Always asynchronous: the journal is the promise.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from relay.domain.codes import NotificationStatus, ProblemCode, Source
from relay.domain.errors import FieldError, Refusal, Unavailable, ValidationFailed
from relay.domain.notification import overall_status, view_recipients
from relay.http.answers import PRIVATE
from relay.http.bodies import BODY_BYTES, check_nesting, read_body
from relay.http.exchange import Exchange, Reply, Route
from relay.http.problems import PROBLEMS, problem_body, problem_response
from relay.sending.ports import Clock
from relay.sending.requests import Answer, Caller, Sending
from relay.webhooks.alertmanager import parse_alerts
from relay.webhooks.alerts import PayloadError, parse_json
from relay.webhooks.credentials import Doorman
from relay.webhooks.receivers import Pages, Receiver, page_alerts, page_message

KINDS = {kind.value: kind for kind in (Source.ALERTMANAGER, Source.GRAFANA, Source.GENERIC)}

_COME_AGAIN = 503
_RETRY_SECONDS = 5
_MAY_PASS = frozenset({408, 409, 425, 429})
"""Statuses below 500 of what may pass: towards a webhook's sender they are 503."""


class AlertsRecorder(Protocol):
    """Takes what webhooks told, for log and counters."""

    def record_alerts(
        self, *, kind: str, receiver: str, firing: int, resolved: int, duplicate: bool, unaddressed: int = 0
    ) -> None:
        """Take one accepted webhook. Never raises, never blocks."""
        ...

    def record_template_failed(self, *, receiver: str, cause: str) -> None:
        """Take that the default text went out instead; ``cause`` is a class of exception. Never raises."""
        ...


class PageBody(Struct, frozen=True):
    """One notification that a webhook came to; ``duplicate``: an earlier webhook's, which stands."""

    id: str
    status: NotificationStatus
    duplicate: bool


class WebhookBody(Struct, frozen=True):
    """What became of a webhook. ``unaddressed`` alerts name nobody who may be named and reach nobody."""

    notifications: list[PageBody]
    firing: int
    resolved: int
    unaddressed: int


class _Told(Struct, frozen=True):
    """A body read: how many alerts of each kind, and the pages that they come to."""

    firing: int
    resolved: int
    pages: Pages


class Webhooks:
    """The endpoint.

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
        doorman: Doorman,
        sending: Sending,
        recorder: AlertsRecorder,
        clock: Clock,
    ) -> None:
        self._receivers = receivers
        self._doorman = doorman
        self._sending = sending
        self._recorder = recorder
        self._clock = clock

    def routes(self) -> list[Route]:
        """What is served here."""
        return [Route("POST", "/v1/webhooks/{kind}/{receiver}", self.receive)]

    async def receive(self, exchange: Exchange) -> Reply:
        """Accept a webhook: 202, also for a duplicate; 503 for what may pass; 4xx for what never will."""
        kind = KINDS.get(exchange.path_params["kind"])
        if kind is None:
            raise Refusal(ProblemCode.NOT_FOUND, f"The kinds of webhook are {', '.join(KINDS)}.")
        receiver = self._receivers().get(exchange.path_params["receiver"])
        try:
            caller, receiver, body = await self._doorman.admit(exchange, kind, receiver, _read)
            told = self._judge(kind, receiver, body)
            exchange.stage = None
            return await self._accept(kind, receiver, caller, told)
        except Refusal as refusal:
            if not _may_pass(refusal) or PROBLEMS[refusal.code].status == _COME_AGAIN:
                raise
            return _come_again(refusal, exchange)

    def _judge(self, kind: Source, receiver: Receiver, body: bytes) -> _Told:
        check_nesting(body)
        try:
            told = self._read_generic(receiver, body) if kind is Source.GENERIC else self._read_alerts(receiver, body)
        except PayloadError as failure:
            if not failure.is_json:
                raise Refusal(ProblemCode.INVALID_JSON, failure.detail) from None
            raise ValidationFailed([FieldError("alerts", "malformed", failure.detail)]) from None
        if told.pages.unaddressed and not told.pages.submissions:
            remedy = "The body names nobody whom the receiver's settings allow, and the receiver has no recipients."
            raise ValidationFailed([FieldError("recipients", "required", remedy)])
        return told

    def _read_alerts(self, receiver: Receiver, body: bytes) -> _Told:
        group = parse_alerts(body)

        def trouble(cause: str) -> None:
            self._recorder.record_template_failed(receiver=receiver.name, cause=cause)

        pages = page_alerts(receiver, group, self._clock.now_ms(), trouble)
        return _Told(group.firing_count, group.resolved_count, pages)

    def _read_generic(self, receiver: Receiver, body: bytes) -> _Told:
        message = receiver.mapping.read(parse_json(body))
        return _Told(1, 0, page_message(receiver, message, body, self._clock.now_ms()))

    async def _accept(self, kind: Source, receiver: Receiver, caller: Caller, told: _Told) -> Reply:
        submissions = list(told.pages.submissions)
        results = await self._sending.enqueue(submissions, caller) if submissions else []
        refusals = [result for result in results if isinstance(result, Refusal)]
        answers = [result for result in results if isinstance(result, Answer)]
        # What may pass goes first: the sender repeats all of it, and what was accepted is then a duplicate.
        worst = next((refusal for refusal in refusals if _may_pass(refusal)), None)
        if worst is not None or (refusals and not answers):
            raise worst or refusals[0]
        self._recorder.record_alerts(
            kind=kind.value,
            receiver=receiver.name,
            firing=told.firing,
            resolved=told.resolved,
            duplicate=bool(answers) and all(answer.duplicate for answer in answers),
            unaddressed=told.pages.unaddressed,
        )
        pages = [_page_body(answer) for answer in answers]
        body = WebhookBody(pages, told.firing, told.resolved, told.pages.unaddressed)
        return Reply(202, msgspec.json.encode(body), headers=(PRIVATE,))


async def _read(exchange: Exchange) -> bytes:
    """Read the body; one that did not come in full may come in full the next time."""
    try:
        return await read_body(exchange, BODY_BYTES)
    except Refusal as refusal:
        if refusal.code is ProblemCode.BAD_REQUEST:
            raise Unavailable(ProblemCode.OVERLOADED, "The body did not arrive in full and in time.") from None
        raise


def _may_pass(refusal: Refusal) -> bool:
    status = PROBLEMS[refusal.code].status
    return status >= 500 or status in _MAY_PASS


def _come_again(refusal: Refusal, exchange: Exchange) -> Reply:
    """A refusal as 503 with Retry-After; its code still says what it is."""
    reply = problem_response(refusal, exchange.request_id)
    body = problem_body(refusal, exchange.request_id) | {"status": _COME_AGAIN}
    headers = dict(reply.headers)
    headers.setdefault(b"retry-after", b"%d" % _RETRY_SECONDS)
    return replace(reply, status=_COME_AGAIN, body=msgspec.json.encode(body), headers=tuple(headers.items()))


def _page_body(answer: Answer) -> PageBody:
    status = overall_status(view_recipients(answer.stored))
    return PageBody(answer.stored.notification.id, status, answer.duplicate)
