"""The page: SPEC's names and labels, everything at 0 from the beginning, bounded whatever is asked of the relay."""

import ast
import re
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from relay.domain.codes import STATUS_OF, TERMINAL, Code, Encoding, ProblemCode, Route
from relay.observability.metrics import MOST_CLIENTS, ROUTES, CallbackOutcome, Metrics
from relay.observability.metrics.labels import STAGES

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
    "relay_upstream_requests_total": {"endpoint", "outcome"},
    "relay_upstream_request_duration_seconds": {"endpoint"},
    "relay_upstream_in_flight": set(),
    "relay_upstream_breaker_state": set(),
    "relay_unknown_total": {"code"},
    "relay_upstream_balance_units": set(),
    "relay_upstream_balance_read_timestamp_seconds": set(),
    "relay_idempotency_total": {"result"},
    "relay_queue_depth": {"state"},
    "relay_queue_oldest_age_seconds": set(),
    "relay_webhook_alerts_total": {"kind", "status"},
    "relay_webhook_duplicates_total": {"kind"},
    "relay_callbacks_total": {"outcome"},
    "relay_rate_limited_total": {"client", "limit"},
    "relay_config_reload_success": set(),
    "relay_paused": set(),
    "relay_build_info": {"version"},
}

MOST_SERIES = 3_700
"""Of a process without clients, whatever addresses and methods it was asked for; each client adds 100 at most."""


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
    assert read(metrics) == SPEC


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
    for address, methods in ROUTES.items():
        for method in methods:
            assert value("relay_http_requests_total", {"route": address, "method": method, "status": "200"}) == 0


def test_several_processes_worth_of_metrics_live_beside_each_other() -> None:
    one, other = Metrics(version="1", system=False), Metrics(version="2", system=False)
    one.sending.show_paused(True)

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
    assert len(list(parse(body.decode()))) == len(SPEC)


def test_an_address_or_method_that_is_none_of_ours_is_counted_and_never_named(metrics: Metrics) -> None:
    assert metrics.front.count_request("/wp-login.php", "BREW", 418, 0.1) == ("unmatched", "OTHER")

    labels = {"route": "unmatched", "method": "OTHER", "status": "other"}
    assert metrics.registry.get_sample_value("relay_http_requests_total", labels) == 1


def declared_routes() -> set[tuple[str, str]]:
    """Method and template of every route that a front declares in its source."""
    found = set()
    for module in (ROOT / "relay").glob("[hw]*/*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Route":
                method, path = node.args[:2]
                if isinstance(method, ast.Constant) and isinstance(path, ast.Constant):
                    found.add((str(method.value), str(path.value)))
    return found


def test_every_address_that_a_front_serves_is_a_label_of_its_own() -> None:
    declared = declared_routes()

    assert len(declared) >= 15
    assert declared <= {(method, route) for route, methods in ROUTES.items() for method in methods}


def test_a_hundred_thousand_paths_and_methods_make_no_more_series_than_stated() -> None:
    metrics = Metrics(version="1", system=False)
    routes, methods = list(ROUTES), ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    for number in range(100_000):
        known = number % 3 == 0
        route = routes[number % len(routes)] if known else f"/{number}"
        metrics.front.count_request(route, methods[number % 7] if known else f"M{number}", 100 + number % 500, 0.1)
        metrics.front.count_refusal(f"stage{number % 1000}", ProblemCode.INTERNAL_ERROR)
    for route, method, status in product(routes, [*methods, "BREW"], range(100, 600)):
        metrics.front.count_request(route, method, status, 0.1)

    assert 3_400 < series(metrics) < MOST_SERIES


@pytest.mark.slow
def test_clients_cost_what_is_stated_and_only_so_many_are_told_apart() -> None:
    metrics = Metrics(version="1", system=False)
    before = series(metrics)
    metrics.clients.follow(["one"])
    assert series(metrics) - before <= 100

    metrics.clients.follow(str(number) for number in range(MOST_CLIENTS + 50))
    metrics.clients.follow(["one too many"])
    metrics.clients.count_segments("one too many", Encoding.GSM_7, 3)

    assert metrics.registry.get_sample_value("relay_segments_total", {"client": "_other", "encoding": "gsm-7"}) == 3
    assert series(metrics) <= before + 100 * MOST_CLIENTS + 1


def test_a_client_that_comes_with_a_reload_stands_at_0_and_one_that_goes_keeps_its_counts(metrics: Metrics) -> None:
    metrics.clients.count_segments("billing", Encoding.UCS_2, 2)
    metrics.clients.follow(["fresh"])
    value = metrics.registry.get_sample_value

    assert value("relay_segments_total", {"client": "fresh", "encoding": "ucs-2"}) == 0
    assert value("relay_segments_total", {"client": "billing", "encoding": "ucs-2"}) == 2


def test_a_category_that_no_list_has_is_not_named(metrics: Metrics) -> None:
    metrics.sending.count_hit("2348012345678", "block")

    assert b"2348012345678" not in metrics.render("")[0]
    assert (
        metrics.registry.get_sample_value("relay_prefilter_hits_total", {"category": "other", "action": "block"}) == 1
    )


def test_calls_that_are_out_are_read_when_the_page_is(metrics: Metrics) -> None:
    out = 0
    metrics.upstream.watch_in_flight(lambda: out)
    out = 7

    assert metrics.registry.get_sample_value("relay_upstream_in_flight") == 7


def test_buckets_reach_as_far_as_callers_and_calls_wait(metrics: Metrics) -> None:
    metrics.upstream.count_call(Route.DND, "unknown", 20.1)
    page = metrics.render("")[0].decode()

    assert 'relay_upstream_request_duration_seconds_bucket{endpoint="dnd",le="20.0"} 0.0' in page
    assert 'relay_upstream_request_duration_seconds_bucket{endpoint="dnd",le="25.0"} 1.0' in page
    assert 'relay_http_request_duration_seconds_bucket{le="30.0",route="/v1/notifications"} 0.0' in page


def test_one_bad_reload_is_seen_until_that_same_thing_is_good_again(metrics: Metrics) -> None:
    def shown() -> float | None:
        return metrics.registry.get_sample_value("relay_config_reload_success")

    metrics.process.show_reload("words", good=False)
    metrics.process.show_reload("settings", good=True)
    assert shown() == 0

    metrics.process.show_reload("words", good=True)
    assert shown() == 1


def test_duplicates_are_of_no_status_because_the_person_is_counted_once(metrics: Metrics) -> None:
    assert Code.DUPLICATE_RECIPIENT.value not in metrics.render("")[0].decode()
