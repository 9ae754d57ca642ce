"""What clients have spent of their budgets, and by how much a balance fell beyond what calls explain."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table and the column. What code of the version before ends meanwhile stays reserved."""
    op.create_table(
        "budgets",
        sa.Column("client", TEXT, nullable=False),
        sa.Column("month", TEXT, nullable=False),
        sa.Column("micro_units", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("client", "month"),
        sqlite_with_rowid=False,
    )
    op.add_column("balances", sa.Column("drift", sa.BigInteger, nullable=True))
