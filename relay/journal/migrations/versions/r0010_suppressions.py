"""Numbers that are not to be written to, and which entries of a notification were left out because of that."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table and the column; code of the version before neither needs nor hinders them, and spares nobody."""
    op.add_column("notifications", sa.Column("suppressed", TEXT, nullable=True))
    op.create_table(
        "suppressions",
        sa.Column("id", TEXT, primary_key=True),
        *(sa.Column(name, TEXT, nullable=False) for name in ("client", "number_hash", "last_digits", "message_types")),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("by", TEXT, nullable=False),
    )
    op.create_index("suppressions_by_number", "suppressions", ["number_hash"])
    op.create_index("suppressions_by_client", "suppressions", ["client", "created_at", "id"])
    ends = sa.text("until IS NOT NULL")
    op.create_index("suppressions_over", "suppressions", ["until"], sqlite_where=ends, postgresql_where=ends)
