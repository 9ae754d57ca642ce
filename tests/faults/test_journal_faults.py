"""What the SQLite journal must survive: other programs, full disks, damaged files, SIGKILL (faults C2, C3)."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from relay.journal.sqlite import SqliteJournal
from relay.journal.statements import Statement, Work
from relay.sending.ports import JournalUnavailable, Lease, RecordResult
from support.fakes import FakeClock
from support.journal import NOON, SENT, accept, ended, first_call, found, make_claim, send


def make_journal(path: Path, *, busy_timeout_seconds: float = 10.0) -> SqliteJournal:
    """A journal that is not open yet."""
    return SqliteJournal(path, clock=FakeClock(NOON), busy_timeout_seconds=busy_timeout_seconds)


async def made(path: Path, claims: int = 1) -> list[str]:
    """Ids in a journal that was used and closed."""
    journal = make_journal(path)
    await journal.open()
    accepted = [await accept(journal, make_claim()) for _ in range(claims)]
    await journal.close()
    return [item.stored.notification.id for item in accepted]


async def refusal(journal: SqliteJournal) -> str:
    """Why a journal cannot be opened; what it took hold of is free again."""
    with pytest.raises(JournalUnavailable) as caught:
        await journal.open()
    await journal.close()
    assert not caught.value.ambiguous
    return caught.value.reason


# --- who may open it ----------------------------------------------------------------------------------------------


async def test_a_second_process_on_the_same_file_refuses_to_start(tmp_path: Path) -> None:
    first, second = make_journal(tmp_path / "relay.db"), make_journal(tmp_path / "relay.db")
    await first.open()

    assert await refusal(second) == "locked"
    await accept(first, make_claim())

    await first.close()
    await second.open()
    await second.close()


@pytest.mark.slow
async def test_a_killed_process_leaves_no_lock_and_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    program = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from support.journal import accept, make_claim
from support.fakes import FakeClock, SequentialIds
from relay.journal.sqlite import SqliteJournal

async def main():
    journal = SqliteJournal({str(path)!r}, clock=FakeClock())
    await journal.open()
    ids = SequentialIds(start=1_000_000)
    async def work():
        while True:
            accepted = await accept(journal, make_claim(id=ids.new_id()))
            print(accepted.stored.notification.id, flush=True)
    await asyncio.gather(*(work() for _ in range(10)))
asyncio.run(main())
"""
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged = [process.stdout.readline().strip() for _ in range(200)]
            process.kill()
            acknowledged += [line.strip() for line in process.stdout.read().splitlines(keepends=True) if "\n" in line]
        journal = make_journal(path)
        await journal.open()
        assert [await journal.find(key) is not None for key in acknowledged] == [True] * len(acknowledged)
        assert len(await journal.take_from_dead(1_000_000)) >= len(acknowledged)
        await journal.close()
        path.unlink()


async def test_nobody_else_may_read_the_files(tmp_path: Path) -> None:
    journal = make_journal(tmp_path / "relay.db")
    await journal.open()
    await accept(journal, make_claim())

    assert {file.stat().st_mode & 0o077 for file in tmp_path.iterdir()} == {0}
    assert {file.name for file in tmp_path.iterdir()} > {"relay.db", "relay.db-wal", "relay.db.lock"}
    await journal.close()


async def test_a_file_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    assert await refusal(make_journal(tmp_path / "missing" / "relay.db")) == "cannot_open"
    (tmp_path / "relay.db").mkdir()
    assert await refusal(make_journal(tmp_path / "relay.db")) == "cannot_open"


async def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    await made(path)
    for file in tmp_path.iterdir():
        file.chmod(0o444)
    tmp_path.chmod(0o555)
    (tmp_path / "relay.db.lock").chmod(0o666)

    with unprivileged(tmp_path):
        assert await refusal(make_journal(path)) == "read_only"
    tmp_path.chmod(0o755)


