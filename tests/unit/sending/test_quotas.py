"""Requests a second: a burst of one second's worth, then a steady drip; one client never pays for another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.clients import Client
from relay.domain.codes import ProblemCode
from relay.domain.errors import LimitReached
from relay.sending.quotas import RequestLimiter


def client(rate: float | None, name: str = "billing") -> Client:
    return Client(name=name, requests_per_second=rate)


def test_a_client_without_a_rate_is_never_limited() -> None:
    limiter = RequestLimiter()
    for _ in range(1000):
        limiter.check(client(None), 0.0)


def test_above_the_burst_the_refusal_says_when_to_come_back() -> None:
    limiter = RequestLimiter()
    limiter.check(client(2), 0.0)
    limiter.check(client(2), 0.0)

    with pytest.raises(LimitReached) as refusal:
        limiter.check(client(2), 0.0)

    assert refusal.value.code is ProblemCode.RATE_LIMITED
    assert refusal.value.retry_after_seconds == pytest.approx(0.5)
    assert refusal.value.limit == 2


def test_one_client_does_not_use_up_anothers_tokens() -> None:
    limiter = RequestLimiter()
    limiter.check(client(1, "billing"), 0.0)
    limiter.check(client(1, "orders"), 0.0)


@given(st.floats(0.5, 50), st.lists(st.floats(0, 0.5), min_size=1, max_size=100))
def test_no_window_lets_through_more_than_the_rate_and_one_burst(rate: float, gaps: list[float]) -> None:
    limiter, now, passed = RequestLimiter(), 0.0, 0
    for gap in gaps:
        now += gap
        try:
            limiter.check(client(rate), now)
        except LimitReached as refusal:
            now += (refusal.retry_after_seconds or 0.0) + 1e-6
            limiter.check(client(rate), now)
        passed += 1

    assert passed <= max(rate, 1.0) + now * rate + 1
