"""Usage that is asked for: the ledger of units, added up day by day."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache

from sqlalchemy import bindparam, func, select, text

from relay.domain.usage import MICRO, UsageField, UsageQuery, UsageRow
from relay.journal.schema import TEXT, usage
from relay.journal.statements import Statement, Work
from relay.journal.usage_ledger import NOTHING, Amount

_u = usage.c
_DAYS = Statement(
    text("""
        WITH RECURSIVE found(day) AS (
            SELECT min(day) FROM usage WHERE day >= :first_day AND day < :until_day
            UNION ALL
            SELECT (SELECT min(day) FROM usage WHERE day > found.day AND day < :until_day)
            FROM found WHERE found.day IS NOT NULL
        ) SELECT day FROM found WHERE day IS NOT NULL""").bindparams(
        bindparam("first_day", type_=TEXT), bindparam("until_day", type_=TEXT)
    )
)
"""From one day to the next in the index."""


def list_days(query: UsageQuery) -> Work[list[str]]:
    """The days on which anything was used."""
    [found] = yield [(_DAYS, {"first_day": query.first_day, "until_day": query.until_day})]
    return [row[0] for row in found.rows]


Groups = Mapping[tuple[str, ...], Amount]


DAYS_AT_A_TIME = 5
"""That a step adds up: some milliseconds of SQLite's one thread with hundreds of clients, few round trips elsewhere."""


def read_days(days: Sequence[str], query: UsageQuery) -> Work[list[Groups]]:
    """Add up the usage of some days, each by itself: what moves to another outcome stays within its day."""
    of_client: dict[str, object] = {} if query.client is None else {"of_client": query.client}
    statement = _sum(query.by, query.client is not None)
    found = yield [(statement, of_client | {"of_day": day}) for day in days]
    groups = len(query.by)
    return [
        {tuple(row[:groups]): Amount(*map(int, row[groups:])) for row in day.rows if row[groups] is not None}
        for day in found
    ]


def add_days(days: Iterable[Groups]) -> list[UsageRow]:
    """What days came to together, in the order of the groups."""
    totals: dict[tuple[str, ...], Amount] = {}
    for day in days:
        for group, amount in day.items():
            totals[group] = totals.get(group, NOTHING).plus(amount)
    return [
        UsageRow(group, amount.messages, amount.recipients, amount.segments, Decimal(amount.micro_units) / MICRO)
        for group, amount in sorted(totals.items())
    ]


@cache
def _sum(by: tuple[UsageField, ...], of_client: bool) -> Statement:
    groups = [func.substr(_u.day, 1, 7) if field is UsageField.MONTH else _u[field.value] for field in by]
    sums = [func.sum(_u[name]) for name in Amount._fields]
    query = select(*groups, *sums).where(_u.day == bindparam("of_day"))
    if of_client:
        query = query.where(_u.client == bindparam("of_client"))
    return Statement(query.group_by(*groups))
