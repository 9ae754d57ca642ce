"""Whether somebody new is let in: the one rule of overload, and a client's requests a second. Nothing is claimed yet.

Saying no must cost little, or a flood would leave nothing for those who are served. So it is said before anything of
the request is read, and not even an idempotency key is looked up: it is honoured when the caller tries again. Who may
come in is judged by ``shares``: what one client does stops no other.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

from relay.domain.clients import Client
from relay.domain.codes import ProblemCode
from relay.domain.errors import LimitReached, Overloaded, Unavailable
from relay.sending.channels import Channel
from relay.sending.delivery import Switches
from relay.sending.ports import RETRY_SOON_SECONDS
from relay.sending.shares import URGENT, AdmissionVerdict, Asker, Shares

_PAUSED_SECONDS = 30.0

_REFUSED_AT_ONCE = 100
"""Refusals of a client that are said at once, each second. One that asks again without waiting hears the others slowly:
what 400 connections can ask would keep the loop busy with refusals alone."""

_HELD_BACK_SECONDS = 0.5
_BURST_SECONDS = 1.0
_READING_PART = 4
"""A client that holds its share is read from a quarter of the reserve at a time."""
_READING_TICKS = 3
"""How many ticks of the event loop a request that is read takes a place: as many as it takes until a body that came
with its head is read. A busy loop's ticks are long, and there it matters; where clients are slow and the loop is idle,
ticks are microseconds, so that they take no place from anybody."""


class Admission:
    """Counts who is under way, and lets in or refuses who comes."""

    def __init__(self, max_waiting: int) -> None:
        self._shares = Shares(max_waiting)
        self._reading = _Reading(self._shares)
        self._refused: Counter[str] = Counter()
        self._refused_second = 0
        self._buckets: dict[str, tuple[float, float]] = {}

    @property
    def under_way(self) -> int:
        """How many single sends are under way, those included that are being read."""
        return self._shares.held

    def held_by(self, client: str) -> int:
        """How many places a client holds."""
        return self._shares.held_by[client]

    def is_short(self) -> bool:
        """Whether places are short, so that somebody may have to be refused."""
        return not self._shares.has_room(Asker("", None))

    def judge_arrival(self, client: Client) -> AdmissionVerdict:
        """Say whether a request is let in that nobody has read yet, so that its message type is not known.

        Where only the reserve is left, a client that may send codes or alerts gets in to be read, a few requests at a
        time; what it turns out to be is judged by :meth:`enter`.
        """
        verdict = self._shares.judge(Asker(client.name, None))
        may_be_urgent = verdict is AdmissionVerdict.RESERVED and not URGENT.isdisjoint(client.message_types)
        if may_be_urgent and self._reading.of(client.name) < max(self._shares.reserved // _READING_PART, 1):
            return AdmissionVerdict.ROOM
        return verdict

    def count_refusal(self, client: Client, now: float) -> float:
        """Count that a client is told that there is no place; how many seconds to hold the answer back.

        Args:
            now: monotonic seconds.
        """
        if int(now) != self._refused_second:
            self._refused_second = int(now)
            self._refused.clear()
        self._refused[client.name] += 1
        return _HELD_BACK_SECONDS if self._refused[client.name] > _REFUSED_AT_ONCE else 0.0

    def begin_reading(self, client: Client) -> ExitStack:
        """Let in a request that is to be read now. It holds a place until what is given is left.

        Raises:
            Overloaded: ``overloaded``.
        """
        verdict = self.judge_arrival(client)
        if not verdict.admits:
            raise refuse_overload(client.name, verdict)
        return self._reading.begin(client.name)

    def enter(self, asker: Asker) -> None:
        """Count a notification whose caller waits, until :meth:`leave`.

        Raises:
            Overloaded: ``overloaded``.
        """
        verdict = self._shares.judge(asker)
        if not verdict.admits:
            raise refuse_overload(asker.client, verdict)
        self._shares.take(asker)

    def leave(self, asker: Asker) -> None:
        """A caller was answered, or is waited for no more."""
        self._shares.give_back(asker)

    def take_request(self, client: Client, now: float) -> None:
        """Take one of a client's requests a second: a token bucket with a burst of one second's worth (at least one).

        Kept in the process, so a client gets this rate from every replica (SPEC section 7 says so to callers).

        Args:
            now: monotonic seconds.

        Raises:
            LimitReached: ``rate_limited``, with the time until the next token.
        """
        rate = client.requests_per_second
        if rate is None:
            return
        burst = max(rate * _BURST_SECONDS, 1.0)
        tokens, at = self._buckets.get(client.name, (burst, now))
        tokens = min(burst, tokens + (now - at) * rate)
        if tokens < 1.0:
            self._buckets[client.name] = (tokens, now)
            raise LimitReached(
                ProblemCode.RATE_LIMITED,
                "This client sends more requests a second than it may. Wait as Retry-After says, or use the batch.",
                policy="requests",
                limit=max(int(rate), 1),
                window_seconds=1,
                retry_after_seconds=(1.0 - tokens) / rate,
            )
        self._buckets[client.name] = (tokens - 1.0, now)


_WORDS = {
    AdmissionVerdict.OVER_SHARE: "Too many notifications are under way, and this client holds its share of the places.",
    AdmissionVerdict.RESERVED: (
        "Too many notifications are under way: this client holds its share of the places, and the rest is kept for"
        " codes and alerts."
    ),
}


def refuse_overload(client: str, verdict: AdmissionVerdict) -> Overloaded:
    """The refusal where as many notifications are under way as may be, and the client holds its share of them."""
    detail = f"{_WORDS[verdict]} This request sent nothing; try again, or use Prefer: respond-async."
    return Overloaded(detail, client=client, reason=verdict, retry_after_seconds=RETRY_SOON_SECONDS)


def find_stop(switches: Switches) -> Unavailable | None:
    """Say why nothing new is accepted, not even for later; or ``None``."""
    if switches.started and not switches.draining:
        return None
    detail = "This instance is stopping or not yet ready; another one will take the request. Nothing was sent."
    return Unavailable(ProblemCode.DRAINING, detail, retry_after_seconds=RETRY_SOON_SECONDS)


def find_outage(switches: Switches, channels: Sequence[Channel], asker: Asker, now: float) -> Unavailable | None:
    """Say why a caller who waits cannot be served now, or ``None``. Where no account can take the send, the reason of
    the first decides.

    Args:
        channels: the accounts that the send may take, in order of preference.
        asker: on whose behalf, for pauses.
        now: monotonic seconds.
    """
    if (stop := find_stop(switches)) is not None:
        return stop
    if switches.paused:
        detail = "The operator has stopped all sending. Nothing was sent."
        return Unavailable(ProblemCode.PAUSED, detail, retry_after_seconds=_PAUSED_SECONDS)
    first: Unavailable | None = None
    for channel in channels:
        outage = _find_outage_of(switches, channel, asker, now)
        if outage is None:
            return None
        first = first or outage
    return first


def _find_outage_of(switches: Switches, channel: Channel, asker: Asker, now: float) -> Unavailable | None:
    account, breaker = channel.account, channel.breaker
    if switches.find_pause(asker.client, asker.message_type, account) is not None:
        detail = "The operator has stopped messages of this kind. Nothing was sent."
        return Unavailable(ProblemCode.PAUSED, detail, retry_after_seconds=_PAUSED_SECONDS)
    if (wait := breaker.seconds_until_allowed(now)) > 0:
        detail = f"{account} does not answer, or refuses the relay; sending stops for a moment. Nothing was sent."
        return Unavailable(ProblemCode.UPSTREAM_UNREACHABLE, detail, retry_after_seconds=wait)
    if (wait := breaker.seconds_without_balance(now)) > 0:
        detail = f"The units at {account} ran out. Nothing was sent; the operator has to buy units."
        return Unavailable(ProblemCode.UPSTREAM_NO_BALANCE, detail, retry_after_seconds=wait)
    return None


class _Reading:
    """The places of requests that were let in and are being read. Without them, all that arrive in one tick of the
    event loop would be let in for one free place."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._tick = 0
        self._ticking = False
        self._by_tick: list[Counter[str]] = [Counter() for _ in range(_READING_TICKS)]

    def begin(self, client: str) -> ExitStack:
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_soon(self._next_tick)
        self._by_tick[self._tick % _READING_TICKS][client] += 1
        self._shares.take(Asker(client, None))
        place = ExitStack()
        place.callback(self.end, client, self._tick)
        return place

    def of(self, client: str) -> int:
        return sum(begun[client] for begun in self._by_tick)

    def end(self, client: str, tick: int) -> None:
        if self._tick - tick < _READING_TICKS:
            self._by_tick[tick % _READING_TICKS][client] -= 1
            self._shares.give_back(Asker(client, None))

    def _next_tick(self) -> None:
        self._tick += 1
        over = self._by_tick[self._tick % _READING_TICKS]
        for client, count in over.items():
            for _ in range(count):
                self._shares.give_back(Asker(client, None))
        over.clear()
        self._ticking = any(begun.total() for begun in self._by_tick)
        if self._ticking:
            asyncio.get_running_loop().call_soon(self._next_tick)
