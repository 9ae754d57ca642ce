"""One notification on its way out: its calls, what follows from each answer, and its end.

A delivery runs in its own task, which nobody cancels. The caller waits for :attr:`Delivery.answered`; when the caller
goes away, nothing changes here.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Protocol

from msgspec.structs import replace

from relay.domain.codes import Code, ResolvedBy, Status
from relay.domain.notification import (
    Call,
    CallState,
    Mode,
    Outcome,
    PlannedCall,
    Stored,
    settle_unknown,
)
from relay.sending.accept import Accepted
from relay.sending.completion import completion_of
from relay.sending.dial import DialPolicy, Hold, Line, await_turn, find_overdue, make_call
from relay.sending.events import Events, JournalFailed, TaskFailed, UnknownSettled
from relay.sending.follow_up import FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS, Step, decide
from relay.sending.persistence import until_written
from relay.sending.ports import (
    CallRef,
    Clock,
    Completion,
    Journal,
    JournalUnavailable,
    RecordResult,
    SendOutcome,
    SendResult,
)
from relay.sending.report import Report


class Desk(Protocol):
    """What every delivery of the process shares (the dispatcher)."""

    journal: Journal
    clock: Clock
    events: Events
    policy: DialPolicy

    def is_stopping(self) -> bool:
        """Whether the process drains: nothing new is dialled for asynchronous notifications."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Run in a task that is strongly referenced and drained before the process ends."""
        ...


