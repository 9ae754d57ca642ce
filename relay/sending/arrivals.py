"""Requests that were let in and are still being read: for a moment each takes the place that it is about to need."""

from types import TracebackType

from relay.sending.ports import Clock

_MOMENT_SECONDS = 0.1
"""A body that takes longer than this (or than what is left of it) no longer keeps a place: slow clients hold none."""


class Arrivals:
    """Counts them. Without this, all that arrive in one turn of the event loop would be let in for one free place."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moment = 0
        self._began = clock.monotonic()
        self._count = 0

    def begin(self) -> "Arrival":
        """A request is let in; the end of the block ends its arrival."""
        self.count()
        self._count += 1
        return Arrival(self, self._moment)

    def count(self) -> int:
        """How many arrive in this moment."""
        now = self._clock.monotonic()
        if now - self._began >= _MOMENT_SECONDS:
            self._moment += 1
            self._began = now
            self._count = 0
        return self._count

    def end(self, moment: int) -> None:
        """A request that arrived in this moment is read, or refused."""
        if moment == self._moment:
            self._count -= 1


class Arrival:
    """One of them, as a block of code."""

    __slots__ = ("_arrivals", "_moment")

    def __init__(self, arrivals: Arrivals, moment: int) -> None:
        self._arrivals = arrivals
        self._moment = moment

    def __enter__(self) -> None:
        """It began with ``Arrivals.begin``."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """It is over."""
        self._arrivals.end(self._moment)
