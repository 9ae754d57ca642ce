"""Whatever one client does, probes and the operator's stop are answered: while every place is held, batches come
without pause, and nothing of it is over."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from support.relay import ClientKey, RelayProcess, make_client, running_relay
from support.upstream import Upstream, running_upstream
from support.waiting import wait_until

pytestmark = pytest.mark.slow

CALLERS = 60
PLACES = 20
OUT = 10
"""Calls that must be out before anybody looks: some of the places of the busy client."""
TEXT = "Your order 1204 is on its way."
PATIENCE = httpx.Timeout(60.0)
"""For a machine that is busy with other things; that it is answered at all while the load goes on is what counts."""


@contextmanager
def busy(relay: RelayProcess, client: ClientKey, upstream: Upstream) -> Iterator[None]:
    """A client that holds every place it can get, and sends batches without pause, until the block ends."""
    over = threading.Event()
    batch = [{"recipients": [f"234803{i:07}"], "message": TEXT} for i in range(500)]

    def wait_for_an_answer(place: int) -> None:
        with httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=PATIENCE) as http:
            while not over.is_set():
                with suppress(httpx.TransportError):
                    http.post("/v1/notifications", json={"recipients": [f"234801{place:07}"], "message": TEXT})

    def send_batches() -> None:
        with httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=PATIENCE) as http:
            while not over.is_set():
                with suppress(httpx.TransportError):
                    http.post("/v1/notifications/batch", json=batch)

    upstream.gate.clear()
    with ThreadPoolExecutor(CALLERS + 2) as pool:
        for place in range(CALLERS):
            pool.submit(wait_for_an_answer, place)
        for _ in range(2):
            pool.submit(send_batches)
        try:
            for _ in range(OUT):
                assert upstream.arrived.acquire(timeout=60)
            yield
        finally:
            over.set()
            upstream.gate.set()


def test_probes_and_the_operators_stop_are_answered_while_every_place_is_held_and_batches_come(tmp_path: Path) -> None:
    hog = make_client("hog")
    operator = make_client("operator", permissions='["operate"]')
    toml = (
        f"[sending]\nmax_waiting = {PLACES}\ndrain_seconds = 5\nnotification_deadline_seconds = 600\n"
        "[smsclone]\ntimeout_seconds = 300\n"
        "[breaker]\nfailures = 1000\n"  # else it opens for the silence before as many are out on a busy machine
    )
    with (
        running_upstream() as upstream,
        running_relay(tmp_path, hog, operator, upstream=upstream.base_url, toml=toml) as relay,
        busy(relay, hog, upstream),
        httpx.Client(base_url=relay.base_url, trust_env=False, timeout=PATIENCE) as http,
    ):
        probes = {path: http.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")}
        stop = http.post("/v1/operator/pause", json={"reason": "a test"}, headers=operator.headers)
        told = http.get("/readyz").json()
        wait_until(lambda: any(map(_is_shed, http.get("/metrics").text.splitlines())))  # it is told once a second

    assert probes == {"/healthz": 200, "/readyz": 200, "/metrics": 200}
    assert stop.status_code == 200
    assert told["paused"]
    assert told["in_flight"] >= OUT  # nothing of it was over


def _is_shed(line: str) -> bool:
    """Whether a line of the metrics says that some of the busy client's requests were shed."""
    return line.startswith("relay_shed_total{") and 'client="hog"' in line and not line.endswith(" 0.0")
