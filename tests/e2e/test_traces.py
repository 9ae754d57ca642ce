"""One trace from the request to the record, over the queue and over a restart, at a real collector's door."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.relay import PASSWORD, make_client, make_relay
from support.upstream import running_upstream
from support.waiting import wait_until

trace_service_pb2 = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
NUMBER, TEXT = "2348012345678", "canary-text-8K is on its way."


@dataclass
class Collector:
    """What was exported."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)

    def spans(self) -> list[Any]:
        """Every span so far."""
        requests = [trace_service_pb2.ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def names(self) -> set[str]:
        """Names of the spans of the trace."""
        return {span.name for span in self.spans() if span.trace_id.hex() == TRACE}

    def wait_for(self, *names: str) -> None:
        """Wait until the trace has these spans."""
        wait_until(lambda: self.names() >= set(names), self.names)


@contextmanager
def running_collector() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_queued_notification_is_one_trace_over_a_restart(tmp_path: Path) -> None:
    client = make_client(permissions='["send", "read", "operate"]')
    with running_collector() as collector, running_upstream() as upstream:
        relay = make_relay(
            tmp_path,
            client,
            upstream=upstream.base_url,
            environment={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"},
        )
        relay.start()
        with httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=60) as http:
            http.post("/v1/operator/pause", json={"reason": "a test"})
            accepted = http.post(
                "/v1/notifications",
                json={"recipients": [NUMBER], "message": TEXT},
                headers={"Prefer": "respond-async", "traceparent": f"00-{TRACE}-{PARENT}-01"},
            )
            assert accepted.status_code == 202
        relay.stop()
        collector.wait_for("accept", "claim")
        assert upstream.count() == {}

        relay.start()
        with httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=60) as http:
            http.post("/v1/operator/resume")
        collector.wait_for("accept", "claim", "dial", "record")
        relay.stop()

    spans = {span.name: span for span in collector.spans() if span.trace_id.hex() == TRACE}
    accept = spans["accept"].span_id
    assert spans["accept"].parent_span_id.hex() == PARENT
    assert {spans[name].parent_span_id for name in ("claim", "dial", "record")} == {accept}
    assert upstream.count() == {NUMBER: 1}
    exported = b"".join(collector.bodies)
    for secret in (NUMBER, TEXT, PASSWORD, client.key, "recipient=", "canary"):
        assert secret.encode() not in exported
    lines = [line for line in relay.log().splitlines() if f'"trace_id":"{TRACE}"' in line]
    for event in ("request.answered", "notification.claimed", "call.finished", "notification.completed"):
        assert any(f'"event":"{event}"' in line for line in lines)
