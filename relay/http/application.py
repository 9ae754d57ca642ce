"""Puts the front together: an ordinary litestar application, and the edge around it."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from litestar import Controller, Litestar
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from msgspec import Struct

from relay.http.admission_middleware import AdmissionMiddleware
from relay.http.asgi import AsgiApplication
from relay.http.audit_list import AuditController
from relay.http.auth import Gate
from relay.http.batch import BatchController
from relay.http.console import ConsoleController
from relay.http.documents import Documents, OpenApiController, PagesController, RootController
from relay.http.edge import Edge, RequestRecorder, Routes
from relay.http.notifications import NotificationController
from relay.http.operator import OperatorController
from relay.http.problems import EXCEPTION_HANDLERS
from relay.http.request import RelayRequest
from relay.http.status import BalanceController, HealthController, MetricsController, MetricsSource, Readiness
from relay.http.template_list import Templates, TemplatesController
from relay.http.unknowns import UnknownController
from relay.http.usage_report import UsageController
from relay.observability.tracing import Tracing
from relay.sending.events import Events
from relay.sending.ports import Clock, Ids
from relay.sending.requests import Operations, Sending

NO_SERVICES: Mapping[str, Any] = MappingProxyType({})
Controllers = Sequence[type[Controller]]

API: Controllers = (
    NotificationController,
    BatchController,
    BalanceController,
    UsageController,
    TemplatesController,
    OperatorController,
    UnknownController,
    AuditController,
    HealthController,
)
"""What is always served, in the order of the reference page."""


class Surroundings(Struct, frozen=True, kw_only=True):
    """What every application of the process shares."""

    events: Events
    recorder: RequestRecorder
    clock: Clock
    ids: Ids
    tracing: Tracing = Tracing()


class ServedPages(Struct, frozen=True):
    """What is served beside the API itself."""

    metrics: bool = True
    """Off where a listener of its own has them."""
    openapi: bool = True
    docs: bool = True
    """Needs the OpenAPI document."""
    console: bool = True


def build_application(
    surroundings: Surroundings,
    *,
    sending: Sending,
    operations: Operations,
    gate: Gate,
    metrics: MetricsSource,
    word_lists: Callable[[], str],
    template_state: Callable[[], str],
    templates: Templates,
    document: Callable[[], dict[str, Any]],
    pages: ServedPages = ServedPages(),  # noqa: B008 — frozen
    more: Controllers = (),
    services: Mapping[str, Any] = NO_SERVICES,
) -> AsgiApplication:
    """Build the application for the main listener.

    Args:
        surroundings: what both applications share.
        sending, operations: the core.
        gate: lets callers in.
        metrics: for ``/metrics``.
        word_lists, template_state: how the last load of each went, in a word, for ``/readyz``.
        templates: those in force.
        document: makes OpenAPI's, of everything that can be served.
        pages: what is switched off.
        more: controllers of other fronts (webhooks).
        services: what those ask for, by the name of their handlers' parameter.
    """
    controllers = [
        *API,
        *more,
        *((MetricsController,) if pages.metrics else ()),
        *((OpenApiController,) if pages.openapi else ()),
        *((PagesController, RootController) if pages.docs else ()),
        *((ConsoleController,) if pages.console else ()),
    ]
    given = {
        "sending": sending,
        "operations": operations,
        "metrics": metrics,
        "readiness": Readiness(sending, word_lists, template_state),
        "templates": templates,
        "documents": Documents(document),
        **services,
    }
    return _wrap(make_router(controllers, given, gate=gate, events=surroundings.events), surroundings)


def build_metrics_application(surroundings: Surroundings, metrics: MetricsSource) -> AsgiApplication:
    """Build the application for the listener that has nothing but ``/metrics``."""
    return _wrap(make_router([MetricsController], {"metrics": metrics}, events=surroundings.events), surroundings)


def describe(more: Controllers, services: Sequence[str], openapi: OpenAPIConfig | None = None) -> Litestar:
    """Make an application of everything that can be served, to be read and not to be called: for the OpenAPI document
    and the labels of metrics.

    Args:
        more: controllers of other fronts.
        services: the names of what those ask for.
        openapi: where the document is wanted.
    """
    pages = (MetricsController, OpenApiController, PagesController, RootController, ConsoleController)
    everything = [*API, *more, *pages]
    names = ("sending", "operations", "metrics", "readiness", "templates", "documents", *services)
    return make_router(everything, dict.fromkeys(names), openapi=openapi)


def make_router(
    controllers: Controllers,
    services: Mapping[str, Any],
    *,
    gate: Gate | None = None,
    events: Events | None = None,
    openapi: OpenAPIConfig | None = None,
) -> Litestar:
    """Make the litestar application.

    A handler asks for one service at most: for two that are independent litestar starts a task group at each request
    (82 µs), and a provider that is not cached, or runs in a thread, costs more than the handler.
    """
    app = Litestar(
        route_handlers=list(controllers),
        dependencies={name: _provide(service) for name, service in services.items()},
        middleware=[AdmissionMiddleware(gate, services["sending"])] if gate is not None else [],
        request_class=RelayRequest,
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=openapi,
        logging_config=None,
    )
    app.state.update({"events": events, "sending": services.get("sending"), "routes": Routes(app)})
    return app


def _provide(service: Any) -> Provide:
    def give() -> Any:
        return service

    return Provide(give, use_cache=True, sync_to_thread=False)


def _wrap(app: Litestar, surroundings: Surroundings) -> AsgiApplication:
    return Edge(
        app,
        recorder=surroundings.recorder,
        clock=surroundings.clock,
        ids=surroundings.ids,
        tracing=surroundings.tracing,
    )
