"""The core as the fronts see it: the stages in order, the tasks that send, and the drain at the end.

``prepare`` → ``accept`` → ``delivery``. Whatever is claimed is delivered by a task that this object owns; callers only
wait for it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from msgspec import Struct

from relay.domain.clients import Client
from relay.domain.codes import ProblemCode
from relay.domain.errors import FieldError, LimitReached, Refusal, Unavailable
from relay.domain.notification import Mode, Stored, may_have_left
from relay.sending.accept import Acceptance, Accepted, AcceptPolicy
from relay.sending.arrivals import Arrival, Arrivals
from relay.sending.breaker import BreakerState
from relay.sending.delivery import Delivery
from relay.sending.dial import DialPolicy, Line, take_turn_now
from relay.sending.events import Drained, Events
from relay.sending.gate import (
    RETRY_SOON_SECONDS,
    find_obstacle,
    journal_unavailable,
    refuse_overload,
    refuse_stopping,
)
from relay.sending.persistence import until_written
from relay.sending.ports import Claim, Clock, Ids, Journal, JournalUnavailable, ListFilter, Taken
from relay.sending.prepare import Prepared, Rules, find_field_errors, prepare, preview_of
from relay.sending.queue import Queue
from relay.sending.quotas import RequestLimiter
from relay.sending.recover import end_unsent
from relay.sending.report import Report
from relay.sending.requests import Answer, Balance, Caller, Health, Preview, Submission
from relay.sending.tasks import Tasks, Turns
from relay.sending.upkeep import Upkeep

_PATIENCE_SECONDS = 2.0
"""How long after its deadline a caller waits for a journal that does not take the outcomes."""


class SendingPolicy(Struct, frozen=True, kw_only=True):
    """How much is taken on at once, and how long things may take."""

    notification_deadline_seconds: float
    max_waiting: int
    """Synchronous notifications admitted at once."""
    queue_places: int
    """Notifications of the queue in delivery at once."""
    queue_reserved: int
    """Of these, how many only codes and alerts may fill."""
    drain_seconds: float


class Dispatcher:
    """Implements ``Sending`` for the fronts and ``Desk`` for the deliveries.

    Args:
        line: smsclone. ``sandbox_line``: the stand-in for sandbox clients.
        rules, clients: read at every use, so that a reload takes effect at once.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        clock: Clock,
        ids: Ids,
        events: Events,
        line: Line,
        sandbox_line: Line,
        rules: Callable[[], Rules],
        clients: Callable[[], Mapping[str, Client]],
        upkeep: Upkeep,
        accept_policy: AcceptPolicy,
        dial_policy: DialPolicy,
        policy: SendingPolicy,
    ) -> None:
        self.journal = journal
        self.clock = clock
        self.events = events
        self.policy = dial_policy
        self._line = line
        self._sandbox_line = sandbox_line
        self._rules = rules
        self._clients = clients
        self._upkeep = upkeep
        self._sending_policy = policy
        self._acceptance = Acceptance(journal, clock, ids, accept_policy, events, self._disown, self._insist)
        self._limiter = RequestLimiter()
        self._report = Report(events)
        self._queue = Queue(
            journal,
            clock,
            events,
            places=policy.queue_places,
            reserved=policy.queue_reserved,
            clients=self._sendable_clients,
            deliver=self._deliver_taken,
        )
        self._tasks = Tasks(events)
        self._admitted = 0
        self._arrivals = Arrivals()
        self._started = False
        self._draining = False

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Settle what dead processes left (as far as is known now), then begin the duties and the queue.

        Raises:
            JournalUnavailable: the journal, which was just opened, is gone again.
        """
        await self._upkeep.recover()
        await self._upkeep.look_at_pause()
        for name, work, seconds in self._upkeep.duties():
            self._tasks.loop(self._upkeep.repeat(name, work, seconds), name)
        self._tasks.loop(self._queue.run(), "queue")
        self._started = True

    async def drain(self) -> Drained:
        """Take nothing more, let what is out finish and be recorded, then stop the duties. Emits what came of it."""
        self._draining = True
        self._queue.stop()
        finished, abandoned = await self._tasks.drain(self._sending_policy.drain_seconds)
        drained = Drained(drained=finished, abandoned=abandoned)
        self.events.emit(drained)
        return drained

    async def look_at_pause(self) -> None:
        """See at once whether the operator stopped all sending, and begin again where he did not."""
        await self._upkeep.look_at_pause()
        self._queue.wake()

    def hash_message(self, message: str) -> bytes:
        """The keyed hash that the journal keeps of a text."""
        return self._acceptance.hash_message(message)

    def is_stopping(self) -> bool:
        """Whether nothing more is dialled for the queue: the process drains, or the operator paused all sending."""
        return self._draining or self._upkeep.paused

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """See ``Desk.spawn``."""
        return self._tasks.spawn(work, name)

    # --- what callers ask -----------------------------------------------------------------------------------------

    def is_overloaded(self) -> bool:
        """See ``Sending.is_overloaded``."""
        return self._admitted + self._arrivals.count() >= self._sending_policy.max_waiting

    def arrive(self, caller: Caller) -> Arrival:
        """See ``Sending.arrive``."""
        if self.is_overloaded():
            refusal = refuse_overload()
            self._report.refused("accept", refusal, caller)
            raise refusal
        return self._arrivals.begin()

    async def send(self, submission: Submission, caller: Caller, wait_seconds: float | None = None) -> Answer:
        """See ``Sending.send``."""
        seconds = self._sending_policy.notification_deadline_seconds
        deadline = self.clock.monotonic() + min(seconds, wait_seconds if wait_seconds is not None else seconds)
        line = self._line_of(caller.client)
        prepared = self._prepare(submission, caller, asynchronous=False)
        refusal = next(iter(prepared.refusals), None) or self._gate(line)
        if refusal is not None:
            return await self._answer_or_refuse(prepared, caller, refusal)
        result: asyncio.Future[Answer | Refusal] = asyncio.get_running_loop().create_future()
        self._admitted += 1
        self.spawn(self._send(prepared, caller, line, deadline, result), "send")
        outcome = await asyncio.shield(result)
        if isinstance(outcome, Refusal):
            self._report.refused("accept", outcome, caller)
            raise outcome
        return outcome

    async def _send(
        self,
        prepared: Prepared,
        caller: Caller,
        line: Line,
        deadline: float,
        result: "asyncio.Future[Answer | Refusal]",
    ) -> None:
        """Claim and deliver; the caller may be gone by now.

        Where the one call can be dialled at once, its slot is taken first and the claim gives the right to dial: one
        commit less. A process that dies between the two leaves ``unknown`` for what was not sent, as it does between
        that right and the dial anyway.
        """
        delivery: Delivery | None = None
        holds_slot = False
        try:
            holds_slot = len(prepared.calls) == 1 and self._take_turn_now(prepared, line, deadline)
            [outcome] = await self._acceptance.claim([prepared], caller, Mode.SYNCHRONOUS, dials=holds_slot)
            self._report.key_checked(prepared, outcome)
            if holds_slot and not (isinstance(outcome, Accepted) and outcome.may_dial):
                line.slots.release()
            holds_slot = False
            if not isinstance(outcome, Accepted):
                result.set_result(outcome)
                return
            self._report.claimed(prepared, outcome.stored)
            delivery = Delivery(outcome, line, self, deadline=deadline, request_id=caller.request_id)
            delivery.answered.add_done_callback(
                lambda done: None if result.done() else result.set_result(Answer(stored=done.result()))
            )
            patience = deadline + _PATIENCE_SECONDS - self.clock.monotonic()
            timer = asyncio.get_running_loop().call_later(patience, delivery.answer)
            await delivery.run()
            timer.cancel()
        except BaseException as bug:
            # After the claim the caller always gets what is known, also when a stop or a bug cuts the delivery short.
            if delivery is not None and delivery.answered.done():
                if not result.done():
                    result.set_result(Answer(stored=delivery.answered.result()))
            elif not result.done():
                result.set_exception(bug)
            raise
        finally:
            self._admitted -= 1
            if holds_slot:
                line.slots.release()

    def _take_turn_now(self, prepared: Prepared, line: Line, deadline: float) -> bool:
        submission = prepared.submission
        return take_turn_now(
            submission.message_type, submission.expires_at, line, self.clock, self.policy, deadline=deadline
        )

    async def enqueue(self, submissions: Sequence[Submission], caller: Caller) -> list[Answer | Refusal]:
        """See ``Sending.enqueue``."""
        results: list[Answer | Refusal | None] = []
        prepared: list[Prepared] = []
        self._limit(caller)
        turns = Turns()
        for submission in submissions:
            item = await self._prepare_queued(submission, caller)
            await turns.after(len(submission.recipients))
            results.append(None if isinstance(item, Prepared) else item)
            if isinstance(item, Prepared):
                prepared.append(item)
        accepted = iter(await self._claim_queued(prepared, caller))
        self._queue.wake()
        return [next(accepted) if result is None else result for result in results]

    async def _prepare_queued(self, submission: Submission, caller: Caller) -> Prepared | Answer | Refusal:
        try:
            prepared = self._prepare(submission, caller, asynchronous=True, limited=True)
            refusal = next(iter(prepared.refusals), None) or (
                refuse_stopping() if self._draining or not self._started else None
            )
            return prepared if refusal is None else await self._answer_or_refuse(prepared, caller, refusal)
        except Refusal as refusal:
            return refusal

    async def _claim_queued(self, prepared: Sequence[Prepared], caller: Caller) -> list[Answer | Refusal]:
        if not prepared:
            return []
        work = asyncio.ensure_future(self._acceptance.claim(prepared, caller, Mode.ASYNCHRONOUS))
        answers: list[Answer | Refusal] = []
        for item, outcome in zip(prepared, await asyncio.shield(work), strict=True):
            self._report.key_checked(item, outcome)
            if isinstance(outcome, Accepted):
                self._report.claimed(item, outcome.stored)
                answers.append(Answer(stored=outcome.stored))
            else:
                if isinstance(outcome, Refusal):
                    self._report.refused("accept", outcome, caller)
                answers.append(outcome)
        return answers

    def preview(self, submission: Submission, caller: Caller, *, asynchronous: bool) -> Preview:
        """See ``Sending.preview``."""
        return preview_of(self._prepare(submission, caller, asynchronous=asynchronous))

    def find_field_errors(
        self, submission: Submission, caller: Caller, *, asynchronous: bool, skip: frozenset[str]
    ) -> tuple[FieldError, ...]:
        """See ``Sending.find_field_errors``."""
        return find_field_errors(submission, caller.client, self._rules(), asynchronous=asynchronous, skip=skip)

    async def find(self, notification_id: str, client: Client) -> Stored | None:
        """See ``Sending.find``."""
        try:
            return await self.journal.find(notification_id, client.name)
        except JournalUnavailable as failure:
            raise journal_unavailable(failure) from None

    async def select(self, selection: ListFilter) -> list[Stored]:
        """See ``Sending.select``."""
        try:
            return await self.journal.select(selection)
        except JournalUnavailable as failure:
            raise journal_unavailable(failure) from None

    async def cancel(self, notification_id: str, client: Client) -> Stored | None:
        """See ``Sending.cancel``."""
        try:
            stored = await self.journal.cancel(notification_id, client.name, self.clock.now_ms())
        except JournalUnavailable as failure:
            raise journal_unavailable(failure) from None
        if stored is not None and (stored.completed_at is None or any(may_have_left(call) for call in stored.calls)):
            detail = "A call for this notification was made, or is about to be; look its outcome up instead."
            raise Refusal(ProblemCode.ALREADY_DIALLED, detail)
        return stored

    async def balance(self, client: Client) -> Balance:
        """See ``Sending.balance``."""
        if client.sandbox:
            result = await self._sandbox_line.upstream.balance(1.0)
            return Balance(result.units or "0", self.clock.now_ms())
        cause = await self._upkeep.read_balance()
        if cause is not None or self._upkeep.balance is None:
            detail = f"The balance could not be read from smsclone now ({cause}). Nothing was sent by this."
            raise Unavailable(ProblemCode.UPSTREAM_UNREACHABLE, detail, retry_after_seconds=RETRY_SOON_SECONDS)
        return self._upkeep.balance

    def health(self) -> Health:
        """See ``Sending.health``."""
        breaker, now = self._line.breaker, self.clock.monotonic()
        no_balance = breaker.state is BreakerState.CLOSED and breaker.seconds_without_balance(now) > 0
        return Health(
            ready=self._started and not self._draining,
            started=self._started,
            draining=self._draining,
            paused=self._upkeep.paused,
            journal=self._upkeep.journal_state,
            upstream="no_balance" if no_balance else breaker.state.value,
            in_flight=self._line.slots.in_use,
            waiting=self._line.slots.waiting,
        )

    # --- the gate -------------------------------------------------------------------------------------------------

    def _limit(self, caller: Caller) -> None:
        try:
            self._limiter.check(caller.client, self.clock.monotonic())
        except LimitReached as refusal:
            self._report.refused("accept", refusal, caller)
            raise

    def _prepare(
        self, submission: Submission, caller: Caller, *, asynchronous: bool, limited: bool = False
    ) -> Prepared:
        if not limited:
            self._limit(caller)
        line = self._line_of(caller.client)
        try:
            prepared = prepare(
                submission,
                caller.client,
                self._rules(),
                line.upstream,
                asynchronous=asynchronous,
                now_ms=self.clock.now_ms(),
            )
        except Refusal as refusal:
            self._report.refused("prepare", refusal, caller)
            raise
        self._report.words_hit(prepared)
        return prepared

    async def _answer_or_refuse(self, prepared: Prepared, caller: Caller, refusal: Refusal) -> Answer:
        """Who claimed the key before gets the stored answer, whatever would be said to a new request."""
        earlier = await self._acceptance.find_answer(prepared, caller)
        if isinstance(earlier, Answer):
            self._report.key_checked(prepared, earlier)
            return earlier
        refusal = earlier or refusal
        self._report.refused("accept" if isinstance(refusal, Unavailable) else "prepare", refusal, caller)
        raise refusal

    def _refuse_stopping(self) -> Refusal | None:
        return refuse_stopping() if self._draining or not self._started else None

    def _gate(self, line: Line) -> Refusal | None:
        if (refusal := self._refuse_stopping()) is not None:
            return refusal
        overloaded = self._admitted >= self._sending_policy.max_waiting
        now = self.clock.monotonic()
        return find_obstacle(line.breaker, now, paused=self._upkeep.paused, overloaded=overloaded)

    # --- deliveries -----------------------------------------------------------------------------------------------

    def _line_of(self, client: Client) -> Line:
        return self._sandbox_line if client.sandbox else self._line

    def _sendable_clients(self) -> Sequence[str]:
        """Whose queued notifications may be sent now; sandbox clients' always, except while the operator paused."""
        if self._upkeep.paused:
            return ()
        clients = self._clients()
        names = dict.fromkeys((*clients, *self._upkeep.queue_clients))
        now, breaker = self.clock.monotonic(), self._line.breaker
        if breaker.seconds_until_allowed(now) > 0 or breaker.seconds_without_balance(now) > 0:
            return [name for name in names if name in clients and clients[name].sandbox]
        return list(names)

    def _deliver_taken(self, item: Taken) -> None:
        line = self._sandbox_line if item.stored.notification.sandbox else self._line
        self.spawn(self._deliver(Delivery(Accepted(item.stored, item.fence), line, self, deadline=None)), "delivery")

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await delivery.run()
        finally:
            self._queue.finished()

    def _disown(self, claim: Claim) -> None:
        self.spawn(self._end_disowned(claim), "disown")

    def _insist(self, claims: Sequence[Claim]) -> None:
        self.spawn(self._claim_until_written(claims), "insist")

    async def _claim_until_written(self, claims: Sequence[Claim]) -> None:
        await until_written(lambda: self.journal.claim(claims), "claim", self.events)
        self._queue.wake()

    async def _end_disowned(self, claim: Claim) -> None:
        ids = [claim.notification.id]

        async def end() -> None:
            taken = await self.journal.take_back(ids, ids if claim.dials else ())
            await end_unsent(taken, self.journal, self.clock, self.events)

        await until_written(end, "disown", self.events)
