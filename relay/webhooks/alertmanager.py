"""Webhook bodies of Alertmanager (its documented data version 4) and of Grafana, which sends the same and more.

They grow fields: what is not known is ignored. A page must not vanish because a value is of another kind than is
documented, so that only what nothing can be made of is refused. Nothing here is trusted: labels and annotations are
text that goes into a message, never into a log.

Source: Alertmanager, "Webhook receiver" and "Notification template reference"; Grafana, "Configure webhook
notifications", both as published in 2025.
"""

from datetime import UTC, datetime, timedelta

from msgspec import Raw, Struct
from msgspec.structs import replace

from relay.webhooks.alerts import Alert, AlertBodyError, AlertGroup, name_alert
from relay.webhooks.lenient_json import NOTHING, begins_with, decode_as, elements_of, mend, text_of, texts_of, unquoted

MOST_ALERTS = 20_000
"""Alerts of a body that are read; those after them are counted, with the status of their group."""

MOST_CUT_OFF = 1_000_000
"""A sender's count of alerts that it left out is believed up to here; a greater one is no count."""

_OVER = frozenset({"resolved", "ok", "normal", "inactive", "recovered", "cleared", "closed"})
"""Words for "it is over": Alertmanager's, Grafana's (also of its ``state``), Prometheus's, other systems'."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _WireAlert(Struct, frozen=True):
    status: Raw = NOTHING
    labels: Raw = NOTHING
    annotations: Raw = NOTHING
    startsAt: Raw = NOTHING  # noqa: N815 — the sender's own names
    fingerprint: Raw = NOTHING


_ALERT_FIELDS = frozenset(_WireAlert.__struct_fields__)


class _WireGroup(Struct, frozen=True):
    alerts: Raw = NOTHING
    status: Raw = NOTHING
    state: Raw = NOTHING
    groupKey: Raw = NOTHING  # noqa: N815
    groupLabels: Raw = NOTHING  # noqa: N815
    commonLabels: Raw = NOTHING  # noqa: N815
    commonAnnotations: Raw = NOTHING  # noqa: N815
    truncatedAlerts: Raw = NOTHING  # noqa: N815
    ruleName: Raw = NOTHING  # noqa: N815
    title: Raw = NOTHING
    message: Raw = NOTHING


def parse_alerts(body: bytes) -> AlertGroup:
    """Read a webhook body of Alertmanager or Grafana; an element of ``alerts`` that is none is skipped and counted.

    Raises:
        AlertBodyError: not JSON, or it tells of no alerts.
    """
    mended = _unpack(bytes(unquoted(Raw(mend(body).strip()))))
    wire = decode_as(mended, _WireGroup) or _WireGroup(alerts=Raw(mended))
    elements = _find_elements(wire.alerts) or _lone_alert(mended)
    firing = _is_firing(wire.status, default=_is_firing(wire.state, default=True))
    group = AlertGroup(
        group_key=text_of(wire.groupKey),
        firing=firing,
        alerts=(),
        common_labels=texts_of(wire.groupLabels) | texts_of(wire.commonLabels),
        common_annotations=texts_of(wire.commonAnnotations),
    )
    read = elements[:MOST_ALERTS]
    alerts = tuple(_alert(each, group) for element in read if (each := decode_as(element, _WireAlert)) is not None)
    skipped = len(read) - len(alerts)
    cut_off = skipped + len(elements) - len(read) + _count(wire.truncatedAlerts)
    group = replace(group, alerts=alerts, cut_off=cut_off, skipped=skipped)
    if not alerts:
        labels, annotations = _said_by_group(wire, group)
        if not (labels or annotations):
            what = "Send what Alertmanager or Grafana sends: alerts is a list with an alert in it."
            raise AlertBodyError(what, is_json=mended == body.strip())
        group = replace(group, common_labels=labels, common_annotations=annotations, cut_off=max(group.cut_off, 1))
        group = group.with_one_for_all()
    return group


def _unpack(mended: bytes) -> bytes:
    """The group in a list of one, as flows that gather bodies send it; any other body comes back as it is."""
    elements = elements_of(Raw(mended)) if mended.startswith(b"[") else []
    group = decode_as(elements[0], _WireGroup) if len(elements) == 1 else None
    return mended if group is None or bytes(group.alerts) == bytes(NOTHING) else bytes(elements[0])


def _find_elements(value: Raw) -> list[Raw]:
    """The alerts, undecoded, however somebody packed them: as a list, in lists, by name, or as JSON in a text."""
    elements = elements_of(unquoted(value))
    if len(elements) == 1 and (named := decode_as(elements[0], dict[str, Raw])) and not named.keys() & _ALERT_FIELDS:
        return [each for each in named.values() if begins_with(each, b"{")] or elements
    if all(begins_with(element, b"[") for element in elements):
        return [each for element in elements for each in elements_of(element)]
    return elements


def _said_by_group(wire: _WireGroup, group: AlertGroup) -> tuple[dict[str, str], dict[str, str]]:
    """Labels and annotations for a group without alerts: what it says of all, or what Grafana said before version 8."""
    told = {"alertname": wire.ruleName, "message": wire.message, "title": wire.title}
    texts = {name: text for name, value in told.items() if (text := text_of(value).strip())}
    name = {"alertname": texts.pop("alertname")} if "alertname" in texts else {}
    return name | dict(group.common_labels), texts | dict(group.common_annotations)


def _lone_alert(mended: bytes) -> list[Raw]:
    """A body that is no group of alerts may be an alert itself."""
    wire = decode_as(mended, _WireAlert)
    return [Raw(mended)] if wire is not None and texts_of(wire.labels) else []


def _alert(wire: _WireAlert, group: AlertGroup) -> Alert:
    """What an alert does not say of itself, its group says of it."""
    labels, annotations, starts_at = texts_of(wire.labels), texts_of(wire.annotations), text_of(wire.startsAt)
    return Alert(
        firing=_is_firing(wire.status, default=group.firing),
        labels=labels or group.common_labels,
        annotations=annotations or group.common_annotations,
        starts_at=starts_at,
        started_ms=_milliseconds(starts_at),
        fingerprint=text_of(wire.fingerprint).strip() or name_alert(labels, annotations),
    )


def _is_firing(status: Raw, *, default: bool) -> bool:
    """Read a status without regard to case and blanks; what is no text says nothing."""
    word = "".join((decode_as(status, str) or "").split()).casefold()
    return word not in _OVER if word else default


def _count(value: Raw) -> int:
    """How many alerts the sender left out; what is no number of them is none."""
    count = decode_as(value, int) or 0
    return count if 0 < count <= MOST_CUT_OFF else 0


def _milliseconds(text: str) -> int | None:
    """Read RFC 3339, with the nanoseconds that Go prints; the zero time of Go means "not known"."""
    try:
        moment = datetime.fromisoformat(text.strip().upper())
    except ValueError:
        return None
    if moment.tzinfo is None or moment.year < _EPOCH.year:
        return None
    return (moment - _EPOCH) // timedelta(milliseconds=1)
