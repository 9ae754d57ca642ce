"""The main job over real sockets: a request comes in, one call goes out, the answer tells the truth."""

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.oracle import Oracle
from support.relay import PASSWORD, PATIENT, USERNAME, ClientKey, RelayProcess, make_client, running_relay
from support.upstream import (
    MESSAGE_ID,
    Upstream,
    http_answer,
    nobody_listening,
    processed,
    running_upstream,
    send_all,
)
from support.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.slow

TEXT = "Your order 1204 is on its way."
_numbers = itertools.count(2348010000000)


def fresh_number() -> str:
    """A number that no other test sends to."""
    return str(next(_numbers))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def billing() -> ClientKey:
    return make_client("billing")


@pytest.fixture(scope="module")
def orders() -> ClientKey:
    return make_client("orders", permissions='["send", "read"]', routes='["auto"]', message_types='["otp"]')


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, billing: ClientKey, orders: ClientKey
) -> Iterator[RelayProcess]:
    directory: Path = tmp_path_factory.mktemp("relay")
    toml = "[breaker]\nfailures = 1000\n[limits.otp]\nsends = 2\nwindow_seconds = 600\n"
    options: dict[str, Any] = {"upstream": upstream.base_url, "toml": toml, "environment": PATIENT}
    with running_relay(directory, billing, orders, **options) as running:
        yield running


@pytest.fixture(autouse=True)
def _honest_upstream(upstream: Upstream) -> None:
    upstream.answer = send_all
    upstream.reset = False
    upstream.gate.set()


@pytest.fixture
def http(relay: RelayProcess, billing: ClientKey, upstream: Upstream) -> Iterator[httpx.Client]:
    """What this client sends is judged after the test."""
    oracle = Oracle([relay], billing, upstream.count, text=TEXT)
    with httpx.Client(
        base_url=relay.base_url, headers=billing.headers, trust_env=False, timeout=PATIENCE_SECONDS
    ) as client:
        client.event_hooks = {"response": [oracle.note]}
        yield client
    oracle.check()


def request(*recipients: str, **fields: Any) -> dict[str, Any]:
    return {"recipients": list(recipients) or [fresh_number()], "message": TEXT} | fields


def send(http: httpx.Client, *recipients: str, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    return http.post("/v1/notifications", json=request(*recipients, **fields), headers=headers)


def test_the_seeds_sample_answer_gives_sent_and_dnd_rejected(http: httpx.Client, upstream: Upstream) -> None:
    first, second = fresh_number(), fresh_number()
    upstream.answer = lambda _: http_answer(processed({first: "sent", second: "dnd_rejected"}))

    answer = send(http, "0" + first[3:], "+" + second, reference="order-1204")
    body = answer.json()

    assert answer.status_code == 200
    assert body["status"] == "partial"
    assert body["reference"] == "order-1204"
    route = {"requested": "auto", "used": "dnd-fallback", "reason": "default", "account": "smsclone"}
    assert body["route"] == route
    assert [(r["status"], r["code"], r["retry_safe"]) for r in body["recipients"]] == [
        ("sent", "sent", False),
        ("rejected", "dnd_rejected", False),
    ]
    assert body["recipients"][0]["upstream"] == {
        "code": "0000",
        "status": "SENT",
        "description": "MESSAGE SENT TO PROVIDER",
        "message_id": MESSAGE_ID,
    }


def test_the_call_has_exactly_the_seeds_path_and_parameters(http: httpx.Client, upstream: Upstream) -> None:
    number = fresh_number()
    send(http, number, message="a&b=c #1 100% +₦ é", sender="ACME")

    call = upstream.sends[-1]
    assert call.path == "/api/sms/dnd-fallback"
    assert call.query == {
        "username": USERNAME,
        "password": PASSWORD,
        "sender": "ACME",
        "recipient": number,
        "message": "a&b=c #1 100% +₦ é",
    }


@pytest.mark.parametrize(
    ("code", "status", "problem"),
    [
        ("TG11", 502, "upstream_credentials"),
        ("TG17", 503, "upstream_no_balance"),
        ("TG19", 422, "blocked_words"),
        ("TG77", 502, "upstream_contract"),
    ],
)
def test_each_kind_of_rejection_of_the_batch_has_its_status_and_problem(
    tmp_path: Path, code: str, status: int, problem: str
) -> None:
    client = make_client()

    def reject(asked: Any) -> bytes:
        return http_answer("256.21" if asked.path.endswith("/balance") else f"{code}-Whatever it says")

    with (
        running_upstream(reject) as upstream,
        running_relay(tmp_path, client, upstream=upstream.base_url) as relay,
        httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=60) as http,
    ):
        answer = send(http, fresh_number())
        body = answer.json()

        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert (body["code"], body["retry_safe"]) == (problem, True)
        assert len(upstream.sends) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (None, "no_answer"),
        (http_answer("<html>maintenance</html>"), "unreadable_answer"),
        (http_answer("<html>bad gateway</html>", "502 Bad Gateway"), "unreadable_answer"),
        (http_answer(""), "unreadable_answer"),
        (http_answer("TG00-MESSAGE PROCESSED:"), "missing_in_answer"),
        (http_answer(processed({"2348099999999": "sent"})), "missing_in_answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nTG00-MESSAGE PROCESSED:0000|", "no_answer"),
        (b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n", "unreadable_answer"),
    ],
    ids=["no answer", "HTML", "502", "empty", "no records", "another number", "truncated", "redirect"],
)
@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
def test_a_lost_answer_is_unknown_with_200_and_never_sent_again(
    http: httpx.Client, upstream: Upstream, answer: bytes | None, code: str, reset: bool
) -> None:
    number = fresh_number()
    upstream.answer = lambda _: answer
    upstream.reset = reset

    response = send(http, number)
    [recipient] = response.json()["recipients"]

    assert response.status_code == 200
    assert response.json()["status"] == "unknown"
    assert (recipient["status"], recipient["retry_safe"]) == ("unknown", False)
    if not reset:
        assert recipient["code"] == code
    assert upstream.count()[number] == 1


