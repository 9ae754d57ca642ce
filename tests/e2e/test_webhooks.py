"""Alerts in and callbacks out, through a relay in a process of its own, over real sockets."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from support.receiver import CallbackReceiver, answer, running_receiver
from support.relay import PASSWORD, USERNAME, ClientKey, RelayProcess, free_port, make_client, running_relay
from support.sandbox import running_sandbox
from support.waiting import PATIENCE_SECONDS, until, wait_until
from support.webhooks import alertmanager_alert, alertmanager_body, grafana_alert, grafana_body

pytestmark = pytest.mark.slow

GOOD = ["2348031234561", "2348031234562", "2348031234563", "2348031234564"]
BAD = "0803"
SECRET = "whsec_" + base64.b64encode(b"canary-callback-secret-01234567").decode()
TEXT = "Your order 1204 is on its way."


@pytest.fixture(scope="module")
def sandbox() -> Iterator[running_sandbox]:
    with running_sandbox(username=USERNAME, password=PASSWORD) as running:
        yield running


@pytest.fixture(scope="module")
def ports() -> list[int]:
    """Where callbacks may go: the second one is a host that the settings allow and the guard does not."""
    return [free_port(), free_port()]


@pytest.fixture(scope="module")
def monitoring() -> ClientKey:
    return make_client("monitoring", message_types='["alert"]')


@pytest.fixture(scope="module")
def limited() -> ClientKey:
    """A client whose day is full after one recipient."""
    return make_client("limited", recipients_per_day="1")


@pytest.fixture(scope="module")
def orders(ports: list[int]) -> ClientKey:
    hosts = f'["http://127.0.0.1:{ports[0]}", "http://127.0.0.2:{ports[1]}"]'
    return make_client("orders", callback_hosts=hosts, callback_secrets=f'["{SECRET}"]')


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory,
    sandbox: running_sandbox,
    monitoring: ClientKey,
    orders: ClientKey,
    limited: ClientKey,
) -> Iterator[RelayProcess]:
    numbers = json.dumps([*GOOD[:2], BAD, *GOOD[2:]])
    toml = f"""
[callbacks]
allowed_networks = ["127.0.0.1/32"]

[[receivers]]
name = "oncall"
client = "monitoring"
recipients = {numbers}

[[receivers]]
name = "night"
client = "limited"
recipients = ["{GOOD[0]}"]

[[receivers]]
name = "door"
client = "orders"
recipients = ["{GOOD[0]}"]
fields = {{ message = "event.title", deduplication_key = "event.id" }}
"""
    directory: Path = tmp_path_factory.mktemp("relay")
    with running_relay(directory, monitoring, orders, limited, upstream=sandbox.base_url, toml=toml) as running:
        yield running


@pytest.fixture(autouse=True)
def _empty_ledger(sandbox: running_sandbox) -> None:
    sandbox.clear()


@pytest.fixture
async def receiver(ports: list[int]) -> AsyncIterator[CallbackReceiver]:
    async with running_receiver(port=ports[0]) as running:
        yield running


def post(relay: RelayProcess, client: ClientKey, path: str, body: Any, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{relay.base_url}{path}", json=body, headers=client.headers | headers, timeout=60, trust_env=False
    )


def page(relay: RelayProcess, client: ClientKey, body: Any) -> httpx.Response:
    return post(relay, client, "/v1/webhooks/alertmanager/oncall", body)


def final(relay: RelayProcess, client: ClientKey, notification_id: str) -> Any:
    """A notification once it has ended."""
    url = f"{relay.base_url}/v1/notifications/{notification_id}"

    def look() -> Any:
        body = httpx.get(url, headers=client.headers, trust_env=False, timeout=60).json()
        return body if body["completed_at"] is not None else None

    return wait_until(look, relay.log)


async def order(relay: RelayProcess, client: ClientKey, url: str) -> Any:
    """Send something that calls back, and wait until the SMS is out; the notification."""

    def run() -> Any:
        body = {"recipients": [GOOD[0]], "message": TEXT, "callback_url": url}
        accepted = post(relay, client, "/v1/notifications", body, Prefer="respond-async")
        assert accepted.status_code == 202, accepted.text
        return final(relay, client, accepted.json()["id"])

    return await asyncio.to_thread(run)


async def until_logged(relay: RelayProcess, notification_id: str, event: str) -> dict[str, Any]:
    """A line of the relay's log, once it is there."""
    lines = await until(
        lambda: [line for line in relay.log().splitlines() if event in line and notification_id in line]
    )
    told: dict[str, Any] = json.loads(lines[0])
    return told


# --- in -------------------------------------------------------------------------------------------------------------


