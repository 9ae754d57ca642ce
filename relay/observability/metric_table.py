"""Every metric that the relay has, one entry each: name, help, labels with their closed sets (SPEC section 10).

To add one, add an entry here and count it where the fact arrives, usually in ``relay.observability.recorder``:
``metrics.add("relay_shed_total", client, reason)``, label values in the order of the entry. The rules and the dashboard
in ``k8s`` must use it (``tests/ops/test_metrics_named.py``).

Every series that can occur starts at 0. A value outside the closed set counts under the set's word
for "other", never as itself: nothing that a caller sent becomes a label.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal

from msgspec import Struct

from relay.domain.callback_rules import CallbackOutcome
from relay.domain.codes import (
    STATUS_OF,
    TERMINAL,
    AccountReason,
    Encoding,
    NotificationStatus,
    ProblemCode,
    RequestedRoute,
    Route,
    RouteReason,
    Source,
    Status,
)
from relay.sending.breaker import BreakerState
from relay.sending.ports import SendOutcome

# --- what a metric is -----------------------------------------------------------------------------------------------


class Growing(Struct, frozen=True, eq=False):
    """A closed set whose members come from the settings and may grow while the relay runs (``Metrics.follow``).

    Names beyond ``most`` count under ``other``, so that no list in the settings can flood Prometheus.
    """

    other: str
    most: int


class ClosedSet(Struct, frozen=True):
    """A set that is known beforehand, and the word for everything else."""

    members: tuple[str, ...]
    other: str = "other"


class Metric(Struct, frozen=True, kw_only=True):
    """One entry of the table.

    Args:
        kind: counters only rise, a gauge shows a state, a histogram counts durations in ``buckets`` of seconds.
        labels: label: its values, in the order in which they are counted.
        occurs: whether these label values, in order, can occur together; all can, if left out.
        start: what a gauge shows before anything happened.
    """

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: Mapping[str, ClosedSet | Growing]
    occurs: Callable[..., bool] | None = None
    buckets: tuple[float, ...] = ()
    start: float = 0


Values = Iterable[str] | ClosedSet | Growing


def _counter(name: str, meaning: str, *, occurs: Callable[..., bool] | None = None, **labels: Values) -> Metric:
    return Metric(kind="counter", name=name, help=meaning, labels=_close(labels), occurs=occurs)


def _gauge(name: str, meaning: str, *, start: float = 0, **labels: Values) -> Metric:
    return Metric(kind="gauge", name=name, help=meaning, labels=_close(labels), start=start)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], **labels: Values) -> Metric:
    return Metric(kind="histogram", name=name, help=meaning, labels=_close(labels), buckets=buckets)


def _close(labels: Mapping[str, Values]) -> Mapping[str, ClosedSet | Growing]:
    return {
        label: values if isinstance(values, ClosedSet | Growing) else ClosedSet(tuple(values))
        for label, values in labels.items()
    }


# --- closed sets ----------------------------------------------------------------------------------------------------

UNMATCHED: Final = "unmatched"
"""The route label of a path that is none of ours."""

CLIENTS: Final = Growing("_other", 1_000)  # no client can have this name
CATEGORIES: Final = Growing("other", 200)
ACCOUNTS: Final = Growing("_other", 50)
HTTP_ROUTES: Final = Growing(UNMATCHED, 100)

METHODS: Final = ClosedSet(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"), "OTHER")
HTTP_STATUSES: Final = tuple(
    map(str, (200, 202, 204, 302, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 502, 503))
)
STAGES: Final = ("edge", "auth", "prepare", "accept", "upstream")
"""Where a request was refused; ``upstream``: smsclone refused the whole batch and nothing was sent."""

LIMITS: Final = ("requests", "recipients-per-day", "units-per-month", "sends-to-one-number")
WEBHOOK_KINDS: Final = (Source.ALERTMANAGER, Source.GRAFANA, Source.GENERIC)
QUEUE_STATES: Final = ("queued", "held", "scheduled", "claimed")
WORD_FIELDS: Final = ("sender", "message")

BALANCE: Final = "balance"
ENDPOINTS: Final = (*Route, BALANCE)
BALANCE_OUTCOMES: Final = ("read", "failed")

FINAL_STATUSES: Final = tuple(
    status for status in NotificationStatus if status is NotificationStatus.PARTIAL or status.value in TERMINAL
)
FINAL_CODES: Final = tuple(code for code, status in STATUS_OF.items() if status in TERMINAL)
"""``duplicate_recipient`` is not among them: the person is counted once, by the first entry."""

BREAKER_NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
)
"""What the gauge shows; anything above 0 is worth a look."""

_REQUEST_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 25.0, 30.0)
# A waiting caller waits for the upstream, at most until the notification's deadline.

_CALL_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 30.0)
# Seconds are usual, and the deadline of a call is 20 s unless it is set otherwise.


# --- the table ------------------------------------------------------------------------------------------------------

TABLE: Final = (
    # What comes in, and the callbacks that go out because of it.
    _counter(
        "relay_http_requests_total",
        "Requests answered, by route template, method and status.",
        route=HTTP_ROUTES,
        method=METHODS,
        status=HTTP_STATUSES,
    ),
    _histogram(
        "relay_http_request_duration_seconds",
        "From the request's head to the answer.",
        _REQUEST_SECONDS,
        route=HTTP_ROUTES,
    ),
    _counter(
        "relay_refusals_total",
        "Requests refused and certainly not sent, by stage and problem code.",
        stage=STAGES,
        code=ProblemCode,
    ),
    _counter(
        "relay_shed_total",
        "Requests refused because all places were held: by reason.",
        client=CLIENTS,
        reason=("over_share", "reserved", "heavy"),
    ),
    _gauge("relay_places_in_use", "Places of callers who wait, by client.", client=CLIENTS),
    _counter("relay_rate_limited_total", "Requests over a limit of the client.", client=CLIENTS, limit=LIMITS),
    _counter(
        "relay_idempotency_total",
        "Requests by what their idempotency key met.",
        result=("new", "replayed", "in_progress", "mismatch", "none"),
    ),
    _counter(
        "relay_webhook_alerts_total",
        "Alerts in webhooks that were accepted.",
        kind=WEBHOOK_KINDS,
        status=("firing", "resolved"),
    ),
    _counter("relay_webhook_duplicates_total", "Webhooks that repeated an earlier one.", kind=WEBHOOK_KINDS),
    _counter("relay_callbacks_total", "Deliveries of results to callers, by how they ended.", outcome=CallbackOutcome),
    # How requests are evaluated, and how notifications end.
    _counter(
        "relay_prefilter_hits_total", "Entries of the word lists found.", category=CATEGORIES, action=("block", "warn")
    ),
    _counter(
        "relay_prefilter_missed_total", "Times that smsclone blocked what the word lists let pass.", field=WORD_FIELDS
    ),
    _counter(
        "relay_route_decisions_total",
        "Notifications by the route asked for, the route taken, and why.",
        requested=RequestedRoute,
        used=Route,
        reason=RouteReason,
    ),
    _counter(
        "relay_segments_total",
        "Segments of accepted notifications, for all their recipients; our own count.",
        client=CLIENTS,
        encoding=Encoding,
    ),
    _counter(
        "relay_notifications_total",
        "Notifications that ended, by their final status.",
        client=CLIENTS,
        source=Source,
        status=FINAL_STATUSES,
    ),
    _counter(
        "relay_recipients_total",
        "People (duplicates counted once) by what became of their message.",
        client=CLIENTS,
        route=Route,
        status=tuple(Status),
        code=FINAL_CODES,
        occurs=lambda _client, _route, status, code: STATUS_OF[code] == status,
    ),
    _counter(
        "relay_unknown_total",
        "People for whom nobody knows whether their message was sent.",
        code=tuple(code for code in FINAL_CODES if STATUS_OF[code] is Status.UNKNOWN),
    ),
    # What waits.
    _gauge(
        "relay_queue_depth",
        "Notifications that wait, by state; held and scheduled are counted up to 10,000.",
        state=QUEUE_STATES,
    ),
    _gauge("relay_queue_oldest_age_seconds", "How long the oldest queued notification has been due."),
    _gauge("relay_paused", "1 while an operator has stopped all sending."),
    _gauge(
        "relay_unknown_open",
        "Recipients whose outcome nobody knows, not settled and not sent to once more; told by one replica.",
        account=ACCOUNTS,
    ),
    _gauge(
        "relay_unknown_open_oldest_seconds", "How long the oldest of them has been accepted; 0 where there is none."
    ),
    _gauge(
        "relay_budget_used_ratio",
        "Units of this month that are used or reserved, as a part of units_per_month; told by one replica.",
        client=CLIENTS,
    ),
    # Calls to smsclone, and what is known of it.
    _counter(
        "relay_upstream_requests_total",
        "Calls to the accounts, by endpoint and outcome.",
        account=ACCOUNTS,
        endpoint=ENDPOINTS,
        outcome=(*SendOutcome, *BALANCE_OUTCOMES),
        occurs=lambda _account, endpoint, outcome: (endpoint == BALANCE) == (outcome in BALANCE_OUTCOMES),
    ),
    _histogram(
        "relay_upstream_request_duration_seconds",
        "From dial to last byte.",
        _CALL_SECONDS,
        account=ACCOUNTS,
        endpoint=ENDPOINTS,
    ),
    _counter(
        "relay_upstream_fallback_total",
        "Calls that were made at another account than the client's first, by account and why.",
        account=ACCOUNTS,
        reason=AccountReason,
    ),
    _gauge("relay_upstream_in_flight", "Calls under way.", account=ACCOUNTS),
    _gauge("relay_upstream_breaker_state", "0 closed, 1 half open, 2 open: no calls.", account=ACCOUNTS),
    _gauge("relay_upstream_balance_units", "Units left when last read.", account=ACCOUNTS),
    _gauge(
        "relay_balance_drift_units",
        "By how much the balance fell beyond what calls explain since it last rose; told by one replica.",
        account=ACCOUNTS,
    ),
    _gauge(
        "relay_upstream_balance_read_timestamp_seconds",
        "When the units were last read, in Unix seconds; 0: never by this process.",
        account=ACCOUNTS,
    ),
    _gauge(
        "relay_credentials_reload_success",
        "0 while changed credentials of an account could not be proven, so that it is called with the old ones.",
        account=ACCOUNTS,
    ),
    # The process.
    _gauge("relay_config_reload_success", "0 while changed settings, lists or templates cannot be applied.", start=1),
)
