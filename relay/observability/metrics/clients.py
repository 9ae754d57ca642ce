"""What is told apart by client."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry

from relay.domain.codes import Code, Encoding, Route, Status
from relay.observability.metrics import labels
from relay.observability.metrics.families import Counters

MOST_CLIENTS: Final = 1_000


class ClientMetrics:
    """What is told apart by client. A name that is not configured, or is one too many, counts under ``_other``."""

    OTHER = "_other"  # no client can have this name

    def __init__(self, registry: CollectorRegistry) -> None:
        self._names: set[str] = set()
        self._notifications = Counters(
            registry,
            "relay_notifications_total",
            "Notifications that ended, by the status that they ended with.",
            ("client", "source", "status"),
        )
        self._recipients = Counters(
            registry,
            "relay_recipients_total",
            "People (duplicates counted once) by what became of their message.",
            ("client", "route", "status", "code"),
        )
        self._segments = Counters(
            registry,
            "relay_segments_total",
            "Segments of accepted notifications, for all their recipients; our own count.",
            ("client", "encoding"),
        )
        self._rate_limited = Counters(
            registry, "relay_rate_limited_total", "Requests over a limit of the client.", ("client", "limit")
        )

    def follow(self, names: Iterable[str]) -> None:
        """Let the series of these clients stand at 0; those of clients that are gone stay as they are."""
        for name in names:
            if name not in self._names and len(self._names) < MOST_CLIENTS:
                self._names.add(name)
                self._notifications.create(labels.notification_labels(name))
                self._recipients.create(labels.recipient_labels(name))
                self._segments.create((name, encoding) for encoding in Encoding)
                self._rate_limited.create((name, limit) for limit in labels.LIMITS)

    def _known(self, name: str | None) -> str:
        return name if name in self._names and name is not None else self.OTHER

    def count_notification(self, client: str, source: str, status: str) -> None:
        """Count a notification that ended."""
        self._notifications.add(self._known(client), source, status)

    def count_recipients(self, client: str, route: Route, status: Status, code: Code, amount: int) -> None:
        """Count people."""
        self._recipients.add(self._known(client), route, status, code, amount=amount)

    def count_segments(self, client: str, encoding: Encoding, amount: int) -> None:
        """Count segments."""
        self._segments.add(self._known(client), encoding, amount=amount)

    def count_limited(self, client: str | None, limit: str) -> None:
        """Count a request over a limit."""
        self._rate_limited.add(self._known(client), labels.known(limit, labels.LIMITS))
