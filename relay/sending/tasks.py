"""The tasks of a process: sends, which nobody cancels before the end, and loops, which only the end stops."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from relay.sending.events import Events, TaskFailed

T = TypeVar("T")


class Tasks:
    """Keeps every task strongly referenced and hears when one fails."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._sends: set[asyncio.Task[Any]] = set()
        self._loops: list[asyncio.Task[None]] = []

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
        """Run a send, or what belongs to one, to its end."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._sends.add(task)
        task.add_done_callback(self._send_done)
        return task

    def loop(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a duty until the end of the process."""
        self._loops.append(asyncio.get_running_loop().create_task(work, name=name))

    async def drain(self, seconds: float) -> tuple[int, int]:
        """Let the sends finish, at most so long, then stop everything.

        Returns:
            How many sends finished, and how many had to be left.
        """
        give_up_at = asyncio.get_running_loop().time() + seconds
        finished = 0
        while self._sends and (left := give_up_at - asyncio.get_running_loop().time()) > 0:
            done, _ = await asyncio.wait(set(self._sends), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finished += len(done)
        abandoned = list(self._sends)
        for task in (*self._loops, *abandoned):
            task.cancel()
        await asyncio.gather(*self._loops, *abandoned, return_exceptions=True)
        return finished, len(abandoned)

    def _send_done(self, task: "asyncio.Task[Any]") -> None:
        self._sends.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._events.emit(TaskFailed(task=task.get_name(), exception=type(bug).__name__))
