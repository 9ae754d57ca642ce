"""Where a callback may go: the address as written. Where the name leads is checked inside the connection."""

from collections.abc import Set as AbstractSet
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

LONGEST_URL = 2048

_DEFAULT_PORTS = {"https": 443, "http": 80}


class UrlError(Struct, frozen=True):
    """What is wrong with a callback address, as a code and a sentence with the remedy."""

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
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return _MALFORMED
    if not parts.hostname or parts.scheme not in _DEFAULT_PORTS or "@" in parts.netloc or "#" in url:
        return _MALFORMED
    return None if _is_allowed(parts, port, allowed_hosts) else _NOT_ALLOWED


def _is_allowed(parts: SplitResult, port: int, allowed_hosts: AbstractSet[str]) -> bool:
    host = (parts.hostname or "").rstrip(".")
    prefix = "" if parts.scheme == "https" else "http://"
    names = {f"{prefix}{host}:{port}"}
    if port == _DEFAULT_PORTS[parts.scheme]:
        names.add(f"{prefix}{host}")
    return not names.isdisjoint(allowed.lower() for allowed in allowed_hosts)
