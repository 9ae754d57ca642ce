"""The real Prometheus and the real Alertmanager page somebody through the relay: once, whatever fails in between."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.prometheus import find_binary, running_alertmanager, running_prometheus
from support.relay import ClientKey, RelayProcess, free_port, make_client, make_relay
from support.sandbox import running_sandbox
from support.waiting import wait_until

pytestmark = pytest.mark.slow

NUMBER = "2348031234567"
RECEIVER = f"""
[breaker]
failures = 2
open_seconds = 1

[[receivers]]
name = "oncall"
client = "monitoring"
recipients = ["{NUMBER}"]
"""


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    find_binary("prometheus-alertmanager", "alertmanager")
    find_binary("prometheus")


@pytest.fixture
def monitoring() -> ClientKey:
    return make_client("monitoring", message_types='["alert"]', permissions='["send", "read"]', routes='["auto"]')


@pytest.fixture
def sandbox_port() -> int:
    return free_port()


@pytest.fixture
def relay(tmp_path: Path, monitoring: ClientKey, sandbox_port: int) -> Iterator[RelayProcess]:
    made = make_relay(tmp_path / "relay", monitoring, upstream=f"http://127.0.0.1:{sandbox_port}", toml=RECEIVER)
    try:
        yield made
    finally:
        if hasattr(made, "process"):
            made.stop()


def make_sandbox(port: int) -> running_sandbox:
    """A stand-in that takes the account of the relay under test."""
    return running_sandbox(port=port, username="demo", password="canary-password-7Q")


def webhook_url(relay: RelayProcess) -> str:
    """Where Alertmanager posts to."""
    return f"{relay.base_url}/v1/webhooks/alertmanager/oncall"


def metric(relay: RelayProcess, series: str) -> float:
    """The value of one series."""
    page = httpx.get(f"{relay.base_url}/metrics", trust_env=False, timeout=60).text
    values = [line.rpartition(" ")[2] for line in page.splitlines() if line.startswith(series + " ")]
    return float(values[0]) if values else 0.0


def webhooks_told(relay: RelayProcess) -> float:
    """How many webhooks were accepted, duplicates among them."""
    firing = metric(relay, 'relay_webhook_alerts_total{kind="alertmanager",status="firing"}')
    return firing + metric(relay, 'relay_webhook_duplicates_total{kind="alertmanager"}')


def test_a_firing_rule_arrives_as_one_sms(
    tmp_path: Path, relay: RelayProcess, monitoring: ClientKey, sandbox_port: int
) -> None:
    with make_sandbox(sandbox_port) as sandbox:
        relay.start()
        with (
            running_alertmanager(tmp_path / "am", webhook_url(relay), monitoring.key) as alertmanager,
            running_prometheus(tmp_path / "prom", [alertmanager]),
        ):
            [page] = wait_until(sandbox.sends, relay.log)

            assert page.message.startswith("FIRING 1 (")
            assert page.message.endswith("HighLatency critical/api: p99 is over 1 s")
            assert sandbox.count() == {NUMBER: 1}


def test_two_alertmanagers_of_a_cluster_give_one_sms(
    tmp_path: Path, relay: RelayProcess, monitoring: ClientKey, sandbox_port: int
) -> None:
    one, other = free_port(), free_port()
    with make_sandbox(sandbox_port) as sandbox:
        relay.start()
        url, key = webhook_url(relay), monitoring.key
        with (
            running_alertmanager(tmp_path / "am1", url, key, cluster_port=one, peer_port=other) as first,
            running_alertmanager(tmp_path / "am2", url, key, cluster_port=other, peer_port=one) as second,
            running_prometheus(tmp_path / "prom", [first, second]),
        ):
            wait_until(lambda: webhooks_told(relay) > 0 and len(sandbox.sends()) > 0, relay.log)
            time.sleep(5)  # more than both need for a second page, if there were one
            assert sandbox.count() == {NUMBER: 1}


def test_two_alertmanagers_that_do_not_know_each_other_give_one_sms(
    tmp_path: Path, relay: RelayProcess, monitoring: ClientKey, sandbox_port: int
) -> None:
    with make_sandbox(sandbox_port) as sandbox:
        relay.start()
        url, key = webhook_url(relay), monitoring.key
        with (
            running_alertmanager(tmp_path / "am1", url, key) as first,
            running_alertmanager(tmp_path / "am2", url, key) as second,
            running_prometheus(tmp_path / "prom", [first, second]),
        ):
            wait_until(lambda: webhooks_told(relay) >= 2, relay.log)
            wait_until(lambda: len(sandbox.sends()) > 0, relay.log)

            # More than one duplicate where an answer came so late that it was asked for again.
            assert metric(relay, 'relay_webhook_duplicates_total{kind="alertmanager"}') >= 1
            assert metric(relay, 'relay_webhook_alerts_total{kind="alertmanager",status="firing"}') == 1
            assert sandbox.count() == {NUMBER: 1}


def test_while_the_upstream_is_down_the_page_waits_and_arrives_once(
    tmp_path: Path, relay: RelayProcess, monitoring: ClientKey, sandbox_port: int
) -> None:
    relay.start()
    with (
        running_alertmanager(tmp_path / "am", webhook_url(relay), monitoring.key) as alertmanager,
        running_prometheus(tmp_path / "prom", [alertmanager]),
    ):
        wait_until(lambda: webhooks_told(relay) >= 1, relay.log)
        wait_until(lambda: "upstream_unreachable" in relay.log() or '"cause":"refused"' in relay.log(), relay.log)
        with make_sandbox(sandbox_port) as sandbox:
            wait_until(lambda: len(sandbox.sends()) > 0, relay.log)
            time.sleep(5)  # more than a repetition would need
            assert sandbox.count() == {NUMBER: 1}


def test_while_the_relay_is_down_alertmanager_tries_again_and_the_page_arrives_once(
    tmp_path: Path, relay: RelayProcess, monitoring: ClientKey, sandbox_port: int
) -> None:
    with (
        make_sandbox(sandbox_port) as sandbox,
        running_alertmanager(tmp_path / "am", webhook_url(relay), monitoring.key) as alertmanager,
        running_prometheus(tmp_path / "prom", [alertmanager]),
    ):
        wait_until(lambda: "refused" in alertmanager.output.read_text(), relay.log)
        relay.start()
        wait_until(lambda: len(sandbox.sends()) > 0, relay.log)
        time.sleep(5)  # more than a repetition would need
        assert sandbox.count() == {NUMBER: 1}
