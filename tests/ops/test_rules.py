"""The alert rules: sound, tested in both directions, and each with something to do about it."""

import re
from pathlib import Path

import pytest
import yaml

from kubernetes_kit import K8S, PROMETHEUS_RULE, ROOT, RULE_TESTS, RULES, RUNBOOK, find_tool, read_alerts, run

SEVERITIES = {"warning", "critical"}
ASKED_FOR = {
    "RelayUnknownOutcomes",
    "RelayCredentialsRefused",
    "RelayBalanceLow",
    "RelayBalanceStale",
    "RelayFailureRatioHigh",
    "RelayDndShareJump",
    "RelayPrefilterMissed",
    "RelayLatencyHigh",
    "RelayQueueOld",
    "RelayNothingSent",
    "RelayReloadFailed",
    "RelayInstanceDown",
    "RelayCallbackBacklog",
}
RUNBOOK_PARTS = ("For the people waiting", "Look at", "Do")


def test_promtool_takes_the_rules() -> None:
    assert "SUCCESS" in run(find_tool("promtool"), "check", "rules", RULES)


@pytest.mark.slow
def test_every_alert_fires_and_keeps_still_where_it_should() -> None:
    assert "SUCCESS" in run(find_tool("promtool"), "test", "rules", RULE_TESTS)


def test_every_alert_and_severity_is_tested_firing_and_not_firing() -> None:
    fired, silent = _read_expectations()
    expected = {(alert["alert"], alert["labels"]["severity"]) for alert in read_alerts()}
    assert expected <= fired
    assert {name for name, _ in expected} <= silent


def _read_expectations() -> tuple[set[tuple[str, str]], set[str]]:
    """Which alert is expected to fire in which severity, and which is expected to keep still, anywhere in the tests."""
    fired: set[tuple[str, str]] = set()
    silent: set[str] = set()
    for case in yaml.safe_load(RULE_TESTS.read_text())["tests"]:
        name = case["name"].split()[0]
        for check in case.get("alert_rule_test", []):
            assert check["alertname"] == name
            fired |= {(name, alert["exp_labels"]["severity"]) for alert in check["exp_alerts"]}
            silent |= set() if check["exp_alerts"] else {name}
        for check in case.get("promql_expr_test", []):
            if "ALERTS" in check["expr"]:
                assert f'alertname="{name}"' in check["expr"]
                severities = re.findall(r'severity="(\w+)"', str(check["exp_samples"]))
                fired |= {(name, severity) for severity in severities}
                silent |= set() if severities else {name}
    return fired, silent


def test_every_alert_that_was_asked_for_exists_and_none_has_two_rules_of_one_severity() -> None:
    named = [(alert["alert"], alert["labels"]["severity"]) for alert in read_alerts()]
    assert len(named) == len(set(named))
    assert {name for name, _ in named} >= ASKED_FOR
    assert {severity for _, severity in named} == SEVERITIES


def test_every_alert_says_what_it_is_and_where_to_read_on() -> None:
    for alert in read_alerts():
        annotations = alert["annotations"]
        assert set(annotations) == {"summary", "description", "runbook_url"}
        assert annotations["runbook_url"] == f"k8s/runbook.md#{alert['alert'].lower()}"
        assert (ROOT / annotations["runbook_url"].split("#")[0]).is_file()


def test_every_alert_has_a_runbook_entry_and_every_entry_an_alert() -> None:
    entries = re.findall(r"^### (Relay\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert len(entries) == len(set(entries))
    assert set(entries) == {alert["alert"] for alert in read_alerts()}


def test_every_runbook_entry_says_what_it_means_what_to_look_at_and_what_to_do() -> None:
    for entry in re.split(r"^### ", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]:
        body = re.split(r"^## ", entry, flags=re.MULTILINE)[0]
        for part in RUNBOOK_PARTS:
            assert f"**{part}.**" in body, f"{entry.splitlines()[0]} lacks: {part}"


def test_the_resource_for_the_operator_holds_the_same_rules() -> None:
    resource = yaml.safe_load(PROMETHEUS_RULE.read_text())
    assert resource["kind"] == "PrometheusRule"
    remedy = f"make {PROMETHEUS_RULE.relative_to(ROOT)}"
    assert resource["spec"] == yaml.safe_load(RULES.read_text()), remedy


def test_the_files_of_the_kit_link_only_to_what_is_there() -> None:
    for page in (K8S / "README.md", RUNBOOK):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
        for file, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
            assert anchor in _read_anchors(page.parent / file if file else page)


def _read_anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_unit_tests_would_notice_a_threshold_that_moved(tmp_path: Path) -> None:
    promtool = find_tool("promtool")
    suite = yaml.safe_load(RULE_TESTS.read_text())
    suite["tests"] = [case for case in suite["tests"] if case["name"].startswith("RelayFailureRatioHigh")]
    (tmp_path / RULE_TESTS.name).write_text(yaml.safe_dump(suite))
    (tmp_path / RULES.name).write_text(RULES.read_text().replace("ratio10m > 0.5", "ratio10m > 0.9"))
    with pytest.raises(AssertionError, match="RelayFailureRatioHigh"):
        run(promtool, "test", "rules", tmp_path / RULE_TESTS.name)
