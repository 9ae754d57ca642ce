"""How a notification ends: text erased, status and key settled, unused quota and unused places under a cap given back.

Also what becomes of one that ended when somebody knows better about a recipient that was unknown. Both put a callback
in line where there is somebody to tell.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Update, bindparam, delete, exists, literal_column, null, select, update

from relay.domain.codes import ResolvedBy, Status
from relay.domain.notification import (
    Call,
    CallState,
    Outcome,
    Stored,
    find_outcomes,
    overall_status,
    settle_unknown,
    view_recipients,
)
from relay.journal.callbacks import put_in_line_step
from relay.journal.encoding import DONE, Kept, encode_outcomes
from relay.journal.limits import GIVE_BACK
from relay.journal.reading import load, unknown_indexes
from relay.journal.schema import calls, notifications, sends, word
from relay.journal.statements import Statement, Step, Work
from relay.sending.callback_queue import CallbackKind
from relay.sending.ports import Completion

_n = notifications.c
_END: Update = (
    update(notifications)
    .values(
        state=word(DONE),
        owner=null(),
        message=null(),
        status=bindparam("ended_as"),
        unknown=bindparam("in_doubt", type_=_n.unknown.type),
        completed_at=bindparam("ended_at"),
    )
    .where(_n.id == bindparam("of"), _n.state != word(DONE))
)
_has_other_calls = exists(
    select(literal_column("1")).where(calls.c.notification_id == bindparam("of"), calls.c.ordinal != bindparam("nr"))
)
_END_ONE_CALL = _END.where(~_has_other_calls)
# The key is touched only where it is freed: an index that no column of changes need not be written.
_ENDING = {False: Statement(_END), True: Statement(_END.values(key_freed=_n.id))}
_ENDING_ONE_CALL = {False: Statement(_END_ONE_CALL), True: Statement(_END_ONE_CALL.values(key_freed=_n.id))}
_SHOW = Statement(
    update(notifications)
    .values(
        status=bindparam("ended_as"),
        unknown=bindparam("in_doubt", type_=_n.unknown.type),
        resolved_at=bindparam("known_at"),
    )
    .where(_n.id == bindparam("of"), _n.state == word(DONE))
)
_SETTLE = Statement(
    update(calls)
    .values(outcomes=bindparam("brought"))
    .where(calls.c.notification_id == bindparam("of"), calls.c.ordinal == bindparam("nr"))
)
_QUOTA = Statement(
    select(_n.client, _n.quota_day, _n.quota_shard).where(_n.id == bindparam("of"), _n.quota_day.is_not(None))
)
_FORGET_SEND = Statement(
    delete(sends).where(sends.c.notification_id == bindparam("of"), sends.c.entry == bindparam("unsent"))
)


class OneCall(NamedTuple):
    """A notification one call of which was just done with these outcomes, and how it ends if there is no other."""

    notification_id: str
    ordinal: int
    outcomes: Sequence[Outcome]
    completion: Completion


def end_one_calls(items: Sequence[OneCall]) -> Work[list[OneCall]]:
    """End notifications that have no other call; those that have are given back."""
    if not items:
        return []
    ended = yield [(_ENDING_ONE_CALL[item.completion.frees_key], _ending_of(item)) for item in items]
    for item, result in zip(items, ended, strict=True):
        if result.changed and any(outcome.status is Status.NOT_SENT for outcome in item.outcomes):
            found = yield from load([item.notification_id])
            yield _unused_steps(found[item.notification_id].stored)
        if result.changed:
            yield from _follow(item.notification_id, item.completion)
    return [item for item, result in zip(items, ended, strict=True) if not result.changed]


def _ending_of(item: OneCall) -> dict[str, object]:
    return {
        "of": item.notification_id,
        "nr": item.ordinal,
        "ended_as": item.completion.status.value,
        "in_doubt": any(outcome.status is Status.UNKNOWN for outcome in item.outcomes),
        "ended_at": item.completion.at,
    }


def end(kept: Kept, completion: Completion) -> Work[bool]:
    """End a notification, which is locked, if every call of it is done.

    The status is taken from the calls as they stand: one of them may have been settled since the completion was made.
    """
    stored = kept.stored
    notification_id = stored.notification.id
    if kept.state == DONE or any(call.state is not CallState.DONE for call in stored.calls):
        return False
    yield [
        (
            _ENDING[completion.frees_key],
            {
                "of": notification_id,
                "ended_as": overall_status(view_recipients(stored)).value,
                "in_doubt": bool(unknown_indexes(stored)),
                "ended_at": completion.at,
            },
        ),
        *_unused_steps(stored),
    ]
    yield from _follow(notification_id, completion)
    return True


def settle(
    kept: Kept, ordinals: Sequence[int], answers: Mapping[int, Outcome], resolved_by: ResolvedBy, now: int
) -> Work[bool]:
    """Make unknown outcomes of some calls definite; ``False`` where none was unknown. The notification is locked."""
    notification_id = kept.stored.notification.id
    changed: dict[int, Call] = {}
    for call in kept.stored.calls:
        settled = settle_unknown(call, answers, resolved_by) if _may_settle(call, ordinals) else None
        if settled is not None:
            changed[call.ordinal] = settled[0]
    if not changed:
        return False
    yield [
        (_SETTLE, {"of": notification_id, "nr": ordinal, "brought": encode_outcomes(call.outcomes)})
        for ordinal, call in changed.items()
    ]
    if kept.state == DONE:
        found = yield from load([notification_id])
        stored = found[notification_id].stored
        yield [
            (
                _SHOW,
                {
                    "of": notification_id,
                    "ended_as": overall_status(view_recipients(stored)).value,
                    "in_doubt": bool(unknown_indexes(stored)),
                    "known_at": now,
                },
            )
        ]
        if (url := stored.notification.callback_url) is not None:
            yield [put_in_line_step(notification_id, url, CallbackKind.RESOLVED, now)]
    return True


def _may_settle(call: Call, ordinals: Sequence[int]) -> bool:
    return call.ordinal in ordinals and call.state is CallState.DONE


def _unused_steps(stored: Stored) -> list[Step]:
    """Places under a cap that were kept for entries to which certainly nothing was sent."""
    outcomes, _ = find_outcomes(stored)
    return [
        (_FORGET_SEND, {"of": stored.notification.id, "unsent": index})
        for index, outcome in outcomes.items()
        if outcome.status is Status.NOT_SENT
    ]


def _follow(notification_id: str, completion: Completion) -> Work[None]:
    """What an end brings with it."""
    yield from _give_back(notification_id, completion)
    if completion.callback_url is not None:
        url = completion.callback_url
        yield [put_in_line_step(notification_id, url, CallbackKind.COMPLETED, completion.at)]


def _give_back(notification_id: str, completion: Completion) -> Work[None]:
    if not completion.quota_given_back:
        return
    [reserved] = yield [(_QUOTA, {"of": notification_id})]
    yield [
        (GIVE_BACK, {"of_client": client, "of_day": day, "of_shard": shard, "unused": completion.quota_given_back})
        for client, day, shard in reserved.rows
    ]
