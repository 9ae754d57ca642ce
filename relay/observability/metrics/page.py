"""All metrics of a process, and the page that shows them."""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from relay.observability.metrics import labels
from relay.observability.metrics.clients import ClientMetrics
from relay.observability.metrics.front import FrontMetrics
from relay.observability.metrics.process import ProcessMetrics
from relay.observability.metrics.sending import SendingMetrics
from relay.observability.metrics.upstream import UpstreamMetrics

_LONGEST_ACCEPT: Final = 1_000
_OPENMETRICS: Final = "application/openmetrics-text"
_ENCODINGS: Final = {True: f"{_OPENMETRICS}; version=1.0.0", False: "text/plain; version=0.0.4"}


class Metrics:
    """All of them, and the page that shows them.

    Args:
        version: of the relay.
        routes: templates of the front's addresses with their methods; nothing else is ever a route label.
        system: whether the process's own figures (memory, processor, descriptors) are shown too.
    """

    def __init__(
        self, *, version: str, routes: Mapping[str, Iterable[str]] = labels.ROUTES, system: bool = True
    ) -> None:
        # A second series for each counter, which nobody asks for. (The library has no types here.)
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.front = FrontMetrics(self.registry, routes)
        self.clients = ClientMetrics(self.registry)
        self.sending = SendingMetrics(self.registry)
        self.upstream = UpstreamMetrics(self.registry)
        self.process = ProcessMetrics(self.registry, version, system=system)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Write the page: about 8 us a series, so off the event loop where there are many clients.

        Args:
            accept: the request's ``Accept``; anything unreadable gives the plain text format.

        Returns:
            The body, and its content type.
        """
        # The library reads versions from the header as it comes, and raises on some; it gets one that it knows.
        encode, content_type = choose_encoder(_ENCODINGS[_prefers_openmetrics(accept[:_LONGEST_ACCEPT])])
        return encode(self.registry), content_type


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
