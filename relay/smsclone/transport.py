"""One GET that knows whether a byte left.

A stock client cannot carry a billed GET: it repeats, pools, follows, decodes, and its exceptions do not tell whether
the request went out (pitfalls B1, B10; ``tests/conformance/test_transport.py`` shows it). This one makes a connection,
writes the request once, reads one answer under one deadline, and says what it saw. It never repeats anything.

**Decisions**

- 2026-11-25: an asyncio protocol of our own on httptools, not httpcore's public parts. At 64 in flight on loopback a
  call cost 590 us of CPU over httpcore (370 on uvloop), above the 350 that were allowed, and its parser has no cap on
  headers, interim answers or surplus bytes. Ours: 180 (90 on uvloop); ``tests/benchmarks/bench_transport.py``.
- 2026-11-25: a send calls :meth:`exchange`, not the httpx face: making httpx's request and response costs 70 to 110 us
  more, about as much as the call, and httpx's exceptions do not tell causes apart. Everything else goes through
  ``httpx.AsyncClient``: the balance, and with it ``relay doctor``.
- 2026-11-29: :meth:`exchange` has no limit of its own, because the core has one before it takes the right to dial
  (a wait here would come after it, and count as a failure of the upstream). The httpx face has one, as any transport.
"""

import asyncio
import ssl

import httpx

from relay.domain.secret import Secret
from relay.smsclone.connection import IdleConnections
from relay.smsclone.dialer import Dialer, Origin, Proxy, parse_origin, parse_proxy
from relay.smsclone.exchange import Cause, Exchange, GetTransport, find_deadline
from relay.smsclone.tls import ResumingContext

__all__ = ["BilledGetTransport", "Cause", "Exchange"]


class BilledGetTransport(GetTransport):
    """Makes GETs to one origin.

    Args:
        base_url: scheme, host and port; the path is the caller's business.
        connect_timeout_seconds: for look-up, dial, tunnel and TLS together, within the deadline.
        tls: from :func:`relay.smsclone.tls.make_tls_context`; needed for https, ignored for plain http.
        keepalive_seconds: how long a connection is kept for the next call; 0: a fresh connection for each call.
        max_connections: that the httpx face uses at once; who comes later waits for one.
        proxy: address of an HTTP proxy.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout_seconds: float,
        tls: ssl.SSLContext | None,
        keepalive_seconds: float = 0.0,
        max_connections: int = 50,
        proxy: Secret | None = None,
    ) -> None:
        self._origin = parse_origin(base_url)
        parts = httpx.URL(base_url)
        self._httpx_origin = (parts.scheme, parts.raw_host.decode(), parts.port)
        self._tls = tls
        self._connect_timeout_seconds = connect_timeout_seconds
        way = parse_proxy(proxy) if proxy is not None else None
        self._dialer = Dialer(self._origin, tls=tls, proxy=way)
        self._before_target, self._after_target = _frame(self._origin, way, keep=keepalive_seconds > 0)
        self._idle = IdleConnections(keepalive_seconds)
        self._httpx_limit = asyncio.Semaphore(max_connections)

    async def exchange(self, target: bytes, deadline: float) -> Exchange:
        """Make one GET, once. Should not be cancelled; where it is, the connection is cut and nothing leaks.

        Args:
            target: path and query, as the request line has them.
            deadline: the event loop's time, for everything from the dial to the last byte.
        """
        kept = self._idle.take()
        connection = kept or await self._dialer.dial(
            min(deadline, asyncio.get_running_loop().time() + self._connect_timeout_seconds)
        )
        if isinstance(connection, Cause):
            return Exchange(wrote=False, cause=connection)
        exchange = await connection.ask(self._before_target + target + self._after_target, deadline)
        if kept is None and isinstance(self._tls, ResumingContext):
            self._tls.keep_session(connection.ssl_object)
        self._idle.put(connection)
        return exchange

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As any of httpx's transports: to the one origin, and with a limit of its own.

        Raises:
            httpx.UnsupportedProtocol: not a GET to this origin.
            httpx.PoolTimeout: no connection was free within the request's timeout; no byte left.
            httpx.TransportError: as from :meth:`GetTransport.handle_async_request`.
        """
        url = request.url
        if request.method != "GET" or (url.scheme, url.raw_host.decode(), url.port) != self._httpx_origin:
            raise httpx.UnsupportedProtocol("only GET to the configured origin")
        deadline = find_deadline(request)
        try:
            async with asyncio.timeout_at(deadline):
                await self._httpx_limit.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout(Cause.DEADLINE.value) from None
        try:
            return await self._respond(request, deadline)
        finally:
            self._httpx_limit.release()

    async def aclose(self) -> None:
        """Drop the connections that are kept."""
        self._idle.close()


def _frame(origin: Origin, proxy: Proxy | None, *, keep: bool) -> tuple[bytes, bytes]:
    """Give what stands before and after the target; a proxy that sees it wants the absolute form (RFC 9112, 3.2.2)."""
    plain_proxy = proxy if origin.scheme == "http" else None
    before = "GET " if plain_proxy is None else f"GET http://{origin.host_header}"
    after = (
        f" HTTP/1.1\r\nHost: {origin.host_header}\r\nAccept: */*\r\nAccept-Encoding: identity\r\nUser-Agent: relay\r\n"
        f"{'' if plain_proxy is None else plain_proxy.authorization.reveal()}"
        f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    return before.encode("ascii"), after.encode("ascii")
