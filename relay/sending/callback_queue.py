"""The queue of callbacks, as a contract: what the journal keeps for whoever tells callers how it ended.

Separate from the journal's port, because no send depends on it. A callback is put in line by the transaction that ends
a notification (or settles an unknown outcome of one that ended), so that neither exists without the other.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from relay.domain.callback_rules import CallbackOutcome
from relay.domain.notification import Stored


class CallbackKind(StrEnum):
    """What happened to the notification."""

    COMPLETED = "completed"
    """Every recipient has a terminal status."""
    RESOLVED = "resolved"
    """An outcome that was unknown became definite."""


class DueCallback(Struct, frozen=True, kw_only=True):
    """A callback that this process may try now. Times are milliseconds since 1970-01-01 UTC.

    ``id`` is the same for each attempt; ``attempt`` counts from 1. ``stored`` is the notification as it stands.
    """

    id: str
    kind: CallbackKind
    url: str
    target: str
    happened_at: int
    attempt: int
    stored: Stored


class CallbackQueue(Protocol):
    """The part of the journal that keeps callbacks. Raises only ``JournalUnavailable``.

    At least once: what is taken comes back after its lease, unless it was finished or put off before.
    """

    async def take_callbacks(
        self, limit: int, now: int, *, lease_ms: int, per_target: int, busy: Sequence[str]
    ) -> list[DueCallback]:
        """Take due callbacks, oldest first, and lease them to the caller.

        Args:
            limit: how many at most in all.
            now: what is due by then.
            lease_ms: for how long nobody else gets them.
            per_target: how many at most to one target (scheme, host and port), so that one that hangs stops no other.
            busy: targets that get none now.
        """
        ...

    async def finish_callback(self, callback_id: str, notification_id: str, outcome: CallbackOutcome, now: int) -> None:
        """Forget a callback: it was delivered, or nobody will try again. The notification keeps how it ended."""
        ...

    async def put_off_callback(self, callback_id: str, due_at: int) -> None:
        """Try again from then on."""
        ...

    async def disable_callbacks(self, client: str, url: str, now: int) -> int:
        """Call this address for this client no more: forget what waits, and put nothing in line until the entry is
        purged with the notifications of its day.

        Returns:
            How many waited.
        """
        ...
