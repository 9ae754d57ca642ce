"""While a request is read it takes the place that it is about to need, for a moment."""

import asyncio

from relay.sending.arrivals import Arrivals


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_request_counts_from_its_arrival_until_it_is_read() -> None:
    arrivals = Arrivals()

    with arrivals.begin(), arrivals.begin():
        await turns(1)
        with arrivals.begin():
            assert arrivals.count() == 3
        assert arrivals.count() == 2

    assert arrivals.count() == 0


async def test_a_slow_body_keeps_no_place() -> None:
    arrivals = Arrivals()

    with arrivals.begin():
        await turns(5)

        assert arrivals.count() == 0


async def test_a_slow_body_that_ends_takes_nobody_elses_place_away() -> None:
    arrivals = Arrivals()

    with arrivals.begin():
        await turns(5)
        other = arrivals.begin()
    assert arrivals.count() == 1

    with other:
        pass
    assert arrivals.count() == 0


async def test_turns_are_counted_only_while_somebody_arrives() -> None:
    arrivals = Arrivals()
    with arrivals.begin():
        await turns(20)
        with arrivals.begin():
            assert arrivals.count() == 1
    await turns(20)
    with arrivals.begin():
        assert arrivals.count() == 1
