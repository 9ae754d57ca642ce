"""Kill the relay at random moments under load, and hold its journal against the upstream's own ledger.

``make chaos`` runs this as a program; the quick form runs in the tests. There are two accounts, of which the first one
refuses at random (no units, wrong password) or says nothing. Five things must hold after every run:

- at most one entry for each accepted notification, in the ledgers of both accounts together;
- every accepted notification is terminal after the restart;
- no ``sent`` without a ledger entry at the account that is told, and no ``not_sent`` with one;
- no call before the ``send_at`` of its notification;
- the usage adds up to the calls that were recorded, by account and outcome.
"""

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from support.oracle import write_verdict
from support.postgres import PostgresServer, find_server_programs
from support.relay import ClientKey, RelayProcess, make_client, make_relay
from support.upstream import Request, Upstream, http_answer, processed, running_upstream
from support.waiting import PATIENCE_SECONDS

_ROUNDED_SECONDS = 0.002
"""The relay keeps times in whole milliseconds."""

TERMINAL = {"sent", "rejected", "unknown", "not_sent"}
ACCOUNTS = ("smsclone", "backup")
REFUSALS = ("TG17-NOT ENOUGH UNITS BALANCE", "TG11-INVALID AUTHENTICATION CREDENTIALS")
SETTINGS = """
[smsclone]
timeout_seconds = 3
[breaker]
failures = 1000
open_seconds = 0.2
[sending]
accounts = ["smsclone", "backup"]
[[accounts]]
name = "backup"
username = "reseller"
password = "another password"
timeout_seconds = 3
"""


@dataclass
class Tally:
    """What one run found."""

    kills: int = 0
    accepted: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    sent_by: Counter[str] = field(default_factory=Counter)
    """Account → messages that it sent."""
    unbilled: list[str] = field(default_factory=list)
    """Where the usage is not what was recorded."""

    @property
    def holds(self) -> bool:
        """Whether nothing was sent twice or early, lost, told or counted wrongly."""
        return not (self.duplicates or self.lost or self.wrong or self.early or self.unbilled)

    def line(self) -> str:
        """The run in one line."""
        outcomes = ", ".join(f"{count} {status}" for status, count in sorted(self.outcomes.items()))
        return (
            f"{self.kills} kills, {self.accepted} accepted ({outcomes}); "
            f"{len(self.duplicates)} duplicates, {len(self.lost)} lost, {len(self.wrong)} wrong, "
            f"{len(self.early)} early, "
            f"usage differs in {len(self.unbilled)} rows; sent by "
            + ", ".join(f"{account}: {self.sent_by[account]}" for account in ACCOUNTS)
        )


