"""What cleaning up and readings of the balance ask for, from an index: windows that are over, what a day came to."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_SMALL = 10_000


def upgrade() -> None:
    """Make the table, with what the ledger says by now; on a large PostgreSQL the indexes are made in the background.

    Code of the version before does not write the table: while it still sends, a reading of the balance is explained by
    less than it should be.
    """
    connection = op.get_bind()
    totals = op.create_table(
        "usage_totals",
        sa.Column("day", TEXT, nullable=False),
        sa.Column("account", TEXT, nullable=False),
        sa.Column("outcome", TEXT, nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("micro_units", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "account", "outcome", "shard"),
        sqlite_with_rowid=False,
    )
    usage = sa.table("usage", *(sa.column(name) for name in ("day", "account", "outcome", "micro_units")))
    of_day = (usage.c.day, usage.c.account, usage.c.outcome)
    sums = sa.select(*of_day, sa.literal_column("0"), sa.cast(sa.func.sum(usage.c.micro_units), sa.BigInteger()))
    connection.execute(totals.insert().from_select(list(totals.c), sums.group_by(*of_day)))
    some = sa.select(sa.literal_column("1")).select_from(sa.table("deduplications")).limit(_SMALL).subquery()
    rows = connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
    if connection.dialect.name == "sqlite" or rows < _SMALL:
        op.create_index("deduplications_of", "deduplications", ["notification_id"])
        op.create_index("deduplications_over", "deduplications", ["expires_at"])
