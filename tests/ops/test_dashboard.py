"""The dashboard: a file that Grafana can load, whose queries Prometheus can run."""

import itertools
import json
import re
from pathlib import Path

import yaml

from relay.http.console import read_file
from support.kubernetes_kit import (
    DASHBOARD,
    Resource,
    find_tool,
    read_alerts,
    read_dashboard_expressions,
    read_panels,
    run,
)

WIDTH = 24
TITLES = ["Now", "Requests", "Outcomes", "Service levels", "Upstream", "Balance", "Prefilter"]
TITLES += ["Queue, webhooks, callbacks", "Unknown outcomes", "Clients"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def test_the_data_source_is_asked_for_and_never_fixed() -> None:
    variables = {each["name"]: each for each in json.loads(DASHBOARD.read_text())["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert set(variables) == {"datasource", "namespace", "job", "client", "console", "runbook"}
    for panel in read_panels():
        if panel["type"] != "row":
            assert panel["datasource"] == SOURCE
            assert all(target["datasource"] == SOURCE for target in panel["targets"])


def test_it_has_the_parts_that_an_operator_asks_for() -> None:
    rows = [panel["title"] for panel in read_panels() if panel["type"] == "row"]
    assert rows == TITLES


def test_it_leads_to_the_console_and_to_the_runbook_at_places_that_are_there() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    links = [link["url"] for link in dashboard["links"]]
    links += [link["url"] for panel in read_panels() for link in panel.get("links", [])]
    assert {"${console}", "${console}#unknown", "${runbook}", "${runbook}#relayunknownopen"} <= set(links)
    known = {f"${{runbook}}#{alert['alert'].lower()}" for alert in read_alerts()}
    known |= {f"${{console}}#{view}" for view in re.findall(r'data-view="(\w+)"', read_file("/console").decode())}
    assert {link for link in links if "#" in link} <= known


def test_every_panel_says_what_it_shows() -> None:
    panels = read_panels()
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"]


def test_no_panel_covers_another_or_leaves_the_page() -> None:
    for panel in read_panels():
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= WIDTH
    for one, other in itertools.combinations(read_panels(), 2):
        assert not _overlap(one["gridPos"], other["gridPos"]), f"{one['title']} and {other['title']}"


def _overlap(one: Resource, other: Resource) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or above)


def test_every_query_keeps_to_the_chosen_namespace_and_job() -> None:
    for panel in read_panels():
        for target in panel.get("targets", []):
            assert 'namespace=~"$namespace",job=~"$job"' in target["expr"], panel["title"]


def test_prometheus_can_run_every_query(tmp_path: Path) -> None:
    queries = [each.replace("$__rate_interval", "5m") for each in read_dashboard_expressions()]
    rules = [{"record": f"dashboard:query:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "dashboard.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(queries)} rules found" in run(find_tool("promtool"), "check", "rules", path)
