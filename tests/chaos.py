"""Kill the relay at random moments under load, and hold its journal against the upstream's own ledger.

``make chaos`` runs this as a program; the quick form runs in the tests. Three things must hold after every run:

- at most one ledger entry for each accepted notification;
- every accepted notification is terminal after the restart;
- no ``sent`` without a ledger entry, and no ``not_sent`` with one.
"""

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from support_oracle import write_verdict
from support_postgres import PostgresServer, find_server_programs
from support_relay import ClientKey, RelayProcess, make_client, make_relay
from support_upstream import Request, Upstream, http_answer, processed, running_upstream

TERMINAL = {"sent", "rejected", "unknown", "not_sent"}


@dataclass
class Tally:
    """What one run found."""

    kills: int = 0
    accepted: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing was sent twice, lost, or told wrongly."""
        return not (self.duplicates or self.lost or self.wrong)

    def line(self) -> str:
        """The run in one line."""
        outcomes = ", ".join(f"{count} {status}" for status, count in sorted(self.outcomes.items()))
        return (
            f"{self.kills} kills, {self.accepted} accepted ({outcomes}); "
            f"{len(self.duplicates)} duplicates, {len(self.lost)} lost, {len(self.wrong)} wrong"
        )


class Caller(threading.Thread):
    """Sends one notification after another, each to a number of its own, and repeats with the same key until accepted.

    It is the careful client of the README: it repeats only with the key, and takes whatever answer the key gives.
    """

    def __init__(self, chaos: "Chaos", asynchronous: bool) -> None:
        super().__init__(daemon=True)
        self.chaos = chaos
        self.asynchronous = asynchronous
        self.sent: dict[str, str] = {}
        """Number → notification id, for everything that was accepted."""

    def run(self) -> None:
        """Send until the end."""
        with httpx.Client(base_url=self.chaos.relay.base_url, trust_env=False, timeout=30) as http:
            while not self.chaos.done.is_set():
                self._send(http, self.chaos.next_number())

    def _send(self, http: httpx.Client, number: str) -> None:
        headers = self.chaos.client.headers | {"Idempotency-Key": f"key-{number}"}
        if self.asynchronous:
            headers["Prefer"] = "respond-async"
        body = {"recipients": [number], "message": "Your order is on its way."}
        while True:
            try:
                answer = http.post("/v1/notifications", json=body, headers=headers)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code in (200, 202):
                self.sent[number] = answer.json()["id"]
                return
            if self.chaos.stopped.is_set():
                return
            time.sleep(0.02)


class Chaos:
    """One relay, one upstream, callers, and a hand that kills."""

    def __init__(self, directory: Path, *, postgres: PostgresServer | None, kills: int, seed: int) -> None:
        self.directory = directory
        self.postgres = postgres
        self.database = "" if postgres is None else postgres.create_database()
        self.kills = kills
        self.random = random.Random(seed)
        self.done = threading.Event()
        """No new notifications."""
        self.stopped = threading.Event()
        """Callers give up what they have not got through."""
        self.client: ClientKey = make_client()
        self._numbers = itertools.count(2348030000000 + seed % 1000 * 100000)
        self._lock = threading.Lock()
        self.upstream: Upstream
        self.relay: RelayProcess

    def next_number(self) -> str:
        """A number that nothing was sent to before."""
        with self._lock:
            return str(next(self._numbers))

    def run(self) -> Tally:
        """Run the load and the kills, then compare."""
        with running_upstream(self._answer) as self.upstream:
            self.relay = make_relay(
                self.directory,
                self.client,
                upstream=self.upstream.base_url,
                journal=None if self.postgres is None else self.postgres.url(self.database),
                toml="[smsclone]\ntimeout_seconds = 3\n[breaker]\nfailures = 1000\n",
            )
            self.relay.start()
            callers = [Caller(self, asynchronous=index % 2 == 1) for index in range(8)]
            for caller in callers:
                caller.start()
            for _ in range(self.kills):
                self._kill_once()
            self.done.set()
            for caller in callers:
                caller.join(30)
            self.stopped.set()
            tally = self._compare(callers)
            self.relay.stop()
            return tally

    def _answer(self, request: Request) -> bytes:
        if request.path.endswith("/balance"):
            return http_answer("256.21")
        time.sleep(random.uniform(0, 0.03))
        return http_answer(processed(dict.fromkeys(request.numbers, "sent")))

    def _kill_once(self) -> None:
        self.upstream.arrived.acquire(timeout=5)
        time.sleep(self.random.uniform(0, 0.15))
        self.relay.kill()
        self._let_time_pass()
        self.relay.start()

    def _let_time_pass(self) -> None:
        """On PostgreSQL a process counts as dead 60 s after its last heartbeat: make those seconds pass at once."""
        if self.postgres is not None:
            with closing(self.postgres.connect(self.database)) as connection:
                connection.execute("UPDATE processes SET beat_at = 0")

    def _compare(self, callers: list[Caller]) -> Tally:
        tally = Tally(kills=self.kills)
        accepted = {number: told for caller in callers for number, told in caller.sent.items()}
        tally.accepted = len(accepted)
        with httpx.Client(base_url=self.relay.base_url, headers=self.client.headers, trust_env=False) as http:
            states = {number: self._terminal(http, told) for number, told in accepted.items()}
        ledger = self.upstream.count()
        tally.duplicates = [number for number, count in ledger.items() if count > 1]
        for number, status in states.items():
            tally.outcomes[status] = tally.outcomes.get(status, 0) + 1
            if status not in TERMINAL:
                tally.lost.append(number)
            elif (status == "sent" and number not in ledger) or (status == "not_sent" and number in ledger):
                tally.wrong.append(number)
        write_verdict(tally.outcomes, sum(ledger.get(number, 0) for number in states))
        return tally

    def _terminal(self, http: httpx.Client, notification_id: str) -> str:
        give_up = time.monotonic() + 20
        status = "lost"
        while time.monotonic() < give_up:
            answer = http.get(f"/v1/notifications/{notification_id}")
            if answer.status_code == 404:
                return "lost"
            status = str(answer.json()["recipients"][0]["status"])
            if status in TERMINAL:
                return status
            time.sleep(0.05)
        return status


def main() -> int:
    """Run both stores and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    status = 0
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stores: dict[str, PostgresServer | None] = {"sqlite": None}
        programs = find_server_programs()
        if programs is not None:
            server = PostgresServer(programs)
            stack.callback(server.remove)
            server.initialize()
            server.start()
            stores["postgresql"] = server
        for name, server_or_none in stores.items():
            started = time.monotonic()
            tally = Chaos(directory / name, postgres=server_or_none, kills=options.kills, seed=options.seed).run()
            print(f"{name}: {tally.line()} in {time.monotonic() - started:.0f} s (seed {options.seed})", flush=True)
            status |= not tally.holds
    return status


if __name__ == "__main__":
    sys.exit(main())
