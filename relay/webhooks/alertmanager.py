"""Webhook payloads of Alertmanager (its documented data version 4) and of Grafana, which sends the same and more.

Payloads grow fields: what is not known is ignored. Nothing here is trusted: labels and annotations are text that goes
into a message, never into a log.
"""

import hashlib
import hmac
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from relay.webhooks.alerts import Alert, AlertGroup, PayloadError

MOST_ALERTS = 10_000

_Labels = dict[str, str]


class _WireAlert(Struct, frozen=True):
    status: str = "firing"
    labels: _Labels = {}
    annotations: _Labels = {}
    startsAt: str = ""  # noqa: N815 — the sender's own names
    fingerprint: str = ""


class _WireGroup(Struct, frozen=True):
    alerts: Annotated[list[_WireAlert], Meta(max_length=MOST_ALERTS)]
    status: str = "firing"
    groupKey: str = ""  # noqa: N815
    commonLabels: _Labels = {}  # noqa: N815
    commonAnnotations: _Labels = {}  # noqa: N815
    truncatedAlerts: Annotated[int, Meta(ge=0, le=10_000_000)] | None = 0  # noqa: N815


_decoder = msgspec.json.Decoder(_WireGroup)


def parse_alerts(body: bytes) -> AlertGroup:
    """Read a webhook body of Alertmanager or Grafana.

    Raises:
        PayloadError: not JSON, or a field has another type than documented.
    """
    try:
        wire = _decoder.decode(body)
    except msgspec.ValidationError:
        raise PayloadError("The body is JSON, but not an alert webhook: alerts must be a list of alerts.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise PayloadError("The body is not JSON.") from None
    return AlertGroup(
        group_key=wire.groupKey,
        firing=wire.status != "resolved",
        alerts=tuple(_alert(alert) for alert in wire.alerts),
        common_labels=wire.commonLabels,
        common_annotations=wire.commonAnnotations,
        cut_off=wire.truncatedAlerts or 0,
    )


def _alert(wire: _WireAlert) -> Alert:
    return Alert(
        firing=wire.status != "resolved",
        labels=wire.labels,
        annotations=wire.annotations,
        starts_at=wire.startsAt,
        started_ms=_milliseconds(wire.startsAt),
        fingerprint=wire.fingerprint or _own_fingerprint(wire.labels),
    )


def _own_fingerprint(labels: _Labels) -> str:
    """Name an alert by its labels where the sender gives no fingerprint (older ones do not)."""
    return hashlib.sha256(msgspec.json.encode(sorted(labels.items()))).hexdigest()[:16]


def _milliseconds(text: str) -> int | None:
    """Read RFC 3339, with the nanoseconds that Go prints; the zero time of Go means "not known"."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None or moment.year < 1970:
        return None
    return int(moment.timestamp() * 1000)


def is_signed(body: bytes, signature: str, timestamp: str | None, secret: str) -> bool:
    """Check Grafana's HMAC: hex HMAC-SHA-256 of the body, or of ``timestamp:body`` where a timestamp header is set.

    Source: Grafana's documentation of the webhook notifier's HMAC signature.
    """
    signed = body if timestamp is None else timestamp.encode() + b":" + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.strip().lower().encode("utf-8", "replace"))
