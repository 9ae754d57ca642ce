"""A flapping upstream: sends hang while the balance answers, and requests come on as if nothing were.

    RELAY_TEST_FLAPPING_SECONDS=180 python -m pytest tests/faults/test_flapping.py -s

is the true one, and `make faults` runs it: a request a second for three minutes, with the settings and the rules as
they are shipped. Without the variable all is shorter: fifteen seconds, a deadline of three, seconds for minutes.
"""

import os
import re
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from support.fault_server import FaultServer, Peer, http_answer
from support.kubernetes_kit import RULES
from support.prometheus import Daemon, running_scraper
from support.relay import ClientKey, make_client, running_relay
from support.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.slow

LONG = "RELAY_TEST_FLAPPING_SECONDS" in os.environ
SECONDS = float(os.environ.get("RELAY_TEST_FLAPPING_SECONDS", "15"))
MOST_UNKNOWN = 12
QUICK = "[smsclone]\ntimeout_seconds = 3\n[breaker]\nopen_seconds = 1\n"
ALERTS = {("RelayUnknownOutcomes", "warning"), ("RelayBreakerOpen", "critical")}
"""What must fire: at once, and once it has been open for three minutes."""


def flap(peer: Peer) -> None:
    """The balance is told; a send is taken and never answered."""
    while b"/balance" in peer.receive().split(b"\r\n", 1)[0]:
        peer.send(http_answer("256.21"))
    peer.hang()


@dataclass
class Told:
    """What callers were told, and which alerts fired meanwhile."""

    answers: Counter[tuple[int, str]] = field(default_factory=Counter)
    firing: dict[tuple[str, str], float] = field(default_factory=dict)

    def look(self, prometheus: Daemon, begun: float) -> bool:
        """Ask what fires now; whether each that is asked for did."""
        page = httpx.get(f"{prometheus.base_url}/api/v1/alerts", trust_env=False, timeout=60).json()
        for alert in page["data"]["alerts"]:
            if alert["state"] == "firing":
                name = (alert["labels"]["alertname"], alert["labels"]["severity"])
                self.firing.setdefault(name, round(time.monotonic() - begun, 1))
        return self.firing.keys() >= ALERTS


def test_27_a_flapping_upstream_makes_few_unknown_the_rest_is_refused_before_the_dial_and_alerts_fire(
    tmp_path: Path,
) -> None:
    client = make_client()
    rules = RULES.read_text()
    if not LONG:
        rules = re.sub(r"\b(for|interval): [0-9]+[ms]\b", r"\1: 2s", rules)
    with (
        FaultServer(flap) as upstream,
        running_relay(tmp_path, client, upstream=upstream.base_url, toml="" if LONG else QUICK) as relay,
        running_scraper(tmp_path / "prometheus", [relay.port], rules) as prometheus,
        httpx.Client(base_url=relay.base_url, trust_env=False, timeout=120) as http,
        ThreadPoolExecutor(64) as pool,
    ):
        begun, told = time.monotonic(), Told()
        asked: list[Future[tuple[int, str]]] = []
        is_told = False
        # Short as it is open here, the alert may not see it before the requests end: so they go on until it does.
        while len(asked) < SECONDS or not (LONG or is_told or len(asked) > PATIENCE_SECONDS):
            asked.append(pool.submit(send, http, client, len(asked)))
            is_told = told.look(prometheus, begun)
            time.sleep(max(begun + len(asked) - time.monotonic(), 0))  # a request a second, whatever became of the last
        told.answers.update(future.result() for future in asked)
        wait_until(lambda: told.look(prometheus, begun), lambda: f"only {told.firing} fired")
        sends = [head for head in upstream.ledger if b"/balance" not in head.split(b"\r\n", 1)[0]]
    print(f"{SECONDS:.0f} s: {dict(told.answers)}, {len(sends)} sends arrived, alerts after s: {told.firing}")

    unknown = told.answers[200, "unknown"]
    refused = told.answers[503, "upstream_unreachable"]
    assert told.answers.total() == unknown + refused
    most = MOST_UNKNOWN if LONG else max(MOST_UNKNOWN, len(asked) // 2)
    assert unknown == len(sends) <= most, "whoever was refused was refused before the dial"
    assert unknown >= 1


def send(http: httpx.Client, client: ClientKey, place: int) -> tuple[int, str]:
    """Ask for one send; the status, and the notification's or the problem's."""
    body = {"recipients": [f"234801{place:07}"], "message": "Your order is on its way.", "message_type": "otp"}
    reply = http.post("/v1/notifications", json=body, headers=client.headers)
    return reply.status_code, reply.json()["status" if reply.status_code == 200 else "code"]
