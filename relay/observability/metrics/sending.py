"""How requests are judged, and what waits."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from relay.domain.codes import Code, RequestedRoute, Route, RouteReason
from relay.observability.metrics import labels
from relay.observability.metrics.families import Counters

MOST_CATEGORIES: Final = 200


class SendingMetrics:
    """How requests are judged and what waits."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._categories: set[str] = set()
        self._hits = Counters(
            registry, "relay_prefilter_hits_total", "Entries of the word lists found.", ("category", "action")
        )
        self._missed = Counters(
            registry,
            "relay_prefilter_missed_total",
            "Times that smsclone blocked what the word lists let pass.",
            ("field",),
            ((field,) for field in labels.WORD_FIELDS),
        )
        self._routes = Counters(
            registry,
            "relay_route_decisions_total",
            "Notifications by the route asked for, the route taken, and why.",
            ("requested", "used", "reason"),
            ((requested, used, reason) for requested in RequestedRoute for used in Route for reason in RouteReason),
        )
        self._unknown = Counters(
            registry,
            "relay_unknown_total",
            "People of whom nobody knows whether their message was sent.",
            ("code",),
            ((code,) for code in labels.UNKNOWN_CODES),
        )
        self._keys = Counters(
            registry,
            "relay_idempotency_total",
            "What idempotency keys met.",
            ("result",),
            ((result,) for result in labels.KEY_RESULTS),
        )
        depth = Gauge("relay_queue_depth", "Notifications that wait, by state.", ["state"], registry=registry)
        self._depth = {state: depth.labels(state) for state in labels.QUEUE_STATES}
        self._oldest = Gauge(
            "relay_queue_oldest_age_seconds", "How long the oldest queued notification has been due.", registry=registry
        )
        self._paused = Gauge("relay_paused", "1 while an operator has stopped all sending.", registry=registry)

    def follow_categories(self, names: Iterable[str]) -> None:
        """Let the series of these categories of the word lists stand at 0."""
        for name in names:
            if name not in self._categories and len(self._categories) < MOST_CATEGORIES:
                self._categories.add(name)
                self._hits.create((name, action) for action in labels.WORD_ACTIONS)

    def count_hit(self, category: str, action: str) -> None:
        """Count an entry that was found."""
        self._hits.add(labels.known(category, self._categories), labels.known(action, labels.WORD_ACTIONS))

    def count_missed(self, field: str) -> None:
        """Count what only the upstream found."""
        self._missed.add(labels.known(field, labels.WORD_FIELDS))

    def count_route(self, requested: RequestedRoute, used: Route, reason: RouteReason) -> None:
        """Count a decision."""
        self._routes.add(requested, used, reason)

    def count_unknown(self, code: Code, amount: int) -> None:
        """Count people of whom nobody knows."""
        self._unknown.add(code, amount=amount)

    def count_key(self, result: str) -> None:
        """Count what a key met."""
        self._keys.add(labels.known(result, labels.KEY_RESULTS))

    def show_queue(self, *, queued: int, held: int, claimed: int, oldest_age_seconds: float) -> None:
        """Show what waits."""
        for state, amount in zip(labels.QUEUE_STATES, (queued, held, claimed), strict=True):
            self._depth[state].set(amount)
        self._oldest.set(oldest_age_seconds)

    def show_paused(self, paused: bool) -> None:
        """Show the operator's switch."""
        self._paused.set(paused)
