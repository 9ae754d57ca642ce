"""What a person on call reads: within the budget, whole characters, nothing that fires forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.domain.codes import OnNonGsm
from relay.domain.text import prepare_text
from relay.webhooks.alerts import Alert, AlertGroup
from relay.webhooks.rendering import Wish, clean_lines, cut, render_alerts, shorten
from relay.webhooks.templates import AlertTemplate, TemplateFailed

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


def default_text(told: AlertGroup, segments: int = 2, folding: OnNonGsm = OnNonGsm.FOLD) -> str:
    return render_alerts(told, Wish(segments, folding), NOW)


def own_text(source: str, told: AlertGroup, segments: int = 1) -> str:
    return AlertTemplate(source).render(told, Wish(segments, OnNonGsm.FOLD), NOW)


def test_the_text_tells_status_count_age_name_labels_and_summary() -> None:
    told = group(alert(summary="p99 is over 1 s", severity="critical", service="api"))

    assert default_text(told) == "FIRING 1 (5m)\nHighLatency critical/api: p99 is over 1 s"


def test_firing_and_resolved_are_counted_apart() -> None:
    assert default_text(group(alert("A"), alert("B", firing=False))).startswith("FIRING 1, RESOLVED 1 (5m)\nA\nok B")


def test_firing_alerts_come_first() -> None:
    assert default_text(group(alert("A", firing=False), alert("B"))).splitlines()[1:] == ["B", "ok A"]


def test_alerts_that_the_sender_cut_off_still_count() -> None:
    text = default_text(group(alert("A"), cut_off=7))

    assert text.startswith("FIRING 8")
    assert text.endswith("+7 more")


def test_a_line_leaves_out_what_it_shares_with_the_line_before() -> None:
    told = group(*(alert(summary="p99 is over 1 s", severity="critical", instance=f"web-{i}") for i in range(3)))

    assert default_text(told) == "FIRING 3 (5m)\nHighLatency critical/web-0: p99 is over 1 s\nweb-1\nweb-2"


def test_alerts_that_read_the_same_share_a_line() -> None:
    assert default_text(group(*(alert(uid=str(i)) for i in range(4)))) == "FIRING 4 (5m)\nHighLatency x4"


def test_what_fires_is_not_joined_with_what_is_over() -> None:
    told = group(alert(instance="web-1"), alert(firing=False, instance="web-1"))

    assert default_text(told).splitlines()[1:] == ["HighLatency web-1", "ok HighLatency web-1"]


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


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({"message": "Disk full"}, "Disk full"),
        ({"title": "Disk full"}, "Disk full"),
        ({"Summary": "Disk full"}, "Disk full"),
        ({"DESCRIPTION": "Disk full"}, "Disk full"),
        ({"description": "d", "title": "t", "message": "m", "summary": "s"}, "s"),
        ({"description": "d", "title": "t", "MESSAGE": "m", "summary": " \t"}, "m"),
        ({"description": "d", "Title": "t", "message": ""}, "t"),
        ({"Summary": "S", "summary": "s", "SUMMARY": "X"}, "s"),
        ({"SUMMARY": "", "Summary": "S"}, "S"),
        ({"summary": "\x00\u200b", "description": "d"}, "d"),
        ({" summary ": "s"}, "s"),
    ],
)
def test_the_words_are_found_wherever_they_stand(annotations: dict[str, str], said: str) -> None:
    told = replace(alert("A"), annotations=annotations)

    assert default_text(group(told)) == f"FIRING 1 (5m)\nA: {said}"


def test_words_among_the_labels_are_better_than_none() -> None:
    assert default_text(group(alert("A", message="Disk full"))) == "FIRING 1 (5m)\nA: Disk full"


def test_name_and_labels_are_found_in_any_case() -> None:
    told = replace(alert(), labels={"AlertName": "A", "Severity": "critical"})

    assert default_text(group(told)) == "FIRING 1 (5m)\nA critical"


def test_a_summary_is_shortened_at_a_word_before_it_is_left_out() -> None:
    text = default_text(group(alert(summary="long words " * 40)), segments=1)

    assert text.endswith((" long words...", " long..."))


def test_an_alert_without_a_name_is_an_alert() -> None:
    told = Alert(firing=True, labels={}, annotations={}, starts_at="", started_ms=None, fingerprint="x")

    assert default_text(group(told)) == "FIRING 1\nalert"


@pytest.mark.parametrize(
    ("minutes", "age"), [(-5, "0m"), (0, "0m"), (59, "59m"), (60, "1h"), (47 * 60, "47h"), (48 * 60, "2d")]
)
def test_the_age_is_told_in_one_unit(minutes: int, age: str) -> None:
    told = Alert(
        firing=True,
        labels={"alertname": "A"},
        annotations={},
        starts_at="",
        started_ms=NOW - minutes * 60_000,
        fingerprint="x",
    )

    assert default_text(group(told)).startswith(f"FIRING 1 ({age})")


def test_a_character_keeps_its_marks() -> None:
    assert cut("cafe\u0301s", 4) == "caf"
    assert cut("a\U0001f44d\U0001f3fd", 2) == "a"


def test_a_long_word_is_cut_rather_than_lost() -> None:
    text = shorten("alert " + "x" * 200, Wish(1, OnNonGsm.FOLD).fits)

    assert len(text) == 160
    assert text.endswith("xxx...")


labels = st.text(max_size=60)


@given(
    st.lists(st.tuples(labels, labels, labels, st.booleans()), min_size=1, max_size=8),
    st.integers(1, 3),
    st.integers(0, 1000),
    st.sampled_from([OnNonGsm.SEND, OnNonGsm.FOLD, OnNonGsm.FOLD_LETTERS]),
)
def test_every_text_fits_its_budget_and_is_not_empty(
    said: list[tuple[str, str, str, bool]], segments: int, cut_off: int, folding: OnNonGsm
) -> None:
    told = group(
        *(alert(name, firing=firing, summary=summary, service=service) for name, service, summary, firing in said),
        cut_off=cut_off,
    )
    text = default_text(told, segments, folding)

    assert text.strip()
    assert prepare_text(text, folding).facts.segments <= segments


@given(st.text(max_size=3000), st.integers(1, 3))
def test_a_shortened_text_fits_its_budget(text: str, segments: int) -> None:
    wish = Wish(segments, OnNonGsm.FOLD)

    assert wish.fits(shorten(clean_lines(text), wish.fits))


def test_only_the_beginning_of_a_very_long_text_is_looked_at() -> None:
    told = group(alert("\u200b" * 60_000 + "name", summary="\u200b" * 60_000 + "summary"))

    assert default_text(told) == "FIRING 1 (5m)\nalert"


def test_a_template_sees_the_alerts_and_what_was_left_out() -> None:
    source = "{{ status }} {{ firing }}: {% for a in alerts %}{{ a.labels.alertname }} {% endfor %}+{{ more }}"

    assert own_text(source, group(alert("A"), cut_off=2)) == "FIRING 3: A +2"


def test_a_template_keeps_its_lines() -> None:
    assert own_text("{{ status }}\n\n  since {{ age }}\n", group(alert())) == "FIRING\nsince 5m"


def test_a_template_is_shown_fewer_alerts_until_the_text_fits() -> None:
    source = "{% for a in alerts %}{{ a.labels.alertname }}\n{% endfor %}+{{ more }} more"
    text = own_text(source, group(*(alert("A" * 38 + str(i)) for i in range(9))))

    assert text.splitlines()[-1] == "+6 more"
    assert len(text.splitlines()) == 4


def test_a_template_that_is_too_long_even_with_one_alert_is_shortened() -> None:
    assert own_text("word " * 100, group(alert())).endswith("word...")


@pytest.mark.parametrize(
    "source",
    [
        "{{ status",
        "{{ nobody }}",
        "{{ alerts[0].labels.nothing }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ 1 / 0 }}",
        "{{ 'a' * 1000000000000 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "   ",
    ],
)
def test_a_template_that_cannot_be_rendered_is_told_by_its_class(source: str) -> None:
    with pytest.raises(TemplateFailed) as caught:
        own_text(source, group(alert(name="canary-name")))

    assert "canary" not in str(caught.value)
