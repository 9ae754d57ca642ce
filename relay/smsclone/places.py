"""Places for connections: a limit with a bounded wait, from which no cancellation and no timeout takes a place away."""

import asyncio
from collections import deque


class Places:
    """A counting semaphore whose waiters are served in turn.

    Args:
        limit: how many may be taken at once.
    """

    def __init__(self, limit: int) -> None:
        self.free = limit
        self._waiters: deque[asyncio.Future[bool]] = deque()

    async def take(self, deadline: float) -> bool:
        """Take a place, waiting for one until the loop's time ``deadline``; whoever got one must :meth:`give_back`."""
        if self.free > 0:
            self.free -= 1
            return True
        loop = asyncio.get_running_loop()
        place: asyncio.Future[bool] = loop.create_future()
        self._waiters.append(place)
        timer = loop.call_at(deadline, _give_up, place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
                self.give_back()
            raise
        finally:
            timer.cancel()

    def give_back(self) -> None:
        """Give a place to the first who still waits, or keep it free."""
        while self._waiters:
            place = self._waiters.popleft()
            if not place.done():
                place.set_result(True)
                return
        self.free += 1


def _give_up(place: "asyncio.Future[bool]") -> None:
    if not place.done():
        place.set_result(False)
