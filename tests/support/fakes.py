"""Stand-ins for the ports that are cheap to make honestly: time that a test moves, ids that a test can foresee."""

from collections.abc import Iterator
from itertools import count


class FakeClock:
    """Time that moves only when a test says so. Implements ``Clock``.

    Args:
        now_ms: wall-clock milliseconds since 1970-01-01 UTC; the default is a Tuesday at noon in Lagos.
        monotonic: seconds.
    """

    def __init__(self, now_ms: int = 1_796_122_800_000, monotonic: float = 1_000.0) -> None:
        self.wall_ms = now_ms
        self.seconds = monotonic

    def now_ms(self) -> int:
        """See ``Clock.now_ms``."""
        return self.wall_ms

    def monotonic(self) -> float:
        """See ``Clock.monotonic``."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass, on both clocks."""
        self.seconds += seconds
        self.wall_ms += round(seconds * 1000)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; the monotonic one does not notice."""
        self.wall_ms += round(seconds * 1000)


class SequentialIds:
    """Ids in the form of a UUIDv7, one after the other. Implements ``Ids``.

    Args:
        start: the number of the first one; let each process of a test begin elsewhere.
    """

    def __init__(self, start: int = 1) -> None:
        self._numbers: Iterator[int] = count(start)

    def new_id(self) -> str:
        """See ``Ids.new_id``."""
        return f"01900000-0000-7000-8000-{next(self._numbers):012x}"
