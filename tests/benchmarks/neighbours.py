"""``make neighbours``: what a quiet client feels of the others, as ratios to the figure without them.

    python tests/benchmarks/neighbours.py                                    # every row, about four minutes
    python tests/benchmarks/neighbours.py --only batches lists --seconds 5
    python tests/benchmarks/neighbours.py --before ../first --write           # also a hog alone; into the page

The quiet client sends a one-time code every 50 ms and counts as failed whatever is not answered as sent. Relay,
upstream, busy clients and quiet client are processes of their own, on SQLite. Each row has its own relay, and its
figure without neighbours is measured just before: a machine that slows down slows both. Meanwhile somebody asks for
health, readiness and metrics. Exits with 1 where a code failed.
"""

import argparse
import asyncio
import json
import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop
from measure import cpu_seconds, free_port, load, wait_for_port
from msgspec.structs import replace
from neighbour_loads import (
    BAD_KEYS_A_SECOND,
    BALANCES,
    CONNECTIONS,
    COUNT_PATH,
    ITEMS,
    RECIPIENTS,
    SLOW,
    Connection,
    build_message,
    build_request,
)

from relay.domain.codes import Status
from relay.journal import open_journal
from relay.journal.encoding import encode_counts, encode_facts, encode_indexes, encode_outcomes
from relay.journal.schema import metadata
from support.journal import SENT, make_notification
from support.relay import ClientKey, RelayProcess, make_client, make_relay

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
EVERY_SECONDS = 0.05
LINES = 100
"""Connections of the quiet client: more codes than these are never under way."""
CLIENTS = 4
LISTED = 200
WITH_CALLS = 12
"""Of those that are listed, how many have their calls: a page with recipients ends before."""
SETTLE_SECONDS = 30.0
PROBE_MS = 1000
SEND_SECONDS = 0.3
BALANCE_SECONDS = 4.0


@dataclass(frozen=True)
class Target:
    """What a row may be: times the figure without neighbours, or so many milliseconds above the upstream's own time."""

    p50: float = math.inf
    p95: float = math.inf
    above_upstream_ms: float | None = None
    balance_calls: int | None = None


@dataclass(frozen=True)
class Neighbour:
    """A row of the table."""

    load: str
    name: str
    clients: int
    target: Target
    upstream: dict[str, float] = field(default_factory=lambda: {"send_seconds": 0.0, "balance_seconds": 0.0})
    filled: bool = False


HEAVY = Target(p50=3, p95=6)
NEIGHBOURS = (
    Neighbour(
        "connections",
        f"{CONNECTIONS} connections of one client, upstream {SEND_SECONDS * 1000:.0f} ms",
        1,
        Target(above_upstream_ms=300),
        {"send_seconds": SEND_SECONDS, "balance_seconds": 0.0},
    ),
    Neighbour("batches", f"2 clients, batches of {ITEMS:,} without pause", 2, HEAVY),
    Neighbour("recipients", f"2 clients, {RECIPIENTS:,} recipients a request", 2, HEAVY),
    Neighbour("lists", f"{CLIENTS} clients that list {LISTED} without pause", CLIENTS, HEAVY, filled=True),
    Neighbour("expanded", f"{CLIENTS} clients that list with `expand`", CLIENTS, HEAVY, filled=True),
    Neighbour(
        "balances",
        f"{BALANCES} balance requests, balance takes {BALANCE_SECONDS:.0f} s",
        1,
        Target(p50=1.5, p95=1.5, balance_calls=3),
        {"send_seconds": 0.0, "balance_seconds": BALANCE_SECONDS},
    ),
    Neighbour("slow", f"{SLOW:,} slow connections, and {BAD_KEYS_A_SECOND} bad keys a second", 1, Target(p50=2, p95=2)),
)


@dataclass
class Codes:
    """What became of the quiet client's codes."""

    milliseconds: list[float] = field(default_factory=list)
    failed: int = 0

    def at(self, share: float) -> float:
        """The time that this share of the codes was answered in."""
        ordered = sorted(self.milliseconds)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else math.nan


