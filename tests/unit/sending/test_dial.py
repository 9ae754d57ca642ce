"""Whether a call may go out now: the one decision before a byte, with the permit given back where it is no."""

import asyncio
from typing import cast

import pytest
from msgspec.structs import replace

from relay.domain.clients import Client
from relay.domain.codes import Code, MessageType
from relay.domain.hours import DeliveryWindow
from relay.domain.notification import Mode
from relay.domain.routing import DEFAULT_ROUTES
from relay.domain.words import WordMatcher
from relay.sending.accounts import UNTIL_CHANGED_SECONDS, Hold
from relay.sending.breaker import Breaker
from relay.sending.bulkhead import Bulkhead
from relay.sending.channels import Channel, Permit
from relay.sending.delivery import Delivery
from relay.sending.dial import await_permit, take_permit_early
from relay.sending.ports import Journal, Lease, SendOutcome, SendResult
from relay.sending.prepare import Rules, prepare
from relay.sending.requests import Submission
from relay.sending.shares import Asker
from support.fake_core import Chunker
from support.fakes import FakeClock
from support.journal import as_stored, make_claim, pause
from support.sending import make_runtime

HOUR_MS = 3_600_000
PROMOTION = Submission(sender="ACME", recipients=("2348012345678",), message="Hi", message_type=MessageType.PROMOTIONAL)
CLIENT = Client(name="billing", default_sender="ACME", message_types=frozenset(MessageType))
RULES = Rules(matcher=WordMatcher([]), routes=DEFAULT_ROUTES, hours={})
PREPARED = prepare(PROMOTION, CLIENT, RULES, Chunker(), asynchronous=False, now_ms=0)
ASKER = Asker("billing", MessageType.PROMOTIONAL)
AROUND_NOON = DeliveryWindow(13 * 60, 11 * 60, code=Code.HELD_QUIET_HOURS)
"""An hour of them is left: the clock says noon."""


def a_breaker() -> Breaker:
    """One that opens at the first failure, for half a minute."""
    return Breaker(failures=1, open_seconds=30.0, on_change=lambda *_: None)


class Way:
    """A channel with one permit, and what is sent over it."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.clock = FakeClock()
        self.breaker = a_breaker()
        self.bulkhead = Bulkhead(limit=1)
        self.channels: tuple[Channel, ...] = (Channel(Chunker(), self.breaker, self.bulkhead),)
        hours = dict.fromkeys(MessageType, AROUND_NOON) if quiet else {}
        self.runtime = make_runtime(cast("Journal", None), clock=self.clock, hours=hours)

    async def wait(
        self, mode: Mode, *, seconds: float | None = 5.0, expires_at: int | None = None
    ) -> Permit | Hold | Code:
        """Ask for a permit that has to come within so many seconds."""
        claim = make_claim(mode=mode, expires_at=expires_at)
        deadline = None if seconds is None else self.clock.monotonic() + seconds
        lease = Lease(as_stored(claim), 1)
        [call] = lease.stored.calls
        return await await_permit(Delivery(lease, self.channels, self.runtime, deadline=deadline), call)

    def take_early(self) -> Permit | None:
        """Ask for a permit that may not be waited for."""
        deadline = self.clock.monotonic() + 5.0
        return take_permit_early(ASKER, PREPARED, self.channels, self.runtime, deadline=deadline)


@pytest.fixture
def way() -> Way:
    return Way()


@pytest.mark.parametrize("mode", Mode)
async def test_a_call_that_may_go_out_takes_a_permit(way: Way, mode: Mode) -> None:
    assert isinstance(await way.wait(mode), Permit)
    assert way.bulkhead.in_use == 1


async def test_without_a_permit_in_time_nothing_is_sent(way: Way) -> None:
    await way.bulkhead.acquire(Asker("billing", MessageType.OTP), None)

    assert await way.wait(Mode.SYNCHRONOUS, seconds=0.01) is Code.DEADLINE
    assert not way.take_early()
    assert way.bulkhead.in_use == 1


async def test_what_is_overdue_waits_for_no_permit(way: Way) -> None:
    assert await way.wait(Mode.SYNCHRONOUS, seconds=0.0) is Code.DEADLINE
    assert await way.wait(Mode.ASYNCHRONOUS, seconds=None, expires_at=way.clock.now_ms()) is Code.EXPIRED
    assert way.bulkhead.in_use == 0


async def test_in_quiet_hours_a_waiting_callers_call_is_not_sent_and_a_queued_one_is_held_until_they_end() -> None:
    way = Way(quiet=True)

    assert await way.wait(Mode.SYNCHRONOUS) is Code.EXPIRED
    assert await way.wait(Mode.ASYNCHRONOUS) == Hold(way.clock.now_ms() + HOUR_MS, Code.HELD_QUIET_HOURS)
    assert not way.take_early()
    assert way.bulkhead.in_use == 0


async def test_behind_an_open_breaker_a_waiting_callers_call_is_not_sent_and_a_queued_one_is_held(way: Way) -> None:
    lost = SendResult(outcome=SendOutcome.UNKNOWN, outcomes=(), cause="timeout", seconds=20.0)
    way.breaker.record_send(lost, way.clock.monotonic())

    assert await way.wait(Mode.SYNCHRONOUS) is Code.UPSTREAM_UNREACHABLE
    assert isinstance(await way.wait(Mode.ASYNCHRONOUS), Hold)
    assert not way.take_early()
    assert way.bulkhead.in_use == 0


async def test_what_may_not_go_out_any_more_once_its_permit_came_gives_it_back(way: Way) -> None:
    asker = Asker("billing", MessageType.OTP)
    await way.bulkhead.acquire(asker, None)
    waiting = [asyncio.ensure_future(way.wait(mode)) for mode in (Mode.SYNCHRONOUS, Mode.ASYNCHRONOUS)]
    while way.bulkhead.waiting < len(waiting):
        await asyncio.sleep(0)
    lost = SendResult(outcome=SendOutcome.UNKNOWN, outcomes=(), cause="timeout", seconds=20.0)
    way.breaker.record_send(lost, way.clock.monotonic())
    way.bulkhead.release(asker)

    refused, held = await asyncio.gather(*waiting)
    assert refused is Code.UPSTREAM_UNREACHABLE
    assert isinstance(held, Hold)
    assert way.bulkhead.in_use == 0


@pytest.mark.parametrize("mode", Mode)
async def test_without_an_account_nothing_is_sent_and_nothing_held(way: Way, mode: Mode) -> None:
    way.channels = ()

    assert await way.wait(mode) is Code.UPSTREAM_UNREACHABLE
    assert not way.take_early()


async def test_it_is_held_for_the_accounts_that_its_sender_can_use_and_a_pause_is_looked_at_again_in_ten_seconds(
    way: Way,
) -> None:
    [first] = way.channels
    elsewhere = replace(first, account="backup", senders=frozenset({"OTHER"}), breaker=a_breaker())
    way.channels = (first, elsewhere)
    lost = SendResult(outcome=SendOutcome.UNKNOWN, outcomes=(), cause="timeout", seconds=20.0)
    way.breaker.record_send(lost, way.clock.monotonic())
    assert await way.wait(Mode.ASYNCHRONOUS) == Hold(way.clock.now_ms() + 30_000)

    way.runtime.switches.pauses = (pause(account="smsclone"),)
    way.clock.advance(29)
    in_ten_seconds = Hold(way.clock.now_ms() + round(UNTIL_CHANGED_SECONDS * 1000))
    assert await way.wait(Mode.ASYNCHRONOUS) == in_ten_seconds
    way.channels = (elsewhere,)
    assert await way.wait(Mode.ASYNCHRONOUS) == in_ten_seconds


@pytest.mark.parametrize("switch", ["draining", "paused"])
async def test_while_sending_stops_what_is_queued_goes_back_and_a_waiting_caller_is_served(
    way: Way, switch: str
) -> None:
    setattr(way.runtime.switches, switch, True)

    assert await way.wait(Mode.ASYNCHRONOUS) == Hold(way.clock.now_ms())
    assert way.bulkhead.in_use == 0
    assert isinstance(await way.wait(Mode.SYNCHRONOUS), Permit)
