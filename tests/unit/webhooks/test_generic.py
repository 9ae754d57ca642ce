"""Bodies of senders that cannot be changed: our fields are found where the settings say, or the lack is told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import MessageType
from relay.domain.errors import ValidationFailed
from relay.sending.requests import AskedWindow, Submission
from relay.settings.client_sections import DeliveryWindowSettings
from relay.settings.values import GENERIC_FIELDS
from relay.webhooks.generic import _READERS, FieldMapping, GenericMessage
from relay.webhooks.lenient_json import decode_document, mend
from relay.webhooks.receivers import PagingPlan, Receiver, page_message
from support.webhooks import NUMBER, OTHER_NUMBER, make_receiver

NOW = 1_796_119_200_042


def read(document: Any, **expressions: str) -> GenericMessage:
    return FieldMapping({"message": "text"} | expressions).read(document)


def errors_of(document: Any, **expressions: str) -> dict[str, str]:
    with pytest.raises(ValidationFailed) as caught:
        read(document, **expressions)
    assert "canary" not in repr(caught.value.errors)
    return {error.field: error.code for error in caught.value.errors}


def pages_of(receiver: Receiver, document: Any) -> PagingPlan:
    return page_message(receiver, receiver.mapping.read(document), json.dumps(document).encode(), NOW)


def page_of(document: Any, fields: dict[str, str] | None = None, **settings: Any) -> Submission:
    [page] = pages_of(make_receiver(fields={"message": "text"} | (fields or {}), **settings), document).submissions
    return page


def test_every_field_of_the_settings_can_be_read() -> None:
    assert set(_READERS) == set(GENERIC_FIELDS)


def test_fields_are_found_where_the_settings_say() -> None:
    found = read(
        {"event": {"title": "Door open", "id": 5, "who": ["08031234567"]}, "kind": "otp"},
        message="join(': ', ['Alarm', event.title])",
        reference="event.id",
        recipients="event.who",
        message_type="kind",
    )

    assert found == GenericMessage(
        message="Alarm: Door open", reference="5", recipients=("08031234567",), message_type=MessageType.OTP
    )


def test_what_the_body_does_not_have_is_left_to_the_receiver() -> None:
    assert read({"text": "x"}, sender="a.b", reference="c", message_type="d", recipients="e") == GenericMessage(
        message="x"
    )


@pytest.mark.parametrize("document", [{}, [], 5, None, {"text": None}, {"text": "  "}])
def test_a_body_without_a_message_is_refused(document: Any) -> None:
    assert errors_of(document) == {"message": "required"}


def test_where_no_message_is_found_every_field_of_the_wrong_kind_is_told_at_once() -> None:
    document = {"text": {"canary": 1}, "kind": "canary", "sender": ["canary"], "id": "canary"}

    assert errors_of(document, message_type="kind", sender="sender", reference="abs(id)") == {
        "message": "wrong_kind",
        "message_type": "wrong_kind",
        "sender": "wrong_kind",
        "reference": "wrong_kind",
    }


def test_no_message_is_held_up_by_another_field_of_the_wrong_kind() -> None:
    document = {"text": "x", "kind": "canary", "sender": ["canary"], "id": "canary", "to": {"canary": 1}}
    found = read(document, message_type="kind", sender="sender", reference="abs(id)", recipients="to")

    assert found == GenericMessage(message="x", ignored=3)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("12.50", "12.50"),
        ("1e21", "1e21"),
        ("-0.10", "-0.10"),
        ("7", "7"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("true", "true"),
        ("false", "false"),
        ('["Disk", null, 12.50, {"x": 1}, true]', "Disk\n12.50\ntrue"),
    ],
)
def test_a_scalar_has_the_text_that_a_person_sees_in_it(written: str, text: str) -> None:
    document = decode_document(mend(b'{"text": %s, "n": 2.5}' % written.encode()))

    assert read(document).message == text


def test_numbers_stay_numbers_for_expressions() -> None:
    document = decode_document(mend(b'{"a": 2.50, "b": [1.5, 10]}'))

    assert read(document, message="max(b)").message == "10"
    assert read(document, message="a > `2` && 'hot' || 'cold'").message == "hot"
    assert read(document, message="sum(b)").message == "11.5"


def test_recipients_are_read_as_they_are_written_and_what_names_nobody_is_left_out() -> None:
    assert read({"text": "x", "to": ["08031234567", None, 2348031234568, {}, " "]}, recipients="to").recipients == (
        "08031234567",
        "2348031234568",
    )
    assert read({"text": "x", "to": ["08031234567"] * 5_000}, recipients="to").recipients == ("08031234567",) * 1_000
    assert read({"text": "x", "to": []}, recipients="to").recipients is None


def test_numbers_that_a_program_saved_as_amounts_are_read_by_their_digits() -> None:
    document = decode_document(mend(b'{"text": "x", "to": [2348031234568.0, 2.348031234568e12, 1.5, 1e400]}'))

    assert read(document, recipients="to").recipients == ("2348031234568", "2348031234568", "1.5", "1e400")


@pytest.mark.parametrize("between", [",", ";", " / ", "|", "\n"])
def test_one_text_may_name_several_numbers(between: str) -> None:
    settings: dict[str, Any] = {"recipients": (), "recipients_allowed": (NUMBER, OTHER_NUMBER)}
    page = page_of({"text": "x", "to": f"{NUMBER}{between}{OTHER_NUMBER}"}, {"recipients": "to"}, **settings)

    assert len(page.recipients) == 2


def test_half_a_character_holds_up_no_message() -> None:
    assert read(decode_document(mend(rb'{"text": "disk \ud83d full"}'))).message == "disk \ufffd full"


def test_no_message_is_held_up_by_its_reference() -> None:
    assert read({"text": "x", "id": "Käse Brot" + "y" * 90}, reference="id").reference == "KseBrot" + "y" * 57
    assert read({"text": "x", "id": "ü"}, reference="id").reference is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "to", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
def test_any_body_is_read_or_refused(document: Any) -> None:
    try:
        found = read(document, recipients="to", sender="x", message_type="x", reference="x")
    except ValidationFailed:
        return
    assert found.message.strip()


def test_a_message_goes_to_the_receivers_recipients_as_its_settings_say() -> None:
    page = page_of({"text": "Door open\x00 in\tKano"}, sender="ACME")

    assert (page.recipients, page.message, page.sender) == ((NUMBER,), "Door open in Kano", "ACME")
    assert page.expires_at == NOW + 4 * 3_600_000
    assert page.words_only_warn


def test_the_body_may_choose_type_sender_and_reference() -> None:
    fields = {"message_type": "kind", "sender": "from", "reference": "id"}
    page = page_of({"text": "x", "kind": "otp", "from": "ORDERS", "id": "a-1"}, fields)

    assert (page.message_type, page.sender, page.reference) == (MessageType.OTP, "ORDERS", "a-1")
    assert not page.words_only_warn


def test_the_body_may_say_when_and_its_life_begins_then() -> None:
    at = page_of({"text": "x", "at": "2026-12-24T09:30:00+01:00"}, {"send_at": "at"})
    assert at.send_at == 1_798_101_000_000
    assert at.expires_at == 1_798_101_000_000 + 4 * 3_600_000
    assert page_of({"text": "x", "at": None}, {"send_at": "at"}).send_at is None


@pytest.mark.parametrize("when", ["canary", "2026-12-24T09:30:00", 1_798_101_000, ["2026-12-24T09:30:00Z"]])
def test_what_is_meant_for_later_is_refused_rather_than_sent_at_once(when: Any) -> None:
    assert errors_of({"text": "x", "at": when}, send_at="at") == {"send_at": "wrong_kind"}


def test_a_receiver_has_hours_and_may_tell_messages_apart_by_their_text_alone() -> None:
    window = DeliveryWindowSettings(start="08:00", end="20:00")
    page = page_of(
        {"text": "x", "id": 1}, {"deduplication_key": "id"}, delivery_window=window, repeat_window_seconds=60
    )

    assert page.delivery_window == AskedWindow("08:00", "20:00", "Africa/Lagos")
    assert (page.deduplication, page.repeat_window_seconds) == (None, 60)


def test_a_body_may_name_only_numbers_that_are_allowed() -> None:
    settings: dict[str, Any] = {"recipients": (), "recipients_allowed": (OTHER_NUMBER,)}
    named = page_of({"text": "x", "to": [OTHER_NUMBER, "08039999999"]}, {"recipients": "to"}, **settings)
    receiver = make_receiver(fields={"message": "text", "recipients": "to"}, **settings)

    assert named.recipients == ("2348031234568",)
    assert pages_of(receiver, {"text": "x", "to": ["08039999999"]}) == PagingPlan((), unaddressed=1)
    assert pages_of(receiver, {"text": "x"}) == PagingPlan((), unaddressed=1)


def test_a_long_message_is_shortened_rather_than_lost() -> None:
    page = page_of({"text": "word " * 100}, max_segments=1)

    assert page.message.endswith("word...")
    assert len(page.message) <= 160


def test_the_same_body_is_the_same_page_and_another_is_not() -> None:
    assert page_of({"text": "x", "at": 1}).deduplication == page_of({"text": "x", "at": 1}).deduplication
    assert page_of({"text": "x", "at": 1}).deduplication != page_of({"text": "x", "at": 2}).deduplication


def test_a_key_of_the_body_says_what_the_same_page_is() -> None:
    fields = {"deduplication_key": "id"}

    assert (
        page_of({"text": "x", "id": 7, "at": 1}, fields).deduplication
        == page_of({"text": "x", "id": 7, "at": 2}, fields).deduplication
    )
    assert (
        page_of({"text": "x", "id": 7}, fields).deduplication != page_of({"text": "x", "id": 8}, fields).deduplication
    )
