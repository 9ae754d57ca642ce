"""The journal in one SQLite file: one process, one connection, one thread; for a laptop or a single replica.

SQLite before 3.51.3 can corrupt a WAL that several connections use, and a second process would not see who lives: so
a lock file next to the database lets only one process in, and whoever holds it knows that every other owner is dead.
"""

import contextlib
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from relay.domain.usage import NO_PRICES, Prices
from relay.journal import control
from relay.journal.base import StoredJournal, TakeKind
from relay.journal.migrating import prepare_sqlite
from relay.journal.statements import Work
from relay.journal.writer import Writer
from relay.sending.ports import Clock, JournalUnavailable, Lease

T = TypeVar("T")

OLDEST_SQLITE = (3, 35)
"""RETURNING; 2021."""

_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a commit survives a power cut, not only a crash
    "PRAGMA secure_delete = FAST",  # an erased text leaves its page
)


class SqliteJournal(StoredJournal):
    """The journal in a SQLite file.

    Args:
        path: of the database; made if it is not there. Its lock file is the same with ``.lock``.
        clock: for what the port gives no time for.
        prices: what a segment costs, by account, for the ledger.
        learn_dnd_ms: how long a 3333 on the normal route keeps promotional messages from a number; 0: not at all.
        hash_key: of fingerprints and hashes; the journal keeps one of its own where none is given.
        busy_timeout_seconds: how long a write waits for another program that has locked the database.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Clock,
        hash_key: bytes | None = None,
        prices: Mapping[str, Prices] = NO_PRICES,
        learn_dnd_ms: int = 0,
        busy_timeout_seconds: float = 10.0,
    ) -> None:
        super().__init__(clock, lanes=1, shards=1, hash_key=hash_key, prices=prices, learn_dnd_ms=learn_dnd_ms)
        self._path = Path(path)
        self._busy_timeout_seconds = busy_timeout_seconds
        self._lock: int | None = None
        self._writer: Writer | None = None

    async def open(self) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise JournalUnavailable("sqlite_too_old")
        self._lock = _take_lock(self._path)
        writer = Writer(self._connect)
        try:
            await writer.open()
        except BaseException:
            self._release_lock()
            raise
        self._writer, self._process = writer, secrets.token_hex(16)
        try:
            await self._register()
            await self._begin()
        except BaseException:
            await self.close()
            raise
        with contextlib.suppress(OSError):  # a full disk will be told by whoever writes something that matters
            os.pwrite(self._lock, b"relay\n", 0)

    async def _register(self) -> None:
        """Say that nobody else lives. On a full disk it goes without: what a killed process owned is then taken over
        once its heartbeat is old, and whoever writes something that matters will be told."""
        try:
            await self._write(lambda: control.register_alone(self._process))
        except JournalUnavailable as failure:
            if failure.reason != "disk_full":
                raise

    async def close(self) -> None:
        if self._writer is None:
            return
        await self._finish()
        writer, self._writer = self._writer, None
        writer.run(lambda: control.leave(self._process)).add_done_callback(lambda done: done.exception())
        await writer.close()
        self._release_lock()

    async def leads(self) -> bool:
        """Always: there is no other process."""
        return True

    async def _read(self, work: Callable[[], Work[T]]) -> T:
        return await self._use().run(work, only_reads=True, patient=True)

    async def _write(self, work: Callable[[], Work[T]]) -> T:
        return await self._use().run(work)

    async def _claim(self, work: Callable[[], Work[T]]) -> T:
        return await self._use().run(work)

    async def _write_later(self, work: Callable[[], Work[T]]) -> T:
        return await self._use().run(work, patient=True)

    async def _claim_later(self, work: Callable[[], Work[T]]) -> T:
        return await self._use().run(work, patient=True)

    async def _take(self, kind: TakeKind, work: Callable[[], Work[list[Lease]]]) -> list[Lease]:
        return await self._use().run(work, patient=kind is not TakeKind.BACK)

    def _use(self) -> Writer:
        if self._writer is None:
            raise JournalUnavailable("closed")
        return self._writer

    def _connect(self) -> sqlite3.Connection:
        """Open the database; runs in the writer's thread."""
        with contextlib.suppress(OSError):  # SQLite says what is wrong
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # it holds numbers and texts
        connection = sqlite3.connect(
            self._path, isolation_level=None, timeout=self._busy_timeout_seconds, cached_statements=256
        )
        try:
            for setting in _SETTINGS:
                connection.execute(setting).fetchall()
            prepare_sqlite(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _release_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _take_lock(path: Path) -> int:
    """Lock the file next to the database, for as long as the process lives.

    What stands in it tells a database that was emptied from one that was never there.
    """
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        raise JournalUnavailable("cannot_open") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        emptied = path.exists() and path.stat().st_size == 0 and os.fstat(lock).st_size > 0
    except OSError:
        os.close(lock)
        raise JournalUnavailable("locked") from None
    if emptied:
        os.close(lock)
        raise JournalUnavailable("truncated")
    return lock