class Caller(threading.Thread):
    """Sends one notification after another, each to a number of its own, and repeats with the same key until accepted.

    It is the careful client of ``openapi/sending.md``: it repeats only with the key, and takes whatever answer the key
    gives. One that is ``scheduled`` asks for a time up to two seconds ahead, within hours that are open.
    """

    def __init__(self, chaos: "Chaos", *, asynchronous: bool, scheduled: bool) -> None:
        super().__init__(daemon=True)
        self.chaos = chaos
        self.asynchronous = asynchronous
        self.scheduled = scheduled
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
        body: dict[str, Any] = {"recipients": [number], "message": "Your order is on its way."}
        if self.scheduled:
            send_at = datetime.now(UTC) + timedelta(seconds=self.chaos.random.uniform(0, 2))
            self.chaos.not_before[number] = send_at.timestamp()
            opened, closes = send_at - timedelta(hours=1), send_at + timedelta(hours=11)
            hours = {"from": f"{opened:%H:%M}", "to": f"{closes:%H:%M}", "time_zone": "UTC"}
            body |= {"send_at": send_at.isoformat(), "delivery_window": hours}
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
        self.client: ClientKey = make_client(permissions='["send", "read", "usage"]')
        self.ledgers: dict[str, Counter[str]] = {account: Counter() for account in ACCOUNTS}
        """Account → number → how often it was sent to."""
        self.not_before: dict[str, float] = {}
        """Number → ``send_at``, in seconds since 1970-01-01 UTC, where it has one."""
        self._called_at: dict[str, float] = {}
        self._numbers = itertools.count(2348030000000 + seed % 1000 * 100000)
        self._lock = threading.Lock()
        self._arrived = threading.Semaphore(0)
        self.upstream: Upstream
        self.relay: RelayProcess

    def next_number(self) -> str:
        """A number that nothing was sent to before."""
        with self._lock:
            return str(next(self._numbers))

    def run(self) -> Tally:
        """Run the load and the kills, then compare."""
        with running_upstream(self._answer_first) as self.upstream, running_upstream(self._answer_second) as second:
            self.relay = make_relay(
                self.directory,
                self.client,
                upstream=self.upstream.base_url,
                journal=None if self.postgres is None else self.postgres.url(self.database),
                toml=f'{SETTINGS}base_url = "{second.base_url}"\n',
            )
            self.relay.start()
            callers = [Caller(self, asynchronous=index % 2 == 1, scheduled=index % 4 == 3) for index in range(8)]
            for caller in callers:
                caller.start()
            for _ in range(self.kills):
                self._kill_once()
            self.done.set()
            give_up = time.monotonic() + PATIENCE_SECONDS
            for caller in callers:
                caller.join(max(give_up - time.monotonic(), 0))
            self.stopped.set()
            tally = self._compare(callers)
            self.relay.stop()
            return tally

    def _answer_first(self, request: Request) -> bytes | None:
        """As an account does that fails at random: mostly it refuses, sometimes it sends and does not say so."""
        chance = random.random()
        if request.path.endswith("/balance") or chance < 0.9:
            return self._send(ACCOUNTS[0], request)
        if chance < 0.98:
            return http_answer(random.choice(REFUSALS))
        self._send(ACCOUNTS[0], request)
        return None

    def _answer_second(self, request: Request) -> bytes:
        return self._send(ACCOUNTS[1], request)

    def _send(self, account: str, request: Request) -> bytes:
        self._arrived.release()
        if request.path.endswith("/balance"):
            return http_answer("256.21")
        with self._lock:
            self.ledgers[account].update(request.numbers)
            for number in request.numbers:
                self._called_at.setdefault(number, time.time())
        time.sleep(random.uniform(0, 0.03))
        return http_answer(processed(dict.fromkeys(request.numbers, "sent")))

    def _kill_once(self) -> None:
        self._arrived.acquire(timeout=5)
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
        with httpx.Client(
            base_url=self.relay.base_url, headers=self.client.headers, trust_env=False, timeout=60
        ) as http:
            states = {number: self._terminal(http, told) for number, told in accepted.items()}
            tally.unbilled = self._compare_usage(http)
        ledger = sum(self.ledgers.values(), Counter[str]())
        tally.duplicates = [number for number, count in ledger.items() if count > 1]
        tally.early = [
            number for number, at in self.not_before.items() if self._called_at.get(number, at) < at - _ROUNDED_SECONDS
        ]
        for number, (status, account) in states.items():
            tally.outcomes[status] = tally.outcomes.get(status, 0) + 1
            if status not in TERMINAL:
                tally.lost.append(number)
            elif (status == "sent" and number not in self.ledgers[account]) or (
                status == "not_sent" and number in ledger
            ):
                tally.wrong.append(number)
            elif status == "sent":
                tally.sent_by[account] += 1
        write_verdict(tally.outcomes, sum(ledger.get(number, 0) for number in states))
        return tally

    def _terminal(self, http: httpx.Client, notification_id: str) -> tuple[str, str]:
        """Status, and the account (empty: none) of the one recipient."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        status, account = "lost", ""
        while time.monotonic() < give_up:
            answer = http.get(f"/v1/notifications/{notification_id}")
            if answer.status_code == 404:
                return "lost", ""
            recipient = answer.json()["recipients"][0]
            status, account = str(recipient["status"]), str(recipient["account"] or "")
            if status in TERMINAL:
                return status, account
            time.sleep(0.05)
        return status, account

    def _compare_usage(self, http: httpx.Client) -> list[str]:
        """Rows of the usage that are not what recorded calls come to, also those of requests that nobody heard of."""
        recorded: Counter[tuple[str, str]] = Counter()
        for status, account in self._read_all(http):
            if status != "not_sent":
                recorded[account, status] += 1
        days = {"from": "2000-01-01", "to": "2100-01-01", "by": "account,outcome"}
        rows = http.get("/v1/usage", params=days).json()["rows"]
        used = {(row["account"], row["outcome"]): (row["messages"], row["recipients"], row["units"]) for row in rows}
        expected = {key: (count, count, str(count)) for key, count in recorded.items()}
        return [
            f"{key}: {used.get(key)}, not {expected.get(key)}"
            for key in used.keys() | expected.keys()
            if used.get(key) != expected.get(key)
        ]

    def _read_all(self, http: httpx.Client) -> list[tuple[str, str]]:
        """How each notification ended, and by which account."""
        ids: list[str] = []
        query = {"limit": "200"}
        while True:
            page = http.get("/v1/notifications", params=query).json()
            ids += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                return [self._terminal(http, each) for each in ids]
            query["cursor"] = page["next_cursor"]


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
