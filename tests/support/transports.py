"""The transports that the conformance suite holds to the same probes, and how each is read.

Every one is called through ``httpx.AsyncClient``, made as production makes it, and judged by the class of its
exception, because that is all a caller gets from a stock transport.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import httpx_aiohttp
import trustme
import uvloop

from relay.smsclone.exchange import open_http_client
from relay.smsclone.tls import make_tls_context
from relay.smsclone.transport import BilledGetTransport

TARGET = "/api/sms/dnd-fallback?username=kanu&password=p4ss&sender=ACME&recipient=2348012345678&message=Hello"
SHORT_SECONDS = 0.5
"""The deadline of a call that is expected to reach it."""

PATIENT_SECONDS = 60.0
"""The deadline of a call that is expected to end before: the machine may be busy."""

Verdict = Literal["answered", "not_sent", "unknown", "raised"]
"""``raised``: an exception that is none of httpx's, so that a caller who catches those lets it through."""

NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


@dataclass(frozen=True)
class Seen:
    """What a caller sees of one GET."""

    verdict: Verdict
    seconds: float
    status: int | None = None
    body: bytes = b""
    error: str = ""


@dataclass(frozen=True)
class Options:
    """How a transport is made for a probe."""

    base_url: str
    tls: ssl.SSLContext | None = None
    max_connections: int = 50


@dataclass(frozen=True)
class Subject:
    """One transport, on one event loop."""

    name: str
    make: Callable[[Options], httpx.AsyncBaseTransport]
    keeps_connections: bool
    is_ours: bool = False
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None


async def get(transport: httpx.AsyncBaseTransport, base_url: str, seconds: float = PATIENT_SECONDS) -> Seen:
    """Make one GET, as a careful caller would."""
    client = open_http_client(transport)  # for this call alone, so that the transport outlives it: not closed
    started = time.monotonic()
    try:
        response = await client.get(base_url + TARGET, timeout=seconds)
    except NOT_SENT as error:
        return Seen("not_sent", time.monotonic() - started, error=f"{type(error).__name__}: {error}")
    except httpx.HTTPError as error:
        return Seen("unknown", time.monotonic() - started, error=f"{type(error).__name__}: {error}")
    except Exception as error:
        return Seen("raised", time.monotonic() - started, error=type(error).__name__)
    return Seen("answered", time.monotonic() - started, response.status_code, response.content)


def _make_ours(keepalive_seconds: float) -> Callable[[Options], httpx.AsyncBaseTransport]:
    def make(options: Options) -> httpx.AsyncBaseTransport:
        return BilledGetTransport(
            options.base_url,
            connect_timeout_seconds=PATIENT_SECONDS,
            tls=options.tls,
            keepalive_seconds=keepalive_seconds,
            max_connections=options.max_connections,
        )

    return make


def _make_httpx(options: Options) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(
        verify=options.tls or False,
        trust_env=False,
        limits=httpx.Limits(max_connections=options.max_connections, keepalive_expiry=30),
    )


def _make_aiohttp(options: Options) -> httpx.AsyncBaseTransport:
    return httpx_aiohttp.AiohttpTransport(
        verify=options.tls or False,
        trust_env=False,
        limits=httpx.Limits(max_connections=options.max_connections, keepalive_expiry=30),
    )


OURS = [
    Subject("ours", _make_ours(0), keeps_connections=False, is_ours=True),
    Subject("ours-keepalive", _make_ours(30), keeps_connections=True, is_ours=True),
    Subject("ours-uvloop", _make_ours(0), keeps_connections=False, is_ours=True, new_loop=uvloop.new_event_loop),
    Subject(
        "ours-keepalive-uvloop", _make_ours(30), keeps_connections=True, is_ours=True, new_loop=uvloop.new_event_loop
    ),
]
STOCK = [
    Subject("httpx", _make_httpx, keeps_connections=True),
    Subject("httpx-aiohttp", _make_aiohttp, keeps_connections=True),
]


class Certificates:
    """An authority, certificates that it signed well or badly, and contexts for both ends."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        self._stranger = trustme.CA()

    def server(self, *names: str, by_stranger: bool = False, **issue: Any) -> ssl.SSLContext:
        """A server's context, with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority = self._stranger if by_stranger else self._authority
        authority.issue_cert(*names, **issue).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        """Our client's context, trusting the authority and nobody else."""
        with self._authority.cert_pem.tempfile() as path:
            return make_tls_context(path)