@contextmanager
def unprivileged(directory: Path) -> Iterator[None]:
    """Without the rights of root, who may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    for parent in directory.parents:
        if not parent.stat().st_mode & 0o001:
            if parent == Path(parent.anchor) or not str(parent).startswith("/tmp"):
                pytest.skip("an unprivileged user cannot get to the temporary directory")
            parent.chmod(parent.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# --- what may be in it --------------------------------------------------------------------------------------------


async def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    await made(path, claims=50)
    os.truncate(path, path.stat().st_size // 2)

    assert await refusal(make_journal(path)) == "corrupt"


async def test_an_emptied_file_is_refused_and_a_new_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    path.touch()
    await made(path)
    os.truncate(path, 0)

    assert await refusal(make_journal(path)) == "truncated"

    path.unlink()
    await made(path)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    path.write_bytes(b"this is no database" * 500)

    assert await refusal(make_journal(path)) == "not_a_database"


async def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE invoices (id INTEGER)")

    assert await refusal(make_journal(path)) == "foreign_database"

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("invoices",)]


async def test_a_newer_schema_is_used_if_it_bears_this_code_and_refused_if_not(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    [kept] = await made(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE notifications ADD COLUMN of_a_later_version TEXT")
        connection.execute("UPDATE alembic_version SET version_num = '9998'")

    journal = make_journal(path)
    await journal.open()
    assert await journal.find(kept) is not None
    await send(journal, make_claim())
    await journal.close()

    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE control SET value = ? WHERE name = 'needs'", (b"9998",))
    assert await refusal(make_journal(path)) == "schema_too_new"


async def test_what_is_acknowledged_survives_a_power_cut(tmp_path: Path) -> None:
    journal = make_journal(tmp_path / "relay.db")
    await journal.open()

    settings = [await ask(journal, f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "secure_delete")]

    assert settings == ["wal", 2, 2]  # FULL: fsync before the answer; FAST
    await journal.close()


async def ask(journal: SqliteJournal, sql: str) -> object:
    """Ask the journal's own connection something."""

    def work() -> Work[object]:
        [result] = yield [(Statement(sqlite=text(sql)), {})]
        return result.rows[0][0] if result.rows else None

    return await journal._write(work)


# --- other programs, full disks -----------------------------------------------------------------------------------


async def test_a_database_locked_by_another_program_is_waited_for_and_then_refused_to_all_at_once(
    tmp_path: Path,
) -> None:
    path = tmp_path / "relay.db"
    journal = make_journal(path, busy_timeout_seconds=1)
    await journal.open()
    claims = [make_claim() for _ in range(20)]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        results = await asyncio.gather(*(journal.claim([claim]) for claim in claims), return_exceptions=True)
        waited = time.monotonic() - started
        assert await journal.find(claims[0].notification.id) is None  # a look does not wait
        other.execute("ROLLBACK")

    assert {str(result) for result in results} == {"locked"}
    assert waited < 1 * 10
    await accept(journal, claims[0])
    await journal.close()


async def test_a_lock_that_another_program_gives_up_in_time_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    journal = make_journal(path)
    await journal.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(accept(journal, make_claim()))
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert not done
        other.execute("ROLLBACK")

    await waiting
    await journal.close()


async def test_a_full_database_refuses_claims_and_takes_outcomes_as_soon_as_there_is_room(tmp_path: Path) -> None:
    journal = make_journal(tmp_path / "relay.db")
    await journal.open()
    ref = first_call(await accept(journal, make_claim()))
    await journal.start_dialling(ref)
    pages = await ask(journal, "PRAGMA page_count")
    await ask(journal, f"PRAGMA max_page_count = {pages}")

    refused, failure = await fill(journal)
    assert (failure.reason, failure.ambiguous) == ("disk_full", False)
    assert await journal.find(refused) is None

    await ask(journal, "PRAGMA max_page_count = 1000000")
    assert await journal.record(ref, [SENT], ended=ended()) is RecordResult.RECORDED
    await accept(journal, make_claim())
    await journal.close()


async def fill(journal: SqliteJournal) -> tuple[str, JournalUnavailable]:
    """Claim until there is no room; the id of the claim that failed, and how it did."""
    while True:
        claim = make_claim(message="m" * 100_000)
        try:
            await accept(journal, claim)
        except JournalUnavailable as failure:
            return claim.notification.id, failure


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes: the tables and their log need most of the first."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("only root on Linux can mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", mounted], check=False).returncode:
        pytest.skip("this machine does not let root mount a small disk")
    yield mounted
    subprocess.run(["umount", "--lazy", mounted], check=True)


