"""The one thread that uses the one SQLite connection: whatever waits goes into one transaction (group commit).

What nobody waits for is patient: it goes in groups of its own, which end after a few milliseconds and as soon as
something else comes. So a send waits for one of those at most, whatever else is to be read or written.

An answer is given only after the commit that it depends on. Where anything in a group fails, the whole group is rolled
back and each of its jobs is run again in a transaction of its own, so that nobody pays for another's failure.
"""

import asyncio
import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice, repeat
from operator import itemgetter
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import msgspec

from relay.journal.statements import Parameters, Result, Rows, Statement, Work
from relay.sending.ports import JournalUnavailable

T = TypeVar("T")

_ENOUGH_FOR_A_GROUP = 256
_MOST_PATIENT = 32
_PATIENT_SECONDS = 0.002
_SWITCH_SECONDS = 0.0005
"""How long the event loop may keep the interpreter to itself while the writer wants it. Every statement of SQLite lets
go of it, so with Python's own 5 ms a busy loop makes a claim wait for seconds (measured, loop busy in slices of 4 ms:
99th percentile 11.6 s with 5 ms, 0.06 s with 0.5 ms; no cost where the loop is not busy)."""
_MOST_ROWS = 32
_ONE_CHANGED = Result((), 1)
_NO_ROWS: Sequence[tuple[Any, ...]] = ()

_REASONS = {
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_CANTOPEN: "cannot_open",
    sqlite3.SQLITE_NOTADB: "not_a_database",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_IOERR: "io_error",
}


def unavailable(error: sqlite3.Error) -> JournalUnavailable:
    """SQLite's error as the port's, in a closed word; its text stays behind."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code of an extended one
    return JournalUnavailable(_REASONS.get(code, "failed"))


class Job(Generic[T]):
    """Work that waits for its turn, and who waits for it."""

    __slots__ = ("error", "future", "only_reads", "patient", "value", "work")

    def __init__(
        self, work: Callable[[], Work[T]], future: "asyncio.Future[T]", *, only_reads: bool, patient: bool
    ) -> None:
        self.work = work
        self.future = future
        self.only_reads = only_reads
        self.patient = patient
        self.value: T | None = None
        self.error: BaseException | None = None


class Writer:
    """Runs jobs on a connection, in a thread of its own. To be made on the event loop that waits for the answers."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._loop = asyncio.get_running_loop()
        self._connect = connect
        self._new: list[Job[Any]] = []
        self._handed_over: SimpleQueue[list[Job[Any]] | None] = SimpleQueue()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._live, name="journal", daemon=True)

    async def open(self) -> None:
        """Connect, in the thread that will use the connection.

        Raises:
            JournalUnavailable: it cannot be used.
        """
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))
        self._thread.start()
        await asyncio.shield(self._opened)

    def run(
        self, work: Callable[[], Work[T]], *, only_reads: bool = False, patient: bool = False
    ) -> "asyncio.Future[T]":
        """Put work in line; the future is done once it is durable.

        Args:
            only_reads: whether the work writes nothing.
            patient: whether what is not goes first.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if not self._new:
            self._loop.call_soon(self._hand_over)
        self._new.append(Job(work, future, only_reads=only_reads, patient=patient))
        return future

    def _hand_over(self) -> None:
        """Give the thread what one turn of the loop brought, in one piece: one group, and one waking of the thread."""
        new, self._new = self._new, []
        self._handed_over.put(new)

    async def close(self) -> None:
        """Finish what waits, then release the connection."""
        if self._new:
            self._hand_over()
        self._handed_over.put(None)
        await asyncio.shield(self._closed)

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            connection = self._connect()
        except BaseException as error:  # noqa: BLE001 — whatever it is, the one who opens must know
            self._tell(self._opened.set_exception, _translate(error))
            return
        self._tell(self._opened.set_result, None)
        try:
            self._work_off(connection)
        finally:
            connection.close()
            self._tell(self._closed.set_result, None)

    def _work_off(self, connection: sqlite3.Connection) -> None:
        patient: deque[Job[Any]] = deque()
        goes_on = True
        while goes_on or patient:
            group: list[Job[Any]] = []
            if goes_on:
                new, goes_on = self._next_jobs(wait=not patient)
                for job in new:
                    (patient if job.patient else group).append(job)
            if group:
                _run_group(connection, group)
                self._tell(_answer, group)
            if patient:
                # One of these after each of those, so that nothing waits for ever.
                several = list(islice(patient, _MOST_PATIENT))
                done = _run_group(connection, several, enough=self._is_enough(time.monotonic()))
                self._tell(_answer, several[:done])
                for _ in range(done):
                    patient.popleft()

    def _is_enough(self, begun: float) -> Callable[[], bool]:
        return lambda: not self._handed_over.empty() or time.monotonic() - begun >= _PATIENT_SECONDS

    def _next_jobs(self, *, wait: bool) -> tuple[list[Job[Any]], bool]:
        """Everything that was handed over, and whether more may come."""
        jobs: list[Job[Any]] = []
        try:
            new = self._handed_over.get(block=wait)
            while new is not None:
                jobs += new
                if len(jobs) >= _ENOUGH_FOR_A_GROUP:
                    return jobs, True
                new = self._handed_over.get_nowait()
        except Empty:
            return jobs, True
        return jobs, False

    def _tell(self, callback: Callable[[Any], object], argument: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, argument)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return


def _answer(group: Sequence[Job[Any]]) -> None:
    for job in group:
        if job.future.done():  # whoever waited was cancelled
            continue
        if job.error is None:
            job.future.set_result(job.value)
        else:
            job.future.set_exception(job.error)


def _run_group(
    connection: sqlite3.Connection,
    group: Sequence[Job[Any]],
    *,
    rows_together: bool = True,
    enough: Callable[[], bool] = lambda: False,
) -> int:
    """Run jobs in one transaction, up to the one after which it is enough; how many were run."""
    try:
        connection.execute("BEGIN" if all(job.only_reads for job in group) else "BEGIN IMMEDIATE")
    except sqlite3.Error as error:  # another program has locked the database: waiting once is enough for all of them
        _fail(group, unavailable(error))
        return len(group)
    try:
        done = _run_jobs(connection, group, rows_together, enough)
        connection.execute("COMMIT")
    except _SomeLeftOut:
        if _roll_back(connection):
            return _run_group(connection, group, rows_together=False, enough=enough)
        _fail(group, JournalUnavailable("failed", ambiguous=True))
    except BaseException as error:  # noqa: BLE001 — a job's own failure or the transaction's, told to whom it concerns
        if not _roll_back(connection):
            _fail(group, JournalUnavailable("failed", ambiguous=True))
        elif len(group) == 1:
            _fail(group, _translate(error))
        else:
            for job in group:
                _run_group(connection, [job])
    else:
        return done
    return len(group)


def _run_jobs(
    connection: sqlite3.Connection, group: Sequence[Job[Any]], rows_together: bool, enough: Callable[[], bool]
) -> int:
    for done, job in enumerate(group, 1):
        job.value = run_work(connection, job.work(), rows_together=rows_together)
        if enough():
            return done
    return len(group)


def _roll_back(connection: sqlite3.Connection) -> bool:
    """Undo what a failed transaction did; whether it is certain that nothing of it is there."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return not connection.in_transaction


