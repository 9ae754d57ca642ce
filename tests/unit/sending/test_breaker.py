"""When the relay stops calling, and what lets it call again."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.domain.codes import Code, Rejection
from relay.domain.notification import Outcome, UpstreamRecord
from relay.sending.breaker import LONGEST_OPEN_SECONDS, NO_BALANCE_SECONDS, SILENCE_SECONDS, Breaker, BreakerState
from relay.sending.ports import BalanceResult, SendOutcome, SendResult

ACCEPTED = SendResult(
    outcome=SendOutcome.ACCEPTED,
    outcomes=(Outcome(code=Code.SENT, upstream=UpstreamRecord("0000")),),
    cause="answered",
    seconds=0.1,
)
LOST = SendResult(outcome=SendOutcome.UNKNOWN, outcomes=(Outcome(code=Code.NO_ANSWER),), cause="timeout", seconds=20.0)
UNREACHABLE = SendResult(
    outcome=SendOutcome.NOT_SENT, outcomes=(Outcome(code=Code.UPSTREAM_UNREACHABLE),), cause="refused", seconds=0.0
)


def rejected(rejection: Rejection, code: str) -> SendResult:
    outcome = Outcome(code=Code.UPSTREAM_REJECTED, upstream=UpstreamRecord(code))
    return SendResult(
        outcome=SendOutcome.REJECTED, outcomes=(outcome,), cause="rejected", seconds=0.1, rejection=rejection
    )


class Heard:
    """Keeps what the breaker said."""

    def __init__(self) -> None:
        self.changes: list[tuple[BreakerState, str]] = []

    def __call__(self, state: BreakerState, reason: str) -> None:
        self.changes.append((state, reason))


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def breaker(heard: Heard) -> Breaker:
    return Breaker(failures=3, open_seconds=10.0, on_change=heard)


@pytest.mark.parametrize("failure", [LOST, UNREACHABLE], ids=["unknown", "unreachable"])
def test_calls_in_a_row_without_an_answer_open_it(breaker: Breaker, heard: Heard, failure: SendResult) -> None:
    for _ in range(3):
        assert breaker.seconds_until_allowed(0.0) == 0.0
        breaker.record_send(failure, 0.0)

    assert breaker.seconds_until_allowed(0.0) == 10.0
    assert heard.changes == [(BreakerState.OPEN, "failures")]


def test_any_answer_starts_the_count_anew(breaker: Breaker) -> None:
    for result in (LOST, LOST, ACCEPTED, LOST, LOST, rejected(Rejection.BLOCKED_WORDS, "TG19"), LOST, LOST):
        breaker.record_send(result, 0.0)

    assert breaker.state is BreakerState.CLOSED


def test_wrong_credentials_open_it_at_once(breaker: Breaker, heard: Heard) -> None:
    breaker.record_send(rejected(Rejection.CREDENTIALS, "TG11"), 0.0)

    assert breaker.state is BreakerState.OPEN
    assert heard.changes == [(BreakerState.OPEN, "credentials")]


def test_exactly_one_probe_goes_out_when_the_time_has_come(breaker: Breaker) -> None:
    breaker.record_send(rejected(Rejection.CREDENTIALS, "TG11"), 0.0)

    assert not breaker.may_probe(9.9)
    assert breaker.may_probe(10.0)
    assert not breaker.may_probe(10.0)
    assert breaker.seconds_until_allowed(10.0) > 0


def half_open(breaker: Breaker, now: float) -> float:
    """Wait out an open breaker and let its probe read the balance; when that was."""
    now += breaker.seconds_until_allowed(now)
    assert breaker.may_probe(now)
    breaker.record_probe(BalanceResult("256.21"), now)
    return now


def test_after_a_good_probe_one_send_at_a_time_goes_out_until_one_is_answered(breaker: Breaker, heard: Heard) -> None:
    breaker.record_send(rejected(Rejection.CREDENTIALS, "TG11"), 0.0)
    now = half_open(breaker, 0.0)

    assert breaker.may_call()
    assert breaker.begin_call()
    assert not breaker.may_call()
    assert breaker.seconds_until_allowed(now) > 0

    breaker.withdraw_trial()
    assert breaker.may_call()
    breaker.begin_call()
    breaker.record_send(ACCEPTED, now, trial=True)

    assert breaker.state is BreakerState.CLOSED
    assert not breaker.begin_call()
    assert breaker.may_call()
    assert heard.changes[-1] == (BreakerState.CLOSED, "answered")


@pytest.mark.parametrize("failure", [LOST, UNREACHABLE], ids=["unknown", "unreachable"])
def test_while_sends_fail_though_the_balance_answers_it_stays_open_longer_each_time_up_to_five_minutes(
    breaker: Breaker, failure: SendResult
) -> None:
    for _ in range(3):
        breaker.record_send(failure, 0.0)
    now, waits = 0.0, []
    for _ in range(7):
        now = half_open(breaker, now)
        assert breaker.begin_call()
        breaker.record_send(failure, now, trial=True)
        waits.append(breaker.seconds_until_allowed(now))

    assert waits == [20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]


def test_what_comes_back_of_calls_from_before_neither_closes_nor_opens_a_half_open_one(breaker: Breaker) -> None:
    for _ in range(3):
        breaker.record_send(LOST, 0.0)
    now = half_open(breaker, 0.0)
    for late in (LOST, ACCEPTED, LOST, LOST):
        breaker.record_send(late, now)

    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.may_call()


@pytest.mark.parametrize(("after", "wait"), [(60.0, 20.0), (61.0, 10.0)])
def test_opened_again_within_a_minute_of_closing_it_stays_open_twice_as_long(
    breaker: Breaker, after: float, wait: float
) -> None:
    for _ in range(3):
        breaker.record_send(LOST, 0.0)
    now = half_open(breaker, 0.0)
    breaker.begin_call()
    breaker.record_send(ACCEPTED, now, trial=True)
    for _ in range(3):
        breaker.record_send(LOST, now + after)

    assert breaker.seconds_until_allowed(now + after) == wait


class AnyBreaker(RuleBasedStateMachine):
    """Whatever happens in whatever order: sends only where they may, one trial at a time, never open for too long."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.out: list[bool] = []
        self.breaker = Breaker(failures=3, open_seconds=10.0, on_change=lambda *_: None)

    @rule(seconds=st.floats(0.0, 400.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.may_call())
    @rule()
    def send(self) -> None:
        trial = self.breaker.begin_call()
        assert trial == (self.breaker.state is BreakerState.HALF_OPEN)
        self.out.append(trial)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), result=st.sampled_from([LOST, UNREACHABLE, ACCEPTED]))
    def a_send_ends(self, data: st.DataObject, result: SendResult) -> None:
        trial = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        before = self.breaker.state
        self.breaker.record_send(result, self.now, trial=trial)
        if before is not BreakerState.CLOSED and self.breaker.state is BreakerState.CLOSED:
            assert trial
            assert result is ACCEPTED

    @precondition(lambda self: any(self.out))
    @rule()
    def a_trial_is_not_made(self) -> None:
        self.out.remove(True)
        self.breaker.withdraw_trial()

    @rule(units=st.sampled_from(["256.21", None]))
    def the_balance_is_asked(self, units: str | None) -> None:
        if self.breaker.may_probe(self.now):
            self.breaker.record_probe(BalanceResult(units, None if units else "timeout"), self.now)
            assert self.breaker.state is not BreakerState.CLOSED

    @invariant()
    def one_trial_at_a_time(self) -> None:
        assert sum(self.out) <= 1

    @invariant()
    def nothing_waits_for_more_than_five_minutes(self) -> None:
        assert 0.0 <= self.breaker.seconds_until_allowed(self.now) <= LONGEST_OPEN_SECONDS


