"""The outermost layer, thin, around litestar: what must hold for every answer, whatever becomes of the request.

Request id, access record and a last resort for 404 and 405 too, which litestar's middleware does not see (pitfalls
B2.4); contradictory heads, HEAD, and OPTIONS, of which litestar forgets a controller's other methods.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol, cast

from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.routes import HTTPRoute
from litestar.utils import normalize_path

from relay.domain.codes import ProblemCode
from relay.domain.errors import Refusal
from relay.http.asgi import (
    HEAD,
    AsgiApplication,
    Head,
    Header,
    Message,
    Receive,
    Scope,
    Send,
    WireResponse,
    head_of,
)
from relay.http.headers import parse_request_id
from relay.http.problems import PROBLEM_JSON, render_problem
from relay.http.request import UNMATCHED, report_bug, report_refusal, route_label
from relay.observability.logs import name_request, name_trace
from relay.observability.tracing import RequestTrace, Tracing
from relay.sending.events import Events
from relay.sending.ports import Clock, Ids

_METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
"""In the order of an ``Allow`` header; every other method is counted as ``OTHER``."""
OTHER_METHOD = "OTHER"

_LAST_RESORT = (
    b'{"type":"/docs/problems#internal_error","title":"A bug of the relay","status":500,"code":"internal_error"}'
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
        trace: RequestTrace,
    ) -> None:
        """Take it. Never raises, never blocks.

        Args:
            route: a route template, or ``unmatched``.
            method: an HTTP method of a closed set, or ``OTHER``.
            status: that was answered.
            seconds: from the head of the request to the end of the answer.
            request_id: of the request.
            client: whose key it was, once that is known.
            trace: that it is a part of.
        """
        ...


class Routes:
    """What litestar serves: the templates of its handlers, with their methods. A template is a closed label.

    The ``opt`` of a handler may name another ``route``, for pages that count as one.

    Attributes:
        labels: methods by label, for the metrics.
    """

    def __init__(self, app: Litestar) -> None:
        self._router = app.asgi_router
        self._methods: dict[str, set[str]] = {}
        self._labels: dict[str, str] = {}
        labels: dict[str, set[str]] = {}
        for route in app.routes:
            for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
                if "OPTIONS" not in handler.http_methods:  # which litestar adds
                    label = handler.opt.get("route", route.path_format)
                    self._labels[route.path_format] = label
                    self._methods.setdefault(route.path_format, set()).update(handler.http_methods)
                    labels.setdefault(label, set()).update(handler.http_methods)
        self.labels: Mapping[str, tuple[str, ...]] = MappingProxyType(
            {label: tuple(sorted(names)) for label, names in sorted(labels.items())}
        )

    def find(self, path: str) -> tuple[str, str] | None:
        """Give the label of a path and the value of its ``Allow`` header; ``None`` for a path that is not served."""
        try:
            # Every path that is served answers OPTIONS.
            *_, template = self._router.handle_routing(path=normalize_path(path), method="OPTIONS")
        except HTTPException:
            return None
        return self._labels[template], self._allow(template)

    def _allow(self, template: str) -> str:
        served = self._methods[template] | {"OPTIONS"}
        if "GET" in served:
            served = served | {"HEAD"}
        return ", ".join(method for method in _METHODS if method in served)


class Edge:
    """The ASGI application that the server calls.

    Args:
        inner: litestar, with the app state ``events`` and ``routes``.
        recorder: told of every request.
        clock, ids: for durations, and for requests that have no id.
        tracing: gives every request its position in a trace, whether or not the caller sent one.
    """

    def __init__(self, inner: Litestar, *, recorder: RequestRecorder, clock: Clock, ids: Ids, tracing: Tracing) -> None:
        self._inner = cast("AsgiApplication", inner)
        self._routes: Routes = inner.state.routes
        self._events: Events = inner.state.events
        self._recorder = recorder
        self._clock = clock
        self._ids = ids
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass the server's life cycle on."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        started = self._clock.monotonic()
        method, path = scope["method"], scope["path"]
        head = Head(scope["headers"])
        head.request_id = parse_request_id(head.fields.get(b"x-request-id")) or self._ids.new_id()
        given = head.all_values(b"traceparent")
        trace = self._tracing.begin(given[0].decode("latin-1") if len(given) == 1 else None)
        head.traceparent = trace.traceparent
        scope[HEAD] = head
        name_request(head.request_id)
        name_trace(trace.trace_id)
        outgoing = Outgoing(send, head.request_id, bodiless=method == "HEAD")
        try:
            await self._answer(scope, receive, outgoing)
        except Exception as bug:  # noqa: BLE001 — the last resort: even a bug in the error path is answered
            report_bug(self._events, scope, bug)
            if not outgoing.started:
                await WireResponse(500, _LAST_RESORT, {}, PROBLEM_JSON)(scope, receive, outgoing)
        finally:
            caller = scope.get("user")
            self._recorder.record_request(
                route=self._label(scope, path, outgoing.status),
                method=method if method in _METHODS else OTHER_METHOD,
                status=outgoing.status,
                seconds=self._clock.monotonic() - started,
                request_id=head.request_id,
                client=None if caller is None else caller.client.name,
                trace=trace,
            )

    async def _answer(self, scope: Scope, receive: Receive, outgoing: "Outgoing") -> None:
        head = head_of(scope)
        contradiction = find_contradiction(head, scope.get("http_version", "1.1"))
        if contradiction is not None:
            report_refusal(self._events, scope, contradiction)
            await render_problem(contradiction, head.request_id).wire()(scope, receive, outgoing)
            return
        if scope["method"] == "OPTIONS" and (found := self._routes.find(scope["path"])) is not None:
            headers = [(b"allow", found[1].encode("ascii"))]
            await outgoing({"type": "http.response.start", "status": 204, "headers": headers})
            await outgoing({"type": "http.response.body", "body": b""})
            return
        if scope["method"] == "HEAD":
            scope["method"] = "GET"
        await self._inner(scope, receive, outgoing)

    def _label(self, scope: Scope, path: str, status: int) -> str:
        if "route_handler" in scope:
            return route_label(scope)
        if status in (204, 405) and (found := self._routes.find(path)) is not None:
            return found[0]
        return UNMATCHED


def find_contradiction(head: Head, http_version: str) -> Refusal | None:
    """Find what makes the head of a request ambiguous to servers that read it one after another."""
    fields, repeated = head.fields, head.repeated
    if b"content-length" in repeated or (b"content-length" in fields and b"transfer-encoding" in fields):
        return Refusal(ProblemCode.BAD_REQUEST, "Give the length of the body once: Content-Length or chunked.")
    if fields.get(b"transfer-encoding", b"chunked").lower() != b"chunked" or b"transfer-encoding" in repeated:
        return Refusal(ProblemCode.BAD_REQUEST, "Of transfer encodings, only one chunked is understood.")
    if http_version == "1.1" and (not fields.get(b"host") or b"host" in repeated):
        return Refusal(ProblemCode.BAD_REQUEST, "Give one Host header.")
    return None


class Outgoing:
    """The ``send`` that litestar calls: every answer gets the request id, its status is kept for the record, and HEAD
    gets no body."""

    __slots__ = ("_bodiless", "_request_id", "_send", "started", "status")

    def __init__(self, send: Send, request_id: str, *, bodiless: bool) -> None:
        self._send = send
        self._request_id: Header = (b"x-request-id", request_id.encode("ascii"))
        self._bodiless = bodiless
        self.started = False
        self.status = 500

    async def __call__(self, message: Message) -> None:
        """Take one message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.started = True
            message["headers"] = [self._request_id, *message["headers"]]
        elif self._bodiless:
            message["body"] = b""
        await self._send(message)
