"""From alerts to what is handed to the core: whom, what, until when, and as which page."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from relay.domain.codes import MessageType, OnNonGsm
from relay.sending.requests import Submission
from relay.settings import ReceiverSettings
from relay.webhooks.alertmanager import parse_alerts
from relay.webhooks.alerts import AlertBodyError
from relay.webhooks.preview import render_preview
from relay.webhooks.receivers import PagingPlan, Receiver, page_alerts
from support.webhooks import (
    NUMBER,
    OTHER_NUMBER,
    alertmanager_alert,
    alertmanager_body,
    make_receiver,
)

NOW = 1_796_119_200_042
LABELLED = {"recipients": (), "recipients_label": "oncall", "recipients_allowed": (NUMBER, "+234 803 123 4568")}


def pages_of(receiver: Receiver, *alerts: Any, **fields: Any) -> PagingPlan:
    body = json.dumps(alertmanager_body(*alerts, **fields)).encode()
    return page_alerts(receiver, parse_alerts(body), NOW, lambda _: None)


def page_of(receiver: Receiver, *alerts: Any, **fields: Any) -> Submission:
    [page] = pages_of(receiver, *alerts, **fields).submissions
    return page


def test_a_page_carries_what_the_receiver_says() -> None:
    page = page_of(make_receiver(sender="ACME", recipients=(NUMBER, "bad")))

    assert page.recipients == (NUMBER, "bad"), "the core reports the bad one and sends to the others"
    assert (page.sender, page.message_type, page.on_non_gsm) == ("ACME", MessageType.ALERT, OnNonGsm.FOLD)
    assert page.reference == "oncall"
    assert page.words_only_warn


def test_a_page_that_nobody_sent_for_four_hours_is_no_longer_sent() -> None:
    assert page_of(make_receiver()).expires_at == NOW + 4 * 3_600_000


def test_a_page_is_known_again_for_ten_minutes() -> None:
    deduplication = page_of(make_receiver()).deduplication

    assert deduplication is not None
    assert deduplication.window_ms == 600_000


def test_each_receiver_gets_its_own_page() -> None:
    oncall = make_receiver()

    assert page_of(oncall).deduplication == page_of(make_receiver()).deduplication
    assert page_of(oncall).deduplication != page_of(replace(oncall, name="second")).deduplication


def test_words_only_warn_for_alerts_and_for_nothing_else() -> None:
    assert not page_of(make_receiver(message_type=MessageType.TRANSACTIONAL)).words_only_warn


def test_resolved_alerts_are_told_unless_nobody_wants_them() -> None:
    alerts = (alertmanager_alert("A"), alertmanager_alert("B", "resolved"))

    assert "RESOLVED 1" in page_of(make_receiver(), *alerts).message
    assert "RESOLVED" not in page_of(make_receiver(resolved=False), *alerts).message
    assert pages_of(make_receiver(resolved=False), alerts[1], status="resolved") == PagingPlan(())


def test_what_was_cut_off_from_a_firing_group_is_told_also_to_who_wants_no_resolved_alerts() -> None:
    receiver = make_receiver(resolved=False)

    assert page_of(receiver, alertmanager_alert("A", "resolved"), None).message == "FIRING 1\nHighLatency"
    assert page_of(receiver, alertmanager_alert("A"), truncatedAlerts=2, status="resolved").message.startswith(
        "FIRING 1 ("
    )
    assert pages_of(receiver, alertmanager_alert("A", "resolved"), None, status="resolved") == PagingPlan(())


def test_of_the_numbers_that_a_label_names_the_first_thousand_are_looked_at() -> None:
    named = ",".join([*["08039999999"] * 999, NUMBER, OTHER_NUMBER])

    assert page_of(make_receiver(**LABELLED), alertmanager_alert("A", oncall=named)).recipients == ("2348031234567",)


def test_an_alert_goes_to_whom_its_label_names() -> None:
    pages = pages_of(
        make_receiver(**LABELLED),
        alertmanager_alert("A", oncall="2348031234567"),
        alertmanager_alert("B", oncall="0803 123 4568; 08031234567"),
        alertmanager_alert("C", oncall="08031234567"),
    )

    told = {page.recipients: page.message.splitlines()[1:] for page in pages.submissions}
    assert told == {
        ("2348031234567",): ["A: p99 is over 1 s", "B: p99 is over 1 s", "C: p99 is over 1 s"],
        ("2348031234568",): ["B: p99 is over 1 s"],
    }, "each of them gets one message with all that is theirs"


def test_who_gets_the_same_alerts_gets_them_in_one_notification() -> None:
    alerts = [alertmanager_alert(name, oncall=f"{OTHER_NUMBER},{NUMBER}") for name in "AB"]

    assert page_of(make_receiver(**LABELLED), *alerts).recipients == ("2348031234568", "2348031234567")


@pytest.mark.parametrize("named", ["", "08039999999", "everybody", ",;,", "+447911123456"])
def test_a_number_that_is_not_allowed_gets_nothing(named: str) -> None:
    pages = pages_of(make_receiver(**LABELLED), alertmanager_alert("A", oncall=named))

    assert pages == PagingPlan((), unaddressed=1)


def test_what_names_nobody_goes_to_the_receivers_own_recipients() -> None:
    receiver = make_receiver(**(LABELLED | {"recipients": (OTHER_NUMBER,)}))

    assert page_of(receiver, alertmanager_alert("A")).recipients == (OTHER_NUMBER,)


def test_a_bad_entry_of_the_allow_list_allows_nothing() -> None:
    receiver = make_receiver(**(LABELLED | {"recipients_allowed": (NUMBER, "nonsense")}))

    assert pages_of(receiver, alertmanager_alert("A")).unaddressed == 1


def test_a_foreign_number_keeps_its_plus() -> None:
    receiver = make_receiver(**(LABELLED | {"recipients_allowed": ("+44 7911 123456",)}))

    assert page_of(receiver, alertmanager_alert("A", oncall="00447911123456")).recipients == ("+447911123456",)


def test_the_receivers_template_is_the_text() -> None:
    assert page_of(make_receiver(template="{{ status }} {{ labels.alertname }}")).message == "FIRING HighLatency"


def test_a_broken_template_is_told_and_the_default_text_goes_out() -> None:
    causes: list[str] = []
    body = json.dumps(alertmanager_body()).encode()
    receiver = make_receiver(template="{{ alerts[0].labels.nobody }}")
    [page] = page_alerts(receiver, parse_alerts(body), NOW, causes.append).submissions

    assert page.message.startswith("FIRING 1")
    assert causes == ["UndefinedError"]


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = ReceiverSettings(name="oncall", client="billing")

    assert (settings.max_segments, settings.on_non_gsm, settings.expires_seconds) == (2, OnNonGsm.FOLD, 14_400)


def test_a_preview_shows_text_size_and_recipients() -> None:
    shown = render_preview(make_receiver(), json.dumps(alertmanager_body()).encode(), NOW)

    assert shown == (
        "FIRING 1 (59m)\nHighLatency: p99 is over 1 s\n-- segments: 1, characters: 43, gsm-7, recipients: 1"
    )


@pytest.mark.parametrize(
    ("fields", "alert", "said"),
    [
        ({"template": "{{ nobody }}"}, alertmanager_alert(), "The template failed (UndefinedError)"),
        (LABELLED, alertmanager_alert(), "Alerts that reach nobody: 1;"),
        ({"resolved": False}, alertmanager_alert(status="resolved"), "Nothing would be sent"),
    ],
)
def test_a_preview_says_what_would_surprise(fields: dict[str, Any], alert: dict[str, Any], said: str) -> None:
    assert said in render_preview(make_receiver(**fields), json.dumps(alertmanager_body(alert)).encode(), NOW)


def test_a_preview_of_something_else_is_refused() -> None:
    with pytest.raises(AlertBodyError):
        render_preview(make_receiver(), b"{}", NOW)
