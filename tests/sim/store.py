"""The journal's server, simulated: one database, transactions at one moment each, answers that may be lost.

What the relay asks is the relay's own (``relay.journal``): its works, its statements in SQLite's words, its batches,
its handling of commits in doubt. Replaced are PostgreSQL and the connections to it. A transaction is here at one moment
or not at all, as if every two of them conflicted; what PostgreSQL does where they overlap is for the conformance suite.
"""

import sqlite3
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from types import CodeType, GeneratorType
from typing import Any, TypeVar, cast

from relay.journal import control
from relay.journal.migrating import prepare_sqlite
from relay.journal.postgres import PostgresJournal
from relay.journal.sessions import InDoubt
from relay.journal.statements import Work
from relay.journal.writer import _SomeLeftOut, run_work
from relay.sending.ports import Clock, JournalUnavailable
from sim.faults import Fault
from sim.loop import Process, SimulatedLoop
from support.moves import watch_sqlite

T = TypeVar("T")

POLLS = frozenset(
    {
        "queueing.take",
        "queueing.take_expired",
        "queueing.take_from_dead",
        "callbacks.take",
        "control.list_pauses",
        "control.beat",
        "control.leads",
        "reading.measure_depth",
        "reading.count_unknown",
        "reading.count_newer",
        "auditing.read_page",
        "auditing.purge_some",
        "retention.purge_limits",
        "retention.purge_some",
    }
)
"""Works that are asked again and again: a crash point only where they bring something."""

_MEAN_SECONDS = 0.001
_SLOW_SECONDS = (1.0, 20.0)
_DEAF_SECONDS = (0.0, 12.0)
"""How long it takes until a client knows that it will not hear of its commit."""


class Database:
    """SQLite in memory, migrated once; each run begins at the same state and is rolled back at its end.

    It keeps, beside the moves, when each right to dial was given, and for whom.
    """

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        prepare_sqlite(self.connection)
        watch_sqlite(self.connection)
        self.connection.create_function("simulated_ms", 0, lambda: self._now_ms())
        self.connection.execute(
            "CREATE TABLE rights (at REAL, notification_id TEXT, recipients TEXT, account TEXT, send_at INTEGER)"
        )
        for event, when in (("INSERT", ""), ("UPDATE", "AND OLD.state <> 'dialling'")):
            self.connection.execute(
                f"CREATE TRIGGER rights_{event} AFTER {event} ON calls WHEN NEW.state = 'dialling' {when} BEGIN "
                "INSERT INTO rights SELECT simulated_ms(), NEW.notification_id, NEW.recipients, NEW.account, "
                "json_extract(facts, '$.send_at') FROM notifications WHERE id = NEW.notification_id; END"
            )
        self._now_ms: Callable[[], float] = lambda: 0.0
        # SQLite's own clock is the database's: here it is the run's.
        self.connection.create_function("julianday", 1, lambda _now: self._now_ms() / 86_400_000 + 2_440_587.5)

    def begin(self, now_ms: Callable[[], float]) -> None:
        """Begin a run."""
        self._now_ms = now_ms
        self.connection.execute("BEGIN")

    def end(self) -> None:
        """Forget the run."""
        self.connection.execute("ROLLBACK")

    def perform(self, work: Callable[[], Work[T]], *, commits: bool = True, reads: bool = False) -> T:
        """Run work in a transaction of its own; what only reads needs none here."""
        connection, together = self.connection, True
        if reads:
            return run_work(connection, work(), rows_together=True)
        while True:
            connection.execute("SAVEPOINT work")
            try:
                value = run_work(connection, work(), rows_together=together)
            except _SomeLeftOut:
                connection.execute("ROLLBACK TO work")
                connection.execute("RELEASE work")
                together = False
                continue
            except BaseException:
                connection.execute("ROLLBACK TO work")
                connection.execute("RELEASE work")
                raise
            if not commits:
                connection.execute("ROLLBACK TO work")
            connection.execute("RELEASE work")
            return value


