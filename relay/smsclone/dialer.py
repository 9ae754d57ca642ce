"""Makes connections to one origin, ready for a request, or says why there is none. Writes no request.

If an HTTP proxy is set, it connects through that; the environment's proxies are never used.
"""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from aiohappyeyeballs import addr_to_addr_infos, start_connection
from msgspec import Struct

from relay.domain.secret import Secret
from relay.smsclone.connection import Connection
from relay.smsclone.exchange import Cause
from relay.smsclone.host_lookup import HostLookup

_NEXT_ADDRESS_SECONDS: Final = 0.25
"""Head start of an address before the next is tried beside it (RFC 8305, section 5)."""

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
    """Read scheme, host and port of a base URL. Its path is used by ``relay.smsclone.query``.

    Raises:
        ValueError: it is not an http(s) URL.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("not an http:// or https:// address")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode("ascii")
    return Origin(parts.scheme, host, parts.port or _DEFAULT_PORTS[parts.scheme])


class Proxy(Struct, frozen=True):
    """A proxy's host, port, and authorization header (empty, or with its line end)."""

    host: str
    port: int
    authorization: Secret


def parse_proxy(url: Secret) -> Proxy:
    """Read ``http://[user:password@]host[:port]``.

    Raises:
        ValueError: it is another kind of URL; the text does not repeat it.
    """
    parts = urlsplit(url.reveal())
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("not the address of an HTTP proxy")
    authorization = ""
    if parts.username is not None:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Proxy-Authorization: Basic {b64encode(account.encode()).decode()}\r\n"
    return Proxy(parts.hostname, parts.port or 80, Secret(authorization))


def write_connect(proxy: Proxy, authority: str) -> bytes:
    """Ask for a tunnel to ``host:port`` (RFC 9110, 9.3.6)."""
    head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{proxy.authorization.reveal()}\r\n"
    return head.encode("ascii")


class Dialer:
    """Makes connections to one origin, through a proxy if one is set.

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
        self._lookup = HostLookup(origin.host if proxy is None else proxy.host, self._port)

    async def dial(self, deadline: float) -> Connection | Cause:
        """Look up the name, connect, open the proxy's tunnel, do the TLS handshake: all before ``deadline``."""
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await self._lookup.find()
                return await self._connect(addresses, deadline) if addresses else Cause.DNS
        except ProxyRefusal:
            return Cause.PROXY
        except (OSError, RuntimeError) as error:  # uvloop has RuntimeError for a socket that is closed under it
            return self._name_failure(error)

    async def _connect(self, addresses: Sequence[str], deadline: float) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(loop)
        direct_tls = self._tls if self._proxy is None else None
        where: dict[str, Any] = {"host": addresses[0], "port": self._port}
        try:
            if len(addresses) > 1:  # one alone is left to the loop, which is cheaper
                infos = [info for each in addresses for info in addr_to_addr_infos((each, self._port)) or ()]
                where = {"sock": await start_connection(infos, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS)}
            server_name = None if direct_tls is None else self._origin.host
            await loop.create_connection(lambda: connection, **where, ssl=direct_tls, server_hostname=server_name)
            if self._tls is not None and self._proxy is not None:
                await self._open_tunnel(connection, self._proxy, self._tls, deadline)
        except BaseException:
            connection.close()
            if "sock" in where:
                where["sock"].close()
            raise
        return connection

    async def _open_tunnel(self, connection: Connection, proxy: Proxy, tls: ssl.SSLContext, deadline: float) -> None:
        answer = await connection.ask(write_connect(proxy, self._origin.authority), deadline, head_only=True)
        if answer.status is None or not 200 <= answer.status < 300 or not connection.is_open:
            raise ProxyRefusal
        await connection.start_tls(tls, self._origin.host)

    def _name_failure(self, error: OSError | RuntimeError) -> Cause:
        """Why a dial failed. Whatever the exception, it is certain here that nothing of the request was sent."""
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
    """The proxy did not open a tunnel."""
