"""A client's day in a journal that the first edition wrote, split over several rows: what was used still counts."""

import sqlite3
from pathlib import Path

from relay.journal.sqlite import SqliteJournal
from relay.sending.ports import Lease, Quota, QuotaExhausted
from support.fakes import FakeClock
from support.journal import make_claim

DAY = "2026-12-01"


async def test_what_the_first_edition_used_of_a_day_counts_and_what_it_set_aside_is_withdrawn(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    journal = SqliteJournal(path, clock=FakeClock())
    await journal.open()
    await journal.close()
    rows = [("billing", DAY, shard, 10, 2 if shard < 2 else 1, 1 if shard < 4 else 0) for shard in range(8)]
    with sqlite3.connect(path) as first_edition:
        first_edition.executemany("INSERT INTO quotas VALUES (?, ?, ?, ?, ?, ?)", rows)
    first_edition.close()

    await journal.open()
    results = [
        result
        for wanted in (5, 2, 1)
        for result in await journal.claim([make_claim(claim={"quota": Quota(DAY, wanted, 10)})])
    ]
    await journal.close()
    with sqlite3.connect(path) as look:
        used = look.execute("SELECT sum(used), sum(share) FROM quotas").fetchone()
    look.close()

    assert [type(result) for result in results] == [Lease, QuotaExhausted, Lease]
    assert results[1] == QuotaExhausted(9)
    assert used == (10, 10)
