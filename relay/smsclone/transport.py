"""One GET that knows whether a byte left.

A stock client cannot carry a billed GET: it repeats, pools, follows, decodes, and its exceptions do not tell whether
the request went out (pitfalls B1, B10). This one makes a connection, writes the request once, reads one answer under
one deadline, and says what it saw. It never repeats anything.
"""

import asyncio
import socket
import ssl
from enum import StrEnum
from typing import cast
from urllib.parse import urlsplit

import httptools
import httpx
from msgspec import Struct

MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
MAX_INTERIM_ANSWERS = 8


class Cause(StrEnum):
    """How an exchange ended; a closed word for the log."""

    ANSWERED = "answered"
    NO_SLOT = "no_slot"
    DNS = "dns"
    REFUSED = "refused"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS = "tls"
    PROXY = "proxy"
    TIMEOUT = "timeout"
    RESET = "reset"
    CLOSED = "closed"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    COMPRESSED = "compressed"
    INTERIM_FLOOD = "interim_flood"


class Exchange(Struct, frozen=True):
    """What one GET came to. ``wrote`` tells whether any byte of the request was handed to the socket; ``status`` is
    ``None`` where no complete answer was read."""

    wrote: bool
    cause: Cause
    status: int | None = None
    body: bytes = b""


class _Answer(asyncio.Protocol):
    """Reads one answer. ``done`` gets cause, status and body; nothing is raised."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[tuple[Cause, int | None, bytes]] = loop.create_future()
        self.transport: asyncio.Transport | None = None
        self.reusable = False
        self._reset()
        self._interim = 0

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._header_bytes = 0
        self._in_headers = True
        self._has_length = False
        self._body = bytearray()

    # --- asyncio --------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.done.done():
            self.reusable = False
            self._close()
            return
        if self._in_headers:
            self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.finish(Cause.MALFORMED)
        if self._in_headers and self._header_bytes > MAX_HEADER_BYTES:
            self.finish(Cause.TOO_LARGE)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done.done():
            return
        if exc is not None:
            self.finish(Cause.RESET)
        elif self._in_headers:
            self.finish(Cause.CLOSED)
        elif self._has_length:
            self.finish(Cause.TRUNCATED)
        else:
            self.finish(Cause.ANSWERED, self._parser.get_status_code(), bytes(self._body))

    # --- httptools ------------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            self.finish(Cause.COMPRESSED)
        elif lower in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        self._in_headers = False

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > MAX_BODY_BYTES:
            self.finish(Cause.TOO_LARGE)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._interim += 1
            self._in_headers, self._header_bytes, self._has_length = True, 0, False
            if self._interim > MAX_INTERIM_ANSWERS or status == 101:
                self.finish(Cause.INTERIM_FLOOD)
            return
        self.reusable = bool(self._parser.should_keep_alive()) and self._has_length
        self.finish(Cause.ANSWERED, status, bytes(self._body))

    # --- the end --------------------------------------------------------------------------------------------------

    def finish(self, cause: Cause, status: int | None = None, body: bytes = b"") -> None:
        """Say how it ended, once; anything but an answer closes the connection."""
        if self.done.done():
            return
        self.done.set_result((cause, status, body))
        if cause is not Cause.ANSWERED:
            self.reusable = False
            self._close()

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class BilledGetTransport(httpx.AsyncBaseTransport):
    """Makes GETs to one origin, each over a connection of its own.

    Args:
        base_url: scheme, host and port; the path is the caller's business.
        connect_timeout_seconds: look-up, connection and TLS, within the deadline.
        tls: verified, 1.2 or later; ``None`` for plain http.
    """

    def __init__(self, base_url: str, *, connect_timeout_seconds: float, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(base_url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = tls if parts.scheme == "https" else None
        self._connect_timeout = connect_timeout_seconds
        self._head = (
            b" HTTP/1.1\r\nHost: "
            + parts.netloc.encode("ascii")
            + (b"\r\nAccept: */*\r\nAccept-Encoding: identity\r\nUser-Agent: relay\r\nConnection: close\r\n\r\n")
        )

    async def exchange(self, target: bytes, deadline: float) -> Exchange:
        """Make one GET. ``deadline`` is the event loop's time, for everything from dial to last byte."""
        loop = asyncio.get_running_loop()
        answer = _Answer(loop)
        cause = await self._connect(answer, loop, deadline)
        if cause is not None:
            return Exchange(wrote=False, cause=cause)
        timer = loop.call_at(deadline, answer.finish, Cause.TIMEOUT)
        try:
            if answer.transport is None or answer.done.done():
                return Exchange(wrote=False, cause=Cause.CLOSED)
            answer.transport.write(b"GET " + target + self._head)
            ended, status, body = await answer.done
            return Exchange(wrote=True, cause=ended, status=status, body=body)
        finally:
            timer.cancel()
            if answer.transport is not None:
                answer.transport.abort()

    async def _connect(self, answer: _Answer, loop: asyncio.AbstractEventLoop, deadline: float) -> Cause | None:
        seconds = min(self._connect_timeout, deadline - loop.time())
        if seconds <= 0:
            return Cause.CONNECT_TIMEOUT
        try:
            async with asyncio.timeout(seconds):
                await loop.create_connection(
                    lambda: answer,
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls is not None else None,
                )
        except TimeoutError:
            return Cause.CONNECT_TIMEOUT
        except ssl.SSLError:
            return Cause.TLS
        except socket.gaierror:
            return Cause.DNS
        except OSError:
            return Cause.REFUSED
        return None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The httpx face of :meth:`exchange`, for GETs."""
        timeout = request.extensions.get("timeout", {}).get("pool") or 20.0
        loop = asyncio.get_running_loop()
        exchange = await self.exchange(request.url.raw_path, loop.time() + timeout)
        if exchange.status is None:
            error = httpx.ReadError if exchange.wrote else httpx.ConnectError
            raise error(exchange.cause.value)
        return httpx.Response(exchange.status, content=exchange.body)
