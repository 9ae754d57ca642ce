"""Places for calls: urgent traffic first, a reserve that ordinary traffic cannot fill, and no place ever lost."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import MessageType
from relay.domain.notification import Mode
from relay.sending.slots import Priority, Slots, priority_of


async def test_a_free_slot_is_taken_without_waiting() -> None:
    slots = Slots(limit=1, reserved=0)

    assert await slots.acquire(Priority.WAITING, timeout_seconds=0)
    assert slots.in_use == 1


async def test_a_slot_that_is_taken_only_if_it_is_free_is_never_waited_for() -> None:
    slots = Slots(limit=1, reserved=0)

    assert slots.try_acquire(Priority.WAITING)
    assert not slots.try_acquire(Priority.URGENT)
    assert (slots.in_use, slots.waiting) == (1, 0)


async def test_nobody_gets_a_slot_above_the_limit() -> None:
    slots = Slots(limit=1, reserved=0)
    await slots.acquire(Priority.WAITING, timeout_seconds=None)

    assert not await slots.acquire(Priority.URGENT, timeout_seconds=0.01)
    assert slots.in_use == 1
    assert slots.waiting == 0


async def test_an_urgent_call_goes_before_those_that_waited_longer() -> None:
    slots = Slots(limit=1, reserved=0)
    await slots.acquire(Priority.WAITING, timeout_seconds=None)
    order: list[Priority] = []

    async def take(priority: Priority) -> None:
        await slots.acquire(priority, timeout_seconds=None)
        order.append(priority)
        slots.release()

    waiting = [asyncio.create_task(take(p)) for p in (Priority.PROMOTIONAL, Priority.QUEUED, Priority.URGENT)]
    await asyncio.sleep(0)
    slots.release()
    await asyncio.gather(*waiting)

    assert order == [Priority.URGENT, Priority.QUEUED, Priority.PROMOTIONAL]


async def test_the_queue_cannot_fill_the_reserve() -> None:
    slots = Slots(limit=2, reserved=1)
    await slots.acquire(Priority.QUEUED, timeout_seconds=None)

    assert not await slots.acquire(Priority.QUEUED, timeout_seconds=0.01)
    assert await slots.acquire(Priority.URGENT, timeout_seconds=0)


async def test_an_urgent_call_passes_ordinary_ones_that_wait_for_the_reserve_to_free() -> None:
    slots = Slots(limit=2, reserved=1)
    await slots.acquire(Priority.QUEUED, timeout_seconds=None)
    ordinary = asyncio.create_task(slots.acquire(Priority.QUEUED, timeout_seconds=None))
    await asyncio.sleep(0)

    assert await slots.acquire(Priority.URGENT, timeout_seconds=0.5)
    slots.release()
    slots.release()
    assert await ordinary


@given(st.lists(st.tuples(st.sampled_from(list(Priority)), st.sampled_from([0.0, 0.001, None])), max_size=30))
def test_no_slot_is_lost_however_waits_end(attempts: list[tuple[Priority, float | None]]) -> None:
    async def run() -> None:
        slots = Slots(limit=3, reserved=1)

        async def one(priority: Priority, timeout_seconds: float | None) -> None:
            if await slots.acquire(priority, timeout_seconds):
                assert slots.in_use <= 3
                await asyncio.sleep(0)
                slots.release()

        await asyncio.gather(*(one(priority, timeout) for priority, timeout in attempts))
        assert slots.in_use == 0
        assert slots.waiting == 0

    asyncio.run(run())


@pytest.mark.parametrize(
    ("message_type", "mode", "priority"),
    [
        (MessageType.OTP, Mode.ASYNCHRONOUS, Priority.URGENT),
        (MessageType.ALERT, Mode.SYNCHRONOUS, Priority.URGENT),
        (MessageType.TRANSACTIONAL, Mode.SYNCHRONOUS, Priority.WAITING),
        (MessageType.TRANSACTIONAL, Mode.ASYNCHRONOUS, Priority.QUEUED),
        (MessageType.PROMOTIONAL, Mode.ASYNCHRONOUS, Priority.PROMOTIONAL),
    ],
)
def test_codes_and_alerts_go_first_and_promotion_last(
    message_type: MessageType, mode: Mode, priority: Priority
) -> None:
    assert priority_of(message_type, mode) is priority
