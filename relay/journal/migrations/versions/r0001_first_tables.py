"""The first tables."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make them, with their indexes."""
    _make_notifications()
    _index_notifications()
    _make_calls()
    _make_limits()
    _make_shared()
    op.execute(sa.insert(_CONTROL).values(name="needs", value=b"0001"))


_CONTROL = sa.table("control", sa.column("name", sa.Text()), sa.column("value", sa.LargeBinary()))


def _column(name: str, kind: Any = TEXT, *, null: bool = False, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=null, primary_key=key)


def _make_notifications() -> None:
    op.create_table(
        "notifications",
        _column("id", key=True),
        _column("client"),
        _column("message_type"),
        _column("mode"),
        _column("state"),
        _column("owner", null=True),
        _column("fence", sa.BigInteger()),
        _column("status", null=True),
        _column("unknown", sa.Boolean()),
        _column("created_at", sa.BigInteger()),
        _column("due_at", sa.BigInteger(), null=True),
        _column("expires_at", sa.BigInteger(), null=True),
        _column("completed_at", sa.BigInteger(), null=True),
        _column("resolved_at", sa.BigInteger(), null=True),
        _column("reference", null=True),
        _column("idempotency_key", null=True),
        _column("key_freed"),
        _column("key_expires_at", sa.BigInteger(), null=True),
        _column("quota_day", null=True),
        _column("quota_shard", sa.Integer(), null=True),
        _column("capped", null=True),
        _column("facts"),
        _column("message", null=True),
    )


def _index_notifications() -> None:
    make = _partial_index("notifications")
    make("by_client", ["client", "created_at", "id"])
    make("by_age", ["created_at"])
    make("by_reference", ["client", "reference", "created_at", "id"], where="reference IS NOT NULL")
    make("by_status", ["client", "status", "created_at", "id"], where="status != 'sent'")
    make("unknown", ["created_at", "id"], where="unknown IS {true}")
    make("owned", ["client"], where="state = 'owned'")
    make("due", ["client", "message_type", "due_at", "id"], where="state = 'queued'")
    make("expiring", ["expires_at"], where="state = 'queued'")
    make("by_key", ["client", "idempotency_key", "key_freed"], where="idempotency_key IS NOT NULL", unique=True)


def _partial_index(table: str) -> Callable[..., None]:
    true = "1" if op.get_bind().dialect.name == "sqlite" else "true"

    def make(name: str, columns: list[str], *, where: str | None = None, unique: bool = False) -> None:
        condition = None if where is None else sa.text(where.format(true=true))
        op.create_index(
            f"{table}_{name}", table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition
        )

    return make


def _make_calls() -> None:
    op.create_table(
        "calls",
        _column("notification_id", key=True),
        _column("ordinal", sa.Integer(), key=True),
        _column("state"),
        _column("route"),
        _column("level", sa.Integer()),
        _column("dialled", sa.Boolean()),
        _column("recipients"),
        _column("outcomes", null=True),
        sqlite_with_rowid=False,
    )


def _make_limits() -> None:
    op.create_table(
        "sends",
        _column("notification_id", key=True),
        _column("entry", sa.Integer(), key=True),
        _column("message_type"),
        _column("number_hash", sa.LargeBinary()),
        _column("sent_at", sa.BigInteger()),
        sqlite_with_rowid=False,
    )
    op.create_index("sends_by_number", "sends", ["number_hash", "message_type", "sent_at"])
    op.create_table(
        "quotas",
        _column("client", key=True),
        _column("day", key=True),
        _column("shard", sa.Integer(), key=True),
        _column("day_limit", sa.BigInteger()),
        _column("share", sa.BigInteger()),
        _column("used", sa.BigInteger()),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "deduplications",
        _column("key", sa.LargeBinary(), key=True),
        _column("notification_id"),
        _column("expires_at", sa.BigInteger()),
        sqlite_with_rowid=False,
    )


def _make_shared() -> None:
    op.create_table(
        "processes",
        _column("id", key=True),
        _column("started_at", sa.BigInteger()),
        _column("beat_at", sa.BigInteger()),
    )
    op.create_table("control", _column("name", key=True), _column("value", sa.LargeBinary()))
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        _column("at", sa.BigInteger()),
        _column("actor"),
        _column("action"),
        _column("notification_id", null=True),
        _column("detail"),
    )
