"""Traces, if they are wanted: reads the W3C context, carries it with the notification, writes spans from events.

Events come after the fact, so a span is written when it is over: ``accept`` (a request, from its head to the answer),
``claim``, ``dial`` (a call), ``record`` (the end of a notification). The attributes are a closed set; no URL, number or
text is among them.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextvars import ContextVar
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from relay.observability.logs import Logger, name_trace
from relay.sending import events

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_LONGEST: Final = 200
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class SpanName(StrEnum):
    """Every span that there is."""

    ACCEPT = "accept"
    CLAIM = "claim"
    DIAL = "dial"
    RECORD = "record"


class Attribute(StrEnum):
    """Every attribute that a span may have."""

    ROUTE = "http.route"
    METHOD = "http.request.method"
    STATUS_CODE = "http.response.status_code"
    CLIENT = "relay.client"
    NOTIFICATION = "relay.notification_id"
    MESSAGE_TYPE = "relay.message_type"
    SMS_ROUTE = "relay.route"
    OUTCOME = "relay.outcome"
    CAUSE = "relay.cause"
    STATUS = "relay.status"
    RECIPIENTS = "relay.recipients"


Attributes = Mapping[Attribute, str | int]


class TraceContext(Struct, frozen=True):
    """A position in a trace: lower-case hex ids, and whether the trace is sampled."""

    trace_id: str
    span_id: str
    sampled: bool


def parse_traceparent(text: str | None) -> TraceContext | None:
    """Read a ``traceparent`` header; ``None`` if there is none, or it is malformed.

    Source:
        W3C Trace Context, section 3.2: version 00, and of later versions what is the same.
    """
    found = _TRACEPARENT.fullmatch(text) if text is not None and len(text) <= _LONGEST else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceContext(trace_id, span_id, sampled=bool(int(flags, 16) & 1))


def format_traceparent(context: TraceContext) -> str:
    """Write a ``traceparent`` header."""
    return f"00-{context.trace_id}-{context.span_id}-{'01' if context.sampled else '00'}"


class RequestTrace:
    """One request's position in its trace.

    ``traceparent`` is kept with the notification, so that later work for it belongs to the same trace. ``trace_id``
    goes into log lines.
    """

    def __init__(self, context: TraceContext | None) -> None:
        self.trace_id = context.trace_id if context is not None else None
        self.traceparent = format_traceparent(context) if context is not None else None

    def end(self, attributes: Attributes) -> None:
        """The answer was sent."""


_current: ContextVar[RequestTrace | None] = ContextVar("relay_trace", default=None)


def current_trace() -> RequestTrace | None:
    """The trace of the request that this task serves."""
    return _current.get()


class Tracing:
    """Writes no spans, but passes the caller's context on."""

    def begin(self, traceparent: str | None) -> RequestTrace:
        """A request arrived, with or without this header."""
        return RequestTrace(parse_traceparent(traceparent))

    def record(self, name: SpanName, traceparent: str | None, attributes: Attributes, *, seconds: float = 0.0) -> None:
        """Something ended now, after so many seconds; it belongs below ``traceparent``."""

    def close(self) -> None:
        """Export what is left."""


def open_tracing(environ: Mapping[str, str], version: str, logger: Logger) -> Tracing:
    """Export traces to ``OTEL_EXPORTER_OTLP_ENDPOINT``, if it is set and the extra is installed.

    An endpoint without the extra is only logged: some clusters set the variable for every pod.
    """
    if not any(environ.get(name) for name in _ENDPOINTS):
        return Tracing()
    try:
        from relay.observability.open_telemetry import export_traces
    except ImportError:
        logger.warning("tracing.skipped", remedy="install relay[otel], or unset OTEL_EXPORTER_OTLP_ENDPOINT")
        return Tracing()
    return export_traces(version)


Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_HEADER: Final = b"traceparent"


class TracedApplication:
    """ASGI middleware that gives every request its position in a trace.

    The inner application sees it in the ``traceparent`` header, whether or not the caller sent one.
    ``Recorder.record_request`` ends the span.

    Args:
        inner: answers the requests.
        tracing: writes the spans.
    """

    def __init__(self, inner: Application, tracing: Tracing) -> None:
        self._inner = inner
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            headers = [header for header in scope["headers"] if header[0].lower() != _HEADER]
            given = [value for name, value in scope["headers"] if name.lower() == _HEADER]
            trace = self._tracing.begin(given[0].decode("latin-1") if len(given) == 1 else None)
            if trace.traceparent is not None:
                headers.append((_HEADER, trace.traceparent.encode("ascii")))
            scope = {**scope, "headers": headers}
            _current.set(trace)
            name_trace(trace.trace_id)
        await self._inner(scope, receive, send)


def record_span(tracing: Tracing, event: events.Event) -> None:
    """Write the span of an event, if it has one.

    ``claim`` and ``record`` have no duration: the core does not measure it.
    """
    if isinstance(event, events.CallFinished):
        tracing.record(SpanName.DIAL, event.traceparent, _of_call(event), seconds=event.seconds)
    elif isinstance(event, events.NotificationClaimed):
        tracing.record(SpanName.CLAIM, event.traceparent, _of_notification(event))
    elif isinstance(event, events.NotificationCompleted):
        ended: Attributes = {**_of_notification(event), Attribute.STATUS: event.status}
        tracing.record(SpanName.RECORD, event.traceparent, ended)


def _of_call(event: events.CallFinished) -> Attributes:
    return {
        Attribute.NOTIFICATION: event.notification_id,
        Attribute.SMS_ROUTE: event.route,
        Attribute.RECIPIENTS: event.recipients,
        Attribute.OUTCOME: event.outcome,
        Attribute.CAUSE: event.cause,
    }


def _of_notification(event: events.NotificationClaimed | events.NotificationCompleted) -> Attributes:
    return {
        Attribute.NOTIFICATION: event.notification_id,
        Attribute.CLIENT: event.client,
        Attribute.MESSAGE_TYPE: event.message_type,
        Attribute.SMS_ROUTE: event.route,
    }
