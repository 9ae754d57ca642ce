"""The outermost layer, for every request, whatever becomes of it: request id, access record, a last resort.

litestar routes what comes in; its middleware would not see a 404 or 405 (pitfalls B2.4), so what must hold for every
answer is done here. The one hot path is answered without litestar, whose layers would double its cost.
"""

from collections.abc import Mapping
from typing import Protocol

from relay.domain.codes import ProblemCode
from relay.domain.errors import Refusal
from relay.http.exchange import (
    PROBLEM,
    AsgiApplication,
    Exchange,
    Header,
    Message,
    Receive,
    Reply,
    Route,
    Scope,
    Send,
)
from relay.http.headers import parse_request_id
from relay.http.responder import Responder, report_bug
from relay.http.routes import RouteTable
from relay.observability.logs import name_request
from relay.sending.events import Events
from relay.sending.ports import Clock, Ids

SCOPE_KEY = "relay.exchange"
"""Where litestar's handlers find the exchange."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "OTHER"
"""The method label of everything that is not listed above."""

_LAST_RESORT = Reply(
    500,
    b'{"type":"/docs/problems#internal_error","title":"A bug of the relay","status":500,"code":"internal_error"}',
    PROBLEM,
)


class RequestRecorder(Protocol):
    """Takes one fact about every request: for the access log, the counter and the duration histogram."""

    def record_request(
        self,
        *,
        route: str,
        method: str,
        status: int,
        seconds: float,
        request_id: str,
        client: str | None,
    ) -> None:
        """Take it. Never raises, never blocks.

        Args:
            route: a route template, or ``unmatched``.
            method: an HTTP method of a closed set, or ``OTHER``.
            status: that was answered.
            seconds: from the head of the request to the end of the answer.
            request_id: of the request.
            client: whose key it was, once that is known.
        """
        ...


class Edge:
    """The ASGI application that the server calls.

    Args:
        inner: litestar.
        lanes: routes that are answered here, by method and path.
        table: all routes.
    """

    def __init__(
        self,
        inner: AsgiApplication,
        lanes: Mapping[tuple[str, str], Route],
        table: RouteTable,
        *,
        responder: Responder,
        events: Events,
        recorder: RequestRecorder,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._inner = inner
        self._lanes = lanes
        self._table = table
        self._responder = responder
        self._events = events
        self._recorder = recorder
        self._clock = clock
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass the server's life cycle on."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        started = self._clock.monotonic()
        exchange = Exchange(scope, receive)
        exchange.request_id = parse_request_id(exchange.headers.get(b"x-request-id")) or self._ids.new_id()
        name_request(exchange.request_id)
        outgoing = Outgoing(send, exchange)
        try:
            await self._answer(scope, exchange, outgoing)
        except Exception as bug:  # noqa: BLE001 — the last resort: even a bug in the error path is answered
            report_bug(self._events, exchange, bug)
            if not outgoing.started:
                await outgoing.write(_LAST_RESORT)
        finally:
            self._recorder.record_request(
                route=exchange.route,
                method=exchange.method if exchange.method in _METHODS else OTHER_METHOD,
                status=outgoing.status,
                seconds=self._clock.monotonic() - started,
                request_id=exchange.request_id,
                client=exchange.client,
            )

    async def _answer(self, scope: Scope, exchange: Exchange, outgoing: "Outgoing") -> None:
        contradiction = find_contradiction(exchange, scope.get("http_version", "1.1"))
        if contradiction is not None:
            await outgoing.write(self._responder.refuse(exchange, contradiction))
            return
        lane = self._lanes.get((exchange.method, exchange.path))
        if lane is not None:
            exchange.route = lane.path
            await outgoing.write(await self._responder.respond(lane.endpoint, exchange))
            return
        if exchange.method == "OPTIONS" and (template := self._table.find_template(exchange.path)) is not None:
            exchange.route = template
            await outgoing.write(Reply(204, b"", headers=((b"allow", self._table.allow(template)),)))
            return
        scope[SCOPE_KEY] = exchange
        if exchange.method == "HEAD":
            scope["method"] = "GET"
        await self._inner(scope, exchange.receive, outgoing)


def find_contradiction(exchange: Exchange, http_version: str) -> Refusal | None:
    """Find what makes the head of a request ambiguous to servers that read it one after another."""
    headers, repeated = exchange.headers, exchange.repeated
    if b"content-length" in repeated or (b"content-length" in headers and b"transfer-encoding" in headers):
        return Refusal(ProblemCode.BAD_REQUEST, "Give the length of the body once: Content-Length or chunked.")
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked" or b"transfer-encoding" in repeated:
        return Refusal(ProblemCode.BAD_REQUEST, "Of transfer encodings, only one chunked is understood.")
    if http_version == "1.1" and (not headers.get(b"host") or b"host" in repeated):
        return Refusal(ProblemCode.BAD_REQUEST, "Give one Host header.")
    return None


class Outgoing:
    """What goes back: every answer gets the request id; the status is kept for the record; HEAD gets no body.

    Is itself the ``send`` that litestar calls.
    """

    __slots__ = ("_bodiless", "_request_id", "_send", "started", "status")

    def __init__(self, send: Send, exchange: Exchange) -> None:
        self._send = send
        self._request_id: Header = (b"x-request-id", exchange.request_id.encode("ascii"))
        self._bodiless = exchange.method == "HEAD"
        self.started = False
        self.status = 500

    async def write(self, reply: Reply) -> None:
        """Send a whole reply."""
        headers = [self._request_id, *reply.headers]
        if reply.status != 204:
            headers.append((b"content-type", reply.content_type))
            headers.append((b"content-length", b"%d" % len(reply.body)))
        self.status = reply.status
        self.started = True
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"" if self._bodiless else reply.body})

    async def __call__(self, message: Message) -> None:
        """Take one message of litestar's."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.started = True
            message["headers"] = [self._request_id, *message["headers"]]
        elif self._bodiless:
            message["body"] = b""
        await self._send(message)
