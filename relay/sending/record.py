"""The fourth stage: what a call brought is written, as often as it takes.

An outcome that is known is never given up: it is written as soon as the journal is back, and a waiting caller is
answered from memory if that takes long.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import TypeVar

from msgspec.structs import replace

from relay.domain.codes import Code, ResolvedBy, Status
from relay.domain.notification import Call, CallState, Ended, Outcome, settle_unknown
from relay.sending.delivery import Delivery
from relay.sending.events import Events, JournalFailed, UnknownSettled
from relay.sending.follow_up import Step
from relay.sending.ports import JournalUnavailable, RecordResult, SendResult

_FIRST_DELAY_SECONDS = 0.05
_LONGEST_DELAY_SECONDS = 2.0

T = TypeVar("T")


async def record(delivery: Delivery, call: Call, step: Step, *, undialled: bool = False) -> None:
    """Write a call's outcomes, the calls that follow, and the end of the notification if this was the last call.

    Args:
        undialled: whether the journal never gave this process the right to dial the call. Whoever took the
            notification over may be dialling it by now, and that is not ours to close.
    """
    async with delivery.follow_up_lock if step.follow_ups else nullcontext():
        delivery.keep(replace(delivery.calls[call.ordinal], state=CallState.DONE, outcomes=step.outcomes))
        ended = None
        if delivery.unfinished == 1 and not step.follow_ups:
            ended = await delivery.conclude()
        result, repeated = await _write(delivery, call, step, ended, undialled=undialled)
        delivery.unfinished -= 1
        if result is RecordResult.STALE and not repeated:
            if call.ordinal not in delivery.late or not await _take_up(delivery, call):
                delivery.lost = True
            return
        # A repeated write that finds the call done may have met its own first attempt or a late answer's record: only
        # the plain case has certainly written the end too.
        delivery.written_end = ended if result is RecordResult.RECORDED else None
        for planned in step.follow_ups:
            delivery.add(planned)
        if step.hold_until is not None:
            delivery.hold(step.hold_until)


async def record_unsent(delivery: Delivery, call: Call, code: Code, *, undialled: bool = False) -> None:
    """Write one outcome for everyone of a call that will not be made, or of which nobody knows more."""
    await record(delivery, call, Step((Outcome(code=code),) * len(call.recipients)), undialled=undialled)


async def _take_up(delivery: Delivery, call: Call) -> bool:
    """Know how the journal holds a call whose late answer was recorded before its absence was; whether it has it."""
    journal, events = delivery.runtime.journal, delivery.runtime.events
    stored = await until_written(lambda: journal.find(delivery.notification.id), "find", events, delivery.answer)
    known = [each for each in stored.calls if each.ordinal == call.ordinal] if stored is not None else []
    for each in known:
        delivery.keep(each)
    return bool(known)


async def _write(
    delivery: Delivery, call: Call, step: Step, ended: Ended | None, *, undialled: bool = False
) -> tuple[RecordResult, bool]:
    """Write a record until it is taken; tells what became of it, and whether it had to be repeated."""
    failed = False

    def on_failure() -> None:
        nonlocal failed
        failed = True
        if ended is not None:
            delivery.answer()

    journal = delivery.runtime.journal
    result = await until_written(
        lambda: journal.record(
            delivery.ref(call), step.outcomes, follow_ups=step.follow_ups, ended=ended, undialled=undialled
        ),
        "record",
        delivery.runtime.events,
        on_failure,
    )
    return result, failed


async def record_late_answer(delivery: Delivery, call: Call, task: "asyncio.Task[SendResult]") -> None:
    """Keep what a call brings after its caller was told ``unknown``: evidence, never another send."""
    result = await task
    answers = dict(zip(call.recipients, result.outcomes, strict=True))
    known = delivery.calls[call.ordinal]
    if settle_unknown(known, answers, ResolvedBy.LATE_ANSWER) is None:
        return
    written, _ = await _write(delivery, call, Step(result.outcomes), None)
    if written is RecordResult.SETTLED:
        delivery.runtime.events.emit(
            UnknownSettled(
                notification_id=delivery.notification.id,
                client=delivery.notification.client,
                resolved_by=ResolvedBy.LATE_ANSWER,
                recipients=sum(1 for outcome in result.outcomes if outcome.status is not Status.UNKNOWN),
            )
        )


async def until_written(
    write: Callable[[], Awaitable[T]], during: str, events: Events, on_failure: Callable[[], None] | None = None
) -> T:
    """Repeat a journal write that may be repeated until it succeeds.

    Args:
        write: makes the attempt; every attempt is a new call.
        during: the operation's name, for the log.
        on_failure: called after each failure, so that a waiting caller can be answered from memory.
    """
    delay = _FIRST_DELAY_SECONDS
    while True:
        try:
            return await write()
        except JournalUnavailable as failure:
            events.emit(JournalFailed(during=during, reason=failure.reason))
            if on_failure is not None:
                on_failure()
        await asyncio.sleep(delay)
        delay = min(delay * 2, _LONGEST_DELAY_SECONDS)
