"""``make bench``: the relay against the plain app, in one run, with an upstream that is not the bottleneck.

Prints a table of figures and their ratio to the baseline, and one of the targets. Nothing here is asserted: the tables
report.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop
from measure import Load, cpu_seconds, free_port, load, resident_mib, running_kannel, running_nginx, wait_for_port
from targets import (
    BATCHES,
    FRESH,
    FRESH_FEW,
    FRESH_STEADY,
    KANNEL,
    KEPT,
    OVERLOAD,
    PLAIN_STEADY,
    Row,
    print_targets,
)

from support.postgres import PostgresServer, find_server_programs
from support.relay import ClientKey, make_client, make_relay

HERE = Path(__file__).parent
KEEPALIVE = "[smsclone]\nkeepalive_seconds = 30\n"
TURNS = 5
STEADY = 400
"""Notifications of a turn at a steady rate."""
_LOOKING_SECONDS = 0.05
"""CPU that an idle process may take in a second and a half, on a slow machine too."""


HEADER = ["what", "n/s", "p50 ms", "p99 ms", "CPU µs each", "to the app", "RSS MiB", "answers"]


@contextmanager
def plain_app(upstream: str) -> Iterator[tuple[int, int]]:
    """The baseline, on granian as its author would run it; gives port and process id."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--workers", "1", "--no-ws", "--loop", "uvloop"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--log-level", "critical", "plain_app:app"],
        cwd=HERE,
        env={"PATH": os.environ["PATH"], "UPSTREAM": upstream},
    )
    try:
        wait_for_port(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def relay(
    directory: Path, client: ClientKey, upstream: str, *, journal: str | None = None, toml: str = ""
) -> Iterator[tuple[int, int]]:
    """The relay with everything on; gives port and process id."""
    words = directory / "words.toml"
    directory.mkdir(parents=True)
    entries = (f'[[entry]]\ntext = "badword{i}x"\ncategory = "bench"\naction = "block"\n' for i in range(1000))
    words.write_text("\n".join(entries))
    settings = f'[prefilter]\nlists = ["{words}"]\n{toml}'
    environment = {"RELAY_LOG_LEVEL": "info", "PYTHONPATH": str(HERE.parents[1])}
    running = make_relay(directory, client, upstream=upstream, journal=journal, toml=settings, environment=environment)
    running.start()
    try:
        yield running.port, running.process.pid
    finally:
        running.stop()


def bodies(count: int, start: int, message_type: str = "transactional") -> list[bytes]:
    """Different notifications, one recipient each."""
    return [
        json.dumps(
            {
                "sender": "ACME",
                "recipients": [f"234801{start + i:07}"],
                "message": f"Your order {i} is on its way.",
                "message_type": message_type,
            }
        ).encode()
        for i in range(count)
    ]


def measure(
    name: str,
    port: int,
    pids: int | Sequence[int],
    requests: list[bytes],
    *,
    each: int = 1,
    connections: int = 64,
    headers: list[str] | None = None,
    path: str = "/v1/notifications",
    rate: float | None = None,
    whole: bool = False,
    queued: bool = False,
) -> Row:
    """Run a load and see what it cost the processes; ``each`` is how many notifications a request is.

    What is ``queued`` goes on after its answer: it is waited for.
    """
    running = [pids] if isinstance(pids, int) else list(pids)
    before, memory = sum(map(cpu_seconds, running)), sum(map(resident_mib, running))
    run: Load = uvloop.run(
        load(
            port,
            requests,
            path=path,
            headers=headers or [],
            connections=connections,
            rate=rate,
            keys=headers is not None and each == 1,
            whole=whole,
        )
    )
    cost = (wait_until_idle(running) if queued else sum(map(cpu_seconds, running))) - before
    return Row(
        name,
        run.per_second * each,
        run.percentile_ms(0.5),
        run.percentile_ms(0.99),
        cost / (len(requests) * each) * 1e6,
        memory,
        sum(map(resident_mib, running)),
        run,
    )


def wait_until_idle(pids: Sequence[int]) -> float:
    """CPU seconds of processes once they have nothing left to do: what one does that only looks is no work."""
    readings = [sum(map(cpu_seconds, pids))]
    while len(readings) < 7 or readings[-1] - readings[-7] > _LOOKING_SECONDS * len(pids):
        time.sleep(0.25)
        readings.append(sum(map(cpu_seconds, pids)))
    return readings[-1]


def print_table(rows: list[list[str]]) -> None:
    """Print a Markdown table, as the page beside this file shows it."""
    print("| " + " | ".join(HEADER) + " |")
    print("| " + " | ".join("---" for _ in HEADER) + " |")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> int:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notifications", type=int, default=10_000, help="for each row")
    parser.add_argument("--runs", type=int, default=1, help="how often; of each target the worst counts")
    parser.add_argument("--soak", type=int, help="only this: how memory grows over so many notifications")
    options = parser.parse_args()
    count = options.notifications
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(running_nginx(directory))
        if upstream is None:
            print("nginx is not installed; it is the upstream of this benchmark (Debian: nginx-light)")
            return 1
        if options.soak:
            soak(directory, upstream, options.soak)
            return 0
        runs = [run_once(directory / f"run{number}", upstream, count) for number in range(options.runs)]
    print_targets(runs)
    return 0


def run_once(directory: Path, upstream: str, count: int) -> list[Row]:
    """All the rows once, printed."""
    directory.mkdir()
    with ExitStack() as stack:
        rows = list(run_rows(stack, directory, upstream, count))
    baseline = rows[0]
    print_table([row.cells(None if row is baseline else baseline) for row in rows])
    return rows


def run_rows(stack: ExitStack, directory: Path, upstream: str, count: int) -> Iterator[Row]:
    """The rows, the baseline first."""
    client = make_client()
    auth = [f"Authorization: Bearer {client.key}"]
    yield from run_in_turn(directory, client, upstream, count)
    with relay(directory / "flooded", client, upstream) as (port, pid):
        yield from beside_slow_clients(port, pid, auth)
        capacity = measure("warm-up", port, pid, bodies(4_000, 0), headers=auth).per_second
        yield overload(port, pid, auth, capacity)
    with relay(directory / "batches", client, upstream, toml=KEEPALIVE) as (port, pid):
        yield measure_batches(BATCHES, port, pid, auth, count)
        yield many_recipients(port, pid, auth)
    with relay(directory / "held", client, upstream, toml=quiet_now()) as (port, pid):
        yield measure_batches("(d) batch of 100, acceptance alone", port, pid, auth, count, message_type="promotional")
    yield from run_replicas(stack, directory, client, upstream, count)


def run_in_turn(directory: Path, client: ClientKey, upstream: str, count: int) -> Iterator[Row]:
    """What is compared takes turns, a fifth of the work at a time: a machine that slows down slows all of them."""
    auth = [f"Authorization: Bearer {client.key}"]
    with (
        plain_app(upstream) as (app, app_pid),
        relay(directory / "fresh", client, upstream) as (fresh, fresh_pid),
        relay(directory / "kept", client, upstream, toml=KEEPALIVE) as (kept, kept_pid),
        running_kannel(directory, upstream) as kannel,
    ):
        turns: dict[str, Callable[[int], Row]] = {
            "(a) plain app, kept-alive, 64 in flight": lambda begin: measure("", app, app_pid, bodies(share, begin)),
            "(a) the same, 8 in flight": lambda begin: measure("", app, app_pid, bodies(share, begin), connections=8),
            FRESH: lambda begin: measure("", fresh, fresh_pid, bodies(share, begin), headers=auth),
            FRESH_FEW: lambda begin: measure(
                "", fresh, fresh_pid, bodies(share, begin + share), headers=auth, connections=8
            ),
            KEPT: lambda begin: measure("", kept, kept_pid, bodies(share, begin), headers=auth),
            PLAIN_STEADY: lambda begin: measure("", app, app_pid, bodies(STEADY, begin), rate=200),
            FRESH_STEADY: lambda begin: measure(
                "", fresh, fresh_pid, bodies(STEADY, begin + 2 * share), headers=auth, rate=200
            ),
            "(b) relay, kept-alive, at 200/s": lambda begin: measure(
                "", kept, kept_pid, bodies(STEADY, begin + share), headers=auth, rate=200
            ),
        }
        if kannel is not None:
            port, pids = kannel
            turns[KANNEL] = lambda begin: measure("", port, pids, kannel_requests(share), whole=True, queued=True)
        share = count // TURNS
        at_start = resident_mib(fresh_pid)
        for place in (app, fresh, kept):
            uvloop.run(load(place, bodies(500, 0), headers=auth, connections=64))
        rounds = [[turn(10_000 + place * 3 * count) for turn in turns.values()] for place in range(TURNS)]
        joined = {name: join(name, rows) for name, rows in zip(turns, zip(*rounds, strict=True), strict=True)}
        joined[FRESH].rss_before = at_start
        yield from joined.values()


def join(name: str, rows: Sequence[Row]) -> Row:
    """The rows of all turns as one."""
    latencies: dict[int, list[float]] = {}
    for row in rows:
        for status, seconds in row.run.latencies.items():
            latencies.setdefault(status, []).extend(seconds)
    run = Load(sum(row.run.seconds for row in rows), latencies)
    cpu = sum(row.cpu_us * row.run.requests for row in rows) / run.requests
    return Row(
        name,
        run.per_second,
        run.percentile_ms(0.5),
        run.percentile_ms(0.99),
        cpu,
        rows[0].rss_before,
        rows[-1].rss_after,
        run,
    )


def soak(directory: Path, upstream: str, count: int) -> None:
    """Memory and cost of one relay while it sends so many notifications, ten times on the way."""
    client = make_client()
    auth = [f"Authorization: Bearer {client.key}"]
    with relay(directory / "soak", client, upstream) as (port, pid):
        print(f"at the start: {resident_mib(pid):.1f} MiB", flush=True)
        for tenth in range(10):
            row = measure("", port, pid, bodies(count // 10, tenth * (count // 10)), headers=auth)
            print(
                f"after {(tenth + 1) * (count // 10)}: {row.rss_after:.1f} MiB, {row.cpu_us:.0f} µs each, "
                f"{row.per_second:.0f}/s",
                flush=True,
            )


def beside_slow_clients(port: int, pid: int, auth: list[str]) -> Iterator[Row]:
    """A steady rate, alone and beside a thousand clients that begin a request and do not go on, in turns."""
    turns = 3
    alone, beside = [], []
    measure("warm-up", port, pid, bodies(1_000, 7_000_000), headers=auth)
    for turn in range(turns):
        begin = 7_100_000 + turn * 2 * STEADY
        alone.append(measure("", port, pid, bodies(STEADY, begin), headers=auth, rate=200))
        with slow_clients(port, auth, 1_000):
            beside.append(measure("", port, pid, bodies(STEADY, begin + STEADY), headers=auth, rate=200))
    yield join("(b) relay, fresh, at 200/s, alone", alone)
    yield join("(b) the same beside 1,000 slow clients", beside)


@contextmanager
def slow_clients(port: int, auth: list[str], count: int) -> Iterator[None]:
    """Connections that stand still: half of them inside the head of a request, half inside its body."""
    heads = [
        b"POST /v1/notifications HTTP/1.1\r\nHost: rel",
        "\r\n".join(
            ["POST /v1/notifications HTTP/1.1", "Host: relay", *auth, "Content-Type: application/json"]
        ).encode()
        + b"\r\nContent-Length: 100\r\n\r\n{",
    ]
    with ExitStack() as stack:
        for place in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(heads[place % 2])
        yield


def overload(port: int, pid: int, auth: list[str], capacity: float) -> Row:
    """Five times what it can do, for five seconds."""
    seconds, connections = 5, 1_000
    requests = bodies(int(capacity * 5 * seconds), 6_000_000)
    row = measure("(b) overload", port, pid, requests, headers=auth, connections=connections, rate=capacity * 5)
    good = row.run.statuses.get(200, 0) / row.run.seconds
    row.left = good / capacity
    row.name = (
        f"{OVERLOAD}: {row.left:.0%} of its best, a refusal within {row.run.percentile_ms(0.99, 503):.0f} ms (p99)"
    )
    return row


def measure_batches(
    name: str, port: int, pid: int, auth: list[str], count: int, message_type: str = "transactional"
) -> Row:
    """Batches of 100, all texts different."""
    batches = [b"[" + b",".join(bodies(100, 100_000 + i * 100, message_type)) + b"]" for i in range(count // 100)]
    path = "/v1/notifications/batch"
    return measure(name, port, pid, batches, each=100, headers=auth, path=path, connections=4, queued=True)


def quiet_now() -> str:
    """Settings by which promotional messages are held for some hours, so that acceptance can be seen alone."""
    now = datetime.now(UTC)
    begin, end = (f"{(now + timedelta(hours=hours)):%H:%M}" for hours in (-1, 6))
    return f'[quiet_hours]\npromotional = {{ from = "{begin}", to = "{end}", time_zone = "UTC" }}\n'


def run_replicas(stack: ExitStack, directory: Path, client: ClientKey, upstream: str, count: int) -> Iterator[Row]:
    """One, two and three relays on one PostgreSQL, the same work shared between them."""
    programs = find_server_programs()
    if programs is None:
        return
    auth = [f"Authorization: Bearer {client.key}"]
    server = PostgresServer(programs)
    stack.callback(server.remove)
    server.initialize()
    server.start()
    assert server.process is not None
    for replicas in (1, 2, 3):
        url = server.url(server.create_database())
        with ExitStack() as running:
            places = [directory / f"postgresql-{replicas}-{place}" for place in range(replicas)]
            relays = [running.enter_context(relay(place, client, upstream, journal=url)) for place in places]
            for port, pid in relays:
                measure("warm-up", port, pid, bodies(300, 0), headers=auth)
            yield measure_shared(relays, auth, count, server.process.pid)


def measure_shared(relays: Sequence[tuple[int, int]], auth: list[str], count: int, database: int) -> Row:
    """The same work shared between relays; what the database took is told in the row's name."""
    share, pids = count // len(relays), [pid for _, pid in relays]
    before, memory, of_database = sum(map(cpu_seconds, pids)), sum(map(resident_mib, pids)), cpu_seconds(database)

    async def run_all() -> list[Load]:
        connections = 64 // len(relays)
        return await asyncio.gather(
            *(
                load(port, bodies(share, 10_000 + place * share), headers=auth, connections=connections, keys=True)
                for place, (port, _) in enumerate(relays)
            )
        )

    loads = uvloop.run(run_all())
    cost = sum(map(cpu_seconds, pids)) - before  # every answer came once its notification was done
    run = Load(max(each.seconds for each in loads), {200: [s for each in loads for s in each.latencies.get(200, ())]})
    each = cost / (share * len(relays)) * 1e6
    asked = f"PostgreSQL itself {(cpu_seconds(database) - of_database) / (share * len(relays)) * 1e6:.0f} µs"
    name = f"(c) {len(relays)} relay{'s' if len(relays) > 1 else ''}, PostgreSQL, fresh, 64 in flight; {asked}"
    return Row(
        name,
        run.per_second,
        run.percentile_ms(0.5),
        run.percentile_ms(0.99),
        each,
        memory,
        sum(map(resident_mib, pids)),
        run,
    )


def kannel_requests(count: int) -> list[bytes]:
    """The same messages for Kannel's HTTP interface."""
    return [
        (
            f"GET /cgi-bin/sendsms?username=u&password=bench&from=ACME&to=234801{i:07}"
            f"&text=Your+order+{i}+is+on+its+way. HTTP/1.1\r\nHost: kannel\r\n\r\n"
        ).encode()
        for i in range(count)
    ]


def many_recipients(port: int, pid: int, auth: list[str]) -> Row:
    """One text to 10,000 recipients; acceptance and all the calls."""
    recipients = [f"234802{i:07}" for i in range(10_000)]
    body = json.dumps({"sender": "ACME", "recipients": recipients, "message": "Your order is on its way."}).encode()
    return measure(
        "(e) one text to 10,000 recipients",
        port,
        pid,
        [body],
        each=10_000,
        headers=[*auth, "Prefer: respond-async"],
        connections=1,
        queued=True,
    )


if __name__ == "__main__":
    sys.exit(main())
