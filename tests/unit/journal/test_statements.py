"""Every statement can be said to both stores, and finds its rows by an index."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import StaticPool, create_engine

from relay.journal import callbacks, calls, claims, control, ending, limits, queueing, reading, retention
from relay.journal.schema import metadata
from relay.journal.statements import Statement

MODULES = (callbacks, calls, claims, control, ending, limits, queueing, reading, retention)
SMALL = ("processes", "deduplications", "disabled_callbacks", "quotas", "CONSTANT ROW", "chosen", "(subquery")
"""What may be read whole: a few rows, or what the statement itself has chosen."""


def statements() -> list[Statement]:
    """Every statement of the journal, listings with every field among them."""
    found: list[object] = []
    for module in MODULES:
        for value in vars(module).values():
            found += value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    for fields in [(), ("reference",), ("idempotency_key",), ("before",), ("created_from", "created_to", "before")]:
        found += [reading._listing(fields, kind) for kind in ("any", "sent", "other", "owned")]
    return [item for item in found if isinstance(item, Statement)]


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    """Empty tables."""
    with closing(sqlite3.connect(":memory:")) as connection:
        metadata.create_all(create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool))
        yield connection


def test_no_statement_reads_a_large_table_whole(database: sqlite3.Connection) -> None:
    found = statements()
    assert len(found) > 60
    for statement in found:
        sql, _ = statement.sqlite
        plan = database.execute(f"EXPLAIN QUERY PLAN {sql}", ["[]"] * sql.count("?")).fetchall()
        scans = [row[3] for row in plan if row[3].startswith("SCAN") and "VIRTUAL TABLE" not in row[3]]

        assert [scan for scan in scans if not scan[5:].startswith(SMALL) and " USING " not in scan] == [], sql


def test_every_statement_can_be_said_to_postgresql() -> None:
    for statement in statements():
        sql, constants = statement.postgres

        assert sql
        assert all(isinstance(value, int) for value in constants.values()), sql
