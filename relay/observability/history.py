"""The last day of this process's own metrics, a sample a minute: what happened in the last hour, how fast units go.

Kept in memory for the operator's page, where no Prometheus is asked; 1,440 samples of some ten numbers at most. Each
replica knows its own; the balance is known to the one that reads it.
"""

from collections import deque
from collections.abc import Mapping
from itertools import pairwise

from msgspec import Struct

from relay.observability.metrics import Metrics
from relay.sending.ports import Clock

SAMPLE_SECONDS = 60.0
_HOUR_SECONDS = 3600.0
_DAY_SECONDS = 86_400.0
_LEAST_SECONDS = 600.0
"""Below this the rate at which units go is a guess."""

_COUNTED = {"relay_refusals_total": "code", "relay_unknown_total": "code"}
"""Counter → the label that its rise is told by."""


class _Sample(Struct, frozen=True):
    at: float
    counts: Mapping[str, Mapping[str, float]]
    units: Mapping[str, float]


class History:
    """Samples of some metrics.

    Args:
        metrics: of this process.
        clock: monotonic seconds.
    """

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._samples: deque[_Sample] = deque()

    def sample(self) -> None:
        """Take a sample, if the last one is a minute old. To be called every few seconds."""
        now = self._clock.monotonic()
        if self._samples and now - self._samples[-1].at < SAMPLE_SECONDS:
            return
        self._samples.append(self._look())
        while now - self._samples[0].at > _DAY_SECONDS:
            self._samples.popleft()

    def count_last_hour(self, name: str) -> dict[str, int]:
        """By how much a counter rose in the last hour (or since the start), by its label; what did not rise is left
        out."""
        now = self._look()
        before = next((each for each in self._samples if now.at - each.at <= _HOUR_SECONDS), None)
        past = before.counts[name] if before is not None and now.at - self._samples[0].at > _HOUR_SECONDS else {}
        rises = {label: round(number - past.get(label, 0.0)) for label, number in now.counts[name].items()}
        return {label: rise for label, rise in rises.items() if rise > 0}

    def units(self) -> dict[str, tuple[float, float]]:
        """By account, the balance as this process last read it, and when (seconds since 1970-01-01 UTC). An account
        whose balance it never read is left out."""
        read_at = self.by_account("relay_upstream_balance_read_timestamp_seconds")
        balances = self.by_account("relay_upstream_balance_units")
        return {account: (balances[account], at) for account, at in read_at.items() if at}

    def hours_left(self, account: str) -> float | None:
        """How long an account's units last at the rate of the last day; a rise of the balance is a top-up and counts as
        no use.

        ``None`` where that is not known, or nothing is used.
        """
        read = [(each.at, each.units[account]) for each in (*self._samples, self._look()) if account in each.units]
        if len(read) < 2 or (seconds := read[-1][0] - read[0][0]) < _LEAST_SECONDS:
            return None
        used = sum(max(before - after, 0.0) for (_, before), (_, after) in pairwise(read))
        return None if used <= 0 else read[-1][1] * seconds / used / _HOUR_SECONDS

    def by_account(self, name: str) -> dict[str, float]:
        """A gauge of the upstream, by account."""
        return {labels["account"]: number for labels, number in self._metrics.read(name)}

    def _look(self) -> _Sample:
        counts: dict[str, dict[str, float]] = {}
        for name, label in _COUNTED.items():
            counts[name] = {}
            for labels, number in self._metrics.read(name):
                counts[name][labels[label]] = counts[name].get(labels[label], 0.0) + number
        return _Sample(
            self._clock.monotonic(), counts, {account: units for account, (units, _) in self.units().items()}
        )
