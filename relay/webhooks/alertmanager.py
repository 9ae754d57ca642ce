"""Webhook bodies of Alertmanager (its documented data version 4) and of Grafana, which sends the same and more.

They grow fields: what is not known is ignored. A page must not vanish because a value is of another kind than is
documented, so that only what nothing can be made of is refused. Nothing here is trusted: labels and annotations are
text that goes into a message, never into a log.

Source: Alertmanager, "Webhook receiver" and "Notification template reference"; Grafana, "Configure webhook
notifications", both as published in 2025.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from relay.webhooks.alerts import Alert, AlertGroup, PayloadError, not_json, parse_json

MOST_ALERTS = 10_000

_Labels = dict[str, Any] | None


class _WireAlert(Struct, frozen=True):
    status: Any = "firing"
    labels: _Labels = None
    annotations: _Labels = None
    startsAt: Any = ""  # noqa: N815 — the sender's own names
    fingerprint: Any = ""


class _WireGroup(Struct, frozen=True):
    alerts: Annotated[list[_WireAlert], Meta(min_length=1, max_length=MOST_ALERTS)]
    status: Any = "firing"
    groupKey: Any = ""  # noqa: N815
    commonLabels: _Labels = None  # noqa: N815
    commonAnnotations: _Labels = None  # noqa: N815
    truncatedAlerts: Any = 0  # noqa: N815


_decoder = msgspec.json.Decoder(_WireGroup)


def parse_alerts(body: bytes) -> AlertGroup:
    """Read a webhook body of Alertmanager or Grafana.

    Args:
        body: as it came; nested no deeper than the C stack bears (``relay.http.bodies.check_nesting``).

    Raises:
        PayloadError: not JSON, or it tells of no alerts.
    """
    try:
        wire = _decoder.decode(body)
    except msgspec.ValidationError:
        parse_json(body)  # a value of the wrong type is told of before the rest is read
        what = f"Send what Alertmanager or Grafana sends: alerts is a list of 1 to {MOST_ALERTS} alerts."
        raise PayloadError(what, is_json=True) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise not_json() from None
    return AlertGroup(
        group_key=_text(wire.groupKey),
        firing=wire.status != "resolved",
        alerts=tuple(_alert(alert) for alert in wire.alerts),
        common_labels=_texts(wire.commonLabels),
        common_annotations=_texts(wire.commonAnnotations),
        cut_off=_count(wire.truncatedAlerts),
    )


def _alert(wire: _WireAlert) -> Alert:
    labels, starts_at = _texts(wire.labels), _text(wire.startsAt)
    return Alert(
        firing=wire.status != "resolved",
        labels=labels,
        annotations=_texts(wire.annotations),
        starts_at=starts_at,
        started_ms=_milliseconds(starts_at),
        fingerprint=_text(wire.fingerprint) or _own_fingerprint(labels),
    )


def _texts(values: _Labels) -> dict[str, str]:
    return {name: _text(value) for name, value in (values or {}).items()}


def _text(value: Any) -> str:
    """A value as text: what is documented as text may come as a number or as nothing."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _count(value: Any) -> int:
    """How many alerts were cut off; what is no number of them is none."""
    return min(value, 10**9) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _own_fingerprint(labels: dict[str, str]) -> str:
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
