"""What a relay may cost, as ratios within one run, and how runs came out beside that: the worst counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan, nan

from measure import Load

PLAIN_STEADY = "(a) plain app at 200/s"
FRESH = "(b) relay, SQLite, fresh connections, 64 in flight"
FRESH_FEW = "(b) the same, 8 in flight"
FRESH_STEADY = "(b) relay, fresh, at 200/s"
KEPT = "(b) relay, SQLite, kept-alive, 64 in flight"
KANNEL = "Kannel, no journal, no filter, 64 in flight"
BATCHES = "(d) batch of 100, acceptance and sending"
OVERLOAD = "(b) five times as many as it can take"


@dataclass
class Row:
    """One line of the table."""

    name: str
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    rss_before: float
    rss_after: float
    run: Load
    left: float = nan
    """Under overload: the share of the best throughput that was left."""

    def cells(self, baseline: "Row | None") -> list[str]:
        """The line as text; ``baseline`` is the plain app's."""
        ratio = "1" if baseline is None else f"1/{baseline.cpu_us / self.cpu_us:.1f}"
        return [
            self.name,
            f"{self.per_second:.0f}",
            f"{self.p50_ms:.1f}",
            f"{self.p99_ms:.1f}",
            f"{self.cpu_us:.0f}",
            ratio,
            f"{self.rss_before:.0f} → {self.rss_after:.0f}",
            " ".join(f"{count} of {status}" for status, count in sorted(self.run.statuses.items())),
        ]


class Rows:
    """The lines of one run, by their names."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def find(self, name: str) -> Row | None:
        """The line whose name begins so; none where what it needs is not installed."""
        return next((row for row in self._rows if row.name.startswith(name)), None)

    def ratio(self, name: str, to: str) -> float:
        """CPU of one line against another's."""
        one, other = self.find(name), self.find(to)
        return nan if one is None or other is None else one.cpu_us / other.cpu_us

    def read(self, name: str, read: Callable[[Row], float]) -> float:
        """A figure of one line."""
        row = self.find(name)
        return nan if row is None else read(row)


@dataclass(frozen=True)
class Target:
    """One figure, and what it should be."""

    what: str
    limit: float
    read: Callable[[Rows], float]
    more_is_better: bool = False
    unit: str = ""

    def write(self, value: float) -> str:
        """A figure as text."""
        if isnan(value):
            return "-"
        return f"{value:.0%}" if self.unit == "%" else f"{value:.{1 if self.unit else 2}f}{self.unit}"

    def worst(self, values: Sequence[float]) -> float:
        """The figure of several runs that counts."""
        return (min if self.more_is_better else max)(values, key=lambda value: nan_first(value, self.more_is_better))

    def is_met(self, value: float) -> bool:
        """Whether it is what it should be."""
        return value >= self.limit if self.more_is_better else value <= self.limit


def nan_first(value: float, more_is_better: bool) -> float:
    """What was not measured is worse than anything."""
    return value if not isnan(value) else (-1.0 if more_is_better else float("inf"))


TARGETS = (
    Target("kept-alive connections, 64 in flight, to Kannel", 1.8, lambda rows: rows.ratio(KEPT, KANNEL)),
    Target("fresh connections, 64 in flight, to Kannel", 2.2, lambda rows: rows.ratio(FRESH, KANNEL)),
    Target("fresh connections, at 200/s, to the plain app", 0.8, lambda rows: rows.ratio(FRESH_STEADY, PLAIN_STEADY)),
    Target("fresh connections, 8 in flight, to 64", 1.3, lambda rows: rows.ratio(FRESH_FEW, FRESH)),
    Target("batch, accepted and sent, to Kannel", 1.2, lambda rows: rows.ratio(BATCHES, KANNEL)),
    Target(
        "throughput left at five times the load",
        0.9,
        lambda rows: rows.read(OVERLOAD, lambda row: row.left),
        more_is_better=True,
        unit="%",
    ),
    Target(
        "p99 of a refusal",
        15,
        lambda rows: rows.read(OVERLOAD, lambda row: row.run.percentile_ms(0.99, 503)),
        unit=" ms",
    ),
    Target("two relays on one PostgreSQL, to one", 1.05, lambda rows: rows.ratio("(c) 2 relays", "(c) 1 relay,")),
    Target("three relays on one PostgreSQL, to one", 1.1, lambda rows: rows.ratio("(c) 3 relays", "(c) 1 relay,")),
    Target("resident at the start", 90, lambda rows: rows.read(FRESH, lambda row: row.rss_before), unit=" MiB"),
    Target(
        "more than that after all of these rows",
        4,
        lambda rows: rows.read(FRESH_STEADY, lambda row: row.rss_after) - rows.read(FRESH, lambda row: row.rss_before),
        unit=" MiB",
    ),
)


def print_targets(runs: Sequence[Sequence[Row]]) -> None:
    """Print what all runs came to beside the targets; CPU as ratios within a run."""
    numbers = [f"run {number}" for number in range(1, len(runs) + 1)]
    print("\n| what | target | " + " | ".join(numbers) + " | worst | reached |")
    print("| --- | --- | " + "--- | " * len(runs) + "--- | --- |")
    for target in TARGETS:
        values = [target.read(Rows(rows)) for rows in runs]
        worst = target.worst(values)
        limit = f"{'≥' if target.more_is_better else '≤'} {target.write(target.limit)}"
        reached = "not measured" if isnan(worst) else "yes" if target.is_met(worst) else "**no**"
        cells = [target.what, limit, *map(target.write, values), target.write(worst), reached]
        print("| " + " | ".join(cells) + " |", flush=True)
