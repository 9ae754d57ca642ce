"""Which way a notification goes: the route table, the second attempt; and the days that are counted.

Promotional traffic never takes a DND route, whatever a table or a caller says: the person opted out. Times come in as
milliseconds since 1970-01-01 UTC, zones as objects; nothing here looks at a clock.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, timedelta, tzinfo
from types import MappingProxyType

from relay.domain.codes import Code, MessageType, ProblemCode, RequestedRoute, Route, RouteReason
from relay.domain.errors import NotAllowed
from relay.domain.notification import Outcome, RouteDecision

DEFAULT_ROUTES: Mapping[MessageType, Route] = MappingProxyType(
    {
        MessageType.OTP: Route.DND_FALLBACK,
        MessageType.ALERT: Route.DND_FALLBACK,
        MessageType.TRANSACTIONAL: Route.DND_FALLBACK,
        MessageType.PROMOTIONAL: Route.NORMAL,
    }
)
"""What ``auto`` gives where the settings say nothing else (SPEC section 3)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DAY = timedelta(days=1)


def check_route_table(table: Mapping[MessageType, Route]) -> list[str]:
    """Find what is wrong with a route table, before anything is sent by it.

    Returns:
        A sentence for each error; none for a table that may be used.

    Example:
        >>> check_route_table({**DEFAULT_ROUTES, MessageType.PROMOTIONAL: Route.DND})
        ['promotional must be normal: promotional messages never take a DND route']
    """
    errors = [f"{kind.value} has no route" for kind in MessageType if kind not in table]
    if table.get(MessageType.PROMOTIONAL, Route.NORMAL) is not Route.NORMAL:
        errors.append("promotional must be normal: promotional messages never take a DND route")
    return errors


def choose_route(
    requested: RequestedRoute, message_type: MessageType, table: Mapping[MessageType, Route]
) -> RouteDecision:
    """Decide which route a notification takes. (Whether the client may ask for one by name is judged elsewhere.)

    Args:
        requested: what the caller asked for.
        message_type: the traffic class.
        table: what ``auto`` gives; passed :func:`check_route_table`.

    Raises:
        NotAllowed: ``route_not_allowed``, promotional traffic that asks for a DND route.

    Example:
        >>> choose_route(RequestedRoute.AUTO, MessageType.OTP, DEFAULT_ROUTES).used
        <Route.DND_FALLBACK: 'dnd-fallback'>
    """
    if message_type is MessageType.PROMOTIONAL and requested in (RequestedRoute.DND, RequestedRoute.DND_FALLBACK):
        detail = "Promotional messages are never sent by a DND route; ask for auto or normal."
        raise NotAllowed(ProblemCode.ROUTE_NOT_ALLOWED, detail)
    if requested is not RequestedRoute.AUTO:
        return RouteDecision(requested, Route(requested.value), RouteReason.REQUESTED)
    if message_type is MessageType.PROMOTIONAL:
        return RouteDecision(requested, Route.NORMAL, RouteReason.PROMOTIONAL)
    used = table[message_type]
    reason = RouteReason.DEFAULT if used is DEFAULT_ROUTES[message_type] else RouteReason.CONFIGURED
    return RouteDecision(requested, used, reason)


def choose_second_attempt(
    used: Route, message_type: MessageType, allowed: AbstractSet[MessageType], outcomes: Mapping[int, Outcome]
) -> tuple[int, ...]:
    """Choose the recipients that are tried once more on ``dnd``.

    Args:
        used: the route of the call that brought the outcomes.
        message_type: the traffic class; promotional is never tried again, also where the settings say so.
        allowed: the message types for which a second attempt is switched on.
        outcomes: entry index → outcome. An outcome ``dnd_rejected`` stands for all records of its number: with one
            record that says more, the outcome would be that one.

    Returns:
        Entry indexes, in the order of ``outcomes``; only of numbers that certainly got nothing.

    Source:
        SPEC section 3.
    """
    if used is not Route.NORMAL or message_type is MessageType.PROMOTIONAL or message_type not in allowed:
        return ()
    return tuple(index for index, outcome in outcomes.items() if outcome.code is Code.DND_REJECTED)


def day_of(now_ms: int, zone: tzinfo) -> str:
    """Give the calendar day in a zone, as ``2026-11-25``.

    Example:
        >>> day_of(0, UTC)
        '1970-01-01'
    """
    return _local(now_ms, zone).date().isoformat()


def seconds_to_midnight(now_ms: int, zone: tzinfo) -> float:
    """Give the seconds until the next calendar day of a zone begins; always more than 0.

    Example:
        >>> seconds_to_midnight(1_500, UTC)
        86398.5
    """
    tomorrow = _at(_local(now_ms, zone).date() + _DAY, 0, zone)
    return (_milliseconds(tomorrow) - now_ms) / 1000


def month_span(now_ms: int, zone: tzinfo) -> tuple[int, int]:
    """Give when the calendar month of a zone began, and when the next one begins, in milliseconds.

    Example:
        >>> month_span(1_500, UTC)
        (0, 2678400000)
    """
    first = _local(now_ms, zone).date().replace(day=1)
    following = (first + 31 * _DAY).replace(day=1)
    return _milliseconds(_at(first, 0, zone)), _milliseconds(_at(following, 0, zone))


def _local(now_ms: int, zone: tzinfo) -> datetime:
    return (_EPOCH + now_ms * _MILLISECOND).astimezone(zone)


def _at(day: date, minute: int, zone: tzinfo) -> datetime:
    return datetime(day.year, day.month, day.day, *divmod(minute, 60), tzinfo=zone)


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND
