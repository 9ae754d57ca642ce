"""The states of a call: ``claimed`` → ``dialling`` → ``done``. Only the first move authorises a dial.

Whoever changes a call holds its notification's row first, so that owner and fence cannot change under the change.
(SQLite has one writer: there a look at the row is enough.)
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Boolean, bindparam, exists, func, literal_column, or_, select, update

from relay.domain.audit import Act
from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import AccountReason, Code, ResolvedBy, Status
from relay.domain.notification import (
    CallState,
    Ended,
    Outcome,
    PlannedCall,
    Stored,
    conclude,
    may_move,
)
from relay.domain.suppression import Addressed
from relay.journal import auditing
from relay.journal.encoding import Kept, decode_indexes, encode_outcomes
from relay.journal.ending import OneCall, end, end_one_calls, settle
from relay.journal.lookups import Subjects, answer_steps, dial_steps
from relay.journal.planning import insert_call_step, plan_call
from relay.journal.reading import load
from relay.journal.schema import calls, notifications, word
from relay.journal.statements import Statement, Step, Work
from relay.journal.suppressing import find_suppressed
from relay.journal.suppression_entries import indexes_to_learn, learn
from relay.journal.usage_ledger import Lines, UsageLedger, charge_call, charge_changed, pass_on
from relay.sending.ports import CallRef, LeftOut, RecordResult

_n, _c = notifications.c, calls.c
_this_call = (_c.notification_id == bindparam("notification"), _c.ordinal == bindparam("call_ordinal"))
_is_claimed = _c.state == word("claimed")
_under_fence = select(_n.id).where(
    _n.id == bindparam("notification"), _n.owner == bindparam("process"), _n.fence == bindparam("its_fence")
)
_held = _under_fence.with_for_update(key_share=True).cte("held")
_dialling = update(calls).values(
    state=word("dialling"),
    dialled=literal_column("true", Boolean),
    account=bindparam("new_account"),
    account_reason=bindparam("new_account_reason"),
    dialled_at=bindparam("dialled_then"),
)
_DIAL = Statement(
    sqlite=_dialling.where(*_this_call, _is_claimed, exists(_under_fence)),
    postgres=_dialling.where(_c.notification_id == _held.c.id, _c.ordinal == bindparam("call_ordinal"), _is_claimed),
)
_row = (
    select(_n.id, _n.owner, _n.fence)
    .where(_n.id == bindparam("notification"))
    .with_for_update(key_share=True)
    .cte("row")
)
_is_mine = (_row.c.owner == bindparam("process")) & (_row.c.fence == bindparam("its_fence"))
_unsent = bindparam("unsent", type_=Boolean)
_undialled = bindparam("undialled", type_=Boolean)
_finishing = update(calls).values(
    state=word("done"), outcomes=bindparam("brought"), charge=bindparam("charged"), done_at=bindparam("done_then")
)
_billed = (_c.bill, _c.route, _c.recipients)
_FINISH = Statement(
    sqlite=_finishing.where(
        *_this_call,
        or_(
            (_c.state == word("dialling")) & or_(~_undialled, exists(_under_fence)),
            _is_claimed & _unsent & exists(_under_fence),
        ),
    ).returning(*_billed),
    postgres=_finishing.where(
        _c.notification_id == _row.c.id,
        _c.ordinal == bindparam("call_ordinal"),
        or_(
            (_c.state == word("dialling")) & or_(~_undialled, _is_mine),
            _is_claimed & _unsent & _is_mine,
        ),
    ).returning(*_billed),
)
_CLOSE = Statement(_finishing.where(*_this_call, _c.state != word("done")))
_LAST_ORDINAL = Statement(select(func.max(_c.ordinal)).where(_c.notification_id == bindparam("notification")))


class Dial(NamedTuple):
    """What ``Journal.start_dialling`` was asked."""

    ref: CallRef
    account: str
    reason: AccountReason | None
    addressed: Addressed | None


class Record(NamedTuple):
    """What ``Journal.record`` was asked, by a process, at a time."""

    ref: CallRef
    outcomes: Sequence[Outcome]
    follow_ups: Sequence[PlannedCall]
    ended: Ended | None
    undialled: bool
    at: int


def dial_all(dials: Sequence[Dial], process: str, now: int, subjects: Subjects) -> Work[list[bool | LeftOut]]:
    """Authorise the dials of calls that this process owns under their fences, and none of whose recipients is
    suppressed; in order."""
    asked = {position: dial.addressed for position, dial in enumerate(dials) if dial.addressed is not None}
    suppressed = yield from find_suppressed(asked, subjects, now)
    in_order = [position for position in _lock_order([dial.ref for dial in dials]) if position not in suppressed]
    moved = yield [(_DIAL, _dialling_of(dials[position], process, now)) for position in in_order]
    granted = {position: bool(result.changed) for position, result in zip(in_order, moved, strict=True)}
    yield [
        step
        for position in in_order
        if granted[position]
        for step in dial_steps(dials[position].ref.notification_id, dials[position].account)
    ]
    return [
        LeftOut(suppressed[position]) if position in suppressed else granted[position] for position in range(len(dials))
    ]


class Lesson(NamedTuple):
    """How long a 3333 on the normal route keeps promotional messages from a number; 0: not at all."""

    milliseconds: int
    subjects: Subjects


def record_all(
    records: Sequence[Record], process: str, ledger: UsageLedger, lesson: Lesson
) -> Work[list[RecordResult]]:
    """Write what calls brought, what follows from it, and the end of each notification if this is it; in order."""
    in_order = _lock_order([record.ref for record in records])
    finished = yield [(_FINISH, _finishing_of(records[position], process, ledger)) for position in in_order]
    results: dict[int, RecordResult] = {}
    ending: list[OneCall] = []
    found_by: list[Step] = []
    lines = Lines()
    learned: dict[str, list[int]] = {}
    for position, result in zip(in_order, finished, strict=True):
        record = records[position]
        if not result.rows:
            results[position] = yield from _settle_late(record, lines)
            continue
        bill, route, recipients = result.rows[0]
        if bill:
            charge_call(lines, bill, ledger.charge_at(record.at, record.ref.account), route, record.outcomes)
            lines.reserve(bill, -len(decode_indexes(recipients)))
        if lesson.milliseconds and (said_no := indexes_to_learn(route, decode_indexes(recipients), record.outcomes)):
            learned.setdefault(record.ref.notification_id, []).extend(said_no)
        results[position] = RecordResult.RECORDED
        found_by += answer_steps(record.ref.notification_id, record.outcomes)
        if record.follow_ups:
            yield from _add_calls(record, bill or "", decode_indexes(recipients), lines)
        elif record.ended is not None:
            ending.append(OneCall(record.ref.notification_id, record.ref.ordinal, record.outcomes, record.ended))
    yield found_by
    for several in (yield from end_one_calls(ending)):
        yield from end_whole(several.notification_id, several.ended)
    yield ledger.steps(lines)
    if learned:
        now = max(record.at for record in records)
        yield from learn(learned, now + lesson.milliseconds, now, lesson.subjects)
    return [results[position] for position in range(len(records))]


def _lock_order(refs: Sequence[CallRef]) -> Sequence[int]:
    """Positions in one order of notifications for all transactions, so that two never wait for each other."""
    if len(refs) == 1:
        return (0,)
    return sorted(range(len(refs)), key=lambda position: refs[position].notification_id)


def _finishing_of(record: Record, process: str, ledger: UsageLedger) -> dict[str, object]:
    unsent = all(outcome.status is Status.NOT_SENT for outcome in record.outcomes)
    return {
        "notification": record.ref.notification_id,
        "call_ordinal": record.ref.ordinal,
        "process": process,
        "its_fence": record.ref.fence,
        "brought": encode_outcomes(record.outcomes),
        "charged": ledger.charge_at(record.at, record.ref.account),
        "done_then": record.at,
        "unsent": unsent,
        "undialled": record.undialled,
    }


def end_whole(notification_id: str, ended: Ended) -> Work[bool]:
    """End a notification all of whose calls are done."""
    kept = (yield from load([notification_id], lock=True)).get(notification_id)
    return kept is not None and (yield from end(kept, ended))


def cancel(notification_id: str, client: str, now: int, ledger: UsageLedger) -> Work[Stored | None]:
    """Cancel an asynchronous notification no call of which was ever dialled."""
    kept = (yield from load([notification_id], lock=True)).get(notification_id)
    if kept is None or kept.stored.notification.client != client:
        return None
    if not may_move(kept.stored):
        return kept.stored
    return (yield from close_open_calls(kept, Outcome(code=Code.CANCELLED), now, ledger))


def close_open_calls(kept: Kept, outcome: Outcome, now: int, ledger: UsageLedger) -> Work[Stored]:
    """End every call that is not done with one outcome for all its recipients, and the notification with them."""
    notification_id = kept.stored.notification.id
    open_calls = [call for call in kept.stored.calls if call.state is not CallState.DONE]
    yield [
        (
            _CLOSE,
            {
                "notification": notification_id,
                "call_ordinal": call.ordinal,
                "brought": encode_outcomes((outcome,) * len(call.recipients)),
                "charged": ledger.charge_at(now, call.account or FIRST_ACCOUNT),
                "done_then": now,
            },
        )
        for call in open_calls
    ]
    [closed] = (yield from load([notification_id])).values()
    yield from end(closed, conclude(closed.stored, now))
    [final] = (yield from load([notification_id])).values()
    after = {call.ordinal: call for call in final.stored.calls}
    lines = Lines()
    yield from charge_changed(lines, notification_id, [(call, after[call.ordinal]) for call in open_calls])
    yield ledger.steps(lines)
    return final.stored


def settle_by(
    notification_id: str,
    answers: Mapping[int, Outcome],
    resolved_by: ResolvedBy,
    now: int,
    act: Act,
    ledger: UsageLedger,
) -> Work[Stored | None]:
    """Make unknown outcomes definite over every call, with the audit row."""
    kept = (yield from load([notification_id], lock=True)).get(notification_id)
    if kept is None:
        return None
    ordinals = [call.ordinal for call in kept.stored.calls]
    lines = Lines()
    if not (yield from settle(kept, ordinals, answers, resolved_by, now, lines)):
        return None
    yield ledger.steps(lines)
    yield from auditing.append(act)
    return (yield from load([notification_id]))[notification_id].stored


def _dialling_of(dial: Dial, process: str, now: int) -> dict[str, object]:
    ref, reason = dial.ref, dial.reason
    return {
        "notification": ref.notification_id,
        "call_ordinal": ref.ordinal,
        "process": process,
        "its_fence": ref.fence,
        "new_account": dial.account,
        "new_account_reason": None if reason is None else reason.value,
        "dialled_then": now,
    }


def _add_calls(record: Record, bill: str, recipients: Sequence[int], lines: Lines) -> Work[None]:
    notification_id, follow_ups = record.ref.notification_id, record.follow_ups
    [last] = yield [(_LAST_ORDINAL, {"notification": notification_id})]
    added = [plan_call(call, ordinal) for ordinal, call in enumerate(follow_ups, last.rows[0][0] + 1)]
    lines.reserve(bill, sum(len(call.recipients) for call in added))
    yield [
        insert_call_step(notification_id, call, pass_on(bill, recipients, record.outcomes, call.recipients), record.at)
        for call in added
    ]


def _settle_late(record: Record, lines: Lines) -> Work[RecordResult]:
    if record.undialled:  # no evidence of what somebody else's dial came to
        return RecordResult.STALE
    notification_id, ordinal = record.ref.notification_id, record.ref.ordinal
    kept = (yield from load([notification_id], lock=True)).get(notification_id)
    for call in kept.stored.calls if kept is not None else ():
        if kept is not None and call.ordinal == ordinal and call.state is CallState.DONE:
            answers = dict(zip(call.recipients, record.outcomes, strict=False))
            if (yield from settle(kept, [ordinal], answers, ResolvedBy.LATE_ANSWER, record.at, lines)):
                return RecordResult.SETTLED
    return RecordResult.STALE
