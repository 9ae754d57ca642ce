"""The metrics of one process: counts what the table lists, and writes the page for Prometheus.

Owns its registry: several can live in one process. How many series there can be, whatever is asked of the relay, and
how many more for each client, is held by ``test_metrics.py``.

**Decisions**

- Every method that a route serves starts at 0; a wrong method on a known route appears when it happens, within the
  same closed sets.
- One worker per process, so the client library's multi-process mode, which never forgets a dead process, is not used.
- The series of a client that left the settings stay: a counter that vanishes and comes back looks like a restart.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Final, Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from relay.observability.metric_table import HTTP_ROUTES, METHODS, TABLE, UNMATCHED, ClosedSet, Growing, Metric

_LONGEST_ACCEPT: Final = 1_000
_OPENMETRICS: Final = "application/openmetrics-text"
_ENCODINGS: Final = {True: f"{_OPENMETRICS}; version=1.0.0", False: "text/plain; version=0.0.4"}

_Child = TypeVar("_Child", Counter, Gauge, Histogram)


class Metrics:
    """Every metric of ``TABLE``, by its name. Label values are given in the order of the table.

    Args:
        version: of the relay.
        system: whether the process's own figures (memory, processor, descriptors) are shown too.
    """

    def __init__(self, *, version: str, system: bool = True) -> None:
        # A second series for each counter, which nobody asks for. (The library has no types here.)
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._names: dict[Growing, set[str]] = {}
        self._counters: dict[str, _Family[Counter]] = {}
        self._gauges: dict[str, _Family[Gauge]] = {}
        self._histograms: dict[str, _Family[Histogram]] = {}
        for metric in TABLE:
            self._register(metric)
        Info("relay_build", "The relay that runs.", registry=self.registry).info({"version": version})
        if system:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
            GCCollector(registry=self.registry)

    def _register(self, metric: Metric) -> None:
        named = (metric.name, metric.help, tuple(metric.labels))
        match metric.kind:
            case "counter":
                self._counters[metric.name] = _Family(metric, Counter(*named, registry=self.registry), self._names)
            case "gauge":
                self._gauges[metric.name] = _Family(metric, Gauge(*named, registry=self.registry), self._names)
                if metric.start:
                    self.set(metric.name, metric.start)
            case "histogram":
                histogram = Histogram(*named, registry=self.registry, buckets=metric.buckets)
                self._histograms[metric.name] = _Family(metric, histogram, self._names)

    def add(self, name: str, *values: str, amount: int = 1) -> None:
        """Count something."""
        self._counters[name].find(values).inc(amount)

    def set(self, name: str, number: float, *values: str) -> None:
        """Show a state."""
        self._gauges[name].find(values).set(number)

    def read_from(self, name: str, read: Callable[[], float], *values: str) -> None:
        """Show a state that is read each time that Prometheus asks."""
        self._gauges[name].find(values).set_function(read)

    def observe(self, name: str, seconds: float, *values: str) -> None:
        """Count one duration."""
        self._histograms[name].find(values).observe(seconds)

    def follow(self, names: Growing, members: Iterable[str]) -> None:
        """Start the series of these clients, or categories, at 0. Series of names that are gone stay."""
        known = self._names.setdefault(names, set())
        fresh = [name for name in dict.fromkeys(members) if name not in known][: max(0, names.most - len(known))]
        known.update(fresh)
        for family in self._families():
            family.create(names, fresh)

    def follow_routes(self, routes: Mapping[str, Iterable[str]]) -> None:
        """The same for the routes of the API: path template, and the methods that it serves."""
        self._names.setdefault(HTTP_ROUTES, set()).update(routes)
        for route, methods in {**routes, UNMATCHED: (*METHODS.members, METHODS.other)}.items():
            for family in self._families():
                family.create(HTTP_ROUTES, [route], method=methods)

    def known(self, names: Growing, name: str) -> str:
        """The label value for a name: the name itself, or its set's word for others."""
        return name if name in self._names.get(names, ()) else names.other

    def read(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Every series of a counter or gauge: its labels, and what it shows now."""
        family = self._counters.get(name) or self._gauges[name]
        return family.read()

    def _families(self) -> Iterator["_Family[Counter] | _Family[Gauge] | _Family[Histogram]"]:
        yield from self._counters.values()
        yield from self._gauges.values()
        yield from self._histograms.values()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Write the page. It takes about 8 us per series, so call it off the event loop if there are many clients.

        Args:
            accept: the request's ``Accept``; anything unreadable gives the plain text format.

        Returns:
            The body, and its content type.
        """
        # The library reads versions from the header as it comes, and raises on some; it gets one that it knows.
        encode, content_type = choose_encoder(_ENCODINGS[_prefers_openmetrics(accept[:_LONGEST_ACCEPT])])
        return encode(self.registry), content_type


class _Family(Generic[_Child]):
    """One metric with all its series. Each is looked up in the library once; after that counting costs a dictionary."""

    def __init__(self, metric: Metric, parent: _Child, names: Mapping[Growing, set[str]]) -> None:
        self._children: dict[tuple[str, ...], _Child] = {}
        self._metric = metric
        self._parent: _Child = parent
        self._names = names
        if not any(isinstance(values, Growing) for values in metric.labels.values()):
            self._create({})

    def find(self, values: tuple[str, ...]) -> _Child:
        """The series for these label values. A value outside its set counts under the set's word for others."""
        child = self._children.get(values)
        if child is not None:
            return child
        sets = zip(values, self._metric.labels.values(), strict=True)
        closed = tuple(value if value in self._members(of) else of.other for value, of in sets)
        child = self._children.get(closed)
        if child is None:
            child = self._children[closed] = self._make(closed)
        return child

    def read(self) -> list[tuple[dict[str, str], float]]:
        """What every series shows; without what the library adds of its own."""
        samples = [sample for family in self._parent.collect() for sample in family.samples]
        return [(dict(sample.labels), sample.value) for sample in samples if not sample.name.endswith("_created")]

    def create(self, names: Growing, fresh: Iterable[str], **narrower: Iterable[str]) -> None:
        """Start the series of new names at 0; ``narrower``: only with these values of another label."""
        for label, values in self._metric.labels.items():
            if values is names:
                self._create({**narrower, label: fresh})

    def _create(self, narrower: Mapping[str, Iterable[str]]) -> None:
        labels = self._metric.labels
        columns = (narrower[label] if label in narrower else self._members(of) for label, of in labels.items())
        for values in product(*columns):
            if values not in self._children and (self._metric.occurs is None or self._metric.occurs(*values)):
                self._children[values] = self._make(values)

    def _make(self, values: tuple[str, ...]) -> _Child:
        child: _Child = self._parent.labels(*values) if values else self._parent
        return child

    def _members(self, of: ClosedSet | Growing) -> Iterable[str]:
        return of.members if isinstance(of, ClosedSet) else self._names.get(of, ())


def _prefers_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics is wanted no less than plain text (RFC 9110, section 12.5.1)."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (each.strip().lower() for each in part.split(";"))
        weights[name] = _weight(parameters)
    plain = max(weights.get(name, 0.0) for name in ("text/plain", "text/*", "*/*"))
    return weights.get(_OPENMETRICS, 0.0) > 0 and weights[_OPENMETRICS] >= plain


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
