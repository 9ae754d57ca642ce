"""The states of a call: ``claimed`` → ``dialling`` → ``done``. Only the first move authorises a dial.

Whoever changes a call holds its notification's row first, so that owner and fence cannot change under the change.
(SQLite has one writer: there a look at the row is enough.)
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Boolean, bindparam, exists, func, literal_column, or_, select, update

from relay.domain.codes import Code, ResolvedBy, Status
from relay.domain.notification import Call, CallState, Mode, Outcome, PlannedCall, Stored, may_have_left
from relay.journal.control import audit_step
from relay.journal.encoding import DONE, Kept, encode_outcomes
from relay.journal.ending import OneCall, end, end_one_calls, settle
from relay.journal.planning import insert_call_step, plan_call
from relay.journal.reading import load
from relay.journal.schema import calls, notifications, word
from relay.journal.statements import Statement, Work
from relay.sending.completion import completion_of
from relay.sending.ports import AuditRow, CallRef, Completion, RecordResult

_n, _c = notifications.c, calls.c
_this_call = (_c.notification_id == bindparam("of"), _c.ordinal == bindparam("nr"))
_is_claimed = _c.state == word("claimed")
_under_fence = select(_n.id).where(
    _n.id == bindparam("of"), _n.owner == bindparam("me"), _n.fence == bindparam("under")
)
_held = _under_fence.with_for_update(key_share=True).cte("held")
_dialling = update(calls).values(state=word("dialling"), dialled=literal_column("true", Boolean))
_DIAL = Statement(
    sqlite=_dialling.where(*_this_call, _is_claimed, exists(_under_fence)),
    postgres=_dialling.where(_c.notification_id == _held.c.id, _c.ordinal == bindparam("nr"), _is_claimed),
)
_row = select(_n.id, _n.owner, _n.fence).where(_n.id == bindparam("of")).with_for_update(key_share=True).cte("row")
_unsent = bindparam("unsent", type_=Boolean)
_finishing = update(calls).values(state=word("done"), outcomes=bindparam("brought"))
_FINISH = Statement(
    sqlite=_finishing.where(
        *_this_call, or_(_c.state == word("dialling"), _is_claimed & _unsent & exists(_under_fence))
    ),
    postgres=_finishing.where(
        _c.notification_id == _row.c.id,
        _c.ordinal == bindparam("nr"),
        or_(
            _c.state == word("dialling"),
            _is_claimed & _unsent & (_row.c.owner == bindparam("me")) & (_row.c.fence == bindparam("under")),
        ),
    ),
)
_CLOSE = Statement(_finishing.where(*_this_call, _c.state != word("done")))
_LAST_ORDINAL = Statement(select(func.max(_c.ordinal)).where(_c.notification_id == bindparam("of")))


class Record(NamedTuple):
    """What ``Journal.record`` was asked, by a process, at a time."""

    ref: CallRef
    outcomes: Sequence[Outcome]
    follow_ups: Sequence[PlannedCall]
    completion: Completion | None
    at: int


def dial_all(refs: Sequence[CallRef], process: str) -> Work[list[bool]]:
    """Authorise the dials of calls that this process owns under their fences; in order."""
    in_order = _lock_order(refs)
    moved = yield [(_DIAL, _named(refs[position], process)) for position in in_order]
    granted = {position: bool(result.changed) for position, result in zip(in_order, moved, strict=True)}
    return [granted[position] for position in range(len(refs))]


def record_all(records: Sequence[Record], process: str) -> Work[list[RecordResult]]:
    """Write what calls brought, what follows from it, and the end of each notification if this is it; in order."""
    in_order = _lock_order([record.ref for record in records])
    finished = yield [(_FINISH, _finishing_of(records[position], process)) for position in in_order]
    results: dict[int, RecordResult] = {}
    ending: list[OneCall] = []
    for position, result in zip(in_order, finished, strict=True):
        record = records[position]
        if not result.changed:
            results[position] = yield from _settle_late(record)
            continue
        results[position] = RecordResult.RECORDED
        if record.follow_ups:
            yield from _add_calls(record.ref.notification_id, record.follow_ups)
        elif record.completion is not None:
            ending.append(OneCall(record.ref.notification_id, record.ref.ordinal, record.outcomes, record.completion))
    for several in (yield from end_one_calls(ending)):
        yield from complete(several.notification_id, several.completion)
    return [results[position] for position in range(len(records))]


def _lock_order(refs: Sequence[CallRef]) -> Sequence[int]:
    """Positions in one order of notifications for all transactions, so that two never wait for each other."""
    if len(refs) == 1:
        return (0,)
    return sorted(range(len(refs)), key=lambda position: refs[position].notification_id)


def _finishing_of(record: Record, process: str) -> dict[str, object]:
    unsent = all(outcome.status is Status.NOT_SENT for outcome in record.outcomes)
    return {
        "of": record.ref.notification_id,
        "nr": record.ref.ordinal,
        "me": process,
        "under": record.ref.fence,
        "brought": encode_outcomes(record.outcomes),
        "unsent": unsent,
    }


def complete(notification_id: str, completion: Completion) -> Work[bool]:
    """End a notification all of whose calls are done."""
    kept = (yield from load([notification_id], lock=True)).get(notification_id)
    return kept is not None and (yield from end(kept, completion))


def cancel(notification_id: str, client: str, now: int) -> Work[Stored | None]:
    """Cancel an asynchronous notification no call of which was ever dialled."""
    kept = (yield from load([notification_id], lock=True)).get(notification_id)
    if kept is None or kept.stored.notification.client != client:
        return None
    if not _may_cancel(kept):
        return kept.stored
    return (yield from close_open_calls(kept, Outcome(code=Code.CANCELLED), now))


def close_open_calls(kept: Kept, outcome: Outcome, now: int) -> Work[Stored]:
    """End every call that is not done with one outcome for all its recipients, and the notification with them."""
    notification_id = kept.stored.notification.id
    open_calls = [call for call in kept.stored.calls if call.state is not CallState.DONE]
    yield [
        (
            _CLOSE,
            {
                "of": notification_id,
                "nr": call.ordinal,
                "brought": encode_outcomes((outcome,) * len(call.recipients)),
            },
        )
        for call in open_calls
    ]
    [closed] = (yield from load([notification_id])).values()
    yield from end(closed, completion_of(closed.stored, now))
    [ended] = (yield from load([notification_id])).values()
    return ended.stored


def settle_by(
    notification_id: str, answers: Mapping[int, Outcome], resolved_by: ResolvedBy, now: int, audit: AuditRow
) -> Work[Stored | None]:
    """Make unknown outcomes definite over every call, with the audit row."""
    kept = (yield from load([notification_id], lock=True)).get(notification_id)
    if kept is None:
        return None
    ordinals = [call.ordinal for call in kept.stored.calls]
    if not (yield from settle(kept, ordinals, answers, resolved_by, now)):
        return None
    yield [audit_step(audit)]
    return (yield from load([notification_id]))[notification_id].stored


def _named(ref: CallRef, process: str) -> dict[str, object]:
    return {"of": ref.notification_id, "nr": ref.ordinal, "me": process, "under": ref.fence}


def _add_calls(notification_id: str, follow_ups: Sequence[PlannedCall]) -> Work[None]:
    [last] = yield [(_LAST_ORDINAL, {"of": notification_id})]
    added: list[Call] = [plan_call(call, ordinal) for ordinal, call in enumerate(follow_ups, last.rows[0][0] + 1)]
    yield [insert_call_step(notification_id, call) for call in added]


def _settle_late(record: Record) -> Work[RecordResult]:
    notification_id, ordinal = record.ref.notification_id, record.ref.ordinal
    kept = (yield from load([notification_id], lock=True)).get(notification_id)
    for call in kept.stored.calls if kept is not None else ():
        if kept is not None and call.ordinal == ordinal and call.state is CallState.DONE:
            answers = dict(zip(call.recipients, record.outcomes, strict=False))
            if (yield from settle(kept, [ordinal], answers, ResolvedBy.LATE_ANSWER, record.at)):
                return RecordResult.SETTLED
    return RecordResult.STALE


def _may_cancel(kept: Kept) -> bool:
    stored = kept.stored
    waits = stored.notification.mode is Mode.ASYNCHRONOUS and kept.state != DONE
    return waits and not any(may_have_left(call) for call in stored.calls)
