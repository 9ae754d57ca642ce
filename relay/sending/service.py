"""The core as the fronts see it: what serves. What sends is the lifecycle.

Start and drain, look-ups, cancelling, the balance, health.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from relay.domain.clients import Client
from relay.domain.codes import Code, MessageType, ProblemCode
from relay.domain.errors import FieldError, Refusal, ValidationFailed
from relay.domain.notification import Notification, Overview, Stored, may_have_left, may_move
from relay.domain.usage import UsageQuery, UsageRow
from relay.sending.breaker import BreakerState
from relay.sending.channels import Channel, Channels
from relay.sending.delivery import Runtime
from relay.sending.events import Drained
from relay.sending.jobs import Jobs
from relay.sending.lifecycle import Lifecycle
from relay.sending.ports import Ids, ListFilter
from relay.sending.prepare import MOST_RECIPIENTS_SYNCHRONOUS, Rules, find_send_at_error
from relay.sending.queue import Queue
from relay.sending.requests import AccountBalance, AccountHealth, Balance, Caller, Health, HeavyPlace


class Service:
    """Implements ``Sending``.

    Args:
        rules, clients: read at every use, so that a reload takes effect at once.
    """

    def __init__(
        self,
        runtime: Runtime,
        channels: Channels,
        ids: Ids,
        *,
        rules: Callable[[], Rules],
        clients: Callable[[], Mapping[str, Client]],
    ) -> None:
        self._runtime = runtime
        self._channels = channels
        self._clients = clients
        self._jobs = Jobs(runtime, channels.accounts.values(), clients)
        self._lifecycle = lifecycle = Lifecycle(runtime, channels, ids, rules, self._wake_queue)
        self._queue = Queue(runtime, clients=self._sendable_clients, deliver=lifecycle.deliver_taken)
        self.admission = lifecycle.admission
        self.is_short_of_places = lifecycle.admission.is_short
        self.judge_arrival = lifecycle.admission.judge_arrival
        self.arrive = lifecycle.arrive
        self.begin_slices = lifecycle.turns.begin
        self.send = lifecycle.send
        self.enqueue = lifecycle.enqueue
        self.preview = lifecycle.preview
        self.find_field_errors = lifecycle.find_field_errors
        self.hash_message = lifecycle.hash_message

    def count_refusal(self, client: Client) -> float:
        """How long to hold back that there is no place."""
        return self.admission.count_refusal(client, self._runtime.clock.monotonic())

    def heavy(self, caller: Caller) -> AbstractAsyncContextManager[HeavyPlace]:
        """A client's one heavy request at a time."""
        return self._lifecycle.heavy_work.enter(caller.client.name)

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Settle what dead processes left (as far as is known now), then begin the jobs and the queue.

        Raises:
            JournalUnavailable: the journal, which was just opened, is gone again.
        """
        tasks = self._runtime.tasks
        await self._jobs.recover()
        await self._jobs.look_at_pause()
        for name, work, seconds in self._jobs.all():
            tasks.loop(self._jobs.repeat(name, work, seconds), name)
        tasks.loop(self._queue.run(), "queue")
        self._runtime.switches.started = True

    async def drain(self) -> Drained:
        """Take nothing more, let what is out finish and be recorded, then stop the jobs. Emits what came of it."""
        self._runtime.switches.draining = True
        self._queue.stop()
        finished, abandoned = await self._runtime.tasks.drain(self._runtime.policy.drain_seconds)
        drained = Drained(drained=finished, abandoned=abandoned)
        self._runtime.events.emit(drained)
        return drained

    async def look_at_pause(self) -> None:
        """See at once whether the operator stopped all sending, and begin again where he did not."""
        await self._jobs.look_at_pause()
        self._queue.wake()

    def _wake_queue(self) -> None:
        self._queue.wake()

    def _sendable_clients(self, message_type: MessageType) -> Sequence[str]:
        """Whose queued notifications of a type may be sent now; sandbox clients' always, except while the operator
        paused."""
        if self._runtime.switches.paused:
            return ()
        clients = self._clients()
        names = dict.fromkeys((*clients, *self._jobs.queue_clients))
        return [name for name in names if self._may_send(name, clients.get(name), message_type)]

    def _may_send(self, name: str, client: Client | None, message_type: MessageType) -> bool:
        """Whether messages of a type may be sent for a client by any of its accounts now."""
        switches, now = self._runtime.switches, self._runtime.clock.monotonic()
        if client is not None and client.sandbox:
            return switches.find_pause(name, message_type, self._channels.sandbox.account) is None
        for account in self._channels.order if client is None else client.accounts:
            channel = self._channels.accounts.get(account)
            if channel is None or switches.find_pause(name, message_type, account) is not None:
                continue
            if not (channel.breaker.seconds_until_allowed(now) > 0 or channel.breaker.seconds_without_balance(now) > 0):
                return True
        return False

    # --- look-ups ---------------------------------------------------------------------------------------------------

    async def find(self, notification_id: str, client: Client) -> Stored | None:
        """One notification of this client."""
        return await self._runtime.journal.find(notification_id, client.name)

    async def select(self, selection: ListFilter) -> list[Stored]:
        """Notifications of a client, newest first."""
        return await self._runtime.journal.select(selection)

    async def list_overviews(self, selection: ListFilter) -> list[Overview]:
        """The same without their entries."""
        return await self._runtime.journal.list_overviews(selection)

    async def usage(self, query: UsageQuery) -> list[UsageRow]:
        """What was sent, by the fields asked for."""
        return await self._runtime.journal.usage(query)

    async def cancel(self, notification_id: str, client: Client) -> Stored | None:
        """Cancel what is still queued.

        Raises:
            Refusal: ``already_dialled``, ``already_ended``, ``overloaded``.
        """
        journal, now = self._runtime.journal, self._runtime.clock.now_ms()
        async with self._changing(await journal.find(notification_id, client.name), client) as patient:
            stored = await journal.cancel(notification_id, client.name, now, patient=patient)
        if stored is not None and not _is_cancelled(stored):
            raise _refuse_late(stored)
        return stored

    async def move(self, notification_id: str, client: Client, send_at: int) -> Stored | None:
        """Send what is still queued at another time.

        Raises:
            Refusal: ``already_dialled``, ``already_ended``; ``validation_failed`` where it is too far ahead, or not
                before the caller's own ``expires_at``; ``rate_limited``, ``overloaded``.
        """
        journal, now = self._runtime.journal, self._runtime.clock.now_ms()
        self.admission.take_request(client, self._runtime.clock.monotonic())
        stored = await journal.find(notification_id, client.name)
        if stored is not None and may_move(stored):
            if (error := _find_move_error(stored.notification, send_at, now)) is not None:
                raise ValidationFailed([error])
            window = self._runtime.policy.key_window_of(client)
            async with self._changing(stored, client) as patient:
                stored = await journal.move(notification_id, client.name, send_at, now, window, patient=patient)
            self._queue.wake()
        if stored is not None and not may_move(stored):
            raise _refuse_late(stored)
        return stored

    @asynccontextmanager
    async def _changing(self, stored: Stored | None, client: Client) -> AsyncIterator[bool]:
        """A block in which a notification is changed as a whole; whether that is a heavy request."""
        if stored is None or len(stored.notification.entries) <= MOST_RECIPIENTS_SYNCHRONOUS:
            yield False
            return
        async with self._lifecycle.heavy_work.enter(client.name) as place:
            await place.begin()
            yield True

    async def balances(self, client: Client) -> list[AccountBalance]:
        """Units left at each of a client's accounts, in its order; a sandbox client sees the stand-in's.

        Raises:
            Refusal: the first's could not be read.
        """
        if client.sandbox:
            result = await self._channels.sandbox.upstream.balance(1.0)
            balance = Balance(result.units or "0", self._runtime.clock.now_ms())
            return [AccountBalance(self._channels.sandbox.account, balance)]
        readers = [self._jobs.balances[name] for name in client.accounts]
        first, *others = await asyncio.gather(*(reader.find() for reader in readers), return_exceptions=True)
        for result_or_error in (first, *others):
            if isinstance(result_or_error, BaseException) and not isinstance(result_or_error, Refusal):
                raise result_or_error
        if isinstance(first, BaseException):
            raise first
        balances = [first, *others]
        return [
            AccountBalance(name, balance if isinstance(balance, Balance) else None)
            for name, balance in zip(client.accounts, balances, strict=True)
        ]

    def health(self) -> Health:
        """How things stand, without waiting for anything."""
        switches = self._runtime.switches
        accounts = tuple(map(self._account_health, self._channels.accounts.values()))
        by_rank = sorted((account.state for account in accounts), key=_BEST_FIRST.index)
        return Health(
            ready=switches.started and not switches.draining,
            started=switches.started,
            draining=switches.draining,
            paused=switches.paused,
            pauses=switches.pauses,
            journal=self._jobs.journal_state,
            upstream=by_rank[0] if by_rank else BreakerState.CLOSED.value,
            in_flight=sum(account.in_flight for account in accounts),
            waiting=sum(account.waiting for account in accounts),
            accounts=accounts,
        )

    def _account_health(self, channel: Channel) -> AccountHealth:
        breaker, state = channel.breaker, channel.breaker.state.value
        if self._runtime.switches.find_pause("", None, channel.account) is not None:
            state = "paused"
        elif state == BreakerState.CLOSED and breaker.seconds_without_balance(self._runtime.clock.monotonic()) > 0:
            state = "no_balance"
        bulkhead = channel.bulkhead
        return AccountHealth(account=channel.account, state=state, in_flight=bulkhead.in_use, waiting=bulkhead.waiting)


def _is_cancelled(stored: Stored) -> bool:
    return any(outcome.code is Code.CANCELLED for call in stored.calls for outcome in call.outcomes)


def _refuse_late(stored: Stored) -> Refusal:
    """Why a notification is not cancelled or moved."""
    if stored.completed_at is not None and not any(may_have_left(call) for call in stored.calls):
        detail = "This notification has ended without a call; look its outcome up."
        return Refusal(ProblemCode.ALREADY_ENDED, detail)
    detail = "A call for this notification was made, or is about to be; look its outcome up instead."
    return Refusal(ProblemCode.ALREADY_DIALLED, detail)


def _find_move_error(notification: Notification, send_at: int, now: int) -> FieldError | None:
    given = notification.expires_at if notification.lifetime_ms is None else None
    if given is not None and given <= send_at:
        return FieldError("send_at", "not_before_expires_at", "Give a time before the notification's expires_at.")
    return find_send_at_error(send_at, now)


_BEST_FIRST = ("closed", "half_open", "no_balance", "open", "paused")
