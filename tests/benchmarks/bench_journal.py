"""CPU of the journal a notification: claim with the right to dial, record with the end, at 50 in flight.

    python tests/benchmarks/bench_journal.py sqlite:///bench.db [notifications]
    python tests/benchmarks/bench_journal.py postgresql://… [notifications]

Prints microseconds of this process's CPU a notification (PostgreSQL's own processes are not in it), the same for
acceptance alone in batches of 100 asynchronous ones, and notifications a second.
"""

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import uuid_utils
import uvloop

from relay.domain.notification import Mode
from relay.journal import open_journal
from relay.sending.ports import Claim, Journal
from support.journal import NOON, SENT, accept, ended, first_call, make_claim

IN_FLIGHT = 50
BATCH = 100


class _Clock:
    def now_ms(self) -> int:
        """Wall-clock milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic()


def _claims(count: int, mode: Mode) -> list[Claim]:
    due = {"due_at": NOON} if mode is Mode.ASYNCHRONOUS else {"dials": True}
    ids = [str(uuid_utils.uuid7()) for _ in range(count)]
    return [make_claim(id=key, idempotency_key=f"order-{key}", mode=mode, claim=due) for key in ids]


async def _send_all(journal: Journal, claims: list[Claim]) -> None:
    waiting = iter(claims)

    async def worker() -> None:
        for claim in waiting:
            ref = first_call(await accept(journal, claim))
            await journal.record(ref, (SENT,), ended=ended())

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


async def _accept_all(journal: Journal, claims: list[Claim]) -> None:
    for start in range(0, len(claims), BATCH):
        await journal.claim(claims[start : start + BATCH])


async def _measure(url: str, count: int) -> None:
    journal = open_journal(url, clock=_Clock())
    await journal.open()
    try:
        await _send_all(journal, _claims(500, Mode.SYNCHRONOUS))
        for name, work, mode in (
            ("two writes, 50 in flight", _send_all, Mode.SYNCHRONOUS),
            ("acceptance in batches of 100", _accept_all, Mode.ASYNCHRONOUS),
        ):
            claims = _claims(count, mode)
            cpu, wall = time.process_time(), time.perf_counter()
            await work(journal, claims)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            print(f"{name}: {cpu / count * 1e6:.0f} µs CPU a notification, {count / wall:.0f} a second")
    finally:
        await journal.close()


if __name__ == "__main__":
    uvloop.run(_measure(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10_000))
