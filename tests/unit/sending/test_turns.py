"""Heavy work: in slices that give way, one request a client at a time, a few in all."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from relay.domain.codes import ProblemCode
from relay.domain.errors import Overloaded
from relay.sending import turns as module
from relay.sending.turns import AT_ONCE, KEEP_COMING_SECONDS, MOST_WAITING, REST_SLICES, SLICE_SECONDS, HeavyWork, Turns
from support.fakes import FakeClock


class Singles:
    """Single sends under way, and how long the loop was asked to wait because of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.under_way = 0
        self.rests: list[float] = []
        self.clock = FakeClock()
        self.turns = Turns(self.clock)
        self.turns.give_way_to(lambda: self.under_way)
        loop = asyncio.get_running_loop()

        def call_later(delay: float, callback: Any, *arguments: Any) -> asyncio.Handle:
            self.rests.append(delay)
            return loop.call_soon(callback, *arguments)

        monkeypatch.setattr(loop, "call_later", call_later)


async def test_work_pauses_once_its_slice_is_over_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    singles = Singles(monkeypatch)
    slices = singles.turns.begin()
    others_turn: list[str] = []
    asyncio.get_running_loop().call_soon(others_turn.append, "other")

    await slices.pause()
    before = list(others_turn)
    singles.clock.advance(SLICE_SECONDS)
    await slices.pause()

    assert (before, others_turn) == ([], ["other"])


async def test_while_a_single_send_is_under_way_heavy_work_rests_longer_than_it_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    singles = Singles(monkeypatch)
    slices = singles.turns.begin()

    singles.clock.advance(SLICE_SECONDS)
    await slices.pause()
    alone = list(singles.rests)
    singles.under_way = 1
    singles.clock.advance(SLICE_SECONDS)
    await slices.pause()

    assert (alone, singles.rests) == ([], [SLICE_SECONDS * REST_SLICES])


