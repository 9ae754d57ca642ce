"""The audit becomes a chain: who by which key, how many, why, and the hash of the row before."""

import re
import time

import sqlalchemy as sa
from alembic import op

from relay.domain.audit import FIRST, Act, hash_row

revision = "0004"
down_revision = "0003"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_OLD_REPLICAS_LIVE_MS = 3_600_000
"""How long code of the version before may go on adding rows without a hash: a rolling update is over by then."""

_COUNT = re.compile(r"([0-9]{1,9}) recipients")
_control = sa.table("control", sa.column("name", sa.Text()), sa.column("value", sa.LargeBinary()))
_audit = sa.table(
    "audit",
    *(sa.column(name) for name in ("id", "at", "actor", "action", "notification_id", "detail")),
    *(sa.column(name) for name in ("count", "previous_hash", "hash")),
)


def upgrade() -> None:
    """Add the columns and chain what is there; code of the version before neither needs nor hinders them."""
    for name, kind in (
        ("actor_key", TEXT),
        ("other_id", TEXT),
        ("count", sa.BigInteger()),
        ("previous_hash", TEXT),
        ("hash", TEXT),
    ):
        op.add_column("audit", sa.Column(name, kind, nullable=True))
    op.create_index(
        "audit_by_notification",
        "audit",
        ["notification_id", "id"],
        sqlite_where=sa.text("notification_id IS NOT NULL"),
        postgresql_where=sa.text("notification_id IS NOT NULL"),
    )
    head = FIRST
    columns = (_audit.c.id, _audit.c.at, _audit.c.actor, _audit.c.action, _audit.c.notification_id, _audit.c.detail)
    for row_id, at, actor, action, notification_id, detail in (
        op.get_bind().execute(sa.select(*columns).order_by(_audit.c.id)).all()
    ):
        counted = _COUNT.fullmatch(detail)
        count = None if counted is None else int(counted[1])
        act = Act(
            at=at, client=actor, action=action, notification_id=notification_id, count=count, reason=detail or None
        )
        own = hash_row(row_id, act, head)
        op.execute(sa.update(_audit).values(count=count, previous_hash=head, hash=own).where(_audit.c.id == row_id))
        head = own
    rows = [{"name": "audit_head", "value": head.encode()}]
    replicas = sa.select(sa.func.count()).select_from(sa.table("processes"))
    if op.get_bind().dialect.name == "postgresql" and op.get_bind().execute(replicas).scalar_one():
        until = time.time_ns() // 1_000_000 + _OLD_REPLICAS_LIVE_MS
        rows.append({"name": "audit_open_until", "value": str(until).encode()})
    op.execute(sa.insert(_control).values(rows))
