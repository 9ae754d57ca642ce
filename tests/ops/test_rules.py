"""The alert rules: sound, tested in both directions, and each with something to do about it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from support.kubernetes_kit import (
    K8S,
    LONG_RULE_TESTS,
    PROMETHEUS_RULE,
    ROOT,
    RULE_TESTS,
    RULES,
    RUNBOOK,
    find_tool,
    read_alerts,
    run,
)

SEVERITIES = {"warning", "critical"}
ASKED_FOR = {
    "RelayUnknownOutcomes",
    "RelayUnknownOpen",
    "RelayErrorBudgetBurn",
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
RUNBOOK_BASE = "https://runbooks.example.com/relay"
OWN_BASE = "https://git.example.com/platform/relay/blob/main/k8s/runbook.md"
"""What k8s/README.md puts in the place of ``RUNBOOK_BASE``."""
RUNBOOK_PARTS = ("For the people waiting", "Look at", "Do")


def test_promtool_takes_the_rules() -> None:
    assert "SUCCESS" in run(find_tool("promtool"), "check", "rules", RULES)


@pytest.mark.slow
def test_every_alert_fires_and_keeps_still_where_it_should() -> None:
    assert "FAILED" not in run(find_tool("promtool"), "test", "rules", RULE_TESTS, LONG_RULE_TESTS)


def test_every_alert_and_severity_is_tested_firing_and_not_firing() -> None:
    fired, silent = _read_expectations()
    expected = {(alert["alert"], alert["labels"]["severity"]) for alert in read_alerts()}
    assert expected <= fired
    assert {name for name, _ in expected} <= silent


def _read_expectations() -> tuple[set[tuple[str, str]], set[str]]:
    """Which alert is expected to fire in which severity, and which is expected to keep still, anywhere in the tests."""
    fired: set[tuple[str, str]] = set()
    silent: set[str] = set()
    for case in (case for file in (RULE_TESTS, LONG_RULE_TESTS) for case in yaml.safe_load(file.read_text())["tests"]):
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
        assert annotations["runbook_url"] == f"{RUNBOOK_BASE}#{alert['alert'].lower()}"


def test_one_command_points_every_alert_to_a_runbook_of_ones_own(tmp_path: Path) -> None:
    [command] = [block for block in _read_blocks("sh") if "relay.rules.yaml > " in block]
    shutil.copytree(RULES.parent, tmp_path / "k8s/monitoring")
    subprocess.run(["bash", "-euc", command], cwd=tmp_path, check=True)
    rules = yaml.safe_load((tmp_path / "relay.rules.yaml").read_text())
    urls = {
        rule["annotations"]["runbook_url"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule
    }
    assert urls == {f"{OWN_BASE}#{alert['alert'].lower()}" for alert in read_alerts()}


def test_what_is_wrong_with_the_relay_does_not_travel_by_the_relay_alone(tmp_path: Path) -> None:
    [config] = [block for block in _read_blocks("yaml") if block.startswith("# alertmanager.yml")]
    path = tmp_path / "alertmanager.yml"
    path.write_text(config)
    amtool = find_tool("amtool")
    assert "SUCCESS" in run(amtool, "check-config", path)
    test = (amtool, "config", "routes", "test", f"--config.file={path}")
    for alert in read_alerts():
        labels = [f"{name}={value}" for name, value in alert["labels"].items() if name != "job"]
        run(*test, "--verify.receivers=without-the-relay", "job=relay", *labels)
    run(*test, "--verify.receivers=sms", "job=orders", "severity=critical")


def _read_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (K8S / "README.md").read_text(), re.MULTILINE | re.DOTALL)


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
