"""One attempt: a POST to an address that is checked inside the connection.

The name is resolved once, addresses where callbacks may not go are left out, and the connection is made to one of the
others by its number: a name that leads elsewhere a moment later changes nothing. TLS still checks the name. No
redirects, no cookies, no proxy, no decoding, one deadline, and of the answer only status and Retry-After are used.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence

import httpcore
from httpcore import SOCKET_OPTION, AnyIOBackend, AsyncConnectionPool, AsyncNetworkBackend, AsyncNetworkStream

from relay.webhooks.callbacks.schedule import Response

DEADLINE_SECONDS = 15.0
"""From name look-up to the end of the answer."""

ANSWER_BYTES = 16_384
"""Read of an answer's body before the connection is dropped; nothing of it is kept."""

_CONNECT_SECONDS = 5.0
_MOST_ADDRESSES = 3

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host in the order to try them; none where the name is unknown."""

_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (httpcore.TimeoutException, "timeout"),
    (httpcore.ConnectError, "unreachable"),
    (httpcore.NetworkError, "reset"),
    (httpcore.ProtocolError, "unreadable"),
    (ssl.SSLError, "tls"),
    (httpcore.UnsupportedProtocol, "malformed"),
    (ValueError, "malformed"),
)
_FAILURES = tuple(kind for kind, _ in _CAUSES)


class AddressRefused(Exception):
    """The name leads only where callbacks may not go."""


class GuardedBackend(AsyncNetworkBackend):
    """Connects for httpcore, by number, and only where it may.

    Args:
        resolve: gives the addresses of a name.
        permits: judges an address.
        backend: makes the connections.
    """

    def __init__(
        self, resolve: Resolve, permits: Callable[[str], bool], backend: AsyncNetworkBackend | None = None
    ) -> None:
        self._resolve = resolve
        self._permits = permits
        self._backend = backend if backend is not None else AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 — the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Connect to the first permitted address that answers.

        Raises:
            AddressRefused: none is permitted.
            httpcore.ConnectError: the name is unknown, or nobody answers.
        """
        found = await self._resolve(host, port)
        if not found:
            raise httpcore.ConnectError
        permitted = [address for address in found if self._permits(address)][:_MOST_ADDRESSES]
        if not permitted:
            raise AddressRefused
        for address in permitted[:-1]:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._backend.connect_tcp(permitted[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Poster:
    """Posts callbacks.

    Args:
        backend: where connections come from; a :class:`GuardedBackend`.
        tls: for https.
        deadline_seconds: for a whole attempt.
    """

    def __init__(
        self, backend: AsyncNetworkBackend, tls: ssl.SSLContext, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._backend = backend
        self._tls = tls
        self._deadline_seconds = deadline_seconds

    async def post(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Response:
        """Make one attempt. Raises nothing that network or receiver can cause."""
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self._post(url, headers, body)
        except TimeoutError:
            return Response(None, "timeout")
        except AddressRefused:
            return Response(None, "refused", refused=True)
        except _FAILURES as failure:
            return Response(None, next(cause for kind, cause in _CAUSES if isinstance(failure, kind)))

    async def _post(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Response:
        async with (
            AsyncConnectionPool(
                ssl_context=self._tls,
                max_connections=1,
                max_keepalive_connections=0,
                retries=0,
                network_backend=self._backend,
            ) as pool,
            pool.stream(
                "POST",
                url,
                headers=[("Content-Type", "application/json"), ("User-Agent", "relay"), *headers],
                content=body,
                extensions={"timeout": {"connect": _CONNECT_SECONDS}},
            ) as response,
        ):
            received = 0
            async for part in response.aiter_stream():
                received += len(part)
                if received > ANSWER_BYTES:
                    break
            return Response(response.status, "answered", _find_retry_after(response.headers))


def _find_retry_after(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    value = next((value for name, value in headers if name.lower() == b"retry-after"), None)
    return None if value is None else value.decode("latin-1")
