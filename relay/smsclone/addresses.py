"""Where a host is: name look-ups that hold nobody up, and dials that a dead address does not stall."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import Any

from relay.smsclone.connection import Connection

NEXT_ATTEMPT_SECONDS = 0.25
"""Head start of an address before the next is tried beside it (RFC 8305, section 5)."""

SHARED_LOOKUP_SECONDS = 1.0
"""A look-up under way is joined while it is younger than this; then another thread asks anew."""


class Addresses:
    """The addresses of one host, asked for at every dial: nothing is cached, so a change is seen at once.

    The system's resolver blocks and cannot be cancelled. It runs in threads of its own, which neither occupy the
    loop's executor nor delay the end of the process; calls that dial together share one.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._is_literal = _is_address(host)
        self._asked_at = float("-inf")
        self._asked: asyncio.Future[list[str]] | None = None

    async def find(self) -> list[str]:
        """Give the addresses to try, in order; none where the name is unknown or the resolver fails."""
        if self._is_literal:
            return [self._host]
        loop = asyncio.get_running_loop()
        if self._asked is None or self._asked.done() or loop.time() - self._asked_at > SHARED_LOOKUP_SECONDS:
            self._asked_at = loop.time()
            self._asked = loop.create_future()
            look_up = threading.Thread(target=self._look_up, args=(loop, self._asked), name="name-lookup", daemon=True)
            try:
                look_up.start()
            except RuntimeError:  # the machine has no thread left
                self._asked.set_result([])
        return await asyncio.shield(self._asked)

    def _look_up(self, loop: asyncio.AbstractEventLoop, asked: "asyncio.Future[list[str]]") -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        addresses = alternate([str(entry[4][0]) for entry in found])
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_answer, asked, addresses)


def alternate(addresses: Sequence[str]) -> list[str]:
    """Let the two families take turns, the resolver's first choice first (RFC 8305, section 4).

    Example:
        >>> alternate(["2001:db8::1", "2001:db8::2", "192.0.2.1"])
        ['2001:db8::1', '192.0.2.1', '2001:db8::2']
    """
    distinct = list(dict.fromkeys(addresses))
    first = [address for address in distinct if (":" in address) == (":" in distinct[0])]
    second = [address for address in distinct if address not in first]
    return [address for address in chain.from_iterable(zip_longest(first, second)) if address is not None]


Dial = Callable[[], Coroutine[Any, Any, Connection]]


async def race(dials: Sequence[Dial]) -> Connection:
    """Make dials one after the other, each a little later than the one before or as soon as that failed.

    Returns:
        The first connection that stands; all others are cut.

    Raises:
        OSError: of the first dial, where all failed.
    """
    if len(dials) == 1:
        return await dials[0]()
    tasks: list[asyncio.Task[Connection]] = []
    winner: asyncio.Task[Connection] | None = None
    try:
        for position, dial in enumerate(dials, start=1):
            tasks.append(asyncio.get_running_loop().create_task(dial()))
            winner = await _first(tasks, None if position == len(dials) else NEXT_ATTEMPT_SECONDS)
            if winner is not None:
                break
        return (winner or tasks[0]).result()
    finally:
        for task in tasks:
            if task is not winner:
                task.cancel()
                task.add_done_callback(_discard)


async def _first(
    tasks: "Sequence[asyncio.Task[Connection]]", timeout_seconds: float | None
) -> "asyncio.Task[Connection] | None":
    """Wait for a connection; give up when the newest dial failed and, with a timeout, when that passed."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        done, pending = await asyncio.wait(pending, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.exception() is None:
                return task
        if timeout_seconds is not None:
            return None
    return None


def _discard(task: "asyncio.Task[Connection]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _answer(asked: "asyncio.Future[list[str]]", addresses: list[str]) -> None:
    if not asked.done():
        asked.set_result(addresses)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
