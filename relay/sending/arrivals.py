"""Requests that were let in and are still being read: for a moment each takes the place that it is about to need."""

import asyncio
from types import TracebackType

_TURNS = 3
"""How many turns of the event loop a place is kept: as many as it takes until a body that came with its head is read.
A busy loop's turns are long, and there it matters; where clients are slow and the loop is idle, turns are microseconds,
so that they hold no place."""


class Arrivals:
    """Counts them. Without this, all that arrive in one turn of the event loop would be let in for one free place."""

    def __init__(self) -> None:
        self._turn = 0
        self._turning = False
        self._by_turn = [0] * _TURNS

    def begin(self) -> "Arrival":
        """A request is let in; the end of the block ends its arrival."""
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn_over)
        self._by_turn[self._turn % _TURNS] += 1
        return Arrival(self, self._turn)

    def count(self) -> int:
        """How many arrive now."""
        return sum(self._by_turn)

    def end(self, turn: int) -> None:
        """A request that arrived in this turn is read, or refused."""
        if self._turn - turn < _TURNS:
            self._by_turn[turn % _TURNS] -= 1

    def _turn_over(self) -> None:
        self._turn += 1
        self._by_turn[self._turn % _TURNS] = 0
        self._turning = any(self._by_turn)
        if self._turning:
            asyncio.get_running_loop().call_soon(self._turn_over)


class Arrival:
    """One of them, as a block of code."""

    __slots__ = ("_arrivals", "_turn")

    def __init__(self, arrivals: Arrivals, turn: int) -> None:
        self._arrivals = arrivals
        self._turn = turn

    def __enter__(self) -> None:
        """It began with ``Arrivals.begin``."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """It is over."""
        self._arrivals.end(self._turn)
