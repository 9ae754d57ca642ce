"""The queue is the journal: take what is due, in order of urgency, one client after another, and deliver it."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from relay.domain.codes import MessageType
from relay.sending.delivery import Runtime
from relay.sending.events import JournalFailed, TaskFailed
from relay.sending.ports import JournalUnavailable, Lease
from relay.sending.shares import URGENT

POLL_SECONDS = 0.5
"""How soon a replica sees what another one accepted, and what has become due."""

_TAKEN_AT_ONCE = 10
"""Notifications in one transaction of the journal, which sends wait for; one may have very many recipients."""

_BEGUN_A_TURN = 2
"""Deliveries that begin in one turn: each takes the event loop a third of a millisecond. As long as single sends keep
coming, these are 400 a second of a process: what the 50 connections of the default bear if a call takes 125 ms."""

_URGENCY: tuple[tuple[MessageType, ...], ...] = (
    (MessageType.OTP, MessageType.ALERT),
    (MessageType.TRANSACTIONAL,),
    (MessageType.PROMOTIONAL,),
)


class Queue:
    """Keeps as many notifications of the queue under way as there may be.

    Args:
        clients: names of the clients whose notifications of a type may be sent now (none where nothing may).
        deliver: delivers one notification.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        clients: Callable[[MessageType], Sequence[str]],
        deliver: Callable[[Lease], Coroutine[Any, Any, None]],
    ) -> None:
        self._runtime = runtime
        self._journal = runtime.journal
        self._clock = runtime.clock
        self._most = runtime.policy.queue_deliveries
        self._reserved = runtime.policy.queue_reserved
        self._clients = clients
        self._deliver = deliver
        self._turns = runtime.turns
        self._ready: deque[asyncio.Event] = deque()
        self._is_pacing = False
        self._rotation = 0
        self._to_look_at = set(_URGENCY)
        """Where something may be due; where nothing was, nothing is until a wake or the next poll."""
        self._next_poll = 0.0
        self._active = 0
        self._active_by: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._stopped = False

    def wake(self) -> None:
        """There may be something to take."""
        self._to_look_at.update(_URGENCY)
        self._wake.set()

    def stop(self) -> None:
        """Take nothing more."""
        self._stopped = True
        self._wake.set()

    async def run(self) -> None:
        """Take until :meth:`stop`."""
        while not self._stopped:
            self._wake.clear()
            try:
                took = await self._take_all()
            except JournalUnavailable as failure:
                self._runtime.events.emit(JournalFailed(during="take", reason=failure.reason))
                took = 0
            except Exception as bug:  # noqa: BLE001 — a bug, or a row that cannot be read, must not end the queue
                self._runtime.events.emit(TaskFailed(task="queue", exception=type(bug).__name__))
                took = 0
            if not took and not self._stopped:
                await self._wait()

    async def _wait(self) -> None:
        left = self._next_poll - asyncio.get_running_loop().time()
        waiting = asyncio.ensure_future(self._wake.wait())
        # A poll that is overdue failed, or found no place: it is for a wake to say when to try again.
        await asyncio.wait({waiting}, timeout=left if left > 0 else POLL_SECONDS)
        waiting.cancel()

    async def _take_all(self) -> int:
        took = await self._poll() if asyncio.get_running_loop().time() >= self._next_poll else 0
        self._rotation += 1
        for level in [level for level in _URGENCY if level in self._to_look_at]:
            self._to_look_at.discard(level)  # before the look: whoever wakes meanwhile has it looked at again
            may_have_more = True
            try:
                taken, may_have_more = await self._take(level)
            finally:
                if may_have_more:
                    self._to_look_at.add(level)
            took += taken
        return took

    async def _take(self, level: Sequence[MessageType]) -> tuple[int, bool]:
        """Take some of a level: how many, and whether there may be more, taken or not."""
        took, may_have_more = 0, False
        for clients, message_types in self._group(level).items():
            free = self._most - self._active - (0 if level is _URGENCY[0] else self._reserved)
            limit = min(free, _TAKEN_AT_ONCE)
            leases: Sequence[Lease] = ()
            if limit > 0 and not self._stopped:
                in_turn = self._fewest_first(clients)
                leases = await self._journal.take(in_turn, message_types, limit, self._clock.now_ms())
                took += self._start(leases)
            may_have_more = may_have_more or bool(leases) or limit <= 0
        return took, may_have_more

    async def _poll(self) -> int:
        """Look everywhere again, and for what has waited too long: again at once as long as there is some."""
        self._to_look_at.update(_URGENCY)
        limit = min(self._most + self._reserved - self._active, _TAKEN_AT_ONCE)
        if limit <= 0:
            return 0
        expired = await self._journal.take_expired(limit, self._clock.now_ms())
        if not expired:
            self._next_poll = asyncio.get_running_loop().time() + POLL_SECONDS
        return self._start(expired)

    def _group(self, level: Sequence[MessageType]) -> dict[tuple[str, ...], list[MessageType]]:
        """The message types of a level by the clients that may send them now, which are nearly always the same."""
        groups: dict[tuple[str, ...], list[MessageType]] = {}
        for message_type in level:
            if clients := tuple(self._clients(message_type)):
                groups.setdefault(clients, []).append(message_type)
        return groups

    def _start(self, leases: Sequence[Lease]) -> int:
        for lease in leases:
            self._active += 1
            self._active_by[lease.stored.notification.client] += 1
            turn = asyncio.Event()
            if lease.stored.notification.message_type in URGENT:
                turn.set()
            else:
                self._ready.append(turn)
            self._runtime.tasks.spawn(self._run(lease, turn), "delivery")
        if self._ready and not self._is_pacing:
            self._is_pacing = True
            self._runtime.tasks.spawn(self._pace(), "pace")
        return len(leases)

    async def _pace(self) -> None:
        """Let deliveries begin, a few a turn."""
        while self._ready:
            await self._turns.wait_patiently()
            for _ in range(min(_BEGUN_A_TURN, len(self._ready))):
                self._ready.popleft().set()
        self._is_pacing = False

    async def _run(self, lease: Lease, turn: asyncio.Event) -> None:
        try:
            await turn.wait()
            await self._deliver(lease)
        finally:
            self._active -= 1
            self._active_by[lease.stored.notification.client] -= 1
            self._wake.set()

    def _fewest_first(self, clients: Sequence[str]) -> list[str]:
        """The clients, those first that have the fewest under way; among equals another one each time. The journal
        takes one of each in this order before it takes a second one of any."""
        first = self._rotation % len(clients)
        return sorted((*clients[first:], *clients[:first]), key=lambda client: self._active_by[client])
