"""What comes in, and what goes out because of it."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry

from relay.observability.metrics import labels
from relay.observability.metrics.families import Counters, Durations


class FrontMetrics:
    """What comes in: requests, refusals, webhooks; and callbacks, which go out because of it."""

    def __init__(self, registry: CollectorRegistry, routes: Mapping[str, Iterable[str]]) -> None:
        self._routes = frozenset(routes)
        self._requests = Counters(
            registry,
            "relay_http_requests_total",
            "Requests answered, by route template, method and status.",
            ("route", "method", "status"),
            labels.request_labels(routes),
        )
        self._request_seconds = Durations(
            registry,
            "relay_http_request_duration_seconds",
            "From the request's head to the answer.",
            "route",
            self._routes | {labels.UNMATCHED},
            labels.SHORT_SECONDS,
        )
        self._refusals = Counters(
            registry,
            "relay_refusals_total",
            "Times that something was refused and certainly not sent, by stage and problem code.",
            ("stage", "code"),
            labels.refusal_labels(),
        )
        self._alerts = Counters(
            registry,
            "relay_webhook_alerts_total",
            "Alerts in webhooks that were accepted.",
            ("kind", "status"),
            ((kind, status) for kind in labels.WEBHOOK_KINDS for status in labels.ALERT_STATUSES),
        )
        self._duplicates = Counters(
            registry,
            "relay_webhook_duplicates_total",
            "Webhooks that told what another had told before.",
            ("kind",),
            ((kind,) for kind in labels.WEBHOOK_KINDS),
        )
        self._callbacks = Counters(
            registry,
            "relay_callbacks_total",
            "Deliveries of results to callers, by how they ended.",
            ("outcome",),
            ((outcome,) for outcome in labels.CallbackOutcome),
        )

    def count_request(self, route: str, method: str, status: int, seconds: float) -> tuple[str, str]:
        """Count an answered request.

        Returns:
            Route and method as they were counted: ``unmatched`` and ``OTHER`` where they are of no closed set.
        """
        route = route if route in self._routes else labels.UNMATCHED
        method = method if method in labels.METHODS else labels.OTHER_METHOD
        self._requests.add(route, method, str(status) if status in labels.HTTP_STATUSES else labels.OTHER)
        self._request_seconds.observe(route, seconds)
        return route, method

    def count_refusal(self, stage: str, code: str) -> None:
        """Count a no."""
        self._refusals.add(labels.known(stage, labels.STAGES), code)

    def count_shed(self, route: str, method: str, status: int, code: str, count: int) -> None:
        """Count requests that were answered with a no before they were read; they are not timed."""
        self._requests.add(route, method, str(status), amount=count)
        self._refusals.add("accept", code, amount=count)

    def count_alerts(self, kind: str, *, firing: int, resolved: int) -> None:
        """Count the alerts of an accepted webhook."""
        kind = labels.known(kind, labels.WEBHOOK_KINDS)
        self._alerts.add(kind, "firing", amount=firing)
        self._alerts.add(kind, "resolved", amount=resolved)

    def count_duplicate(self, kind: str) -> None:
        """Count a webhook that said nothing new."""
        self._duplicates.add(labels.known(kind, labels.WEBHOOK_KINDS))

    def count_callback(self, outcome: labels.CallbackOutcome) -> None:
        """Count a delivery."""
        self._callbacks.add(outcome)
