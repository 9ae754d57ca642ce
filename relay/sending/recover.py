"""What a dead process left behind: settled by whoever finds it, without a second send.

A call that was ``dialling`` may have reached the upstream: it is ``unknown``. One that was only ``claimed`` certainly
did not: a caller that waited for it is gone, so it ends as ``not_sent``; the queue's own goes back to the queue.
"""

from collections.abc import Sequence

from msgspec import Struct

from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import Code
from relay.domain.notification import Call, CallState, Mode, Outcome, Stored, conclude
from relay.sending.events import Events, Recovered
from relay.sending.ports import UNKNOWN_INTERRUPTED, CallRef, Clock, Journal, Lease
from relay.sending.record import until_written
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
    while leases := await journal.take_from_dead(_AT_A_TIME):
        for lease in leases:
            remains.notifications += 1
            synchronous = lease.stored.notification.mode is Mode.SYNCHRONOUS
            await _settle(lease, journal, clock, events, remains, closes_claimed=synchronous, report=report)
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


async def end_unsent(leases: Sequence[Lease], journal: Journal, clock: Clock, events: Events) -> None:
    """End notifications that were claimed but promised to nobody: nothing of them is sent, nor reported."""
    for lease in leases:
        await _settle(lease, journal, clock, events, Remains(), closes_claimed=True, report=None)


async def _settle(
    lease: Lease,
    journal: Journal,
    clock: Clock,
    events: Events,
    remains: Remains,
    *,
    closes_claimed: bool,
    report: Report | None,
) -> None:
    """Close what must not go on, then end the notification or put it back.

    It belongs to this process now, and nobody else would look at it: so a journal that fails meanwhile is asked until
    it is back. An owner that only seemed dead may still record an answer, and what follows from it, between any two
    steps here: so what the journal holds is read anew after every close, and its answers stand.
    """
    notification_id = lease.stored.notification.id
    stored: Stored | None = lease.stored
    for _ in range(_MOST_ROUNDS):
        if stored is None or stored.completed_at is not None:
            return
        closing = [call for call in stored.calls if _must_close(call, closes_claimed=closes_claimed)]
        if not closing and await _finish(lease, stored, journal, clock, events, remains, report):
            return
        for call in closing:
            await _close(lease, call, journal, events, remains)
        stored = await until_written(lambda: journal.find(notification_id), "recover", events)


async def _finish(
    lease: Lease,
    stored: Stored,
    journal: Journal,
    clock: Clock,
    events: Events,
    remains: Remains,
    report: Report | None,
) -> bool:
    """End it, or put it back where something is still to be sent; ``False`` where it could not be ended yet."""
    now, notification_id = clock.now_ms(), stored.notification.id
    if any(call.state is CallState.CLAIMED for call in stored.calls):
        remains.requeued += 1
        await until_written(lambda: journal.requeue(notification_id, lease.fence, now), "recover", events)
        return True
    ended = conclude(stored, now)
    if not await until_written(lambda: journal.end(notification_id, ended), "recover", events):
        return False
    if report is not None:
        report.completed(stored, ended, max(now - stored.notification.created_at, 0) / 1000, None)
    return True


def _must_close(call: Call, *, closes_claimed: bool) -> bool:
    return call.state is CallState.DIALLING or (call.state is CallState.CLAIMED and closes_claimed)


async def _close(lease: Lease, call: Call, journal: Journal, events: Events, remains: Remains) -> None:
    if call.state is CallState.DIALLING:
        outcome = UNKNOWN_INTERRUPTED
        remains.interrupted += 1
    else:
        outcome = _BEFORE_DIAL
        remains.before_dial += 1
    ref = CallRef(lease.stored.notification.id, call.ordinal, lease.fence, call.account or FIRST_ACCOUNT)
    outcomes = (outcome,) * len(call.recipients)
    await until_written(lambda: journal.record(ref, outcomes, undialled=True), "recover", events)
