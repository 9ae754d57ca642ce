"""When to stop calling the upstream, and when to ask it again. Lives in the process; no clock of its own.

Two stops, told apart because they mean different things to the operator:

- **open**: the upstream does not answer (an ``unknown`` counts as a failure, so does a refused connection), or it
  refuses our credentials, which no repetition can mend. The free balance call, never a send, makes it **half open**;
  then one send at a time goes out, and the first that is answered closes it. An upstream whose balance answers while
  sends hang would else cost as many unknown outcomes as there are permits, again and again.
  So would calls that are out and hang: where as many as open it are out, the first of them for some seconds, and none
  was answered meanwhile, it opens before they fail, and closes at the first answer.
- **no balance**: the upstream refused a call because the units ran out. Ends when a poll shows units, or after a
  minute (SPEC section 5).
"""

from collections.abc import Callable
from enum import StrEnum

from relay.domain.codes import Rejection
from relay.sending.ports import BalanceResult, SendOutcome, SendResult

NO_BALANCE_SECONDS = 60.0
"""How long such a refusal stops sends when no poll shows units before (SPEC section 5)."""

LONGEST_AFTER_PROBES_SECONDS = 60.0
"""Between two probes that fail: they cost nothing."""

LONGEST_OPEN_SECONDS = 300.0
"""Where it closes and opens again, or where sends fail although the balance answers (SPEC section 11)."""

RELAPSE_SECONDS = 60.0
"""Opened again so soon after it closed, it stays open twice as long as the last time."""


SILENCE_SECONDS = 7.0
"""So long a call may be out without an answer to any, before the upstream is taken to be silent: a deadline of 20 s
would let one request a second become 25 unknown outcomes before the first fails."""


