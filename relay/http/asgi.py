"""What a server hands over: ASGI's types, and the head of a request, read once."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from msgspec import Struct

from relay.domain.codes import Source

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

Header = tuple[bytes, bytes]


class Head:
    """The head of one request. Values are the caller's: never echoed.

    Attributes:
        fields: header values by lower-case name; of a repeated one the last.
        repeated: names that came more than once, with all their values.
        request_id: of this request, on every answer and log line.
        idempotency_key: set where the handler reads one.
        source: which door it came through.
        traceparent: its position in a trace, for the notification that it brings.
    """

    __slots__ = ("fields", "idempotency_key", "repeated", "request_id", "source", "traceparent")

    def __init__(self, headers: Iterable[Header]) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.repeated: dict[bytes, list[bytes]] = {}
        self.request_id = ""
        self.idempotency_key: str | None = None
        self.source = Source.API
        self.traceparent: str | None = None
        for name, value in headers:
            if name in self.fields:
                self.repeated.setdefault(name, [self.fields[name]]).append(value)
            self.fields[name] = value

    def all_values(self, name: bytes) -> list[bytes]:
        """Every value of a header, in order."""
        if name in self.repeated:
            return self.repeated[name]
        return [self.fields[name]] if name in self.fields else []


class WireResponse(Struct, frozen=True):
    """A whole answer, as it goes on the wire: an ASGI application.

    What litestar's own ``ASGIResponse`` is, without the 8 µs that its headers cost; and for who
    stands outside of litestar.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    media_type: str = "application/json"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it."""
        headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in self.headers.items()]
        headers.append((b"content-type", self.media_type.encode("ascii")))
        headers.append((b"content-length", b"%d" % len(self.body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


HEAD = "relay.head"
"""Where the edge keeps the head in the scope."""


def head_of(scope: Any) -> Head:
    """The head of the request that this scope belongs to."""
    head: Head = scope[HEAD]
    return head
