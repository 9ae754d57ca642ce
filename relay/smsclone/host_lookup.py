"""Name look-ups that block nobody."""

import asyncio
import socket
import threading
from contextlib import suppress
from ipaddress import ip_address

SHARED_LOOKUP_SECONDS = 1.0
"""A running look-up is shared while it is younger than this; after that a new thread asks again."""


class HostLookup:
    """The addresses of one host, looked up at every dial: nothing is cached, so a change is seen at once.

    The system's resolver blocks and cannot be cancelled. It runs in threads of its own, which neither occupy the
    loop's executor nor delay the end of the process. Calls that dial at the same time share one look-up.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._is_literal = _is_address(host)
        self._asked_at = float("-inf")
        self._asked: asyncio.Future[list[str]] | None = None

    async def find(self) -> list[str]:
        """The addresses in the resolver's order; empty if the name is unknown or the resolver fails."""
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
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_answer, asked, addresses)


def _answer(asked: "asyncio.Future[list[str]]", addresses: list[str]) -> None:
    if not asked.done():
        asked.set_result(addresses)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
