"""What replicas share besides notifications: the hash key, the switch for all sending, the operator's acts, who lives.

Whether a process lives is judged by the database's clock alone, so that a replica whose clock is wrong harms nobody.
"""

import secrets

from sqlalchemy import bindparam, delete, select, update

from relay.journal.schema import audit, control, processes
from relay.journal.statements import Statement, Step, Work, database_now, every_column, insert_all
from relay.sending.ports import AuditRow

DEAD_AFTER_MS = 60_000

_HASH_KEY = "hash_key"
_PAUSED = "paused"
_YES, _NO = b"1", b"0"

_p = processes.c
_INSERT_CONTROL = insert_all(control)
_READ_CONTROL = Statement(select(control.c.value).where(control.c.name == bindparam("of_name")))
_WRITE_CONTROL = Statement(
    update(control).values(value=bindparam("new_value")).where(control.c.name == bindparam("of_name"))
)
_audit_values = every_column(audit)
del _audit_values["id"]  # the database counts
_INSERT_AUDIT = Statement(audit.insert().values(_audit_values))

_is_dead = _p.beat_at < database_now() - DEAD_AFTER_MS
_REGISTER = Statement(processes.insert().values(id=bindparam("me"), started_at=database_now(), beat_at=database_now()))
_BEAT = Statement(update(processes).values(beat_at=database_now()).where(_p.id == bindparam("me")))
_LEAVE = Statement(delete(processes).where(_p.id == bindparam("me")))
_CLEAR = Statement(delete(processes))
BURY_DEAD = Statement(delete(processes).where(_p.id != bindparam("me"), _is_dead))
_LEADER = Statement(select(_p.id).where(~_is_dead).order_by(_p.started_at, _p.id).limit(1))


def hash_key() -> Work[bytes]:
    """The key for fingerprints and hashes: whoever comes first makes it, everybody else reads it."""
    [_, found] = yield [
        (_INSERT_CONTROL, {"name": _HASH_KEY, "value": secrets.token_bytes(32)}),
        (_READ_CONTROL, {"of_name": _HASH_KEY}),
    ]
    return bytes(found.rows[0][0])


def set_paused(paused: bool, row: AuditRow) -> Work[None]:
    """Move the switch, with the audit row."""
    yield [
        (_INSERT_CONTROL, {"name": _PAUSED, "value": _NO}),
        (_WRITE_CONTROL, {"of_name": _PAUSED, "new_value": _YES if paused else _NO}),
        audit_step(row),
    ]


def is_paused() -> Work[bool]:
    """Whether sending is stopped."""
    [found] = yield [(_READ_CONTROL, {"of_name": _PAUSED})]
    return bool(found.rows) and bytes(found.rows[0][0]) == _YES


def keep_audit(row: AuditRow) -> Work[None]:
    """Keep an operator's act."""
    yield [audit_step(row)]


def audit_step(row: AuditRow) -> Step:
    """What keeps an operator's act, in the transaction of the act itself."""
    return _INSERT_AUDIT, {
        "at": row.at,
        "actor": row.actor,
        "action": row.action,
        "notification_id": row.notification_id,
        "detail": row.detail,
    }


def register(process: str) -> Work[None]:
    """Say that a process has begun."""
    yield [(_LEAVE, {"me": process}), (_REGISTER, {"me": process})]


def register_alone(process: str) -> Work[None]:
    """Say that a process has begun, and that nobody else lives: it holds the lock."""
    yield [(_CLEAR, {}), (_REGISTER, {"me": process})]


def beat(process: str) -> Work[bool]:
    """Say that a process lives; ``False`` where others had declared it dead. It is registered anew then."""
    [beaten] = yield [(_BEAT, {"me": process})]
    if not beaten.changed:
        yield [(_REGISTER, {"me": process})]
    return bool(beaten.changed)


def leave(process: str) -> Work[None]:
    """Say good-bye."""
    yield [(_LEAVE, {"me": process})]


def leads(process: str) -> Work[bool]:
    """Whether a process is the longest-running one that lives."""
    [leader] = yield [(_LEADER, {})]
    return bool(leader.rows) and leader.rows[0][0] == process
