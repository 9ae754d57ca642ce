"""When messages may be sent: quiet hours and windows by the clock on the wall, also on days on which it changes."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from relay.domain.codes import Code
from relay.domain.hours import Closed, DeliveryWindow, NoCommonHours, find_closed, find_zone, read_minute

MINUTE_MS = 60_000
DAY_MINUTES = 24 * 60
LAGOS, LONDON, NEW_YORK = "Africa/Lagos", "Europe/London", "America/New_York"
DAY = DeliveryWindow(8 * 60, 20 * 60, LAGOS, Code.HELD_QUIET_HOURS)
"""What quiet hours from 20:00 to 08:00 leave."""

minutes = st.integers(0, DAY_MINUTES - 1)
zones = st.sampled_from([LAGOS, "UTC", LONDON, NEW_YORK, "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"])
windows = st.builds(DeliveryWindow, minutes, minutes, zones).filter(
    lambda window: window.from_minute != window.to_minute
)
changes = st.sampled_from(["2026-03-08", "2026-03-29", "2026-04-04", "2026-10-03", "2026-10-25", "2026-11-01"])
"""Days on which clocks change in one of these zones; the next day is one in another."""


def at(text: str, zone: str = LAGOS, fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000)


def opens(window: DeliveryWindow, now: int) -> int | None:
    closed = find_closed([window], now)
    return None if closed is None else closed.until


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-25T07:59:59.999", "2026-11-25T08:00"),
        ("2026-11-25T08:00", None),
        ("2026-11-25T12:00", None),
        ("2026-11-25T19:59:59.999", None),
        ("2026-11-25T20:00", "2026-11-26T08:00"),
        ("2026-11-25T23:59:59.999", "2026-11-26T08:00"),
        ("2026-11-26T00:00", "2026-11-26T08:00"),
        ("2026-12-31T22:00", "2027-01-01T08:00"),
        ("2028-02-28T22:00", "2028-02-29T08:00"),
    ],
)
def test_quiet_hours_are_from_20_to_8_by_the_lagos_clock(now: str, until: str | None) -> None:
    assert opens(DAY, at(now)) == (at(until) if until is not None else None)


def test_a_window_may_pass_midnight() -> None:
    night = DeliveryWindow(22 * 60, 6 * 60)
    assert opens(night, at("2026-11-25T21:59")) == at("2026-11-25T22:00")
    assert opens(night, at("2026-11-25T23:59")) is None
    assert opens(night, at("2026-11-26T05:59:59.999")) is None
    assert opens(night, at("2026-11-26T06:00")) == at("2026-11-26T22:00")


@pytest.mark.parametrize(
    ("window", "now", "until"),
    [
        # 29 March: 01:00 becomes 02:00
        (DeliveryWindow(90, 180, LONDON), at("2026-03-29T00:30", LONDON), at("2026-03-29T02:00", LONDON)),
        (DeliveryWindow(70, 110, LONDON), at("2026-03-29T00:30", LONDON), at("2026-03-30T01:10", LONDON)),
        (DeliveryWindow(60, 120, LONDON), at("2026-03-29T00:59", LONDON), at("2026-03-30T01:00", LONDON)),
        # 25 October: 02:00 becomes 01:00
        (DeliveryWindow(90, 480, LONDON), at("2026-10-25T01:15", LONDON), at("2026-10-25T01:30", LONDON)),
        (DeliveryWindow(90, 480, LONDON), at("2026-10-25T01:15", LONDON, 1), at("2026-10-25T01:30", LONDON, 1)),
        (DeliveryWindow(30, 90, LONDON), at("2026-10-25T01:45", LONDON), at("2026-10-25T01:00", LONDON, 1)),
        (DeliveryWindow(1320, 30, LONDON), at("2026-10-25T01:45", LONDON, 1), at("2026-10-25T22:00", LONDON)),
    ],
)
def test_on_days_on_which_clocks_change_what_counts_is_what_they_show(
    window: DeliveryWindow, now: int, until: int
) -> None:
    assert opens(window, now) == until


@given(windows, changes, st.integers(0, 2 * DAY_MINUTES * MINUTE_MS))
def test_a_window_opens_at_the_first_minute_that_the_clock_shows_in_it(
    window: DeliveryWindow, day: str, offset: int
) -> None:
    now = at(f"{day}T00:00", "UTC") + offset
    until = opens(window, now)
    if until is None:
        assert window.is_open(now)
        return
    zone = ZoneInfo(window.time_zone)
    assert now < until
    assert window.is_open(until)
    minute = now // MINUTE_MS + 1
    while minute * MINUTE_MS < until:  # nothing is missed: all zones here are whole minutes from UTC
        shown = datetime.fromtimestamp(minute * 60, UTC).astimezone(zone)
        assert not _holds(window, shown.hour * 60 + shown.minute)
        minute += 1


def _holds(window: DeliveryWindow, minute: int) -> bool:
    if window.from_minute < window.to_minute:
        return window.from_minute <= minute < window.to_minute
    return not window.to_minute <= minute < window.from_minute


@given(st.lists(windows, max_size=3), changes, st.integers(0, 2 * DAY_MINUTES * MINUTE_MS))
def test_several_windows_are_all_open_at_the_time_that_is_told(
    several: list[DeliveryWindow], day: str, offset: int
) -> None:
    now = at(f"{day}T00:00", "UTC") + offset
    try:
        closed = find_closed(several, now)
    except NoCommonHours:
        assume(len(several) > 1)
        return
    told = now if closed is None else closed.until
    assert all(window.is_open(told) for window in several)
    assert closed is None or told > now


def test_the_code_names_the_rule_that_ends_last() -> None:
    early, late = DeliveryWindow(7 * 60, 19 * 60), DeliveryWindow(9 * 60, 21 * 60)
    night, evening = at("2026-11-25T23:00"), at("2026-11-25T20:30")

    assert find_closed([DAY, early], night) == Closed(at("2026-11-26T08:00"), Code.HELD_QUIET_HOURS)
    assert find_closed([DAY, late], night) == Closed(at("2026-11-26T09:00"), Code.HELD_WINDOW)
    assert find_closed([DAY, late], evening) == Closed(at("2026-11-26T09:00"), Code.HELD_WINDOW)
    assert find_closed([], night) is None


def test_windows_without_a_time_in_common_are_told() -> None:
    with pytest.raises(NoCommonHours):
        find_closed([DAY, DeliveryWindow(21 * 60, 23 * 60)], at("2026-11-25T12:00"))


@pytest.mark.parametrize(
    "name", ["Africa/Atlantis", "", "../../etc/passwd", "Africa", "\0", "Africa/Lagos\n", "x" * 999]
)
def test_what_is_no_zone_is_none(name: str) -> None:
    assert find_zone(name) is None
    assert find_zone(LAGOS) is not None


def test_a_time_of_the_day_is_so_many_minutes() -> None:
    assert [read_minute(text) for text in ("00:00", "08:30", "23:59")] == [0, 510, 1439]
