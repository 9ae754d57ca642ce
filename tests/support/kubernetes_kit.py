"""What the checks of the Kubernetes kit share: where its parts are, the tools they need, how to read them."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
OVERLAYS = (K8S / "overlays/single", K8S / "overlays/replicated")
COMPONENTS = tuple(sorted(path.parent for path in K8S.glob("components/*/kustomization.yaml")))
RULES = K8S / "monitoring/relay.rules.yaml"
RULE_TESTS = K8S / "monitoring/relay.rules.test.yaml"
LONG_RULE_TESTS = K8S / "monitoring/relay.rules.long.test.yaml"
PROMETHEUS_RULE = K8S / "components/prometheus-rule/prometheus-rule.yaml"
DASHBOARD = K8S / "components/grafana-dashboard/relay.json"
RUNBOOK = K8S / "runbook.md"

PACKAGES = {
    "kubectl": "the Kubernetes client",
    "promtool": "Debian's package prometheus",
    "amtool": "prometheus-alertmanager",
}
"""Tools that no wheel brings, and where they come from."""

Resource = dict[str, Any]


def run(*command: str | Path, given: str | None = None) -> str:
    """Run a tool and give what it printed; the test fails, with that, where the tool does."""
    result = subprocess.run([str(part) for part in command], input=given, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, f"{command[0]} ended with {result.returncode}:\n{result.stdout}{result.stderr}"
    return result.stdout + result.stderr


def find_tool(name: str) -> str:
    """Find a tool that no wheel brings; the test is skipped, and says what to install, where it is absent."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed ({PACKAGES[name]})")
    return found


def find_script(name: str) -> str:
    """Find a command that the virtual environment brings."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (the extra `ops`)")
    return found


def build(folder: Path) -> list[Resource]:
    """Build a kustomization, with the restriction that its files stay within their own folders."""
    return parse_manifests(run(find_tool("kubectl"), "kustomize", folder))


def parse_manifests(text: str) -> list[Resource]:
    """Read all documents of a YAML stream."""
    return [document for document in yaml.safe_load_all(text) if document]


def pick(resources: Sequence[Resource], kind: str, name: str = "relay") -> Resource:
    """The one resource of this kind and name."""
    found = [each for each in resources if each["kind"] == kind and each["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} of {kind}/{name}"
    return found[0]


def pod_specs(resources: Sequence[Resource]) -> list[Resource]:
    """The pod specifications of Deployments and Jobs."""
    return [each["spec"]["template"]["spec"] for each in resources if each["kind"] in {"Deployment", "Job"}]


def read_rules() -> list[Resource]:
    """All rules of the file that is kept once, in order."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def read_alerts() -> list[Resource]:
    """The rules that alert."""
    return [rule for rule in read_rules() if "alert" in rule]


def read_panels() -> list[Resource]:
    """The panels of the dashboard, rows among them."""
    panels: list[Resource] = json.loads(DASHBOARD.read_text())["panels"]
    return panels


def read_dashboard_expressions() -> list[str]:
    """Every query of the dashboard: panels, variables, annotations."""
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in read_panels() for target in panel.get("targets", [])]
    queries += [each["expr"] for each in dashboard["annotations"]["list"] if "expr" in each]
    variables = [each["definition"] for each in dashboard["templating"]["list"] if "definition" in each]
    return queries + [re.sub(r"label_values\((.*), *(\w+)\)", r"count by (\2) (\1)", each) for each in variables]


_SELECTOR = re.compile(r"\b(relay[_:][a-z0-9_:]+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


def find_selectors(expression: str) -> Iterator[tuple[str, dict[str, tuple[str, str]]]]:
    """Give each metric that an expression names, with its matchers: label to operator and value."""
    for name, inside in _SELECTOR.findall(expression):
        yield name, {label: (operator, value) for label, operator, value in _MATCHER.findall(inside)}


def find_grouping_labels(expression: str) -> set[str]:
    """Every label that an expression groups or matches by."""
    return {label.strip() for inside in _GROUPING.findall(expression) for label in inside.split(",") if label.strip()}