async def test_what_nobody_waits_for_rests_as_long_as_single_sends_keep_coming(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    singles = Singles(monkeypatch)
    rests: list[int] = []

    for singles.under_way, seconds_later in ((0, 0), (1, 0), (1, 0), (0, 0), (0, KEEP_COMING_SECONDS), (0, 0)):
        singles.clock.advance(seconds_later)
        await singles.turns.wait_patiently()
        rests.append(len(singles.rests))

    assert rests == [0, 1, 2, 3, 3, 3]
    assert set(singles.rests) == {SLICE_SECONDS * REST_SLICES}


async def test_slices_of_several_go_one_after_another_with_others_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    singles = Singles(monkeypatch)
    order: list[str] = []

    async def work(name: str) -> None:
        for _ in range(2):
            await singles.turns.wait()
            order.append(name)
            asyncio.get_running_loop().call_soon(order.append, "other")

    await asyncio.gather(work("a"), work("b"))

    assert order[:7] == ["a", "other", "b", "other", "a", "other", "b"]


async def test_a_turn_of_somebody_who_left_goes_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    singles = Singles(monkeypatch)
    leaving = asyncio.ensure_future(singles.turns.wait())
    staying = asyncio.ensure_future(singles.turns.wait())
    await asyncio.sleep(0)
    leaving.cancel()

    await staying

    assert leaving.cancelled()


async def begin(heavy: HeavyWork, client: str, order: list[str], go_on: asyncio.Event) -> None:
    async with heavy.enter(client) as place:
        await place.begin()
        order.append(client)
        await go_on.wait()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_client_makes_one_heavy_request_at_a_time_and_hinders_no_other_client() -> None:
    heavy, order, go_on = HeavyWork(), list[str](), asyncio.Event()

    tasks = [asyncio.ensure_future(begin(heavy, client, order, go_on)) for client in ("a", "a", "a", "b")]
    await settle()
    begun = list(order)
    go_on.set()
    await asyncio.gather(*tasks)

    assert (begun, order) == (["a", "b"], ["a", "b", "a", "a"])


async def test_of_all_clients_a_few_heavy_requests_are_worked_on_at_once() -> None:
    heavy, order, go_on = HeavyWork(), list[str](), asyncio.Event()

    tasks = [asyncio.ensure_future(begin(heavy, f"client-{i}", order, go_on)) for i in range(AT_ONCE + 2)]
    await settle()
    begun = len(order)
    go_on.set()
    await asyncio.gather(*tasks)

    assert (begun, len(order)) == (AT_ONCE, AT_ONCE + 2)


async def test_a_request_that_is_still_read_keeps_no_other_client_from_working() -> None:
    heavy, order, go_on = HeavyWork(), list[str](), asyncio.Event()
    go_on.set()

    async with AsyncExitStack() as stack:
        for i in range(AT_ONCE):
            await stack.enter_async_context(heavy.enter(f"slow-{i}"))
        await begin(heavy, "quick", order, go_on)

    assert order == ["quick"]


async def test_a_place_that_was_given_up_early_is_free_and_is_given_up_once() -> None:
    heavy, order, go_on = HeavyWork(), list[str](), asyncio.Event()
    go_on.set()

    async with AsyncExitStack() as stack:
        for i in range(AT_ONCE):
            place = await stack.enter_async_context(heavy.enter(f"answering-{i}"))
            await place.begin()
            place.end()
        await asyncio.gather(*(begin(heavy, f"answering-{i}", order, go_on) for i in range(AT_ONCE)))
    go_on.clear()
    tasks = [asyncio.ensure_future(begin(heavy, f"client-{i}", order, go_on)) for i in range(AT_ONCE + 1)]
    await settle()
    begun = len(order) - AT_ONCE
    go_on.set()
    await asyncio.gather(*tasks)

    assert begun == AT_ONCE, "no more than before"


async def test_a_client_that_reads_none_of_its_answers_gets_only_a_few_and_hinders_no_other_client() -> None:
    heavy, order, go_on = HeavyWork(), list[str](), asyncio.Event()
    go_on.set()

    async with AsyncExitStack() as unread:
        for _ in range(1 + MOST_WAITING):
            place = await unread.enter_async_context(heavy.enter("a"))
            await place.begin()
            place.end()
        with pytest.raises(Overloaded):
            await begin(heavy, "a", order, go_on)
        await begin(heavy, "b", order, go_on)
    await begin(heavy, "a", order, go_on)

    assert order == ["b", "a"]


async def test_more_than_may_wait_are_refused_with_a_reason_and_leave_no_trace() -> None:
    heavy, order, go_on = HeavyWork(), list[str](), asyncio.Event()

    tasks = [asyncio.ensure_future(begin(heavy, "a", order, go_on)) for _ in range(1 + MOST_WAITING)]
    await settle()
    with pytest.raises(Overloaded) as refused:
        await begin(heavy, "a", order, go_on)
    go_on.set()
    await asyncio.gather(*tasks)
    await begin(heavy, "a", order, go_on)

    refusal = refused.value
    assert (refusal.code, refusal.client, refusal.reason) == (ProblemCode.OVERLOADED, "a", "heavy")
    assert refusal.retry_after_seconds
    assert len(order) == 2 + MOST_WAITING


@pytest.mark.parametrize("clients", [["a", "a"], ["a", "b", "c", "d"]], ids=["its own", "those of others"])
async def test_who_waits_too_long_for_other_heavy_requests_is_refused(
    clients: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_WAIT_SECONDS", 0.01)
    heavy, order, go_on = HeavyWork(), list[str](), asyncio.Event()

    tasks = [asyncio.ensure_future(begin(heavy, client, order, go_on)) for client in clients[:-1]]
    await settle()
    with pytest.raises(Overloaded) as refused:
        await begin(heavy, clients[-1], order, go_on)
    go_on.set()
    await asyncio.gather(*tasks)

    assert refused.value.reason == "heavy"
    assert order == clients[:-1]
