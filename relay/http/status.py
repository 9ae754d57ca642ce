"""How things stand: balance, liveness, readiness, metrics."""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from litestar import Controller, MediaType, Response, get
from msgspec import Struct

from relay.domain.codes import MessageType, Permission
from relay.domain.pausing import SendingPause
from relay.http.answers import PRIVATE
from relay.http.openapi import ANY_CALLER, JSON, UPSTREAM, Answered, Content, described
from relay.http.parameters import Service
from relay.http.request import RelayRequest
from relay.http.times import format_time
from relay.sending.requests import Sending


class Liveness(StrEnum):
    """What can be said of a process that answers."""

    OK = "ok"


class AccountBalanceBody(Struct, frozen=True):
    """Units left at one account; null where they could not be read now."""

    account: str
    units: str | None
    read_at: str | None


class BalanceBody(Struct, frozen=True):
    """Units left at the client's first account, a decimal as text, and when they were read; and all its accounts."""

    units: str
    read_at: str
    accounts: list[AccountBalanceBody]


class BalanceController(Controller):
    """The units left at smsclone."""

    @get(
        "/v1/balance",
        operation_id="getBalance",
        tags=["Looking up"],
        summary="Units left at smsclone",
        description="Read now. A sandbox client sees the stand-in's.",
        opt={"permission": Permission.BALANCE},
        operation_class=described(
            Answered(200, "The balance.", (Content(JSON, BalanceBody, "balance"),)),
            problems=(*ANY_CALLER, *UPSTREAM),
        ),
    )
    async def read(self, request: RelayRequest, sending: Service[Sending]) -> Response[BalanceBody]:
        """Read it now."""
        accounts = [
            AccountBalanceBody(each.account, None, None)
            if each.balance is None
            else AccountBalanceBody(each.account, each.balance.units, format_time(each.balance.read_at))
            for each in await sending.balances(request.user.client)
        ]
        first = accounts[0]
        return Response(BalanceBody(first.units or "", first.read_at or "", accounts), headers=PRIVATE)


class LiveBody(Struct, frozen=True):
    """The event loop turns."""

    status: Liveness


class PauseBody(Struct, frozen=True, kw_only=True):
    """Something that an operator stopped: a client, a message type, an account, or everything where all are null."""

    client: str | None
    message_type: MessageType | None
    account: str | None
    by: str
    key: str | None
    reason: str
    since: str
    until: str | None


def pause_body(pause: SendingPause) -> PauseBody:
    """A pause as it is told."""
    return PauseBody(
        client=pause.scope.client,
        message_type=pause.scope.message_type,
        account=pause.scope.account,
        by=pause.by,
        key=pause.key,
        reason=pause.reason,
        since=format_time(pause.since),
        until=None if pause.until is None else format_time(pause.until),
    )


class AccountStateBody(Struct, frozen=True):
    """How one account stands: `ok`, `trying`, `stopped`, `no_balance` or `paused`."""

    account: str
    state: str


class HealthBody(Struct, frozen=True, kw_only=True):
    """How things stand. Only `ready` decides the status: a pod that can say why it refuses is better than none."""

    ready: bool
    started: bool
    draining: bool
    paused: bool
    pauses: list[PauseBody]
    journal: str
    upstream: str
    word_lists: str
    template_files: str
    in_flight: int
    waiting: int
    accounts: list[AccountStateBody]


_UPSTREAM = {"closed": "ok", "open": "stopped", "half_open": "trying"}
"""What a person reads of the circuit breaker: "closed" sounds like trouble where all is well."""


class Readiness:
    """What the readiness page tells.

    Args:
        sending: the core.
        word_lists, template_state: tell how the last load of each went, in a word.
    """

    def __init__(self, sending: Sending, word_lists: Callable[[], str], template_state: Callable[[], str]) -> None:
        self._sending = sending
        self._word_lists = word_lists
        self._template_state = template_state

    def read(self) -> HealthBody:
        """How things stand now."""
        health = self._sending.health()
        return HealthBody(
            ready=health.ready,
            started=health.started,
            draining=health.draining,
            paused=health.paused,
            pauses=list(map(pause_body, health.pauses)),
            journal=health.journal,
            upstream=_UPSTREAM.get(health.upstream, health.upstream),
            word_lists=self._word_lists(),
            template_files=self._template_state(),
            in_flight=health.in_flight,
            waiting=health.waiting,
            accounts=[
                AccountStateBody(each.account, _UPSTREAM.get(each.state, each.state)) for each in health.accounts
            ],
        )


class HealthController(Controller):
    """The pages that a kubelet reads."""

    tags = ("Watching",)

    @get(
        "/healthz",
        operation_id="live",
        summary="Liveness",
        description="Answers as long as the event loop turns.",
        operation_class=described(Answered(200, "It turns.", (Content(JSON, LiveBody),))),
    )
    async def live(self) -> Response[LiveBody]:
        """The loop turns, or this would not be answered."""
        return Response(LiveBody(Liveness.OK), headers=PRIVATE)

    @get(
        "/readyz",
        operation_id="ready",
        summary="Readiness",
        description="Whether the relay has started and is not draining. Its other states are shown only.",
        operation_class=described(
            Answered(200, "Requests may come.", (Content(JSON, HealthBody),)),
            Answered(503, "None should come now.", (Content(JSON, HealthBody),)),
        ),
    )
    async def ready(self, readiness: Service[Readiness]) -> Response[HealthBody]:
        """Started and not draining: 200, else 503. The body tells the rest."""
        health = readiness.read()
        return Response(health, status_code=200 if health.ready else 503, headers=PRIVATE)


class MetricsSource(Protocol):
    """Renders what was counted."""

    def render(self, accept: str) -> tuple[bytes, str]:
        """Give the body and its Content-Type, for the value of an ``Accept`` header."""
        ...


class MetricsController(Controller):
    """What Prometheus reads."""

    @get(
        "/metrics",
        operation_id="metrics",
        tags=["Watching"],
        summary="Metrics",
        description="Prometheus text or OpenMetrics, by `Accept`; absent where a listener of its own has them.",
        media_type=MediaType.TEXT,
        operation_class=described(
            Answered(
                200,
                "Everything counted so far.",
                (Content("text/plain", None), Content("application/openmetrics-text", None)),
            )
        ),
    )
    async def scrape(self, request: RelayRequest, metrics: Service[MetricsSource]) -> Response[bytes]:
        """Everything that was counted so far, in the format that the scraper asks for."""
        accept = b", ".join(request.head.all_values(b"accept")).decode("latin-1")
        # Thousands of series take milliseconds: in a thread they delay nobody's message.
        body, content_type = await asyncio.to_thread(metrics.render, accept)
        # Given as a header it is taken as it is: to a media type litestar would add a charset.
        return Response(body, headers={"content-type": content_type})
