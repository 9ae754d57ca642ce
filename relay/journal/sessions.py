"""PostgreSQL's connections: how work is run on one, in pipelined rounds, and what its failures mean.

Whether a failed transaction is there is never guessed: it is not, unless the connection broke in its commit; then it
is in doubt, and said so.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar, cast

import psycopg
import psycopg_pool
from psycopg.conninfo import conninfo_to_dict

from relay.domain.secret import Secret
from relay.journal.statements import Parameters, Result, Step, Work
from relay.sending.ports import JournalUnavailable

T = TypeVar("T")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Begin = tuple[bytes, Parameters]

_WRITE = b"BEGIN ISOLATION LEVEL READ COMMITTED"
_READ = b"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_SHARE_LOCK = b"SELECT pg_advisory_xact_lock_shared(%(lock)s::bigint)"
_LOCK = b"SELECT pg_advisory_xact_lock(%(lock)s::bigint)"

_CONNECTION = {
    "application_name": "relay",
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    "target_session_attrs": "read-write",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""How a connection is made, unless the URL says otherwise: a server that vanished is noticed within ten seconds."""

_SETTINGS = b"""
    SELECT set_config('lock_timeout', '3s', false),
        set_config('statement_timeout', '10s', false),
        set_config('idle_in_transaction_session_timeout', '10s', false),
        CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END
"""
_FIRST_CONNECTION_SECONDS = 10.0
_CONNECTION_SECONDS = 3.0
"""How long work waits for a connection."""

_SILENCE_SECONDS = 12.0
"""For a whole transaction. A server that works ends it earlier by itself; this is for one that hangs."""
_PARTING_SECONDS = 3.0
"""How long the end of the process waits for transactions that are under way."""

_MOST_REPETITIONS = 3

_UNREACHABLE = ("08", "57P", "53300", "25006")
_WORDS = {"53100": "disk_full", "42501": "permission_denied"}
_TIMED_OUT = ("55P03", "57014", "25P03")
_CONTENDED = ("40001", "40P01")
_STATEMENTS = 300
"""Prepared statements a connection: the same text counts again for every mix of types and nulls."""


class InDoubt(JournalUnavailable):
    """The connection broke in the commit of work that would have brought ``value``."""

    def __init__(self, value: object) -> None:
        super().__init__("unreachable", ambiguous=True)
        self.value = value


def connection_parameters(url: Secret) -> dict[str, Any]:
    """What libpq is told.

    Raises:
        JournalUnavailable: ``bad_url``; its text stays behind.
    """
    try:
        return _CONNECTION | conninfo_to_dict(url.reveal())
    except psycopg.ProgrammingError:
        raise JournalUnavailable("bad_url") from None


def reason_of(error: Exception) -> str:
    """A closed word for a failure of the driver."""
    code = getattr(error, "sqlstate", None)
    if code is None:
        return "unreachable" if isinstance(error, psycopg.OperationalError) else "failed"
    if code.startswith(_UNREACHABLE):
        return "unreachable"
    if code in _WORDS:
        return _WORDS[code]
    if code in _TIMED_OUT:
        return "timeout"
    return "contended" if code in _CONTENDED else "failed"


