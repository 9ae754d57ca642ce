"""When a notification was held, claimed, dialled, answered and called back: its timeline."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns; code of the version before leaves them empty, and rows without them can be read."""
    for name in ("claimed_at", "held_at", "called_back_at"):
        op.add_column("notifications", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("notifications", sa.Column("called_back", TEXT, nullable=True))
    for name in ("dialled_at", "done_at"):
        op.add_column("calls", sa.Column(name, sa.BigInteger(), nullable=True))
