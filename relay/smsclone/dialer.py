"""From an origin to a connection that is ready for a request, or the reason why there is none. Writes no request."""

import asyncio
import ssl
from functools import partial
from urllib.parse import urlsplit

from msgspec import Struct

from relay.smsclone.addresses import Addresses, race
from relay.smsclone.connection import Connection
from relay.smsclone.exchange import Cause
from relay.smsclone.proxy import Proxy, write_connect

_DEFAULT_PORTS = {"https": 443, "http": 80}

_VERIFY_CAUSES = {10: Cause.TLS_EXPIRED, 62: Cause.TLS_WRONG_HOST, 64: Cause.TLS_WRONG_HOST}
"""OpenSSL's X509_V_ERR numbers: expired, host name and IP address that do not match (x509_vfy.h)."""


class Origin(Struct, frozen=True):
    """Scheme, host and port of the upstream; ``host`` is in its ASCII form."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """``host:port``, as CONNECT wants it."""
        return f"{self._bracketed()}:{self.port}"

    @property
    def host_header(self) -> str:
        """``host``, with the port where it is not the scheme's own."""
        return self._bracketed() if self.port == _DEFAULT_PORTS[self.scheme] else self.authority

    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def parse_origin(base_url: str) -> Origin:
    """Read scheme, host and port of a base URL; its path is the queries' business.

    Raises:
        ValueError: it is no http(s) address.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("not an http:// or https:// address")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode("ascii")
    return Origin(parts.scheme, host, parts.port or _DEFAULT_PORTS[parts.scheme])


class Dialer:
    """Makes connections to one origin, through a proxy where one is set.

    Args:
        tls: used for https only.
    """

    def __init__(self, origin: Origin, *, tls: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        if origin.scheme == "https" and tls is None:
            raise ValueError("https needs a TLS context")
        self._origin = origin
        self._tls = tls if origin.scheme == "https" else None
        self._proxy = proxy
        self._port = origin.port if proxy is None else proxy.port
        self._addresses = Addresses(origin.host if proxy is None else proxy.host, self._port)

    async def dial(self, deadline: float) -> Connection | Cause:
        """Look the name up, connect, open the proxy's tunnel, shake hands; all by the loop's time ``deadline``."""
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await self._addresses.find()
                if not addresses:
                    return Cause.DNS
                return await race([partial(self._connect, address, deadline) for address in addresses])
        except ProxyRefusal:
            return Cause.PROXY
        except OSError as error:
            return self._judge(error)

    async def _connect(self, address: str, deadline: float) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(loop)
        try:
            if self._tls is None or self._proxy is not None:
                await loop.create_connection(lambda: connection, address, self._port)
            else:
                await loop.create_connection(
                    lambda: connection, address, self._port, ssl=self._tls, server_hostname=self._origin.host
                )
            if self._tls is not None and self._proxy is not None:
                await self._open_tunnel(connection, self._proxy, self._tls, deadline)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _open_tunnel(self, connection: Connection, proxy: Proxy, tls: ssl.SSLContext, deadline: float) -> None:
        answer = await connection.ask(write_connect(proxy, self._origin.authority), deadline, head_only=True)
        if answer.status is None or not 200 <= answer.status < 300 or not connection.is_open:
            raise ProxyRefusal
        await connection.start_tls(tls, self._origin.host)

    def _judge(self, error: OSError) -> Cause:
        """Name a failed dial. Says why only: that nothing of the request left is certain here whatever the class."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return _VERIFY_CAUSES.get(error.verify_code, Cause.TLS_UNTRUSTED)
        if isinstance(error, TimeoutError):
            return Cause.CONNECT_TIMEOUT
        if isinstance(error, ConnectionRefusedError):
            return Cause.REFUSED
        if isinstance(error, ssl.SSLError) or (self._tls is not None and isinstance(error, ConnectionError)):
            return Cause.TLS
        return Cause.UNREACHABLE


class ProxyRefusal(Exception):
    """The proxy opened no tunnel."""
