"""The third stage, for one call: a permit of the bulkhead, the right to dial, the GET, once.

The order is the promise: nothing is dialled that the journal did not authorise, and what was dialled ends with a
record, even if the journal is away for a while or the caller's deadline passes first.

**Decisions**

- 2026-11-25: where a permit is free as a waiting caller's one call is claimed, the claim gives the right to dial: two
  commits a notification in place of three. The price: a process that dies between claim and dial leaves ``unknown``
  instead of ``not_sent``, as it already did between that right and the dial. Rejected: a claim that dials without a
  permit, which would turn every wait for one into an ``unknown``.
"""

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from relay.domain.codes import Code
from relay.domain.notification import Call, CallState, Mode, Outcome
from relay.domain.suppression import Addressed
from relay.sending.accounts import Choice, Hold, choose, choose_for, find_overdue, split, was_made_for
from relay.sending.channels import Channel, Permit
from relay.sending.delivery import Delivery, Runtime
from relay.sending.events import JournalFailed
from relay.sending.follow_up import FIRST_BACKOFF_MS, Step, as_planned
from relay.sending.ports import (
    JournalUnavailable,
    LeftOut,
    SendOutcome,
    SendRequest,
    SendResult,
)
from relay.sending.prepare import Prepared
from relay.sending.record import record, record_late_answer, record_unsent
from relay.sending.shares import Asker


def take_permit_early(
    asker: Asker, prepared: Prepared, channels: Sequence[Channel], runtime: Runtime, *, deadline: float
) -> Permit | None:
    """Take a permit for a synchronous notification of one call that is not claimed yet, if one of the account that is
    to take it is free and it may go out now.

    The reserve is left to what is claimed already: where the journal is slow, these permits wait for it with nothing
    out.
    """
    submission = prepared.submission
    choice = choose(channels, prepared.sender, asker, runtime.switches, runtime.clock.monotonic(), tried={})
    if not isinstance(choice, Choice) or not choice.channel.bulkhead.try_acquire(asker, leave_reserve=True):
        return None
    channel = choice.channel
    [call] = prepared.calls
    numbers = [prepared.entries[index].number or "" for index in call.recipients]
    fits = channel is channels[0] or len(split(channel, prepared.sender, prepared.message, call.route, numbers)) == 1
    overdue = find_overdue(submission.expires_at, runtime.clock, deadline)
    closed = runtime.policy.find_closed(submission.message_type, prepared.windows, runtime.clock.now_ms())
    if fits and overdue is None and closed is None:
        return Permit(channel, asker, choice.reason)
    channel.bulkhead.release(asker)
    return None


async def authorise(delivery: Delivery, call: Call) -> Permit | None:
    """Get the right to dial a call: a permit of the channel first, then the journal's word.

    Returns:
        The permit to dial it with, or ``None``. Then what follows is done: the call has its record, or it waits for the
        queue.
    """
    if delivery.permit is not None:
        permit, delivery.permit = delivery.permit, None  # what follows from the answer asks for itself
        return permit if await _is_in_time(delivery, call, permit) else None
    verdict = await await_permit(delivery, call)
    if isinstance(verdict, Permit):
        if await _was_split(delivery, call, verdict):
            return None
        in_time = await _start_dialling(delivery, call, verdict) and await _is_in_time(delivery, call, verdict)
        return verdict if in_time else None
    if isinstance(verdict, Hold):
        delivery.put_back(call, verdict.until_ms, verdict.waiting)
    else:
        await record_unsent(delivery, call, verdict, undialled=True)
    return None


async def await_permit(delivery: Delivery, call: Call) -> Permit | Hold | Code:
    """Choose the account and take a permit of it; after a wait, look once more whether the call may go out there.

    Returns:
        The permit, or until when to hold the notification, or why the call is not made.
    """
    runtime, asker = delivery.runtime, delivery.asker
    while True:
        choice = choose_for(delivery, call)
        if not isinstance(choice, Choice):
            return choice
        channel = choice.channel
        if channel.bulkhead.try_acquire(asker):
            return Permit(channel, asker, choice.reason)
        left = None if delivery.deadline is None else max(delivery.deadline - runtime.clock.monotonic(), 0.0)
        if not await channel.bulkhead.acquire(asker, left):
            return Code.DEADLINE
        again = choose_for(delivery, call)
        if isinstance(again, Choice) and again.channel is channel:
            return Permit(channel, asker, again.reason)
        channel.bulkhead.release(asker)


async def _was_split(delivery: Delivery, call: Call, permit: Permit) -> bool:
    """Replace a call by smaller ones where the account that takes it over bears fewer recipients than the one that it
    was planned for; whether that was so."""
    channel, notification = permit.channel, delivery.notification
    if was_made_for(delivery, channel) or len(call.recipients) == 1:
        return False
    numbers = [notification.entries[index].number or "" for index in call.recipients]
    parts = split(channel, notification.sender, notification.message or "", call.route, numbers)
    if len(parts) <= 1:
        return False
    permit.give_back()
    planned = [
        replace(
            as_planned(call),
            recipients=tuple(call.recipients[position] for position in part),
            account=channel.account,
            account_reason=permit.reason,
        )
        for part in parts
    ]
    await record(delivery, call, Step((), tuple(planned)), undialled=True)
    return True


