"""Rules and dashboard ask for metrics, labels and values that the relay really has."""

import re
from collections.abc import Iterator

import pytest
from prometheus_client.samples import Sample

from kubernetes_kit import (
    find_grouping_labels,
    find_selectors,
    find_tool,
    read_dashboard_expressions,
    read_rules,
    run,
)
from relay.observability.metrics import Metrics

METRICS: dict[str, set[str]] = {
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
"""The metrics that the relay promises, and their labels."""

TARGET_LABELS = {"namespace", "job", "instance", "pod"}
"""What the scraper adds."""

EXPRESSIONS = [rule["expr"] for rule in read_rules()] + read_dashboard_expressions()
RECORDED = {rule["record"]: rule["expr"] for rule in read_rules() if "record" in rule}


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    """What a relay with two clients and one category of words shows before anything happened."""
    metrics = Metrics(version="0.1.0", system=False)
    metrics.clients.follow(["billing", "sandbox-shop"])
    metrics.sending.follow_categories(["prize"])
    return metrics


def read_samples(metrics: Metrics) -> Iterator[Sample]:
    """Every series."""
    for family in metrics.registry.collect():
        yield from family.samples


def labels_of(name: str) -> set[str]:
    """The labels that a metric of the relay, or a recorded series, can have."""
    if name in RECORDED:
        return find_grouping_labels(RECORDED[name]) or {"namespace", "job"}
    for suffix in ("_bucket", "_sum", "_count"):
        base = name.removesuffix(suffix)
        if base != name and base in METRICS:
            return METRICS[base] | TARGET_LABELS | ({"le"} if suffix == "_bucket" else set())
    return METRICS[name] | TARGET_LABELS


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_and_label_that_is_asked_for_exists(expression: str) -> None:
    named = list(find_selectors(expression))
    assert named or "up{" in expression
    for name, matchers in named:
        assert set(matchers) <= labels_of(name), name
    reachable = set().union(*(labels_of(name) for name, _ in named), TARGET_LABELS)
    assert find_grouping_labels(expression) <= reachable


def test_every_recorded_series_is_used() -> None:
    named = {name for expression in EXPRESSIONS for name, _ in find_selectors(expression)}
    assert set(RECORDED) <= named


def test_rules_or_dashboard_use_every_metric_that_the_relay_promises() -> None:
    named = {name for expression in EXPRESSIONS for name, _ in find_selectors(expression)}
    unused = {name for name in METRICS if not {name, f"{name}_bucket"} & named}
    assert unused == set()


def test_the_relay_shows_exactly_the_metrics_and_labels_that_it_promises(metrics: Metrics) -> None:
    shown: dict[str, set[str]] = {}
    for sample in read_samples(metrics):
        name = re.sub(r"_(bucket|sum|count)$", "", sample.name)
        shown.setdefault(name, set()).update(set(sample.labels) - {"le"})
    assert shown == METRICS


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_value_that_is_asked_for_can_occur(expression: str, metrics: Metrics) -> None:
    samples = list(read_samples(metrics))
    for name, matchers in find_selectors(expression):
        for label, (operator, wanted) in matchers.items():
            values = {sample.labels[label] for sample in samples if sample.name == name and label in sample.labels}
            if values and "$" not in wanted:
                alternatives = wanted.split("|") if "~" in operator else [re.escape(wanted)]
                for alternative in alternatives:
                    assert any(re.fullmatch(alternative, value) for value in values), f"{name}, {label}: {alternative}"


def test_no_series_is_asked_for_whose_labels_exclude_each_other(metrics: Metrics) -> None:
    samples = list(read_samples(metrics))
    for expression in EXPRESSIONS:
        for name, matchers in find_selectors(expression):
            found = [sample for sample in samples if sample.name == name]
            if found:
                assert any(_fits(sample, matchers) for sample in found), f"{name} {matchers}"


def _fits(sample: Sample, matchers: dict[str, tuple[str, str]]) -> bool:
    """Whether a series would be found; labels that the scraper adds and variables of the dashboard fit anything."""
    for label, (operator, wanted) in matchers.items():
        value = sample.labels.get(label)
        if value is not None and "$" not in wanted:
            pattern = wanted if "~" in operator else re.escape(wanted)
            if (re.fullmatch(pattern, value) is None) is not operator.startswith("!"):
                return False
    return True


def test_promtool_finds_nothing_to_mend_in_the_page(metrics: Metrics) -> None:
    metrics.front.count_request("/v1/notifications", "POST", 200, 1.5)
    page, _ = metrics.render("text/plain")
    assert run(find_tool("promtool"), "check", "metrics", given=page.decode()).strip() == ""
