"""What a full journal costs: sends, every filter of a list, purge, erase and start, beside those of a small one.

    python tests/benchmarks/scale.py 5000000                        # SQLite, in a temporary directory
    python tests/benchmarks/scale.py 1000000 --postgres             # PostgreSQL from the wheel
    python tests/benchmarks/scale.py 1000000 --clients 300          # what an operator looks up, over that many clients

The rows are written behind the journal's back, as it would have written them: ten clients, thirty days, twenty
notifications a number. Only what is measured goes through the journal, small and large in turns. Prints a table with
the ratio of each figure; exits with 1 where a figure grows by more than ``--most`` (not at all by default: a busy
machine proves nothing).
"""

import argparse
import asyncio
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import psycopg
import uuid_utils
import uvloop
from msgspec.structs import replace

from relay.domain.codes import NotificationStatus
from relay.domain.notification import CallState, conclude
from relay.domain.usage import UsageField, UsageQuery
from relay.journal import open_journal
from relay.journal.encoding import encode_counts, encode_facts, encode_indexes, encode_outcomes
from relay.journal.lookups import Subjects, message_id_subject
from relay.journal.schema import metadata
from relay.journal.usage_ledger import day_of
from relay.sending.ports import Journal, ListFilter
from support.journal import NO_ANSWER, NOT_SENT, REJECTED, SENT, accept, audit, first_call, make_claim
from support.postgres import PostgresServer, find_server_programs

KEY = b"k" * 32
SMALL = 10_000
DAYS_MS = 30 * 86_400_000
A_NUMBER = 20
CLIENTS = 10
DAYS = 30
SAMPLES = 30
CHUNK = 20_000
PURGED = 2_000
REMOVALS = 3
ROUNDS = 5
SENDS_A_ROUND = 40
TABLES = ("notifications", "calls", "lookups", "usage")
Rows = dict[str, list[tuple[Any, ...]]]
Figures = dict[str, list[float]]
Work = Callable[[], Awaitable[object]]


