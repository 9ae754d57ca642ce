"""Waiting for what must happen. One deadline for all, generous: the machine may be busy with other things."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 180.0
_LOOK_SECONDS = 0.02

T = TypeVar("T")


def _say_late() -> object:
    return "did not happen in time"


def wait_until(condition: Callable[[], T], tell: Callable[[], object] = _say_late) -> T:
    """Look again and again until something is so; what was seen. Fails with what ``tell`` gives."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not (seen := condition()):
        assert time.monotonic() < give_up, tell()
        time.sleep(_LOOK_SECONDS)
    return seen


async def until(condition: Callable[[], T], tell: Callable[[], object] = _say_late) -> T:
    """The same in the loop of the test."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not (seen := condition()):
        assert time.monotonic() < give_up, tell()
        await asyncio.sleep(_LOOK_SECONDS)
    return seen