def _fail(group: Sequence[Job[Any]], error: BaseException) -> None:
    for job in group:
        job.error = error


def _translate(error: BaseException) -> BaseException:
    return unavailable(error) if isinstance(error, sqlite3.Error) else error


class _SomeLeftOut(Exception):
    """Of rows that were inserted together some were not, and nobody knows which."""


def run_work(connection: sqlite3.Connection, work: Work[T], *, rows_together: bool) -> T:
    """Run work on a connection that is in a transaction.

    Args:
        rows_together: whether rows for one table may be inserted by one statement.

    Raises:
        _SomeLeftOut: they were; the transaction must be run again without.
    """
    try:
        steps = next(work)
        while True:
            results: list[Result] = []
            for statement, equal in groupby(steps, key=itemgetter(0)):
                several = [parameters for _, parameters in equal]
                if rows_together and statement.rows is not None and len(several) > 1:
                    results += _insert_rows(connection, statement.rows, several)
                else:
                    results += [_run_one(connection, statement, parameters) for parameters in several]
            steps = work.send(results)
    except StopIteration as end:
        value: T = end.value
        return value


def _run_one(connection: sqlite3.Connection, statement: Statement, parameters: Parameters) -> Result:
    sql, pick = statement.sqlite
    values = pick(_encode_lists(parameters, statement.lists) if statement.lists else parameters)
    cursor = connection.execute(sql, values)
    rows = cursor.fetchall() if cursor.description is not None else _NO_ROWS
    return Result(rows, cursor.rowcount)


def _insert_rows(connection: sqlite3.Connection, rows: Rows, several: Sequence[Parameters]) -> Iterator[Result]:
    """Insert in pieces of few sizes, so that few statements are prepared and all of them are used again."""
    begin = 0
    while begin < len(several):
        size = min(1 << (len(several) - begin).bit_length() - 1, _MOST_ROWS)
        if connection.execute(*rows.insert(several[begin : begin + size])).rowcount != size:
            raise _SomeLeftOut
        yield from repeat(_ONE_CHANGED, size)
        begin += size


def _encode_lists(parameters: Any, lists: Sequence[str]) -> dict[str, object]:
    return dict(parameters) | {name: msgspec.json.encode(parameters[name]).decode() for name in lists}