async def send_codes(port: int, key: str, seconds: float) -> Codes:
    """Send a code every 50 ms, whether the last one was answered or not."""
    codes, free = Codes(), [Connection(port) for _ in range(LINES)]

    async def send(place: int) -> None:
        connection = free.pop()
        message = json.dumps(build_message(f"234809{place:07}", message_type="otp")).encode()
        begun = time.perf_counter()
        status, body = await connection.ask(build_request("POST", "/v1/notifications", key, message))
        codes.milliseconds.append((time.perf_counter() - begun) * 1000)
        codes.failed += status != 200 or json.loads(body)["status"] != "sent"
        free.append(connection)

    under_way: set[asyncio.Task[None]] = set()
    begun = time.perf_counter()
    for place in range(int(seconds / EVERY_SECONDS)):
        await asyncio.sleep(begun + place * EVERY_SECONDS - time.perf_counter())
        if free:
            under_way.add(asyncio.create_task(send(place)))
        else:
            codes.failed += 1
    await asyncio.gather(*under_way)
    return codes


async def send_and_probe(port: int, key: str, seconds: float) -> tuple[Codes, float]:
    """Send codes, and ask for health, readiness and metrics now and then; the longest that one of these took, in ms."""
    connection, slowest, over = Connection(port), 0.0, False

    async def probe() -> None:
        nonlocal slowest
        while not over:
            for path in ("/healthz", "/readyz", "/metrics"):
                begun = time.perf_counter()
                await connection.ask(build_request("GET", path, key))
                slowest = max(slowest, (time.perf_counter() - begun) * 1000)
            await asyncio.sleep(0.5)

    probing = asyncio.create_task(probe())
    codes = await send_codes(port, key, seconds)
    over = True
    await probing
    return codes, slowest