class Sessions:
    """A pool of connections that runs work.

    Args:
        url: of the database.
        connections: at most so many at once.
    """

    def __init__(self, url: Secret, connections: int) -> None:
        self._url = url
        self._connections = connections
        self._pool: psycopg_pool.AsyncConnectionPool[Connection] | None = None
        self._lock = 0
        self._running: set[asyncio.Task[Any]] = set()
        self._in_use: set[Connection] = set()

    async def open(self, process: str) -> None:
        """Connect; ``process`` names the lock that this process's transactions share (see :meth:`write`)."""
        self._lock = int.from_bytes(bytes.fromhex(process)[:8], "big", signed=True)
        pool: psycopg_pool.AsyncConnectionPool[Connection] = psycopg_pool.AsyncConnectionPool(
            kwargs=connection_parameters(self._url) | {"autocommit": True, "prepare_threshold": 0},
            configure=_configure,
            min_size=1,
            max_size=self._connections,
            timeout=_CONNECTION_SECONDS,
            reconnect_timeout=1.0,  # then again at the next use: a pool that backs off for minutes is no use
            open=False,
        )
        try:
            await pool.open(wait=True, timeout=_FIRST_CONNECTION_SECONDS)
        except psycopg.Error as error:
            await pool.close()
            raise JournalUnavailable(reason_of(error)) from None
        self._pool = pool

    async def close(self) -> None:
        """Release every connection; those of a server that hangs are cut."""
        if self._running:
            await asyncio.wait(self._running, timeout=_PARTING_SECONDS)
        for connection in self._in_use:
            _cut(connection)
        if self._running:
            await asyncio.wait(self._running)
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close(timeout=_PARTING_SECONDS)

    async def read(self, work: Callable[[], Work[T]]) -> T:
        """Run work that only reads, on one consistent view."""
        try:
            return await self._keep(self._run(work, [(_READ, {})]))
        except InDoubt as doubt:  # the end of a look is of no interest
            return cast("T", doubt.value)

    async def write(self, work: Callable[[], Work[T]], *, shares: bool = False, waits: bool = False) -> T:
        """Run work in one transaction.

        Args:
            shares: hold the process's lock together with others, so that one can wait for it.
            waits: for everything that shares the lock, even on connections that broke: what it left is there after
                that, or will never be.

        Raises:
            InDoubt: the connection broke in the commit.
        """
        begin: list[Begin] = [(_WRITE, {})]
        if shares or waits:
            begin.append((_LOCK if waits else _SHARE_LOCK, {"lock": self._lock}))
        return await self._keep(self._run(work, begin))

    async def _keep(self, running: Coroutine[Any, Any, T]) -> T:
        """Let a transaction end in peace, even if whoever waits for it is cancelled."""
        task = asyncio.create_task(running)
        self._running.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it, or is gone

    async def _run(self, work: Callable[[], Work[T]], begin: Sequence[Begin]) -> T:
        """Run it, and again where it was rolled back for a reason that passes."""
        reason = "contended"
        for _ in range(_MOST_REPETITIONS):
            try:
                return await self._run_once(work, begin)
            except psycopg_pool.PoolTimeout:
                raise JournalUnavailable("unreachable") from None
            except psycopg.Error as error:
                reason = reason_of(error)
            except JournalUnavailable as failure:
                if failure.ambiguous:
                    raise
                reason = failure.reason
            if reason not in ("unreachable", "contended"):
                raise JournalUnavailable(reason)
            if reason == "unreachable":
                # Idle connections may have died with their server, or lead to one that now only reads.
                await self._use().drain()
        raise JournalUnavailable(reason)

    async def _run_once(self, work: Callable[[], Work[T]], begin: Sequence[Begin]) -> T:
        pool = self._use()
        connection = await pool.getconn()
        self._in_use.add(connection)
        timer = asyncio.get_running_loop().call_later(_SILENCE_SECONDS, _cut, connection)
        try:
            return await _run_transaction(connection, work(), begin)
        finally:
            timer.cancel()
            self._in_use.discard(connection)
            await pool.putconn(connection)

    def _use(self) -> psycopg_pool.AsyncConnectionPool[Connection]:
        if self._pool is None:
            raise JournalUnavailable("closed")
        return self._pool


async def _configure(connection: Connection) -> None:
    connection.prepared_max = _STATEMENTS
    await connection.execute(_SETTINGS)


async def _run_transaction(connection: Connection, work: Work[T], begin: Sequence[Begin]) -> T:
    value: T | None = None
    committing = False
    try:
        async with connection.pipeline() as pipeline:
            for sql, parameters in begin:
                await connection.cursor().execute(sql, parameters)
            try:
                steps = next(work)
                while True:
                    steps = work.send(await _run_round(connection, pipeline, steps))
            except StopIteration as end:
                value = end.value
            committing = True
            await connection.cursor().execute(b"COMMIT")
            await pipeline.sync()
    except BaseException as error:
        await _abandon(connection)
        if committing and isinstance(error, psycopg.Error) and _is_of_the_connection(error):
            raise InDoubt(value) from None
        raise
    return cast("T", value)


async def _run_round(connection: Connection, pipeline: psycopg.AsyncPipeline, steps: Sequence[Step]) -> list[Result]:
    if not steps:
        return []
    cursors: list[tuple[psycopg.AsyncCursor[Any], int]] = []
    for statement, same in groupby(steps, key=itemgetter(0)):
        sql, constants = statement.postgres
        parameters = [values if not constants else {**constants, **values} for _, values in same]
        cursor = connection.cursor()
        if len(parameters) == 1:
            await cursor.execute(sql, parameters[0])
        else:  # half the CPU of as many executions
            await cursor.executemany(sql, parameters, returning=True)
        cursors.append((cursor, len(parameters)))
    await pipeline.sync()
    return [result for cursor, count in cursors for result in await _read_results(cursor, count)]


async def _read_results(cursor: psycopg.AsyncCursor[Any], count: int) -> list[Result]:
    results = []
    for position in range(count):
        if position:
            cursor.nextset()
        rows = await cursor.fetchall() if cursor.description is not None else ()
        results.append(Result(rows, cursor.rowcount))
    return results


async def _abandon(connection: Connection) -> None:
    """Make a connection fit for the next transaction, or none at all."""
    try:
        await connection.rollback()
    except psycopg.Error:
        await connection.close()


def _cut(connection: Connection) -> None:
    """End a connection: who waits for it sees that at once. (Cancelled, psycopg would ask the server, and wait on.)"""
    try:
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as line:
            line.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.Error):
        return  # it has ended already


def _is_of_the_connection(error: psycopg.Error) -> bool:
    """Whether an error is the connection's, and not the server's answer (which says that it did not commit)."""
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
