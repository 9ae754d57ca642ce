"""What alerting systems say, in one shape: a group of alerts, with how many were cut off. Pure."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct


class Alert(Struct, frozen=True, kw_only=True):
    """One alert. ``starts_at`` is the sender's own text; ``started_ms`` the same in milliseconds since 1970."""

    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: str
    started_ms: int | None
    fingerprint: str


class AlertGroup(Struct, frozen=True, kw_only=True):
    """What one webhook call tells. ``cut_off`` alerts were left out by the sender and still count."""

    group_key: str
    firing: bool
    alerts: tuple[Alert, ...]
    common_labels: Mapping[str, str]
    common_annotations: Mapping[str, str]
    cut_off: int = 0

    @property
    def firing_count(self) -> int:
        """How many fire, the cut-off ones counted with the group's own status."""
        return sum(1 for alert in self.alerts if alert.firing) + (self.cut_off if self.firing else 0)

    @property
    def resolved_count(self) -> int:
        """How many are resolved, the cut-off ones counted with the group's own status."""
        return sum(1 for alert in self.alerts if not alert.firing) + (0 if self.firing else self.cut_off)


def deduplication_key(receiver: str, group: AlertGroup) -> bytes:
    """Name what a group says, the same whichever of an HA pair says it and in whichever order.

    Each alert's own status is part of it: "A resolved, B still firing" is a page of its own (SPEC section 8).
    """
    said = sorted({(alert.fingerprint, alert.firing, alert.starts_at) for alert in group.alerts})
    return name_parts(receiver, group.group_key, *(part for alert in said for part in map(str, alert)))


def name_parts(*parts: str) -> bytes:
    """A digest of texts that no other sequence of texts has."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.digest()


class PayloadError(Exception):
    """A webhook's body is not what its kind sends.

    Args:
        detail: a sentence with the remedy; it names our fields, never a value.
        is_json: whether it is JSON at least.
    """

    def __init__(self, detail: str, *, is_json: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.is_json = is_json


def not_json() -> PayloadError:
    """The body cannot be read at all."""
    return PayloadError("The body is not JSON in UTF-8.", is_json=False)


def parse_json(body: bytes) -> Any:
    """Read any JSON value.

    Raises:
        PayloadError: it is none.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise not_json() from None
