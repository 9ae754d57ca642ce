"""While a request is read it takes the place that it is about to need, for a moment."""

from relay.sending.arrivals import Arrivals


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return self.now


def test_a_request_counts_from_its_arrival_until_it_is_read() -> None:
    arrivals = Arrivals(Clock())

    with arrivals.begin(), arrivals.begin():
        assert arrivals.count() == 2

    assert arrivals.count() == 0


def test_a_slow_body_keeps_no_place() -> None:
    clock = Clock()
    arrivals = Arrivals(clock)

    with arrivals.begin():
        clock.now += 0.2

        assert arrivals.count() == 0


def test_a_slow_body_that_ends_takes_nobody_elses_place_away() -> None:
    clock = Clock()
    arrivals = Arrivals(clock)

    with arrivals.begin():
        clock.now += 0.2
        other = arrivals.begin()
    assert arrivals.count() == 1

    with other:
        pass
    assert arrivals.count() == 0
