"""The ledger of units."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make it; code of the version before neither needs nor hinders it. Calls of before are charged to nobody."""
    op.add_column("calls", sa.Column("bill", TEXT, nullable=True))
    op.add_column("calls", sa.Column("charge", TEXT, nullable=True))
    op.create_table(
        "usage",
        _column("day", key=True),
        _column("client", key=True),
        _column("billing_code", key=True),
        _column("message_type", key=True),
        _column("route", key=True),
        _column("account", key=True),
        _column("outcome", key=True),
        _column("shard", sa.Integer(), key=True),
        _column("messages", sa.BigInteger()),
        _column("recipients", sa.BigInteger()),
        _column("segments", sa.BigInteger()),
        _column("micro_units", sa.BigInteger()),
        sqlite_with_rowid=False,
    )


def _column(name: str, kind: Any = TEXT, *, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, primary_key=key)
