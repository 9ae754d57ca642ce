"""Gathers what many tasks ask at one moment into one piece of work: one transaction for all of them.

Measured on SQLite at 50 in flight (tests/benchmarks/bench_journal.py): 80 µs of CPU a notification with each write a
job of its own in the same transactions, 60 gathered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from relay.journal.statements import Work
from relay.sending.ports import JournalUnavailable

Item = TypeVar("Item")
Value = TypeVar("Value")
T = TypeVar("T")

_MOST_IN_A_BATCH = 128
_OF_AN_ITEM = frozenset({"timeout", "contended", "failed"})
"""Failures that may be one item's own. Any other every item would meet alike: running each alone would only take
longer."""


class Runner(Protocol):
    """How a store runs work in a transaction."""

    def __call__(self, work: Callable[[], Work[T]], /) -> Awaitable[T]:
        """Run it, and return once it is durable."""
        ...


class Batcher(Generic[Item, Value]):
    """Runs items in batches: everything that came while the lanes were busy goes together.

    Args:
        run: runs work in a transaction.
        work: makes the work for some items; its values are in their order.
        lanes: how many batches may be under way at once.
        repeatable: whether an item whose commit is in doubt may be run again, and is decided by that.
        most: items in a batch, or their weights together.
        weigh: how much work an item is, where items are not alike; a batch has at least one.
    """

    def __init__(
        self,
        run: Runner,
        work: Callable[[Sequence[Item]], Work[Sequence[Value]]],
        *,
        lanes: int,
        repeatable: bool = False,
        most: int = _MOST_IN_A_BATCH,
        weigh: Callable[[Item], int] = lambda _: 1,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._run = run
        self._work = work
        self._free_lanes = lanes
        self._repeatable = repeatable
        self._most = most
        self._weigh = weigh
        self._waiting: list[tuple[Item, asyncio.Future[Value]]] = []
        self._lanes: set[asyncio.Task[None]] = set()

    def put(self, item: Item) -> "asyncio.Future[Value]":
        """Ask for an item; the future is done once it is durable."""
        future: asyncio.Future[Value] = self._loop.create_future()
        if not self._waiting and self._free_lanes:
            self._free_lanes -= 1
            lane = self._loop.create_task(self._work_off())
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        self._waiting.append((item, future))
        return future

    async def finish(self) -> None:
        """Wait until nothing is under way."""
        while self._lanes:
            await asyncio.wait(self._lanes)

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                weight, size = self._weigh(self._waiting[0][0]), 1
                for item, _ in self._waiting[1:]:
                    weight += self._weigh(item)
                    if weight > self._most:
                        break
                    size += 1
                batch = self._waiting[:size]
                del self._waiting[:size]
                await self._run_batch(batch)
        finally:
            self._free_lanes += 1

    async def _run_batch(self, batch: Sequence[tuple[Item, "asyncio.Future[Value]"]]) -> None:
        items = [item for item, _ in batch]
        try:
            values = await self._run_or_repeat(items)
        except Exception as error:  # noqa: BLE001 — told to whoever waits for it
            if len(batch) > 1 and _may_be_of_an_item(error):
                for single in batch:
                    await self._run_batch([single])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), value in zip(batch, values, strict=True):
            if not future.done():  # whoever waited was cancelled
                future.set_result(value)

    async def _run_or_repeat(self, items: Sequence[Item]) -> Sequence[Value]:
        try:
            return await self._run(lambda: self._work(items))
        except JournalUnavailable as failure:
            if not (failure.ambiguous and self._repeatable):
                raise
        try:
            return await self._run(lambda: self._work(items))
        except JournalUnavailable as failure:
            raise JournalUnavailable(failure.reason, ambiguous=True) from None


def _may_be_of_an_item(error: Exception) -> bool:
    if isinstance(error, JournalUnavailable):
        return not error.ambiguous and error.reason in _OF_AN_ITEM
    return True