def test_one_bad_number_among_five_four_are_sent_and_the_fifth_is_reported_and_a_repetition_sends_nothing(
    relay: RelayProcess, monitoring: ClientKey, sandbox: running_sandbox
) -> None:
    body = alertmanager_body(alertmanager_alert("FiveNumbers"), groupKey="five")
    first, second = page(relay, monitoring, body), page(relay, monitoring, body)
    [notification] = first.json()["notifications"]
    told = final(relay, monitoring, notification["id"])

    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json()["notifications"][0]["id"] == notification["id"]
    assert second.json()["notifications"][0]["duplicate"] is True
    assert told["status"] == "partial"
    assert [(entry["status"], entry["code"], entry.get("reason")) for entry in told["recipients"]][2] == (
        "not_sent",
        "invalid_number",
        "too_short",
    )
    assert sandbox.count() == dict.fromkeys(GOOD, 1)
    assert told["reference"] == "oncall"


def test_an_alert_that_is_resolved_while_another_fires_is_a_page_of_its_own(
    relay: RelayProcess, monitoring: ClientKey, sandbox: running_sandbox
) -> None:
    one, two = alertmanager_alert("A"), alertmanager_alert("B")
    for alert in (one, one | {"status": "resolved"}):
        accepted = page(relay, monitoring, alertmanager_body(alert, two, groupKey="own"))
        final(relay, monitoring, accepted.json()["notifications"][0]["id"])

    firing, mixed = (entry.message for entry in sandbox.sends())
    assert firing.startswith("FIRING 2")
    assert mixed.startswith("FIRING 1, RESOLVED 1")


def post_bytes(relay: RelayProcess, client: ClientKey, path: str, body: bytes) -> httpx.Response:
    headers = client.headers | {"content-type": "application/json"}
    return httpx.post(f"{relay.base_url}{path}", content=body, headers=headers, timeout=60, trust_env=False)


@pytest.mark.parametrize(
    ("alert", "count"),
    [
        (b'{"labels":{"alertname":"Down","i":"x"}}', 12_000),
        (json.dumps(alertmanager_alert("Down")).encode(), 9_000),
        (json.dumps(alertmanager_alert("Down")).encode(), 25_000),
    ],
)
def test_the_page_of_the_greatest_outage_arrives(
    relay: RelayProcess, monitoring: ClientKey, sandbox: running_sandbox, alert: bytes, count: int
) -> None:
    body = b'{"groupKey": "storm-%d", "alerts": [%s]}' % (len(alert) * count, b",".join([alert] * count))
    accepted = post_bytes(relay, monitoring, "/v1/webhooks/alertmanager/oncall", body)
    final(relay, monitoring, accepted.json()["notifications"][0]["id"])

    assert accepted.status_code == 202
    assert all(entry.message.startswith(f"FIRING {count}") for entry in sandbox.sends())
    assert sandbox.count() == dict.fromkeys(GOOD, 1)


@pytest.mark.parametrize(
    ("kind", "receiver", "body", "said"),
    [
        (
            "alertmanager",
            "oncall",
            b'{"alerts": [null, {"labels": [], "annotations": {"Message": "Disk full"}}]}',
            "Disk full",
        ),
        (
            "alertmanager",
            "oncall",
            rb'{"commonLabels": "", "alerts": {"annotations": {"title": "disk \ud83d"}}}',
            "disk \ufffd",
        ),
        (
            "alertmanager",
            "oncall",
            b'{"truncatedAlerts": 1e30, "alerts": [{"labels": {"alertname": "A"}}]}',
            "FIRING 1\nA",
        ),
        (
            "grafana",
            "oncall",
            b'{"alerts": [{"status": "RESOLVED ", "labels": {"alertname": "B"}}]}',
            "RESOLVED 1\nok B",
        ),
        ("generic", "door", b'{"event": {"title": 12.50, "id": 1e21}}', "12.50"),
        ("generic", "door", b'{"event": {"title": true, "id": {}}}', "true"),
    ],
)
def test_no_page_is_lost_for_a_value_of_another_kind(
    relay: RelayProcess,
    monitoring: ClientKey,
    orders: ClientKey,
    sandbox: running_sandbox,
    kind: str,
    receiver: str,
    body: bytes,
    said: str,
) -> None:
    client = orders if receiver == "door" else monitoring
    accepted = post_bytes(relay, client, f"/v1/webhooks/{kind}/{receiver}", body)
    final(relay, client, accepted.json()["notifications"][0]["id"])

    assert said in sandbox.sends()[0].message


def test_what_a_limit_stops_is_told_to_come_again(relay: RelayProcess, limited: ClientKey) -> None:
    path = "/v1/webhooks/grafana/night"
    accepted = post(relay, limited, path, grafana_body(grafana_alert()))
    assert accepted.status_code == 202
    final(relay, limited, accepted.json()["notifications"][0]["id"])  # before the next test counts what is sent
    refused = post(relay, limited, path, grafana_body(grafana_alert("Another")))

    assert (refused.status_code, refused.json()["code"]) == (503, "quota_exceeded")
    assert int(refused.headers["retry-after"]) >= 1


