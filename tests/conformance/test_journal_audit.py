"""The audit in both stores: one chain, whoever writes to it, and what happens to it when it grows old."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from alembic.config import Config

from relay.domain.audit import FIRST, Action, AuditPage, check_chain
from relay.domain.codes import ResolvedBy
from relay.journal.migrating import MIGRATIONS
from relay.sending.ports import Journal
from support.journal import NO_ANSWER, NOON, SENT, audit, make_claim, pause, send
from support.stores import Store

DAY_MS = 86_400_000
COLUMNS = "at, actor, actor_key, action, notification_id, other_id, count, detail, previous_hash, hash"


async def read_all(journal: Journal) -> AuditPage:
    """Every row."""
    return await journal.read_audit(10_000)


def kinds(page: AuditPage) -> list[tuple[str, int | None]]:
    return [(finding.kind, finding.row) for finding in check_chain(page.rows, page.newest_hash)]


async def test_rows_come_newest_first_as_they_were_written_in_pages_and_by_notification(journal: Journal) -> None:
    acts = [audit(Action.OPEN, f"n{number % 2}", at=NOON + number, reason=f"look {number}") for number in range(5)]
    for act in acts:
        await journal.audit(act)

    page = await read_all(journal)
    assert [row.act for row in page.rows] == acts[::-1]
    assert page.newest_hash == page.rows[0].hash
    assert check_chain(page.rows, page.newest_hash) == []
    second = await journal.read_audit(2, before=page.rows[1].id)
    assert second.rows == page.rows[2:4]
    assert [row.act for row in (await journal.read_audit(9, notification_id="n1")).rows] == [acts[3], acts[1]]


async def test_an_empty_audit_is_whole(journal: Journal) -> None:
    page = await read_all(journal)

    assert (page.rows, page.newest_hash) == ((), FIRST)
    assert check_chain(page.rows, page.newest_hash) == []


async def test_an_act_that_changes_something_is_in_the_chain_too(journal: Journal) -> None:
    claim = make_claim()
    await send(journal, claim, NO_ANSWER)
    await journal.audit(audit(Action.OPEN, claim.notification.id))
    await journal.settle(
        claim.notification.id, {0: SENT}, ResolvedBy.OPERATOR, NOON, audit(Action.RESOLVE_SENT, claim.notification.id)
    )
    await journal.pause(pause(), audit(Action.PAUSE))
    await journal.erase_recipient("2348031234567", audit(Action.ERASE))

    page = await read_all(journal)
    assert [row.act.action for row in page.rows] == ["erase", "pause", "resolve_sent", "open"]
    assert check_chain(page.rows, page.newest_hash) == []


async def test_processes_that_write_at_once_make_one_chain(shared_store: Store) -> None:
    processes = [await shared_store.open() for _ in range(3)]

    await asyncio.gather(
        *(process.audit(audit(Action.SEARCH, count=number)) for number in range(20) for process in processes)
    )

    page = await read_all(processes[0])
    assert len(page.rows) == 60
    assert check_chain(page.rows, page.newest_hash) == []


@pytest.mark.parametrize(
    ("meddling", "found"),
    [
        ("UPDATE audit SET actor = 'nobody' WHERE id = 3", [("changed", 3)]),
        ("UPDATE audit SET detail = '' WHERE id = 5", [("changed", 5)]),
        ("DELETE FROM audit WHERE id = 3", [("missing", 2)]),
        ("DELETE FROM audit WHERE id = 5", [("cut_off", 4)]),
        ("DELETE FROM audit WHERE id = 1", [("missing", 2)]),
        ("DELETE FROM audit", [("cut_off", None)]),
        ("INSERT INTO audit (id, at, actor, action, detail) VALUES (99, 1, 'ops', 'open', '')", [("inserted", 99)]),
        (
            f"INSERT INTO audit (id, {COLUMNS}) SELECT 99, {COLUMNS} FROM audit WHERE id = 5",
            [("inserted", 99)],
        ),
    ],
)
async def test_what_somebody_did_behind_the_relay_is_found(
    store: Store, meddling: str, found: list[tuple[str, int | None]]
) -> None:
    journal = await store.open()
    for number in range(5):
        await journal.audit(audit(Action.OPEN, reason=f"look {number}"))

    store.query(meddling)

    assert kinds(await read_all(journal)) == found
    await journal.audit(audit(Action.PAUSE))
    assert kinds(await read_all(journal)) != []


async def test_old_rows_go_with_a_row_that_says_so_and_the_rest_is_whole(store: Store) -> None:
    journal = await store.open()
    for number in range(4):
        await journal.audit(audit(Action.OPEN, at=NOON + number * DAY_MS))
    store.clock.wall_ms = NOON + 800 * DAY_MS

    assert await journal.purge_audit(NOON + 2 * DAY_MS) == 2
    assert await journal.purge_audit(NOON + 2 * DAY_MS) == 0

    page = await read_all(journal)
    assert [row.act.action for row in page.rows] == ["purge", "open", "open"]
    assert (page.rows[0].act.client, page.rows[0].act.count) == ("relay", 2)
    assert check_chain(page.rows, page.newest_hash) == []
    store.query("DELETE FROM audit WHERE id = 3")
    assert kinds(await read_all(journal)) == [("missing", 4)]


def test_rows_of_the_first_edition_are_chained_as_they_stand(tmp_path: Path) -> None:
    """A file that the first edition left."""
    path = tmp_path / "relay.db"
    _make_first_edition(path)
    with sqlite3.connect(path) as file:
        file.executemany(
            "INSERT INTO audit (at, actor, action, notification_id, detail) VALUES (?, ?, ?, ?, ?)",
            [(NOON, "ops", "pause", None, ""), (NOON + 1, "ops", "resolve_sent", "n1", "12 recipients")],
        )

    async def look() -> AuditPage:
        store = Store(f"sqlite:///{path}", shared=False)
        journal = await store.open()
        await journal.audit(audit(Action.RESUME))
        page = await read_all(journal)
        await store.close()
        return page

    page = asyncio.run(look())
    assert [(row.act.action, row.act.key, row.act.count, row.act.reason) for row in page.rows] == [
        ("resume", "k1", 1, None),
        ("resolve_sent", None, 12, "12 recipients"),
        ("pause", None, None, None),
    ]
    assert check_chain(page.rows, page.newest_hash) == []


def _make_first_edition(path: Path) -> None:
    from alembic import command
    from sqlalchemy import create_engine

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with create_engine(f"sqlite:///{path}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
