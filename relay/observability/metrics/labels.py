"""The closed sets from which every label value comes. What is in no set counts under ``other``, never as itself."""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import product
from types import MappingProxyType

from relay.domain.codes import STATUS_OF, TERMINAL, NotificationStatus, ProblemCode, Route, Source
from relay.sending.breaker import BreakerState
from relay.sending.ports import SendOutcome

OTHER = "other"
OTHER_METHOD = "OTHER"

UNMATCHED = "unmatched"
"""The route label of an address that is none of ours."""

ROUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "/v1/notifications": ("GET", "POST"),
        "/v1/notifications/batch": ("POST",),
        "/v1/notifications/preview": ("POST",),
        "/v1/notifications/{id}": ("DELETE", "GET"),
        "/v1/balance": ("GET",),
        "/v1/webhooks/{kind}/{receiver}": ("POST",),
        "/v1/operator/unknown": ("GET",),
        "/v1/operator/unknown/{id}/resolve": ("POST",),
        "/v1/operator/unknown/{id}/resend": ("POST",),
        "/v1/operator/pause": ("POST",),
        "/v1/operator/resume": ("POST",),
        "/v1/operator/erase": ("POST",),
        "/healthz": ("GET",),
        "/readyz": ("GET",),
        "/metrics": ("GET",),
        "/docs": ("GET",),
        "/docs/problems": ("GET",),
        "/docs/docs.css": ("GET",),
        "/docs/docs.js": ("GET",),
        "/openapi.json": ("GET",),
        UNMATCHED: (),
    }
)
"""Templates of addresses with the methods that they serve; a path itself is never a label."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
HTTP_STATUSES = (200, 202, 204, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 502, 503)

STAGES = ("edge", "auth", "prepare", "accept", "upstream")
"""Where a no was said; ``upstream``: smsclone refused the whole batch and nothing was sent."""

LIMITS = ("requests", "recipients-per-day", "sends-to-one-number")
KEY_RESULTS = ("new", "replayed", "in_progress", "mismatch", "none")
QUEUE_STATES = ("queued", "held", "claimed")
WORD_ACTIONS = ("block", "warn")
WORD_FIELDS = ("sender", "message")
WEBHOOK_KINDS = (Source.ALERTMANAGER, Source.GRAFANA, Source.GENERIC)
ALERT_STATUSES = ("firing", "resolved")

BALANCE = "balance"
BALANCE_OUTCOMES = ("read", "failed")

BREAKER_NUMBERS: Mapping[str, int] = MappingProxyType(
    {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
)
"""What the gauge shows; anything above 0 is worth a look."""

FINAL_STATUSES = tuple(
    status for status in NotificationStatus if status is NotificationStatus.PARTIAL or status.value in TERMINAL
)
FINAL_CODES = tuple(code for code, status in STATUS_OF.items() if status in TERMINAL)
"""``duplicate_recipient`` is not among them: the person is counted once, by the first entry."""

UNKNOWN_CODES = tuple(code for code in FINAL_CODES if STATUS_OF[code].value == "unknown")

SHORT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 25.0, 30.0)
"""Buckets of requests: a waiting caller waits for the upstream, at most the notification deadline."""

UPSTREAM_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 30.0)
"""Buckets of calls: seconds are usual, and the deadline is 20 s unless it is set otherwise."""


class CallbackOutcome(StrEnum):
    """How one delivery of a callback ended."""

    DELIVERED = "delivered"
    RETRIED = "retried"
    """The receiver did not take it; it is tried again."""
    GIVEN_UP = "given_up"
    """Tried as often as is sensible."""
    GONE = "gone"
    """The receiver answered 410: no more callbacks to this address."""
    REFUSED = "refused"
    """The address leads where callbacks may not go."""


def known(value: str, values: Iterable[str]) -> str:
    """The value, if it is of the closed set, else ``other``."""
    return value if value in values else OTHER


def request_labels(routes: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, ...]]:
    """Route, method and status of every request that is served as it was meant."""
    for route, methods in routes.items():
        for method, status in product(methods, HTTP_STATUSES):
            yield route, method, str(status)


def upstream_labels() -> Iterator[tuple[str, ...]]:
    """Endpoint and outcome of every kind of call."""
    yield from product(Route, SendOutcome)
    yield from ((BALANCE, outcome) for outcome in BALANCE_OUTCOMES)


def refusal_labels() -> Iterator[tuple[str, ...]]:
    """Stage and code of every refusal."""
    yield from product(STAGES, ProblemCode)


def recipient_labels(client: str) -> Iterator[tuple[str, ...]]:
    """Client, route, status and code of every outcome."""
    for route, code in product(Route, FINAL_CODES):
        yield client, route, STATUS_OF[code], code


def notification_labels(client: str) -> Iterator[tuple[str, ...]]:
    """Client, source and status of every end of a notification."""
    for source, status in product(Source, FINAL_STATUSES):
        yield client, source, status
