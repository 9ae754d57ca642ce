"""The life of a notification, in order: prepare, accept, dial, record, follow up, end. Each stage is a file.

Whatever is claimed is delivered by a task of this process, which nobody cancels; callers only wait for its answer, and
when a caller goes away nothing changes here.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from msgspec.structs import replace

from relay.domain.errors import FieldError, Refusal
from relay.domain.notification import Call, CallState, Mode
from relay.domain.numbers import RecipientReader
from relay.domain.suppression import Addressed
from relay.domain.usage import Prices
from relay.sending.accept import Acceptance
from relay.sending.accounts import Choice, choose, find_onward
from relay.sending.admission import Admission, find_outage, find_stop
from relay.sending.channels import Channel, Channels, Permit
from relay.sending.delivery import Delivery, Runtime
from relay.sending.dial import authorise, dial, take_permit_early
from relay.sending.end import close_after_bug, end, stop_short
from relay.sending.follow_up import decide
from relay.sending.ports import DialLease, Ids, Lease
from relay.sending.prepare import MOST_RECIPIENTS, Prepared, Rules, find_field_errors, prepare, preview_of
from relay.sending.record import record
from relay.sending.report import Report
from relay.sending.requests import Answer, Caller, Preview, Submission
from relay.sending.shares import Asker
from relay.sending.turns import HeavyWork, Slices

_PATIENCE_SECONDS = 2.0
"""How long after its deadline a caller waits for a journal that does not take the outcomes."""

_CLAIMED_AT_ONCE = 25
"""Notifications of a batch in one transaction of the journal, which sends wait for: some milliseconds."""

_READ_AT_ONCE = 200
"""Recipients that are looked at before anybody else may have a turn."""


class Lifecycle:
    """Takes requests in and sees each notification to its end.

    Args:
        rules: read at every use, so that a reload takes effect at once.
        wake_queue: called when something was accepted for later.
    """

    def __init__(
        self, runtime: Runtime, channels: Channels, ids: Ids, rules: Callable[[], Rules], wake_queue: Callable[[], None]
    ) -> None:
        self._runtime = runtime
        self._channels = channels
        self._rules = rules
        self._wake_queue = wake_queue
        self._report = Report(runtime.events)
        self._acceptance = Acceptance(runtime, ids)
        self.admission = Admission(runtime.policy.max_waiting)
        self.turns = runtime.turns
        self.turns.give_way_to(lambda: self.admission.under_way)
        self.heavy_work = HeavyWork()

    # --- a caller who waits -----------------------------------------------------------------------------------------

    def arrive(self, caller: Caller) -> AbstractContextManager[object]:
        """Let in somebody who would wait, or refuse before anything of the request is read."""
        try:
            return self.admission.begin_reading(caller.client)
        except Refusal as refusal:
            self._report.refused(refusal)
            raise

    async def send(self, submission: Submission, caller: Caller, wait_seconds: float | None = None) -> Answer:
        """Send, and wait for the outcome. The send goes on when the caller goes away."""
        clock, seconds = self._runtime.clock, self._runtime.policy.notification_deadline_seconds
        deadline = clock.monotonic() + min(seconds, wait_seconds if wait_seconds is not None else seconds)
        channels = self._channels.of(caller.client)
        try:
            prepared = self._prepare(submission, caller, asynchronous=False)
            asker = Asker(caller.client.name, prepared.submission.message_type)
            refusal = self._acceptance.find_refusal(prepared) or self._find_obstacle(channels, prepared.sender, asker)
            if refusal is not None:
                return await self._answer_again(prepared, caller, refusal)
            answer: asyncio.Future[Answer | Refusal] = asyncio.get_running_loop().create_future()
            work = self._send(prepared, caller, channels, asker, deadline, answer)
            self._runtime.tasks.spawn(work, "send")
            outcome = await asyncio.shield(answer)
            if isinstance(outcome, Refusal):
                raise outcome
        except Refusal as refusal:
            self._report.refused(refusal)
            raise
        return outcome

    async def _send(
        self,
        prepared: Prepared,
        caller: Caller,
        channels: Sequence[Channel],
        asker: Asker,
        deadline: float,
        answer: "asyncio.Future[Answer | Refusal]",
    ) -> None:
        """Claim and deliver; the caller may be gone by now.

        Where the one call can be dialled at once, its permit is taken first and the claim gives the right to dial: one
        commit less. A process that dies between the two leaves ``unknown`` for what was not sent, as it does between
        that right and the dial anyway.
        """
        delivery: Delivery | None = None
        permit: Permit | None = None
        try:
            if len(prepared.calls) == 1:
                permit = take_permit_early(asker, prepared, channels, self._runtime, deadline=deadline)
            if permit is not None:  # the one call goes over the account that the permit is of
                call = replace(prepared.calls[0], account=permit.channel.account, account_reason=permit.reason)
                prepared = replace(prepared, calls=(call,))
            [outcome] = await self._acceptance.claim([prepared], caller, Mode.SYNCHRONOUS, dials=permit is not None)
            if permit is not None and not isinstance(outcome, DialLease):
                permit.give_back()
                permit = None
            self._report.key_checked(prepared, outcome)
            if not isinstance(outcome, Lease):
                answer.set_result(outcome)
                return
            delivery = Delivery(
                outcome,
                channels,
                self._runtime,
                permit=permit,
                deadline=deadline,
                request_id=caller.request_id,
                answer=answer,
            )
            permit = None
            self._report.claimed(prepared, outcome.stored)
            patience = deadline + _PATIENCE_SECONDS - self._runtime.clock.monotonic()
            timer = asyncio.get_running_loop().call_later(patience, delivery.answer)
            await self.deliver(delivery)
            timer.cancel()
        except BaseException as bug:
            if delivery is not None:  # after the claim the caller always gets what is known
                delivery.answer()
            elif not answer.done():
                answer.set_exception(bug)
            raise
        finally:
            self.admission.leave(asker)
            if permit is not None:
                permit.give_back()

    # --- a caller who does not wait ---------------------------------------------------------------------------------

    async def enqueue(self, submissions: Sequence[Submission], caller: Caller) -> list[Answer | Refusal]:
        """Accept for later, each by itself, some in each transaction; results in order."""
        results: list[Answer | Refusal] = []
        self._take_request(caller)
        slices = self.turns.begin()
        for begin in range(0, len(submissions), _CLAIMED_AT_ONCE):
            results += await self._enqueue_some(submissions[begin : begin + _CLAIMED_AT_ONCE], caller, slices)
        self._wake_queue()
        return results

    async def _enqueue_some(
        self, submissions: Sequence[Submission], caller: Caller, slices: Slices
    ) -> list[Answer | Refusal]:
        results: list[Answer | Refusal | None] = []
        prepared: list[Prepared] = []
        for submission in submissions:
            item = await self._prepare_for_later(submission, caller, slices)
            await slices.pause()
            results.append(None if isinstance(item, Prepared) else item)
            if isinstance(item, Prepared):
                prepared.append(item)
        accepted = iter(await self._claim_for_later(prepared, caller))
        return [next(accepted) if result is None else result for result in results]

    async def _prepare_for_later(
        self, submission: Submission, caller: Caller, slices: Slices
    ) -> Prepared | Answer | Refusal:
        try:
            submission = await self._read_recipients(submission, slices)
            prepared = self._prepare(submission, caller, asynchronous=True, limited=True)
            refusal = self._acceptance.find_refusal(prepared) or find_stop(self._runtime.switches)
            return prepared if refusal is None else await self._answer_again(prepared, caller, refusal)
        except Refusal as refusal:
            self._report.refused(refusal)
            return refusal

    async def _read_recipients(self, submission: Submission, slices: Slices) -> Submission:
        """Look at very many recipients in slices; there may be too many all the same."""
        recipients = submission.recipients
        if not _READ_AT_ONCE < len(recipients) <= MOST_RECIPIENTS:
            return submission
        reader = RecipientReader(allow_foreign=self._rules().allow_foreign)
        for begin in range(0, len(recipients), _READ_AT_ONCE):
            reader.read(recipients[begin : begin + _READ_AT_ONCE])
            await slices.pause()
        return replace(submission, entries=tuple(reader.entries))

    async def _claim_for_later(self, prepared: Sequence[Prepared], caller: Caller) -> list[Answer | Refusal]:
        if not prepared:
            return []
        work = self._runtime.tasks.spawn(self._acceptance.claim(prepared, caller, Mode.ASYNCHRONOUS), "claim")
        answers: list[Answer | Refusal] = []
        for item, outcome in zip(prepared, await asyncio.shield(work), strict=True):
            self._report.key_checked(item, outcome)
            if isinstance(outcome, Refusal):
                self._report.refused(outcome)
                answers.append(outcome)
                continue
            answer = outcome if isinstance(outcome, Answer) else Answer(stored=outcome.stored)
            if not (answer.replayed or answer.duplicate):
                self._report.claimed(item, answer.stored)
            answers.append(answer)
        return answers

    async def deliver_taken(self, lease: Lease) -> None:
        """Deliver what the queue took."""
        await self.deliver(Delivery(lease, self._channels.of_stored(lease.stored), self._runtime))

    # --- what only looks --------------------------------------------------------------------------------------------

    async def preview(self, submission: Submission, caller: Caller, *, asynchronous: bool) -> Preview:
        """Everything but the send."""
        submission = await self._read_recipients(submission, self.turns.begin())
        try:
            prepared = self._prepare(submission, caller, asynchronous=asynchronous)
            addressed = Addressed(caller.client.name, prepared.submission.message_type, prepared.numbers())
            suppressed = await self._runtime.journal.find_suppressed(addressed, self._runtime.clock.now_ms())
            now, switches = self._runtime.clock.monotonic(), self._runtime.switches
            asker = Asker(caller.client.name, prepared.submission.message_type)
            channels = self._channels.of(caller.client)
            choice = choose(channels, prepared.sender, asker, switches, now, tried={})
            account, reason = (choice.channel.account, choice.reason) if isinstance(choice, Choice) else (None, choice)
            prices = self._runtime.policy.prices.get(account or channels[0].account, Prices())
            return preview_of(prepared, suppressed, account, reason, prices)
        except Refusal as refusal:
            self._report.refused(refusal)
            raise

    def find_field_errors(
        self, submission: Submission, caller: Caller, *, asynchronous: bool, skip: frozenset[str]
    ) -> tuple[FieldError, ...]:
        """What is wrong with the fields that are not in ``skip``."""
        now, rules = self._runtime.clock.now_ms(), self._rules()
        return find_field_errors(submission, caller.client, rules, asynchronous=asynchronous, now_ms=now, skip=skip)

    def hash_message(self, message: str) -> bytes:
        """The keyed hash that the journal keeps of a text."""
        return self._acceptance.hash_message(message)

    # --- before the claim -------------------------------------------------------------------------------------------

    def _take_request(self, caller: Caller) -> None:
        try:
            self.admission.take_request(caller.client, self._runtime.clock.monotonic())
        except Refusal as refusal:
            self._report.refused(refusal)
            raise

    def _prepare(
        self, submission: Submission, caller: Caller, *, asynchronous: bool, limited: bool = False
    ) -> Prepared:
        if not limited:
            self.admission.take_request(caller.client, self._runtime.clock.monotonic())
        channels = self._channels.of(caller.client)
        sender = (submission.sender or caller.client.default_sender or "").strip()
        registered = [channel for channel in channels if channel.has_registered(sender)]
        prepared = prepare(
            submission,
            caller.client,
            self._rules(),
            (*registered, *channels, self._channels.sandbox)[0].upstream,
            asynchronous=asynchronous,
            now_ms=self._runtime.clock.now_ms(),
            registered=bool(registered),
        )
        self._report.words_hit(prepared)
        return prepared

    def _find_obstacle(self, channels: Sequence[Channel], sender: str, asker: Asker) -> Refusal | None:
        """Say why a caller who waits is not served now; else count the caller as under way."""
        registered = [channel for channel in channels if channel.has_registered(sender)]
        outage = find_outage(self._runtime.switches, registered, asker, self._runtime.clock.monotonic())
        if outage is not None:
            return outage
        try:
            self.admission.enter(asker)
        except Refusal as refusal:
            return refusal
        return None

    async def _answer_again(self, prepared: Prepared, caller: Caller, refusal: Refusal) -> Answer:
        """Whoever claimed the key before gets the stored answer, whatever a new request would be told."""
        earlier = await self._acceptance.find_answer(prepared, caller)
        if not isinstance(earlier, Answer):
            raise earlier or refusal
        self._report.key_checked(prepared, earlier)
        return earlier

    # --- after the claim --------------------------------------------------------------------------------------------

    async def deliver(self, delivery: Delivery) -> None:
        """Make every call and end the notification. Raises nothing; a bug of ours ends in outcomes, not in silence."""
        active: set[asyncio.Task[None]] = set()
        try:
            await self._make_calls(delivery, active)
            await end(delivery)
        except Exception as bug:  # noqa: BLE001 — after the claim even a bug ends in a record (SPEC section 2)
            delivery.report_bug("delivery", bug)
            if active:
                await asyncio.wait(active)
            await close_after_bug(delivery)
        except asyncio.CancelledError:
            stop_short(delivery)
            raise
        finally:
            delivery.answer()

    async def _make_calls(self, delivery: Delivery, active: "set[asyncio.Task[None]]") -> None:
        most = self._runtime.policy.calls_at_a_time
        while active or (delivery.pending and not delivery.must_stop()):
            while delivery.pending and not delivery.must_stop() and len(active) < most:
                call = delivery.pending.popleft()
                if not delivery.pending and not active:
                    await self._make_call(delivery, call)
                else:
                    active.add(asyncio.ensure_future(self._make_call(delivery, call)))
            if active:
                done, _ = await asyncio.wait(active, return_when=asyncio.FIRST_COMPLETED)
                active -= done
                for task in done:
                    task.result()

    async def _make_call(self, delivery: Delivery, call: Call) -> None:
        if len(delivery.calls) > 1 and delivery.notification.mode is Mode.ASYNCHRONOUS:
            await self.turns.wait()
        permit = await authorise(delivery, call)
        if permit is None:
            return
        call = delivery.calls[call.ordinal]  # as it is now: with its account
        result = await dial(delivery, call, permit)
        step = decide(
            delivery.notification,
            call,
            result,
            second_attempt=self._runtime.policy.second_attempt,
            tries=sum(1 for known in delivery.calls.values() if known.state is CallState.DONE and not known.outcomes),
            now_ms=self._runtime.clock.now_ms(),
            onward=find_onward(delivery, call, result),
        )
        await record(delivery, call, step)
        self._report.call_finished(delivery.notification, call, result)
