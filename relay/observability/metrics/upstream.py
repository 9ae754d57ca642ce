"""Calls to smsclone, and what is known of it."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from relay.domain.codes import Route
from relay.observability.metrics import labels
from relay.observability.metrics.families import Counters, Durations


class UpstreamMetrics:
    """Calls to smsclone and what is known of it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counters(
            registry,
            "relay_upstream_requests_total",
            "Calls to smsclone, by endpoint and outcome.",
            ("endpoint", "outcome"),
            labels.upstream_labels(),
        )
        self._seconds = Durations(
            registry,
            "relay_upstream_request_duration_seconds",
            "From dial to last byte.",
            "endpoint",
            (*Route, labels.BALANCE),
            labels.UPSTREAM_SECONDS,
        )
        self._in_flight = Gauge("relay_upstream_in_flight", "Calls that are out now.", registry=registry)
        self._breaker = Gauge(
            "relay_upstream_breaker_state", "0 closed, 1 half open, 2 open: no calls.", registry=registry
        )
        self._units = Gauge("relay_upstream_balance_units", "Units left when last read.", registry=registry)
        self._read_at = Gauge(
            "relay_upstream_balance_read_timestamp_seconds",
            "When the units were last read, in Unix seconds; 0: never by this process.",
            registry=registry,
        )

    def count_call(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Count a call that is over."""
        self._calls.add(endpoint, outcome)
        self._seconds.observe(endpoint, seconds)

    def watch_in_flight(self, read: Callable[[], float]) -> None:
        """Where the number of calls that are out is read at each scrape."""
        self._in_flight.set_function(read)

    def show_breaker(self, state: str) -> None:
        """Show whether calls are made."""
        self._breaker.set(labels.BREAKER_NUMBERS[state])

    def show_balance(self, units: float, at_seconds: float) -> None:
        """Show what is left."""
        self._units.set(units)
        self._read_at.set(at_seconds)
