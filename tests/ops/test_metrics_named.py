"""Rules and dashboard ask for metrics, labels and values that the relay really has."""

import re
from collections.abc import Iterator

import pytest
from prometheus_client.samples import Sample

from relay.app.routes import route_labels
from relay.observability.metric_table import CATEGORIES, CLIENTS, TABLE
from relay.observability.metrics import Metrics
from support.kubernetes_kit import (
    find_grouping_labels,
    find_selectors,
    find_tool,
    read_dashboard_expressions,
    read_rules,
    run,
)

METRICS: dict[str, set[str]] = {metric.name: set(metric.labels) for metric in TABLE} | {"relay_build_info": {"version"}}
"""The metrics that the relay promises, and their labels (``test_metrics.py`` holds the table to the contract)."""

TARGET_LABELS = {"namespace", "job", "instance", "pod"}
"""What the scraper adds."""

EXPRESSIONS = [rule["expr"] for rule in read_rules()] + read_dashboard_expressions()
RECORDED = {rule["record"]: rule["expr"] for rule in read_rules() if "record" in rule}
GIVEN = {rule["record"]: set(rule.get("labels", {})) for rule in read_rules() if "record" in rule}
"""The labels that a rule itself puts on what it records."""


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    """What a relay with two clients and one category of words shows before anything happened."""
    metrics = Metrics(version="0.1.0", system=False)
    metrics.follow_routes(route_labels())
    metrics.follow(CLIENTS, ["billing", "sandbox-shop"])
    metrics.follow(CATEGORIES, ["prize"])
    return metrics


def read_samples(metrics: Metrics) -> Iterator[Sample]:
    """Every series."""
    for family in metrics.registry.collect():
        yield from family.samples


def labels_of(name: str) -> set[str]:
    """The labels that a metric of the relay, or a recorded series, can have."""
    if name in RECORDED:
        return (find_grouping_labels(RECORDED[name]) or {"namespace", "job"}) | GIVEN[name]
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
    assert unused == set(), "show it in a panel of k8s/components/grafana-dashboard/relay.json, or use it in a rule"


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
    metrics.add("relay_http_requests_total", "/v1/notifications", "POST", "200")
    page, _ = metrics.render("text/plain")
    assert run(find_tool("promtool"), "check", "metrics", given=page.decode()).strip() == ""
