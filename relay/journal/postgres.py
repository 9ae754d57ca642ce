"""The journal in PostgreSQL: several replicas, each with a pool of connections, short transactions, pipelined rounds.

The promises need a server that keeps what it acknowledged: ``synchronous_commit`` on, and a synchronous standby where
a fail-over is possible.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar, cast

from relay.domain.secret import Secret
from relay.journal import control, queueing
from relay.journal.base import StoredJournal, TakeKind
from relay.journal.migrating import migrate_postgres
from relay.journal.sessions import InDoubt, Sessions
from relay.journal.statements import Work
from relay.sending.ports import Clock, JournalUnavailable, Taken

T = TypeVar("T")

_LANES = 2
"""Batches of one kind under way at once: enough that one which waits for a rival's key does not hold up all others."""

_SHARDS = 8
"""Shards of a client's day: as many replicas as should never wait for each other."""


class PostgresJournal(StoredJournal):
    """See ``relay.sending.ports.Journal``.

    Args:
        url: as libpq takes it.
        clock: for what the port gives no time for; who lives is judged by the database's.
        migrate: whether this process may migrate the database at opening.
        connections: at most so many at once.
    """

    def __init__(self, url: Secret | str, *, clock: Clock, migrate: bool = True, connections: int = 8) -> None:
        super().__init__(clock, lanes=_LANES, shards=_SHARDS)
        self._url = url if isinstance(url, Secret) else Secret(url)
        self._migrate = migrate
        self._sessions = Sessions(self._url, connections)
        self._in_doubt: dict[TakeKind, list[Taken]] = {kind: [] for kind in TakeKind}

    async def open(self) -> None:
        """See ``Journal.open``."""
        await asyncio.to_thread(migrate_postgres, self._url, allowed=self._migrate)
        self._begin()
        await self._sessions.open(self._process)
        try:
            await self._write(lambda: control.register(self._process))
        except BaseException:
            await self._sessions.close()
            raise

    async def close(self) -> None:
        """See ``Journal.close``."""
        if not self._process:
            return
        await self._finish()
        try:
            await self._write(lambda: control.leave(self._process))
        except JournalUnavailable:
            pass  # the others notice by its silence
        finally:
            self._process = ""
            await self._sessions.close()

    async def _read(self, work: Callable[[], Work[T]]) -> T:
        return await self._sessions.read(work)

    async def _write(self, work: Callable[[], Work[T]]) -> T:
        return await self._sessions.write(work)

    async def _claim(self, work: Callable[[], Work[T]]) -> T:
        return await self._sessions.write(work, shares=True)

    async def _take(self, kind: TakeKind, work: Callable[[], Work[list[Taken]]]) -> list[Taken]:
        if kind is TakeKind.BACK:
            return await self._sessions.write(work, waits=True)
        in_doubt = self._in_doubt[kind]
        if in_doubt and (confirmed := await self._confirm(kind)):
            return confirmed
        try:
            return await self._sessions.write(work, shares=True)
        except InDoubt as doubt:
            in_doubt += cast("list[Taken]", doubt.value)
            raise

    async def _confirm(self, kind: TakeKind) -> list[Taken]:
        """Give what an earlier take brought although its commit was in doubt: nobody else knows of it."""
        in_doubt, self._in_doubt[kind] = self._in_doubt[kind], []
        try:
            return await self._sessions.write(lambda: queueing.confirm_taken(in_doubt, self._process), waits=True)
        except JournalUnavailable:
            self._in_doubt[kind] += in_doubt
            raise
