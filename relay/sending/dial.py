"""The third stage, for one call: take a slot, move to ``dialling``, make the GET once, say what it brought.

The order is the promise: nothing is dialled that the journal did not authorise, and what was dialled ends with a
record, even if the journal is away for a while or the caller's deadline passes first.

**Decisions**

- 2026-11-25: where a slot is free as a waiting caller's one call is claimed, the claim gives the right to dial: two
  commits a notification in place of three. The price: a process that dies between claim and dial leaves ``unknown``
  instead of ``not_sent``, as it already did between that right and the dial. Rejected: a claim that dials without a
  slot, which would turn every wait for one into an ``unknown``.
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from relay.domain.codes import Code, MessageType
from relay.domain.notification import Call, Mode, Notification, Outcome
from relay.sending.breaker import Breaker, BreakerState
from relay.sending.ports import Clock, SendOutcome, SendRequest, SendResult, Upstream
from relay.sending.slots import Priority, Slots, priority_of


class Line(Struct, frozen=True):
    """An upstream with what stands before it: smsclone's, or the stand-in's for sandbox clients."""

    upstream: Upstream
    breaker: Breaker
    slots: Slots


class DialPolicy(Struct, frozen=True, kw_only=True):
    """How calls are made."""

    call_timeout_seconds: float
    calls_at_a_time: int
    second_attempt: frozenset[MessageType]
    quiet_until: Callable[[MessageType, int], int | None]
    """Message type and wall-clock milliseconds → when its quiet hours end, ``None`` where it may be sent now."""


class Hold(Struct, frozen=True):
    """An asynchronous notification goes back to the queue until then; nothing of it is lost."""

    until_ms: int


class Turn(StrEnum):
    """A slot was taken; the call may be dialled."""

    GRANTED = "granted"


HOLD_MS = 1_000
"""How soon the queue looks again at what was held because nothing may be sent now."""


async def await_turn(
    notification: Notification,
    line: Line,
    clock: Clock,
    policy: DialPolicy,
    *,
    deadline: float | None,
    stopping: Callable[[], bool],
) -> Turn | Hold | Code:
    """Wait for a slot, then judge once more whether this call may go out.

    Returns:
        ``GRANTED`` with a slot taken (the caller of this releases it), or, with none taken, until when to hold the
        notification or why it is not sent.
    """
    overdue = find_overdue(notification.expires_at, clock, deadline)
    if overdue is not None:
        return overdue
    left = None if deadline is None else max(deadline - clock.monotonic(), 0.0)
    if not await line.slots.acquire(priority_of(notification.message_type, notification.mode), left):
        return Code.DEADLINE
    verdict = _judge(
        notification.message_type,
        notification.mode,
        notification.expires_at,
        line,
        clock,
        policy,
        deadline=deadline,
        stopping=stopping(),
    )
    if verdict is not Turn.GRANTED:
        line.slots.release()
    return verdict


def take_turn_now(
    message_type: MessageType, expires_at: int | None, line: Line, clock: Clock, policy: DialPolicy, *, deadline: float
) -> bool:
    """Take a slot for a synchronous notification that is not claimed yet, if one is free and it may go out now.

    The reserve is left to what is claimed already: where the journal is slow, these slots wait for it with nothing out.

    Returns:
        Whether a slot was taken; the taker must release it.
    """
    if not line.slots.try_acquire(Priority.QUEUED):
        return False
    verdict = _judge(message_type, Mode.SYNCHRONOUS, expires_at, line, clock, policy, deadline=deadline, stopping=False)
    if verdict is not Turn.GRANTED:
        line.slots.release()
    return verdict is Turn.GRANTED


def _judge(
    message_type: MessageType,
    mode: Mode,
    expires_at: int | None,
    line: Line,
    clock: Clock,
    policy: DialPolicy,
    *,
    deadline: float | None,
    stopping: bool,
) -> Turn | Hold | Code:
    now_ms, now = clock.now_ms(), clock.monotonic()
    waiting = mode is Mode.SYNCHRONOUS
    overdue = find_overdue(expires_at, clock, deadline)
    if overdue is not None:
        return overdue
    quiet_until = policy.quiet_until(message_type, now_ms)
    if quiet_until is not None:
        return Code.EXPIRED if waiting else Hold(quiet_until)
    if waiting:
        return Turn.GRANTED if line.breaker.state is BreakerState.CLOSED else Code.UPSTREAM_UNREACHABLE
    if stopping:
        return Hold(now_ms)
    blocked = max(line.breaker.seconds_until_allowed(now), line.breaker.seconds_without_balance(now))
    return Hold(now_ms + max(int(blocked * 1000), HOLD_MS)) if blocked else Turn.GRANTED


def find_overdue(expires_at: int | None, clock: Clock, deadline: float | None) -> Code | None:
    """Say why it is too late to dial, or ``None``."""
    if expires_at is not None and clock.now_ms() >= expires_at:
        return Code.EXPIRED
    return Code.DEADLINE if deadline is not None and clock.monotonic() >= deadline else None


async def make_call(
    notification: Notification,
    call: Call,
    line: Line,
    clock: Clock,
    policy: DialPolicy,
    *,
    deadline: float | None,
    keep: Callable[[asyncio.Task[SendResult]], None],
) -> SendResult:
    """Make the GET, and wait for its answer until the notification's deadline.

    Args:
        deadline: monotonic seconds at which the caller must have an answer.
        keep: takes over a call that outlives the deadline: its slot, and what it may still bring.

    Returns:
        What came back; ``no_answer`` for everyone where the deadline passed first. The slot is free again, unless
        ``keep`` took the call over.
    """
    request = SendRequest(
        sender=notification.sender,
        message=notification.message or "",
        numbers=tuple(notification.entries[index].number or "" for index in call.recipients),
        route=call.route,
    )
    left = float("inf") if deadline is None else max(deadline - clock.monotonic(), 0.0)
    if left >= policy.call_timeout_seconds:
        return await _send(request, line, clock, policy)
    task = asyncio.ensure_future(_send(request, line, clock, policy))
    await asyncio.wait({task}, timeout=left)
    if task.done():
        return task.result()
    keep(task)
    return SendResult(
        outcome=SendOutcome.UNKNOWN,
        outcomes=(Outcome(code=Code.NO_ANSWER),) * len(call.recipients),
        cause="notification_deadline",
        seconds=left,
    )


async def _send(request: SendRequest, line: Line, clock: Clock, policy: DialPolicy) -> SendResult:
    try:
        result = await line.upstream.send(request, policy.call_timeout_seconds)
    finally:
        line.slots.release()
    line.breaker.record_send(result, clock.monotonic())
    return result
