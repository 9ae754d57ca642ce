"""Traces: the caller's context is taken in and passed on, spans say closed things only, and nothing needs the extra."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from relay.domain.codes import (
    Code,
    Encoding,
    MessageType,
    NotificationStatus,
    RequestedRoute,
    Route,
    RouteReason,
    Source,
    Status,
)
from relay.domain.notification import Mode
from relay.domain.pausing import Scope, SendingPause
from relay.http.application import Surroundings, build_metrics_application
from relay.http.asgi import AsgiApplication
from relay.observability.logs import Log
from relay.observability.metrics import Metrics
from relay.observability.open_telemetry import OpenTelemetryTracing
from relay.observability.recorder import Recorder
from relay.observability.tracing import (
    Attribute,
    TraceContext,
    Tracing,
    format_traceparent,
    open_tracing,
    parse_traceparent,
)
from relay.sending import events
from relay.sending.ports import SendOutcome
from support.front import CountedIds, FixedClock, Witness
from support.log import Lines

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (PARENT, TraceContext(TRACE, SPAN, sampled=True)),
        (f"00-{TRACE}-{SPAN}-00", TraceContext(TRACE, SPAN, sampled=False)),
        (f"00-{TRACE}-{SPAN}-03", TraceContext(TRACE, SPAN, sampled=True)),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", TraceContext(TRACE, SPAN, sampled=True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (PARENT.upper(), None),
        (PARENT + "\n", None),
        (f"cc-{TRACE}-{SPAN}-01-{'x' * 1000}", None),
        ("", None),
        (None, None),
    ],
)
def test_a_traceparent_is_read_as_the_specification_says(text: str | None, read: TraceContext | None) -> None:
    assert parse_traceparent(text) == read


def test_a_traceparent_that_was_written_is_read_as_the_same() -> None:
    for context in (TraceContext(TRACE, SPAN, sampled=True), TraceContext(TRACE, SPAN, sampled=False)):
        assert parse_traceparent(format_traceparent(context)) == context


class Ears(Witness):
    """Keeps the trace of a request, and lets a recorder hear of it too."""

    def __init__(self, recorder: Recorder | None) -> None:
        super().__init__()
        self._recorder = recorder

    def record_request(self, **fields: Any) -> None:
        super().record_request(**fields)
        if self._recorder is not None:
            self._recorder.record_request(**fields)


async def serve(tracing: Tracing, headers: list[tuple[bytes, bytes]], recorder: Recorder | None = None) -> str | None:
    """The ``traceparent`` of a request, for what it brings."""
    ears = Ears(recorder)
    surroundings = Surroundings(events=ears, recorder=ears, clock=FixedClock(), ids=CountedIds(), tracing=tracing)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None:
        """Nobody reads it."""

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/nowhere",
        "query_string": b"",
        "headers": [(b"host", b"relay"), *headers],
    }
    await asyncio.create_task(_call(build_metrics_application(surroundings, ears), scope, receive, send))
    traceparent: str | None = ears.records[0]["trace"].traceparent
    return traceparent


async def _call(application: AsgiApplication, scope: Any, receive: Any, send: Any) -> None:
    await application(scope, receive, send)


async def test_without_the_extra_the_callers_context_is_passed_on() -> None:
    assert await serve(Tracing(), [(b"traceparent", PARENT.encode())]) == PARENT
    assert await serve(Tracing(), []) is None


@pytest.mark.parametrize(
    "headers", [[(b"traceparent", b"\xff")], [(b"traceparent", PARENT.encode()), (b"traceparent", PARENT.encode())]]
)
async def test_a_context_that_is_malformed_or_given_twice_is_dropped(headers: list[tuple[bytes, bytes]]) -> None:
    assert await serve(Tracing(), headers) is None


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> OpenTelemetryTracing:
    return OpenTelemetryTracing(SimpleSpanProcessor(exporter), "1.2.3")


def described(span: ReadableSpan) -> tuple[str, str | None]:
    """A span's name, and its parent's id in hex."""
    return span.name, None if span.parent is None else format(span.parent.span_id, "016x")


async def test_a_request_is_a_span_below_the_callers_and_what_follows_is_below_it(
    tracing: OpenTelemetryTracing, exporter: InMemorySpanExporter, lines: Lines
) -> None:
    recorder = Recorder(Metrics(version="1", system=False), Log("info", lines).logger, tracing)
    handed_on = await serve(tracing, [(b"traceparent", PARENT.encode())], recorder)

    for event in follow_ups(handed_on):
        recorder.emit(event)

    inner = parse_traceparent(handed_on)
    assert inner is not None
    assert inner.trace_id == TRACE
    spans = exporter.get_finished_spans()
    assert [described(span) for span in spans] == [
        ("accept", SPAN),
        ("claim", inner.span_id),
        ("dial", inner.span_id),
        ("record", inner.span_id),
    ]
    assert {format(span.context.trace_id, "032x") for span in spans} == {TRACE}
    [dial] = [span for span in spans if span.name == "dial"]
    assert dial.start_time is not None
    assert dial.end_time is not None
    assert dial.end_time - dial.start_time == 1_500_000_000
    assert lines.read_all()[0]["trace_id"] == TRACE


async def test_spans_say_only_what_is_of_the_closed_set(
    tracing: OpenTelemetryTracing, exporter: InMemorySpanExporter, lines: Lines
) -> None:
    recorder = Recorder(Metrics(version="1", system=False), Log("info", lines).logger, tracing)
    await serve(tracing, [], recorder)
    for event in follow_ups(None):
        recorder.emit(event)

    said = {name for span in exporter.get_finished_spans() for name in span.attributes or {}}
    assert said <= {attribute.value for attribute in Attribute}
    assert not any(span.events for span in exporter.get_finished_spans())


async def test_a_trace_that_its_caller_does_not_keep_is_not_kept_here(
    tracing: OpenTelemetryTracing, exporter: InMemorySpanExporter
) -> None:
    handed_on = await serve(tracing, [(b"traceparent", f"00-{TRACE}-{SPAN}-00".encode())])

    assert handed_on is not None
    assert handed_on.endswith("-00")
    assert exporter.get_finished_spans() == ()


def follow_ups(traceparent: str | None) -> list[events.Event]:
    """What the core states about one notification."""
    common: dict[str, Any] = {
        "notification_id": "n1",
        "client": "billing",
        "source": Source.API,
        "mode": Mode.SYNCHRONOUS,
        "message_type": MessageType.OTP,
        "route": Route.DND_FALLBACK,
        "traceparent": traceparent,
    }
    return [
        events.NotificationClaimed(
            **common,
            encoding=Encoding.GSM_7,
            segments=1,
            recipients=1,
            calls=1,
            route_requested=RequestedRoute.AUTO,
            route_reason=RouteReason.DEFAULT,
        ),
        events.CallFinished(
            account="smsclone",
            account_reason=None,
            notification_id="n1",
            ordinal=0,
            route=Route.DND_FALLBACK,
            recipients=1,
            outcome=SendOutcome.ACCEPTED,
            cause="answered",
            seconds=1.5,
            upstream_code="TG00",
            warnings=(),
            attempt=1,
            traceparent=traceparent,
        ),
        events.NotificationCompleted(
            **common,
            status=NotificationStatus.SENT,
            recipients={(Status.SENT, Code.SENT): 1},
            calls=1,
            seconds=1.6,
        ),
        events.Paused(
            pause=SendingPause(scope=Scope(), reason="", by="ops", key="k1", since=0), over=False, everything=True
        ),
    ]


def test_spans_are_handed_over_where_an_endpoint_is_named(log: Log) -> None:
    assert type(open_tracing({}, "1", log.logger)) is Tracing

    tracing = open_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, "1", log.logger)
    assert isinstance(tracing, OpenTelemetryTracing)
    tracing.close()


def test_the_relay_does_not_need_the_extra_and_says_where_it_misses_it() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
from relay.observability.logs import Log
from relay.observability.recorder import Recorder
from relay.observability.tracing import open_tracing
open_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, "1", Log("info").logger).begin(None)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)

    assert '"tracing.skipped"' in ended.stdout
