"""When to stop calling the upstream, and when to ask it again. Lives in the process; no clock of its own.

Two stops, told apart because they mean different things to the operator:

- **open**: the upstream does not answer (an ``unknown`` counts as a failure, so does a refused connection), or it
  refuses our credentials, which no repetition can mend. Half-open asks with the free balance call, never with a send.
- **no balance**: TG17 said that the units ran out. Ends when a poll shows units, or after a minute (SPEC section 5).
"""

from collections.abc import Callable
from enum import StrEnum

from relay.sending.ports import BalanceResult, RejectionKind, SendOutcome, SendResult

NO_BALANCE_SECONDS = 60.0
"""How long TG17 stops sends when no poll shows units before (SPEC section 5)."""

_LONGEST_OPEN_SECONDS = 60.0


class BreakerState(StrEnum):
    """Whether calls may be made."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Count failures of consecutive calls and say whether another may be made.

    Args:
        failures: so many calls in a row without an answer open it.
        open_seconds: how long it stays open before the first probe; doubled after each failed probe, to 60 s.
        on_change: told each new state and a closed word for why.
    """

    def __init__(self, failures: int, open_seconds: float, on_change: Callable[[BreakerState, str], None]) -> None:
        self._threshold = failures
        self._first_open_seconds = open_seconds
        self._on_change = on_change
        self._open_seconds = open_seconds
        self._failures = 0
        self._probe_at = 0.0
        self._no_balance_until = 0.0
        self.state = BreakerState.CLOSED

    def seconds_until_allowed(self, now: float) -> float:
        """How long until a call may be worth trying; 0 where one may be made now. ``now`` is monotonic seconds."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        return max(self._probe_at - now, 1.0)

    def seconds_without_balance(self, now: float) -> float:
        """How long TG17 still stops sends; 0 where it does not."""
        return max(self._no_balance_until - now, 0.0)

    def may_probe(self, now: float) -> bool:
        """Whether it is time for the balance call; moves to ``half_open``, so that exactly one probe goes out."""
        if self.state is not BreakerState.OPEN or now < self._probe_at:
            return False
        self._move(BreakerState.HALF_OPEN, "probe")
        return True

    def record_send(self, result: SendResult, now: float) -> None:
        """Learn from a call. An answer of any kind shows that the upstream is there."""
        if result.rejection is not None:
            self._learn_rejection(result.rejection.kind, now)
        elif result.outcome in (SendOutcome.UNKNOWN, SendOutcome.NOT_SENT):
            self._failures += 1
            if self.state is BreakerState.CLOSED and self._failures >= self._threshold:
                self._open(now, "failures")
        else:
            self._failures = 0

    def record_probe(self, result: BalanceResult, now: float) -> None:
        """Learn from the balance call that half-open made."""
        if self.state is BreakerState.HALF_OPEN:
            if result.units is not None:
                self._close()
            else:
                self._open_seconds = min(self._open_seconds * 2, _LONGEST_OPEN_SECONDS)
                self._open(now, "probe_failed")

    def record_balance(self, units_left: bool) -> None:
        """Learn from a poll whether there are units to send with."""
        if units_left:
            self._no_balance_until = 0.0

    def _learn_rejection(self, kind: RejectionKind, now: float) -> None:
        self._failures = 0
        if kind is RejectionKind.CREDENTIALS:
            self._open(now, "credentials")
        elif kind is RejectionKind.NO_BALANCE:
            self._no_balance_until = now + NO_BALANCE_SECONDS

    def _open(self, now: float, reason: str) -> None:
        self._probe_at = now + self._open_seconds
        self._move(BreakerState.OPEN, reason)

    def _close(self) -> None:
        self._failures = 0
        self._open_seconds = self._first_open_seconds
        self._move(BreakerState.CLOSED, "answered")

    def _move(self, state: BreakerState, reason: str) -> None:
        if state is not self.state:
            self.state = state
            self._on_change(state, reason)
