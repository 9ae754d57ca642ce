"""Claims whose rivals are gone before they can be looked at: what stood in the way may vanish at any moment."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from relay.journal import claims
from relay.journal.sqlite import SqliteJournal
from relay.journal.statements import Step, Work
from relay.sending.ports import Deduplication, JournalUnavailable, KeyTaken, Lease
from support.fakes import FakeClock
from support.journal import make_claim

KEY = "order-1204"
GROUP = {"deduplication": Deduplication(b"oncall", 600_000)}


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "relay.db", clock=FakeClock())
    await journal.open()
    yield journal
    await journal.close()


def miss_holders(times: int) -> Callable[[Mapping[int, Step]], Work[dict[int, str]]]:
    """Find nobody the first times that a claim looks who holds its key, as if the holder had just been purged."""
    find, left = claims._find_holders, [times]

    def look(steps: Mapping[int, Step]) -> Work[dict[int, str]]:
        found = yield from find(steps)
        left[0] -= 1
        return {} if left[0] >= 0 else found

    return look


async def test_a_claim_whose_rival_vanished_is_tried_again(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    [first] = await journal.claim([make_claim(idempotency_key=KEY)])
    assert isinstance(first, Lease)
    monkeypatch.setattr(claims, "_find_holders", miss_holders(2))
    [again] = await journal.claim([make_claim(idempotency_key=KEY)])

    assert isinstance(again, KeyTaken)
    assert again.stored.notification.id == first.stored.notification.id


async def test_a_claim_that_is_crossed_again_and_again_is_given_up_and_leaves_nothing(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await journal.claim([make_claim(idempotency_key=KEY)])
    crossed = make_claim(idempotency_key=KEY)
    monkeypatch.setattr(claims, "_find_holders", miss_holders(1_000))
    with pytest.raises(JournalUnavailable, match="contended"):
        await journal.claim([crossed])

    assert await journal.find(crossed.notification.id) is None


async def test_a_group_whose_notification_is_gone_keeps_no_alert_back(journal: SqliteJournal, tmp_path: Path) -> None:
    [first] = await journal.claim([make_claim(claim=GROUP)])
    assert isinstance(first, Lease)
    await journal.close()
    with closing(sqlite3.connect(tmp_path / "relay.db")) as file, file:
        for table in ("calls", "notifications"):
            column = "id" if table == "notifications" else "notification_id"
            file.execute(f"DELETE FROM {table} WHERE {column} = ?", [first.stored.notification.id])
    await journal.open()
    [second] = await journal.claim([make_claim(claim=GROUP)])

    assert isinstance(second, Lease)
