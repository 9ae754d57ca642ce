"""The tables of the journal, defined once for both stores. Migrations make them; a test holds the two to each other.

Times are milliseconds since 1970-01-01 UTC. What is only ever read back whole (facts, outcomes) is JSON text; what a
statement looks for is a column. ``state`` says who may act: ``queued`` (nobody yet, take it), ``owned`` (one process,
under a fence), ``done``.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    literal_column,
)

HEAD = "0002"
"""The newest migration: what this code works with."""

NEEDS = "0001"
"""The oldest code that works with what :data:`HEAD` makes. Raised only by a migration that old replicas cannot bear."""

TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""Text in the order of its code points on both stores, whatever locale the database has."""

metadata = MetaData()


def word(value: str) -> ColumnElement[str]:
    """A constant, written into the statement: partial indexes are found by it."""
    return literal_column(f"'{value}'", TEXT)


def _index(
    name: str, table: Table, *columns: str, where: ColumnElement[bool] | None = None, unique: bool = False
) -> None:
    Index(name, *(table.c[column] for column in columns), unique=unique, sqlite_where=where, postgresql_where=where)


notifications = Table(
    "notifications",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("client", TEXT, nullable=False),
    Column("message_type", TEXT, nullable=False),
    Column("mode", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("owner", TEXT),
    Column("fence", BigInteger, nullable=False),
    Column("status", TEXT),  # as callers see it; null while owned, when only the calls tell
    Column("unknown", Boolean, nullable=False),  # done, and some recipient is unknown
    Column("created_at", BigInteger, nullable=False),
    Column("due_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("resolved_at", BigInteger),
    Column("reference", TEXT),
    Column("idempotency_key", TEXT),
    Column("key_freed", TEXT, nullable=False),  # empty while the key is held, then the notification's id
    Column("key_expires_at", BigInteger),
    Column("quota_day", TEXT),
    Column("quota_shard", Integer),
    Column("capped", TEXT),
    Column("facts", TEXT, nullable=False),  # the notification without its message
    Column("message", TEXT),  # erased at the end
)
_state = notifications.c.state

_index("notifications_by_client", notifications, "client", "created_at", "id")
_index("notifications_by_age", notifications, "created_at")
_index(
    "notifications_by_reference",
    notifications,
    "client",
    "reference",
    "created_at",
    "id",
    where=notifications.c.reference.is_not(None),
)
_index(
    "notifications_by_status",
    notifications,
    "client",
    "status",
    "created_at",
    "id",
    where=notifications.c.status != word("sent"),
)
_index("notifications_unknown", notifications, "created_at", "id", where=notifications.c.unknown.is_(True))
_index("notifications_owned", notifications, "client", where=_state == word("owned"))
_index("notifications_due", notifications, "client", "message_type", "due_at", "id", where=_state == word("queued"))
_index("notifications_expiring", notifications, "expires_at", where=_state == word("queued"))
_index(
    "notifications_by_key",
    notifications,
    "client",
    "idempotency_key",
    "key_freed",
    where=notifications.c.idempotency_key.is_not(None),
    unique=True,
)

calls = Table(
    "calls",
    metadata,
    Column("notification_id", TEXT, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("route", TEXT, nullable=False),
    Column("level", Integer, nullable=False),
    Column("dialled", Boolean, nullable=False),
    Column("recipients", TEXT, nullable=False),
    Column("outcomes", TEXT),
    PrimaryKeyConstraint("notification_id", "ordinal"),
    sqlite_with_rowid=False,
)

sends = Table(
    "sends",
    metadata,
    Column("notification_id", TEXT, nullable=False),
    Column("entry", Integer, nullable=False),
    Column("message_type", TEXT, nullable=False),
    Column("number_hash", LargeBinary, nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("notification_id", "entry"),
    sqlite_with_rowid=False,
)
_index("sends_by_number", sends, "number_hash", "message_type", "sent_at")

quotas = Table(
    "quotas",
    metadata,
    Column("client", TEXT, nullable=False),
    Column("day", TEXT, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("day_limit", BigInteger, nullable=False),
    Column("share", BigInteger, nullable=False),  # what this shard may give out of the day's limit
    Column("used", BigInteger, nullable=False),
    PrimaryKeyConstraint("client", "day", "shard"),
    sqlite_with_rowid=False,
)

deduplications = Table(
    "deduplications",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("notification_id", TEXT, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

callbacks = Table(
    "callbacks",
    metadata,
    Column("id", TEXT, primary_key=True),  # the webhook-id
    Column("notification_id", TEXT, nullable=False),
    Column("kind", TEXT, nullable=False),
    Column("client", TEXT, nullable=False),
    Column("url", TEXT, nullable=False),
    Column("target", TEXT, nullable=False),  # scheme, host and port
    Column("happened_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),  # while somebody tries it: when the lease ends
    Column("attempts", Integer, nullable=False),
    sqlite_with_rowid=False,
)
_index("callbacks_due", callbacks, "due_at", "id")
_index("callbacks_by_address", callbacks, "client", "url")

disabled_callbacks = Table(
    "disabled_callbacks",
    metadata,
    Column("client", TEXT, nullable=False),
    Column("url", TEXT, nullable=False),
    Column("disabled_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("client", "url"),
    sqlite_with_rowid=False,
)

processes = Table(
    "processes",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("beat_at", BigInteger, nullable=False),
)

control = Table(
    "control",
    metadata,
    Column("name", TEXT, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", TEXT, nullable=False),
    Column("action", TEXT, nullable=False),
    Column("notification_id", TEXT),
    Column("detail", TEXT, nullable=False),
)
