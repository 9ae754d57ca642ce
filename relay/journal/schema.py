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

from relay.domain.clients import FIRST_ACCOUNT

HEAD = "0013"
"""The newest migration: what this code works with."""

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
    Column("unknown", Boolean, nullable=False),  # done, and some recipient is unknown and was not sent to once more
    Column("created_at", BigInteger, nullable=False),
    Column("due_at", BigInteger),
    Column("waiting", TEXT),  # what it waits for in the queue; the version before does not say
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
    Column("suppressed", TEXT),  # entries that are not to be written to
    Column("facts", TEXT, nullable=False),  # the notification without its message
    Column("message", TEXT),  # erased at the end
    Column("resent", TEXT),  # entries that were unknown and were sent to once more, and as which notification
    Column("claimed_at", BigInteger),  # from the queue, the last time; by the database's clock
    Column("held_at", BigInteger),  # put back into the queue, the first time
    Column("called_back_at", BigInteger),
    Column("called_back", TEXT),  # how the last callback ended
    Column("counts", TEXT),  # entries by status, as status says it; null while it has not ended
)
_state = notifications.c.state

_index("notifications_by_client", notifications, "client", "created_at", "id")
_index("notifications_completed", notifications, "completed_at", where=notifications.c.completed_at.is_not(None))
_index(
    "notifications_by_reference",
    notifications,
    "client",
    "reference",
    "created_at",
    "id",
    where=notifications.c.reference.is_not(None),
)
_index("notifications_by_client_status", notifications, "client", "status", "created_at", "id")
_index("notifications_unknown", notifications, "created_at", "id", where=notifications.c.unknown.is_(True))
_index("notifications_resent", notifications, "created_at", "id", where=notifications.c.resent.is_not(None))
_index("notifications_settled", notifications, "created_at", "id", where=notifications.c.resolved_at.is_not(None))
_index("notifications_owned", notifications, "client", where=_state == word("owned"))
_index("notifications_due", notifications, "client", "message_type", "due_at", "id", where=_state == word("queued"))
# With its state too: SQLite takes what is counted from the index alone only if every column of the condition is there.
_waiting = ("due_at", "waiting", "client", "state")
_index("notifications_waiting", notifications, *_waiting, where=_state == word("queued"))
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
    Column("bill", TEXT),  # whom it is charged to; see relay.journal.usage_ledger
    Column("charge", TEXT),  # when and at which prices it was charged
    Column("dialled_at", BigInteger),
    Column("done_at", BigInteger),
    Column("account", TEXT, server_default=word(FIRST_ACCOUNT)),  # the first edition's calls, which knew no other
    Column("account_reason", TEXT),
    PrimaryKeyConstraint("notification_id", "ordinal"),
    sqlite_with_rowid=False,
)

lookups = Table(
    "lookups",
    metadata,
    Column("subject", LargeBinary, nullable=False),  # see relay.journal.lookups
    Column("client", TEXT, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("notification_id", TEXT, nullable=False),
    PrimaryKeyConstraint("subject", "client", "created_at", "notification_id"),
    sqlite_with_rowid=False,
)

unindexed = Table(
    "unindexed",
    metadata,
    Column("notification_id", TEXT, primary_key=True),  # so many recipients that they are entered bit by bit
    sqlite_with_rowid=False,
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("id", TEXT, primary_key=True),  # follows from client, number and message types
    Column("client", TEXT, nullable=False),  # empty: everybody
    Column("number_hash", TEXT, nullable=False),
    Column("last_digits", TEXT, nullable=False),
    Column("message_types", TEXT, nullable=False),  # with commas; empty: all
    Column("reason", TEXT, nullable=False),
    Column("until", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("by", TEXT, nullable=False),
)
_index("suppressions_by_number", suppressions, "number_hash")
_index("suppressions_by_client", suppressions, "client", "created_at", "id")
_index("suppressions_over", suppressions, "until", where=suppressions.c.until.is_not(None))

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

usage = Table(
    "usage",
    metadata,
    Column("day", TEXT, nullable=False),  # of Africa/Lagos
    Column("client", TEXT, nullable=False),
    Column("billing_code", TEXT, nullable=False),  # empty: none
    Column("message_type", TEXT, nullable=False),
    Column("route", TEXT, nullable=False),
    Column("account", TEXT, nullable=False),
    Column("outcome", TEXT, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("recipients", BigInteger, nullable=False),
    Column("segments", BigInteger, nullable=False),
    Column("micro_units", BigInteger, nullable=False),
    PrimaryKeyConstraint(*("day", "client", "billing_code", "message_type", "route", "account", "outcome", "shard")),
    sqlite_with_rowid=False,
)

usage_totals = Table(  # what the rows above come to, so that readings of the balance need not add them up
    "usage_totals",
    metadata,
    Column("day", TEXT, nullable=False),
    Column("account", TEXT, nullable=False),
    Column("outcome", TEXT, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("micro_units", BigInteger, nullable=False),
    PrimaryKeyConstraint("day", "account", "outcome", "shard"),
    sqlite_with_rowid=False,
)

budgets = Table(
    "budgets",
    metadata,
    Column("client", TEXT, nullable=False),
    Column("month", TEXT, nullable=False),  # of Africa/Lagos
    Column("micro_units", BigInteger, nullable=False),  # used, and reserved for calls that have not ended
    PrimaryKeyConstraint("client", "month"),
    sqlite_with_rowid=False,
)

balances = Table(
    "balances",
    metadata,
    Column("account", TEXT, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("micro_units", BigInteger, nullable=False),
    Column("day", TEXT, nullable=False),  # of Africa/Lagos
    Column("charged", BigInteger, nullable=False),  # micro-units on that day by then, but for unknown outcomes
    Column("unknown", BigInteger, nullable=False),  # and for those
    Column("drift", BigInteger),  # by how much it fell beyond what calls explain, since it last rose
    PrimaryKeyConstraint("at", "account"),
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
_index("deduplications_of", deduplications, "notification_id")
_index("deduplications_over", deduplications, "expires_at")

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
    Column("detail", TEXT, nullable=False),  # the reason; empty where none was given
    Column("actor_key", TEXT),
    Column("other_id", TEXT),
    Column("count", BigInteger),
    Column("previous_hash", TEXT),
    Column("hash", TEXT),  # see relay.domain.audit
)
_index("audit_by_notification", audit, "notification_id", "id", where=audit.c.notification_id.is_not(None))
