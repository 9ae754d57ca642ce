"""What a notification waits for in the queue, and indexes by due time and by the end: a million may wait for long."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_SMALL = 10_000
_QUEUED = sa.text("state = 'queued'")
_ENDED = sa.text("completed_at IS NOT NULL")


def upgrade() -> None:
    """Add the column; code of the version before leaves it empty, and rows without it can be read.

    The index of what waits is made at once: few rows do. That of what ended is made in the background on a large
    database of PostgreSQL, as is that by age dropped, which nothing asks any more.
    """
    op.add_column("notifications", sa.Column("waiting", TEXT, nullable=True))
    waiting = ["due_at", "waiting", "client", "state"]
    op.create_index("notifications_waiting", "notifications", waiting, sqlite_where=_QUEUED, postgresql_where=_QUEUED)
    connection = op.get_bind()
    some = sa.select(sa.literal_column("1")).select_from(sa.table("notifications")).limit(_SMALL).subquery()
    rows = connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
    if connection.dialect.name == "sqlite" or rows < _SMALL:
        op.create_index(
            "notifications_completed", "notifications", ["completed_at"], sqlite_where=_ENDED, postgresql_where=_ENDED
        )
        op.drop_index("notifications_by_age", "notifications")
