"""The closed vocabularies, held against the tables of the contract."""

from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain import codes
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
        "invalid_number recipient_capped suppressed expired deadline cancelled "
        "upstream_unreachable upstream_rejected interrupted_before_dial"
    ),
    "queued": "queued scheduled held_quiet_hours held_window",
    "in_progress": "dialling",
}


WORDS: dict[type[Enum], str] = {
    codes.NotificationStatus: "sent rejected unknown not_sent queued in_progress partial",
    codes.MessageType: "otp alert transactional promotional",
    codes.Route: "normal dnd dnd-fallback",
    codes.RequestedRoute: "auto normal dnd dnd-fallback",
    codes.RouteReason: "default configured promotional requested",
    codes.Encoding: "gsm-7 ucs-2",
    codes.OnNonGsm: "send fold fold-letters reject",
    codes.NumberReason: "empty bad_character too_short too_long foreign not_mobile unassigned",
    codes.Source: "api batch alertmanager grafana generic operator",
    codes.Permission: "send read preview balance usage suppress operate",
    codes.ResolvedBy: "late_answer operator",
    codes.ProblemCode: (
        "invalid_json unsupported_media_type body_too_large validation_failed use_async message_too_long_encoded "
        "non_gsm_text non_gsm_value too_many_segments blocked_words blocked_sender quiet_hours outside_window "
        "unauthenticated "
        "sender_not_allowed route_not_allowed message_type_not_allowed template_required permission_missing "
        "idempotency_mismatch idempotency_in_progress idempotency_key_expired "
        "invalid_idempotency_key rate_limited quota_exceeded budget_exceeded recipient_capped upstream_credentials "
        "upstream_contract upstream_no_balance upstream_unreachable journal_unavailable overloaded draining paused "
        "already_dialled already_ended not_found method_not_allowed bad_request internal_error"
    ),
}
"""The contract's words: callers, settings, dashboards and the journal of a running relay hold them."""


@pytest.mark.parametrize("vocabulary", WORDS, ids=lambda vocabulary: vocabulary.__name__)
def test_no_word_of_the_contract_changes(vocabulary: type[Enum]) -> None:
    words, said = [member.value for member in vocabulary], WORDS[vocabulary].split()
    assert not set(said) - set(words), "callers and journals hold this word: it stays"
    assert words == said, f"new words, or another order: the same in WORDS: {sorted(set(words) - set(said))}"


def test_every_code_has_the_one_status_that_the_contract_gives_it() -> None:
    assert {code.value: status.value for code, status in STATUS_OF.items()} == {
        code: status for status, codes in CODES_OF.items() for code in codes.split()
    }, "a new code: the same in CODES_OF; one that was there keeps its status"


def test_only_a_duplicate_has_no_status_of_its_own() -> None:
    assert Code.DUPLICATE_RECIPIENT.value == "duplicate_recipient"
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
