"""The order in which addresses are tried, and the race between them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smsclone import addresses
from relay.smsclone.addresses import Addresses, alternate, race
from relay.smsclone.connection import Connection

ADDRESS = st.sampled_from([f"192.0.2.{n}" for n in range(5)] + [f"2001:db8::{n}" for n in range(5)])


@given(st.lists(ADDRESS, max_size=12))
def test_every_address_is_tried_once_and_the_resolvers_first_choice_first(found: list[str]) -> None:
    order = alternate(found)
    assert sorted(order) == sorted(set(found))
    assert order[:1] == found[:1]
    families = [":" in address for address in order]
    turns = min(families.count(True), families.count(False)) * 2
    assert all(families[i] != families[i + 1] for i in range(max(turns - 1, 0)))


@pytest.mark.parametrize("literal", ["192.0.2.1", "2001:db8::1"])
async def test_an_address_is_its_own_answer(literal: str) -> None:
    assert await Addresses(literal, 443).find() == [literal]


async def test_a_name_that_is_no_name_has_no_address() -> None:
    assert await Addresses("x" * 300, 443).find() == []


class Line(Connection):
    """A connection that only tells whether it was cut."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.is_cut = False

    def close(self) -> None:
        self.is_cut = True


def dial(
    result: Connection | None, *, after: asyncio.Event | None = None, started: asyncio.Event | None = None
) -> Callable[[], Coroutine[Any, Any, Connection]]:
    async def run() -> Connection:
        if started is not None:
            started.set()
        if after is not None:
            await after.wait()
        if result is None:
            raise ConnectionRefusedError
        return result

    return run


async def test_the_second_is_tried_at_once_where_the_first_fails() -> None:
    line = Line()
    assert await race([dial(None), dial(line)]) is line
    assert not line.is_cut


async def test_a_first_that_hangs_costs_only_a_head_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "NEXT_ATTEMPT_SECONDS", 0.01)
    line = Line()
    assert await race([dial(Line(), after=asyncio.Event()), dial(line)]) is line


async def test_a_slow_first_may_still_win_when_all_others_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "NEXT_ATTEMPT_SECONDS", 0.01)
    line, awake, started = Line(), asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(race([dial(line, after=awake), dial(None), dial(None, started=started)]))
    await started.wait()
    awake.set()
    assert await task is line


async def test_where_all_fail_the_first_ones_error_counts() -> None:
    with pytest.raises(ConnectionRefusedError):
        await race([dial(None), dial(None), dial(None)])


async def test_a_second_connection_that_stands_at_the_same_moment_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "NEXT_ATTEMPT_SECONDS", 0.01)
    awake, started = asyncio.Event(), asyncio.Event()
    lines = [Line(), Line()]
    task = asyncio.create_task(race([dial(lines[0], after=awake), dial(lines[1], after=awake, started=started)]))
    await started.wait()
    awake.set()
    winner = await task
    await asyncio.sleep(0)
    assert [line.is_cut for line in lines] == [line is not winner for line in lines]


async def test_a_cancelled_race_leaves_no_dial_and_no_connection_behind() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def hang() -> Connection:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    task = asyncio.create_task(race([hang, hang]))
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(2):
        await cancelled.wait()