async def _start_dialling(delivery: Delivery, call: Call, permit: Permit) -> bool:
    """Ask the journal for the right to dial. Where it cannot say, nothing is dialled."""
    runtime, notification = delivery.runtime, delivery.notification
    numbers = {index: notification.entries[index].number or "" for index in call.recipients}
    addressed = Addressed(notification.client, notification.message_type, numbers, notification.created_at)
    try:
        granted = await runtime.journal.start_dialling(
            delivery.ref(call), permit.channel.account, permit.reason, addressed
        )
    except JournalUnavailable as failure:
        permit.give_back()
        runtime.events.emit(JournalFailed(during="start_dialling", reason=failure.reason))
        await _record_undialled(delivery, call)
        return False
    except BaseException:
        permit.give_back()
        raise
    if isinstance(granted, LeftOut):
        permit.give_back()
        await _leave_out(delivery, call, granted.entries)
        return False
    if not granted:
        permit.give_back()
        delivery.lost = True
        return False
    account, reason = permit.channel.account, permit.reason
    delivery.keep(replace(call, state=CallState.DIALLING, dialled=True, account=account, account_reason=reason))
    return True


async def _leave_out(delivery: Delivery, call: Call, suppressed: Sequence[int]) -> None:
    """Close a call some of whose recipients are not to be written to; one for the others follows."""
    kept = tuple(index for index in call.recipients if index not in suppressed)
    again = replace(as_planned(call), recipients=kept)
    outcomes = (Outcome(code=Code.SUPPRESSED),) * len(call.recipients)
    await record(delivery, call, Step(outcomes, (again,) if kept else ()), undialled=True)


async def _is_in_time(delivery: Delivery, call: Call, permit: Permit) -> bool:
    """Whether the journal was not so slow that nobody wants the call any more."""
    overdue = find_overdue(delivery.notification.expires_at, delivery.runtime.clock, delivery.deadline)
    if overdue is not None:
        permit.give_back()
        await record_unsent(delivery, call, overdue)
    return overdue is None


async def _record_undialled(delivery: Delivery, call: Call) -> None:
    """The journal could not say whether the call may be dialled, so it was not: a caller who waits is told so, and the
    queue tries again. (The move may have been committed all the same; a record closes it in either state.)"""
    if delivery.notification.mode is Mode.SYNCHRONOUS:
        await record_unsent(delivery, call, Code.INTERRUPTED_BEFORE_DIAL, undialled=True)
        return
    step = Step((), (as_planned(call),), delivery.runtime.clock.now_ms() + FIRST_BACKOFF_MS)
    await record(delivery, call, step, undialled=True)


async def dial(delivery: Delivery, call: Call, permit: Permit) -> SendResult:
    """Make the GET, and wait for its answer until the notification's deadline. Raises nothing.

    Returns:
        What came back; ``no_answer`` for everyone where the deadline passed first. The permit is free again, unless
        the call goes on: it keeps the permit, and its answer is recorded whenever it comes.
    """
    runtime = delivery.runtime
    timeout = permit.channel.timeout_seconds or runtime.policy.call_timeout_seconds
    left = float("inf") if delivery.deadline is None else max(delivery.deadline - runtime.clock.monotonic(), 0.0)
    try:
        if left >= timeout:
            return await _send(delivery, call, permit, timeout)
        task = asyncio.ensure_future(_send(delivery, call, permit, timeout))
        await asyncio.wait({task}, timeout=left)
        if task.done():
            return task.result()
    except Exception as bug:  # noqa: BLE001 — bytes may have left: the call ends as unknown, never unrecorded
        delivery.report_bug("call", bug)
        outcomes = (Outcome(code=Code.INTERRUPTED),) * len(call.recipients)
        return SendResult(outcome=SendOutcome.UNKNOWN, outcomes=outcomes, cause="bug", seconds=0.0)
    delivery.late.add(call.ordinal)
    runtime.tasks.spawn(record_late_answer(delivery, call, task), "late-answer")
    outcomes = (Outcome(code=Code.NO_ANSWER),) * len(call.recipients)
    return SendResult(outcome=SendOutcome.UNKNOWN, outcomes=outcomes, cause="notification_deadline", seconds=left)


async def _send(delivery: Delivery, call: Call, permit: Permit, timeout_seconds: float) -> SendResult:
    notification, runtime = delivery.notification, delivery.runtime
    try:
        request = SendRequest(
            sender=notification.sender,
            message=notification.message or "",
            numbers=tuple(notification.entries[index].number or "" for index in call.recipients),
            route=call.route,
        )
        permit.begin(runtime.clock.monotonic())
        result = await permit.channel.upstream.send(request, timeout_seconds)
    except BaseException:
        permit.give_back()
        raise
    permit.settle(result, runtime.clock.monotonic())
    return result
