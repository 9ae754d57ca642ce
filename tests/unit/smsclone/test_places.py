"""Places for connections: none is lost, none is given twice, those who wait are served in turn."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from relay.smsclone.places import Places


def now() -> float:
    return asyncio.get_running_loop().time()


async def waiting(places: Places, seconds: float = 60) -> "asyncio.Task[bool]":
    task = asyncio.create_task(places.take(now() + seconds))
    await asyncio.sleep(0)
    return task


async def test_those_who_wait_are_served_in_turn() -> None:
    places = Places(1)
    assert await places.take(now())
    first, second = await waiting(places), await waiting(places)
    places.give_back()
    assert await first
    assert not second.done()
    places.give_back()
    assert await second


async def test_a_wait_ends_at_its_deadline_without_a_place() -> None:
    places = Places(1)
    assert await places.take(now())
    assert not await places.take(now() + 0.01)
    places.give_back()
    assert places.free == 1


async def test_a_place_that_was_given_to_somebody_cancelled_at_that_moment_is_free_again() -> None:
    places = Places(1)
    assert await places.take(now())
    task = await waiting(places)
    places.give_back()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert places.free == 1


@given(st.lists(st.sampled_from(["take", "give back", "cancel", "turn"]), max_size=60), st.integers(1, 3))
def test_no_order_of_events_loses_a_place_or_gives_one_twice(events: list[str], limit: int) -> None:
    async def run() -> None:
        places = Places(limit)
        tasks: list[asyncio.Task[bool]] = []
        given_back = 0
        for event in events:
            if event == "take":
                tasks.append(await waiting(places))
            elif event == "turn":
                await asyncio.sleep(0)
            elif event == "cancel" and tasks:
                tasks[len(tasks) // 2].cancel()
            elif event == "give back" and sum(_has_place(task) for task in tasks) > given_back:
                given_back += 1
                places.give_back()
            assert sum(_has_place(task) for task in tasks) - given_back <= limit
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(sum(_has_place(task) for task in tasks) - given_back):
            places.give_back()
        assert places.free == limit

    asyncio.run(run())


def _has_place(task: "asyncio.Task[bool]") -> bool:
    return task.done() and not task.cancelled() and task.result()
