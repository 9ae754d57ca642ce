"""Heavy work goes on in slices and gives way to single sends; few do any at once, and a client one at a time.

Batches, lists, previews, notifications to many recipients and the operator's pages take up to seconds of the event
loop. So they work half a millisecond at a time, one of them after another, and while any single send is under way they
rest ten times as long as they worked. What is measured is time, not items: an item may be anything. What the queue
delivers rests between turns as long as single sends keep coming.

To learn from: cooperative scheduling in Tokio (budgets a task), the heavy-request lanes of Kubernetes' API server.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from relay.domain.errors import Overloaded
from relay.sending.ports import RETRY_SOON_SECONDS, Clock

SLICE_SECONDS = 0.0005
REST_SLICES = 10

KEEP_COMING_SECONDS = 1.0
"""Single sends keep coming if one was under way within so long."""

AT_ONCE = 3
"""Heavy requests of all clients that are worked on at a time; the others wait."""

MOST_WAITING = 4
"""Heavy requests of one client that may wait for its first one."""

LONGEST_WAIT_SECONDS = 10.0

REASON = "heavy"
"""In ``relay_shed_total``."""

_Waiter = asyncio.Future[None]


class Turns:
    """Whose turn it is to work a slice."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._count_singles: Callable[[], int] = int
        self._waiting: deque[_Waiter] = deque()
        self._is_next_due = False
        self._gave_way_at = float("-inf")

    def give_way_to(self, count_singles: Callable[[], int]) -> None:
        """Rest while there are any: ``count_singles`` says how many single sends are under way."""
        self._count_singles = count_singles

    def begin(self) -> "Slices":
        """Begin some heavy work, in the middle of a slice."""
        return Slices(self, self._clock)

    async def wait(self) -> None:
        """Wait for the next turn: at least until everybody else on the loop had one."""
        turn: _Waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._call_next()
        await turn

    async def wait_patiently(self) -> None:
        """The same for work that nobody waits for: it rests as long as single sends keep coming, and not only while
        one is under way, so that the next one finds little before it."""
        keep_coming = self._clock.monotonic() - self._gave_way_at < KEEP_COMING_SECONDS
        if keep_coming and not self._count_singles():  # else the wait itself is a rest
            await asyncio.sleep(SLICE_SECONDS * REST_SLICES)
        await self.wait()

    def _call_next(self) -> None:
        if self._is_next_due or not self._waiting:
            return
        self._is_next_due = True
        loop = asyncio.get_running_loop()
        if self._count_singles():
            self._gave_way_at = self._clock.monotonic()
            loop.call_later(SLICE_SECONDS * REST_SLICES, self._give)
        else:
            loop.call_soon(self._give)

    def _give(self) -> None:
        self._is_next_due = False
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # whoever waited was cancelled
                turn.set_result(None)
                break
        self._call_next()


class Slices:
    """Some heavy work, from turn to turn."""

    __slots__ = ("_clock", "_turns", "_until")

    def __init__(self, turns: Turns, clock: Clock) -> None:
        self._turns = turns
        self._clock = clock
        self._until = clock.monotonic() + SLICE_SECONDS

    async def pause(self) -> None:
        """To be called after every bit of the work: let others go first where a slice is over."""
        if self._clock.monotonic() >= self._until:
            await self._turns.wait()
            self._until = self._clock.monotonic() + SLICE_SECONDS


class HeavyWork:
    """Who may do heavy work now."""

    def __init__(self) -> None:
        self._own: dict[str, asyncio.Lock] = {}
        self._asking: Counter[str] = Counter()
        self._places = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def enter(self, client: str) -> AsyncIterator["Place"]:
        """A block in which a client reads a heavy request and works on it; it waits for the one before.

        Raises:
            Overloaded: too many of the client's wait already, or it was not its turn in time.
        """
        if self._asking[client] > MOST_WAITING:
            raise _refuse(
                client,
                "This client has as many large requests under way, waiting, or not read to their end, as may be.",
            )
        self._asking[client] += 1
        own = self._own.setdefault(client, asyncio.Lock())
        try:
            await _wait_in_time(client, own)
            place = Place(client, self._places, own)
            try:
                yield place
            finally:
                place.end()
        finally:
            self._asking[client] -= 1
            if not self._asking[client]:
                del self._asking[client], self._own[client]


class Place:
    """A client's one heavy request."""

    def __init__(self, client: str, places: asyncio.Semaphore, own: asyncio.Lock) -> None:
        self._client = client
        self._places = places
        self._own = own
        self._begun = self._ended = False

    async def begin(self) -> None:
        """Wait until it may be worked on, now that it was read: a body that is slow to come holds up nobody else.

        Raises:
            Overloaded: others took too long.
        """
        await _wait_in_time(self._client, self._places)
        self._begun = True

    def end(self) -> None:
        """The work is done, or was given up; further times say nothing new.

        The client's next one may begin, but until the block is left this one counts as one that waits: answers that
        nobody reads are in memory, and so a client has only a few of them.
        """
        if self._ended:
            return
        self._ended = True
        if self._begun:
            self._places.release()
        self._own.release()


async def _wait_in_time(client: str, place: asyncio.Lock | asyncio.Semaphore) -> None:
    try:
        async with asyncio.timeout(LONGEST_WAIT_SECONDS):
            await place.acquire()
    except TimeoutError:
        raise _refuse(client, "Other large requests took too long for this one to wait.") from None


def _refuse(client: str, why: str) -> Overloaded:
    detail = (
        f"{why} Batches, lists, previews and notifications to many recipients are worked on one at a time for each"
        " client. Nothing of this one was done; try again, one after another."
    )
    return Overloaded(detail, client=client, reason=REASON, retry_after_seconds=RETRY_SOON_SECONDS)
