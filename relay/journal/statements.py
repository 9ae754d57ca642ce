"""Statements in the words of both stores, compiled once, and the form in which work on the journal is written.

A :data:`Work` is a generator that yields rounds of statements and is sent their results: what happens is written once,
and each store runs it in its own way (one thread; a pipelined connection). It is run in one transaction. It must be
repeatable from the start, for a transaction that failed is rolled back and may be tried again.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cache, cached_property
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import BigInteger, BindParameter, ColumnElement, Text, any_, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement
from sqlalchemy.sql.schema import Table

_SQLITE: DefaultDialect = sqlite.dialect(paramstyle="qmark")
_POSTGRES: DefaultDialect = PGDialect_psycopg(paramstyle="pyformat")  # type: ignore[no-untyped-call]

Parameters = Mapping[str, object]
Row = tuple[Any, ...]
T = TypeVar("T")


class Result(NamedTuple):
    """What a statement brought: its rows, and how many it touched."""

    rows: Sequence[Row]
    changed: int


class Rows:
    """Inserts many rows of a table in one statement of SQLite, every column given: a third of the cost of as many."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._names = [column.name for column in table.c]
        self._pick = itemgetter(*self._names)

    def insert(self, several: Sequence[Parameters]) -> tuple[str, list[object]]:
        """The text for so many rows, and their values. A row whose unique key is taken is left out."""
        return self._text(len(several)), [value for each in several for value in self._pick(each)]

    @cache  # noqa: B019 — statements live as long as the process
    def _text(self, count: int) -> str:
        marks: list[tuple[BindParameter[Any], ...]] = [
            tuple(bindparam(f"{name}_{row}") for name in self._names) for row in range(count)
        ]
        values = [dict(zip(self._names, row, strict=True)) for row in marks]
        statement = sqlite.insert(self._table).values(values).on_conflict_do_nothing()
        return str(statement.compile(dialect=_SQLITE))


class Statement:
    """One statement, for both stores.

    Args:
        clause: the same for both.
        sqlite: for SQLite, where it differs.
        postgres: for PostgreSQL, where it differs.
        lists: the parameters that are lists of texts (see :class:`one_of`).
        rows: inserts many rows at once on SQLite.
    """

    def __init__(
        self,
        clause: ClauseElement | None = None,
        *,
        sqlite: ClauseElement | None = None,
        postgres: ClauseElement | None = None,
        lists: Sequence[str] = (),
        rows: "Rows | None" = None,
    ) -> None:
        self._sqlite = sqlite if sqlite is not None else clause
        self._postgres = postgres if postgres is not None else clause
        self.lists = lists
        self.rows = rows

    @cached_property
    def sqlite(self) -> tuple[str, Callable[[Parameters], Sequence[object]]]:
        """The text with ``?`` marks, and what picks the values for them, in order."""
        compiled = _compile(self._sqlite, _SQLITE)
        return str(compiled), _picker(compiled.positiontup or [], _constants(compiled))

    @cached_property
    def postgres(self) -> tuple[bytes, Parameters]:
        """The text with ``%(name)s`` marks, and the values of those that nobody gives."""
        compiled = _compile(self._postgres, _POSTGRES)
        return str(compiled).encode(), _constants(compiled)


Step = tuple[Statement, Parameters]
Work = Generator[Sequence[Step], Sequence[Result], T]


def _compile(clause: ClauseElement | None, dialect: DefaultDialect) -> SQLCompiler:
    if clause is None:
        raise TypeError("a statement for another store")
    compiled = clause.compile(dialect=dialect)
    if not isinstance(compiled, SQLCompiler):
        raise TypeError("not a statement with parameters")
    return compiled


def _constants(compiled: SQLCompiler) -> Parameters:
    """Numbers that stand in the statement itself (or that SQLAlchemy adds: an OFFSET of 0 to a LIMIT)."""
    return {name: value for name, value in compiled.params.items() if value is not None}


def _picker(names: Sequence[str], constants: Parameters) -> Callable[[Parameters], Sequence[object]]:
    if constants:
        return lambda parameters: tuple(parameters[name] if name in parameters else constants[name] for name in names)
    if len(names) > 1:
        return itemgetter(*names)
    return lambda parameters: tuple(parameters[name] for name in names)


class one_of(ColumnElement[bool]):  # noqa: N801 — reads as SQL does
    """``column`` is one of the texts in the list parameter ``name``."""

    inherit_cache = False

    def __init__(self, column: ColumnElement[str], name: str) -> None:
        self.column = column
        self.name = name


@compiles(one_of, "sqlite")
def _one_of_json(element: one_of, compiler: SQLCompiler, **options: Any) -> str:
    values = func.json_each(bindparam(element.name)).table_valued("value")
    return compiler.process(element.column.in_(select(values.c.value)), **options)


@compiles(one_of, "postgresql")
def _one_of_array(element: one_of, compiler: SQLCompiler, **options: Any) -> str:
    values = bindparam(element.name, type_=postgresql.ARRAY(Text))
    return compiler.process(element.column == any_(values), **options)


class database_now(ColumnElement[int]):  # noqa: N801 — reads as SQL does
    """The database's own clock, in milliseconds."""

    type = BigInteger()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _julian_now(_element: database_now, _compiler: SQLCompiler, **_options: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


@compiles(database_now, "postgresql")
def _clock_now(_element: database_now, _compiler: SQLCompiler, **_options: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"


def every_column(table: Table) -> dict[str, BindParameter[Any]]:
    """A parameter for every column, by its name."""
    return {column.name: bindparam(column.name) for column in table.c}


def insert_all(table: Table) -> Statement:
    """Insert a row of the table, every column given; or nothing, where a unique key is taken."""
    values = every_column(table)
    return Statement(
        sqlite=sqlite.insert(table).values(values).on_conflict_do_nothing(),
        postgres=postgresql.insert(table).values(values).on_conflict_do_nothing(),
        rows=Rows(table),
    )
