"""Traces, if they are wanted: reads the W3C context, carries it with the notification, writes spans from events.

Events come after the fact, so a span is written when it is over: ``accept`` (a request, from its head to the answer),
``claim``, ``dial`` (a call), ``record`` (the end of a notification). The attributes are a closed set; no URL, number or
text is among them.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from relay.observability.logs import Logger
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


class Tracing:
    """Writes no spans, but passes the caller's context on."""

    def begin(self, traceparent: str | None) -> RequestTrace:
        """A request arrived, with or without this header."""
        return RequestTrace(parse_traceparent(traceparent))

    def record(self, event: events.Event) -> None:
        """Write the span of something that ended now, if it has one."""

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


def find_span(event: events.Event) -> tuple[SpanName, str | None, Attributes, float] | None:
    """The span of an event, if it has one: its name, the ``traceparent`` that it belongs below, what it says, and how
    many seconds it took. The core does not measure how long ``claim`` and ``record`` take: they have none.
    """
    if isinstance(event, events.CallFinished):
        return SpanName.DIAL, event.traceparent, _of_call(event), event.seconds
    if isinstance(event, events.NotificationClaimed):
        return SpanName.CLAIM, event.traceparent, _of_notification(event), 0.0
    if isinstance(event, events.NotificationCompleted):
        ended: Attributes = {**_of_notification(event), Attribute.STATUS: event.status}
        return SpanName.RECORD, event.traceparent, ended, 0.0
    return None


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
