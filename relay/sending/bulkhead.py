"""The bulkhead before an upstream: how many calls may be out at once, and who goes first when permits are short.

A permit is taken before a call moves to ``dialling``, so that waiting never costs an ``unknown``. A free one goes to
codes and alerts first, then to the client that holds the fewest (``shares.order``), whether it comes from a caller who
waits or from the queue.
"""

import asyncio
from collections import deque

from relay.sending.shares import Asker, Shares, order


class Bulkhead:
    """A counting semaphore whose permits are shared by client.

    Args:
        limit: calls that may be out at once; a quarter of them is kept for codes and alerts.
    """

    def __init__(self, limit: int) -> None:
        self._shares = Shares(limit)
        self._waiters: dict[Asker, deque[tuple[int, asyncio.Future[None]]]] = {}
        self._sequence = 0
        self.waiting = 0
        """How many calls wait for a permit."""

    @property
    def in_use(self) -> int:
        """How many permits are held."""
        return self._shares.held

    def held_by(self, client: str) -> int:
        """How many permits a client holds."""
        return self._shares.held_by[client]

    async def acquire(self, asker: Asker, timeout_seconds: float | None) -> bool:
        """Take a permit; wait for one at most that long (``None``: as long as it takes).

        Returns:
            Whether a permit was taken; the taker must :meth:`release` it.
        """
        if self.try_acquire(asker):
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sequence += 1
        waiter = (self._sequence, future)
        self._waiters.setdefault(asker, deque()).append(waiter)
        self.waiting += 1
        await asyncio.wait({future}, timeout=timeout_seconds)
        if future.done():
            return True
        self._forget(asker, waiter)
        return False

    def try_acquire(self, asker: Asker, *, leave_reserve: bool = False) -> bool:
        """Take a permit if one is free for this asker; whether it was taken.

        Whoever waits while one is free waits for a permit that the asker may have and they may not.

        Args:
            leave_reserve: take none of those that are kept for codes and alerts, not even for one of them.
        """
        if not self._shares.has_room(asker._replace(message_type=None) if leave_reserve else asker):
            return False
        self._shares.take(asker)
        return True

    def release(self, asker: Asker) -> None:
        """Give a permit back that was taken for this asker."""
        self._shares.give_back(asker)
        while (first := self._find_first()) is not None:
            _, future = waiter = self._waiters[first][0]
            self._forget(first, waiter)
            self._shares.take(first)
            future.set_result(None)

    def _find_first(self) -> Asker | None:
        fitting = [asker for asker in self._waiters if self._shares.has_room(asker)]
        if not fitting:
            return None
        return min(fitting, key=lambda asker: (order(self._shares, asker), self._waiters[asker][0][0]))

    def _forget(self, asker: Asker, waiter: tuple[int, asyncio.Future[None]]) -> None:
        queue = self._waiters[asker]
        if queue[0] is waiter:
            queue.popleft()
        else:
            queue.remove(waiter)
        if not queue:
            del self._waiters[asker]
        self.waiting -= 1
