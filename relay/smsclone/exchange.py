"""The result of one GET, as a value: first whether a byte was written, then the cause. And the transport for it.

A transport is one of httpx: :func:`open_http_client` makes the client for calls in which speed does not count. What
httpx cannot say, whether a byte left, is said by :meth:`GetTransport.exchange`, which the send path calls.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import StrEnum

import httpx
from msgspec import Struct

_DEFAULT_TIMEOUT_SECONDS = 20.0


class Cause(StrEnum):
    """How an exchange ended, for the log."""

    ANSWERED = "answered"

    # Before any byte of the request was written, unless said otherwise.
    DEADLINE = "deadline"
    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect_timeout"
    PROXY = "proxy"
    TLS = "tls"
    TLS_EXPIRED = "tls_expired"
    TLS_WRONG_HOST = "tls_wrong_host"
    TLS_UNTRUSTED = "tls_untrusted"
    CLOSED = "closed"
    """The peer closed the connection without an answer, before or after the request."""

    # After the request.
    TIMEOUT = "timeout"
    RESET = "reset"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    COMPRESSED = "compressed"
    INTERIM_FLOOD = "interim_flood"


class Exchange(Struct, frozen=True):
    """The result of one GET.

    ``wrote`` says whether any byte of the request was handed to the socket (a TLS handshake is not the request).
    ``status`` is set if and only if a complete HTTP answer was read.
    """

    wrote: bool
    cause: Cause
    status: int | None = None
    body: bytes = b""


class GetTransport(httpx.AsyncBaseTransport, ABC):
    """Makes GETs to smsclone or its stand-in, each of them once."""

    @abstractmethod
    async def exchange(self, target: bytes, deadline: float) -> Exchange:
        """Make one GET, once. Whatever the network does, the result is a value.

        Args:
            target: path and query, as the request line has them.
            deadline: the event loop's time, for everything from the dial to the last byte.
        """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The httpx face of :meth:`exchange`: the smallest of the request's timeouts is the one deadline.

        Raises:
            httpx.ConnectError: no byte left (``ConnectTimeout`` likewise). The text of an error is its cause.
            httpx.ReadError: a byte may have left (``ReadTimeout`` likewise).
        """
        return await self._respond(request, find_deadline(request))

    async def _respond(self, request: httpx.Request, deadline: float) -> httpx.Response:
        exchange = await self.exchange(request.url.raw_path, deadline)
        if exchange.status is None:
            raise _error_of(exchange)
        return httpx.Response(exchange.status, content=exchange.body)


def open_http_client(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    """Make the client over a transport: nothing from the environment, no redirect, and no line about a request.

    httpx logs each request with its URL, and ours hold the password: its logger is raised above those lines.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False)


def find_deadline(request: httpx.Request) -> float:
    """The event loop's time by which a request of httpx must be over."""
    given = [seconds for seconds in request.extensions.get("timeout", {}).values() if seconds is not None]
    return asyncio.get_running_loop().time() + min(given, default=_DEFAULT_TIMEOUT_SECONDS)


def _error_of(exchange: Exchange) -> httpx.TransportError:
    """Our evidence as httpx's classes; the text is the cause and nothing else."""
    if exchange.wrote:
        kind: type[httpx.TransportError] = httpx.ReadTimeout if exchange.cause is Cause.TIMEOUT else httpx.ReadError
    elif exchange.cause is Cause.CONNECT_TIMEOUT:
        kind = httpx.ConnectTimeout
    else:
        kind = httpx.ConnectError
    return kind(exchange.cause.value)


class InProcessTransport(GetTransport):
    """Calls a stand-in in this process: no socket, so nothing can be lost.

    Args:
        answer: target (path and query, as a request line has them) → HTTP status and body.
    """

    def __init__(self, answer: Callable[[bytes], tuple[int, bytes]]) -> None:
        self._answer = answer

    async def exchange(self, target: bytes, deadline: float) -> Exchange:
        """Ask the stand-in; it answers at once."""
        del deadline
        status, body = self._answer(target)
        if not body:  # the stand-in means: a caller on a wire would get no whole answer
            return Exchange(wrote=True, cause=Cause.TIMEOUT)
        return Exchange(wrote=True, cause=Cause.ANSWERED, status=status, body=body)
