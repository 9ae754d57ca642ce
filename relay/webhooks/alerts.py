"""What alerting systems say, in one shape: a group of alerts, with how many were cut off. Pure."""

import hashlib
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace


class Alert(Struct, frozen=True, kw_only=True):
    """One alert. ``starts_at`` is the sender's own text; ``started_ms`` the same in milliseconds since 1970."""

    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: str
    started_ms: int | None
    fingerprint: str


class AlertGroup(Struct, frozen=True, kw_only=True):
    """What one webhook call tells.

    ``cut_off`` alerts are not in it and still count, with the group's own status: the sender left them out, or they
    were too many, or (``skipped``, for the log) they were no alerts.
    """

    group_key: str
    firing: bool
    alerts: tuple[Alert, ...]
    common_labels: Mapping[str, str]
    common_annotations: Mapping[str, str]
    cut_off: int = 0
    skipped: int = 0

    @property
    def firing_count(self) -> int:
        """How many fire, the cut-off ones counted with the group's own status."""
        return sum(1 for alert in self.alerts if alert.firing) + (self.cut_off if self.firing else 0)

    @property
    def resolved_count(self) -> int:
        """How many are resolved, the cut-off ones counted with the group's own status."""
        return sum(1 for alert in self.alerts if not alert.firing) + (0 if self.firing else self.cut_off)

    def with_one_for_all(self) -> "AlertGroup":
        """Let one alert that says what all have in common stand for those that were cut off."""
        common = Alert(
            firing=self.firing,
            labels=self.common_labels,
            annotations=self.common_annotations,
            starts_at="",
            started_ms=None,
            fingerprint=name_alert(self.common_labels, self.common_annotations),
        )
        return replace(self, alerts=(common,), cut_off=self.cut_off - 1)


def deduplication_key(receiver: str, group: AlertGroup) -> bytes:
    """Name what a group says, the same whichever of an HA pair says it and in whichever order.

    Each alert's own status is part of it: "A resolved, B still firing" is a page of its own (SPEC section 8).
    """
    said = sorted({(alert.fingerprint, str(alert.firing), _start_of(alert)) for alert in group.alerts})
    return name_parts(receiver, group.group_key, *(part for alert in said for part in alert))


def _start_of(alert: Alert) -> str:
    """The instant, however it is written; of what is no time, the sender's own text."""
    return alert.starts_at.strip() if alert.started_ms is None else str(alert.started_ms)


def name_alert(labels: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    """A fingerprint for an alert whose sender gives none: of its labels, or where it has none, of what it says."""
    told = sorted((labels or annotations).items())
    return name_parts(*(part for pair in told for part in pair)).hex()[:16]


def name_parts(*parts: str) -> bytes:
    """A digest of texts that no other sequence of texts has."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.digest()


class AlertBodyError(Exception):
    """A webhook's body is not what its kind sends.

    Args:
        detail: a sentence with the remedy; it names our fields, never a value.
        is_json: whether it is JSON at least.
    """

    def __init__(self, detail: str, *, is_json: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.is_json = is_json


def not_json() -> AlertBodyError:
    """The body cannot be read at all."""
    return AlertBodyError("The body is not JSON in UTF-8.", is_json=False)
