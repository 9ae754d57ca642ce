"""One notification on its way out: what this process knows of it while it holds the lease.

State and nothing else. ``lifecycle`` says in which order the stages work on it; each stage is a file (``dial``,
``record``, ``end``).
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import Code, MessageType
from relay.domain.errors import Refusal
from relay.domain.notification import (
    Call,
    CallState,
    Ended,
    Mode,
    PlannedCall,
    RecipientResult,
    Stored,
    conclude,
    iterate_recipients,
)
from relay.domain.pausing import SendingPause
from relay.sending.channels import Channel, Permit
from relay.sending.events import Events, TaskFailed
from relay.sending.policy import Policy
from relay.sending.ports import CallRef, Clock, DialLease, Journal, Lease
from relay.sending.requests import Answer
from relay.sending.shares import Asker
from relay.sending.tasks import Tasks
from relay.sending.turns import Turns

_VIEWED_AT_ONCE = 200
"""Recipients that are looked at before anybody else may have a turn."""


class Switches(Struct):
    """What stops the sending of a whole process; read wherever something is about to be dialled."""

    started: bool = False
    draining: bool = False
    paused: bool = False
    """By an operator, on all replicas: everything."""
    pauses: tuple[SendingPause, ...] = ()
    """What operators stopped: everything, or a client, message type or account."""

    def find_pause(self, client: str, message_type: MessageType | None, account: str | None) -> SendingPause | None:
        """The pause that stops such a message now."""
        return next((each for each in self.pauses if each.covers(client, message_type, account)), None)

    @property
    def stopping(self) -> bool:
        """Whether nothing more is dialled for the queue."""
        return self.draining or self.paused


class Runtime(Struct, frozen=True, kw_only=True):
    """What the stages share: one of each in a process."""

    journal: Journal
    clock: Clock
    events: Events
    tasks: Tasks
    switches: Switches
    turns: Turns
    policy: Policy


class Delivery:
    """A notification that this process holds.

    Args:
        lease: what was claimed or taken.
        permit: for the call of a :class:`DialLease`.
        channels: where its calls may go, in order of preference.
        runtime: what the process shares.
        deadline: monotonic seconds by which a waiting caller has an answer; ``None`` for the queue.
        request_id: of the request that brought it, for the log.
        answer: whom to answer, where somebody waits.
    """

    def __init__(
        self,
        lease: Lease,
        channels: Sequence[Channel],
        runtime: Runtime,
        *,
        permit: Permit | None = None,
        deadline: float | None = None,
        request_id: str | None = None,
        answer: "asyncio.Future[Answer | Refusal] | None" = None,
    ) -> None:
        self.notification = notification = lease.stored.notification
        self.asker = Asker(notification.client, notification.message_type, notification.mode)
        self.channels = channels
        self.runtime = runtime
        self.deadline = deadline
        self.request_id = request_id
        self.started = runtime.clock.monotonic()
        self.calls = {call.ordinal: call for call in lease.stored.calls}
        self.permit = permit
        """For the call that the claim itself allows to dial, until it is used."""
        self._done_before = {call.ordinal for call in lease.stored.calls if call.state is CallState.DONE}
        authorised = isinstance(lease, DialLease)
        first_state = CallState.DIALLING if authorised else CallState.CLAIMED
        self.pending = deque(call for call in lease.stored.calls if call.state is first_state)
        self.unfinished = len(self.pending)
        """Calls without a record."""
        self.hold_until: int | None = None
        """When the queue may go on with it; nothing more is dialled before."""
        self.waiting = Code.QUEUED
        """What it waits for until then."""
        self.lost = not authorised and any(call.state is CallState.DIALLING for call in self.calls.values())
        """Whether it is somebody else's now. At first: dialled, and not by us, while the claim was in doubt."""
        self.late: set[int] = set()
        """Calls that are still out although their record says ``unknown``: their answer gets a record of its own."""
        self.ended: Ended | None = None
        """How it ended, once every call has a record."""
        self.written_end: Ended | None = None
        """The same, where the last record has certainly written it."""
        self.follow_up_lock = asyncio.Lock()
        """Calls that follow from an answer are numbered in the order in which the journal takes them."""
        self._answer = answer
        self._stored = lease.stored
        self._fence = lease.fence

    def own_calls(self) -> list[Call]:
        """The calls that were not done before this process took the notification up: what an account said when it was
        taken before is old news."""
        return [call for ordinal, call in self.calls.items() if ordinal not in self._done_before]

    def must_stop(self) -> bool:
        """Whether no further call of it may begin."""
        return self.lost or self.hold_until is not None

    def keep(self, call: Call) -> None:
        """Take up how a call stands now."""
        self.calls[call.ordinal] = call

    def add(self, planned: PlannedCall) -> None:
        """Take up a call that follows from another; the journal has numbered it the same way."""
        call = Call(
            ordinal=max(self.calls) + 1,
            route=planned.route,
            recipients=planned.recipients,
            state=CallState.CLAIMED,
            level=planned.level,
            account=planned.account,
            account_reason=planned.account_reason,
        )
        self.keep(call)
        self.pending.append(call)
        self.unfinished += 1

    def put_back(self, call: Call, until_ms: int, waiting: Code) -> None:
        """Dial a call later: it is the next one again, and nothing is dialled before then."""
        self.pending.appendleft(call)
        self.waiting = waiting
        self.hold(until_ms)

    def hold(self, until_ms: int) -> None:
        """Begin no further call before then (wall-clock milliseconds)."""
        self.hold_until = max(until_ms, self.hold_until or 0)

    def replace(self, stored: Stored) -> None:
        """Take up what the journal holds, where it knows better."""
        self._stored = stored
        self.calls = {call.ordinal: call for call in stored.calls}

    def ref(self, call: Call) -> CallRef:
        """Names a call, under the fence of the lease."""
        account = self.calls[call.ordinal].account or call.account or FIRST_ACCOUNT
        patient = self.asker.mode is Mode.ASYNCHRONOUS
        return CallRef(self.notification.id, call.ordinal, self._fence, account, patient)

    @property
    def fence(self) -> int:
        """Under which the journal lets this process act."""
        return self._fence

    def snapshot(self, completed_at: int | None = None) -> Stored:
        """The notification as it is known now."""
        calls = tuple(self.calls[ordinal] for ordinal in sorted(self.calls))
        return replace(self._stored, calls=calls, completed_at=completed_at, owned=completed_at is None)

    async def conclude(self) -> Ended:
        """Work out how it ends, now that every call of it is done; in slices, where it has very many recipients."""
        stored, slices = self.snapshot(), self.runtime.turns.begin()
        results: list[RecipientResult] = []
        for result in iterate_recipients(stored):
            results.append(result)
            if len(results) % _VIEWED_AT_ONCE == 0:
                await slices.pause()
        self.ended = conclude(stored, self.runtime.clock.now_ms(), results)
        self._stored = self.snapshot(self.ended.at)
        return self.ended

    def answer(self) -> None:
        """Answer a waiting caller with what is known now, once; also where the journal does not take it in time."""
        if self._answer is None or self._answer.done():
            return
        if self.lost:
            self._answer.set_result(Answer(stored=self._stored))
        elif self.ended is not None:
            self._answer.set_result(Answer(stored=self._stored, results=self.ended.results))
        else:
            self._answer.set_result(Answer(stored=self.snapshot()))

    def report_bug(self, task: str, bug: Exception) -> None:
        """State that a bug of ours stopped something of it."""
        self.runtime.events.emit(
            TaskFailed(task=task, exception=type(bug).__name__, notification_id=self.notification.id)
        )
