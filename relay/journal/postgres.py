"""The journal in PostgreSQL: several replicas, each with a pool of connections, short transactions, pipelined rounds.

The promises need a server that keeps what it acknowledged: ``synchronous_commit`` on, and a synchronous standby where
a fail-over is possible.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from relay.domain.secret import Secret
from relay.domain.usage import NO_PRICES, Prices
from relay.journal import control, queueing
from relay.journal.base import StoredJournal, TakeKind
from relay.journal.indexing import make_indexes
from relay.journal.migrating import migrate_postgres
from relay.journal.sessions import InDoubt, Sessions
from relay.journal.statements import Work
from relay.sending.ports import Clock, JournalUnavailable, Lease

T = TypeVar("T")

_LANES = 2
"""Batches of one kind under way at once: enough that one which waits for a rival's key does not hold up all others."""

_SHARDS = 8
"""Shards of a client's day: as many replicas as should never wait for each other."""


class PostgresJournal(StoredJournal):
    """The journal in PostgreSQL.

    Args:
        url: as libpq takes it.
        clock: for what the port gives no time for; who lives is judged by the database's.
        prices: what a segment costs, by account, for the ledger.
        learn_dnd_ms: how long a 3333 on the normal route keeps promotional messages from a number; 0: not at all.
        hash_key: of fingerprints and hashes; the journal keeps one of its own where none is given.
        migrate: whether this process may migrate the database at opening.
        connections: at most so many at once.
    """

    def __init__(
        self,
        url: Secret | str,
        *,
        clock: Clock,
        hash_key: bytes | None = None,
        prices: Mapping[str, Prices] = NO_PRICES,
        learn_dnd_ms: int = 0,
        migrate: bool = True,
        connections: int = 8,
    ) -> None:
        super().__init__(
            clock, lanes=_LANES, shards=_SHARDS, hash_key=hash_key, prices=prices, learn_dnd_ms=learn_dnd_ms
        )
        self._url = url if isinstance(url, Secret) else Secret(url)
        self._migrate = migrate
        self._is_indexed = False
        self._sessions = Sessions(self._url, connections)
        self._in_doubt: dict[TakeKind, list[Lease]] = {kind: [] for kind in TakeKind}

    async def open(self) -> None:
        await asyncio.to_thread(migrate_postgres, self._url, allowed=self._migrate)
        self._process = secrets.token_hex(16)
        try:
            await self._sessions.open(self._process)
            await self._write(lambda: control.register(self._process))
            await self._begin()
        except BaseException:
            self._process = ""
            await self._sessions.close()
            raise

    async def close(self) -> None:
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

    async def tend(self) -> bool:
        if not self._is_indexed:
            await make_indexes(self._url)
            self._is_indexed = True
        return await super().tend()

    async def _read(self, work: Callable[[], Work[T]]) -> T:
        return await self._sessions.read(work)

    async def _write(self, work: Callable[[], Work[T]]) -> T:
        return await self._sessions.write(work)

    async def _claim(self, work: Callable[[], Work[T]]) -> T:
        return await self._sessions.write(work, shares=True)

    async def _take(self, kind: TakeKind, work: Callable[[], Work[list[Lease]]]) -> list[Lease]:
        if kind is TakeKind.BACK:
            return await self._sessions.write(work, waits=True)
        in_doubt = self._in_doubt[kind]
        if in_doubt and (confirmed := await self._confirm(kind)):
            return confirmed
        try:
            return await self._sessions.write(work, shares=True)
        except InDoubt as doubt:
            in_doubt += cast("list[Lease]", doubt.value)
            raise

    async def _confirm(self, kind: TakeKind) -> list[Lease]:
        """Give what an earlier take brought although its commit was in doubt: nobody else knows of it."""
        in_doubt, self._in_doubt[kind] = self._in_doubt[kind], []
        try:
            return await self._sessions.write(lambda: queueing.confirm_taken(in_doubt, self._process), waits=True)
        except JournalUnavailable:
            self._in_doubt[kind] += in_doubt
            raise
