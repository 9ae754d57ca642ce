"""The balance: one reading answers everybody for ten seconds, and never opens the breaker."""

import asyncio
from typing import cast

import pytest

from relay.domain.codes import ProblemCode, Rejection
from relay.domain.errors import Refusal
from relay.sending.balance import BalanceReader
from relay.sending.breaker import Breaker, BreakerState
from relay.sending.bulkhead import Bulkhead
from relay.sending.channels import Channel
from relay.sending.events import BalanceRead
from relay.sending.ports import BalanceResult, Journal, Upstream
from support.fakes import FakeClock
from support.sending import Heard, make_runtime


class SlowBalance:
    """An upstream whose balance comes when a test says so."""

    def __init__(self) -> None:
        self.calls = 0
        self.result = BalanceResult("256.21")
        self.answered = asyncio.Event()

    async def balance(self, timeout_seconds: float) -> BalanceResult:
        self.calls += 1
        await self.answered.wait()
        return self.result


class Scene:
    """What reads the balance of such an upstream."""

    def __init__(self) -> None:
        self.clock, self.heard, self.upstream = FakeClock(), Heard(), SlowBalance()
        self.breaker = Breaker(failures=1, open_seconds=10.0, on_change=lambda *_: None)
        channel = Channel(cast("Upstream", self.upstream), self.breaker, Bulkhead(limit=1))
        runtime = make_runtime(cast("Journal", None), clock=self.clock, heard=self.heard)
        self.balance = BalanceReader(runtime, channel)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_however_many_ask_at_once_one_call_is_made(scene: Scene) -> None:
    asking = [asyncio.ensure_future(scene.balance.find()) for _ in range(120)]
    await asyncio.sleep(0)
    scene.upstream.answered.set()
    answers = await asyncio.gather(*asking)

    assert {answer.units for answer in answers} == {"256.21"}
    assert scene.upstream.calls == 1
    assert len(scene.heard.of(BalanceRead)) == 1


async def test_a_call_that_fails_fails_for_everybody_who_waits_and_is_made_anew_for_the_next(scene: Scene) -> None:
    scene.upstream.result = BalanceResult(None, "timeout")
    asking = [asyncio.ensure_future(scene.balance.find()) for _ in range(20)]
    await asyncio.sleep(0)
    scene.clock.advance(10.0)
    scene.upstream.answered.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert {type(answer) for answer in answers} <= {Refusal} | set(Refusal.__subclasses__())
    assert scene.upstream.calls == 1
    assert scene.breaker.state is BreakerState.CLOSED

    scene.clock.advance(1.0)
    scene.upstream.result = BalanceResult("9")
    assert (await scene.balance.find()).units == "9"


async def test_a_reading_answers_for_ten_seconds_and_says_when_it_was(scene: Scene) -> None:
    scene.upstream.answered.set()
    first = await scene.balance.find()
    scene.clock.advance(10.0)
    second = await scene.balance.find()
    scene.clock.advance(0.1)
    third = await scene.balance.find()

    assert first == second
    assert third.read_at == first.read_at + 10_100
    assert scene.upstream.calls == 2


async def test_a_reading_that_is_still_good_outlives_a_later_one_that_failed(scene: Scene) -> None:
    scene.upstream.answered.set()
    await scene.balance.find()
    scene.clock.advance(5.0)
    scene.upstream.result = BalanceResult(None, "timeout")
    await scene.balance.read()

    assert (await scene.balance.find()).units == "256.21"


@pytest.mark.parametrize(
    ("rejection", "code"),
    [
        (Rejection.CREDENTIALS, ProblemCode.UPSTREAM_CREDENTIALS),
        (Rejection.NO_BALANCE, ProblemCode.UPSTREAM_NO_BALANCE),
        (Rejection.BLOCKED_WORDS, ProblemCode.UPSTREAM_CONTRACT),
        (None, ProblemCode.UPSTREAM_UNREACHABLE),
    ],
)
async def test_a_balance_that_cannot_be_read_says_why(
    scene: Scene, rejection: Rejection | None, code: ProblemCode
) -> None:
    scene.upstream.answered.set()
    scene.upstream.result = BalanceResult(None, "rejected", rejection, "TG11")

    with pytest.raises(Refusal) as refusal:
        await scene.balance.find()
    assert refusal.value.code is code


async def test_a_good_probe_half_opens_the_breaker_and_a_failed_one_keeps_it_open(scene: Scene) -> None:
    scene.upstream.answered.set()
    scene.breaker.state = BreakerState.OPEN
    scene.upstream.result = BalanceResult(None, "timeout")
    await scene.balance.probe()
    after_failure = scene.breaker.state

    scene.clock.advance(60.0)
    scene.upstream.result = BalanceResult("256.21")
    await scene.balance.probe()

    assert after_failure is BreakerState.OPEN
    assert (scene.breaker.state, scene.breaker.may_call()) == (BreakerState.HALF_OPEN, True)
