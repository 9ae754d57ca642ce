"""What a dead process left behind: settled by whoever finds it, without a second send.

A call that was ``dialling`` may have reached the upstream: it is ``unknown``. One that was only ``claimed`` certainly
did not: a caller that waited for it is gone, so it ends as ``not_sent``; the queue's own goes back to the queue.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from relay.domain.codes import Code
from relay.domain.notification import Call, CallState, Mode, Outcome, Stored
from relay.sending.completion import completion_of
from relay.sending.events import Events, Recovered
from relay.sending.ports import UNKNOWN_INTERRUPTED, CallRef, Clock, Journal, Taken
from relay.sending.report import Report

_AT_A_TIME = 100
_BEFORE_DIAL = Outcome(code=Code.INTERRUPTED_BEFORE_DIAL)


class Remains(Struct):
    """Counts of what was found."""

    notifications: int = 0
    interrupted: int = 0
    before_dial: int = 0
    requeued: int = 0


async def recover_dead(journal: Journal, clock: Clock, events: Events) -> Remains:
    """Settle everything that dead processes owned.

    Raises:
        JournalUnavailable: try again later; what was settled stays settled.
    """
    remains, report = Remains(), Report(events)
    while taken := await journal.take_from_dead(_AT_A_TIME):
        for item in taken:
            ended = await close_or_requeue(item, journal, clock, remains)
            if ended is not None:
                created, completed = ended.notification.created_at, ended.completed_at or 0
                report.completed(ended, max(completed - created, 0) / 1000, None)
    if remains.notifications:
        events.emit(
            Recovered(
                notifications=remains.notifications,
                interrupted=remains.interrupted,
                before_dial=remains.before_dial,
                requeued=remains.requeued,
            )
        )
    return remains


async def close_or_requeue(item: Taken, journal: Journal, clock: Clock, remains: Remains) -> Stored | None:
    """Settle one notification that now belongs to this process and that nobody is delivering.

    Returns:
        The notification as it ended; ``None`` where it goes on, or somebody else ended it.
    """
    notification = item.stored.notification
    synchronous = notification.mode is Mode.SYNCHRONOUS
    calls = [await _close(item, call, journal, remains, synchronous=synchronous) for call in item.stored.calls]
    remains.notifications += 1
    if any(call.state is CallState.CLAIMED for call in calls):
        remains.requeued += 1
        await journal.requeue(notification.id, item.fence, clock.now_ms())
        return None
    now = clock.now_ms()
    stored: Stored = replace(item.stored, calls=tuple(calls), completed_at=now, owned=False)
    return stored if await journal.complete(notification.id, completion_of(stored, now)) else None


async def end_unsent(taken: Sequence[Taken], journal: Journal, clock: Clock) -> None:
    """End notifications that were claimed but promised to nobody: nothing of them is sent."""
    for item in taken:
        calls = [await _close(item, call, journal, Remains(), synchronous=True) for call in item.stored.calls]
        now = clock.now_ms()
        stored: Stored = replace(item.stored, calls=tuple(calls), completed_at=now, owned=False)
        await journal.complete(item.stored.notification.id, completion_of(stored, now))


async def _close(item: Taken, call: Call, journal: Journal, remains: Remains, *, synchronous: bool) -> Call:
    if call.state is CallState.DIALLING:
        outcome = UNKNOWN_INTERRUPTED
        remains.interrupted += 1
    elif call.state is CallState.CLAIMED and synchronous:
        outcome = _BEFORE_DIAL
        remains.before_dial += 1
    else:
        return call
    outcomes = (outcome,) * len(call.recipients)
    ref = CallRef(item.stored.notification.id, call.ordinal, item.fence)
    await journal.record(ref, outcomes)
    return replace(call, state=CallState.DONE, outcomes=outcomes)
