"""Bodies of senders that cannot be changed: our fields are found where the settings say, or the lack is told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import MessageType
from relay.domain.errors import ValidationFailed
from relay.sending.requests import Submission
from relay.settings.values import GENERIC_FIELDS
from relay.webhooks.generic import _READERS, FieldMapping, GenericMessage
from relay.webhooks.receivers import Pages, Receiver, page_message
from support_webhooks import NUMBER, OTHER_NUMBER, make_receiver

NOW = 1_796_119_200_042


def read(document: Any, **expressions: str) -> GenericMessage:
    return FieldMapping({"message": "text"} | expressions).read(document)


def errors_of(document: Any, **expressions: str) -> dict[str, str]:
    with pytest.raises(ValidationFailed) as caught:
        read(document, **expressions)
    assert "canary" not in repr(caught.value.errors)
    return {error.field: error.code for error in caught.value.errors}


def pages_of(receiver: Receiver, document: Any) -> Pages:
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


def test_every_field_of_the_wrong_kind_is_told_at_once() -> None:
    document = {"text": {"canary": 1}, "to": [5], "kind": "canary", "sender": ["canary"]}

    assert errors_of(document, recipients="to", message_type="kind", sender="sender") == {
        "message": "wrong_kind",
        "recipients": "wrong_kind",
        "message_type": "wrong_kind",
        "sender": "wrong_kind",
    }


def test_an_expression_that_fails_on_this_body_is_the_fields_error() -> None:
    assert errors_of({"text": "x", "n": "canary"}, reference="abs(n)") == {"reference": "wrong_kind"}


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


def test_a_body_may_name_only_numbers_that_are_allowed() -> None:
    settings: dict[str, Any] = {"recipients": (), "recipients_allowed": (OTHER_NUMBER,)}
    named = page_of({"text": "x", "to": [OTHER_NUMBER, "08039999999"]}, {"recipients": "to"}, **settings)
    receiver = make_receiver(fields={"message": "text", "recipients": "to"}, **settings)

    assert named.recipients == ("2348031234568",)
    assert pages_of(receiver, {"text": "x", "to": ["08039999999"]}) == Pages((), unaddressed=1)
    assert pages_of(receiver, {"text": "x"}) == Pages((), unaddressed=1)


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
