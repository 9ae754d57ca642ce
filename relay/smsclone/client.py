"""smsclone as the core's ``Upstream``: one call, once, and an outcome for every number whatever happens."""

import asyncio
from collections.abc import Callable, Sequence

from relay.domain.codes import Code, Route
from relay.domain.notification import Outcome, UpstreamRecord
from relay.sending.ports import (
    BalanceResult,
    Rejection,
    RejectionKind,
    SendOutcome,
    SendRequest,
    SendResult,
)
from relay.smsclone.answers import Answer, Unreadable, match_outcomes, parse_answer, parse_balance, rejection_of
from relay.smsclone.exchange import Cause, Exchange, Exchanger
from relay.smsclone.query import Queries
from relay.smsclone.withholding import Withholding

LONGEST_URL_BYTES = 5_999
"""A URL stays under 6,000 bytes (SPEC section 2); scheme and host count."""

_LEARNED_SECONDS = 3600.0

_GARBLED = frozenset({Cause.MALFORMED, Cause.TOO_LARGE, Cause.COMPRESSED, Cause.INTERIM_FLOOD})
"""Ends of an exchange in which an answer came that cannot be read; one that is cut off is none."""


class SmscloneClient:
    """Implements ``Upstream``.

    Args:
        most_recipients: in one call; a TG20 teaches a lower number for an hour.
        monotonic: seconds that never go back.
    """

    def __init__(
        self, queries: Queries, transport: Exchanger, *, most_recipients: int, monotonic: Callable[[], float]
    ) -> None:
        self._queries = queries
        self._transport = transport
        self._most = most_recipients
        self._monotonic = monotonic
        self._learned: tuple[int, float] | None = None

    def chunk(self, sender: str, message: str, route: Route, numbers: Sequence[str]) -> list[tuple[int, ...]]:
        """See ``Upstream.chunk``."""
        most_bytes = LONGEST_URL_BYTES - self._queries.origin_bytes
        return self._queries.chunk(route, sender, numbers, message, most=self._most_now(), most_bytes=most_bytes)

    async def send(self, request: SendRequest, timeout_seconds: float) -> SendResult:
        """See ``Upstream.send``."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        target = self._queries.send(request.route, request.sender, request.numbers, request.message)
        exchange = await self._transport.exchange(target, started + timeout_seconds)
        seconds = loop.time() - started
        if exchange.status is None:
            return _unanswered(request, exchange, seconds)
        if 300 <= exchange.status < 400:
            return _unknown(request, Code.UNREADABLE_ANSWER, "redirect", seconds)
        answer = parse_answer(exchange.body)
        if isinstance(answer, Unreadable):
            return _unknown(request, Code.UNREADABLE_ANSWER, "unreadable", seconds, _status_warning(exchange))
        if answer.contradicts_itself:
            return _unknown(request, Code.CONFLICTING_ANSWER, "contradiction", seconds, answer.warnings)
        if answer.accepted:
            outcomes, warnings = match_outcomes(
                answer.records, request.numbers, Withholding(self._queries.credentials, request.message)
            )
            return SendResult(
                outcome=SendOutcome.ACCEPTED,
                outcomes=outcomes,
                cause="answered",
                seconds=seconds,
                warnings=(*answer.warnings, *warnings, *_status_warning(exchange)),
            )
        return self._rejected(request, answer, exchange, seconds)

    async def balance(self, timeout_seconds: float) -> BalanceResult:
        """See ``Upstream.balance``."""
        loop = asyncio.get_running_loop()
        exchange = await self._transport.exchange(self._queries.balance(), loop.time() + timeout_seconds)
        if exchange.status is None:
            return BalanceResult(None, exchange.cause.value)
        if 300 <= exchange.status < 400:
            return BalanceResult(None, "redirect")
        balance = parse_balance(exchange.body)
        if isinstance(balance, str):
            return BalanceResult(balance) if exchange.status == 200 else BalanceResult(None, "http_status")
        if isinstance(balance, Answer):
            known = rejection_of(balance.code)
            return BalanceResult(None, "rejected", Rejection(known.kind, balance.code, known.description))
        return BalanceResult(None, "unreadable")

    def _rejected(self, request: SendRequest, answer: Answer, exchange: Exchange, seconds: float) -> SendResult:
        known = rejection_of(answer.code)
        too_many = known.kind is RejectionKind.TOO_MANY_RECIPIENTS and "records_on_rejection" not in answer.warnings
        if too_many and len(request.numbers) > 1:
            most = min(self._most_now(), len(request.numbers) // 2)
            self._learned = (most, self._monotonic() + _LEARNED_SECONDS)
        outcome = Outcome(
            code=Code.UPSTREAM_REJECTED, upstream=UpstreamRecord(answer.code, description=known.description)
        )
        return SendResult(
            outcome=SendOutcome.REJECTED,
            outcomes=(outcome,) * len(request.numbers),
            cause="rejected",
            seconds=seconds,
            rejection=Rejection(known.kind, answer.code, known.description),
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
