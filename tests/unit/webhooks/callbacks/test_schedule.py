"""What follows from an attempt: nothing is repeated that should not be, nothing is repeated for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.callback_rules import CallbackOutcome
from relay.webhooks.callbacks.schedule import (
    GIVE_UP_SECONDS,
    LONGEST_DELAY_SECONDS,
    NextStep,
    Response,
    decide,
    parse_retry_after,
)

NOW = 1_796_119_200_000


def verdict(
    status: int | None, *, attempt: int = 1, age_seconds: float = 0, chance: float = 1.0, retry_after: str | None = None
) -> NextStep:
    response = Response(status, "answered" if status else "timeout", retry_after)
    return decide(response, attempt=attempt, happened_at=NOW - round(age_seconds * 1000), now_ms=NOW, chance=chance)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    assert verdict(status) == NextStep(CallbackOutcome.DELIVERED, cause=str(status))


def test_410_is_gone() -> None:
    assert verdict(410).outcome is CallbackOutcome.GONE


def test_where_it_may_not_go_it_is_not_tried_again() -> None:
    refused = Response(None, "refused", refused=True)

    assert decide(refused, attempt=1, happened_at=NOW, now_ms=NOW, chance=0) == NextStep(
        CallbackOutcome.REFUSED, cause="refused"
    )


@pytest.mark.parametrize("status", [None, 100, 301, 302, 307, 400, 401, 404, 408, 429, 500, 503])
def test_everything_else_is_tried_again(status: int | None) -> None:
    assert verdict(status).outcome is CallbackOutcome.RETRIED


def test_delays_grow_to_an_hour() -> None:
    delays = [verdict(500, attempt=attempt).delay_seconds for attempt in range(1, 10)]

    assert delays == [5, 15, 45, 135, 405, 1215, 3600, 3600, 3600]


def test_what_failed_together_does_not_come_again_together() -> None:
    assert verdict(500, chance=0.0).delay_seconds == 2.5
    assert verdict(500, chance=1.0).delay_seconds == 5.0


def test_after_a_day_it_is_given_up() -> None:
    assert verdict(500, attempt=30, age_seconds=GIVE_UP_SECONDS - 3601).outcome is CallbackOutcome.RETRIED
    assert verdict(500, attempt=30, age_seconds=GIVE_UP_SECONDS - 3599).outcome is CallbackOutcome.GIVEN_UP


@pytest.mark.parametrize(
    ("retry_after", "delay"),
    [
        ("120", 120),
        ("1", 5),
        ("0", 5),
        ("-5", 5),
        ("soon", 5),
        ("", 5),
        ("99999999999999999999", LONGEST_DELAY_SECONDS),
        ("Tue, 01 Dec 2026 10:02:00 GMT", 120),
        ("Tue, 01 Dec 2026 09:00:00 GMT", 5),
        ("Tue, 01 Dec 2099 09:00:00 GMT", LONGEST_DELAY_SECONDS),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_and_bounded(status: int, retry_after: str, delay: float) -> None:
    assert verdict(status, retry_after=retry_after).delay_seconds == delay


def test_retry_after_of_another_status_counts_nothing() -> None:
    assert verdict(500, retry_after="120").delay_seconds == 5


@given(st.text(max_size=80))
def test_any_retry_after_is_read_or_ignored(text: str) -> None:
    seconds = parse_retry_after(text, NOW)

    assert seconds is None or seconds >= 0
