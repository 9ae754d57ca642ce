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
from relay.sending.persistence import until_written
from relay.sending.ports import UNKNOWN_INTERRUPTED, CallRef, Clock, Journal, Taken
from relay.sending.report import Report

_AT_A_TIME = 100
_MOST_ROUNDS = 20
"""A late owner can bring follow-ups only so often: a chunk is halved seven times at most."""

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
            ended = await close_or_requeue(item, journal, clock, events, remains)
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


async def close_or_requeue(
    item: Taken, journal: Journal, clock: Clock, events: Events, remains: Remains
) -> Stored | None:
    """Settle one notification that now belongs to this process and that nobody is delivering.

    Returns:
        The notification as it ended; ``None`` where it goes on, or somebody else ended it.
    """
    remains.notifications += 1
    synchronous = item.stored.notification.mode is Mode.SYNCHRONOUS
    return await _end(item, journal, clock, events, remains, closes_claimed=synchronous)


async def end_unsent(taken: Sequence[Taken], journal: Journal, clock: Clock, events: Events) -> None:
    """End notifications that were claimed but promised to nobody: nothing of them is sent."""
    for item in taken:
        await _end(item, journal, clock, events, Remains(), closes_claimed=True)


async def _end(
    item: Taken, journal: Journal, clock: Clock, events: Events, remains: Remains, *, closes_claimed: bool
) -> Stored | None:
    """Close what must not go on, then end the notification or put it back.

    It belongs to this process now, and nobody else would look at it: so a journal that fails meanwhile is asked until
    it is back. An owner that only seemed dead may still record an answer, and what follows from it, between any two
    steps here: so what the journal holds is read anew after every close, and its answers stand.
    """
    notification_id = item.stored.notification.id
    stored: Stored | None = item.stored
    for _ in range(_MOST_ROUNDS):
        if stored is None or stored.completed_at is not None:
            return None
        closing = [call for call in stored.calls if _must_close(call, closes_claimed=closes_claimed)]
        if not closing:
            ended = await _finish(item, stored, journal, clock, events, remains)
            if ended is None or ended.completed_at is not None:
                return ended
        for call in closing:
            await _close(item, call, journal, events, remains)
        stored = await until_written(lambda: journal.find(notification_id), "recover", events)
    return None


async def _finish(
    item: Taken, stored: Stored, journal: Journal, clock: Clock, events: Events, remains: Remains
) -> Stored | None:
    """End it, or put it back where something is still to be sent.

    Returns:
        The notification as it ended; as it was, where it could not be ended; ``None`` where it went back.
    """
    now, notification_id = clock.now_ms(), stored.notification.id
    if any(call.state is CallState.CLAIMED for call in stored.calls):
        remains.requeued += 1
        await until_written(lambda: journal.requeue(notification_id, item.fence, now), "recover", events)
        return None
    ended: Stored = replace(stored, completed_at=now, owned=False)
    completion = completion_of(ended, now)
    done = await until_written(lambda: journal.complete(notification_id, completion), "recover", events)
    return ended if done else stored


def _must_close(call: Call, *, closes_claimed: bool) -> bool:
    return call.state is CallState.DIALLING or (call.state is CallState.CLAIMED and closes_claimed)


async def _close(item: Taken, call: Call, journal: Journal, events: Events, remains: Remains) -> None:
    if call.state is CallState.DIALLING:
        outcome = UNKNOWN_INTERRUPTED
        remains.interrupted += 1
    else:
        outcome = _BEFORE_DIAL
        remains.before_dial += 1
    ref = CallRef(item.stored.notification.id, call.ordinal, item.fence)
    outcomes = (outcome,) * len(call.recipients)
    await until_written(lambda: journal.record(ref, outcomes), "recover", events)
