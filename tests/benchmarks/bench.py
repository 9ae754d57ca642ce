"""``make bench``: the relay against the plain app, in one run, with an upstream that is not the bottleneck.

Prints a table of figures and their ratio to the baseline. Nothing here is asserted: the table reports.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from measure import Load, cpu_seconds, free_port, load, resident_mib, running_nginx, wait_for_port

from support_postgres import PostgresServer, find_server_programs
from support_relay import ClientKey, make_client, make_relay

HERE = Path(__file__).parent


@dataclass
class Row:
    """One line of the table."""

    name: str
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    rss_before: float
    rss_after: float
    statuses: Mapping[int, int]

    def cells(self, baseline: "Row | None") -> list[str]:
        """The line as text; ``baseline`` is the plain app's."""
        ratio = "1" if baseline is None else f"1/{baseline.cpu_us / self.cpu_us:.1f}"
        return [
            self.name,
            f"{self.per_second:.0f}",
            f"{self.p50_ms:.1f}",
            f"{self.p99_ms:.1f}",
            f"{self.cpu_us:.0f}",
            ratio,
            f"{self.rss_before:.0f} → {self.rss_after:.0f}",
            " ".join(f"{count} of {status}" for status, count in sorted(self.statuses.items())),
        ]


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
    running = make_relay(
        directory, client, upstream=upstream, journal=journal, toml=settings, environment={"RELAY_LOG_LEVEL": "info"}
    )
    running.start()
    try:
        yield running.port, running.process.pid
    finally:
        running.stop()


def bodies(count: int, start: int) -> list[bytes]:
    """Different notifications, one recipient each."""
    return [
        json.dumps(
            {"sender": "ACME", "recipients": [f"234801{start + i:07}"], "message": f"Your order {i} is on its way."}
        ).encode()
        for i in range(count)
    ]


def measure(
    name: str,
    port: int,
    pid: int,
    requests: list[bytes],
    *,
    each: int = 1,
    connections: int = 64,
    headers: list[str] | None = None,
    path: str = "/v1/notifications",
    rate: float | None = None,
) -> Row:
    """Run a load and see what it cost the process; ``each`` is how many notifications (or recipients) a request is."""
    before, memory = cpu_seconds(pid), resident_mib(pid)
    run: Load = asyncio.run(load(port, requests, path=path, headers=headers or [], connections=connections, rate=rate))
    cost = cpu_seconds(pid) - before
    return Row(
        name,
        run.per_second * each,
        run.percentile_ms(0.5),
        run.percentile_ms(0.99),
        cost / (len(requests) * each) * 1e6,
        memory,
        resident_mib(pid),
        run.statuses,
    )


def print_table(rows: list[list[str]]) -> None:
    """Print a Markdown table, as the README shows it."""
    print("| " + " | ".join(HEADER) + " |")
    print("| " + " | ".join("---" for _ in HEADER) + " |")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> int:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notifications", type=int, default=10_000, help="for each row")
    options = parser.parse_args()
    count = options.notifications
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(running_nginx(directory))
        if upstream is None:
            print("nginx is not installed; it is the upstream of this benchmark (Debian: nginx-light)")
            return 1
        rows = list(run_rows(stack, directory, upstream, count))
    baseline = rows[0]
    print_table([row.cells(None if row is baseline else baseline) for row in rows])
    return 0


def run_rows(stack: ExitStack, directory: Path, upstream: str, count: int) -> Iterator[Row]:
    """The rows, the baseline first."""
    client = make_client()
    auth = [f"Authorization: Bearer {client.key}"]
    with plain_app(upstream) as (port, pid):
        measure("warm-up", port, pid, bodies(500, 0))
        yield measure("(a) plain app, 64 in flight", port, pid, bodies(count, 0))
    keepalive = "[smsclone]\nkeepalive_seconds = 30\n"
    with relay(directory / "fresh", client, upstream) as (port, pid):
        measure("warm-up", port, pid, bodies(500, 0), headers=auth)
        for in_flight in (8, 64):
            name = f"(b) relay, SQLite, fresh connections, {in_flight} in flight"
            yield measure(name, port, pid, bodies(count, 10_000), headers=auth, connections=in_flight)
        yield measure("(b) the same at 200/s", port, pid, bodies(2_000, 50_000), headers=auth, rate=200)
    with relay(directory / "kept", client, upstream, toml=keepalive) as (port, pid):
        measure("warm-up", port, pid, bodies(500, 0), headers=auth)
        yield measure("(b) relay, SQLite, kept-alive, 64 in flight", port, pid, bodies(count, 10_000), headers=auth)
        batches = [b"[" + b",".join(bodies(100, 100_000 + i * 100)) + b"]" for i in range(count // 100)]
        name = "(d) batch of 100, acceptance and sending"
        yield measure(name, port, pid, batches, each=100, headers=auth, path="/v1/notifications/batch", connections=4)
        yield many_recipients(port, pid, auth)
    programs = find_server_programs()
    if programs is not None:
        server = PostgresServer(programs)
        stack.callback(server.remove)
        server.initialize()
        server.start()
        url = server.url(server.create_database())
        with relay(directory / "postgresql", client, upstream, journal=url) as (port, pid):
            measure("warm-up", port, pid, bodies(500, 0), headers=auth)
            yield measure("(c) relay, PostgreSQL, fresh, 64 in flight", port, pid, bodies(count, 10_000), headers=auth)


def many_recipients(port: int, pid: int, auth: list[str]) -> Row:
    """One text to 10,000 recipients; acceptance and all the calls."""
    recipients = [f"234802{i:07}" for i in range(10_000)]
    body = json.dumps({"sender": "ACME", "recipients": recipients, "message": "Your order is on its way."}).encode()
    row = measure(
        "(e) one text to 10,000 recipients",
        port,
        pid,
        [body],
        each=10_000,
        headers=[*auth, "Prefer: respond-async"],
        connections=1,
    )
    before = cpu_seconds(pid)
    readings = [before]
    while len(readings) < 3 or statistics.pstdev(readings[-3:]) > 0.005:
        asyncio.run(asyncio.sleep(0.5))
        readings.append(cpu_seconds(pid))
    row.cpu_us += (readings[-1] - before) / 10_000 * 1e6
    row.rss_after = resident_mib(pid)
    return row


if __name__ == "__main__":
    sys.exit(main())
