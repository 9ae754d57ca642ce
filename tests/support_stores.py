"""Both stores of the journal for tests: a database of its own each time, opened as often as a test has processes."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fakes import FakeClock
from relay.journal.base import StoredJournal
from relay.journal.opening import open_journal
from support_journal import NOON

Rows = list[tuple[Any, ...]]


class Store:
    """One database.

    Args:
        url: of the journal.
        shared: whether several processes may use it at once.
    """

    def __init__(self, url: str, *, shared: bool) -> None:
        self.url = url
        self.shared = shared
        self.clock = FakeClock(NOON)
        self._opened: list[StoredJournal] = []

    async def open(self) -> StoredJournal:
        """A process that has it open."""
        journal = open_journal(self.url, clock=self.clock)
        await journal.open()
        self._opened.append(journal)
        return journal

    async def close(self) -> None:
        """Close what a test left open."""
        for journal in self._opened:
            await journal.close()

    def query(self, sql: str) -> Rows:
        """Look (or meddle) behind the journal's back."""
        if self.shared:
            with psycopg.connect(self.url, autocommit=True) as server:
                cursor = server.execute(sql.encode())
                return cursor.fetchall() if cursor.description is not None else []
        with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as file, file:
            return file.execute(sql).fetchall()

    def dump(self) -> str:
        """Every value of every table."""
        tables = ("notifications", "calls", "sends", "quotas", "deduplications", "callbacks", "control", "audit")
        return repr([self.query(f"SELECT * FROM {table}") for table in tables])


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Each store in turn."""
    if request.param == "sqlite":
        made = Store(f"sqlite:///{tmp_path / 'relay.db'}", shared=False)
    else:
        made = Store(request.getfixturevalue("emptied_postgres_url"), shared=True)
    yield made
    await made.close()


@pytest.fixture
async def journal(store: Store) -> StoredJournal:
    """The journal, opened by one process."""
    return await store.open()


@pytest.fixture
async def shared_store(emptied_postgres_url: str) -> AsyncIterator[Store]:
    """The store that several processes may use."""
    made = Store(emptied_postgres_url, shared=True)
    yield made
    await made.close()


@pytest.fixture
async def own_store(postgres_url: str) -> AsyncIterator[Store]:
    """The same with a database of the test's own, to do to its tables what it wants."""
    made = Store(postgres_url, shared=True)
    yield made
    await made.close()
