"""One request as an endpoint sees it, and the reply that it gives: plain values, no framework.

Every endpoint is a function from :class:`Exchange` to :class:`Reply`; who calls it (litestar, or the edge itself on the
one hot path) makes no difference to it.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from msgspec import Struct

from relay.domain.codes import Source

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

Header = tuple[bytes, bytes]

JSON = b"application/json"
NDJSON = b"application/x-ndjson"
PROBLEM = b"application/problem+json"

UNMATCHED = "unmatched"
"""The route label of a request for a path that the relay does not have."""


class Reply(Struct, frozen=True):
    """What goes back. Content-Length and X-Request-Id are added on the way out."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[Header, ...] = ()


class Exchange:
    """One request: what its head says, and how to read its body. Path and header values are the caller's: never echoed.

    Attributes:
        method: as it was sent.
        path: decoded by the server.
        query: raw, without the question mark.
        headers: by lower-case name; of a repeated one the last.
        repeated: names of headers that came more than once, with all their values.
        path_params: values of the route's placeholders.
        request_id: of this request, on every answer and log line.
        route: the route's template, a closed label; set once it is known.
        client: the caller's name, once its key was checked.
        source: which door it came through.
        stage: which part of the front may refuse now; ``None`` while the core decides (it reports its own refusals).
    """

    __slots__ = (
        "client",
        "headers",
        "method",
        "path",
        "path_params",
        "query",
        "receive",
        "repeated",
        "request_id",
        "route",
        "source",
        "stage",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.receive = receive
        self.headers: dict[bytes, bytes] = {}
        self.repeated: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            if name in self.headers:
                self.repeated.setdefault(name, [self.headers[name]]).append(value)
            self.headers[name] = value
        self.path_params: dict[str, str] = {}
        self.request_id = ""
        self.route = UNMATCHED
        self.client: str | None = None
        self.source = Source.API
        self.stage: str | None = "edge"

    def all_values(self, name: bytes) -> list[bytes]:
        """Every value of a header, in order."""
        if name in self.repeated:
            return self.repeated[name]
        return [self.headers[name]] if name in self.headers else []


Endpoint = Callable[[Exchange], Awaitable[Reply]]


class Route(Struct, frozen=True):
    """One operation of the API. ``path`` is a template (``/v1/notifications/{id}``) and a closed metric label."""

    method: str
    path: str
    endpoint: Endpoint
