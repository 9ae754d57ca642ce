"""Counters and histograms whose children are found once and kept: counting costs a look-up in a dictionary."""

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram


class Counters:
    """One counter with labels. Combinations that are named beforehand stand at 0 until something happens.

    Args:
        registry: where it is shown.
        name: with its ``_total``.
        meaning: for the reader of ``/metrics``.
        labels: their names.
        values: combinations that exist from the beginning.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        meaning: str,
        labels: Sequence[str],
        values: Iterable[tuple[str, ...]] = (),
    ) -> None:
        self._counter = Counter(name, meaning, labels, registry=registry)
        self._children: dict[tuple[str, ...], Counter] = {}
        self.create(values)

    def create(self, values: Iterable[tuple[str, ...]]) -> None:
        """Let combinations stand at 0."""
        for each in values:
            self._children.setdefault(each, self._counter.labels(*each))

    def add(self, *values: str, amount: int = 1) -> None:
        """Count. The caller takes every value from a closed set."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._counter.labels(*values)
        child.inc(amount)


class Durations:
    """One histogram of seconds with one label, all of whose values are known beforehand."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        meaning: str,
        label: str,
        values: Iterable[str],
        buckets: Sequence[float],
    ) -> None:
        histogram = Histogram(name, meaning, [label], registry=registry, buckets=buckets)
        self._children = {value: histogram.labels(value) for value in values}

    def observe(self, value: str, seconds: float) -> None:
        """Count one duration."""
        self._children[value].observe(seconds)
