"""How a notification ends: text erased, status and key settled, unused quota and unused places under a cap given back.

It ends with the record of its last call, because it is cancelled, or because nobody can say any more what became of it.
Here is also what becomes of one that ended when somebody knows better about a recipient that was unknown. Both put a
callback in line where there is somebody to tell.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import Update, bindparam, delete, exists, literal_column, null, select, update

from relay.domain.audit import Act
from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import Code, ResolvedBy, Status, common_status
from relay.domain.notification import (
    Call,
    CallState,
    Ended,
    Outcome,
    Stored,
    conclude,
    count_recipients,
    count_statuses,
    find_outcomes,
    may_move,
    open_indexes,
    settle_unknown,
)
from relay.journal import auditing
from relay.journal.callbacks import put_in_line_step
from relay.journal.encoding import DONE, Kept, encode_counts, encode_outcomes, encode_resent
from relay.journal.limits import GIVE_BACK
from relay.journal.lookups import answer_steps
from relay.journal.reading import load
from relay.journal.schema import calls, notifications, sends, word
from relay.journal.statements import Statement, Step, Work
from relay.journal.usage_ledger import Lines, UsageLedger, charge_changed
from relay.sending.callback_queue import CallbackKind

_n = notifications.c
_END: Update = (
    update(notifications)
    .values(
        state=word(DONE),
        owner=null(),
        message=null(),
        status=bindparam("new_status"),
        counts=bindparam("new_counts"),
        unknown=bindparam("has_unknown", type_=_n.unknown.type),
        completed_at=bindparam("ended_at"),
    )
    .where(_n.id == bindparam("notification"), _n.state != word(DONE))
)
_has_other_calls = exists(
    select(literal_column("1")).where(
        calls.c.notification_id == bindparam("notification"), calls.c.ordinal != bindparam("call_ordinal")
    )
)
_END_ONE_CALL = _END.where(~_has_other_calls)
# The key is touched only where it is freed: an index that no column of changes need not be written.
_ENDING = {False: Statement(_END), True: Statement(_END.values(key_freed=_n.id))}
_ENDING_ONE_CALL = {False: Statement(_END_ONE_CALL), True: Statement(_END_ONE_CALL.values(key_freed=_n.id))}
_SHOW = Statement(
    update(notifications)
    .values(
        status=bindparam("new_status"),
        counts=bindparam("new_counts"),
        unknown=bindparam("has_unknown", type_=_n.unknown.type),
        resolved_at=bindparam("settled_at"),
    )
    .where(_n.id == bindparam("notification"), _n.state == word(DONE))
)
_this_call = (calls.c.notification_id == bindparam("notification"), calls.c.ordinal == bindparam("call_ordinal"))
_CLOSE = Statement(
    update(calls)
    .values(
        state=word("done"), outcomes=bindparam("brought"), charge=bindparam("charged"), done_at=bindparam("done_then")
    )
    .where(*_this_call, calls.c.state != word("done"))
)
_SETTLE = Statement(update(calls).values(outcomes=bindparam("new_outcomes")).where(*_this_call))
_QUOTA = Statement(
    select(_n.client, _n.quota_day, _n.quota_shard).where(_n.id == bindparam("notification"), _n.quota_day.is_not(None))
)
_FORGET_SEND = Statement(
    delete(sends).where(
        sends.c.notification_id == bindparam("notification"), sends.c.entry == bindparam("unsent_entry")
    )
)


class OneCall(NamedTuple):
    """A notification one call of which was just done with these outcomes, and how it ends if there is no other."""

    notification_id: str
    ordinal: int
    outcomes: Sequence[Outcome]
    ended: Ended


def end_one_calls(items: Sequence[OneCall]) -> Work[list[OneCall]]:
    """End notifications that have no other call; those that have are given back."""
    if not items:
        return []
    results = yield [
        (
            _ENDING_ONE_CALL[item.ended.frees_key],
            {
                "notification": item.notification_id,
                "call_ordinal": item.ordinal,
                "new_status": item.ended.status.value,
                "new_counts": encode_counts(count_statuses(item.ended.results)),
                "has_unknown": any(outcome.status is Status.UNKNOWN for outcome in item.outcomes),
                "ended_at": item.ended.at,
            },
        )
        for item in items
    ]
    for item, result in zip(items, results, strict=True):
        if result.changed and any(outcome.status is Status.NOT_SENT for outcome in item.outcomes):
            found = yield from load([item.notification_id])
            yield _unused_steps(found[item.notification_id].stored)
        if result.changed:
            yield from _follow(item.notification_id, item.ended)
    return [item for item, result in zip(items, results, strict=True) if not result.changed]


def end_whole(notification_id: str, ended: Ended) -> Work[bool]:
    """End a notification all of whose calls are done."""
    kept = (yield from load([notification_id], lock=True)).get(notification_id)
    return kept is not None and (yield from end(kept, ended))


def end(kept: Kept, ended: Ended) -> Work[bool]:
    """End a notification, which is locked, if every call of it is done.

    The status is taken from the calls as they stand: one of them may have been settled since it was worked out.
    """
    stored = kept.stored
    notification_id = stored.notification.id
    if kept.state == DONE or any(call.state is not CallState.DONE for call in stored.calls):
        return False
    yield [
        (
            _ENDING[ended.frees_key],
            {"notification": notification_id, **_shown(stored), "ended_at": ended.at},
        ),
        *_unused_steps(stored),
    ]
    yield from _follow(notification_id, ended)
    return True


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


def settle(
    kept: Kept,
    ordinals: Sequence[int],
    answers: Mapping[int, Outcome],
    resolved_by: ResolvedBy,
    now: int,
    lines: Lines,
) -> Work[bool]:
    """Make unknown outcomes of some calls definite; ``False`` where none was unknown. The notification is locked."""
    notification_id = kept.stored.notification.id
    changed: dict[int, Call] = {}
    for call in kept.stored.calls:
        if call.ordinal in ordinals and call.state is CallState.DONE:
            settled = settle_unknown(call, answers, resolved_by)
            if settled is not None:
                changed[call.ordinal] = settled[0]
    if not changed:
        return False
    yield [
        (
            _SETTLE,
            {"notification": notification_id, "call_ordinal": ordinal, "new_outcomes": encode_outcomes(call.outcomes)},
        )
        for ordinal, call in changed.items()
    ]
    yield [step for call in changed.values() for step in answer_steps(notification_id, call.outcomes)]
    before = [call for call in kept.stored.calls if call.ordinal in changed]
    yield from charge_changed(lines, notification_id, [(call, changed[call.ordinal]) for call in before])
    if kept.state == DONE:
        found = yield from load([notification_id])
        stored = found[notification_id].stored
        yield [(_SHOW, {"notification": notification_id, **_shown(stored), "settled_at": now})]
        if (url := stored.notification.callback_url) is not None:
            yield [put_in_line_step(notification_id, url, CallbackKind.RESOLVED, now)]
    return True


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


def _shown(stored: Stored) -> dict[str, object]:
    """What a list shows, in columns."""
    counts = count_recipients(stored)
    return {
        "new_status": common_status(counts).value,
        "new_counts": encode_counts(counts),
        "has_unknown": Status.UNKNOWN in counts and bool(open_indexes(stored)),
    }


def _unused_steps(stored: Stored) -> list[Step]:
    """Places under a cap that were kept for entries to which certainly nothing was sent."""
    outcomes, _ = find_outcomes(stored)
    return [
        (_FORGET_SEND, {"notification": stored.notification.id, "unsent_entry": index})
        for index, outcome in outcomes.items()
        if outcome.status is Status.NOT_SENT
    ]


def _follow(notification_id: str, ended: Ended) -> Work[None]:
    """What an end brings with it."""
    if ended.quota_given_back:
        [reserved] = yield [(_QUOTA, {"notification": notification_id})]
        given_back = {"given_back": ended.quota_given_back}
        yield [
            (GIVE_BACK, {"for_client": client, "for_day": day, "for_shard": shard, **given_back})
            for client, day, shard in reserved.rows
        ]
    if (url := ended.callback_url) is not None:
        yield [put_in_line_step(notification_id, url, CallbackKind.COMPLETED, ended.at)]


_MARK_RESENT = Statement(
    update(notifications)
    .values(resent=bindparam("new_resent"), unknown=bindparam("has_unknown", type_=_n.unknown.type))
    .where(_n.id == bindparam("notification"))
)


def mark_resent(notification_id: str, resent: Mapping[int, str]) -> Work[None]:
    """Keep with a notification as which others its unknown recipients were sent to once more."""
    kept = (yield from load([notification_id], lock=True)).get(notification_id)
    if kept is not None:
        stored = replace(kept.stored, resent={**kept.stored.resent, **resent})
        values = {"new_resent": encode_resent(stored.resent), "has_unknown": bool(open_indexes(stored))}
        yield [(_MARK_RESENT, {"notification": notification_id, **values})]