@contextmanager
def running(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process of ``neighbour_loads.py``, ended by closing its input."""
    command = [sys.executable, str(HERE / "neighbour_loads.py"), *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if not process.stdin.closed:  # type: ignore[union-attr]
            process.communicate()


@contextmanager
def running_upstream(**seconds: float) -> Iterator[int]:
    """An upstream; gives its port."""
    port = free_port()
    with running("upstream", str(port), json.dumps(seconds)):
        wait_for_port(port)
        yield port


@contextmanager
def running_relay(relay: RelayProcess) -> Iterator[RelayProcess]:
    """A relay that is ready."""
    relay.start()
    try:
        yield relay
    finally:
        relay.process.kill()  # what its queue still holds is of no interest
        relay.process.wait()


def prepare(directory: Path, clients: Sequence[ClientKey], upstream: int, code: Path = HERE.parents[1]) -> RelayProcess:
    """A relay of some checkout, not started yet."""
    environment = {"RELAY_LOG_LEVEL": "info", "PYTHONPATH": str(code)}
    return make_relay(directory, *clients, upstream=f"http://127.0.0.1:{upstream}", environment=environment)


def fill(path: Path, clients: Sequence[ClientKey]) -> None:
    """Give every client notifications to 10,000 recipients each, as the journal would have written them."""

    class Clock:
        def now_ms(self) -> int:
            return time.time_ns() // 1_000_000

        def monotonic(self) -> float:
            return time.monotonic()

    async def make_tables() -> None:
        journal = open_journal(f"sqlite:///{path}", clock=Clock())
        await journal.open()
        await journal.close()

    uvloop.run(make_tables())
    now, chunk = Clock().now_ms(), 100
    template = make_notification(*(f"234803{i:07}" for i in range(RECIPIENTS)), id="the-id", created_at=now)
    facts = encode_facts(replace(template, fingerprint=b"f" * 32))
    outcomes = encode_outcomes([SENT] * chunk)
    call = {"state": "done", "route": template.route.used.value, "level": 0, "dialled": True, "outcomes": outcomes}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for client in clients:
            for place in range(LISTED):
                at = now - place
                key = f"{at >> 16:08x}-{at & 65535:04x}-7000-8000-{place:04x}{client.key[-8:].encode().hex()[:8]}"
                row = {
                    "id": key,
                    "client": client.name,
                    "message_type": template.message_type.value,
                    "mode": template.mode.value,
                    "state": "done",
                    "fence": 1,
                    "status": "sent",
                    "unknown": False,
                    "created_at": at,
                    "completed_at": at,
                    "key_freed": "",
                    "facts": facts.replace("the-id", key, 1),
                    "counts": encode_counts({Status.SENT: RECIPIENTS}),
                }
                insert(connection, "notifications", row)
                for begin in range(0, RECIPIENTS if place < WITH_CALLS else 0, chunk):
                    made = {
                        "notification_id": key,
                        "ordinal": begin // chunk + 1,
                        "recipients": encode_indexes(tuple(range(begin, begin + chunk))),
                    }
                    insert(connection, "calls", call | made)
        connection.execute("COMMIT")


def insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    """Write one row; every column that is not given is null."""
    names = [column.name for column in metadata.tables[table].columns]
    marks = ", ".join("?" * len(names))
    connection.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", [row.get(name) for name in names])


def wait_until_settled(pid: int) -> None:
    """Wait until a process takes little CPU for a second, at most half a minute."""
    give_up = time.monotonic() + SETTLE_SECONDS
    before = cpu_seconds(pid)
    while time.monotonic() < give_up:
        time.sleep(1.0)
        now = cpu_seconds(pid)
        if now - before < 0.1:
            return
        before = now


def count_balance_calls(upstream: int) -> int:
    """How often the upstream was asked for the balance."""
    _, body = uvloop.run(Connection(upstream).ask(build_request("GET", COUNT_PATH, "-")))
    return int(json.loads(body).get("balance", 0))


@dataclass
class Row:
    """What was measured beside one neighbour."""

    neighbour: Neighbour
    idle: Codes
    beside: Codes
    balance_calls: int
    slowest_probe_ms: float
    answers: dict[str, int]

    def ratio(self, share: float) -> float:
        """How many times the figure without neighbours."""
        return self.beside.at(share) / self.idle.at(share)

    def meets_target(self) -> bool:
        """Whether it is what the issue asks for."""
        target, upstream_ms = self.neighbour.target, self.neighbour.upstream["send_seconds"] * 1000
        return (
            not self.beside.failed
            and self.slowest_probe_ms < PROBE_MS
            and self.ratio(0.5) <= target.p50
            and self.ratio(0.95) <= target.p95
            and (target.above_upstream_ms is None or self.beside.at(0.95) <= upstream_ms + target.above_upstream_ms)
            and (target.balance_calls is None or self.balance_calls <= target.balance_calls)
        )

    def cells(self) -> list[str]:
        """The row as text."""
        target = self.neighbour.target
        asked = []
        if target.above_upstream_ms is not None:
            asked.append(f"p95 ≤ upstream + {target.above_upstream_ms:.0f} ms")
        if target.p50 < math.inf:
            asked.append(f"≤ {target.p50:g} x, ≤ {target.p95:g} x")
        called = ""
        if target.balance_calls is not None:
            asked.append(f"≤ {target.balance_calls} calls")
            called = f"; {self.balance_calls} balance calls"
        answers = " ".join(f"{count} of {status}" for status, count in sorted(self.answers.items()))
        return [
            self.neighbour.name,
            f"{self.beside.failed} of {len(self.beside.milliseconds)}",
            f"{self.idle.at(0.5):.1f}, {self.idle.at(0.95):.1f}",
            f"{self.beside.at(0.5):.1f}, {self.beside.at(0.95):.1f}",
            f"{self.ratio(0.5):.1f} x, {self.ratio(0.95):.1f} x",
            ", ".join(asked) + (": yes" if self.meets_target() else ": **no**"),
            answers + called,
            f"{self.slowest_probe_ms:.0f}",
        ]


HEADER = [
    "beside it",
    "codes that fail",
    "alone: p50, p95 ms",
    "beside: p50, p95 ms",
    "ratio",
    "asked",
    "the others got",
    "slowest probe, ms",
]


def measure(neighbour: Neighbour, directory: Path, seconds: float) -> Row:
    """Measure one row."""
    quiet = make_client("quiet")
    others = [make_client(f"busy-{place}") for place in range(neighbour.clients)]
    place = directory / neighbour.load
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream(**neighbour.upstream))
        relay = prepare(place, [quiet, *others], upstream)
        if neighbour.filled:
            fill(place / "relay.db", others)
        stack.enter_context(running_relay(relay))
        wait_until_settled(relay.process.pid)
        uvloop.run(send_codes(relay.port, quiet.key, 2.0))
        idle = uvloop.run(send_codes(relay.port, quiet.key, seconds / 2))
        options = json.dumps({"keys": [client.key for client in others]})
        before = count_balance_calls(upstream)
        hog = stack.enter_context(running(neighbour.load, str(relay.port), options))
        hog.stdout.readline()  # type: ignore[union-attr]
        beside, slowest = uvloop.run(send_and_probe(relay.port, quiet.key, seconds))
        calls = count_balance_calls(upstream) - before
        answers, _ = hog.communicate()
        if relay.process.poll() is not None:
            raise RuntimeError(relay.log()[-2_000:])
    shutil.rmtree(place)
    return Row(neighbour, idle, beside, calls, slowest, json.loads(answers))


def compare_throughput(directory: Path, before: Path, count: int = 3_000) -> list[str]:
    """A client alone, over 64 connections: what it gets of this checkout and of another one, in turns."""
    client = make_client("alone")
    messages = [json.dumps(build_message(f"234801{i:07}")).encode() for i in range(count)]
    trees = {"now": HERE.parents[1], "before": before}
    rates: dict[str, list[float]] = {name: [] for name in trees}
    headers = [f"Authorization: Bearer {client.key}"]
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream(send_seconds=0.0, balance_seconds=0.0))
        relays = {
            name: stack.enter_context(running_relay(prepare(directory / name, [client], upstream, tree)))
            for name, tree in trees.items()
        }
        for turn in range(6):
            for name, relay in relays.items():
                run = uvloop.run(load(relay.port, messages, headers=headers, connections=64))
                if turn:  # the first one warms up
                    rates[name].append(run.statuses.get(200, 0) / run.seconds)
    now, then = (sorted(rates[name])[len(rates[name]) // 2] for name in trees)
    asked = f"≥ 95 %: {'yes' if now >= 0.95 * then else '**no**'}"
    return [
        "the hog's own throughput, alone",
        "-",
        f"before: {then:.0f}/s",
        f"{now:.0f}/s",
        f"{now / then:.0%}",
        asked,
        "",
        "",
    ]


def write_page(table: Sequence[str], note: str) -> None:
    """Put the table into the page, between its marks."""
    text = PAGE.read_text()
    table_text = "\n".join(["<!-- neighbours -->", note, "", *table, "<!-- /neighbours -->"])
    PAGE.write_text(re.sub(r"<!-- neighbours -->.*<!-- /neighbours -->", lambda _: table_text, text, flags=re.DOTALL))


def main() -> int:
    """Measure what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[each.load for each in NEIGHBOURS], help="these rows")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row, beside the neighbour")
    parser.add_argument("--before", type=Path, help="a checkout to compare a client's own throughput with")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}, too")
    options = parser.parse_args()
    lines, failed = [], 0

    def tell(cells: Sequence[str]) -> None:
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)

    tell(HEADER)
    tell(["---"] * len(HEADER))
    with tempfile.TemporaryDirectory(prefix="relay-neighbours-") as directory:
        for neighbour in NEIGHBOURS:
            if not options.only or neighbour.load in options.only:
                row = measure(neighbour, Path(directory), options.seconds)
                failed += row.beside.failed
                tell(row.cells())
        if options.before is not None:
            tell(compare_throughput(Path(directory), options.before.resolve()))
    if options.write:
        load_average = os.getloadavg()[1]
        note = (
            f"Measured by `make neighbours` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores for relay, upstream"
            f" and clients, and other programs beside them (load average {load_average:.1f}). Read the ratios."
        )
        write_page(lines, note)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
