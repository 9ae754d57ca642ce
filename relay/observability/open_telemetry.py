"""Tracing by OpenTelemetry, if the extra ``relay[otel]`` is installed and an endpoint is set.

Endpoint, headers and sampling are set by OpenTelemetry's own variables (``OTEL_EXPORTER_OTLP_ENDPOINT``, …). A thread
of the library exports the spans, never a request.
"""

import time
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags

from relay.observability.tracing import (
    Attributes,
    RequestTrace,
    SpanName,
    TraceContext,
    Tracing,
    find_span,
    parse_traceparent,
)
from relay.sending.events import Event

_NANOSECONDS: Final = 1_000_000_000


def export_traces(version: str) -> "OpenTelemetryTracing":
    """Export traces to the endpoint in the environment."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return OpenTelemetryTracing(BatchSpanProcessor(OTLPSpanExporter()), version)


class OpenTelemetryTracing(Tracing):
    """Spans by the OpenTelemetry SDK.

    Args:
        processor: gets finished spans.
        version: of the relay.
    """

    def __init__(self, processor: SpanProcessor, version: str) -> None:
        resource = Resource.create({"service.name": "relay", "service.version": version})
        self._provider = TracerProvider(resource=resource, span_limits=SpanLimits(max_attribute_length=200))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("relay", version)

    def begin(self, traceparent: str | None) -> RequestTrace:
        """Start the span of a request."""
        span = self._tracer.start_span(SpanName.ACCEPT, _below(traceparent), kind=SpanKind.SERVER)
        return _SpanOfRequest(span)

    def record(self, event: Event) -> None:
        """Write the span of an event, which is already over."""
        found = find_span(event)
        if found is None:
            return
        name, traceparent, attributes, seconds = found
        now = time.time_ns()
        kind = SpanKind.CLIENT if name is SpanName.DIAL else SpanKind.INTERNAL
        started = now - int(seconds * _NANOSECONDS)
        span = self._tracer.start_span(name, _below(traceparent), kind, _plain(attributes), start_time=started)
        span.end(now)

    def close(self) -> None:
        """Export what is left, and stop."""
        self._provider.shutdown()


class _SpanOfRequest(RequestTrace):
    def __init__(self, span: Span) -> None:
        context = span.get_span_context()
        trace_id, span_id = trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)
        super().__init__(TraceContext(trace_id, span_id, sampled=context.trace_flags.sampled))
        self._span = span

    def end(self, attributes: Attributes) -> None:
        self._span.set_attributes(_plain(attributes))
        self._span.end()


def _below(traceparent: str | None) -> Context:
    """The context below a ``traceparent``; a new trace if there is none."""
    parent = parse_traceparent(traceparent)
    if parent is None:
        return Context()
    context = SpanContext(
        int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=TraceFlags(int(parent.sampled))
    )
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


def _plain(attributes: Attributes) -> dict[str, str | int]:
    return {name.value: str(value) if isinstance(value, str) else value for name, value in attributes.items()}
