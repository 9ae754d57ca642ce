"""The units left at one account: read for whoever asks, for the gauge, and to probe its breaker. Never a send."""

import asyncio
from decimal import Decimal

from relay.domain.codes import ProblemCode
from relay.domain.errors import Refusal, Unavailable
from relay.sending.channels import Channel
from relay.sending.delivery import Runtime
from relay.sending.events import BalanceDrifted, BalanceRead
from relay.sending.ports import RETRY_SOON_SECONDS, BalanceResult
from relay.sending.requests import Balance

BALANCE_TIMEOUT_SECONDS = 10.0
FRESH_SECONDS = 10.0
"""So long a reading of the balance answers whoever asks (SPEC section 11)."""

_BALANCE_REFUSED = {
    ProblemCode.UPSTREAM_CREDENTIALS: "{} refuses the relay's credentials ({}); the operator must correct them.",
    ProblemCode.UPSTREAM_CONTRACT: "{} answered the question for the balance with {}; tell the operator.",
    ProblemCode.UPSTREAM_NO_BALANCE: "{} says that the units ran out ({}); the operator has to buy units.",
}


class BalanceReader:
    """Reads the balance of one account, and holds the last reading."""

    def __init__(self, runtime: Runtime, channel: Channel) -> None:
        self._journal = runtime.journal
        self._clock = runtime.clock
        self._events = runtime.events
        self._channel = channel
        self.interval_seconds = channel.balance_interval_seconds or runtime.policy.balance_interval_seconds
        self._asking = asyncio.Lock()
        self._balance = Balance("0", 0)
        self._balance_at = float("-inf")
        self._last_answer = BalanceResult(None, "not_asked")
        self._last_answer_at = float("-inf")

    async def probe(self) -> None:
        """When the breaker has been open long enough, ask for the balance: one free call, and never a send."""
        breaker = self._channel.breaker
        if breaker.may_probe(self._clock.monotonic()):
            result = BalanceResult(None, "bug")
            try:
                result = await self.read()
            finally:
                breaker.record_probe(result, self._clock.monotonic())
        elif breaker.seconds_without_balance(self._clock.monotonic()) > 0 and self._may_look_again():
            await self.read()

    def _may_look_again(self) -> bool:
        """While missing units stop sends: more often than every minute, but not at every turn."""
        return self._clock.monotonic() - self._last_answer_at >= BALANCE_TIMEOUT_SECONDS

    async def poll(self) -> None:
        """Read the balance, for the gauges and to be kept as evidence; one replica does it for all."""
        account = self._channel.account
        if not await self._journal.leads():
            self._events.emit(BalanceDrifted(account=account, units=Decimal(0)))
            return
        result = await self.read()
        if result.units is not None:
            drift = await self._journal.keep_balance(account, Decimal(result.units), self._clock.now_ms())
            self._events.emit(BalanceDrifted(account=account, units=drift))

    async def find(self) -> Balance:
        """Units left by the last reading; where that is older than 10 s, one call is made for everybody who asks.

        Raises:
            Refusal: they could not be read.
        """
        asked_at = self._clock.monotonic()
        async with self._asking:
            if not self._is_fresh() and self._last_answer_at < asked_at:
                await self.read()
            if self._is_fresh():
                return self._balance
            raise _refuse_balance(self._channel.account, self._last_answer)

    def _is_fresh(self) -> bool:
        return self._clock.monotonic() - self._balance_at <= FRESH_SECONDS

    async def read(self) -> BalanceResult:
        """Read the units left now. How long that takes, or that it fails, does not open the breaker."""
        started = self._clock.monotonic()
        result = await self._channel.upstream.balance(BALANCE_TIMEOUT_SECONDS)
        now, ended = self._clock.now_ms(), self._clock.monotonic()
        self._last_answer, self._last_answer_at = result, ended
        if result.units is not None:
            self._balance, self._balance_at = Balance(result.units, now), ended
            self._channel.breaker.record_balance(Decimal(result.units) > 0)
        account = self._channel.account
        self._events.emit(
            BalanceRead(account=account, units=result.units, at=now, seconds=ended - started, cause=result.cause)
        )
        return result


def _refuse_balance(account: str, result: BalanceResult) -> Refusal:
    """The refusal where the balance could not be read: what the upstream's own no means, else that it said nothing."""
    if result.rejection is None:
        detail = f"The balance could not be read from {account} now ({result.cause}). Nothing was sent by this."
        return Unavailable(ProblemCode.UPSTREAM_UNREACHABLE, detail, retry_after_seconds=RETRY_SOON_SECONDS)
    code = result.rejection.problem
    if code not in _BALANCE_REFUSED:
        code = ProblemCode.UPSTREAM_CONTRACT
    return Refusal(code, _BALANCE_REFUSED[code].format(account, result.upstream_code))