class Store:
    """The server.

    Args:
        faults: those of the journal.
        reach: told when a process comes to a crash point; says whether it is still alive.
        note: takes a line of the run's log.
    """

    def __init__(
        self,
        loop: SimulatedLoop,
        database: Database,
        faults: tuple[Fault, ...],
        reach: Callable[[Process, str], bool],
        note: Callable[[Process, str], None],
    ) -> None:
        self._loop = loop
        self._database = database
        self._reach = reach
        self._note = note
        self._planned = {
            (fault.work, fault.point + more): fault.how
            for fault in faults
            if fault.kind == "journal"
            for more in range(fault.times)
        }
        self._outages = [(fault.at, fault.at + fault.seconds) for fault in faults if fault.kind == "outage"]
        self.seen: Counter[str] = Counter()
        """Works that were asked, by name."""
        self.calm = False
        """Whether nothing goes wrong any more."""
        self._locked = False
        self._waiting: deque[Callable[[], None]] = deque()

    def transact(self, process: Process, work: Callable[[], Work[Any]], *, reads: bool) -> "Any":
        """Ask for a transaction; a future of the process that asks."""
        future = self._loop.create_future()
        name = _name_of(work())
        self.seen[name] += 1
        how = "" if self.calm else self._planned.get((name, self.seen[name]), "")
        if reads and how in ("lost_answer", "lost_commit", "late_commit"):
            how = "refused"
        if name not in POLLS and not self._reach(process, f"asks {name}"):
            return future
        delay = self._loop.random.expovariate(1 / _MEAN_SECONDS)
        if how == "slow":
            delay += self._loop.random.uniform(*_SLOW_SECONDS)
        self._loop.world.post(delay, self._arrive, process, future, work, name, how, reads)
        return future

    def _arrive(
        self, process: Process, future: Any, work: Callable[[], Work[Any]], name: str, how: str, reads: bool
    ) -> None:
        if self._locked:
            self._waiting.append(lambda: self._arrive(process, future, work, name, how, reads))
        elif process.alive:
            self._execute(process, future, work, name, how, reads)

    def _execute(
        self, process: Process, future: Any, work: Callable[[], Work[Any]], name: str, how: str, reads: bool
    ) -> None:
        if how == "refused" or self._is_away(process):
            self._note(process, f"{name} refused")
            self._fail(process, future, JournalUnavailable("unreachable"), 0.0)
            return
        if how == "late_commit":
            self._commit_late(process, future, work, name)
            return
        try:
            value = self._database.perform(work, commits=how != "lost_commit", reads=reads)
        except JournalUnavailable as failure:
            self._fail(process, future, failure, 0.0)
            return
        matters = name not in POLLS or (isinstance(value, list) and bool(value))
        if matters:
            self._note(process, f"{name} {how or 'done'}")
        if how in ("lost_answer", "lost_commit"):
            self._fail(process, future, InDoubt(value), self._loop.random.uniform(*_DEAF_SECONDS))
            return
        if matters and not self._reach(process, f"did {name}"):
            return
        if not reads and self._is_away(process):
            self._fail(process, future, InDoubt(value), 0.0)
            return
        process.post(self._loop.random.expovariate(1 / _MEAN_SECONDS), _answer, future, value)

    def _commit_late(self, process: Process, future: Any, work: Callable[[], Work[Any]], name: str) -> None:
        """The client stops listening while the server is at its commit: until that is over, all others wait."""
        try:
            value = self._database.perform(work, commits=False)
        except JournalUnavailable as failure:
            self._fail(process, future, failure, 0.0)
            return
        self._locked = True
        self._note(process, f"{name} in doubt")
        self._fail(process, future, InDoubt(value), 0.0)
        self._loop.world.post(self._loop.random.uniform(0.0, 3.0), self._commit, process, work, name)

    def _commit(self, process: Process, work: Callable[[], Work[Any]], name: str) -> None:
        self._database.perform(work)
        self._note(process, f"{name} committed late")
        self._locked = False
        while self._waiting and not self._locked:
            self._waiting.popleft()()

    def _fail(self, process: Process, future: Any, failure: JournalUnavailable, delay: float) -> None:
        process.post(delay, _refuse, future, failure)

    def _is_away(self, process: Process) -> bool:
        now = self._loop.time()
        if self.calm:
            return False
        if now < process.cut_until:
            return True
        return bool(self._outages) and any(begin <= now < end for begin, end in self._outages)


class SimulatedSessions:
    """The connections of one process, as ``relay.journal.sessions.Sessions``."""

    def __init__(self, store: Store, process: Process) -> None:
        self._store = store
        self._process = process

    async def read(self, work: Callable[[], Work[T]]) -> T:
        """Run work that only reads."""
        value: T = await self._store.transact(self._process, work, reads=True)
        return value

    async def write(self, work: Callable[[], Work[T]], *, shares: bool = False, waits: bool = False) -> T:
        """Run work. Whoever waits for this process's own transactions does: a late commit lets nobody pass."""
        del shares, waits
        value: T = await self._store.transact(self._process, work, reads=False)
        return value

    async def close(self) -> None:
        """Nothing is kept."""


class SimulatedJournal(PostgresJournal):
    """The journal of one replica's life: PostgreSQL's, but for what it is connected to."""

    def __init__(self, store: Store, process: Process, clock: Clock, hash_key: bytes) -> None:
        super().__init__("postgresql://simulated", clock=clock, hash_key=hash_key)
        self._sessions = SimulatedSessions(store, process)  # type: ignore[assignment]  # the same face
        self._shards = 1
        self._name = process.name

    async def open(self) -> None:
        self._process = self._name
        await self._write(lambda: control.register(self._process))
        await self._begin()

    async def tend(self) -> bool:
        return False


def _name_of(work: Work[Any]) -> str:
    """``module.function`` of what is asked."""
    code = cast("GeneratorType[Any, Any, Any]", work).gi_code
    name = _NAMES.get(code)
    if name is None:
        name = _NAMES[code] = f"{Path(code.co_filename).stem}.{code.co_name}"
    return name


_NAMES: dict[CodeType, str] = {}


def _answer(future: Any, value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _refuse(future: Any, failure: JournalUnavailable) -> None:
    if not future.done():
        future.set_exception(failure)
