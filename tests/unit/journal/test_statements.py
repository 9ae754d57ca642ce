"""Every statement can be said to both stores, and finds its rows by an index."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import StaticPool, create_engine

from relay.journal import (
    balances,
    budgets,
    callbacks,
    calls,
    claims,
    control,
    ending,
    filling,
    limits,
    list_query,
    lookups,
    queueing,
    reading,
    retention,
    suppressing,
    suppression_entries,
    usage_ledger,
    usage_sums,
)
from relay.journal.schema import metadata
from relay.journal.statements import Statement

MODULES = (
    balances,
    budgets,
    callbacks,
    calls,
    claims,
    control,
    ending,
    filling,
    limits,
    list_query,
    lookups,
    queueing,
    reading,
    retention,
    suppressing,
    suppression_entries,
    usage_ledger,
    usage_sums,
)
SMALL = (
    *("processes", "disabled_callbacks", "quotas", "budgets", "unindexed"),
    *("CONSTANT ROW", "chosen", "(subquery", "anon_", "found"),
)
"""What may be read whole: a few rows, or what the statement itself has chosen."""


FILTERS = tuple(list_query._FILTERS)
TIMES = ((), ("before",), ("created_from", "created_to", "before"))
WALKS = [
    (driver, others, times)
    for driver in (None, *FILTERS)
    if driver != list_query.ONLY_FIRST_ACCOUNT
    for others in ((), *((other,) for other in FILTERS if driver not in (None, other)))
    for times in TIMES
]
"""Every way to walk a list: what drives, what else is asked for, and when."""


def statements() -> list[Statement]:
    """Every statement of the journal, listings with every field among them."""
    found: list[object] = []
    for module in MODULES:
        for value in vars(module).values():
            found += value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    found += [list_query._walk(*asked) for asked in WALKS]
    found += [list_query._walk(list_query.HELD, others, times) for _, others, times in WALKS]
    found += [list_query._count(driver, times) for driver, _, times in WALKS if driver is not None]
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


@pytest.mark.parametrize("asked", WALKS)
def test_a_list_is_read_from_an_index_in_its_order(
    database: sqlite3.Connection, asked: tuple[str | None, tuple[str, ...], tuple[str, ...]]
) -> None:
    sql, _ = list_query._walk(*asked).sqlite
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", ["1"] * sql.count("?"))]

    driving = next(step for step in plan if step.startswith("SEARCH"))
    index = {
        None: "notifications_by_client (client=?",
        "idempotency_key": "notifications_by_key (client=? AND idempotency_key=?",
        "recipient": "PRIMARY KEY (subject=? AND client=?",
        "account": "PRIMARY KEY (subject=? AND client=?",
        "reference": "notifications_by_reference (client=? AND reference=?",
        "status": "notifications_by_client_status (client=? AND status=?",
    }[asked[0]]
    assert index in driving
    assert asked[0] == "idempotency_key" or not [step for step in plan if "TEMP B-TREE" in step], plan


@pytest.mark.parametrize(("others", "times"), sorted({(others, times) for _, others, times in WALKS}))
def test_what_some_process_holds_is_read_from_its_own_index(
    database: sqlite3.Connection, others: tuple[str, ...], times: tuple[str, ...]
) -> None:
    sql, _ = list_query._walk(list_query.HELD, others, times).sqlite
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", ["1"] * sql.count("?"))]

    assert "notifications_owned" in next(step for step in plan if step.startswith("SEARCH")), plan


def test_every_statement_can_be_said_to_postgresql() -> None:
    for statement in statements():
        sql, constants = statement.postgres

        assert sql
        assert all(isinstance(value, int) for value in constants.values()), sql
