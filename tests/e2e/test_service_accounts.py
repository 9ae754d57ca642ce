"""A pod sends with its service account's token: a whole relay, a stand-in API server over TLS, a real socket each."""

from collections.abc import Iterator

import httpx
import pytest

from support.kubernetes import ApiServer, make_token, running_api_server
from support.relay import RelayProcess, ask_again, make_client, running_relay
from support.upstream import Upstream, running_upstream

NUMBER = "2348012345678"
OTHER_NUMBER = "2348012345679"
ORDERS = """
[[clients]]
name = "orders"
service_account = "orders/api"
senders = ["ACME"]
default_sender = "ACME"

[[receivers]]
name = "oncall"
client = "orders"
sender = "ACME"
recipients = ["2348012345678"]
message_type = "alert"
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_api_server(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, server: ApiServer) -> Iterator[RelayProcess]:
    toml = server.settings() + ORDERS
    with running_relay(
        tmp_path_factory.mktemp("relay"), make_client(), upstream=upstream.base_url, toml=toml
    ) as running:
        yield running


def send(relay: RelayProcess, token: str, path: str = "/v1/notifications", body: object = None) -> httpx.Response:
    """What a pod is told that comes again where nobody could say in three seconds whose token it has."""
    return ask_again(lambda: send_once(relay, token, path, body))


def send_once(relay: RelayProcess, token: str, path: str = "/v1/notifications", body: object = None) -> httpx.Response:
    return httpx.post(
        relay.base_url + path,
        json=body or {"recipients": [NUMBER], "message": "Your order is on its way."},
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=60,
    )


def test_a_pod_sends_with_its_token(relay: RelayProcess, server: ApiServer) -> None:
    token = make_token()
    server.accept(token)

    answer = send(relay, token)

    assert (answer.status_code, answer.json()["status"]) == (200, "sent")


def test_a_pod_raises_an_alert_with_its_token(relay: RelayProcess, server: ApiServer) -> None:
    token = make_token()
    server.accept(token)
    alert = {"status": "firing", "labels": {"alertname": "DiskFull"}, "startsAt": "2026-12-01T09:00:00Z"}
    body = {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "oncall", "alerts": [alert]}

    assert send(relay, token, "/v1/webhooks/alertmanager/oncall", body).status_code == 202


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(make_token(mark="unknown"), id="unknown"),
        pytest.param(make_token(audience=["vault"]), id="for another audience"),
        pytest.param("no-token-at-all-really", id="no token"),
    ],
)
def test_a_token_that_is_not_good_is_401(relay: RelayProcess, token: str) -> None:
    answer = send(relay, token)

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_while_the_api_server_fails_nothing_is_sent_and_the_caller_comes_again(
    relay: RelayProcess, server: ApiServer, upstream: Upstream
) -> None:
    token = make_token(mark="not-asked-before")
    server.accept(token)
    server.fault = "500"
    body = {"recipients": [OTHER_NUMBER], "message": "Your order is on its way."}
    try:
        refused = send_once(relay, token, body=body)
    finally:
        server.fault = None

    assert (refused.status_code, refused.json()["code"], refused.json()["retry_safe"]) == (503, "overloaded", True)
    assert refused.headers["retry-after"] == "1"
    assert OTHER_NUMBER not in upstream.count()
    assert send(relay, token, body=body).json()["status"] == "sent"


def test_no_token_is_in_the_log_or_in_the_metrics(relay: RelayProcess, server: ApiServer) -> None:
    token = make_token(mark="canary-signature-4711")
    server.fault = "garbage"
    try:
        answer = send(relay, token)
    finally:
        server.fault = None
    metrics = httpx.get(f"{relay.base_url}/metrics", trust_env=False, timeout=60).text

    assert answer.status_code == 503
    assert '"event":"token.unverified","cause":"unreadable"' in relay.log()
    for said in (answer.text, metrics, relay.log()):
        assert "canary-signature" not in said
        assert token.split(".")[1] not in said
        assert "own-token" not in said