def test_an_upstream_that_hangs_is_unknown_at_the_calls_deadline(tmp_path: Path) -> None:
    client, number = make_client(), fresh_number()
    environment = PATIENT | {"RELAY_SMSCLONE_TIMEOUT_SECONDS": "4"}  # the notification's own deadline is far away
    with (
        running_upstream() as upstream,
        running_relay(tmp_path, client, upstream=upstream.base_url, environment=environment) as relay,
        httpx.Client(
            base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=PATIENCE_SECONDS
        ) as http,
    ):
        upstream.gate.clear()
        started = time.monotonic()
        response = send(http, number)

        assert time.monotonic() - started >= 3.8
        assert response.json()["recipients"][0]["code"] == "no_answer"
        assert upstream.count() == {number: 1}


def test_an_upstream_that_refuses_connections_is_503_and_safe_to_repeat(tmp_path: Path) -> None:
    client = make_client()
    with nobody_listening() as nowhere, running_relay(tmp_path, client, upstream=nowhere) as relay:
        answer = httpx.post(
            f"{relay.base_url}/v1/notifications", json=request(), headers=client.headers, trust_env=False, timeout=60
        )

    assert answer.status_code == 503
    assert (answer.json()["code"], answer.json()["retry_safe"]) == ("upstream_unreachable", True)
    assert "retry-after" in answer.headers


def test_one_entry_for_each_requested_number_in_order(http: httpx.Client, upstream: Upstream) -> None:
    number = fresh_number()
    body = send(http, number, "12", "0" + number[3:]).json()

    assert [(r["input"], r["status"], r["code"]) for r in body["recipients"]] == [
        (number, "sent", "sent"),
        ("12", "not_sent", "invalid_number"),
        ("0" + number[3:], "sent", "duplicate_recipient"),
    ]
    assert body["recipients"][1]["reason"] == "too_short"
    assert upstream.count()[number] == 1


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        *((f"TG{number}-Invalid", 502, "upstream_credentials") for number in (11, 12, 13)),
        ("TG17-Not Enough Units Balance", 503, "upstream_no_balance"),
        *((said, 502, "upstream_contract") for said in ("TG14-Empty Recipients", "TG19-Blocked", "TG99-New")),
        *((said, 503, "upstream_unreachable") for said in ("<html>", "")),
    ],
)
def test_a_balance_that_the_upstream_refuses_has_the_problem_of_a_send(
    http: httpx.Client, upstream: Upstream, said: str, status: int, code: str
) -> None:
    upstream.answer = lambda _: http_answer(said)
    give_up = time.monotonic() + 60
    while (answer := http.get("/v1/balance")).status_code == 200 and time.monotonic() < give_up:
        time.sleep(0.5)  # until the last reading is 10 s old, it is what everybody gets

    assert (answer.status_code, answer.json()["code"], answer.json()["retry_safe"]) == (status, code, True)
    assert ("retry-after" in answer.headers) == (status == 503)


# --- idempotency ---


def test_the_same_key_gets_the_stored_answer_and_no_second_call(http: httpx.Client, upstream: Upstream) -> None:
    number = fresh_number()
    first = send(http, number, headers={"Idempotency-Key": f"key-{number}"})
    second = send(http, number, headers={"Idempotency-Key": f'"key-{number}"'})

    assert first.json()["replayed"] is False
    assert second.json() == first.json() | {"replayed": True}
    assert second.headers["idempotency-replayed"] == "true"
    assert upstream.count()[number] == 1