class BreakerState(StrEnum):
    """Whether calls may be made."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """A probe is out; or it was good, and one send at a time may go out."""


class Breaker:
    """Count failures of consecutive calls and say whether another may be made.

    Args:
        failures: so many calls in a row without an answer open it.
        open_seconds: how long it stays open before the first probe.
        on_change: called with each new state and a closed word for why.
    """

    def __init__(self, failures: int, open_seconds: float, on_change: Callable[[BreakerState, str], None]) -> None:
        self._threshold = failures
        self._first_open_seconds = open_seconds
        self._on_change = on_change
        self._open_seconds = open_seconds
        self._failures = 0
        self._probe_at = 0.0
        self._probed = False
        self._trial_is_out = False
        self._closed_at = float("-inf")
        self._no_balance_until = 0.0
        self._out: dict[int, float] = {}
        self._calls = 0
        self._answered_at = float("-inf")
        self._is_silent = False
        self.refused_credentials = False
        """Whether our credentials were refused when it opened."""
        self.state = BreakerState.CLOSED

    def may_call(self) -> bool:
        """Whether a send may go out at this moment."""
        if self.state is BreakerState.HALF_OPEN:
            return self._probed and not self._trial_is_out
        return self.state is BreakerState.CLOSED

    def begin_call(self) -> bool:
        """A send goes out that :meth:`may_call`.

        Returns:
            Whether it is the trial of a half-open breaker: its end must be told, by :meth:`record_send` or
            :meth:`withdraw_trial`, before there is another one.
        """
        if self.state is not BreakerState.HALF_OPEN:
            return False
        self._trial_is_out = True
        return True

    def begin_waiting(self, now: float) -> int:
        """The bytes of a send go out; gives what :meth:`end_waiting` takes. ``now`` is monotonic seconds."""
        self._calls += 1
        self._out[self._calls] = now
        return self._calls

    def end_waiting(self, call: int) -> None:
        """It was answered, or failed."""
        self._out.pop(call, None)

    def withdraw_trial(self) -> None:
        """The send that was to be the trial was not made."""
        self._trial_is_out = False

    def seconds_until_allowed(self, now: float) -> float:
        """How long until a call may be worth trying; 0 where one may be made now. ``now`` is monotonic seconds."""
        self._look_for_silence(now)
        return 0.0 if self.may_call() else max(self._probe_at - now, 1.0)

    def seconds_without_balance(self, now: float) -> float:
        """How long the missing units still stop sends; 0 where they do not."""
        return max(self._no_balance_until - now, 0.0)

    def may_probe(self, now: float) -> bool:
        """Whether it is time for the balance call; moves to ``half_open``, so that exactly one probe goes out."""
        if self.state is not BreakerState.OPEN or now < self._probe_at:
            return False
        self._probed = False
        self._move(BreakerState.HALF_OPEN, "probe")
        return True

    def record_probe(self, result: BalanceResult, now: float) -> None:
        """Learn from the balance call that half-open made."""
        if self.state is not BreakerState.HALF_OPEN:
            return
        if result.units is not None:
            self._probed = True
            return
        longer = min(self._open_seconds * 2, LONGEST_AFTER_PROBES_SECONDS)
        self._open(now, max(longer, self._open_seconds), "probe_failed")

    def record_send(self, result: SendResult, now: float, *, trial: bool = False) -> None:
        """Learn from a call. An answer of any kind shows that the upstream is there.

        A half-open breaker learns from its trial alone: what comes back of earlier calls is old news.
        """
        if trial:
            self._trial_is_out = False
        answered = result.rejection is not None or result.outcome not in (SendOutcome.UNKNOWN, SendOutcome.NOT_SENT)
        if answered:
            self._answered_at = now
        if result.rejection is Rejection.NO_BALANCE:
            self._no_balance_until = now + NO_BALANCE_SECONDS
        if result.rejection is Rejection.CREDENTIALS:
            self._open_again(now, "credentials")
        elif self.state is BreakerState.HALF_OPEN:
            if trial and answered:
                self._close(now)
            elif trial:
                self._open(now, min(self._open_seconds * 2, LONGEST_OPEN_SECONDS), "trial_failed")
        elif answered:
            self._hear(now)
        else:
            self._failures += 1
            if self.state is BreakerState.CLOSED and self._failures >= self._threshold:
                self._open_again(now, "failures")

    def _hear(self, now: float) -> None:
        """It was answered: it is there, and where only its silence opened the breaker, that is over."""
        self._failures = 0
        if self._is_silent:
            self._close(now)

    def _look_for_silence(self, now: float) -> None:
        """Open where many calls are out and none is answered."""
        if self.state is not BreakerState.CLOSED or len(self._out) < self._threshold:
            return
        first = next(iter(self._out.values()))
        if now - first >= SILENCE_SECONDS and self._answered_at < first:
            self._open_again(now, "silence")
            self._is_silent = True

    def record_credentials(self, now: float) -> None:
        """New credentials were proven by the balance call: what opened it for the old ones is over."""
        if self.refused_credentials and self.state is not BreakerState.CLOSED:
            self._close(now, "new_credentials")

    def record_balance(self, units_left: bool) -> None:
        """Learn from a poll whether there are units to send with."""
        if units_left:
            self._no_balance_until = 0.0

    def _open_again(self, now: float, reason: str) -> None:
        """Open, for twice as long as the last time where that is only a moment ago."""
        if self.state is BreakerState.CLOSED:
            relapse = now - self._closed_at <= RELAPSE_SECONDS
            longer = min(self._open_seconds * 2, LONGEST_OPEN_SECONDS)
            self._open(now, longer if relapse else self._first_open_seconds, reason)
        else:
            self._open(now, self._open_seconds, reason)

    def _open(self, now: float, seconds: float, reason: str) -> None:
        self._open_seconds = seconds
        self._is_silent = False
        self._probe_at = now + seconds
        self.refused_credentials = reason == "credentials" or (self.refused_credentials and reason == "probe_failed")
        self._move(BreakerState.OPEN, reason)

    def _close(self, now: float, reason: str = "answered") -> None:
        self._failures = 0
        self._is_silent = False
        self._closed_at = now
        self._trial_is_out = False
        self.refused_credentials = False
        self._move(BreakerState.CLOSED, reason)

    def _move(self, state: BreakerState, reason: str) -> None:
        if state is not self.state:
            self.state = state
            self._on_change(state, reason)
