"""What one GET came to, in words that need no exception: evidence first, then the cause."""

from enum import StrEnum
from typing import Protocol

from msgspec import Struct


class Cause(StrEnum):
    """How an exchange ended; a closed word for the log."""

    ANSWERED = "answered"

    # Before a byte of the request was handed over, unless said otherwise.
    DEADLINE = "deadline"
    NO_SLOT = "no_slot"
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
    """The peer ended the connection, without an answer; also after the request."""

    # After the request.
    TIMEOUT = "timeout"
    RESET = "reset"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    COMPRESSED = "compressed"
    INTERIM_FLOOD = "interim_flood"


class Exchange(Struct, frozen=True):
    """What one GET came to.

    ``wrote`` tells whether any byte of the request was handed to the socket (a TLS handshake is not the request);
    ``status`` is set exactly where a complete HTTP answer was read.
    """

    wrote: bool
    cause: Cause
    status: int | None = None
    body: bytes = b""


class Exchanger(Protocol):
    """Makes one GET at smsclone, or at what stands in for it."""

    async def exchange(self, target: bytes, deadline: float) -> Exchange:
        """Make one GET, once; whatever the network does is a value.

        Args:
            target: path and query, as the request line has them.
            deadline: the event loop's time, for everything from the dial to the last byte.
        """
        ...