TestAnyBreaker = AnyBreaker.TestCase


def test_a_failed_probe_keeps_it_open_for_longer_up_to_a_minute(breaker: Breaker) -> None:
    breaker.record_send(rejected(Rejection.CREDENTIALS, "TG11"), 0.0)
    now, waits = 0.0, []
    for _ in range(5):
        now += breaker.seconds_until_allowed(now)
        assert breaker.may_probe(now)
        breaker.record_probe(BalanceResult(None, "timeout"), now)
        waits.append(breaker.seconds_until_allowed(now))

    assert waits == [20.0, 40.0, 60.0, 60.0, 60.0]


def test_credentials_that_are_refused_again_keep_an_open_one_open_and_a_stray_probe_changes_nothing(
    breaker: Breaker, heard: Heard
) -> None:
    breaker.record_probe(BalanceResult("256.21"), 0.0)
    assert breaker.state is BreakerState.CLOSED
    breaker.record_send(rejected(Rejection.CREDENTIALS, "TG11"), 0.0)
    breaker.record_send(rejected(Rejection.CREDENTIALS, "TG11"), 5.0)

    assert breaker.seconds_until_allowed(5.0) == 10.0
    assert heard.changes == [(BreakerState.OPEN, "credentials")]


def test_a_send_that_succeeds_late_does_not_close_an_open_breaker(breaker: Breaker) -> None:
    breaker.record_send(rejected(Rejection.CREDENTIALS, "TG11"), 0.0)
    breaker.record_send(ACCEPTED, 1.0)

    assert breaker.state is BreakerState.OPEN


