"""When the relay stops calling, and what lets it call again."""

import pytest

from relay.domain.codes import Code
from relay.domain.notification import Outcome, UpstreamRecord
from relay.sending.breaker import NO_BALANCE_SECONDS, Breaker, BreakerState
from relay.sending.ports import BalanceResult, Rejection, RejectionKind, SendOutcome, SendResult

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


def rejected(kind: RejectionKind, code: str) -> SendResult:
    outcome = Outcome(code=Code.UPSTREAM_REJECTED, upstream=UpstreamRecord(code))
    rejection = Rejection(kind, code, "")
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
    for result in (LOST, LOST, ACCEPTED, LOST, LOST, rejected(RejectionKind.BLOCKED_WORDS, "TG19"), LOST, LOST):
        breaker.record_send(result, 0.0)

    assert breaker.state is BreakerState.CLOSED


def test_wrong_credentials_open_it_at_once(breaker: Breaker, heard: Heard) -> None:
    breaker.record_send(rejected(RejectionKind.CREDENTIALS, "TG11"), 0.0)

    assert breaker.state is BreakerState.OPEN
    assert heard.changes == [(BreakerState.OPEN, "credentials")]


def test_exactly_one_probe_goes_out_when_the_time_has_come(breaker: Breaker) -> None:
    breaker.record_send(rejected(RejectionKind.CREDENTIALS, "TG11"), 0.0)

    assert not breaker.may_probe(9.9)
    assert breaker.may_probe(10.0)
    assert not breaker.may_probe(10.0)
    assert breaker.seconds_until_allowed(10.0) > 0


def test_a_probe_that_reads_the_balance_closes_it(breaker: Breaker) -> None:
    breaker.record_send(rejected(RejectionKind.CREDENTIALS, "TG11"), 0.0)
    breaker.may_probe(10.0)
    breaker.record_probe(BalanceResult("256.21"), 10.5)

    assert breaker.seconds_until_allowed(10.5) == 0.0


def test_a_failed_probe_keeps_it_open_for_longer_up_to_a_minute(breaker: Breaker) -> None:
    breaker.record_send(rejected(RejectionKind.CREDENTIALS, "TG11"), 0.0)
    now, waits = 0.0, []
    for _ in range(5):
        now += breaker.seconds_until_allowed(now)
        assert breaker.may_probe(now)
        breaker.record_probe(BalanceResult(None, "timeout"), now)
        waits.append(breaker.seconds_until_allowed(now))

    assert waits == [20.0, 40.0, 60.0, 60.0, 60.0]


def test_a_send_that_succeeds_late_does_not_close_an_open_breaker(breaker: Breaker) -> None:
    breaker.record_send(rejected(RejectionKind.CREDENTIALS, "TG11"), 0.0)
    breaker.record_send(ACCEPTED, 1.0)

    assert breaker.state is BreakerState.OPEN


def test_no_balance_stops_sends_for_a_minute_without_opening_it(breaker: Breaker, heard: Heard) -> None:
    breaker.record_send(rejected(RejectionKind.NO_BALANCE, "TG17"), 5.0)

    assert breaker.seconds_without_balance(5.0) == NO_BALANCE_SECONDS
    assert breaker.seconds_without_balance(5.0 + NO_BALANCE_SECONDS) == 0.0
    assert heard.changes == []


def test_a_poll_that_shows_units_ends_the_stop_at_once(breaker: Breaker) -> None:
    breaker.record_send(rejected(RejectionKind.NO_BALANCE, "TG17"), 5.0)
    breaker.record_balance(units_left=False)
    assert breaker.seconds_without_balance(6.0) > 0
    breaker.record_balance(units_left=True)
    assert breaker.seconds_without_balance(6.0) == 0.0
