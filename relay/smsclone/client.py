"""smsclone as the core's ``Upstream``: each call is made once, and every number gets an outcome whatever happens."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import httpx

from relay.domain.codes import Code, Rejection, Route
from relay.domain.notification import Outcome, UpstreamRecord
from relay.sending.ports import (
    BalanceResult,
    SendOutcome,
    SendRequest,
    SendResult,
)
from relay.smsclone.exchange import Cause, Exchange, GetTransport, open_http_client
from relay.smsclone.query import Queries
from relay.smsclone.record_redaction import RecordRedactor
from relay.smsclone.upstream_answers import (
    BatchAnswer,
    Unreadable,
    match_outcomes,
    parse_answer,
    parse_balance,
    rejection_of,
)

LONGEST_URL_BYTES = 5_999
"""A URL stays under 6,000 bytes (SPEC section 2); scheme and host count."""

_LEARNED_SECONDS = 3600.0

_GARBLED = frozenset({Cause.MALFORMED, Cause.TOO_LARGE, Cause.COMPRESSED, Cause.INTERIM_FLOOD})
"""Causes that mean an unreadable answer. One that was cut off is no answer."""


_FEW = 20
"""Recipients of a call whose answer is read at once."""


async def _go_on() -> None:
    """It is nobody else's turn."""