def test_no_balance_stops_sends_for_a_minute_without_opening_it(breaker: Breaker, heard: Heard) -> None:
    breaker.record_send(rejected(Rejection.NO_BALANCE, "TG17"), 5.0)

    assert breaker.seconds_without_balance(5.0) == NO_BALANCE_SECONDS
    assert breaker.seconds_without_balance(5.0 + NO_BALANCE_SECONDS) == 0.0
    assert heard.changes == []


def test_a_poll_that_shows_units_ends_the_stop_at_once(breaker: Breaker) -> None:
    breaker.record_send(rejected(Rejection.NO_BALANCE, "TG17"), 5.0)
    breaker.record_balance(units_left=False)
    assert breaker.seconds_without_balance(6.0) > 0
    breaker.record_balance(units_left=True)
    assert breaker.seconds_without_balance(6.0) == 0.0


class Hanging:
    """An upstream at which sends hang for 20 s while the balance answers, and somebody who sends once a second."""

    def __init__(self, seconds: int) -> None:
        self.unknown = self.refused = 0
        self.changes = Heard()
        self.breaker = breaker = Breaker(failures=5, open_seconds=10.0, on_change=self.changes)
        out: list[tuple[float, int, bool]] = []
        for now in range(seconds + 20):
            while out and out[0][0] <= now:
                _, call, trial = out.pop(0)
                breaker.end_waiting(call)
                breaker.record_send(LOST, now, trial=trial)
            if breaker.may_probe(now):
                breaker.record_probe(BalanceResult("256.21"), now)
            if now >= seconds:
                continue
            if breaker.seconds_until_allowed(now) > 0:
                self.refused += 1
                continue
            trial = breaker.begin_call()
            out.append((now + 20, breaker.begin_waiting(now), trial))
            self.unknown += 1


def test_where_sends_hang_and_the_balance_answers_few_become_unknown_and_the_rest_is_refused_before_the_dial() -> None:
    hanging = Hanging(seconds=180)

    assert hanging.unknown <= 12
    assert hanging.unknown + hanging.refused == 180
    assert (BreakerState.OPEN, "silence") in hanging.changes.changes


def test_calls_that_are_out_open_it_once_none_was_answered_for_some_seconds(breaker: Breaker, heard: Heard) -> None:
    for _ in range(3):
        breaker.begin_waiting(0.0)

    assert breaker.seconds_until_allowed(SILENCE_SECONDS - 0.1) == 0.0
    assert breaker.seconds_until_allowed(SILENCE_SECONDS) == 10.0
    assert heard.changes == [(BreakerState.OPEN, "silence")]


def test_few_that_are_out_or_one_that_was_answered_are_no_silence(breaker: Breaker) -> None:
    for _ in range(2):
        breaker.begin_waiting(0.0)
    few = breaker.seconds_until_allowed(60.0)
    answered = breaker.begin_waiting(0.0)
    breaker.end_waiting(answered)
    breaker.record_send(ACCEPTED, 5.0)
    breaker.begin_waiting(6.0)

    assert few == 0.0
    assert breaker.seconds_until_allowed(SILENCE_SECONDS + 1.0) == 0.0


def test_an_answer_after_all_ends_the_silence_at_once(breaker: Breaker, heard: Heard) -> None:
    calls = [breaker.begin_waiting(0.0) for _ in range(3)]
    breaker.seconds_until_allowed(SILENCE_SECONDS)
    breaker.end_waiting(calls[0])
    breaker.record_send(ACCEPTED, 8.0)

    assert breaker.seconds_until_allowed(8.0) == 0.0
    assert heard.changes == [(BreakerState.OPEN, "silence"), (BreakerState.CLOSED, "answered")]
