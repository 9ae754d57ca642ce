"""Who used how much, through a real relay: what the sandbox received is what the usage says."""

import csv
import io
import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx

from support.commands import run_command
from support.relay import PASSWORD, USERNAME, make_client, running_relay
from support.sandbox import running_sandbox
from support.waiting import PATIENCE_SECONDS, wait_until
from tools.usage_sum import run

PRICES = "[smsclone]\nunits_per_segment = 0.5\nunits_per_segment_dnd = 2\n"
LONG = "x" * 200


def test_the_usage_of_many_messages_is_what_the_upstreams_took(tmp_path: Path) -> None:
    told = run(tmp_path, int(os.environ.get("RELAY_TEST_CALLS", "480")))

    assert told.differences == []
    assert told.kinds == {
        (route, account, outcome)
        for route in ("normal", "dnd-fallback")
        for account in ("smsclone", "backup")
        for outcome in ("sent", "rejected", "unknown")
    }


def test_a_months_budget_is_reserved_at_the_dearest_account_and_counted_at_the_one_that_took_it(tmp_path: Path) -> None:
    backup = 'username = "u"\npassword = "p"\nbase_url = "http://127.0.0.1:9"\nunits_per_segment = 2\n'
    accounts = f'[[accounts]]\nname = "backup"\n{backup}[sending]\naccounts = ["smsclone", "backup"]\n'
    shop = make_client("shop", units_per_month="5")
    body = {"recipients": ["08031234567", "08031234568"], "message": "hello"}
    with (
        running_sandbox(username=USERNAME, password=PASSWORD) as sandbox,
        running_relay(
            tmp_path, shop, upstream=sandbox.base_url, toml="[smsclone]\nunits_per_segment = 0.5\n" + accounts
        ) as relay,
        httpx.Client(base_url=relay.base_url, headers=shop.headers, trust_env=False, timeout=PATIENCE_SECONDS) as http,
    ):
        wait_for_metrics(http, "relay_upstream_balance_units")  # drift is counted from this reading on
        preview = http.post("/v1/notifications/preview", json=body).json()
        answers = [http.post("/v1/notifications", json=body) for _ in range(3)]
        relay.stop()
        relay.start()
        shown = wait_for_metrics(http, "relay_budget_used_ratio", "relay_balance_drift_units")

    assert (preview["estimated_units"], preview["account"]) == ("1", "smsclone")
    assert [answer.status_code for answer in answers] == [200, 200, 429], answers[0].text
    refused = answers[2]
    assert (refused.json()["code"], refused.json()["retry_safe"]) == ("budget_exceeded", True)
    assert refused.headers["ratelimit"].startswith('"units-per-month";r=3;t=')
    assert shown["relay_budget_used_ratio"] == {'client="shop"': 0.4}
    assert shown["relay_balance_drift_units"] == {'account="smsclone"': 2.0}, "the stand-in takes 1 a segment"


def wait_for_metrics(http: httpx.Client, *names: str) -> dict[str, dict[str, float]]:
    """What gauges show as soon as all of them show something: by their labels, but for what is 0."""

    def look() -> dict[str, dict[str, float]]:
        shown: dict[str, dict[str, float]] = {name: {} for name in names}
        for line in http.get("/metrics").text.splitlines():
            name, _, labels = line.rpartition(" ")[0].partition("{")
            if name in shown and float(line.rpartition(" ")[2]):
                shown[name][labels.rstrip("}")] = float(line.rpartition(" ")[2])
        return shown if all(shown.values()) else {}

    return wait_until(look)


def test_usage_adds_up_to_what_was_sent(tmp_path: Path) -> None:
    shop = make_client("shop", default_billing_code='"web"', permissions='["send", "usage"]')
    desk = make_client("desk", permissions='["send", "operate"]')
    with (
        running_sandbox(username=USERNAME, password=PASSWORD) as sandbox,
        running_relay(tmp_path, shop, desk, upstream=sandbox.base_url, toml=PRICES) as relay,
        httpx.Client(base_url=relay.base_url, trust_env=False, timeout=PATIENCE_SECONDS) as http,
    ):
        people = ["08031234567", "08031234568"]
        for client, fields in (
            (shop, {"recipients": people, "message": LONG}),
            (shop, {"recipients": people[:1], "message": "hello", "billing_code": "app", "route": "normal"}),
            (desk, {"recipients": people[:1], "message": "hello"}),
        ):
            answer = http.post("/v1/notifications", json=fields, headers=client.headers)
            assert answer.json()["status"] == "sent", answer.text
        today = datetime.now(ZoneInfo("Africa/Lagos")).date()
        days = {"from": str(today - timedelta(days=1)), "to": str(today + timedelta(days=1))}

        own = http.get("/v1/usage", params=days | {"by": "billing_code"}, headers=shop.headers).json()["rows"]
        everybody = http.get("/v1/usage", params=days | {"by": "client"}, headers=desk.headers)
        table = http.get("/v1/usage", params=days | {"by": "client"}, headers=desk.headers | {"Accept": "text/csv"})
        connection = {"RELAY_CLIENT_URL": relay.base_url, "RELAY_CLIENT_KEY": desk.key}
        shown = run_command("usage", "--by", "client", "--json", environment=connection)
        received = sum(len(send.recipients) for send in sandbox.sends())

    assert own == [
        {"billing_code": "app", "messages": 1, "recipients": 1, "segments": 1, "units": "0.5"},
        {"billing_code": "web", "messages": 1, "recipients": 2, "segments": 4, "units": "8"},
    ]
    rows = everybody.json()["rows"]
    assert [(row["client"], row["units"]) for row in rows] == [("desk", "2"), ("shop", "8.5")]
    assert [row["client"] for row in csv.DictReader(io.StringIO(table.text))] == ["desk", "shop"]
    assert json.loads(shown.stdout)["rows"] == rows
    assert sum(row["recipients"] for row in rows) == received
