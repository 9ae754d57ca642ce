"""A SQLite journal with its tables, as a file: migrated once and copied; to migrate costs more than most tests."""

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from relay.journal.migrating import prepare_sqlite


@cache
def _tables() -> bytes:
    with TemporaryDirectory(prefix="relay-journal-") as directory:
        file = Path(directory) / "relay.db"
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("PRAGMA synchronous = OFF")
            prepare_sqlite(connection)
        return file.read_bytes()


def lay_journal(file: Path) -> None:
    """Put an empty journal there, unless there is one already."""
    if not file.exists():
        file.touch(0o600)
        file.write_bytes(_tables())
