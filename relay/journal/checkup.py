"""A look at what the journal stands on, without opening it: how dear a durable write is, what a server promises."""

import os
import shutil
import sqlite3
import statistics
import time
from pathlib import Path
from tempfile import TemporaryFile

import psycopg
from msgspec import Struct

from relay.domain.secret import Secret
from relay.journal.connecting import BACKEND, connection_parameters, reason_of
from relay.journal.opening import sqlite_path
from relay.sending.ports import JournalUnavailable

_WRITES = 20
_PAGE = b"\0" * 4096


class FileFacts(Struct, frozen=True):
    """The folder of a SQLite file."""

    exists: bool
    sqlite: str
    fsync_ms: float
    """Median of a page that is written and made durable."""
    free_mib: float


class ServerFacts(Struct, frozen=True):
    """A PostgreSQL server."""

    version: int
    round_trip_ms: float
    is_standby: bool
    synchronous_commit: str
    synchronous_standbys: str
    clock_ahead_seconds: float
    pooled: bool
    """Whether a pooler stands in between."""


def look_at_file(url: Secret) -> FileFacts:
    """Write a few pages beside the file.

    Raises:
        OSError: nothing can be written there.
    """
    path = Path(sqlite_path(url))
    seconds = []
    with TemporaryFile(dir=path.parent) as file:
        for _ in range(_WRITES):
            begun = time.perf_counter()
            file.write(_PAGE)
            file.flush()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - begun)
    free = shutil.disk_usage(path.parent).free / 2**20
    return FileFacts(path.exists(), sqlite3.sqlite_version, statistics.median(seconds) * 1000, free)


def look_at_server(url: Secret) -> ServerFacts:
    """Ask a server what it is.

    Raises:
        JournalUnavailable: it cannot be asked; its reason is a closed word.
    """
    try:
        with psycopg.connect(**connection_parameters(url)) as connection:
            begun = time.perf_counter()
            row = connection.execute(
                "SELECT pg_is_in_recovery(), current_setting('synchronous_commit'),"
                " current_setting('synchronous_standby_names'), extract(epoch FROM clock_timestamp())::float8,"
                " CASE WHEN to_regclass('notifications') IS NULL"
                " THEN coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"
                " ELSE has_table_privilege('notifications', 'INSERT')"
                " AND has_table_privilege('notifications', 'UPDATE') END"
            ).fetchone()
            now, seconds = time.time(), time.perf_counter() - begun
            version = connection.info.server_version
            pooled = connection.execute(BACKEND).fetchone() != (connection.info.backend_pid,)
    except psycopg.Error as error:
        raise JournalUnavailable(reason_of(error)) from None
    if row is None:
        raise JournalUnavailable("failed")
    if not row[4]:
        raise JournalUnavailable("permission_denied")
    return ServerFacts(version, seconds * 1000, row[0], row[1], row[2], row[3] - (now - seconds / 2), pooled)
