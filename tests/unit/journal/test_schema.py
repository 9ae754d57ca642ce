"""The tables as they are defined and as the migrations make them are the same, on both stores."""

import asyncio
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from relay.journal import migrating
from relay.journal.opening import open_journal
from relay.journal.schema import HEAD, metadata
from relay.sending.ports import JournalUnavailable
from support.fakes import FakeClock


async def migrate(url: str) -> None:
    """Let a journal make its tables."""
    journal = open_journal(url, clock=FakeClock())
    await journal.open()
    await journal.close()


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
async def test_the_migrations_make_the_tables_that_are_defined(
    store: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('journal') / 'relay.db'}"
    if store == "postgresql":
        url = request.getfixturevalue("postgres_url")
    await migrate(url)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))

    def compare() -> tuple[Any, dict[str, set[tuple[str | None, bool]]]]:
        with engine.connect() as connection:
            differences = compare_metadata(MigrationContext.configure(connection), metadata)
            conditions = {
                table.name: {
                    (index["name"], index.get("dialect_options", {}).get(f"{store}_where") is not None)
                    for index in inspect(connection).get_indexes(table.name)
                }
                for table in metadata.sorted_tables
            }
        engine.dispose()
        return differences, conditions

    differences, conditions = await asyncio.to_thread(compare)

    assert differences == []
    for table in metadata.sorted_tables:
        assert conditions[table.name] == {
            (index.name, index.dialect_options[store]["where"] is not None) for index in table.indexes
        }


def test_the_newest_migration_is_the_one_that_this_code_names() -> None:
    script = ScriptDirectory(str(migrating.MIGRATIONS))

    assert script.get_current_head() == HEAD


@pytest.mark.parametrize(
    ("version", "needs", "expected"),
    [(None, "", True), ("0000", "0000", True), (HEAD, "0001", False), ("9998", "0001", False), ("9998", HEAD, False)],
)
def test_a_database_is_migrated_where_it_is_older(version: str | None, needs: str, expected: bool) -> None:
    assert migrating.must_migrate(version, needs) is expected


def test_a_database_that_needs_newer_code_is_refused() -> None:
    with pytest.raises(JournalUnavailable, match="schema_too_new"):
        migrating.must_migrate("9998", "9998")
