"""Who is let in: as many as there are places, those being read included, and so many requests a second of a client."""

import asyncio
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.clients import Client
from relay.domain.codes import MessageType, ProblemCode, Rejection
from relay.domain.errors import LimitReached, Unavailable
from relay.domain.pausing import Scope, SendingPause
from relay.sending.admission import Admission, find_outage, find_stop
from relay.sending.breaker import Breaker
from relay.sending.bulkhead import Bulkhead
from relay.sending.channels import Channel
from relay.sending.delivery import Switches
from relay.sending.ports import SendOutcome, SendResult, Upstream
from relay.sending.shares import Asker

BILLING = Client(name="billing")
CALLER = Asker("billing", MessageType.TRANSACTIONAL)


async def ticks(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_whoever_waits_holds_a_place_until_answered() -> None:
    admission = Admission(1)
    admission.enter(CALLER)

    with pytest.raises(Unavailable) as refusal:
        admission.enter(CALLER)
    assert refusal.value.code is ProblemCode.OVERLOADED
    assert refusal.value.retry_after_seconds == 1.0

    admission.leave(CALLER)
    admission.enter(CALLER)


async def test_a_request_that_is_read_takes_the_place_it_is_about_to_need() -> None:
    admission = Admission(2)

    with admission.begin_reading(BILLING):
        await ticks(1)
        assert admission.is_short()
        with pytest.raises(Unavailable):
            admission.begin_reading(BILLING)

    assert not admission.is_short()


async def test_a_slow_body_keeps_no_place() -> None:
    admission = Admission(1)

    with admission.begin_reading(BILLING):
        await ticks(5)

        assert not admission.is_short()


async def test_a_slow_body_that_ends_takes_nobody_elses_place_away() -> None:
    admission = Admission(1)

    with admission.begin_reading(BILLING):
        await ticks(5)
        other = admission.begin_reading(BILLING)
    assert admission.is_short()

    with other:
        pass
    assert not admission.is_short()


async def test_a_place_for_reading_is_a_place_also_after_a_quiet_time() -> None:
    admission = Admission(1)
    with admission.begin_reading(BILLING):
        await ticks(20)
        with admission.begin_reading(BILLING):
            assert admission.is_short()
    await ticks(20)
    with admission.begin_reading(BILLING):
        assert admission.is_short()


def client(rate: float | None, name: str = "billing") -> Client:
    return Client(name=name, requests_per_second=rate)


def test_a_client_without_a_rate_is_never_limited() -> None:
    admission = Admission(1)
    for _ in range(1000):
        admission.take_request(client(None), 0.0)


def test_above_the_burst_the_refusal_says_when_to_come_back() -> None:
    admission = Admission(1)
    admission.take_request(client(2), 0.0)
    admission.take_request(client(2), 0.0)

    with pytest.raises(LimitReached) as refusal:
        admission.take_request(client(2), 0.0)

    assert refusal.value.code is ProblemCode.RATE_LIMITED
    assert refusal.value.retry_after_seconds == pytest.approx(0.5)
    assert refusal.value.limit == 2


def test_one_client_does_not_use_up_anothers_tokens() -> None:
    admission = Admission(1)
    admission.take_request(client(1, "billing"), 0.0)
    admission.take_request(client(1, "orders"), 0.0)


@given(st.floats(0.5, 50), st.lists(st.floats(0, 0.5), min_size=1, max_size=100))
def test_no_window_lets_through_more_than_the_rate_and_one_burst(rate: float, gaps: list[float]) -> None:
    admission, now, passed = Admission(1), 0.0, 0
    for gap in gaps:
        now += gap
        try:
            admission.take_request(client(rate), now)
        except LimitReached as refusal:
            now += (refusal.retry_after_seconds or 0.0) + 1e-6
            admission.take_request(client(rate), now)
        passed += 1

    assert passed <= max(rate, 1.0) + now * rate + 1


@pytest.mark.parametrize("switches", [Switches(), Switches(started=True, draining=True)])
def test_an_instance_that_is_not_ready_or_stops_accepts_nothing_new(switches: Switches) -> None:
    stop = find_stop(switches)

    assert stop is not None
    assert stop.code is ProblemCode.DRAINING


ASKER = Asker("billing", MessageType.OTP)


def test_a_caller_who_waits_is_refused_while_sending_is_paused_or_the_upstream_is_away() -> None:
    breaker = Breaker(failures=1, open_seconds=30.0, on_change=lambda *_: None)
    channels = [Channel(cast("Upstream", None), breaker, Bulkhead(1))]
    running = Switches(started=True)
    assert find_outage(running, channels, ASKER, 0.0) is None

    paused = find_outage(Switches(started=True, paused=True), channels, ASKER, 0.0)
    assert paused is not None
    assert paused.code is ProblemCode.PAUSED

    breaker.record_send(SendResult(outcome=SendOutcome.UNKNOWN, outcomes=(), cause="timeout", seconds=20.0), 0.0)
    away = find_outage(running, channels, ASKER, 0.0)
    assert away is not None
    assert (away.code, away.retry_after_seconds) == (ProblemCode.UPSTREAM_UNREACHABLE, 30.0)


def test_a_client_that_asks_again_without_waiting_hears_its_refusals_slowly_until_the_second_is_over() -> None:
    admission = Admission(4)

    prompt = [admission.count_refusal(BILLING, 10.5) for _ in range(100)]
    late = admission.count_refusal(BILLING, 10.9)
    other = admission.count_refusal(Client(name="orders"), 10.9)
    later = admission.count_refusal(BILLING, 11.0)

    assert set(prompt) == {0.0}
    assert (late, other, later) == (0.5, 0.0, 0.0)


def test_where_one_account_can_be_sent_by_nobody_is_refused_and_where_none_can_the_first_says_why() -> None:
    first, second = (Breaker(failures=1, open_seconds=30.0, on_change=lambda *_: None) for _ in range(2))
    channels = [
        Channel(cast("Upstream", None), breaker, Bulkhead(1), account=name)
        for name, breaker in (("smsclone", first), ("backup", second))
    ]
    unsent = SendResult(
        outcome=SendOutcome.REJECTED, outcomes=(), cause="rejected", seconds=0.1, rejection=Rejection.NO_BALANCE
    )
    first.record_send(unsent, 0.0)
    assert find_outage(Switches(started=True), channels, ASKER, 0.0) is None

    switches = Switches(
        started=True,
        pauses=(SendingPause(scope=Scope(account="backup"), reason="", by="ops", key=None, since=0),),
    )
    outage = find_outage(switches, channels, ASKER, 0.0)
    assert outage is not None
    assert outage.code is ProblemCode.UPSTREAM_NO_BALANCE
    assert "smsclone" in outage.detail
