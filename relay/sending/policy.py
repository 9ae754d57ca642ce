"""What the stages depend on, in their own words; ``relay.app`` makes it of the settings."""

from collections.abc import Mapping
from datetime import tzinfo

from msgspec import Struct

from relay.domain.clients import Client
from relay.domain.codes import Code, MessageType
from relay.domain.hours import Closed, DeliveryWindow, NoCommonHours, find_closed
from relay.domain.key_time import MOST_AHEAD_MS
from relay.domain.usage import NO_PRICES, Prices

_HOUR_MS = 3_600_000


class SendLimit(Struct, frozen=True):
    """How many messages of one type a number may get in a window."""

    sends: int
    window_seconds: int


class Policy(Struct, frozen=True, kw_only=True):
    """The rules of a process that stay as they are until it ends."""

    # admission
    notification_deadline_seconds: float
    max_waiting: int
    """Synchronous notifications under way at once."""

    # accept
    hash_key: bytes
    key_window_ms: int
    """How old a key may be that is still new; how long one is kept is :meth:`key_window_of`."""
    queue_lifetime_ms: int
    send_limits: Mapping[MessageType, SendLimit]
    day_zone: tzinfo
    """Where a client's day of recipients begins and ends."""

    prices: Mapping[str, Prices] = NO_PRICES
    """By account; 1 unit a segment where there is none."""

    # dial
    call_timeout_seconds: float
    calls_at_a_time: int
    second_attempt: frozenset[MessageType]
    """The message types whose 3333 on ``normal`` is tried once more on ``dnd``."""
    hours: Mapping[MessageType, DeliveryWindow]
    """When messages of a type are sent; what is absent is sent at any time."""

    # queue
    queue_deliveries: int
    """Notifications of the queue under way at once."""
    queue_reserved: int
    """Of these, how many only codes and alerts may fill."""
    drain_seconds: float

    # jobs
    balance_interval_seconds: float
    retention_days: int
    audit_months: int
    usage_months: int

    def key_window_of(self, client: Client) -> int:
        """How long a key of this client holds after the later of acceptance and ``send_at``, in milliseconds.

        A key from the future, by its maker's clock, must not be forgotten before it is too old to be new.
        """
        return self.key_window_ms + (MOST_AHEAD_MS if client.keys_carry_time else 0)

    def find_closed(self, message_type: MessageType, windows: tuple[DeliveryWindow, ...], now_ms: int) -> Closed | None:
        """Say when a message may be sent that may not be sent now: by the hours of its type, and by windows.

        Where they leave no time, because the settings changed since it was accepted, it waits until it expires.
        """
        hours = self.hours.get(message_type)
        try:
            return find_closed(windows if hours is None else (hours, *windows), now_ms)
        except NoCommonHours:
            return Closed(now_ms + _HOUR_MS, Code.HELD_WINDOW)
