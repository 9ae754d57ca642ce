"""The way to smsclone, looked at without a send: name, connection, certificate, clock, how long it keeps a connection.

What is asked for is ``/``, never an address of the API: nothing here can be billed. A stream and not httpx, because
the subject is the connection itself: httpx shows neither its certificate nor when the other side hangs up. ``doctor``
reads the balance by the client that production has.
"""

import asyncio
import socket
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from msgspec import Struct

from relay.settings import SmscloneSettings
from relay.smsclone.tls import make_tls_context

_ANSWER_SECONDS = 10.0
_MOST_BYTES = 256 * 1024


class UpstreamFindings(Struct, frozen=True, kw_only=True):
    """What was seen. ``trouble`` is a sentence without a value of the settings; ``None``: it answers."""

    trouble: str | None = None
    remedy: str = ""
    milliseconds: float = 0.0
    certificate_ends: datetime | None = None
    clock_ahead_seconds: float | None = None
    idle_seconds: float | None = None
    still_open: bool = False


async def look_at_upstream(settings: SmscloneSettings, idle_seconds: float) -> UpstreamFindings:
    """Dial and ask for the front page; with ``idle_seconds`` then wait so long for the other side to hang up."""
    if settings.proxy is not None:
        parts = urlsplit(settings.proxy.reveal())
        return await _reach(parts.hostname or "", parts.port or 80, None, settings.connect_timeout_seconds)
    parts = urlsplit(settings.base_url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    try:
        tls = make_tls_context(settings.ca_file) if secure else None
    except OSError:
        return UpstreamFindings(trouble="smsclone.ca_file cannot be read", remedy="name a file of certificates (PEM)")
    port = parts.port or (443 if secure else 80)
    return await _reach(host, port, tls, settings.connect_timeout_seconds, ask=True, idle_seconds=idle_seconds)


async def _reach(
    host: str, port: int, tls: ssl.SSLContext | None, seconds: float, *, ask: bool = False, idle_seconds: float = 0.0
) -> UpstreamFindings:
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=tls, server_hostname=host if tls is not None else None
            )
    except (OSError, UnicodeError) as failure:
        return _explain(failure)
    milliseconds = (time.perf_counter() - begun) * 1000
    try:
        ends = _certificate_ends(writer)
        if not ask:
            return UpstreamFindings(milliseconds=milliseconds)
        return await _ask(reader, writer, host, milliseconds, ends, idle_seconds)
    finally:
        writer.transport.abort()


async def _ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    milliseconds: float,
    ends: datetime | None,
    idle_seconds: float,
) -> UpstreamFindings:
    connection = "keep-alive" if idle_seconds else "close"
    head = f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: relay\r\nAccept: */*\r\nConnection: {connection}\r\n\r\n"
    writer.write(head.encode("ascii"))
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            answer = await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return UpstreamFindings(
            trouble="it accepts a connection and does not answer",
            remedy="check smsclone.base_url, and any proxy in between",
        )
    kept, still_open = await _wait_for_end(reader, idle_seconds) if idle_seconds else (None, False)
    return UpstreamFindings(
        milliseconds=milliseconds,
        certificate_ends=ends,
        clock_ahead_seconds=_clock_ahead(answer),
        idle_seconds=kept,
        still_open=still_open,
    )


async def _wait_for_end(reader: asyncio.StreamReader, seconds: float) -> tuple[float, bool]:
    """How long after its last byte the other side hung up, or that it had not by then."""
    last, read = time.perf_counter(), 0
    try:
        async with asyncio.timeout(seconds):
            while (part := await reader.read(65536)) and read < _MOST_BYTES:
                read += len(part)
                last = time.perf_counter()
    except TimeoutError:
        return seconds, True
    except OSError:
        pass  # a reset is an end as well
    return time.perf_counter() - last, False


def _clock_ahead(head: bytes) -> float | None:
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "date":
            try:
                said = parsedate_to_datetime(value.strip())
            except ValueError:
                return None
            return (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp() + 0.5 - time.time()
    return None


def _certificate_ends(writer: asyncio.StreamWriter) -> datetime | None:
    certificate = writer.get_extra_info("peercert")
    if not certificate:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


def _explain(failure: OSError | UnicodeError) -> UpstreamFindings:
    if isinstance(failure, ssl.SSLCertVerificationError):
        return UpstreamFindings(
            trouble=f"its certificate is not valid ({failure.verify_message})",
            remedy="check smsclone.base_url; behind a proxy that inspects TLS, name its CA in smsclone.ca_file",
        )
    if isinstance(failure, ssl.SSLError):
        return UpstreamFindings(trouble="it offers no secure TLS", remedy="check scheme and port of smsclone.base_url")
    if isinstance(failure, socket.gaierror | UnicodeError):
        return UpstreamFindings(
            trouble="its name cannot be resolved", remedy="check smsclone.base_url and this machine's DNS"
        )
    if isinstance(failure, TimeoutError):
        return UpstreamFindings(
            trouble="no connection within the time limit", remedy="let this machine reach it: firewall, egress policy"
        )
    if isinstance(failure, ConnectionRefusedError):
        return UpstreamFindings(trouble="nothing listens there", remedy="check host and port of smsclone.base_url")
    return UpstreamFindings(trouble=f"no connection ({type(failure).__name__})", remedy="check this machine's network")
