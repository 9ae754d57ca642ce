"""The queue of callbacks, and the addresses that said they are gone."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make them; code of the version before neither needs nor hinders them."""
    op.create_table(
        "callbacks",
        _column("id", key=True),
        _column("notification_id"),
        _column("kind"),
        _column("client"),
        _column("url"),
        _column("target"),
        _column("happened_at", sa.BigInteger()),
        _column("due_at", sa.BigInteger()),
        _column("attempts", sa.Integer()),
        sqlite_with_rowid=False,
    )
    op.create_index("callbacks_due", "callbacks", ["due_at", "id"])
    op.create_index("callbacks_by_address", "callbacks", ["client", "url"])
    op.create_table(
        "disabled_callbacks",
        _column("client", key=True),
        _column("url", key=True),
        _column("disabled_at", sa.BigInteger()),
        sqlite_with_rowid=False,
    )


def _column(name: str, kind: Any = TEXT, *, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, primary_key=key)
