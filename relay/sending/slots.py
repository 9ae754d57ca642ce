"""Places for calls: how many may be out at once, and who goes first when they are short.

A slot is taken before a call moves to ``dialling``, so that waiting never costs an ``unknown``.
"""

import asyncio
import heapq
from enum import IntEnum

from relay.domain.codes import MessageType
from relay.domain.notification import Mode


class Priority(IntEnum):
    """Who goes first. Codes and pages before receipts, waiting callers before the queue, promotion last."""

    URGENT = 0
    WAITING = 1
    QUEUED = 2
    PROMOTIONAL = 3


def priority_of(message_type: MessageType, mode: Mode) -> Priority:
    """Give the priority of a notification's calls."""
    if message_type in (MessageType.OTP, MessageType.ALERT):
        return Priority.URGENT
    if mode is Mode.SYNCHRONOUS:
        return Priority.WAITING
    return Priority.PROMOTIONAL if message_type is MessageType.PROMOTIONAL else Priority.QUEUED


class Slots:
    """A counting semaphore with priorities and a reserve.

    Args:
        limit: calls that may be out at once.
        reserved: of these, how many the queue's ordinary traffic leaves free, so that a campaign that hangs at the
            upstream cannot hold up a code.
    """

    def __init__(self, limit: int, reserved: int) -> None:
        self._limit = limit
        self._ordinary_limit = max(limit - reserved, 1)
        self._waiters: list[tuple[Priority, int, asyncio.Future[None]]] = []
        self._sequence = 0
        self.in_use = 0

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot."""
        return len(self._waiters)

    async def acquire(self, priority: Priority, timeout_seconds: float | None) -> bool:
        """Take a slot; wait for one at most that long (``None``: as long as it takes).

        Returns:
            Whether a slot was taken; the taker must :meth:`release` it.
        """
        if self.try_acquire(priority):
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sequence += 1
        waiter = (priority, self._sequence, future)
        heapq.heappush(self._waiters, waiter)
        self._wake()
        await asyncio.wait({future}, timeout=timeout_seconds)
        if future.done():
            return True
        self._waiters.remove(waiter)
        heapq.heapify(self._waiters)
        return False

    def try_acquire(self, priority: Priority) -> bool:
        """Take a slot if one is free and nobody waits; whether it was taken."""
        if self._waiters or not self._fits(priority):
            return False
        self.in_use += 1
        return True

    def release(self) -> None:
        """Give a slot back."""
        self.in_use -= 1
        self._wake()

    def _fits(self, priority: Priority) -> bool:
        return self.in_use < (self._limit if priority <= Priority.WAITING else self._ordinary_limit)

    def _wake(self) -> None:
        while self._waiters and self._fits(self._waiters[0][0]):
            _, _, future = heapq.heappop(self._waiters)
            self.in_use += 1
            future.set_result(None)
