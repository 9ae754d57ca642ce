"""Two relays under the real Prometheus with the shipped rules: scraped in full, and an empty account is an alert.

    RELAY_TEST_SCRAPE_SECONDS=60 python -m pytest tests/ops/test_scraped.py

holds it for a minute. The rules are the shipped ones, only faster: seconds in place of minutes.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from support.kubernetes_kit import RULES, find_tool, run
from support.prometheus import Daemon, running_scraper
from support.relay import PASSWORD, USERNAME, ClientKey, RelayProcess, make_client, running_relay
from support.sandbox import running_sandbox
from support.waiting import wait_until

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("RELAY_TEST_SCRAPE_SECONDS", "0"))


@dataclass
class Scraped:
    """Two relays, their client, and the Prometheus that scrapes them."""

    relays: list[RelayProcess]
    client: ClientKey
    prometheus: Daemon

    def ask(self, path: str, **query: str) -> Any:
        """Ask Prometheus's API."""
        reply = httpx.get(f"{self.prometheus.base_url}/api/v1/{path}", params=query, trust_env=False, timeout=60)
        return reply.json()["data"]

    def alerts(self) -> set[tuple[str, str]]:
        """What fires now: name and severity."""
        firing = [alert for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"]
        return {(alert["labels"]["alertname"], alert["labels"]["severity"]) for alert in firing}

    def targets(self) -> list[tuple[str, str]]:
        """How the last scrape of each relay went, and what it stumbled over."""
        return [(each["health"], each["lastError"]) for each in self.ask("targets")["activeTargets"]]

    def rules(self) -> list[tuple[str, str]]:
        """Each rule, and how its last evaluation went: ``unknown`` before the first one."""
        rules = [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]
        return [(rule["name"], rule.get("lastError") or rule["health"]) for rule in rules]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    find_tool("promtool")
    with ExitStack() as running:
        sandbox = running.enter_context(running_sandbox(username=USERNAME, password=PASSWORD))
        sandbox.set_units("0")
        client = make_client()
        relays = [
            running.enter_context(running_relay(tmp_path_factory.mktemp("relay"), client, upstream=sandbox.base_url))
            for _ in range(2)
        ]
        rules = re.sub(r"\b(for|interval): [0-9]+[ms]\b", r"\1: 2s", RULES.read_text())
        ports = [relay.port for relay in relays]
        directory = tmp_path_factory.mktemp("prometheus")
        prometheus = running.enter_context(running_scraper(directory / "data", ports, rules))
        yield Scraped(relays, client, prometheus)


def test_an_account_without_units_is_an_alert(scraped: Scraped) -> None:
    for relay in scraped.relays:
        refused = httpx.post(
            f"{relay.base_url}/v1/notifications",
            json={"recipients": ["2348012345678"], "message": "Your order is on its way."},
            headers=scraped.client.headers,
            trust_env=False,
            timeout=60,
        )
        assert (refused.status_code, refused.json()["code"]) == (503, "upstream_no_balance")

    wait_until(lambda: ("RelayBalanceLow", "critical") in scraped.alerts())


def test_both_relays_are_scraped_and_every_rule_can_be_evaluated(scraped: Scraped) -> None:
    begun = time.monotonic()
    while True:
        wait_until(lambda: scraped.targets() == [("up", "")] * 2, scraped.targets)
        wait_until(lambda: "unknown" not in dict(scraped.rules()).values(), scraped.rules)
        assert [rule for rule in scraped.rules() if rule[1] != "ok"] == []
        if time.monotonic() - begun >= SECONDS:
            break
        time.sleep(1)
    wait_until(lambda: "RelayInstanceDown" not in {name for name, _ in scraped.alerts()})


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_promtool_finds_nothing_to_mend_in_the_metrics_of_a_relay_that_works(scraped: Scraped, accept: str) -> None:
    page = httpx.get(f"{scraped.relays[0].base_url}/metrics", headers={"Accept": accept}, trust_env=False, timeout=60)

    assert page.headers["content-type"].startswith(accept.partition(";")[0])
    if accept == "text/plain":
        assert run(find_tool("promtool"), "check", "metrics", given=page.text).strip() == ""
