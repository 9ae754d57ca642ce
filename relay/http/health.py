"""``/healthz`` and ``/readyz``: whether the loop turns, and whether requests may come."""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from relay.http.exchange import Exchange, Header, Reply, Route
from relay.sending.requests import Sending

_FRESH: Header = (b"cache-control", b"no-store")


class HealthBody(Struct, frozen=True, kw_only=True):
    """How things stand. Only `ready` decides the status: a pod that can say why it refuses is better than none."""

    ready: bool
    started: bool
    draining: bool
    paused: bool
    journal: str
    upstream: str
    word_lists: str
    in_flight: int
    waiting: int


class HealthPages:
    """The pages that a kubelet reads.

    Args:
        sending: the core.
        word_lists: tells how the last load of the word lists went, in a word.
    """

    def __init__(self, sending: Sending, word_lists: Callable[[], str]) -> None:
        self._sending = sending
        self._word_lists = word_lists

    def routes(self) -> list[Route]:
        """What is served here."""
        return [Route("GET", "/healthz", self.live), Route("GET", "/readyz", self.ready)]

    async def live(self, exchange: Exchange) -> Reply:
        """The loop turns, or this would not be answered."""
        del exchange
        return Reply(200, b'{"status":"ok"}', headers=(_FRESH,))

    async def ready(self, exchange: Exchange) -> Reply:
        """Started and not draining: 200, else 503. The body tells the rest."""
        del exchange
        health = self._sending.health()
        body = HealthBody(
            ready=health.ready,
            started=health.started,
            draining=health.draining,
            paused=health.paused,
            journal=health.journal,
            upstream=health.upstream,
            word_lists=self._word_lists(),
            in_flight=health.in_flight,
            waiting=health.waiting,
        )
        return Reply(200 if health.ready else 503, msgspec.json.encode(body), headers=(_FRESH,))
