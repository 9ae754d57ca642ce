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
from typing import Any, Self, TypeVar, cast

import psycopg
import psycopg_pool

from relay.domain.secret import Secret
from relay.journal.connecting import BACKEND, OF_THE_CONNECTION, connection_parameters, reason_of
from relay.journal.statements import Parameters, Result, Step, Work
from relay.sending.ports import JournalUnavailable

T = TypeVar("T")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Begin = tuple[bytes, Parameters]

_WRITE = b"BEGIN ISOLATION LEVEL READ COMMITTED"
_READ = b"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_SHARE_LOCK = b"SELECT pg_advisory_xact_lock_shared(%(lock)s::bigint)"
_LOCK = b"SELECT pg_advisory_xact_lock(%(lock)s::bigint)"

_SETTINGS = b"""
    SELECT set_config('lock_timeout', '3s', true),
        set_config('statement_timeout', '10s', true),
        set_config('idle_in_transaction_session_timeout', '10s', true),
        CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END
"""
"""For the transaction alone: behind a pooler the session is somebody else's too."""
_FIRST_CONNECTION_SECONDS = 10.0
_CONNECTION_SECONDS = 3.0
"""How long work waits for a connection."""

_SILENCE_SECONDS = 12.0
"""For a whole transaction. A server that works ends it earlier by itself; this is for one that hangs."""
_PARTING_SECONDS = 3.0
"""How long the end of the process waits for transactions that are under way."""

_MOST_REPETITIONS = 3

_STATEMENTS = 300
"""Prepared statements a connection: the same text counts again for every mix of types and nulls."""


class InDoubt(JournalUnavailable):
    """The connection broke in the commit of work that would have brought ``value``."""

    def __init__(self, value: object) -> None:
        super().__init__("unreachable", ambiguous=True)
        self.value = value


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
        self._trouble = "unreachable"
        self._running: set[asyncio.Task[Any]] = set()
        self._in_use: set[Connection] = set()

    async def open(self, process: str) -> None:
        """Connect; ``process`` names the lock that this process's transactions share (see :meth:`write`)."""
        self._lock = int.from_bytes(bytes.fromhex(process)[:8], "big", signed=True)
        pool: psycopg_pool.AsyncConnectionPool[Connection] = psycopg_pool.AsyncConnectionPool(
            connection_class=self._watched_connections(),
            kwargs=connection_parameters(self._url) | {"autocommit": True},
            configure=_configure,
            min_size=1,
            max_size=self._connections,
            timeout=_CONNECTION_SECONDS,
            reconnect_timeout=1.0,  # then again at the next use: a pool that backs off for minutes is no use
            open=False,
        )
        try:
            await pool.open(wait=True, timeout=_FIRST_CONNECTION_SECONDS)
        except psycopg.Error:
            await pool.close()
            raise JournalUnavailable(self._trouble) from None
        self._pool = pool

    def _watched_connections(self) -> type[Connection]:
        """Connections that tell why they could not be made; the pool keeps that to itself."""
        sessions = self

        class Watched(psycopg.AsyncConnection[tuple[Any, ...]]):
            @classmethod
            async def connect(cls, conninfo: str = "", **options: Any) -> Self:
                try:
                    made = await super().connect(conninfo, **options)
                except psycopg.Error as error:
                    sessions._trouble = reason_of(error)
                    raise
                sessions._trouble = "unreachable"
                return made

        return Watched

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
            return await self._keep(self._run(work, [(_READ, {}), (_SETTINGS, {})]))
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
        begin: list[Begin] = [(_WRITE, {}), (_SETTINGS, {})]
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
                raise JournalUnavailable(self._trouble) from None
            except psycopg.Error as error:
                reason = reason_of(error)
            except JournalUnavailable as failure:
                if failure.ambiguous:
                    raise
                reason = failure.reason
            if reason in OF_THE_CONNECTION:
                # Idle connections may have died with their server, or lead to one that now only reads.
                await self._use().drain()
            elif reason != "contended":
                break
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
    """Prepare statements, unless a pooler may lead the next transaction to a server process that never saw them."""
    row = await (await connection.execute(BACKEND)).fetchone()
    if row == (connection.info.backend_pid,):
        connection.prepare_threshold, connection.prepared_max = 0, _STATEMENTS


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
