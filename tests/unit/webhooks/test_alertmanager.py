"""Bodies of Alertmanager and Grafana: read as they are documented, and as they might become."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import OnNonGsm
from relay.domain.text import prepare_text
from relay.webhooks.alertmanager import parse_alerts
from relay.webhooks.alerts import AlertGroup, PayloadError, deduplication_key
from relay.webhooks.rendering import Wish, render_alerts
from support_webhooks import alertmanager_alert, alertmanager_body, grafana_alert, grafana_body, no_data_body

NOW = 1_796_119_200_042


def parse(body: object) -> AlertGroup:
    return parse_alerts(json.dumps(body).encode())


def text_of(body: object, segments: int = 2) -> str:
    return render_alerts(parse(body), Wish(segments, OnNonGsm.FOLD), NOW)


def key_of(*alerts: object, **fields: object) -> bytes:
    return deduplication_key("oncall", parse(alertmanager_body(*alerts, **fields)))  # type: ignore[arg-type]


def test_alertmanagers_body_is_read_and_unknown_fields_are_ignored() -> None:
    told = parse(alertmanager_body(truncatedAlerts=2, aFieldOfTomorrow={"a": [1]}))

    assert told.firing_count == 3
    assert told.alerts[0].started_ms == 1_796_115_600_123


@pytest.mark.parametrize(
    "fields",
    [
        {"truncatedAlerts": None},
        {"truncatedAlerts": -1},
        {"truncatedAlerts": "3"},
        {"commonLabels": None},
        {"groupKey": None},
        {"alerts": [{"labels": None, "annotations": None, "startsAt": None, "fingerprint": None}]},
        {"alerts": [{"labels": {"alertname": 5, "job": None, "x": {"y": 1}}, "startsAt": "yesterday"}]},
        {"alerts": [{}]},
    ],
)
def test_a_page_does_not_vanish_because_a_value_is_of_another_kind(fields: dict[str, object]) -> None:
    assert parse(alertmanager_body(**fields)).firing_count == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"null", b'{"alerts": []}', b'{"alerts": null}', b'{"alerts": {}}', b'{"alerts": ["x"]}']
)
def test_json_that_tells_of_no_alert_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_alerts(body)

    assert caught.value.is_json


@pytest.mark.parametrize("body", [b"", b"alerts", b'{"alerts": [', b'{"alerts": ["\xff"]}', b'{"alerts": ["\\ud800"]}'])
def test_what_is_not_json_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_alerts(body)

    assert not caught.value.is_json


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        parse_alerts(body)


def test_the_order_of_the_alerts_makes_no_other_page() -> None:
    a, b = alertmanager_alert("A"), alertmanager_alert("B")

    assert key_of(a, b) == key_of(b, a) == key_of(a, b, a)


@pytest.mark.parametrize(
    "other",
    [
        {"alerts": [alertmanager_alert("A", "resolved"), alertmanager_alert("B")]},
        {"alerts": [alertmanager_alert("A")]},
        {"alerts": [alertmanager_alert("A") | {"startsAt": "2026-12-01T09:05:00Z"}, alertmanager_alert("B")]},
        {"groupKey": "{}:{}"},
    ],
)
def test_another_status_set_start_or_group_is_a_page_of_its_own(other: dict[str, object]) -> None:
    assert key_of(alertmanager_alert("A"), alertmanager_alert("B")) != key_of(
        alertmanager_alert("A"), alertmanager_alert("B"), **other
    )


def test_what_does_not_tell_alerts_apart_makes_no_other_page() -> None:
    peer = {"externalURL": "http://alertmanager-2.internal:9093", "receiver": "relay-2"}

    assert key_of(alertmanager_alert("A")) == key_of(alertmanager_alert("A"), **peer)


def test_grafanas_firing_alerts_are_told() -> None:
    text = text_of(grafana_body(grafana_alert(service="api", instance="web-1"), grafana_alert("High CPU usage")))

    assert text == (
        "FIRING 2 (8m)\nHigh memory usage api/web-1: Memory is over 90 %\nHigh CPU usage: Memory is over 90 %"
    )


def test_grafanas_resolved_alerts_are_told() -> None:
    text = text_of(grafana_body(grafana_alert(status="resolved"), status="resolved"))

    assert text == "RESOLVED 1\nok High memory usage: Memory is over 90 %"


def test_grafanas_missing_data_is_told() -> None:
    assert text_of(no_data_body()) == "FIRING 1 (8m)\nDatasourceNoData"


@pytest.mark.parametrize("segments", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 7, 500])
def test_many_alerts_of_grafana_fit_the_budget_and_are_all_counted(segments: int, count: int) -> None:
    told = [grafana_alert(summary="Pámięć " * 30, instance=f"web-{i}.internal:9100") for i in range(count)]
    text = text_of(grafana_body(*told, truncatedAlerts=count), segments)

    assert text.startswith(f"FIRING {2 * count} ")
    assert prepare_text(text, OnNonGsm.FOLD).facts.segments <= segments