async def test_a_full_disk_loses_and_invents_nothing(small_disk: Path) -> None:
    path = small_disk / "relay.db"
    journal = make_journal(path)
    await journal.open()
    acknowledged = []
    refused: list[str] = []
    while len(refused) < 20:
        claims = [make_claim(message="m" * 5_000) for _ in range(7)]
        results = await asyncio.gather(*(journal.claim([claim]) for claim in claims), return_exceptions=True)
        for claim, result in zip(claims, results, strict=True):
            key = claim.notification.id
            if isinstance(result, JournalUnavailable):
                assert (result.reason, result.ambiguous) == ("disk_full", False)
                refused.append(key)
            else:
                acknowledged.append(key)

    await journal.close()
    again = make_journal(path)
    await again.open()
    assert all([await again.find(key) is not None for key in acknowledged])
    assert not any([await again.find(key) is not None for key in refused])
    await again.close()


async def test_an_outcome_that_met_a_full_disk_is_written_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    journal = make_journal(small_disk / "relay.db")
    await journal.open()
    claims = [make_claim() for _ in range(5)]
    refs = [first_call(await accept(journal, claim)) for claim in claims]
    for ref in refs:
        await journal.start_dialling(ref)
    free = os.statvfs(small_disk)
    ballast.write_bytes(b"x" * (free.f_bavail * free.f_frsize))

    failures = []
    for _ in range(50):
        try:
            await accept(journal, make_claim(message="m" * 20_000))
        except JournalUnavailable as failure:
            failures.append(failure.reason)
    results = await asyncio.gather(
        *(journal.record(ref, [SENT], ended=ended()) for ref in refs), return_exceptions=True
    )
    assert "disk_full" in failures
    ballast.unlink()

    for claim, ref, result in zip(claims, refs, results, strict=True):
        if isinstance(result, JournalUnavailable):
            assert not result.ambiguous
            assert await journal.record(ref, [SENT], ended=ended()) is RecordResult.RECORDED
        assert (await found(journal, claim)).completed_at is not None
    await journal.close()


# --- one's failure is not another's -------------------------------------------------------------------------------


async def test_work_that_fails_takes_nobody_down_with_it(tmp_path: Path) -> None:
    journal = make_journal(tmp_path / "relay.db")
    await journal.open()

    def buggy() -> Work[None]:
        yield [(Statement(sqlite=text("DELETE FROM calls")), {})]
        raise RuntimeError("a bug")

    claims = [make_claim() for _ in range(5)]
    results = await asyncio.gather(
        *(journal.claim([claim]) for claim in claims[:3]),
        journal._write(buggy),
        *(journal.claim([claim]) for claim in claims[3:]),
        return_exceptions=True,
    )

    assert isinstance(results[3], RuntimeError)
    for claim in claims:
        assert len((await found(journal, claim)).calls) == 1
    await journal.close()


async def test_a_claim_that_cannot_be_written_takes_no_other_down_with_it(tmp_path: Path) -> None:
    journal = make_journal(tmp_path / "relay.db")
    await journal.open()
    claims = [make_claim(), make_claim(message="lone \ud800 surrogate"), make_claim()]

    results = await asyncio.gather(*(journal.claim([claim]) for claim in claims), return_exceptions=True)

    assert [type(result) for result in results] == [list, UnicodeEncodeError, list]
    assert await journal.find(claims[1].notification.id) is None
    await journal.close()


async def test_a_waiter_that_is_cancelled_does_not_undo_its_claim(tmp_path: Path) -> None:
    journal = make_journal(tmp_path / "relay.db")
    await journal.open()
    claims = [make_claim() for _ in range(10)]
    waiting = [asyncio.ensure_future(journal.claim([claim])) for claim in claims]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await journal.close()

    again = make_journal(tmp_path / "relay.db")
    await again.open()
    assert all([await again.find(claim.notification.id) is not None for claim in claims[1::2]])
    await again.close()


async def test_closing_finishes_what_waits(tmp_path: Path) -> None:
    journal = make_journal(tmp_path / "relay.db")
    await journal.open()
    claims = [make_claim() for _ in range(50)]
    waiting = [asyncio.ensure_future(journal.claim([claim])) for claim in claims]
    await asyncio.sleep(0)

    await journal.close()

    assert all(isinstance(result, Lease) for [result] in await asyncio.gather(*waiting))