class Delivery:
    """Sends one notification that this process owns under a fence.

    Args:
        accepted: what was claimed or taken; with the right to dial, its call's slot is taken.
        line: where its calls go.
        desk: what the process shares.
        deadline: monotonic seconds by which a waiting caller has an answer; ``None`` for the queue.
        request_id: of the request that brought it, for the log.
    """

    def __init__(
        self, accepted: Accepted, line: Line, desk: Desk, *, deadline: float | None, request_id: str | None = None
    ) -> None:
        self.answered: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._notification = accepted.stored.notification
        self._stored = accepted.stored
        self._fence = accepted.fence
        self._line = line
        self._desk = desk
        self._deadline = deadline
        self._request_id = request_id
        self._report = Report(desk.events)
        self._calls = {call.ordinal: call for call in accepted.stored.calls}
        self._may_dial = accepted.may_dial
        pending = CallState.DIALLING if accepted.may_dial else CallState.CLAIMED
        self._pending = deque(call for call in accepted.stored.calls if call.state is pending)
        self._open = len(self._pending)
        self._active: set[asyncio.Task[None]] = set()
        self._follow_up_lock = asyncio.Lock()
        self._hold_until: int | None = None
        # Dialled, and not by us: somebody took it over while its claim was in doubt.
        self._lost = not accepted.may_dial and any(call.state is CallState.DIALLING for call in self._calls.values())
        self._completed = False
        self._started = desk.clock.monotonic()

    async def run(self) -> None:
        """Make every call and end the notification. Raises nothing; a bug of ours ends in outcomes, not in silence."""
        try:
            await self._make_calls()
            await self._finish()
        except Exception as bug:  # noqa: BLE001 — after the claim even a bug ends in a record (SPEC section 2)
            self._report_bug("delivery", bug)
            await self._give_up()
        except asyncio.CancelledError:
            self._stop_short()
            raise
        finally:
            self.answer()

    async def _make_calls(self) -> None:
        active = self._active
        while active or (self._pending and not self._must_stop()):
            while self._pending and not self._must_stop() and len(active) < self._desk.policy.calls_at_a_time:
                call = self._pending.popleft()
                if not self._pending and not active:
                    await self._dial(call)
                else:
                    active.add(asyncio.ensure_future(self._dial(call)))
            if active:
                done, _ = await asyncio.wait(active, return_when=asyncio.FIRST_COMPLETED)
                active -= done
                for task in done:
                    task.result()

    def _must_stop(self) -> bool:
        return self._lost or self._hold_until is not None

    async def _dial(self, call: Call) -> None:
        desk = self._desk
        if self._may_dial:
            self._may_dial = False  # what follows from its answer asks for itself
            if await self._still_in_time(call):
                await self._settle_call(call, await self._make_call(call))
            return
        turn = await await_turn(
            self._notification, self._line, desk.clock, desk.policy, deadline=self._deadline, stopping=desk.is_stopping
        )
        if isinstance(turn, Hold):
            self._pending.appendleft(call)
            self._hold(turn.until_ms)
        elif isinstance(turn, Code):
            await self._close_unsent(call, turn)
        elif await self._start_dialling(call):
            await self._settle_call(call, await self._make_call(call))

    async def _start_dialling(self, call: Call) -> bool:
        """Ask the journal for the right to dial. Where it cannot say, nothing is dialled."""
        try:
            granted = await self._desk.journal.start_dialling(self._ref(call))
        except JournalUnavailable as failure:
            self._line.slots.release()
            self._desk.events.emit(JournalFailed(during="start_dialling", reason=failure.reason))
            await self._close_undialled(call)
            return False
        except BaseException:
            self._line.slots.release()
            raise
        if not granted:
            self._line.slots.release()
            self._lost = True
            return False
        self._keep(replace(call, state=CallState.DIALLING, dialled=True))
        return await self._still_in_time(call)

    async def _still_in_time(self, call: Call) -> bool:
        overdue = find_overdue(self._notification.expires_at, self._desk.clock, self._deadline)
        if overdue is not None:  # the journal took its time
            self._line.slots.release()
            await self._close_unsent(call, overdue)
        return overdue is None

    async def _close_undialled(self, call: Call) -> None:
        """The journal could not say whether the call may be dialled, so it was not: a caller who waits is told so, and
        the queue tries again. (The move may have been committed all the same; a record closes it in either state.)"""
        if self._notification.mode is Mode.SYNCHRONOUS:
            await self._close_unsent(call, Code.INTERRUPTED_BEFORE_DIAL)
            return
        again = PlannedCall(route=call.route, recipients=call.recipients, level=call.level)
        async with self._follow_up_lock:
            await self._record(call, Step((), (again,), self._desk.clock.now_ms() + FIRST_BACKOFF_MS))

    async def _make_call(self, call: Call) -> SendResult:
        desk = self._desk

        def keep(task: "asyncio.Task[SendResult]") -> None:
            desk.spawn(self._await_late_answer(call, task), "late-answer")

        try:
            return await make_call(
                self._notification, call, self._line, desk.clock, desk.policy, deadline=self._deadline, keep=keep
            )
        except Exception as bug:  # noqa: BLE001 — bytes may have left: the call ends as unknown, never unrecorded
            self._report_bug("call", bug)
            outcomes = (Outcome(code=Code.INTERRUPTED),) * len(call.recipients)
            return SendResult(outcome=SendOutcome.UNKNOWN, outcomes=outcomes, cause="bug", seconds=0.0)

    async def _settle_call(self, call: Call, result: SendResult) -> None:
        step = decide(
            self._notification,
            call,
            result,
            second_attempt=self._desk.policy.second_attempt,
            tries=sum(1 for known in self._calls.values() if known.state is CallState.DONE and not known.outcomes),
            now_ms=self._desk.clock.now_ms(),
        )
        if step.follow_ups:
            async with self._follow_up_lock:
                await self._record(call, step)
        else:
            await self._record(call, step)
        self._report.call_finished(self._notification, call, result)

    async def _close_unsent(self, call: Call, code: Code) -> None:
        await self._record(call, Step((Outcome(code=code),) * len(call.recipients)))

    async def _record(self, call: Call, step: Step) -> None:
        """Write a call's outcome, as often as it takes; the caller is answered from memory if that takes long."""
        self._keep(replace(self._calls[call.ordinal], state=CallState.DONE, outcomes=step.outcomes))
        completion = None
        if self._open == 1 and not step.follow_ups:
            completion = self._completion()
        result, repeated = await self._write(call, step, completion)
        self._open -= 1
        if result is RecordResult.STALE and not repeated:
            self._lost = True
            return
        # A repeated write that finds the call done may have met its own first attempt or a late answer's record: only
        # the plain case has certainly written the end too.
        self._completed = completion is not None and result is RecordResult.RECORDED
        for planned in step.follow_ups:
            self._add(planned)
        if step.hold_until is not None:
            self._hold(step.hold_until)

    async def _write(self, call: Call, step: Step, completion: Completion | None) -> tuple[RecordResult, bool]:
        """Write a record until it is taken; tells what became of it, and whether it had to be repeated."""
        failed = False

        def on_failure() -> None:
            nonlocal failed
            failed = True
            if completion is not None:
                self.answer()

        result = await until_written(
            lambda: self._desk.journal.record(
                self._ref(call), step.outcomes, follow_ups=step.follow_ups, completion=completion
            ),
            "record",
            self._desk.events,
            on_failure,
        )
        return result, failed

    async def _finish(self) -> None:
        if self._lost:
            await self._reread()
            return
        if self._pending and self._hold_until is not None:
            await self._requeue(self._hold_until)
            return
        if not self._completed:
            await self._complete()
        self._report.completed(self._stored, self._desk.clock.monotonic() - self._started, self._request_id)

    async def _complete(self) -> None:
        completion = self._completion()
        journal, events = self._desk.journal, self._desk.events
        await until_written(
            lambda: journal.complete(self._notification.id, completion), "complete", events, self.answer
        )
        self._completed = True

    async def _requeue(self, until_ms: int) -> None:
        journal, events = self._desk.journal, self._desk.events
        await until_written(lambda: journal.requeue(self._notification.id, self._fence, until_ms), "requeue", events)

    async def _reread(self) -> None:
        """Another process owns the notification now, or it was cancelled: the journal knows better than we do."""
        try:
            stored = await self._desk.journal.find(self._notification.id)
        except JournalUnavailable as failure:
            self._desk.events.emit(JournalFailed(during="find", reason=failure.reason))
        else:
            if stored is not None:
                self._stored = stored
                self._calls = {call.ordinal: call for call in stored.calls}

    async def _give_up(self) -> None:
        """Close what a bug left open, by what the journal holds: dialled calls as unknown, the others as not sent."""
        if self._active:
            await asyncio.wait(self._active)
        journal, events = self._desk.journal, self._desk.events
        stored = await until_written(lambda: journal.find(self._notification.id), "find", events)
        waiting = self._notification.mode is Mode.SYNCHRONOUS
        for call in () if stored is None else stored.calls:
            self._keep(call)
            if call.state is CallState.DIALLING:
                await self._close_unsent(call, Code.INTERRUPTED)
            elif call.state is CallState.CLAIMED and waiting:
                await self._close_unsent(call, Code.INTERRUPTED_BEFORE_DIAL)
        if any(call.state is CallState.CLAIMED for call in self._calls.values()):
            await self._requeue(self._desk.clock.now_ms() + LONGEST_BACKOFF_MS)
        else:
            await self._complete()

    def _stop_short(self) -> None:
        """The process ends before this does: know in memory what the next process will find in the journal."""
        for call in list(self._calls.values()):
            if call.state is not CallState.DONE:
                code = Code.INTERRUPTED if call.state is CallState.DIALLING else Code.INTERRUPTED_BEFORE_DIAL
                self._keep(replace(call, state=CallState.DONE, outcomes=(Outcome(code=code),) * len(call.recipients)))

    async def _await_late_answer(self, call: Call, task: "asyncio.Task[SendResult]") -> None:
        """Keep what a call brings after its caller was told ``unknown``: evidence, never another send."""
        result = await task
        answers = dict(zip(call.recipients, result.outcomes, strict=True))
        known = self._calls[call.ordinal]
        if settle_unknown(known, answers, ResolvedBy.LATE_ANSWER) is None:
            return
        written, _ = await self._write(call, Step(result.outcomes), None)
        if written is RecordResult.SETTLED:
            settled = sum(1 for outcome in result.outcomes if outcome.status is not Status.UNKNOWN)
            self._desk.events.emit(
                UnknownSettled(
                    notification_id=self._notification.id,
                    client=self._notification.client,
                    resolved_by=ResolvedBy.LATE_ANSWER,
                    recipients=settled,
                )
            )

    # --- what is known now --------------------------------------------------------------------------------------

    def _keep(self, call: Call) -> None:
        self._calls[call.ordinal] = call

    def _add(self, planned: PlannedCall) -> None:
        call = Call(
            ordinal=max(self._calls) + 1,
            route=planned.route,
            recipients=planned.recipients,
            state=CallState.CLAIMED,
            level=planned.level,
        )
        self._keep(call)
        self._pending.append(call)
        self._open += 1

    def _hold(self, until_ms: int) -> None:
        self._hold_until = max(until_ms, self._hold_until or 0)

    def _ref(self, call: Call) -> CallRef:
        return CallRef(self._notification.id, call.ordinal, self._fence)

    def _snapshot(self, completed_at: int | None) -> Stored:
        calls = tuple(self._calls[ordinal] for ordinal in sorted(self._calls))
        return replace(self._stored, calls=calls, completed_at=completed_at, owned=completed_at is None)

    def _completion(self) -> Completion:
        now = self._desk.clock.now_ms()
        self._stored = self._snapshot(now)
        return completion_of(self._stored, now)

    def answer(self) -> None:
        """Tell a waiting caller what is known now, once; also where the journal does not take it in time."""
        if not self.answered.done():
            self.answered.set_result(self._stored if self._lost else self._snapshot(self._stored.completed_at))

    def _report_bug(self, task: str, bug: Exception) -> None:
        self._desk.events.emit(
            TaskFailed(task=task, exception=type(bug).__name__, notification_id=self._notification.id)
        )
