"""Look-ups that cost what they bring: by recipient and message id, by any status; lists that need no recipients."""

import time
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_SMALL = 10_000
_OLD_REPLICAS_LIVE_MS = 3_600_000
"""How long code of the version before may go on writing rows without look-ups: a rolling update is over by then."""


def upgrade() -> None:
    """Make the table and the column; code of the version before neither needs nor hinders them.

    What is kept is entered in the background (``relay.journal.filling``). The index is made at once, but on a large
    database of PostgreSQL, where that would stop everybody's writes: there it is made in the background too.
    """
    op.add_column("notifications", sa.Column("counts", TEXT, nullable=True))
    op.create_table(
        "lookups",
        _column("subject", sa.LargeBinary(), key=True),
        _column("client", key=True),
        _column("created_at", sa.BigInteger(), key=True),
        _column("notification_id", key=True),
        sqlite_with_rowid=False,
    )
    op.create_table("unindexed", _column("notification_id", key=True), sqlite_with_rowid=False)
    connection = op.get_bind()
    some = sa.select(sa.literal_column("1")).select_from(sa.table("notifications")).limit(_SMALL).subquery()
    rows = connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
    if connection.dialect.name == "sqlite" or rows < _SMALL:
        op.create_index("notifications_by_client_status", "notifications", ["client", "status", "created_at", "id"])
        op.drop_index("notifications_by_status", "notifications")
    if rows:
        until = time.time_ns() // 1_000_000 + _OLD_REPLICAS_LIVE_MS
        value = msgspec.json.encode({"after": "", "until": until})
        op.execute(sa.insert(_CONTROL).values(name="look_ups_to_fill", value=value))


_CONTROL = sa.table("control", sa.column("name", sa.Text()), sa.column("value", sa.LargeBinary()))


def _column(name: str, kind: Any = TEXT, *, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, primary_key=key)
