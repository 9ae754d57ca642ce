"""Routes and the second attempt: promotional traffic never takes a DND route."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import Code, MessageType, ProblemCode, RequestedRoute, Route, RouteReason
from relay.domain.errors import NotAllowed
from relay.domain.notification import Outcome, UpstreamRecord
from relay.domain.routing import (
    DEFAULT_ROUTES,
    check_route_table,
    choose_route,
    choose_second_attempt,
    day_of,
    seconds_to_midnight,
)

LAGOS = ZoneInfo("Africa/Lagos")
DND_ROUTES = (Route.DND, Route.DND_FALLBACK)

tables = st.fixed_dictionaries({kind: st.sampled_from(Route) for kind in MessageType})
moments = st.integers(0, 4_102_444_800_000)  # 1970 to 2100
zones = st.sampled_from([LAGOS, UTC, *map(ZoneInfo, ("Europe/London", "America/New_York", "Asia/Kathmandu"))])
minutes = st.integers(0, 24 * 60 - 1)


def at(text: str, zone: ZoneInfo = LAGOS, fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp() * 1000)


def answered(code: Code) -> Outcome:
    return Outcome(code=code, upstream=UpstreamRecord(code="3333"))


@pytest.mark.parametrize(
    ("kind", "used", "reason"),
    [
        (MessageType.OTP, Route.DND_FALLBACK, RouteReason.DEFAULT),
        (MessageType.ALERT, Route.DND_FALLBACK, RouteReason.DEFAULT),
        (MessageType.TRANSACTIONAL, Route.DND_FALLBACK, RouteReason.DEFAULT),
        (MessageType.PROMOTIONAL, Route.NORMAL, RouteReason.PROMOTIONAL),
    ],
)
def test_auto_gives_the_shipped_table(kind: MessageType, used: Route, reason: RouteReason) -> None:
    decision = choose_route(RequestedRoute.AUTO, kind, DEFAULT_ROUTES)
    assert (decision.requested, decision.used, decision.reason) == (RequestedRoute.AUTO, used, reason)


def test_a_configured_route_is_named_as_such() -> None:
    table = {**DEFAULT_ROUTES, MessageType.OTP: Route.DND}
    decision = choose_route(RequestedRoute.AUTO, MessageType.OTP, table)
    assert (decision.used, decision.reason) == (Route.DND, RouteReason.CONFIGURED)


@pytest.mark.parametrize("requested", [RequestedRoute.NORMAL, RequestedRoute.DND, RequestedRoute.DND_FALLBACK])
def test_a_requested_route_is_taken_whatever_the_table_says(requested: RequestedRoute) -> None:
    decision = choose_route(requested, MessageType.OTP, DEFAULT_ROUTES)
    assert (decision.used.value, decision.reason) == (requested.value, RouteReason.REQUESTED)


@pytest.mark.parametrize("requested", [RequestedRoute.DND, RequestedRoute.DND_FALLBACK])
def test_promotional_traffic_that_asks_for_a_dnd_route_is_refused(requested: RequestedRoute) -> None:
    with pytest.raises(NotAllowed) as refusal:
        choose_route(requested, MessageType.PROMOTIONAL, DEFAULT_ROUTES)
    assert refusal.value.code is ProblemCode.ROUTE_NOT_ALLOWED


@given(st.sampled_from(RequestedRoute), tables)
def test_no_decision_ever_gives_promotional_traffic_a_dnd_route(
    requested: RequestedRoute, table: dict[MessageType, Route]
) -> None:
    try:
        decision = choose_route(requested, MessageType.PROMOTIONAL, table)
    except NotAllowed:
        assert requested in (RequestedRoute.DND, RequestedRoute.DND_FALLBACK)
    else:
        assert decision.used is Route.NORMAL


@given(tables)
def test_a_table_that_gives_promotional_traffic_a_dnd_route_is_refused(table: dict[MessageType, Route]) -> None:
    assert bool(check_route_table(table)) is (table[MessageType.PROMOTIONAL] in DND_ROUTES)


def test_the_shipped_table_is_complete_and_a_gap_is_refused() -> None:
    assert check_route_table(DEFAULT_ROUTES) == []
    assert check_route_table({}) == [f"{kind.value} has no route" for kind in MessageType]


@pytest.mark.parametrize("used", Route)
@pytest.mark.parametrize("kind", MessageType)
def test_a_second_attempt_is_made_only_after_normal_and_never_for_promotional(used: Route, kind: MessageType) -> None:
    everything = frozenset(MessageType)
    outcomes = {3: answered(Code.DND_REJECTED), 1: answered(Code.SENT), 0: answered(Code.DND_REJECTED)}
    chosen = choose_second_attempt(used, kind, everything, outcomes)
    allowed = used is Route.NORMAL and kind is not MessageType.PROMOTIONAL
    assert chosen == ((3, 0) if allowed else ())
    assert choose_second_attempt(used, kind, everything - {kind}, outcomes) == ()


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.DUPLICATE_RECIPIENT])
def test_only_a_number_that_got_nothing_is_tried_again(code: Code) -> None:
    chosen = choose_second_attempt(Route.NORMAL, MessageType.OTP, frozenset({MessageType.OTP}), {7: answered(code)})
    assert chosen == ((7,) if code is Code.DND_REJECTED else ())


def test_a_day_is_the_calendar_day_of_the_zone() -> None:
    late = at("2026-11-25T23:30", ZoneInfo("UTC"))
    assert day_of(late, UTC) == "2026-11-25"
    assert day_of(late, LAGOS) == "2026-11-26"
    assert seconds_to_midnight(late, UTC) == 1800
    assert seconds_to_midnight(late, LAGOS) == 23.5 * 3600


@given(zones, moments)
def test_the_next_day_begins_at_midnight(zone: ZoneInfo, now: int) -> None:
    midnight = now + round(seconds_to_midnight(now, zone) * 1000)
    assert midnight > now
    assert day_of(midnight - 1, zone) == day_of(now, zone)
    assert day_of(midnight, zone) > day_of(now, zone)
