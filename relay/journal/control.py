"""What replicas share besides notifications: the hash key, the switch for all sending, who lives.

Whether a process lives is judged by the database's clock alone, so that a replica whose clock is wrong harms nobody.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence

import msgspec
from sqlalchemy import bindparam, delete, select, update

from relay.domain.audit import Act
from relay.domain.pausing import Scope, SendingPause
from relay.journal import auditing
from relay.journal.schema import control, processes
from relay.journal.statements import Statement, Work, database_now, insert_all
from relay.sending.ports import JournalUnavailable

DEAD_AFTER_MS = 60_000

_HASH_KEY, _HASH_KEY_CHECK = "hash_key", "hash_key_check"
_PAUSED = "paused"
_PAUSES = "pauses"
_YES, _NO = b"1", b"0"

_p = processes.c
_INSERT_CONTROL = insert_all(control)
READ_CONTROL = Statement(select(control.c.value).where(control.c.name == bindparam("for_name")))
WRITE_CONTROL = Statement(
    update(control).values(value=bindparam("new_value")).where(control.c.name == bindparam("for_name"))
)

_TAKE = Statement(
    update(control)
    .values(value=control.c.value)
    .where(control.c.name == bindparam("for_name"))
    .returning(control.c.value)
)
_encode_pauses = msgspec.json.Encoder().encode
_decode_pauses = msgspec.json.Decoder(tuple[SendingPause, ...]).decode

_is_dead = _p.beat_at < database_now() - DEAD_AFTER_MS
_REGISTER = Statement(
    processes.insert().values(id=bindparam("process"), started_at=database_now(), beat_at=database_now())
)
_BEAT = Statement(update(processes).values(beat_at=database_now()).where(_p.id == bindparam("process")))
_LEAVE = Statement(delete(processes).where(_p.id == bindparam("process")))
_CLEAR = Statement(delete(processes))
BURY_DEAD = Statement(delete(processes).where(_p.id != bindparam("process"), _is_dead))
_LEADER = Statement(select(_p.id).where(~_is_dead).order_by(_p.started_at, _p.id).limit(1))


def hash_key(given: bytes | None) -> Work[bytes]:
    """The key for fingerprints and hashes: the one given, else whoever comes first makes it, everybody else reads it.

    Raises:
        JournalUnavailable: ``other_hash_key``; what is kept under another key would be void.
    """
    key = given
    if key is None:
        [_, found] = yield [
            (_INSERT_CONTROL, {"name": _HASH_KEY, "value": secrets.token_bytes(32)}),
            (READ_CONTROL, {"for_name": _HASH_KEY}),
        ]
        key = bytes(found.rows[0][0])
    check = hmac.digest(key, b"check", hashlib.sha256)
    [_, kept] = yield [
        (_INSERT_CONTROL, {"name": _HASH_KEY_CHECK, "value": check}),
        (READ_CONTROL, {"for_name": _HASH_KEY_CHECK}),
    ]
    if not hmac.compare_digest(bytes(kept.rows[0][0]), check):
        raise JournalUnavailable("other_hash_key")
    return key


def pause(pause: SendingPause, act: Act) -> Work[None]:
    """Add a pause, with the audit row."""
    kept = yield from _take_pauses(act.at)
    yield from _keep_pauses((*(each for each in kept if each.scope != pause.scope), pause), act)


def resume(scope: Scope | None, act: Act) -> Work[None]:
    """End pauses, with the audit row."""
    kept = yield from _take_pauses(act.at)
    yield from _keep_pauses(tuple(each for each in kept if scope is not None and each.scope != scope), act)


def _take_pauses(now: int) -> Work[tuple[SendingPause, ...]]:
    """What is in force; nobody else changes it until this transaction ends."""
    [_, _, switch, kept] = yield [
        (_INSERT_CONTROL, {"name": _PAUSED, "value": _NO}),
        (_INSERT_CONTROL, {"name": _PAUSES, "value": b"[]"}),
        (_TAKE, {"for_name": _PAUSED}),
        (_TAKE, {"for_name": _PAUSES}),
    ]
    return _in_force(bytes(switch.rows[0][0]), bytes(kept.rows[0][0]), now)


def _keep_pauses(pauses: Sequence[SendingPause], act: Act) -> Work[None]:
    everything = any(each.scope.is_everything for each in pauses)
    yield [
        # For code of the version before, which knows this switch alone.
        (WRITE_CONTROL, {"for_name": _PAUSED, "new_value": _YES if everything else _NO}),
        (WRITE_CONTROL, {"for_name": _PAUSES, "new_value": _encode_pauses(pauses)}),
    ]
    yield from auditing.append(act)


def list_pauses(now: int) -> Work[tuple[SendingPause, ...]]:
    """What is in force at that time."""
    [switch, kept] = yield [(READ_CONTROL, {"for_name": _PAUSED}), (READ_CONTROL, {"for_name": _PAUSES})]
    switched = bytes(switch.rows[0][0]) if switch.rows else _NO
    return _in_force(switched, bytes(kept.rows[0][0]) if kept.rows else b"[]", now)


def _in_force(switch: bytes, kept: bytes, now: int) -> tuple[SendingPause, ...]:
    pauses = _decode_pauses(kept)
    if switch == _YES and not any(each.scope.is_everything for each in pauses):
        # Code of the version before moved the switch, and does not say who.
        pauses = (*pauses, SendingPause(scope=Scope(), reason="", by="", key=None, since=0))
    return tuple(each for each in pauses if not each.is_over(now))


def register(process: str) -> Work[None]:
    """Say that a process has begun."""
    yield [(_LEAVE, {"process": process}), (_REGISTER, {"process": process})]


def register_alone(process: str) -> Work[None]:
    """Say that a process has begun, and that nobody else lives: it holds the lock."""
    yield [(_CLEAR, {}), (_REGISTER, {"process": process})]


def beat(process: str) -> Work[bool]:
    """Say that a process lives; ``False`` where others had declared it dead. It is registered anew then."""
    [beaten] = yield [(_BEAT, {"process": process})]
    if not beaten.changed:
        yield [(_REGISTER, {"process": process})]
    return bool(beaten.changed)


def leave(process: str) -> Work[None]:
    """Say good-bye."""
    yield [(_LEAVE, {"process": process})]


def leads(process: str) -> Work[bool]:
    """Whether a process is the longest-running one that lives."""
    [leader] = yield [(_LEADER, {})]
    return bool(leader.rows) and leader.rows[0][0] == process
