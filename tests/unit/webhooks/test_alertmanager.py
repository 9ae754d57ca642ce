"""Bodies of Alertmanager and Grafana: read as they are documented, and as they might become."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import OnNonGsm
from relay.domain.text import prepare_text
from relay.webhooks.alertmanager import MOST_ALERTS, parse_alerts
from relay.webhooks.alerts import Alert, AlertBodyError, AlertGroup, deduplication_key
from relay.webhooks.rendering import Wish, render_alerts
from support.webhooks import (
    alert_groups,
    alertmanager_alert,
    alertmanager_body,
    grafana_alert,
    grafana_body,
    json_values,
    no_data_body,
)

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
        {"alerts": alertmanager_alert()},
        {
            "commonLabels": "",
            "commonAnnotations": [],
            "groupLabels": 3,
            "alerts": [{"labels": [], "annotations": "none"}],
        },
        {"truncatedAlerts": 10**30},
        {"truncatedAlerts": 1.5},
        {"truncatedAlerts": True},
        {"truncatedAlerts": [7]},
        {"groupKey": {"a": 1}, "status": 5},
    ],
)
def test_a_page_does_not_vanish_because_a_value_is_of_another_kind(fields: dict[str, object]) -> None:
    assert parse(alertmanager_body(**fields)).firing_count == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"null", b'{"alerts": []}', b'{"alerts": null}', b'{"alerts": {}}', b'{"alerts": ["x"]}']
)
def test_json_that_tells_of_no_alert_is_refused(body: bytes) -> None:
    with pytest.raises(AlertBodyError) as caught:
        parse_alerts(body)

    assert caught.value.is_json


@pytest.mark.parametrize("body", [b"", b"alerts", b'{"alerts": [', b'{"alerts": ["\xff"]}', b'{"alerts": ["\\ud800"]}'])
def test_what_is_not_json_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(AlertBodyError) as caught:
        parse_alerts(body)

    assert not caught.value.is_json


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(AlertBodyError):
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


def parse_alert(**fields: Any) -> Alert:
    [alert] = parse(alertmanager_body(alertmanager_alert() | fields)).alerts
    return alert


@pytest.mark.parametrize("none", [None, "", "none", [], ["a"], 3, 1.5, True])
def test_a_map_that_is_none_counts_as_empty_and_the_group_speaks_for_it(none: Any) -> None:
    body = alertmanager_body({"labels": none, "annotations": none}, commonAnnotations={"summary": "Disk full"})

    assert text_of(body) == "FIRING 1\nHighLatency: Disk full"
    assert text_of(body | {"commonLabels": none, "groupLabels": none}) == "FIRING 1\nalert: Disk full"
    assert parse(body | {"commonLabels": none, "groupLabels": none, "commonAnnotations": none}).common_labels == {}


@pytest.mark.parametrize("none", [None, "", "none", 3, False, [], ["a"], [{}]])
def test_an_element_that_is_no_alert_is_skipped_and_counted(none: Any) -> None:
    told = parse(alertmanager_body(none, alertmanager_alert(), none))

    assert (len(told.alerts), told.firing_count, told.skipped) == (1, 3, 2)
    assert text_of(alertmanager_body(none, alertmanager_alert())).endswith("p99 is over 1 s\n+1 more")


def test_what_no_alert_says_is_taken_from_its_group() -> None:
    body = alertmanager_body(*[None] * 3, commonAnnotations={"summary": "p99 is over 1 s"})

    assert text_of(body) == "FIRING 3\nHighLatency: p99 is over 1 s\n+2 more"
    assert text_of(body | {"alerts": "none"}) == "FIRING 1\nHighLatency: p99 is over 1 s"
    assert text_of(body | {"alerts": [], "truncatedAlerts": 8}) == "FIRING 8\nHighLatency: p99 is over 1 s\n+7 more"


def test_a_lone_alert_stands_for_a_list_of_one_and_a_list_for_its_group() -> None:
    alert = alertmanager_alert()

    assert [parse(body).alerts for body in (alertmanager_body(alert) | {"alerts": alert}, [alert], alert)] == [
        parse(alertmanager_body(alert)).alerts
    ] * 3


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("12.50", "12.50"),
        ("1e21", "1e21"),
        ("true", "true"),
        ("null", ""),
        ("-0.0", "-0.0"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1e999", "1e999"),
        ('"a \\" b"', 'a " b'),
        ('{"y": [1]}', '{"y": [1]}'),
    ],
)
def test_a_value_has_the_text_that_a_person_sees_in_it(written: str, text: str) -> None:
    body = b'{"alerts": [{"labels": {"x": %s}}]}' % written.encode()

    assert parse_alerts(body).alerts[0].labels == {"x": text}


@pytest.mark.parametrize(
    "half", [rb"\ud83d", rb"\uDE00", rb"\ud83d \ude00"[:6], b"\xed\xa0\xbd", b"\xed\xb8\x80", b"\xff", rb"\\\ud83d"[2:]]
)
def test_half_a_character_becomes_the_replacement_character(half: bytes) -> None:
    body = b'{"alerts": [{"labels": {"alertname": "A"}, "annotations": {"summary": "disk %s full"}}]}' % half

    assert parse_alerts(body).alerts[0].annotations == {"summary": "disk \ufffd full"}


@pytest.mark.parametrize("whole", [rb"\ud83d\ude00", b"\xed\xa0\xbd\xed\xb8\x80", "\U0001f600".encode()])
def test_a_whole_character_stays_whole(whole: bytes) -> None:
    body = b'{"alerts": [{"annotations": {"summary": "%s", "other": "\\\\ud83d"}}]}' % whole

    assert parse_alerts(body).alerts[0].annotations == {"summary": "\U0001f600", "other": "\\ud83d"}


def test_json_that_a_script_wrote_is_read() -> None:
    body = b'\xef\xbb\xbf{"alerts": [{"annotations": {"summary": "disk\n\tfull"}}]}'

    assert text_of_bytes(body) == "FIRING 1\nalert: disk full"


def text_of_bytes(body: bytes) -> str:
    return render_alerts(parse_alerts(body), Wish(2, OnNonGsm.FOLD), NOW)


@pytest.mark.parametrize("status", ["resolved", "RESOLVED", "Resolved ", "\tresolved\n", "ok", "OK", "Normal"])
def test_a_status_is_read_in_any_case_and_without_its_blanks(status: str) -> None:
    assert not parse_alert(status=status).firing
    assert not parse(alertmanager_body(status=status)).firing


@pytest.mark.parametrize(
    "status", ["firing", "FIRING", " Firing", "alerting", "no_data", "okay", "unresolved", "error"]
)
def test_every_other_status_fires(status: str) -> None:
    assert parse_alert(status=status).firing


@pytest.mark.parametrize("status", [None, "", " ", 0, {}, ["resolved"]])
def test_a_status_that_says_nothing_is_that_of_the_group(status: Any) -> None:
    alert = alertmanager_alert() | {"status": status}

    assert parse(alertmanager_body(alert, status="resolved")).firing_count == 0
    assert parse(alertmanager_body(alert)).firing_count == 1
    assert parse(grafana_body(alert) | {"status": status, "state": "ok"}).firing_count == 0


@pytest.mark.parametrize(
    "same",
    [
        "2026-12-01T10:00:00+01:00",
        "2026-12-01T09:00:00.000Z",
        "2026-12-01T09:00:00.0000004Z",
        "2026-12-01t09:00:00z",
        "2026-12-01T09:00:00-00:00",
        "2026-12-01 04:00:00-05:00",
        " 2026-12-01T09:00:00Z ",
    ],
)
def test_times_are_compared_as_instants(same: str) -> None:
    alert = alertmanager_alert() | {"startsAt": "2026-12-01T09:00:00Z"}

    assert key_of(alert) == key_of(alert | {"startsAt": same})
    assert key_of(alert) != key_of(alert | {"startsAt": same.replace(":00:00", ":00:01")})


def test_alerts_without_labels_and_fingerprint_are_told_apart_by_what_they_say() -> None:
    one, other = ({"annotations": {"summary": text}} for text in ("Disk full", "Database down"))

    assert key_of(one) != key_of(other)
    none: dict[str, Any] = {"commonLabels": [], "groupLabels": []}
    assert key_of(None, commonAnnotations=one["annotations"], **none) != key_of(
        None, commonAnnotations=other["annotations"], **none
    )


def test_of_a_storm_the_first_alerts_are_read_and_the_others_counted() -> None:
    told = parse({"alerts": [{"labels": {"a": str(index)}} for index in range(MOST_ALERTS + 5)]})

    assert (len(told.alerts), told.firing_count, told.skipped) == (MOST_ALERTS, MOST_ALERTS + 5, 0)


def test_of_very_many_labels_the_first_are_read() -> None:
    labels = {"alertname": "A"} | {f"l{index}": index for index in range(5_000)}

    assert len(parse({"alerts": [{"labels": labels}]}).alerts[0].labels) == 1_000


def test_a_group_in_a_list_of_one_is_that_group() -> None:
    body = alertmanager_body(truncatedAlerts=2)

    assert text_of([body]) == text_of(body)
    assert text_of(json.dumps([body])) == text_of(body)


@pytest.mark.parametrize("count", [10**6 + 1, 10**30, -1, "3", 2.5, None, [], {}, True])
def test_an_absurd_count_is_ignored(count: Any) -> None:
    assert text_of(alertmanager_body(truncatedAlerts=count)).startswith("FIRING 1 (")


@pytest.mark.parametrize("depth", [17, 200])
def test_what_is_nested_deeply_is_no_reason_to_lose_a_page(depth: int) -> None:
    body = b'{"alerts": [{"labels": {"alertname": "A"}}], "more": %s}' % (b"[" * depth + b"]" * depth)

    assert text_of_bytes(body) == "FIRING 1\nA"


@given(alert_groups)
def test_where_one_alert_is_an_object_the_page_is_written_whatever_stands_in_any_place(body: dict[str, Any]) -> None:
    told_alerts = body["alerts"] if isinstance(body["alerts"], list) else [body["alerts"]]
    if not any(isinstance(alert, dict) for alert in told_alerts):
        return
    told = parse(body)
    text = render_alerts(told, Wish(2, OnNonGsm.FOLD), NOW)

    assert len(told_alerts) <= told.firing_count + told.resolved_count <= len(told_alerts) + 10**6
    assert text.encode()
    assert text.startswith(("FIRING ", "RESOLVED "))
    assert deduplication_key("oncall", told)


@given(json_values)
def test_any_json_is_read_or_refused(body: Any) -> None:
    with contextlib.suppress(AlertBodyError):
        assert parse(body).alerts


def test_grafanas_firing_alerts_are_told() -> None:
    text = text_of(grafana_body(grafana_alert(service="api", instance="web-1"), grafana_alert("High CPU usage")))

    assert text == (
        "FIRING 2 (8m)\nHigh memory usage api/web-1: Memory is over 90 %\nHigh CPU usage: Memory is over 90 %"
    )


def test_grafanas_resolved_alerts_are_told() -> None:
    text = text_of(grafana_body(grafana_alert(status="resolved"), status="resolved"))

    assert text == "RESOLVED 1\nok High memory usage: Memory is over 90 %"


def test_grafanas_missing_data_is_told() -> None:
    assert text_of(no_data_body()) == "FIRING 1 (8m)\nDatasourceNoData High memory usage"


@pytest.mark.parametrize("name", ["DatasourceNoData", "DatasourceError", "datasourceerror"])
def test_the_rule_that_gave_no_answer_is_named(name: str) -> None:
    alert = grafana_alert(name, summary="", rulename="High memory usage")

    assert text_of(grafana_body(alert)) == f"FIRING 1 (8m)\n{name} High memory usage"


def test_the_rules_name_is_told_for_no_other_alert() -> None:
    assert "Other" not in text_of(grafana_body(grafana_alert(rulename="Other")))


@pytest.mark.parametrize("segments", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 7, 500])
def test_many_alerts_of_grafana_fit_the_budget_and_are_all_counted(segments: int, count: int) -> None:
    told = [grafana_alert(summary="Pámięć " * 30, instance=f"web-{i}.internal:9100") for i in range(count)]
    text = text_of(grafana_body(*told, truncatedAlerts=count), segments)

    assert text.startswith(f"FIRING {2 * count} ")
    assert prepare_text(text, OnNonGsm.FOLD).facts.segments <= segments


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_body_is_read_in_whichever_form_of_unicode_it_comes(encoding: str) -> None:
    body = json.dumps(alertmanager_body(), ensure_ascii=False).encode(encoding)

    assert parse_alerts(body) == parse(alertmanager_body())


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"C:\disk full", r"C:\disk full"),
        (rb"a\u12 \x41", r"a\u12 \x41"),
        (rb"it\'s", "it's"),
        (rb"\"a\\b\", NaN, ]", '"a\\b", NaN, ]'),
    ],
)
def test_a_backslash_that_json_does_not_know_costs_no_page(written: bytes, read: str) -> None:
    body = b'{"alerts": [{"labels": {"alertname": "A"}, "annotations": {"summary": "%s"}, "x": NaN,}]}' % written

    assert parse_alerts(body).alerts[0].annotations == {"summary": read}


@pytest.mark.parametrize("word", ["NaN", "-Infinity", "Infinity", "nan"])
def test_numbers_that_json_does_not_have_are_read_as_their_names(word: str) -> None:
    body = '{"alerts": [{"labels": {"alertname": "A", "on": True, "off": None}, "annotations": {"summary": WORD}}]}'

    [alert] = parse_alerts(body.replace("WORD", word).encode()).alerts
    assert (alert.annotations["summary"], alert.labels["on"], alert.labels["off"]) == (word, "true", "")


@pytest.mark.parametrize(
    "pack",
    [
        lambda alerts: {str(index): alert for index, alert in enumerate(alerts)},
        lambda alerts: [alerts],
        lambda alerts: [[alert] for alert in alerts],
        json.dumps,
    ],
    ids=["by name", "a list in a list", "lists in a list", "text"],
)
def test_alerts_are_found_however_they_are_packed(pack: Any) -> None:
    alerts = [alertmanager_alert("A"), alertmanager_alert("B")]

    assert parse(alertmanager_body() | {"alerts": pack(alerts)}) == parse(alertmanager_body(*alerts))


@pytest.mark.parametrize("text", ["[{", "{]"])
def test_a_text_that_only_begins_like_json_is_no_alert(text: str) -> None:
    with pytest.raises(AlertBodyError):
        parse({"alerts": text})


def test_a_whole_body_may_be_packed_into_a_text() -> None:
    assert parse(json.dumps(alertmanager_body())) == parse(alertmanager_body())


@pytest.mark.parametrize(
    ("state", "text"), [("alerting", "FIRING 1\nCPU: over 90 %"), ("ok", "RESOLVED 1\nok CPU: over 90 %")]
)
def test_what_grafana_said_before_its_version_8_is_a_page(state: str, text: str) -> None:
    body = {"title": "[Alerting] CPU", "ruleName": "CPU", "message": "over 90 %", "state": state, "evalMatches": []}

    assert text_of(body) == text
    assert text_of(body | {"alerts": []}) == text


def test_a_group_without_alerts_is_a_page_where_it_says_what_all_have_in_common() -> None:
    body = {"alerts": [], "commonLabels": {"alertname": "A"}, "commonAnnotations": {"summary": "s"}}

    assert text_of(body) == "FIRING 1\nA: s"


@pytest.mark.parametrize("word", ["recovered", "Cleared", "CLOSED"])
def test_other_systems_words_for_it_is_over_are_read(word: str) -> None:
    assert text_of(alertmanager_body(alertmanager_alert() | {"status": word})).startswith("RESOLVED 1\n")
