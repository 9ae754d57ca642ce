"""The queue is the journal: take what is due, in order of urgency, clients in turn, and give it a delivery."""

import asyncio
from collections.abc import Callable, Sequence

from relay.domain.codes import MessageType
from relay.sending.events import Events, JournalFailed, TaskFailed
from relay.sending.ports import Clock, Journal, JournalUnavailable, Taken

POLL_SECONDS = 0.5
"""How soon a replica sees what another one accepted."""

_URGENCY: tuple[tuple[MessageType, ...], ...] = (
    (MessageType.OTP, MessageType.ALERT),
    (MessageType.TRANSACTIONAL,),
    (MessageType.PROMOTIONAL,),
)


class Queue:
    """Keeps as many notifications of the queue in delivery as there are places.

    Args:
        places: notifications in delivery at once.
        reserved: of these, how many only codes and alerts may fill.
        clients: names of the clients whose notifications may be sent now (none where nothing may).
        deliver: starts a delivery; it calls :meth:`finished` at its end.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        events: Events,
        *,
        places: int,
        reserved: int,
        clients: Callable[[], Sequence[str]],
        deliver: Callable[[Taken], None],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._events = events
        self._places = places
        self._reserved = reserved
        self._clients = clients
        self._deliver = deliver
        self._turn = 0
        self._active = 0
        self._wake = asyncio.Event()
        self._stopped = False

    @property
    def active(self) -> int:
        """Notifications of the queue in delivery now."""
        return self._active

    def wake(self) -> None:
        """There may be something to take."""
        self._wake.set()

    def stop(self) -> None:
        """Take nothing more."""
        self._stopped = True
        self._wake.set()

    def finished(self) -> None:
        """A delivery ended; its place is free."""
        self._active -= 1
        self._wake.set()

    async def run(self) -> None:
        """Take until :meth:`stop`."""
        while not self._stopped:
            self._wake.clear()
            try:
                took = await self._take_all()
            except JournalUnavailable as failure:
                self._events.emit(JournalFailed(during="take", reason=failure.reason))
                took = 0
            except Exception as bug:  # noqa: BLE001 — a bug, or a row that cannot be read, must not end the queue
                self._events.emit(TaskFailed(task="queue", exception=type(bug).__name__))
                took = 0
            if not took and not self._stopped:
                await self._wait()

    async def _wait(self) -> None:
        waiting = asyncio.ensure_future(self._wake.wait())
        await asyncio.wait({waiting}, timeout=POLL_SECONDS)
        waiting.cancel()

    async def _take_all(self) -> int:
        took = 0
        places = self._places + self._reserved - self._active
        if places > 0:
            took = self._start(await self._journal.take_expired(places, self._clock.now_ms()))
        clients = self._in_turn()
        if not clients:
            return took
        for message_types in _URGENCY:
            limit = self._places - self._active - (0 if message_types is _URGENCY[0] else self._reserved)
            if limit > 0 and not self._stopped:
                taken = await self._journal.take(clients, message_types, limit, self._clock.now_ms())
                took += self._start(taken)
        return took

    def _start(self, taken: Sequence[Taken]) -> int:
        for item in taken:
            self._active += 1
            self._deliver(item)
        return len(taken)

    def _in_turn(self) -> list[str]:
        """The clients, beginning with another one each time, so that nobody is always first."""
        clients = list(self._clients())
        if not clients:
            return clients
        self._turn = (self._turn + 1) % len(clients)
        return clients[self._turn :] + clients[: self._turn]
