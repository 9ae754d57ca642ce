"""When messages may be sent: parts of the day by the clock on a wall. Quiet hours and delivery windows are the same.

Times are milliseconds since 1970-01-01 UTC. Zone rules are read by name from the IANA database (the system's, or the
package ``tzdata``): data, as the number ranges of ``phonenumbers`` are. On days on which clocks change, what counts is
what the clock shows: an hour that it shows twice is twice in the window, one that it skips never is.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from relay.domain.codes import Code

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DAY = timedelta(days=1)
_DAY_MS = 86_400_000
_MOST_DAYS = 7
"""A window opens every day, but for one that the clocks skip."""

_MOST_STEPS = 100
"""Two windows that have no time in common put it off twice a day: after so many it is certain."""


class DeliveryWindow(Struct, frozen=True):
    """When messages may be sent: from one minute of the day up to, not including, another.

    It passes midnight where ``from_minute`` is the later one; the two are never equal. ``code`` is what a message waits
    for outside it.
    """

    from_minute: int
    to_minute: int
    time_zone: str = "Africa/Lagos"
    code: Code = Code.HELD_WINDOW

    def is_open(self, at_ms: int) -> bool:
        """Whether messages may be sent at a time.

        Example:
            >>> DeliveryWindow(8 * 60, 20 * 60, "UTC").is_open(7 * 3_600_000)
            False
        """
        local = local_time(at_ms, ZoneInfo(self.time_zone))
        minute = local.hour * 60 + local.minute
        if self.from_minute < self.to_minute:
            return self.from_minute <= minute < self.to_minute
        return minute >= self.from_minute or minute < self.to_minute

    def opens_at(self, at_ms: int) -> int:
        """When it opens next, after a time at which it is closed.

        Example:
            >>> DeliveryWindow(20 * 60, 8 * 60, "UTC").opens_at(9 * 3_600_000) == 20 * 3_600_000
            True
        """
        zone = ZoneInfo(self.time_zone)
        for days in range(_MOST_DAYS):
            day = local_time(at_ms, zone).date() + days * _DAY
            times = sorted(time for time in self._times(day, zone) if time > at_ms and self.is_open(time))
            if times:
                return times[0]
        raise ValueError("no window is closed for a week")

    def _times(self, day: date, zone: ZoneInfo) -> Iterator[int]:
        """When it may open on a day: as its hour strikes, once or twice, or as the clocks change."""
        yield from (_milliseconds(_at(day, self.from_minute, zone, fold)) for fold in (0, 1))
        begin, end = (_milliseconds(_at(each, 0, zone)) for each in (day, day + _DAY))
        while begin < end:
            change = _find_change(begin, min(begin + _DAY_MS // 4, end), zone)
            if change is not None:
                yield change
            begin += _DAY_MS // 4


class Closed(NamedTuple):
    """Messages may not be sent now: from when on they may, and what they wait for until then."""

    until: int
    code: Code


class NoCommonHours(Exception):
    """Windows leave no time in which all of them are open."""


def find_closed(windows: Iterable[DeliveryWindow], at_ms: int) -> Closed | None:
    """Say when all windows are open, where one is closed at a time.

    Returns:
        That time with the code of the window that opens last; ``None`` where all are open.

    Raises:
        NoCommonHours: there is no such time.
    """
    windows, closed = tuple(windows), None
    for _ in range(_MOST_STEPS):
        now = at_ms if closed is None else closed.until
        openings = [Closed(window.opens_at(now), window.code) for window in windows if not window.is_open(now)]
        if not openings:
            return closed
        closed = max(openings, key=lambda opening: opening.until)
    raise NoCommonHours


def find_zone(name: str) -> ZoneInfo | None:
    """A zone of the IANA database; ``None`` where there is none of the name.

    Example:
        >>> find_zone("Africa/Atlantis") is None
        True
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return None


def read_minute(time_of_day: str) -> int:
    """The minute of the day of a time that is written ``20:00``."""
    hours, minutes = time_of_day.split(":")
    return int(hours) * 60 + int(minutes)


def local_time(at_ms: int, zone: ZoneInfo) -> datetime:
    """What the clocks of a zone show."""
    return (_EPOCH + at_ms * _MILLISECOND).astimezone(zone)


def _find_change(begin: int, end: int, zone: ZoneInfo) -> int | None:
    """When the clocks change between two times, to the second."""
    before = local_time(begin, zone).utcoffset()
    if local_time(end, zone).utcoffset() == before:
        return None
    early, late = begin // 1000, -(-end // 1000)
    while late - early > 1:
        middle = (early + late) // 2
        if local_time(middle * 1000, zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late * 1000


def _at(day: date, minute: int, zone: ZoneInfo, fold: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, *divmod(minute, 60), tzinfo=zone, fold=fold)


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND
