"""The page: SPEC's names and labels, everything at 0 from the beginning, bounded whatever is asked of the relay."""

import ast
import re
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from relay.app.routes import route_labels
from relay.domain.callback_rules import CallbackOutcome
from relay.domain.codes import STATUS_OF, TERMINAL, Code, Encoding, ProblemCode, Route
from relay.observability.metric_table import CLIENTS, STAGES, TABLE, UNMATCHED
from relay.observability.metrics import Metrics

ROOT = Path(__file__).parents[3]

SPEC = {
    "relay_http_requests_total": {"route", "method", "status"},
    "relay_http_request_duration_seconds": {"route"},
    "relay_notifications_total": {"client", "source", "status"},
    "relay_recipients_total": {"client", "route", "status", "code"},
    "relay_segments_total": {"client", "encoding"},
    "relay_refusals_total": {"stage", "code"},
    "relay_prefilter_hits_total": {"category", "action"},
    "relay_prefilter_missed_total": {"field"},
    "relay_route_decisions_total": {"requested", "used", "reason"},
    "relay_upstream_requests_total": {"account", "endpoint", "outcome"},
    "relay_upstream_request_duration_seconds": {"account", "endpoint"},
    "relay_upstream_fallback_total": {"account", "reason"},
    "relay_upstream_in_flight": {"account"},
    "relay_upstream_breaker_state": {"account"},
    "relay_unknown_total": {"code"},
    "relay_upstream_balance_units": {"account"},
    "relay_upstream_balance_read_timestamp_seconds": {"account"},
    "relay_idempotency_total": {"result"},
    "relay_queue_depth": {"state"},
    "relay_queue_oldest_age_seconds": set(),
    "relay_unknown_open": {"account"},
    "relay_unknown_open_oldest_seconds": set(),
    "relay_budget_used_ratio": {"client"},
    "relay_balance_drift_units": {"account"},
    "relay_webhook_alerts_total": {"kind", "status"},
    "relay_webhook_duplicates_total": {"kind"},
    "relay_callbacks_total": {"outcome"},
    "relay_rate_limited_total": {"client", "limit"},
    "relay_shed_total": {"client", "reason"},
    "relay_places_in_use": {"client"},
    "relay_credentials_reload_success": {"account"},
    "relay_config_reload_success": set(),
    "relay_paused": set(),
    "relay_build_info": {"version"},
}

MOST_SERIES = 6_000
"""Of a process without clients, whatever addresses and methods it was asked for."""
MOST_SERIES_A_CLIENT = 105


def series(metrics: Metrics) -> int:
    return len(re.findall(rb"^[^#\n]", metrics.render("")[0], re.MULTILINE))


def read(metrics: Metrics) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in read_text(metrics.render("")[0].decode()):
        for sample in family.samples:
            name = re.sub(r"_(bucket|count|sum)$", "", sample.name)
            found.setdefault(name, set()).update(set(sample.labels) - {"le"})
    return found


def test_the_page_has_the_metrics_of_the_contract_with_their_labels_and_no_others(metrics: Metrics) -> None:
    found = read(metrics)
    assert found.keys() - SPEC.keys() == set(), "a new metric: the same in SPEC, with its labels"
    assert found == SPEC
    assert {metric.name for metric in TABLE} == SPEC.keys() - {"relay_build_info"}


def test_every_metric_of_the_table_is_counted_somewhere_and_nothing_else_is() -> None:
    counted = set()
    for module in (ROOT / "relay").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                name = node.args[0]
                if isinstance(name, ast.Constant) and str(name.value).startswith("relay_"):
                    counted.add(name.value)

    assert counted == {metric.name for metric in TABLE}, "named in the table but counted nowhere, or the reverse"


def test_the_process_tells_about_itself_unless_it_is_told_not_to() -> None:
    assert {"process_resident_memory_bytes", "python_info"} <= set(read(Metrics(version="1")))


def test_everything_stands_at_0_before_anything_happened(metrics: Metrics) -> None:
    families = list(read_text(metrics.render("")[0].decode()))
    ones = {sample.name for family in families for sample in family.samples if sample.value != 0}

    assert ones == {"relay_build_info", "relay_config_reload_success"}


def test_every_member_of_every_closed_set_is_there(metrics: Metrics) -> None:
    value = metrics.registry.get_sample_value
    for code, status in STATUS_OF.items():
        for route in Route:
            labels = {"client": "shop", "route": route, "status": status, "code": code}
            assert value("relay_recipients_total", labels) == (0 if status in TERMINAL else None)
    for stage in STAGES:
        for problem in ProblemCode:
            assert value("relay_refusals_total", {"stage": stage, "code": problem}) == 0
    for outcome in CallbackOutcome:
        assert value("relay_callbacks_total", {"outcome": outcome}) == 0
    for address, methods in {**route_labels(), "unmatched": ("GET", "POST", "PUT", "OTHER")}.items():
        for method in methods:
            assert value("relay_http_requests_total", {"route": address, "method": method, "status": "200"}) == 0


def test_several_processes_worth_of_metrics_live_beside_each_other() -> None:
    one, other = Metrics(version="1", system=False), Metrics(version="2", system=False)
    one.set("relay_paused", True)

    assert b"relay_paused 1.0" in one.render("")[0]
    assert b"relay_paused 0.0" in other.render("")[0]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain; version=1.0.0", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain; version=nonsense", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-textual", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text; version=x.y", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("application/openmetrics-text;q=0", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.9", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;q=high", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "APPLICATION/OpenMetrics-Text; Q=0.5, */*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("," * 100_000, "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_format_follows_accept_and_no_header_breaks_it(metrics: Metrics, accept: str, content_type: str) -> None:
    body, given = metrics.render(accept)

    assert given.startswith(content_type)
    parse: Callable[[str], Iterable[object]] = read_openmetrics if "openmetrics" in given else read_text
    assert len(list(parse(body.decode()))) == len(TABLE) + 1  # and relay_build_info


def test_an_address_or_method_that_is_none_of_ours_is_counted_and_never_named(metrics: Metrics) -> None:
    metrics.add("relay_http_requests_total", "/wp-login.php", "BREW", "418")

    labels = {"route": "unmatched", "method": "OTHER", "status": "other"}
    assert metrics.registry.get_sample_value("relay_http_requests_total", labels) == 1


@pytest.mark.slow
def test_a_hundred_thousand_paths_and_methods_make_no_more_series_than_stated() -> None:
    metrics = Metrics(version="1", system=False)
    metrics.follow_routes(route_labels())
    routes, methods = [*route_labels(), UNMATCHED], ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    for number in range(100_000):
        known = number % 3 == 0
        route = routes[number % len(routes)] if known else f"/{number}"
        method = methods[number % 7] if known else f"M{number}"
        metrics.add("relay_http_requests_total", route, method, str(100 + number % 500))
        metrics.add("relay_refusals_total", f"stage{number % 1000}", ProblemCode.INTERNAL_ERROR)
    for route, method, status in product(routes, [*methods, "BREW"], range(100, 600)):
        metrics.add("relay_http_requests_total", route, method, str(status))
        metrics.observe("relay_http_request_duration_seconds", 0.1, route)

    assert 3_000 < series(metrics) < MOST_SERIES


@pytest.mark.slow
def test_clients_cost_what_is_stated_and_only_so_many_are_told_apart() -> None:
    metrics = Metrics(version="1", system=False)
    before = series(metrics)
    metrics.follow(CLIENTS, ["one"])
    assert series(metrics) - before <= MOST_SERIES_A_CLIENT

    metrics.follow(CLIENTS, (str(number) for number in range(CLIENTS.most + 50)))
    metrics.follow(CLIENTS, ["one too many"])
    metrics.add("relay_segments_total", "one too many", Encoding.GSM_7, amount=3)

    assert metrics.registry.get_sample_value("relay_segments_total", {"client": "_other", "encoding": "gsm-7"}) == 3
    assert series(metrics) <= before + MOST_SERIES_A_CLIENT * CLIENTS.most + 1


def test_a_client_that_comes_with_a_reload_stands_at_0_and_one_that_goes_keeps_its_counts(metrics: Metrics) -> None:
    metrics.add("relay_segments_total", "billing", Encoding.UCS_2, amount=2)
    metrics.follow(CLIENTS, ["fresh"])
    value = metrics.registry.get_sample_value

    assert value("relay_segments_total", {"client": "fresh", "encoding": "ucs-2"}) == 0
    assert value("relay_segments_total", {"client": "billing", "encoding": "ucs-2"}) == 2


def test_a_category_that_no_list_has_is_not_named(metrics: Metrics) -> None:
    metrics.add("relay_prefilter_hits_total", "2348012345678", "block")

    assert b"2348012345678" not in metrics.render("")[0]
    assert (
        metrics.registry.get_sample_value("relay_prefilter_hits_total", {"category": "other", "action": "block"}) == 1
    )


def test_calls_that_are_out_are_read_when_the_page_is(metrics: Metrics) -> None:
    out = 0
    metrics.read_from("relay_upstream_in_flight", lambda: out, "smsclone")
    out = 7

    assert metrics.registry.get_sample_value("relay_upstream_in_flight", {"account": "smsclone"}) == 7


def test_buckets_reach_as_far_as_callers_and_calls_wait(metrics: Metrics) -> None:
    metrics.observe("relay_upstream_request_duration_seconds", 20.1, "smsclone", Route.DND)
    page = metrics.render("")[0].decode()

    assert 'relay_upstream_request_duration_seconds_bucket{account="smsclone",endpoint="dnd",le="20.0"} 0.0' in page
    assert 'relay_upstream_request_duration_seconds_bucket{account="smsclone",endpoint="dnd",le="25.0"} 1.0' in page
    assert 'relay_http_request_duration_seconds_bucket{le="30.0",route="/v1/notifications"} 0.0' in page


def test_duplicates_are_of_no_status_because_the_person_is_counted_once(metrics: Metrics) -> None:
    assert Code.DUPLICATE_RECIPIENT.value not in metrics.render("")[0].decode()