class SmscloneClient:
    """Implements ``Upstream``.

    Args:
        most_recipients: in one call; a TG20 lowers it for an hour.
        monotonic: a clock in seconds that never goes back.
        wait_turn: waits until an answer about many recipients may be read; each takes a millisecond.
        on_refusal: called whenever the credentials are refused.
    """

    def __init__(
        self,
        queries: Queries,
        transport: GetTransport,
        *,
        most_recipients: int,
        monotonic: Callable[[], float],
        wait_turn: Callable[[], Awaitable[None]] = _go_on,
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        self._queries = queries
        self._transport = transport
        self._http = open_http_client(transport)
        self._most = most_recipients
        self._monotonic = monotonic
        self._wait_turn = wait_turn
        self._on_refusal = on_refusal
        self._learned: tuple[int, float] | None = None
        self._reading: asyncio.Task[BalanceResult] | None = None

    def chunk(self, sender: str, message: str, route: Route, numbers: Sequence[str]) -> list[tuple[int, ...]]:
        """Split numbers into calls, by count and by bytes of the URL."""
        most_bytes = LONGEST_URL_BYTES - len(self._queries.origin)
        return self._queries.chunk(route, sender, numbers, message, most=self._most_now(), most_bytes=most_bytes)

    async def send(self, request: SendRequest, timeout_seconds: float) -> SendResult:
        """Make one call, once. Never raises for anything that the network or smsclone does."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        queries = self._queries  # which may be others by the time of the answer
        target = queries.send(request.route, request.sender, request.numbers, request.message)
        exchange = await self._transport.exchange(target, started + timeout_seconds)
        seconds = loop.time() - started
        if exchange.status is None:
            return _unanswered(request, exchange, seconds)
        if 300 <= exchange.status < 400:
            return _unknown(request, Code.UNREADABLE_ANSWER, "redirect", seconds)
        if len(request.numbers) > _FEW:
            await self._wait_turn()
        answer = parse_answer(exchange.body)
        if isinstance(answer, Unreadable):
            return _unknown(request, Code.UNREADABLE_ANSWER, "unreadable", seconds, _status_warning(exchange))
        if answer.contradicts_itself:
            return _unknown(request, Code.CONFLICTING_ANSWER, "contradiction", seconds, answer.warnings)
        if answer.accepted:
            outcomes, warnings = match_outcomes(
                answer.records, request.numbers, RecordRedactor(queries.credentials, request.message)
            )
            return SendResult(
                outcome=SendOutcome.ACCEPTED,
                outcomes=outcomes,
                cause="answered",
                seconds=seconds,
                upstream_code=answer.code,
                warnings=(*answer.warnings, *warnings, *_status_warning(exchange)),
            )
        return self._rejected(request, answer, exchange, seconds)

    async def balance(self, timeout_seconds: float) -> BalanceResult:
        """Read the balance by one call at a time: whoever asks while one is out gets that one's answer."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_balance(timeout_seconds))
        return await asyncio.shield(self._reading)

    async def _read_balance(self, timeout_seconds: float) -> BalanceResult:
        result = await self.prove(self._queries, timeout_seconds)
        if result.rejection is Rejection.CREDENTIALS:
            self._on_refusal()
        return result

    def use(self, queries: Queries) -> None:
        """Make every call from now on with these credentials."""
        self._queries = queries

    async def prove(self, queries: Queries, timeout_seconds: float) -> BalanceResult:
        """Read the balance with these credentials, whatever the other calls are made with."""
        url = queries.origin + queries.balance().decode("ascii")
        try:
            response = await self._http.get(url, timeout=timeout_seconds)
        except httpx.TransportError as failure:
            return BalanceResult(None, str(failure))
        if 300 <= response.status_code < 400:
            return BalanceResult(None, "redirect")
        balance = parse_balance(response.content)
        if isinstance(balance, str):
            return BalanceResult(balance) if response.status_code == 200 else BalanceResult(None, "http_status")
        if isinstance(balance, BatchAnswer):
            known = rejection_of(balance.code)
            return BalanceResult(None, "rejected", known.rejection, balance.code)
        return BalanceResult(None, "unreadable")

    def _rejected(self, request: SendRequest, answer: BatchAnswer, exchange: Exchange, seconds: float) -> SendResult:
        known = rejection_of(answer.code)
        if known.rejection is Rejection.CREDENTIALS:
            self._on_refusal()
        too_many = known.rejection is Rejection.TOO_MANY_RECIPIENTS and "records_on_rejection" not in answer.warnings
        if too_many and len(request.numbers) > 1:
            most = min(self._most_now(), len(request.numbers) // 2)
            self._learned = (most, self._monotonic() + _LEARNED_SECONDS)
        outcome = Outcome(
            code=Code.UPSTREAM_REJECTED,
            upstream=UpstreamRecord(answer.code, description=known.description),
            rejection=known.rejection,
        )
        return SendResult(
            outcome=SendOutcome.REJECTED,
            outcomes=(outcome,) * len(request.numbers),
            cause="rejected",
            seconds=seconds,
            rejection=known.rejection,
            upstream_code=answer.code,
            too_many=too_many,
            warnings=(*answer.warnings, *_status_warning(exchange)),
        )

    def _most_now(self) -> int:
        if self._learned is None or self._monotonic() >= self._learned[1]:
            return self._most
        return min(self._most, self._learned[0])


def _unanswered(request: SendRequest, exchange: Exchange, seconds: float) -> SendResult:
    if exchange.wrote:
        code = Code.UNREADABLE_ANSWER if exchange.cause in _GARBLED else Code.NO_ANSWER
        return _unknown(request, code, exchange.cause.value, seconds)
    return SendResult(
        outcome=SendOutcome.NOT_SENT,
        outcomes=(Outcome(code=Code.UPSTREAM_UNREACHABLE),) * len(request.numbers),
        cause=exchange.cause.value,
        seconds=seconds,
    )


def _unknown(
    request: SendRequest, code: Code, cause: str, seconds: float, warnings: tuple[str, ...] = ()
) -> SendResult:
    return SendResult(
        outcome=SendOutcome.UNKNOWN,
        outcomes=(Outcome(code=code),) * len(request.numbers),
        cause=cause,
        seconds=seconds,
        warnings=warnings,
    )


def _status_warning(exchange: Exchange) -> tuple[str, ...]:
    return () if exchange.status == 200 else ("http_status",)
