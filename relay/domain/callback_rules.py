"""Callbacks: how a delivery can end, and where it may go by the address as written.

Where the address's name leads is checked inside the connection (``relay.webhooks.callbacks``).
"""

import re
from collections.abc import Set as AbstractSet
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

LONGEST_URL = 2048

_DEFAULT_PORTS = {"https": 443, "http": 80}
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_OCTET = re.compile(r"0|[1-9][0-9]{0,2}")


class CallbackOutcome(StrEnum):
    """How one delivery of a callback ended."""

    DELIVERED = "delivered"
    RETRIED = "retried"
    """The receiver did not accept it; it is tried again."""
    GIVEN_UP = "given_up"
    """Tried as often as is sensible."""
    GONE = "gone"
    """The receiver answered 410: no more callbacks to this address."""
    REFUSED = "refused"
    """The address leads where callbacks may not go."""


class UrlError(Struct, frozen=True):
    """What is wrong with a callback address: a code, and a sentence with the remedy."""

    code: str
    remedy: str


_MALFORMED = UrlError("malformed", "Give an absolute https URL of ASCII characters, without user, fragment or blanks.")
_NOT_ALLOWED = UrlError("host_not_allowed", "This host, port and scheme are not among the client's callback_hosts.")


def find_url_error(url: str, allowed_hosts: AbstractSet[str]) -> UrlError | None:
    """Check a callback address against the client's list.

    Args:
        url: as the caller wrote it.
        allowed_hosts: ``host`` or ``host:port`` (https), or ``http://host[:port]`` where plain http was meant.

    Returns:
        What is wrong, or ``None``.

    Example:
        >>> find_url_error("https://orders.internal/sms", {"orders.internal"}) is None
        True
        >>> find_url_error("https://orders.internal:444/sms", {"orders.internal"}).code
        'host_not_allowed'
        >>> find_url_error("https://user@orders.internal/", {"orders.internal"}).code
        'malformed'
    """
    if not 0 < len(url) <= LONGEST_URL or not all("!" <= character <= "~" for character in url) or "\\" in url:
        return _MALFORMED
    try:
        parts = urlsplit(url)
        port = _DEFAULT_PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        return _MALFORMED
    if not parts.hostname or port == 0 or "@" in parts.netloc or "#" in url or _is_disguised(parts.hostname):
        return _MALFORMED
    return None if _is_allowed(parts, port, allowed_hosts) else _NOT_ALLOWED


def target_of(url: str) -> str:
    """The receiver that an accepted address belongs to: scheme, host and port. Limits per receiver use it.

    Example:
        >>> target_of("https://Orders.internal/sms?id=1")
        'https://orders.internal:443'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"


def _is_disguised(host: str) -> bool:
    """Whether a host is an IPv4 address in a form that only resolvers understand: decimal, octal, hexadecimal or short.

    Source: WHATWG URL, "ends in a number": a host whose last label is a number is an address or nothing.
    """
    labels = host.rstrip(".").split(".")
    if ":" in host or not _NUMBER.fullmatch(labels[-1]):
        return False
    return len(labels) != 4 or not all(_OCTET.fullmatch(label) for label in labels)


def _is_allowed(parts: SplitResult, port: int, allowed_hosts: AbstractSet[str]) -> bool:
    host = (parts.hostname or "").rstrip(".")
    prefix = "" if parts.scheme == "https" else "http://"
    names = {f"{prefix}{host}:{port}"}
    if port == _DEFAULT_PORTS[parts.scheme]:
        names.add(f"{prefix}{host}")
    return not names.isdisjoint(allowed.lower() for allowed in allowed_hosts)