class Clock:
    """The machine's."""

    def now_ms(self) -> int:
        """Milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic()


def number_of(row: int, rows: int) -> str:
    """Whom a row is to."""
    return f"23480{row % max(rows // A_NUMBER, 1):08}"


def make_usage(clients: int, now: int) -> list[tuple[Any, ...]]:
    """A row a day, client, type and outcome."""
    return [
        (
            day_of(now - day * 86_400_000),
            f"client-{client}",
            "",
            kind,
            "dnd-fallback",
            "smsclone",
            outcome,
            0,
            9,
            9,
            9,
            9,
        )
        for day in range(DAYS)
        for client in range(clients)
        for kind in ("otp", "transactional", "promotional")
        for outcome in ("sent", "rejected", "unknown")
    ]


def generate(rows: int, now: int, clients: int) -> Iterator[Rows]:
    """Rows of every table, in chunks, the oldest first."""
    subjects = Subjects(KEY)
    template = make_claim().notification
    columns = {name: [column.name for column in metadata.tables[name].columns] for name in TABLES}
    for begin in range(0, rows, CHUNK):
        chunk: Rows = {name: [] for name in TABLES}
        chunk["usage"] = make_usage(clients, now) if begin == 0 else []
        for row in range(begin, min(begin + CHUNK, rows)):
            number = number_of(row, rows)
            at = now - DAYS_MS + row * (DAYS_MS // rows)
            key = f"{at >> 16:08x}-{at & 65535:04x}-7000-8000-{row:012x}"
            outcome = (
                REJECTED if row % 20 == 3 else NO_ANSWER if row % 100 == 7 else NOT_SENT if row % 100 == 9 else SENT
            )
            if outcome.upstream is not None:
                outcome = replace(outcome, upstream=replace(outcome.upstream, message_id=f"99675{row:012}"))
            made = replace(
                template,
                id=key,
                client=f"client-{row % clients}",
                created_at=at,
                reference=f"order-{row // A_NUMBER}" if row // clients % 2 else f"campaign-{row * 7 // rows}",
                idempotency_key=f"key-{row}",
                fingerprint=b"f" * 32,
                entries=(replace(template.entries[0], input="0" + number[3:], number=number),),
            )
            status = outcome.status.value
            values = dict.fromkeys(columns["notifications"]) | {
                "id": key,
                "client": made.client,
                "message_type": made.message_type.value,
                "mode": made.mode.value,
                "state": "done",
                "fence": 1,
                "status": status,
                "unknown": status == "unknown",
                "created_at": at,
                "completed_at": at + 900,
                "reference": made.reference,
                "idempotency_key": made.idempotency_key,
                "key_freed": "",
                "key_expires_at": at + DAYS_MS // 4,
                "facts": encode_facts(made),
                "counts": encode_counts({outcome.status: 1}),
            }
            chunk["notifications"].append(tuple(values[name] for name in columns["notifications"]))
            call = {
                "notification_id": key,
                "ordinal": 1,
                "state": "done",
                "route": made.route.used.value,
                "level": 0,
                "dialled": True,
                "recipients": encode_indexes([0]),
                "outcomes": encode_outcomes([outcome]),
            }
            chunk["calls"].append(tuple(call.get(name) for name in columns["calls"]))
            chunk["lookups"].append((subjects.recipient(number), made.client, at, key))
            if outcome.upstream is not None:
                chunk["lookups"].append((message_id_subject(f"99675{row:012}"), "", 0, key))
        yield chunk


def fill_sqlite(path: Path, rows: int, now: int, clients: int) -> None:
    """Write the rows into a file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -500000")
        for chunk in generate(rows, now, clients):
            connection.execute("BEGIN")
            for name, several in filter(lambda each: each[1], chunk.items()):
                # By name: a migration puts a new column last, wherever it stands in the schema.
                columns = ", ".join(column.name for column in metadata.tables[name].columns)
                marks = ", ".join("?" * len(several[0]))
                connection.executemany(f"INSERT INTO {name} ({columns}) VALUES ({marks})", several)
            connection.execute("COMMIT")


def fill_postgres(url: str, rows: int, now: int, clients: int) -> None:
    """Write the rows into a database."""
    with psycopg.connect(url, autocommit=True) as connection:
        for chunk in generate(rows, now, clients):
            for name, several in chunk.items():
                columns = ", ".join(column.name for column in metadata.tables[name].columns)
                with connection.cursor().copy(f"COPY {name} ({columns}) FROM STDIN".encode()) as copy:
                    for row in several:
                        copy.write_row(row)
        connection.execute("VACUUM ANALYZE")


async def milliseconds(work: Work) -> float:
    """How long something takes."""
    begun = time.perf_counter()
    await work()
    return (time.perf_counter() - begun) * 1000


async def send_one(journal: Journal) -> None:
    """Claim with the right to dial, record, end."""
    claim = make_claim(id=str(uuid_utils.uuid7()), created_at=Clock().now_ms(), claim={"dials": True})
    lease = await accept(journal, claim)
    call = lease.stored.calls[0]
    done = replace(lease.stored, calls=(replace(call, state=CallState.DONE, outcomes=(SENT,)),))
    await journal.record(first_call(lease), (SENT,), ended=conclude(done, Clock().now_ms()))


