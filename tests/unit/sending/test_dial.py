"""Whether a call may go out now: the one decision before a byte, with the slot given back where it is no."""

from typing import cast

import pytest

from fakes import FakeClock
from relay.domain.codes import Code, MessageType
from relay.domain.notification import Mode
from relay.sending.breaker import Breaker
from relay.sending.dial import DialPolicy, Hold, Line, Turn, await_turn, take_turn_now
from relay.sending.ports import SendOutcome, SendResult, Upstream
from relay.sending.slots import Priority, Slots
from support_journal import make_notification

LATER_MS = 3_600_000


class Way:
    """A line with one slot, and how calls are made over it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.breaker = Breaker(failures=1, open_seconds=30.0, on_change=lambda *_: None)
        self.line = Line(cast("Upstream", None), self.breaker, Slots(limit=1, reserved=0))
        self.quiet_until: int | None = None
        self.policy = DialPolicy(
            call_timeout_seconds=20.0,
            calls_at_a_time=4,
            second_attempt=frozenset(),
            quiet_until=lambda *_: self.quiet_until,
        )

    async def wait(
        self, mode: Mode, *, seconds: float | None = 5.0, stopping: bool = False, expires_at: int | None = None
    ) -> Turn | Hold | Code:
        """Ask for a turn that has to come within so many seconds."""
        notification = make_notification(mode=mode, expires_at=expires_at)
        deadline = None if seconds is None else self.clock.monotonic() + seconds
        return await await_turn(
            notification, self.line, self.clock, self.policy, deadline=deadline, stopping=lambda: stopping
        )

    def take_now(self) -> bool:
        """Ask for a turn that may not be waited for."""
        deadline = self.clock.monotonic() + 5.0
        return take_turn_now(MessageType.PROMOTIONAL, None, self.line, self.clock, self.policy, deadline=deadline)


@pytest.fixture
def way() -> Way:
    return Way()


@pytest.mark.parametrize("mode", Mode)
async def test_a_turn_takes_a_slot(way: Way, mode: Mode) -> None:
    assert await way.wait(mode) is Turn.GRANTED
    assert way.line.slots.in_use == 1


async def test_who_gets_no_slot_in_time_is_not_sent(way: Way) -> None:
    await way.line.slots.acquire(Priority.URGENT, None)

    assert await way.wait(Mode.SYNCHRONOUS, seconds=0.01) is Code.DEADLINE
    assert not way.take_now()
    assert way.line.slots.in_use == 1


async def test_whose_time_is_over_waits_for_no_slot(way: Way) -> None:
    assert await way.wait(Mode.SYNCHRONOUS, seconds=0.0) is Code.DEADLINE
    assert await way.wait(Mode.ASYNCHRONOUS, seconds=None, expires_at=way.clock.now_ms()) is Code.EXPIRED
    assert way.line.slots.in_use == 0


async def test_in_quiet_hours_who_waits_is_not_sent_and_what_is_queued_is_held_until_they_end(way: Way) -> None:
    way.quiet_until = way.clock.now_ms() + LATER_MS

    assert await way.wait(Mode.SYNCHRONOUS) is Code.EXPIRED
    assert await way.wait(Mode.ASYNCHRONOUS) == Hold(way.quiet_until)
    assert not way.take_now()
    assert way.line.slots.in_use == 0


async def test_behind_an_open_breaker_who_waits_is_not_sent_and_what_is_queued_is_held(way: Way) -> None:
    lost = SendResult(outcome=SendOutcome.UNKNOWN, outcomes=(), cause="timeout", seconds=20.0)
    way.breaker.record_send(lost, way.clock.monotonic())

    assert await way.wait(Mode.SYNCHRONOUS) is Code.UPSTREAM_UNREACHABLE
    assert isinstance(await way.wait(Mode.ASYNCHRONOUS), Hold)
    assert not way.take_now()
    assert way.line.slots.in_use == 0


async def test_while_the_process_stops_what_is_queued_goes_back_and_who_waits_is_served(way: Way) -> None:
    assert await way.wait(Mode.ASYNCHRONOUS, stopping=True) == Hold(way.clock.now_ms())
    assert way.line.slots.in_use == 0
    assert await way.wait(Mode.SYNCHRONOUS, stopping=True) is Turn.GRANTED
