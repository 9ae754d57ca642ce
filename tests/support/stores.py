"""Both stores of the journal for tests: a database of its own each time, opened as often as a test has processes."""

import os
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from relay.journal import sessions
from relay.journal.base import StoredJournal
from relay.journal.opening import open_journal
from relay.journal.schema import metadata
from support.fakes import FakeClock
from support.journal import NOON
from support.journal_file import lay_journal
from support.moves import READ, SWITCH, watch_postgres, watch_sqlite, write_verdict_of
from support.waiting import PATIENCE_SECONDS

Rows = list[tuple[Any, ...]]

PATIENT_SESSIONS: dict[str, Any] = {
    "_CONNECTION_SECONDS": PATIENCE_SECONDS,
    "_SILENCE_SECONDS": PATIENCE_SECONDS,
    "_SETTINGS": re.sub(rb"'\d+s'", b"'%ds'" % PATIENCE_SECONDS, sessions._SETTINGS),
}
"""Names in ``relay.journal.sessions`` and what they are where many at once wait for connections, and for each other's
locks, as long as a busy machine takes. The limits have tests in tests/faults."""


def let_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the transactions that begin from now on wait so."""
    for name, value in PATIENT_SESSIONS.items():
        monkeypatch.setattr(sessions, name, value)


UNDONE: dict[str, tuple[str, ...]] = {
    "0013": ("DROP TABLE budgets", "ALTER TABLE balances DROP COLUMN drift"),
    "0012": ("DROP TABLE usage_totals", "DROP INDEX deduplications_of", "DROP INDEX deduplications_over"),
    "0011": tuple(f"ALTER TABLE calls DROP COLUMN {name}" for name in ("account", "account_reason")),
    "0010": ("DROP TABLE suppressions", "ALTER TABLE notifications DROP COLUMN suppressed"),
    "0009": (
        "DROP INDEX notifications_waiting",
        "DROP INDEX notifications_completed",
        "CREATE INDEX notifications_by_age ON notifications (created_at)",
        "ALTER TABLE notifications DROP COLUMN waiting",
    ),
    "0008": ("DROP TABLE balances",),
    "0007": (
        "DROP INDEX notifications_resent",
        "DROP INDEX notifications_settled",
        "ALTER TABLE notifications DROP COLUMN resent",
    ),
    "0006": (
        *(
            f"ALTER TABLE notifications DROP COLUMN {name}"
            for name in ("claimed_at", "held_at", "called_back_at", "called_back")
        ),
        *(f"ALTER TABLE calls DROP COLUMN {name}" for name in ("dialled_at", "done_at")),
    ),
    "0005": ("DROP TABLE usage", *(f"ALTER TABLE calls DROP COLUMN {name}" for name in ("bill", "charge"))),
    "0004": (
        "DROP INDEX audit_by_notification",
        *(
            f"ALTER TABLE audit DROP COLUMN {name}"
            for name in ("actor_key", "other_id", "count", "previous_hash", "hash")
        ),
    ),
    "0003": (
        "DROP TABLE lookups",
        "DROP TABLE unindexed",
        "DROP INDEX notifications_by_client_status",
        "ALTER TABLE notifications DROP COLUMN counts",
        "CREATE INDEX notifications_by_status ON notifications (client, status, created_at, id) WHERE status != 'sent'",
        "DELETE FROM control WHERE name LIKE 'hash_key%' OR name LIKE 'audit%'",
    ),
}
"""What takes each migration back, newest first."""


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
        self._is_watched = False

    async def open(self) -> StoredJournal:
        """A process that has it open."""
        journal = open_journal(self.url, clock=self.clock)
        await journal.open()
        self._watch()
        self._opened.append(journal)
        return journal

    async def close(self) -> None:
        """Close what a test left open."""
        for journal in self._opened:
            await journal.close()
        if self._is_watched:
            write_verdict_of(self.query(READ), os.environ["PYTEST_CURRENT_TEST"])

    def _watch(self) -> None:
        """Keep the moves of this database, where they are to be judged."""
        if SWITCH is None or self._is_watched:
            return
        self._is_watched = True
        if not self.shared:
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as file, file:
                watch_sqlite(file)
            return
        with psycopg.connect(self.url, autocommit=True) as server:
            if server.execute("SELECT to_regclass('moves')").fetchone() == (None,):
                watch_postgres(server)
            server.execute("TRUNCATE moves")

    def query(self, sql: str) -> Rows:
        """Look (or meddle) behind the journal's back."""
        if self.shared:
            with psycopg.connect(self.url, autocommit=True) as server:
                cursor = server.execute(sql.encode())
                return cursor.fetchall() if cursor.description is not None else []
        with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as file, file:
            return file.execute(sql).fetchall()

    def return_to(self, revision: str) -> None:
        """Make the database as the code of an earlier revision left it."""
        for later, changes in UNDONE.items():
            for change in changes if later > revision else ():
                self.query(change)
        self.query(f"UPDATE alembic_version SET version_num = '{revision}'")

    def dump(self) -> str:
        """Every value of every table."""
        return repr([self.query(f'SELECT * FROM "{table.name}"') for table in metadata.sorted_tables])


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Each store in turn."""
    if request.param == "sqlite":
        lay_journal(tmp_path / "relay.db")
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
