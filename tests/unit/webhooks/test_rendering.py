"""What a person on call reads: within the budget, whole characters, nothing that fires forgotten."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import OnNonGsm
from relay.domain.text import prepare_text
from relay.webhooks.alertmanager import parse_alerts
from relay.webhooks.alerts import Alert, AlertGroup
from relay.webhooks.rendering import TemplateFailed, find_template_error, render_alerts, render_template

NOW = 1_764_040_000_000


def alert(name: str = "HighLatency", *, firing: bool = True, summary: str = "", **labels: str) -> Alert:
    return Alert(
        firing=firing,
        labels={"alertname": name, **labels},
        annotations={"summary": summary} if summary else {},
        starts_at="2025-11-25T02:31:40Z",
        started_ms=NOW - 300_000,
        fingerprint=name,
    )


def group(*alerts: Alert, firing: bool = True, cut_off: int = 0) -> AlertGroup:
    return AlertGroup(
        group_key="{}:{}",
        firing=firing,
        alerts=alerts,
        common_labels={},
        common_annotations={},
        cut_off=cut_off,
    )


def default_text(told: AlertGroup, segments: int = 2) -> str:
    return render_alerts(told, max_segments=segments, folding=OnNonGsm.FOLD, now_ms=NOW)


def test_the_text_tells_status_count_age_name_labels_and_summary() -> None:
    told = group(alert(summary="p99 is over 1 s", severity="critical", service="api"))

    assert default_text(told) == "FIRING 1 (5m)\nHighLatency critical/api: p99 is over 1 s"


def test_firing_and_resolved_are_counted_apart() -> None:
    assert default_text(group(alert("A"), alert("B", firing=False))).startswith("FIRING 1, RESOLVED 1 (5m)\nA\nok B")


def test_alerts_that_the_sender_cut_off_still_count() -> None:
    text = default_text(group(alert("A"), cut_off=7))

    assert text.startswith("FIRING 8")
    assert text.endswith("+7 more")


def test_labels_are_dropped_before_alerts() -> None:
    told = group(*(alert(f"Alert{i}", severity="critical", instance="10.0.0.1:9100-" + "x" * 30) for i in range(3)))
    text = default_text(told, segments=1)

    assert "Alert0" in text
    assert "Alert2" in text
    assert "xxxx" not in text


def test_what_does_not_fit_is_counted_as_more() -> None:
    text = default_text(group(*(alert("A" * 38 + str(i)) for i in range(9))), segments=1)

    assert text.splitlines()[-1].startswith("+")
    assert text.splitlines()[-1].endswith(" more")


labels = st.text(max_size=60)


@given(
    st.lists(st.tuples(labels, labels, labels, st.booleans()), min_size=1, max_size=8),
    st.integers(1, 3),
    st.integers(0, 1000),
)
def test_every_text_fits_its_budget_and_is_not_empty(
    said: list[tuple[str, str, str, bool]], segments: int, cut_off: int
) -> None:
    told = group(
        *(alert(name, firing=firing, summary=summary, service=service) for name, service, summary, firing in said),
        cut_off=cut_off,
    )
    text = default_text(told, segments)

    assert text.strip()
    assert prepare_text(text, OnNonGsm.FOLD).facts.segments <= segments


def test_a_template_sees_the_alerts_and_what_was_left_out() -> None:
    source = "{{ status }} {{ firing }}: {% for a in alerts %}{{ a.labels.alertname }} {% endfor %}+{{ more }}"
    text = render_template(source, group(alert("A"), cut_off=2), max_segments=1, folding=OnNonGsm.FOLD, now_ms=NOW)

    assert text == "FIRING 3: A +2"


@pytest.mark.parametrize(
    "source",
    [
        "{{ nobody }}",
        "{{ alerts[0].labels.nothing }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ 1 / 0 }}",
        "{{ 'a' * 1000000000000 }}",
        "   ",
    ],
)
def test_a_template_that_cannot_be_rendered_is_told_by_its_class(source: str) -> None:
    with pytest.raises(TemplateFailed):
        render_template(source, group(alert()), max_segments=1, folding=OnNonGsm.FOLD, now_ms=NOW)


def test_a_template_with_a_mistake_in_its_form_is_found_before_it_is_used() -> None:
    assert find_template_error("{{ status") == "TemplateSyntaxError"
    assert find_template_error("{{ status }}") is None


def test_alertmanagers_payload_is_read_and_unknown_fields_are_ignored() -> None:
    body = msgspec.json.encode(
        {
            "version": "4",
            "groupKey": '{}:{alertname="A"}',
            "truncatedAlerts": 2,
            "status": "firing",
            "receiver": "oncall",
            "aFieldOfTomorrow": {"a": [1]},
            "commonLabels": {"alertname": "A"},
            "alerts": [
                {
                    "status": "firing",
                    "labels": {"alertname": "A"},
                    "annotations": {},
                    "startsAt": "2026-11-25T02:31:40.123456789Z",
                    "endsAt": "0001-01-01T00:00:00Z",
                    "fingerprint": "abc",
                }
            ],
        }
    )
    told = parse_alerts(body)

    assert told.firing_count == 3
    assert told.alerts[0].started_ms == 1_795_573_900_123
