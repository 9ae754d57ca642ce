"""The states of a call: ``claimed`` → ``dialling`` → ``done``. Only the first move authorises a dial.

How a call is planned and written first, how it is dialled, and what is recorded of it; ``ending`` says what that makes
of its notification. Whoever changes a call holds its notification's row first, so that owner and fence cannot change
under the change. (SQLite has one writer: there a look at the row is enough.)
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import Boolean, bindparam, exists, func, literal_column, or_, select, update

from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import AccountReason, ResolvedBy, Status
from relay.domain.notification import Call, CallState, Ended, Outcome, PlannedCall
from relay.domain.suppression import Addressed
from relay.journal.encoding import decode_indexes, encode_indexes, encode_outcomes
from relay.journal.ending import OneCall, end_one_calls, end_whole, settle
from relay.journal.lookups import Subjects, answer_steps, dial_steps
from relay.journal.reading import load
from relay.journal.schema import calls, notifications, word
from relay.journal.statements import Rows, Statement, Step, Work, every_column
from relay.journal.suppressing import find_suppressed
from relay.journal.suppression_entries import indexes_to_learn, learn
from relay.journal.usage_ledger import Lines, UsageLedger, charge_call, pass_on
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
_INSERT_CALL = Statement(calls.insert().values(every_column(calls)), rows=Rows(calls))
_LAST_ORDINAL = Statement(select(func.max(_c.ordinal)).where(_c.notification_id == bindparam("notification")))


def plan_without(planned: Iterable[PlannedCall], left_out: Collection[int]) -> list[PlannedCall]:
    """The calls without some entries; one that is left empty is not made."""
    kept = [
        replace(call, recipients=tuple(index for index in call.recipients if index not in left_out)) for call in planned
    ]
    return [call for call in kept if call.recipients]


def plan_call(planned: PlannedCall, ordinal: int, *, dials: bool = False) -> Call:
    """A planned call as it stands at first; ``dials`` where whoever writes it dials it next."""
    return Call(
        ordinal=ordinal,
        route=planned.route,
        recipients=planned.recipients,
        state=CallState.DIALLING if dials else CallState.CLAIMED,
        level=planned.level,
        dialled=dials,
        account=planned.account or (FIRST_ACCOUNT if dials else None),
        account_reason=planned.account_reason,
    )


def insert_call_step(notification_id: str, call: Call, bill: str, at: int) -> Step:
    """What writes a new call, and whom it is charged to; ``at`` is when, for one that is dialled next."""
    return _INSERT_CALL, {
        "notification_id": notification_id,
        "ordinal": call.ordinal,
        "state": call.state.value,
        "route": call.route.value,
        "level": call.level,
        "dialled": call.dialled,
        "recipients": encode_indexes(call.recipients),
        "outcomes": None,
        "bill": bill,
        "charge": None,
        "dialled_at": at if call.dialled else None,
        "done_at": None,
        "account": call.account,
        "account_reason": None if call.account_reason is None else call.account_reason.value,
    }


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
