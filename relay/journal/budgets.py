"""What clients may spend in a month: reserved in the claim's transaction, corrected in the one that ends a call.

A client's month is one row, as its day is (``relay.journal.limits``). It begins with what the ledger of units has of
the month, so that a budget that is set in the middle of a month counts what was sent before; after a month with a
budget it begins at nothing, for what ends later was counted in the month before.
"""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy import bindparam, cast, exists, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.domain.usage import MICRO
from relay.journal.schema import TEXT, budgets, usage
from relay.journal.statements import Statement, Step, Work
from relay.sending.ports import Claim

Month = tuple[str, str]
"""Client and month."""

_b = budgets.c
_of_month = (_b.client == bindparam("for_client"), _b.month == bindparam("for_month"))
_LOCK = Statement(select(_b.micro_units).where(*_of_month).with_for_update())
_before = exists(
    select(literal_column("1")).where(_b.client == bindparam("for_client"), _b.month == bindparam("month_before"))
)
_seed = select(
    cast(bindparam("for_client"), TEXT),
    cast(bindparam("for_month"), TEXT),
    func.coalesce(func.sum(usage.c.micro_units), literal_column("0")),
).where(
    usage.c.client == bindparam("for_client"),
    usage.c.day >= bindparam("first_day"),
    usage.c.day <= bindparam("last_day"),
    ~_before,
)
_names = ["client", "month", "micro_units"]
_BEGIN = Statement(
    sqlite=sqlite.insert(budgets).from_select(_names, _seed).on_conflict_do_nothing(),
    postgres=postgresql.insert(budgets).from_select(_names, _seed).on_conflict_do_nothing(),
)
_CHANGE = Statement(update(budgets).values(micro_units=_b.micro_units + bindparam("more")).where(*_of_month))
_SPENT = Statement(select(_b.client, _b.micro_units).where(_b.month == bindparam("for_month")))


def months_of(claims: Iterable[Claim]) -> set[Month]:
    """The months that claims are charged to."""
    return {(claim.notification.client, claim.budget.month) for claim in claims if claim.budget is not None}


def lock_months(wanted: Iterable[Month]) -> Work[dict[Month, int]]:
    """How much of each month is spent, which nobody else changes before this transaction ends."""
    months = sorted(wanted)
    if not months:
        return {}
    locking: list[Step] = [(_LOCK, {"for_client": client, "for_month": month}) for client, month in months]
    found = yield locking
    missing = [place for place, result in enumerate(found) if not result.rows]
    if missing:
        yield [(_BEGIN, _seed_values(*months[place])) for place in missing]
        found = yield locking
    return {month: int(result.rows[0][0]) for month, result in zip(months, found, strict=True)}


def _seed_values(client: str, month: str) -> dict[str, object]:
    before = (date.fromisoformat(f"{month}-01") - timedelta(days=1)).isoformat()[:7]
    return {
        "for_client": client,
        "for_month": month,
        "month_before": before,
        "first_day": f"{month}-01",
        "last_day": f"{month}-31",
    }


def change_steps(changes: Mapping[Month, int]) -> list[Step]:
    """What spends more, or less: in one order, so that two never wait for each other."""
    return [
        (_CHANGE, {"for_client": client, "for_month": month, "more": more})
        for (client, month), more in sorted(changes.items())
        if more
    ]


def read_spent(month: str) -> Work[dict[str, Decimal]]:
    """Units that are spent or reserved of a month, by client."""
    [found] = yield [(_SPENT, {"for_month": month})]
    return {client: Decimal(micro) / MICRO for client, micro in found.rows}
