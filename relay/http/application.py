"""Puts the front together: the edge outside, litestar inside, one handler a route.

**Decisions**

- 2026-11-25: endpoints are functions from ``Exchange`` to ``Reply``; litestar routes to them and knows nothing of
  bodies, exceptions or encodings, because its own decoding answers invalid UTF-8 and deep nesting with 500 (pitfalls
  B2.1). Rejected: litestar's ``data`` parameters with guards.
- 2026-11-25: ``POST /v1/notifications`` is answered by the edge itself. Measured in process: 29 µs there
  and 59 µs through litestar, of 560 µs for a whole notification. Everything else goes through litestar.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from relay.http.auth import Gate
from relay.http.balance import BalancePage
from relay.http.batch import Batch
from relay.http.documents import DocumentPages
from relay.http.edge import SCOPE_KEY, Edge, RequestRecorder
from relay.http.exchange import AsgiApplication, Exchange, Reply, Route
from relay.http.health import HealthPages
from relay.http.listing import Listing
from relay.http.metrics import MetricsPage, MetricsSource
from relay.http.notifications import Notifications
from relay.http.operator import OperatorPages
from relay.http.responder import Responder
from relay.http.routes import RouteTable
from relay.sending.events import Events
from relay.sending.ports import Clock, Ids
from relay.sending.requests import Operations, Sending

_PLACEHOLDER = re.compile(r"{([a-z_]+)}")


class Surroundings(Struct, frozen=True, kw_only=True):
    """What every application of the process shares."""

    events: Events
    recorder: RequestRecorder
    clock: Clock
    ids: Ids


class Pages(Struct, frozen=True):
    """What is served beside the API itself."""

    metrics: bool = True
    """Off where a listener of its own has them."""
    openapi: bool = True
    docs: bool = True
    """Needs the OpenAPI document."""


def build_application(
    surroundings: Surroundings,
    *,
    sending: Sending,
    operations: Operations,
    gate: Gate,
    metrics: MetricsSource,
    word_lists: Callable[[], str],
    pages: Pages = Pages(),  # noqa: B008 — frozen
    more: Sequence[Route] = (),
) -> AsgiApplication:
    """Build the application for the main listener.

    Args:
        surroundings: what both applications share.
        sending, operations: the core.
        gate: lets callers in.
        metrics: for ``/metrics``.
        word_lists: how the last load of the word lists went, in a word, for ``/readyz``.
        pages: what is switched off.
        more: routes of other fronts (webhooks).
    """
    notifications = Notifications(gate, sending, surroundings.events)
    routes = [
        *notifications.routes(),
        *Listing(gate, sending).routes(),
        *Batch(gate, sending, surroundings.events).routes(),
        *BalancePage(gate, sending).routes(),
        *OperatorPages(gate, operations).routes(),
        *HealthPages(sending, word_lists).routes(),
        *(MetricsPage(metrics).routes() if pages.metrics else ()),
        *DocumentPages(openapi=pages.openapi, docs=pages.docs).routes(),
        *more,
    ]
    hot = notifications.routes()[0]
    return _assemble(surroundings, routes, {(hot.method, hot.path): hot})


def build_metrics_application(surroundings: Surroundings, metrics: MetricsSource) -> AsgiApplication:
    """Build the application for the listener that has nothing but ``/metrics``."""
    return _assemble(surroundings, MetricsPage(metrics).routes(), {})


def _assemble(
    surroundings: Surroundings, routes: Sequence[Route], lanes: Mapping[tuple[str, str], Route]
) -> AsgiApplication:
    table = RouteTable(routes)
    responder = Responder(surroundings.events, table)

    def answer_unrouted(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        exchange = _exchange_of(request.scope)
        if isinstance(error, HTTPException) and error.status_code < 500:
            return _to_litestar(responder.refuse_unrouted(exchange, error.status_code))
        return _to_litestar(responder.apologize(exchange, error))

    router = Litestar(
        route_handlers=[_make_handler(route, responder) for route in routes],
        exception_handlers={HTTPException: answer_unrouted, Exception: answer_unrouted},
        openapi_config=None,
        logging_config=None,
    )
    return Edge(
        cast("AsgiApplication", router),
        lanes,
        table,
        responder=responder,
        events=surroundings.events,
        recorder=surroundings.recorder,
        clock=surroundings.clock,
        ids=surroundings.ids,
    )


def _make_handler(route: Route, responder: Responder) -> HTTPRouteHandler:
    """Make the litestar handler that calls a route's endpoint."""

    async def handle(request: Request[Any, Any, Any]) -> Response[bytes]:
        exchange = _exchange_of(request.scope)
        exchange.route = route.path
        exchange.path_params = request.scope["path_params"]
        return _to_litestar(await responder.respond(route.endpoint, exchange))

    return HTTPRouteHandler(
        path=_PLACEHOLDER.sub(r"{\1:str}", route.path),
        http_method=cast("Any", route.method),
        status_code=200,
        name=f"{route.method} {route.path}",
    )(handle)


def _exchange_of(scope: Any) -> Exchange:
    exchange: Exchange = scope[SCOPE_KEY]
    return exchange


def _to_litestar(reply: Reply) -> Response[bytes]:
    headers = {name.decode("ascii"): value.decode("ascii") for name, value in reply.headers}
    # Given as a header it is taken as it is: as media type litestar would add a charset to it.
    headers["content-type"] = reply.content_type.decode("ascii")
    return Response(content=reply.body, status_code=reply.status, headers=headers)
