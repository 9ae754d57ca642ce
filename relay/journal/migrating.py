"""Brings a database to the tables that this code works with, and refuses one that it cannot work with.

A migration must leave code of the version before it working (a column is added first and used later; it is dropped two
versions after its last use), for replicas are replaced one by one. Where that cannot be, it raises the ``needs`` row:
older code then refuses to start. The same goes for a new word of a closed vocabulary (a code, a status): it is read by
one version before the next one writes it.
"""

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, NullPool, StaticPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from relay.domain.secret import Secret
from relay.journal.schema import HEAD
from relay.sending.ports import JournalUnavailable

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_265_676_017
"""The advisory lock under which a PostgreSQL database is migrated."""

_VERSION = "SELECT version_num FROM alembic_version"
_NEEDS = "SELECT value FROM control WHERE name = 'needs'"


def must_migrate(version: str | None, needs: str) -> bool:
    """Whether a database must be migrated before this code may use it.

    Raises:
        JournalUnavailable: ``schema_too_new``.
    """
    if version is not None and version > HEAD and needs > HEAD:
        raise JournalUnavailable("schema_too_new")
    return version is None or version < HEAD


def prepare_sqlite(connection: sqlite3.Connection) -> None:
    """Migrate a SQLite database where it is older, on its own connection.

    Raises:
        JournalUnavailable: ``schema_too_new``, or ``foreign_database`` where it holds something else.
    """
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    version, needs = None, ""
    if "alembic_version" in tables:
        version = str(connection.execute(_VERSION).fetchone()[0])
        needs = bytes(connection.execute(_NEEDS).fetchone()[0]).decode()
    elif tables:
        raise JournalUnavailable("foreign_database")
    if must_migrate(version, needs):
        engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
        connection.execute("BEGIN IMMEDIATE")
        with engine.connect() as wrapped:
            migrate(wrapped)
            wrapped.commit()


def migrate_postgres(url: Secret, *, allowed: bool) -> None:
    """Migrate a PostgreSQL database where it is older, one process at a time. Blocks: to be run in a thread.

    Raises:
        JournalUnavailable: why it cannot be reached, ``schema_too_new``, or ``schema_too_old`` where migrating is not
            allowed.
    """
    import psycopg

    from relay.journal.connecting import connection_parameters, reason_of

    parameters = connection_parameters(url)
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(**parameters), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            _prepare_postgres(connection, allowed=allowed)
    except DBAPIError as error:
        raise JournalUnavailable(reason_of(error.orig or error)) from None
    except psycopg.Error as error:
        raise JournalUnavailable(reason_of(error)) from None


def _prepare_postgres(connection: Connection, *, allowed: bool) -> None:
    if not must_migrate(*_read_versions(connection)):
        return
    if not allowed:
        raise JournalUnavailable("schema_too_old")
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
    if must_migrate(*_read_versions(connection)):  # unless another process just did it
        migrate(connection)
    connection.commit()


def _read_versions(connection: Connection) -> tuple[str | None, str]:
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None, ""
    needs = connection.execute(text(_NEEDS)).scalar_one()
    return connection.execute(text(_VERSION)).scalar_one(), bytes(needs).decode()


def migrate(connection: Connection) -> None:
    """Run what is missing, in the transaction that the connection is in."""
    from alembic import command  # only a start that migrates pays for it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
