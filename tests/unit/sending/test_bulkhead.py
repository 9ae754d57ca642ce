"""Permits for calls: codes first, then the client that holds the fewest, a reserve, and no permit ever lost."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import MessageType
from relay.domain.notification import Mode
from relay.sending.bulkhead import Bulkhead
from relay.sending.shares import Asker

RECEIPT = Asker("billing", MessageType.TRANSACTIONAL)
QUEUED = Asker("billing", MessageType.TRANSACTIONAL, Mode.ASYNCHRONOUS)
PROMOTION = Asker("billing", MessageType.PROMOTIONAL, Mode.ASYNCHRONOUS)
CODE = Asker("billing", MessageType.OTP)
NEIGHBOUR = Asker("orders", MessageType.TRANSACTIONAL, Mode.ASYNCHRONOUS)
ASKERS = (RECEIPT, QUEUED, PROMOTION, CODE, NEIGHBOUR)


async def test_a_free_permit_is_taken_without_waiting() -> None:
    bulkhead = Bulkhead(limit=1)

    assert await bulkhead.acquire(RECEIPT, timeout_seconds=0)
    assert bulkhead.in_use == 1


async def test_a_permit_that_is_taken_only_if_it_is_free_is_never_waited_for() -> None:
    bulkhead = Bulkhead(limit=1)

    assert bulkhead.try_acquire(RECEIPT)
    assert not bulkhead.try_acquire(CODE)
    assert (bulkhead.in_use, bulkhead.waiting) == (1, 0)


async def test_nobody_gets_a_permit_above_the_limit() -> None:
    bulkhead = Bulkhead(limit=1)
    await bulkhead.acquire(RECEIPT, timeout_seconds=None)

    assert not await bulkhead.acquire(CODE, timeout_seconds=0.01)
    assert bulkhead.in_use == 1
    assert bulkhead.waiting == 0


async def test_codes_go_before_those_that_waited_longer_and_the_neighbour_before_the_hog() -> None:
    bulkhead = Bulkhead(limit=2)
    await bulkhead.acquire(RECEIPT, timeout_seconds=None)
    assert bulkhead.try_acquire(CODE)
    order: list[Asker] = []

    async def take(asker: Asker) -> None:
        await bulkhead.acquire(asker, timeout_seconds=None)
        order.append(asker)
        bulkhead.release(asker)

    waiting = [asyncio.create_task(take(asker)) for asker in (PROMOTION, QUEUED, RECEIPT, NEIGHBOUR, CODE)]
    await asyncio.sleep(0)
    bulkhead.release(CODE)
    bulkhead.release(RECEIPT)
    await asyncio.gather(*waiting)

    assert order[0] == CODE
    assert order.index(RECEIPT) < order.index(QUEUED) < order.index(PROMOTION)


async def test_a_free_permit_goes_to_the_client_that_holds_the_fewest() -> None:
    bulkhead = Bulkhead(limit=4)
    for _ in range(3):
        await bulkhead.acquire(RECEIPT, timeout_seconds=None)
    hog = asyncio.create_task(bulkhead.acquire(RECEIPT, timeout_seconds=None))
    await asyncio.sleep(0)
    neighbour = asyncio.create_task(bulkhead.acquire(NEIGHBOUR, timeout_seconds=None))
    await asyncio.sleep(0)

    bulkhead.release(RECEIPT)

    assert await neighbour
    assert not hog.done()
    bulkhead.release(NEIGHBOUR)
    assert await hog


async def test_ordinary_traffic_cannot_fill_the_reserve() -> None:
    bulkhead = Bulkhead(limit=2)
    await bulkhead.acquire(RECEIPT, timeout_seconds=None)

    assert not await bulkhead.acquire(NEIGHBOUR, timeout_seconds=0.01)
    assert not bulkhead.try_acquire(CODE, leave_reserve=True)
    assert await bulkhead.acquire(CODE, timeout_seconds=0)


async def test_a_code_passes_ordinary_calls_that_wait_for_the_reserve_to_free() -> None:
    bulkhead = Bulkhead(limit=2)
    await bulkhead.acquire(QUEUED, timeout_seconds=None)
    ordinary = asyncio.create_task(bulkhead.acquire(QUEUED, timeout_seconds=None))
    await asyncio.sleep(0)

    assert await bulkhead.acquire(CODE, timeout_seconds=60)
    bulkhead.release(CODE)
    bulkhead.release(QUEUED)
    assert await ordinary


@given(st.lists(st.tuples(st.sampled_from(ASKERS), st.sampled_from([0.0, 0.001, None])), max_size=30))
def test_no_permit_is_lost_however_waits_end(attempts: list[tuple[Asker, float | None]]) -> None:
    async def run() -> None:
        bulkhead = Bulkhead(limit=3)

        async def one(asker: Asker, timeout_seconds: float | None) -> None:
            if await bulkhead.acquire(asker, timeout_seconds):
                assert bulkhead.in_use <= 3
                await asyncio.sleep(0)
                bulkhead.release(asker)

        await asyncio.gather(*(one(asker, timeout) for asker, timeout in attempts))
        assert bulkhead.in_use == 0
        assert bulkhead.waiting == 0

    asyncio.run(run())
