"""What the operator's page is told of the last hour and of the units, without Prometheus."""

import pytest

from relay.domain.codes import ProblemCode
from relay.observability.history import History
from relay.observability.metrics import Metrics

MINUTE, HOUR = 60.0, 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def now_ms(self) -> int:
        return round(self.now * 1000)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def history(metrics: Metrics, clock: Clock) -> History:
    return History(metrics, clock)


def pass_time(history: History, clock: Clock, seconds: float) -> None:
    """As the core does: a look every five seconds, though here a minute apart."""
    for _ in range(round(seconds / MINUTE)):
        clock.now += MINUTE
        history.sample()


def read_balance(metrics: Metrics, clock: Clock, units: float) -> None:
    metrics.set("relay_upstream_balance_units", units, "smsclone")
    metrics.set("relay_upstream_balance_read_timestamp_seconds", clock.now, "smsclone")


def refuse(metrics: Metrics, code: ProblemCode, amount: int = 1) -> None:
    metrics.add("relay_refusals_total", "accept", code, amount=amount)


def test_the_last_hour_is_counted_by_code_and_what_did_not_happen_is_left_out(
    metrics: Metrics, history: History, clock: Clock
) -> None:
    history.sample()
    refuse(metrics, ProblemCode.OVERLOADED, 3)
    metrics.add("relay_refusals_total", "edge", ProblemCode.OVERLOADED)

    assert history.count_last_hour("relay_refusals_total") == {"overloaded": 4}
    assert history.count_last_hour("relay_unknown_total") == {}


def test_what_is_older_than_an_hour_counts_no_more(metrics: Metrics, history: History, clock: Clock) -> None:
    history.sample()
    refuse(metrics, ProblemCode.OVERLOADED, 3)
    pass_time(history, clock, 30 * MINUTE)
    refuse(metrics, ProblemCode.PAUSED, 2)
    pass_time(history, clock, 40 * MINUTE)

    assert history.count_last_hour("relay_refusals_total") == {"paused": 2}
    pass_time(history, clock, HOUR)
    assert history.count_last_hour("relay_refusals_total") == {}


def test_units_last_as_long_as_the_rate_of_the_day_says(metrics: Metrics, history: History, clock: Clock) -> None:
    for units in range(1000, 880, -1):
        read_balance(metrics, clock, float(units))
        pass_time(history, clock, MINUTE)

    assert history.units() == {"smsclone": (881.0, clock.now - MINUTE)}
    assert history.hours_left("smsclone") == pytest.approx(881 / 60, rel=0.02)


def test_a_top_up_is_no_negative_use(metrics: Metrics, history: History, clock: Clock) -> None:
    for units in (100.0, 90.0, 1090.0, 1080.0):
        read_balance(metrics, clock, units)
        pass_time(history, clock, 10 * MINUTE)

    assert history.hours_left("smsclone") == pytest.approx(1080 / (20 / (39 / 60)), rel=0.05)


@pytest.mark.parametrize("minutes", [0, 1, 9])
def test_a_few_minutes_are_too_short_for_a_rate(metrics: Metrics, history: History, clock: Clock, minutes: int) -> None:
    read_balance(metrics, clock, 100.0)
    pass_time(history, clock, minutes * MINUTE)
    read_balance(metrics, clock, 50.0)

    assert history.hours_left("smsclone") is None


def test_nothing_used_and_nothing_read_have_no_hours(metrics: Metrics, history: History, clock: Clock) -> None:
    pass_time(history, clock, HOUR)
    assert (history.units(), history.hours_left("smsclone")) == ({}, None)
    read_balance(metrics, clock, 100.0)
    pass_time(history, clock, HOUR)
    assert history.hours_left("smsclone") is None


@pytest.mark.slow
def test_a_day_is_kept_and_no_more(metrics: Metrics, history: History, clock: Clock) -> None:
    for _ in range(3 * 24 * 60):
        clock.now += MINUTE / 2
        history.sample()

    assert len(history._samples) <= 24 * 60 + 1
