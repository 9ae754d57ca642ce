"""Batches: what came together goes together, and nobody pays for another's failure."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

from relay.journal.batching import Batcher
from relay.journal.statements import Work
from relay.sending.ports import JournalUnavailable

T = TypeVar("T")


class FakeStore:
    """Runs work that says which items it is of; fails as a test wants, once a batch that is named."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.failures: dict[tuple[str, ...], list[Exception]] = {}
        self.may_go = asyncio.Event()
        self.may_go.set()

    def work(self, items: Sequence[str]) -> Work[list[str]]:
        """Give every item back in capitals."""
        self.batches.append(list(items))
        planned = self.failures.get(tuple(items), [])
        if planned:
            raise planned.pop(0)
        yield []
        return [item.upper() for item in items]

    async def run(self, make: Callable[[], Work[T]]) -> T:
        """Run it as a store would."""
        await self.may_go.wait()
        work = make()
        try:
            next(work)
            work.send([])
        except StopIteration as end:
            value: T = end.value
            return value
        raise AssertionError("more rounds than expected")

    def batcher(self, *, lanes: int = 1, repeatable: bool = False) -> Batcher[str, str]:
        """A batcher on it."""
        return Batcher(self.run, self.work, lanes=lanes, repeatable=repeatable)


async def ask(batcher: Batcher[str, str], items: str) -> list[object]:
    """Put a letter each, and wait."""
    return await asyncio.gather(*(batcher.put(item) for item in items), return_exceptions=True)


def words(results: Sequence[object]) -> str:
    """The results as letters and reasons."""
    return " ".join(str(result) for result in results)


async def test_what_came_at_one_moment_goes_together() -> None:
    store = FakeStore()

    assert words(await ask(store.batcher(), "abc")) == "A B C"
    assert store.batches == [["a", "b", "c"]]


async def test_what_comes_while_the_lane_is_busy_goes_with_the_next_batch() -> None:
    store = FakeStore()
    batcher = store.batcher()
    store.may_go.clear()
    first = asyncio.ensure_future(ask(batcher, "a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = asyncio.ensure_future(ask(batcher, "bc"))
    await asyncio.sleep(0)
    store.may_go.set()

    assert words(await first + await rest) == "A B C"
    assert store.batches == [["a"], ["b", "c"]]


async def test_an_item_that_fails_takes_no_other_down() -> None:
    store = FakeStore()
    store.failures = {("a", "b", "c"): [RuntimeError("bug")], ("b",): [RuntimeError("bug")]}

    assert words(await ask(store.batcher(), "abc")) == "A bug C"


async def test_a_store_that_is_away_fails_all_at_once() -> None:
    store = FakeStore()
    store.failures = {("a", "b", "c"): [JournalUnavailable("unreachable")]}

    assert words(await ask(store.batcher(), "abc")) == "unreachable unreachable unreachable"
    assert len(store.batches) == 1


async def test_a_repeatable_batch_in_doubt_is_run_again() -> None:
    store = FakeStore()
    store.failures = {("a", "b"): [JournalUnavailable("unreachable", ambiguous=True)]}

    assert words(await ask(store.batcher(repeatable=True), "ab")) == "A B"
    assert store.batches == [["a", "b"], ["a", "b"]]


@pytest.mark.parametrize("second", ["unreachable", "contended"])
async def test_a_batch_whose_repetition_fails_stays_in_doubt(second: str) -> None:
    store = FakeStore()
    store.failures = {("a", "b"): [JournalUnavailable("unreachable", ambiguous=True), JournalUnavailable(second)]}

    results = await ask(store.batcher(repeatable=True), "ab")

    assert [isinstance(result, JournalUnavailable) and result.ambiguous for result in results] == [True, True]


async def test_what_may_not_be_repeated_is_said_to_be_in_doubt() -> None:
    store = FakeStore()
    store.failures = {("a",): [JournalUnavailable("unreachable", ambiguous=True)]}

    [result] = await ask(store.batcher(), "a")

    assert isinstance(result, JournalUnavailable)
    assert result.ambiguous
    assert store.batches == [["a"]]


async def test_finishing_waits_for_what_is_under_way() -> None:
    store = FakeStore()
    batcher = store.batcher()
    store.may_go.clear()
    waiting = asyncio.ensure_future(ask(batcher, "a"))
    await asyncio.sleep(0)
    finishing = asyncio.ensure_future(batcher.finish())
    await asyncio.sleep(0)
    assert not finishing.done()
    store.may_go.set()
    await finishing

    assert words(await waiting) == "A"


async def test_items_that_are_much_work_go_a_few_at_a_time_and_never_none() -> None:
    store = FakeStore()
    batcher: Batcher[str, str] = Batcher(store.run, store.work, lanes=1, most=3, weigh=lambda item: int(item))

    assert words(await ask(batcher, "12119")) == "1 2 1 1 9"
    assert store.batches == [["1", "2"], ["1", "1"], ["9"]]
