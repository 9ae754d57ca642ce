"""An event loop in which time is a number and chance has a seed.

**Decisions**

- 2026-11-29: ours, not one from PyPI (detangle, simloom). Both were months old; neither knows several processes in one
  loop, which a crash, a stop and an order of arrival belong to; and what makes a replay exact (the hash of a task, the
  order of what is due at one moment, what a killed process may still do) has to be readable where it is decided.

What is exact: within a process, callbacks run in the order in which asyncio promises them, so no order is tried that
could not happen. Between processes, and among what comes from outside (the journal's answers, the network, timers that
are due at one moment), the order is drawn from the seed. Nothing waits for real time, and no thread exists.
"""

import asyncio
import contextvars
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")

_PROCESS: contextvars.ContextVar["Process"] = contextvars.ContextVar("process")


class NeverEnds(Exception):
    """So many steps were taken that something must be running in a circle."""


class Process:
    """What lives and dies together: one life of a replica; or the world, which never dies.

    Attributes:
        alive: a process that is not is never run again, and nothing of it is cleaned up.
        stopped: as by SIGSTOP; time goes on.
        cut_until: when it can reach the journal again.
    """

    def __init__(self, loop: "SimulatedLoop", name: str) -> None:
        self.name = name
        self.alive = True
        self.stopped = False
        self.queued = False
        self.cut_until = 0.0
        self.ready: deque[SimulatedHandle] = deque()
        self.tasks: list[SimulatedTask] = []
        self.mourners: list[Callable[[], None]] = []
        """Called when it dies."""
        self._loop = loop
        self.context = contextvars.Context()
        self.context.run(_PROCESS.set, self)

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        if not self.alive:
            return
        self.alive = False
        self.ready.clear()
        for mourner in self.mourners:
            mourner()

    def go_on(self) -> None:
        """After a stop."""
        self.stopped = False
        self._loop.offer(self)

    def spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin a task of this process."""
        return self._loop.create_task(work, context=self.context.copy())

    def post(self, delay: float, callback: Callable[..., object], *arguments: Any) -> None:
        """Let something come to this process from outside, after a while."""
        self._loop.plan(delay, SimulatedHandle(callback, arguments, self.context, self))


class SimulatedHandle(asyncio.TimerHandle):
    """What is to be called, and of which process it is: asyncio's own, without what only its own loop needs."""

    __slots__ = ("args", "callback", "context", "process")

    def __init__(  # all that asyncio's would keep here is known to the loop, or not asked for
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context,
        process: Process,
    ) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context
        self.process = process

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None


class SimulatedTask(asyncio.Task[Any]):
    """A task whose place in a set is the same in every run: asyncio keeps tasks in sets."""

    _log_destroy_pending: bool

    def __init__(self, number: int, work: Coroutine[Any, Any, Any], **options: Any) -> None:
        self.number = number
        super().__init__(work, **options)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs callbacks of several processes; jumps to the next timer when nobody has anything to do.

    Args:
        seed: of every choice.
        most_steps: callbacks until a run counts as endless.
    """

    def __init__(self, seed: int, most_steps: int = 2_000_000) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self._draw = self.random.random
        self.world = Process(self, "world")
        self.troubles: list[str] = []
        """What the loop was told that nobody else took."""
        self.connector: Callable[..., Coroutine[Any, Any, tuple[Any, Any]]] | None = None
        """Stands for the network."""
        self._now = 0.0
        self._left = most_steps
        self._numbers = count(1)
        self._timers: list[tuple[float, float, int, SimulatedHandle]] = []
        self._busy: list[Process] = []
        self._processes = [self.world]
        self.set_exception_handler(self._note_trouble)

    # --- what asyncio asks of a loop ----------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]  # typeshed's form has type variables that only it can name
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        context = contextvars.copy_context() if context is None else context
        handle = SimulatedHandle(callback, args, context, context.get(_PROCESS, self.world))
        self._give(handle)
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        context = contextvars.copy_context() if context is None else context
        handle = SimulatedHandle(callback, args, context, context.get(_PROCESS, self.world))
        self.plan(delay, handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_later(when - self._now, callback, *args, context=context)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: contextvars.Context | None = None
    ) -> SimulatedTask:
        task = SimulatedTask(next(self._numbers), coro, loop=self, name=name or "task", context=context)
        owner = (context or contextvars.copy_context()).get(_PROCESS, self.world)
        owner.tasks.append(task)
        return task

    async def create_connection(self, protocol_factory: Any, *_args: Any, **_options: Any) -> Any:
        if self.connector is None:
            raise ConnectionRefusedError
        return await self.connector(protocol_factory)

    def _run_once(self) -> None:
        busy = self._busy
        while not busy:
            self._jump()
        place = int(self._draw() * len(busy)) if len(busy) > 1 else 0
        process = busy[place]
        ready = process.ready
        for _ in range(len(ready)):
            if process.stopped or not ready:
                break
            handle = ready.popleft()
            if handle.callback is not None:
                self._run(handle, handle.callback)
        if process.stopped or not ready:
            busy[place] = busy[-1]
            busy.pop()
            process.queued = False

    def _run(self, handle: SimulatedHandle, callback: Callable[..., object]) -> None:
        try:
            handle.context.run(callback, *handle.args)
        except Exception as error:  # as asyncio does
            self.call_exception_handler({"message": f"in {callback}", "exception": error})

    # --- processes ----------------------------------------------------------------------------------------------------

    def start_process(self, name: str) -> Process:
        """Begin a life."""
        process = Process(self, name)
        self._processes.append(process)
        return process

    @property
    def current(self) -> Process:
        """Whose code runs now."""
        return _PROCESS.get(self.world)

    def offer(self, process: Process) -> None:
        """Let a process run if it has something to do."""
        if process.ready and not process.queued and not process.stopped:
            process.queued = True
            self._busy.append(process)

    def bury(self) -> None:
        """End the run: close what every process left open, out of the way of everything."""
        for process in self._processes:
            process.alive = False
            process.mourners.clear()
            for task in process.tasks:
                if not task.done():
                    task._log_destroy_pending = False
                    _close(task.get_coro())
                elif not task.cancelled():
                    task.exception()
            process.ready.clear()
            process.tasks.clear()
        self._timers.clear()
        self._busy.clear()
        self.close()

    def plan(self, delay: float, handle: SimulatedHandle) -> None:
        """Let something be due after a while; what is due at one moment comes in a drawn order."""
        heapq.heappush(self._timers, (self._now + delay, self._draw(), next(self._numbers), handle))

    def _give(self, handle: SimulatedHandle) -> None:
        process = handle.process
        if not process.alive:
            return
        process.ready.append(handle)
        if not process.queued and not process.stopped:
            process.queued = True
            self._busy.append(process)

    def _jump(self) -> None:
        """Go to the next moment at which something is due."""
        if not self._timers:
            raise NeverEnds("everybody waits, and nothing will come")
        self._left -= 1
        if self._left < 0:
            raise NeverEnds("too many steps")
        when, _, _, handle = heapq.heappop(self._timers)
        if handle.callback is not None:
            self._now = max(self._now, when)
            self._give(handle)

    def tell_of_bug(self, task: "asyncio.Task[Any]") -> None:
        """Take up what a task of the simulation itself failed with."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.troubles.append(f"{type(error).__name__}: {error}")

    def _note_trouble(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.troubles.append(f"{context.get('message')}: {type(error).__name__}: {error}")


def _close(work: Any) -> None:
    try:
        work.close()
    except BaseException:  # whatever it still wanted to do: it is dead
        return