def filters(rows: int, now: int) -> dict[str, dict[str, Any]]:
    """Every filter of a list, and combinations."""
    row = rows // 2 - rows // 2 % CLIENTS + 3
    third = {"created_from": now - DAYS_MS // 2, "created_to": now - DAYS_MS // 3}
    return {
        "no filter": {},
        "status=sent": {"status": NotificationStatus.SENT},
        "status=rejected": {"status": NotificationStatus.REJECTED},
        "status=in_progress (none)": {"status": NotificationStatus.IN_PROGRESS},
        "reference, few": {"reference": f"order-{row // A_NUMBER}"},
        "reference, many": {"reference": "campaign-3"},
        "recipient": {"recipient": number_of(row, rows)},
        "recipient that got none": {"recipient": "2349099999999"},
        "key": {"idempotency_key": f"key-{row}"},
        "key that is not there": {"idempotency_key": "no-such-key"},
        "created_from, created_to": third,
        "status and reference": {"status": NotificationStatus.REJECTED, "reference": "campaign-3"},
        "status and reference, none": {"status": NotificationStatus.PARTIAL, "reference": "campaign-3"},
        "recipient and status": {"recipient": number_of(row, rows), "status": NotificationStatus.REJECTED},
        "recipient, reference, time": {"recipient": number_of(row, rows), "reference": "campaign-3", **third},
    }


class Filled(NamedTuple):
    """A journal with so many rows, the newest of which is of ``now``."""

    journal: Journal
    rows: int
    now: int

    def list_works(self, limit: int) -> dict[str, Work]:
        """Every list, with pages of so many."""
        return {
            f"list: {name}": partial(self.journal.list_overviews, ListFilter(client="client-3", limit=limit, **fields))
            for name, fields in filters(self.rows, self.now).items()
        }

    async def read_works(self) -> dict[str, Work]:
        """Whatever only reads."""
        whole = partial(self.journal.select, ListFilter(client="client-3", limit=20))
        return self.list_works(50) | {"list: 20 with recipients": whole} | await look_ups(*self)


async def in_turns(works: Sequence[Work], samples: int) -> list[float]:
    """The median of each, in milliseconds; a machine that changes its speed changes it for all of them."""
    taken: list[list[float]] = [[] for _ in works]
    there = list(zip(works, taken, strict=True))
    for sample in range(samples):
        for work, times in there if sample % 2 else reversed(there):  # neither always pays for what the other leaves
            times.append(await milliseconds(work))
    return [statistics.median(times) for times in taken]


async def measure(small: Filled, large: Filled) -> Figures:
    """Every figure of two journals."""
    both = (small, large)
    figures = {"start": [await milliseconds(each.journal.open) for each in both]}
    sends = [partial(send_one, each.journal) for each in both]
    await in_turns(sends, 50)
    figures["send, p50"] = await in_turns(sends, 200)
    few, many = [await each.read_works() for each in both]
    for name in few:
        figures[name] = await in_turns((few[name], many[name]), SAMPLES)
    figures["send beside lists, p50"] = await sends_beside([(each.journal, each.list_works(200)) for each in both])
    figures["send beside an operator's look-ups, p50"] = await sends_beside(
        [(each.journal, await look_ups(*each)) for each in both]
    )
    figures[f"erase a number ({A_NUMBER} notifications)"] = await in_turns(
        [partial(erase_next, each, iter(range(each.rows // 3, each.rows))) for each in both], REMOVALS
    )
    figures[f"purge {PURGED}"] = await in_turns([partial(purge_next, each, count(1)) for each in both], REMOVALS)
    for each in both:
        await each.journal.close()
    return figures


async def erase_next(filled: Filled, rows: Iterator[int]) -> None:
    """Erase a number that has not been erased."""
    assert await filled.journal.erase_recipient(number_of(next(rows), filled.rows), audit("erase"))


async def purge_next(filled: Filled, times: Iterator[int]) -> None:
    """Purge the oldest that are left."""
    until = filled.now - DAYS_MS + next(times) * PURGED * (DAYS_MS // filled.rows)
    assert await filled.journal.purge(until)


async def look_ups(journal: Journal, rows: int, now: int) -> dict[str, Work]:
    """What an operator asks, over all clients."""
    day = {"created_from": now - DAYS_MS // 2, "created_to": now - DAYS_MS // 2 + 86_400_000}
    days = {"first_day": day_of(now - DAYS_MS), "until_day": day_of(now + 86_400_000)}
    month = UsageQuery(**days, by=(UsageField.CLIENT,))
    some_id = (await journal.search(ListFilter(client=None, limit=1)))[0]

    async def search(**fields: Any) -> None:
        await journal.read_overviews(await journal.search(ListFilter(client=None, limit=51, **fields)))

    async def list_unknown() -> None:
        page = await journal.list_unknown(51)
        await journal.read_evidence([call.stored for call in page])

    return {
        "operator: find by number": lambda: search(recipient=number_of(rows // 2, rows)),
        "operator: find by number and time": lambda: search(recipient=number_of(rows // 2, rows), **day),
        "operator: find by message id": lambda: search(message_id=f"99675{rows // 2:012}"),
        "operator: find by time": lambda: search(**day),
        "operator: find by status, many": lambda: search(status=NotificationStatus.SENT),
        "operator: find by status, few": lambda: search(status=NotificationStatus.UNKNOWN),
        "operator: find by reference": lambda: search(reference="campaign-3"),
        "operator: find by reference that is not there": lambda: search(reference="no-such-order"),
        "operator: list unknown": list_unknown,
        "operator: count unknown": journal.count_unknown,
        "operator: usage of a month, by client": lambda: journal.usage(month),
        "operator: find by id": lambda: journal.find(some_id),
        "operator: timeline": lambda: journal.read_timeline(some_id),
    }


async def sends_beside(busy: Sequence[tuple[Journal, Mapping[str, Work]]]) -> list[float]:
    """The median of sends into each journal while somebody does its works without pause, by rounds in turns."""
    rounds = [[await send_beside(journal, works) for journal, works in busy] for _ in range(ROUNDS)]
    return [statistics.median(chain.from_iterable(several)) for several in zip(*rounds, strict=True)]


async def send_beside(journal: Journal, works: Mapping[str, Work]) -> list[float]:
    """Sends while somebody does these without pause."""
    stopped = False

    async def go_on() -> None:
        while not stopped:
            for work in works.values():
                await work()

    task = asyncio.create_task(go_on())
    sends = []
    for _ in range(SENDS_A_ROUND):
        sends.append(await milliseconds(lambda: send_one(journal)))
        await asyncio.sleep(0.005)
    stopped = True
    await task
    return sends


async def make_tables(url: str) -> None:
    """An empty journal."""
    journal = open_journal(url, clock=Clock(), hash_key=KEY)
    await journal.open()
    await journal.close()


@contextmanager
def filled(rows: int, clients: int, postgres: PostgresServer | None) -> Iterator[Filled]:
    """A journal with so many rows, not open yet."""
    directory = Path(tempfile.mkdtemp(prefix="relay-scale-"))
    now = Clock().now_ms()
    try:
        url = postgres.url(postgres.create_database()) if postgres else f"sqlite:///{directory / 'relay.db'}"
        uvloop.run(make_tables(url))
        begun = time.perf_counter()
        if postgres:
            fill_postgres(url, rows, now, clients)
        else:
            fill_sqlite(directory / "relay.db", rows, now, clients)
        print(f"{rows:,} rows in {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
        yield Filled(open_journal(url, clock=Clock(), hash_key=KEY), rows, now)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--clients", type=int, default=CLIENTS, help=f"how many clients ({CLIENTS})")
    parser.add_argument("--most", type=float, default=0.0, help="fail where a figure grows by more (and by 1 ms)")
    asked = parser.parse_args()
    if asked.rows < SMALL:
        parser.error(f"rows: at least {SMALL:,}, which is the journal that it is compared with")
    server = None
    programs = find_server_programs()
    if asked.postgres:
        if programs is None:
            print("no PostgreSQL for this platform")
            return 2
        server = PostgresServer(programs)
        server.initialize()
        server.start()
    try:
        with filled(asked.rows, asked.clients, server) as large, filled(SMALL, asked.clients, server) as small:
            figures = uvloop.run(measure(small, large))
    finally:
        if server is not None:
            server.remove()
    print(f"| ms, {'PostgreSQL' if server else 'SQLite'} | {SMALL:,} | {asked.rows:,} | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for name, (few, many) in figures.items():
        print(f"| {name} | {few:.2f} | {many:.2f} | {many / few:.1f} |")
    grown = [name for name, (few, many) in figures.items() if asked.most and many > few * asked.most + 1]
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
