"""What sends cost: an estimate in units: segments times recipients times the account's price (SPEC 13). Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct

from relay.domain.codes import Route, Status

MICRO = 1_000_000
"""Millionths of a unit, in which the journal counts."""


class UsageField(StrEnum):
    """What usage can be added up by."""

    DAY = "day"
    MONTH = "month"
    CLIENT = "client"
    BILLING_CODE = "billing_code"
    MESSAGE_TYPE = "message_type"
    ROUTE = "route"
    ACCOUNT = "account"
    OUTCOME = "outcome"


class Prices(Struct, frozen=True, array_like=True):
    """What an account takes for a segment to one recipient, in units."""

    per_segment: Decimal = Decimal(1)
    per_segment_dnd: Decimal | None = None
    """On ``dnd`` and ``dnd-fallback``; none: the same."""
    bill_rejected: bool = False

    def of(self, route: Route, status: Status) -> Decimal:
        """The price of a segment to a recipient that ended like this."""
        if status is Status.REJECTED and not self.bill_rejected:
            return Decimal(0)
        if self.per_segment_dnd is None or route is Route.NORMAL:
            return self.per_segment
        return self.per_segment_dnd


NO_PRICES: Mapping[str, Prices] = MappingProxyType({})


def find_dearest(prices: Mapping[str, Prices], accounts: Iterable[str], route: Route) -> Decimal:
    """What a segment costs at most, whichever of these accounts takes it; 1 where nobody gave a price."""
    return max((prices.get(name, Prices()).of(route, Status.SENT) for name in accounts), default=Decimal(1))


class UsageQuery(Struct, frozen=True, kw_only=True):
    """Which usage is asked for: days of Africa/Lagos (``2026-11-01``), the last one exclusive."""

    first_day: str
    until_day: str
    by: tuple[UsageField, ...] = ()
    client: str | None = None


class UsageRow(Struct, frozen=True):
    """Usage of one group; ``group`` has a value for each field that was asked for, in order.

    ``messages`` counts a notification once, with its first recipient; ``segments`` are counted for each recipient.
    """

    group: tuple[str, ...]
    messages: int
    recipients: int
    segments: int
    units: Decimal


def format_units(units: Decimal) -> str:
    """Units as text, without zeros that say nothing.

    Example:
        >>> format_units(Decimal("120.500000")), format_units(Decimal(0))
        ('120.5', '0')
    """
    text = f"{units:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
