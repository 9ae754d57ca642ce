"""An explicit HTTP proxy: where it is, and what is said to it. The environment's proxies are never asked."""

from base64 import b64encode
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from relay.domain.secret import Secret


class Proxy(Struct, frozen=True):
    """Where the proxy is, and the header that it wants to see (empty, or with its line end)."""

    host: str
    port: int
    authorization: Secret


def parse_proxy(url: Secret) -> Proxy:
    """Read ``http://[user:password@]host[:port]``.

    Raises:
        ValueError: it is no such address; the text says nothing of it.
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
