"""The last stage: a notification ends, goes back to the queue, or turns out to be somebody else's."""

from msgspec.structs import replace

from relay.domain.codes import Code
from relay.domain.notification import CallState, Ended, Mode, Outcome
from relay.sending.delivery import Delivery
from relay.sending.events import JournalFailed
from relay.sending.follow_up import LONGEST_BACKOFF_MS
from relay.sending.ports import JournalUnavailable
from relay.sending.record import record_unsent, until_written
from relay.sending.report import Report


async def end(delivery: Delivery) -> None:
    """Write the end, unless the last record did, and report it; or put back what is still to be sent."""
    if delivery.lost:
        await _read_again(delivery)
        return
    if delivery.pending and delivery.hold_until is not None:
        await _requeue(delivery, delivery.hold_until)
        return
    ended = delivery.written_end or await _write_end(delivery)
    seconds = delivery.runtime.clock.monotonic() - delivery.started
    Report(delivery.runtime.events).completed(delivery.snapshot(), ended, seconds, delivery.request_id)


async def _write_end(delivery: Delivery) -> Ended:
    journal, events = delivery.runtime.journal, delivery.runtime.events
    ended = await delivery.conclude()
    await until_written(lambda: journal.end(delivery.notification.id, ended), "end", events, delivery.answer)
    return ended


async def _requeue(delivery: Delivery, until_ms: int) -> None:
    journal, events = delivery.runtime.journal, delivery.runtime.events
    await until_written(
        lambda: journal.requeue(delivery.notification.id, delivery.fence, until_ms, delivery.waiting),
        "requeue",
        events,
    )


async def _read_again(delivery: Delivery) -> None:
    """Another process owns the notification now, or it was cancelled: the journal knows better than we do."""
    stored = None
    try:
        stored = await delivery.runtime.journal.find(delivery.notification.id)
    except JournalUnavailable as failure:
        delivery.runtime.events.emit(JournalFailed(during="find", reason=failure.reason))
    if stored is not None:
        delivery.replace(stored)


async def close_after_bug(delivery: Delivery) -> None:
    """Close what a bug left open, by what the journal holds: dialled calls as unknown, the others as not sent."""
    journal, events = delivery.runtime.journal, delivery.runtime.events
    stored = await until_written(lambda: journal.find(delivery.notification.id), "find", events)
    waiting = delivery.notification.mode is Mode.SYNCHRONOUS
    for call in () if stored is None else stored.calls:
        delivery.keep(call)
        if call.state is CallState.DIALLING:
            await record_unsent(delivery, call, Code.INTERRUPTED)
        elif call.state is CallState.CLAIMED and waiting:
            await record_unsent(delivery, call, Code.INTERRUPTED_BEFORE_DIAL, undialled=True)
    if any(call.state is CallState.CLAIMED for call in delivery.calls.values()):
        await _requeue(delivery, delivery.runtime.clock.now_ms() + LONGEST_BACKOFF_MS)
    else:
        await _write_end(delivery)


def stop_short(delivery: Delivery) -> None:
    """The process ends before the delivery does: know in memory what the next process will find in the journal."""
    for call in list(delivery.calls.values()):
        if call.state is not CallState.DONE:
            code = Code.INTERRUPTED if call.state is CallState.DIALLING else Code.INTERRUPTED_BEFORE_DIAL
            outcomes = (Outcome(code=code),) * len(call.recipients)
            delivery.keep(replace(call, state=CallState.DONE, outcomes=outcomes))
