"""Waiting for what must happen, and for time to pass. One deadline for all, generous: the machine may be busy."""

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


def let_pass(seconds: float) -> None:
    """Let time pass at once in the loop of the test, which is asyncio's own: what is due by then happens next.

    A deadline that is to be reached need not be short then, and a slow machine does not reach it before its time.
    """
    loop = asyncio.get_running_loop()
    now = loop.time
    setattr(loop, "time", lambda: now() + seconds)  # noqa: B010 — a loop's clock is a method
