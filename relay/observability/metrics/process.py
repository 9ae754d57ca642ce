"""The process itself: which relay runs, and whether it works with what its files say now."""

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
)


class ProcessMetrics:
    """Version, reloads, and with ``system`` the process's memory, processor and descriptors."""

    def __init__(self, registry: CollectorRegistry, version: str, *, system: bool) -> None:
        self._refused: set[str] = set()
        self._reloaded = Gauge(
            "relay_config_reload_success",
            "0 while changed settings or word lists could not be taken up.",
            registry=registry,
        )
        self._reloaded.set(1)
        Info("relay_build", "The relay that runs.", registry=registry).info({"version": version})
        if system:
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
            GCCollector(registry=registry)

    def show_reload(self, what: str, *, good: bool) -> None:
        """Show whether one of the things that are reloaded (settings, words) was taken up; good is: all of them."""
        (self._refused.discard if good else self._refused.add)(what)
        self._reloaded.set(not self._refused)
