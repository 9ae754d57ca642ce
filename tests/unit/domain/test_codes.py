"""The closed vocabularies, held against the tables of the contract."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import (
    DEFINITE,
    STATUS_OF,
    TERMINAL,
    Code,
    NotificationStatus,
    RequestedRoute,
    Route,
    Status,
    common_status,
    is_retry_safe,
)

# SPEC section 2, Answer: which codes a recipient's status may have.
CODES_OF = {
    "sent": "sent sent_dnd delivered",
    "rejected": "rejected dnd_rejected",
    "unknown": "no_answer unreadable_answer missing_in_answer unlisted_code conflicting_answer interrupted",
    "not_sent": (
        "invalid_number recipient_capped expired deadline cancelled "
        "upstream_unreachable upstream_rejected interrupted_before_dial"
    ),
    "queued": "queued held_quiet_hours",
    "in_progress": "dialling",
}


def test_every_code_has_the_one_status_that_the_contract_gives_it() -> None:
    assert {code.value: status.value for code, status in STATUS_OF.items()} == {
        code: status for status, codes in CODES_OF.items() for code in codes.split()
    }


def test_only_a_duplicate_has_no_status_of_its_own() -> None:
    assert set(Code) - set(STATUS_OF) == {Code.DUPLICATE_RECIPIENT}
    assert set(STATUS_OF.values()) == set(Status)


def test_sending_again_is_safe_exactly_where_certainly_nothing_was_sent() -> None:
    assert [status for status in Status if is_retry_safe(status)] == [Status.NOT_SENT]


def test_all_but_unknown_that_is_terminal_is_definite() -> None:
    assert TERMINAL - {Status.UNKNOWN} == DEFINITE
    assert set(Status) - TERMINAL == {Status.QUEUED, Status.IN_PROGRESS}


def test_a_notification_has_every_status_of_a_recipient_and_partial() -> None:
    assert {status.value for status in NotificationStatus} == {*(status.value for status in Status), "partial"}


def test_a_caller_may_ask_for_every_route_and_auto() -> None:
    assert {route.value for route in RequestedRoute} == {*(route.value for route in Route), "auto"}


@given(st.lists(st.sampled_from(Status), min_size=1))
def test_the_message_status_is_the_common_one_or_partial(statuses: list[Status]) -> None:
    common = common_status(statuses)
    if len(set(statuses)) == 1:
        assert common.value == statuses[0].value
    else:
        assert common is NotificationStatus.PARTIAL


def test_a_notification_without_recipients_has_no_status() -> None:
    with pytest.raises(ValueError, match="at least one recipient"):
        common_status([])
