"""One connection to the upstream: one request written once, its answer read under a deadline; otherwise it is closed.

Also the connections that are kept for the next call, if the settings say so.
"""

import asyncio
import select
import ssl
from typing import cast

from relay.smsclone.exchange import Cause, Exchange
from relay.smsclone.http_answer import AnswerReader


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time. Nothing here raises for what the peer does.

    Attributes:
        ssl_object: the TLS state, where there is one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._answer: asyncio.Future[Exchange] | None = None
        self.ssl_object: ssl.SSLObject | None = None

    @property
    def is_open(self) -> bool:
        """Whether a request may still be written."""
        return self._transport is not None and not self._transport.is_closing()

    def is_quiet(self) -> bool:
        """Whether it is open and there is nothing to read: neither the end nor unexpected bytes."""
        if self._transport is None or self._transport.is_closing():
            return False
        return not _is_readable(self._transport.get_extra_info("socket").fileno())

    async def ask(self, request: bytes, deadline: float, *, head_only: bool = False) -> Exchange:
        """Write a request and read its answer. The connection stays open only if it may carry another.

        Args:
            request: the whole request.
            deadline: the loop's time.
            head_only: the answer ends with its headers (CONNECT).
        """
        if self._transport is None or self._transport.is_closing():
            return Exchange(wrote=False, cause=Cause.CLOSED)
        if self._loop.time() >= deadline:
            return Exchange(wrote=False, cause=Cause.DEADLINE)
        self._reader = reader = AnswerReader(head_only=head_only)
        answer: asyncio.Future[Exchange] = self._loop.create_future()
        self._answer = answer
        timer = self._loop.call_at(deadline, self._settle, Exchange(wrote=True, cause=Cause.TIMEOUT))
        keep = False
        try:
            self._transport.write(request)
            exchange = await answer
            keep = reader.reusable and exchange.cause is Cause.ANSWERED
            return exchange
        finally:
            timer.cancel()
            self._reader = None
            if not keep:
                self.close()

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from here on (inside a proxy's tunnel).

        Raises:
            OSError: the handshake failed, or the connection is gone.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError
        transport = await self._loop.start_tls(self._transport, self, context, server_hostname=host)
        if transport is None:
            raise ConnectionResetError
        self.connection_made(transport)

    def close(self) -> None:
        """Close the connection at once; nothing more is written or read."""
        if self._transport is not None:
            self._transport.abort()

    # --- called by asyncio ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own classes are not subclasses of it
        self.ssl_object = transport.get_extra_info("ssl_object")

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            self.close()  # nobody asked: whatever this answers, it is not the next request
            return
        self._reader.feed(data)
        if self._reader.end is not None:
            self._settle(self._reader.end)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._reader is None:
            return
        if exc is None:
            self._reader.feed_end()
        self._settle(self._reader.end or Exchange(wrote=True, cause=Cause.RESET))

    def _settle(self, exchange: Exchange) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(exchange)


class IdleConnections:
    """Connections kept for the next call. The last one used goes first: it is the least likely to be dying.

    Args:
        keepalive_seconds: how long one is kept; 0: none is.
    """

    def __init__(self, keepalive_seconds: float) -> None:
        self._keepalive_seconds = keepalive_seconds
        self._idle: list[tuple[Connection, asyncio.TimerHandle]] = []

    def put(self, connection: Connection) -> None:
        """Keep an open connection; close it if nothing is to be kept."""
        if not connection.is_open:
            return
        if self._keepalive_seconds <= 0:
            connection.close()
            return
        timer = asyncio.get_running_loop().call_later(self._keepalive_seconds, self._expire, connection)
        self._idle.append((connection, timer))

    def take(self) -> Connection | None:
        """Take a connection that is open and silent; others are closed."""
        while self._idle:
            connection, timer = self._idle.pop()
            timer.cancel()
            if connection.is_quiet():
                return connection
            connection.close()
        return None

    def close(self) -> None:
        """Close all of them."""
        for connection, timer in self._idle:
            timer.cancel()
            connection.close()
        self._idle.clear()

    def _expire(self, connection: Connection) -> None:
        connection.close()
        self._idle = [(kept, timer) for kept, timer in self._idle if kept is not connection]


def _is_readable(descriptor: int) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