def test_the_same_key_with_another_request_is_a_mismatch(http: httpx.Client) -> None:
    number = fresh_number()
    send(http, number, headers={"Idempotency-Key": f"key-{number}"})
    answer = send(http, number, message="Another text", headers={"Idempotency-Key": f"key-{number}"})

    assert answer.status_code == 422
    assert (answer.json()["code"], answer.json()["retry_safe"]) == ("idempotency_mismatch", False)


def test_the_same_key_while_the_first_runs_is_409(http: httpx.Client, upstream: Upstream) -> None:
    number = fresh_number()
    key = {"Idempotency-Key": f"key-{number}"}
    upstream.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send, http, number, headers=key)
        wait_until(lambda: upstream.count().get(number))
        second = send(http, number, headers=key)
        upstream.gate.set()

    assert second.status_code == 409
    assert second.json()["code"] == "idempotency_in_progress"
    assert "retry-after" in second.headers
    assert first.result().json()["status"] == "sent"


def test_another_clients_same_key_is_another_key(
    http: httpx.Client, upstream: Upstream, relay: RelayProcess, orders: ClientKey
) -> None:
    mine, theirs = fresh_number(), fresh_number()
    key = {"Idempotency-Key": f"key-{mine}"}
    send(http, mine, headers=key, message_type="otp")
    answer = httpx.post(
        f"{relay.base_url}/v1/notifications",
        json=request(theirs, message_type="otp"),
        headers=orders.headers | key,
        trust_env=False,
        timeout=60,
    )

    assert answer.json()["replayed"] is False
    assert [upstream.count()[number] for number in (mine, theirs)] == [1, 1]


def test_a_call_in_which_nothing_was_sent_frees_its_key(http: httpx.Client, upstream: Upstream) -> None:
    number = fresh_number()
    key = {"Idempotency-Key": f"key-{number}"}
    upstream.answer = lambda _: http_answer("TG19-Blocked Words Found in Message Body")
    refused = send(http, number, headers=key)
    upstream.answer = send_all
    again = send(http, number, headers=key)

    assert refused.status_code == 422
    assert again.json()["replayed"] is False
    assert again.json()["status"] == "sent"


def test_twenty_racers_with_one_key_make_one_call(http: httpx.Client, upstream: Upstream) -> None:
    number = fresh_number()
    key = {"Idempotency-Key": f"key-{number}"}
    start = threading.Barrier(20)

    def race() -> int:
        start.wait()
        return send(http, number, headers=key).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = sorted({future.result() for future in [pool.submit(race) for _ in range(20)]})

    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    assert upstream.count()[number] == 1


# --- later ---


def wait_terminal(http: httpx.Client, location: str) -> dict[str, Any]:
    """Poll a notification until nothing of it is open."""

    def look() -> dict[str, Any]:
        body: dict[str, Any] = http.get(location).json()
        return body if body["status"] not in ("queued", "in_progress") and body["completed_at"] is not None else {}

    return wait_until(look)


def test_an_asynchronous_notification_is_accepted_and_ends(http: httpx.Client, upstream: Upstream) -> None:
    number = fresh_number()
    accepted = send(http, number, headers={"Prefer": "respond-async"})

    assert accepted.status_code == 202
    assert accepted.json()["status"] == "queued"
    assert accepted.headers["location"] == f"/v1/notifications/{accepted.json()['id']}"
    assert wait_terminal(http, accepted.headers["location"])["status"] == "sent"
    assert upstream.count()[number] == 1


def test_ten_thousand_recipients_go_out_in_chunks_each_once(http: httpx.Client, upstream: Upstream) -> None:
    numbers = [str(2348020000000 + i) for i in range(1000)]
    accepted = send(http, *numbers, headers={"Prefer": "respond-async"})
    body = wait_terminal(http, accepted.headers["location"])

    assert body["counts"]["sent"] == 1000
    counts = upstream.count()
    assert [counts[number] for number in numbers] == [1] * 1000


def test_a_batch_is_judged_item_by_item(http: httpx.Client, upstream: Upstream) -> None:
    items = [request(), request("12"), request(idempotency_key="item-3")]
    answer = http.post("/v1/notifications/batch", json=items)
    body = answer.json()

    assert answer.status_code == 202
    assert (body["accepted"], body["refused"]) == (2, 1)
    assert body["items"][1]["problem"]["code"] == "validation_failed"
    for index in (0, 2):
        assert wait_terminal(http, f"/v1/notifications/{body['items'][index]['id']}")["status"] == "sent"


