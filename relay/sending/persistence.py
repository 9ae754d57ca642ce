"""Writes that must not be given up: an outcome that is known is written as soon as the journal is back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from relay.sending.events import Events, JournalFailed
from relay.sending.ports import JournalUnavailable

_FIRST_DELAY_SECONDS = 0.05
_LONGEST_DELAY_SECONDS = 2.0

T = TypeVar("T")


async def until_written(
    write: Callable[[], Awaitable[T]], during: str, events: Events, on_failure: Callable[[], None] | None = None
) -> T:
    """Repeat a journal write that may be repeated until it succeeds.

    Args:
        write: makes the attempt; every attempt is a new call.
        during: the operation's name, for the log.
        on_failure: told of each failure, so that a waiting caller can be answered from memory.
    """
    delay = _FIRST_DELAY_SECONDS
    while True:
        try:
            return await write()
        except JournalUnavailable as failure:
            events.emit(JournalFailed(during=during, reason=failure.reason))
            if on_failure is not None:
                on_failure()
        await asyncio.sleep(delay)
        delay = min(delay * 2, _LONGEST_DELAY_SECONDS)
