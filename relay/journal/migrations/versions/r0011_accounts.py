"""Which account each call took."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the columns. Calls of before, and those that code of the version before still writes, are smsclone's: that
    is the default, so that no row is written anew."""
    op.add_column("calls", sa.Column("account", TEXT, nullable=True, server_default=sa.text("'smsclone'")))
    op.add_column("calls", sa.Column("account_reason", TEXT, nullable=True))