def test_a_held_notification_can_be_cancelled_and_is_never_dialled(http: httpx.Client, upstream: Upstream) -> None:
    upstream.gate.clear()
    number = fresh_number()
    busy = [send(http, headers={"Prefer": "respond-async"}).headers["location"] for _ in range(60)]
    location = send(http, number, headers={"Prefer": "respond-async"}).headers["location"]
    cancelled = http.delete(location)
    upstream.gate.set()

    assert cancelled.status_code in (200, 409)
    for other in busy:
        wait_terminal(http, other)
    if cancelled.status_code == 200:
        assert cancelled.json()["recipients"][0]["code"] == "cancelled"
        assert number not in upstream.count()


def test_the_list_finds_by_reference_newest_first(http: httpx.Client) -> None:
    reference = f"ref-{fresh_number()}"
    ids = [send(http, reference=reference).json()["id"] for _ in range(3)]
    first = http.get("/v1/notifications", params={"reference": reference, "limit": 2}).json()
    rest = http.get(
        "/v1/notifications", params={"reference": reference, "limit": 2, "cursor": first["next_cursor"]}
    ).json()

    assert [item["id"] for item in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None


def test_only_the_client_that_sent_it_can_see_it(http: httpx.Client, relay: RelayProcess, orders: ClientKey) -> None:
    notification_id = send(http).json()["id"]
    url = f"{relay.base_url}/v1/notifications/{notification_id}"

    assert http.get(url).status_code == 200
    assert httpx.get(url, headers=orders.headers, trust_env=False, timeout=60).status_code == 404


# --- limits and permissions ---


def test_a_number_that_had_its_share_of_codes_is_left_out(http: httpx.Client, upstream: Upstream) -> None:
    number = fresh_number()
    for _ in range(2):
        assert send(http, number, message_type="otp").status_code == 200
    alone = send(http, number, message_type="otp")
    mixed = send(http, number, fresh_number(), message_type="otp").json()

    assert (alone.status_code, alone.json()["code"]) == (429, "recipient_capped")
    assert "retry-after" in alone.headers
    assert [r["code"] for r in mixed["recipients"]] == ["recipient_capped", "sent"]
    assert upstream.count()[number] == 2


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"sender": "Stranger"}, "sender_not_allowed"),
        ({"route": "dnd", "message_type": "otp"}, "route_not_allowed"),
        ({"message_type": "alert"}, "message_type_not_allowed"),
    ],
)
def test_what_the_client_may_not_do_is_403(
    relay: RelayProcess, orders: ClientKey, fields: dict[str, str], code: str
) -> None:
    body = request() | {"message_type": "otp"} | fields
    answer = httpx.post(
        f"{relay.base_url}/v1/notifications", json=body, headers=orders.headers, trust_env=False, timeout=60
    )

    assert (answer.status_code, answer.json()["code"]) == (403, code)


def test_the_balance_is_a_decimal_text_and_needs_its_permission(
    http: httpx.Client, relay: RelayProcess, orders: ClientKey
) -> None:
    assert http.get("/v1/balance").json()["units"] == "256.21"
    answer = httpx.get(f"{relay.base_url}/v1/balance", headers=orders.headers, trust_env=False, timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_missing")


def test_a_preview_tells_everything_and_sends_nothing(http: httpx.Client, upstream: Upstream) -> None:
    number = fresh_number()
    answer = http.post("/v1/notifications/preview", json=request(number, "12", message="Balance: ₦5,000"))
    body = answer.json()

    assert answer.status_code == 200
    assert body["acceptable"] is True
    assert body["text"]["encoding"] == "ucs-2"
    assert body["recipients"][0]["recipient"] == number
    assert body["recipients"][1]["reason"] == "too_short"
    assert (body["calls"], body["estimated_units"]) == (1, "1")
    assert number not in upstream.count()


# --- what is seen from outside ---


def test_nothing_that_the_relay_prints_or_counts_holds_password_key_number_or_text(
    http: httpx.Client, relay: RelayProcess, billing: ClientKey
) -> None:
    number, text = fresh_number(), "canary text 8Z"
    for fields in ({"message": text}, {"message": text, "sender": "Stranger"}, {"message": text, "max_segments": 77}):
        send(http, number, **fields)
    http.get(f"/v1/notifications?reference={number}")
    metrics = httpx.get(f"{relay.base_url}/metrics", trust_env=False, timeout=60).text

    for told in (relay.log(), metrics):
        for canary in (PASSWORD, billing.key, number, number[3:], text, text.replace(" ", "%20")):
            assert canary not in told


def test_the_metrics_count_what_happened(http: httpx.Client, relay: RelayProcess) -> None:
    send(http)
    metrics = httpx.get(f"{relay.base_url}/metrics", trust_env=False, timeout=60).text

    assert 'relay_route_decisions_total{requested="auto",used="dnd-fallback",reason="default"}' in metrics.replace(
        'reason="default",requested="auto",used="dnd-fallback"', 'requested="auto",used="dnd-fallback",reason="default"'
    )
    assert "relay_upstream_requests_total" in metrics
    assert "relay_recipients_total" in metrics