def test_basic_auth_opens_and_a_wrong_key_or_receiver_never_will(
    relay: RelayProcess, orders: ClientKey, monitoring: ClientKey
) -> None:
    url = f"{relay.base_url}/v1/webhooks/generic/door"
    body = {"event": {"title": "Door open", "id": 1}}
    opened = httpx.post(url, json=body, auth=("anybody", orders.key), trust_env=False, timeout=60)

    assert opened.status_code == 202
    final(relay, orders, opened.json()["notifications"][0]["id"])
    assert httpx.post(url, json=body, auth=("anybody", "rk_no_no"), trust_env=False, timeout=60).status_code == 401
    assert httpx.post(url, json=body, headers=monitoring.headers, trust_env=False, timeout=60).status_code == 403
    assert post(relay, orders, "/v1/webhooks/generic/nobody", body).status_code == 404
    assert post(relay, orders, "/v1/webhooks/pager/door", body).status_code == 404


def test_a_generic_event_is_sent_once_however_often_it_is_told(
    relay: RelayProcess, orders: ClientKey, sandbox: running_sandbox
) -> None:
    told = []
    for attempt in range(3):
        body = {"event": {"title": "Gate open", "id": "gate-1"}, "attempt": attempt}
        told.append(post(relay, orders, "/v1/webhooks/generic/door", body).json()["notifications"][0])
    final(relay, orders, told[0]["id"])

    assert [page["duplicate"] for page in told] == [False, True, True]
    assert [entry.message for entry in sandbox.sends()] == ["Gate open"]


# --- out ------------------------------------------------------------------------------------------------------------


async def test_a_callback_verifies_with_the_reference_library(
    relay: RelayProcess, orders: ClientKey, receiver: CallbackReceiver
) -> None:
    ended = await order(relay, orders, f"http://127.0.0.1:{receiver.port}/sms")
    await asyncio.wait_for(receiver.arrived.wait(), PATIENCE_SECONDS)
    [request] = receiver.requests
    told = Webhook(SECRET).verify(request.body, request.headers)

    assert told["type"] == "notification.completed"
    assert told["data"]["id"] == ended["id"]
    assert told["data"]["recipients"][0]["recipient"] == GOOD[0]
    assert "input" not in told["data"]["recipients"][0]
    assert (await until_logged(relay, ended["id"], "callback.finished"))["outcome"] == "delivered"


async def test_a_receiver_that_fails_touches_no_sms_and_is_told_again(
    relay: RelayProcess, orders: ClientKey, receiver: CallbackReceiver, sandbox: running_sandbox
) -> None:
    receiver.answers = [answer(500), answer(200)]
    ended = await order(relay, orders, f"http://127.0.0.1:{receiver.port}/sms")

    assert ended["status"] == "sent"
    assert sandbox.count() == {GOOD[0]: 1}
    await until(lambda: len(receiver.requests) >= 2)
    ids = {request.headers["webhook-id"] for request in receiver.requests}
    assert ids == {f"msg_{ended['id']}_completed"}


async def test_an_address_inside_is_refused_at_send_though_the_client_may_name_it(
    relay: RelayProcess, orders: ClientKey, ports: list[int]
) -> None:
    async with running_receiver(host="127.0.0.2", port=ports[1]) as victim:
        ended = await order(relay, orders, f"http://127.0.0.2:{ports[1]}/sms")

        assert ended["status"] == "sent"
        assert (await until_logged(relay, ended["id"], "callback.finished"))["outcome"] == "refused"
        assert victim.connections == 0


@pytest.mark.parametrize(
    "url", ["https://169.254.169.254/", "http://localhost:80/", "https://2130706433/", "https://[::ffff:7f00:1]/"]
)
def test_an_address_that_is_not_the_clients_is_refused_at_registration(
    relay: RelayProcess, orders: ClientKey, url: str
) -> None:
    body = {"recipients": [GOOD[0]], "message": TEXT, "callback_url": url}
    refused = post(relay, orders, "/v1/notifications", body, Prefer="respond-async")

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "callback_url"


async def test_nothing_of_it_is_in_the_log_or_the_metrics(
    relay: RelayProcess, monitoring: ClientKey, orders: ClientKey, receiver: CallbackReceiver
) -> None:
    ended = await order(relay, orders, f"http://127.0.0.1:{receiver.port}/sms?token=canary-token")
    await asyncio.wait_for(receiver.arrived.wait(), PATIENCE_SECONDS)
    await until_logged(relay, ended["id"], "callback.finished")
    page(relay, monitoring, alertmanager_body(groupKey="leak"))
    metrics = httpx.get(f"{relay.base_url}/metrics", trust_env=False, timeout=60).text
    for secret in (SECRET, SECRET.removeprefix("whsec_"), orders.key, TEXT, "HighLatency", "canary-token", *GOOD):
        assert secret not in relay.log()
        assert secret not in metrics
    assert 'relay_callbacks_total{outcome="delivered"}' in metrics
    assert 'relay_webhook_alerts_total{kind="alertmanager",status="firing"}' in metrics
