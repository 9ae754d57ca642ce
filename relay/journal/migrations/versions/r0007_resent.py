"""Which unknown recipients were sent to once more, and indexes for what was settled or sent again."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the column; code of the version before neither needs nor hinders it. Both indexes hold few rows."""
    op.add_column("notifications", sa.Column("resent", TEXT, nullable=True))
    for name, column in (("notifications_resent", "resent"), ("notifications_settled", "resolved_at")):
        where = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, "notifications", ["created_at", "id"], sqlite_where=where, postgresql_where=where)
