"""Indexes that a large PostgreSQL database gets while everybody works on: made one by one, without a lock on writes."""

from typing import Any

import psycopg
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.schema import CreateIndex, Index

from relay.domain.secret import Secret
from relay.journal.connecting import BACKEND, connection_parameters, reason_of
from relay.journal.schema import metadata
from relay.sending.ports import JournalUnavailable

OBSOLETE = ("notifications_by_status", "notifications_by_age")
"""Indexes of versions before, which go once all others are there."""

_IS_THERE = """
    SELECT indisvalid, EXISTS (SELECT FROM pg_stat_progress_create_index WHERE index_relid = indexrelid)
    FROM pg_index WHERE indexrelid = to_regclass(%s)
"""
"""Whether an index can be used; one that cannot is being made now, or was when its maker died."""


async def make_indexes(url: Secret) -> None:
    """Make what is missing, drop what is obsolete. May take minutes; may be cancelled; begins again where it was.

    Raises:
        JournalUnavailable: it could not be done now.
    """
    try:
        async with await psycopg.AsyncConnection.connect(
            **connection_parameters(url) | {"autocommit": True}
        ) as connection:
            await _make_missing(connection)
    except psycopg.Error as error:
        raise JournalUnavailable(reason_of(error)) from None


async def _make_missing(connection: "psycopg.AsyncConnection[tuple[Any, ...]]") -> None:
    backend = await (await connection.execute(BACKEND)).fetchone()
    if backend == (connection.info.backend_pid,):  # no pooler: the session is ours alone
        await connection.execute("SET statement_timeout = 0")
    for table in metadata.sorted_tables:
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            found = await (await connection.execute(_IS_THERE, [index.name])).fetchone()
            if found == (False, True):
                return  # another replica is at it
            if found == (False, False):
                await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}".encode())
            if found is None or not found[0]:
                await connection.execute(_creation_of(index))
    for name in OBSOLETE:
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}".encode())


def _creation_of(index: Index) -> bytes:
    dialect: Any = PGDialect_psycopg()  # type: ignore[no-untyped-call]
    text = str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect))
    return text.replace(" INDEX ", " INDEX CONCURRENTLY ", 1).encode()
