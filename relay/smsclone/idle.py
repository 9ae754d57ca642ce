"""Connections kept for the next call, for as long as the setting says; none where it says 0."""

import asyncio

from relay.smsclone.connection import Connection


class IdleConnections:
    """The most recently used goes first, because it is the least likely to be dying.

    Args:
        keepalive_seconds: how long one is kept.
    """

    def __init__(self, keepalive_seconds: float) -> None:
        self._keepalive_seconds = keepalive_seconds
        self._idle: list[tuple[Connection, asyncio.TimerHandle]] = []

    def put(self, connection: Connection) -> None:
        """Keep a connection that is open; close it where nothing is kept."""
        if not connection.is_open:
            return
        if self._keepalive_seconds <= 0:
            connection.close()
            return
        timer = asyncio.get_running_loop().call_later(self._keepalive_seconds, self._expire, connection)
        self._idle.append((connection, timer))

    def take(self) -> Connection | None:
        """Give one that is open and silent; others are dropped on the way."""
        while self._idle:
            connection, timer = self._idle.pop()
            timer.cancel()
            if connection.is_quiet():
                return connection
            connection.close()
        return None

    def close(self) -> None:
        """Drop all."""
        for connection, timer in self._idle:
            timer.cancel()
            connection.close()
        self._idle.clear()

    def _expire(self, connection: Connection) -> None:
        connection.close()
        self._idle = [(kept, timer) for kept, timer in self._idle if kept is not connection]
