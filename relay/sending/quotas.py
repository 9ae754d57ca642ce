"""Limits of a client that live in the process: requests a second. The exact ones (day, number) live in the journal."""

from relay.domain.clients import Client
from relay.domain.codes import ProblemCode
from relay.domain.errors import LimitReached

_BURST_SECONDS = 1.0


class RequestLimiter:
    """A token bucket a client: its requests a second, with a burst of one second's worth (at least one).

    Kept in the process, so a client gets this rate from every replica (SPEC section 7 says so to callers).
    """

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def check(self, client: Client, now: float) -> None:
        """Take one token. ``now`` is monotonic seconds.

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
