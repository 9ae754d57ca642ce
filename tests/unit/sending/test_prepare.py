"""Judging a request: every field error at once, then every refusal in order, and never a value of the caller's."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.domain.clients import Client
from relay.domain.codes import Code, MessageType, OnNonGsm, ProblemCode, RequestedRoute, Route
from relay.domain.errors import Blocked, OutsideHours, Refusal, ValidationFailed
from relay.domain.hours import DeliveryWindow
from relay.domain.routing import DEFAULT_ROUTES
from relay.domain.words import WordMatcher, parse_word_list
from relay.sending.ports import BalanceResult, MessageTooLongEncoded, SendRequest, SendResult
from relay.sending.prepare import Prepared, Rules, prepare, preview_of
from relay.sending.requests import AskedWindow, Submission

NOON = 1_764_068_400_000  # 2025-11-25 12:00 in Lagos
NIGHT = NOON + 10 * 3_600_000
LAGOS = ZoneInfo("Africa/Lagos")

WORDS = """
[[entry]]
text = "you have won"
category = "prize"
action = "block"
fields = ["message"]

[[entry]]
text = "free"
category = "pressure"
action = "warn"

[[entry]]
text = "lottery"
category = "prize"
action = "block"
fields = ["sender"]
"""

RULES = Rules(
    matcher=WordMatcher(parse_word_list(WORDS)),
    routes=DEFAULT_ROUTES,
    hours={MessageType.PROMOTIONAL: DeliveryWindow(8 * 60, 20 * 60, code=Code.HELD_QUIET_HOURS)},
)
CLIENT = Client(
    name="billing",
    senders=frozenset({"ACME", "Lottery"}),
    default_sender="ACME",
    message_types=frozenset({MessageType.OTP, MessageType.TRANSACTIONAL, MessageType.PROMOTIONAL}),
    callback_hosts=frozenset({"orders.internal"}),
)


class Chunks:
    """An upstream that only splits: two numbers a call, and texts of more than 500 characters do not fit."""

    def chunk(self, sender: str, message: str, route: Route, numbers: Sequence[str]) -> list[tuple[int, ...]]:
        if len(message) > 500:
            raise MessageTooLongEncoded
        positions = range(len(numbers))
        return [tuple(positions[start : start + 2]) for start in range(0, len(numbers), 2)]

    async def send(self, request: SendRequest, timeout_seconds: float) -> SendResult:
        raise AssertionError("judging sends nothing")

    async def balance(self, timeout_seconds: float) -> BalanceResult:
        raise AssertionError("judging asks nobody")


def judge(
    *recipients: str, asynchronous: bool = False, now_ms: int = NOON, client: Client = CLIENT, **fields: Any
) -> Prepared:
    defaults: dict[str, Any] = {"message": "Your order is on its way.", "recipients": recipients or ("08012345678",)}
    submission = Submission(**(defaults | fields))
    return prepare(submission, client, RULES, Chunks(), asynchronous=asynchronous, now_ms=now_ms)


def errors_of(**fields: Any) -> dict[str, str]:
    with pytest.raises(ValidationFailed) as failure:
        judge(**fields)
    return {error.field: error.code for error in failure.value.errors}


def refusals_of(prepared: Prepared) -> list[ProblemCode]:
    return [refusal.code for refusal in prepared.refusals]


def test_a_good_request_is_ready_to_go() -> None:
    prepared = judge("08012345678", "+234 801 234 5679", "08012345678", "08098765432")

    assert prepared.refusals == ()
    assert prepared.sender == "ACME"
    assert [call.recipients for call in prepared.calls] == [(0, 1), (3,)]
    assert prepared.dialable == 3
    assert prepared.route is not None
    assert prepared.route.used is Route.DND_FALLBACK


def test_every_field_error_comes_at_once() -> None:
    errors = errors_of(
        sender="A", recipients=(), message=" ", reference="with blank", max_segments=11, callback_url="https://x.y/"
    )

    assert errors == {
        "sender": "too_short",
        "recipients": "required",
        "message": "empty",
        "reference": "malformed",
        "max_segments": "out_of_range",
        "callback_url": "asynchronous_only",
    }


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"recipients": ("08012345678",) * 101}, ProblemCode.USE_ASYNC),
        ({"message": "a" * 161, "max_segments": 1}, ProblemCode.TOO_MANY_SEGMENTS),
        ({"message": "a" * 1531}, ProblemCode.TOO_MANY_SEGMENTS),
        ({"message": "₦5000", "on_non_gsm": OnNonGsm.REJECT}, ProblemCode.NON_GSM_TEXT),
        ({"message": "a" * 501}, ProblemCode.MESSAGE_TOO_LONG_ENCODED),
    ],
)
def test_a_lone_error_that_has_a_problem_of_its_own_is_told_by_it(fields: dict[str, Any], code: ProblemCode) -> None:
    try:
        [refusal] = judge(**fields).refusals
    except ValidationFailed as failure:
        refusal = failure

    assert refusal.code is code


def test_a_bad_number_does_not_sink_the_others() -> None:
    assert judge("08012345678", "12").dialable == 1


@pytest.mark.parametrize(
    "fields", [{"recipients": ("12", "abc")}, {"recipients": ("12", "08012345678"), "strict": True}]
)
def test_bad_numbers_are_an_error_when_none_is_left_or_strict_was_asked(fields: dict[str, Any]) -> None:
    assert errors_of(**fields)["recipients[0]"] == "too_short"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"sender": "Stranger"}, ProblemCode.SENDER_NOT_ALLOWED),
        ({"message_type": MessageType.ALERT}, ProblemCode.MESSAGE_TYPE_NOT_ALLOWED),
        ({"route": RequestedRoute.DND}, ProblemCode.ROUTE_NOT_ALLOWED),
        ({"message": "You have W0N"}, ProblemCode.BLOCKED_WORDS),
        ({"sender": "Lottery"}, ProblemCode.BLOCKED_SENDER),
    ],
)
def test_what_is_well_formed_may_still_be_refused(fields: dict[str, Any], code: ProblemCode) -> None:
    assert code in refusals_of(judge(**fields))


def test_a_refusal_for_words_names_entry_category_and_place_in_the_callers_text() -> None:
    [refusal] = judge(message="Hi! Y0U  h\u200bave won").refusals

    assert isinstance(refusal, Blocked)
    [hit] = refusal.hits
    assert (hit.entry, hit.category, hit.start, hit.end) == ("you have won", "prize", 4, 18)


def test_a_warning_does_not_stop_a_send() -> None:
    prepared = judge(message="Delivery is free today")

    assert prepared.refusals == ()
    assert [(warning.code, warning.entry) for warning in prepared.warnings] == [("listed_word", "free")]


def test_for_alert_receivers_a_blocked_word_only_warns() -> None:
    prepared = judge(message="You have won", words_only_warn=True)

    assert prepared.refusals == ()
    assert prepared.warnings[0].entry == "you have won"


def test_promotional_traffic_at_night_is_refused_to_who_waits_and_held_for_who_does_not() -> None:
    [refusal] = judge(message_type=MessageType.PROMOTIONAL, now_ms=NIGHT).refusals
    held = judge(message_type=MessageType.PROMOTIONAL, now_ms=NIGHT, asynchronous=True)

    assert isinstance(refusal, OutsideHours)
    assert held.refusals == ()
    assert held.closed == (NOON + 20 * 3_600_000, Code.HELD_QUIET_HOURS)
    assert refusal.allowed_from == held.closed.until


MORNING = AskedWindow("06:00", "11:00", "Africa/Lagos")
"""Closed at noon, until six in the morning."""


def test_outside_its_window_a_message_is_refused_to_who_waits_and_held_for_who_does_not() -> None:
    [refusal] = judge(delivery_window=MORNING).refusals
    held = judge(delivery_window=MORNING, asynchronous=True)

    assert isinstance(refusal, OutsideHours)
    assert refusal.code is ProblemCode.OUTSIDE_WINDOW
    assert held.closed == (NOON + 18 * 3_600_000, Code.HELD_WINDOW) == (refusal.allowed_from, Code.HELD_WINDOW)
    assert held.windows == (DeliveryWindow(360, 660),)


def test_the_rule_that_ends_last_names_the_refusal_and_all_of_them_are_right_then() -> None:
    promotion: dict[str, Any] = {"message_type": MessageType.PROMOTIONAL, "delivery_window": MORNING}
    [refusal] = judge(**promotion).refusals

    assert isinstance(refusal, OutsideHours)
    assert (refusal.code, refusal.allowed_from) == (ProblemCode.QUIET_HOURS, NOON + 20 * 3_600_000)


@pytest.mark.parametrize("kind", MessageType)
def test_a_clients_window_holds_everything_but_codes(kind: MessageType) -> None:
    client = replace(CLIENT, delivery_window=DeliveryWindow(360, 660), message_types=frozenset(MessageType))
    prepared = judge(client=client, message_type=kind)

    assert prepared.windows == (() if kind is MessageType.OTP else (DeliveryWindow(360, 660),))
    assert (prepared.refusals == ()) is (kind is MessageType.OTP)


def test_a_window_that_other_hours_never_meet_is_refused() -> None:
    night = AskedWindow("21:00", "23:00", "Africa/Lagos")
    [refusal] = judge(message_type=MessageType.PROMOTIONAL, delivery_window=night, asynchronous=True).refusals

    assert isinstance(refusal, ValidationFailed)
    assert [(error.field, error.code) for error in refusal.errors] == [("delivery_window", "no_common_hours")]


def test_what_is_wrong_with_a_window_is_told_by_field() -> None:
    with pytest.raises(ValidationFailed) as raised:
        judge(delivery_window=AskedWindow("8:00", "24:00", "Africa/Atlantis"))
    assert {error.field for error in raised.value.errors} == {
        "delivery_window.from",
        "delivery_window.to",
        "delivery_window.time_zone",
    }
    with pytest.raises(ValidationFailed) as raised:
        judge(delivery_window=AskedWindow("08:00", "08:00", "Africa/Lagos"))
    assert [(error.field, error.code) for error in raised.value.errors] == [("delivery_window.to", "same_as_from")]


def test_for_a_later_time_the_hours_at_that_time_count() -> None:
    tomorrow = NOON + 18 * 3_600_000
    assert judge(delivery_window=MORNING, send_at=tomorrow, asynchronous=True).closed is None


def test_a_preview_shows_all_refusals_at_once() -> None:
    prepared = judge(sender="Stranger", message="You have won", message_type=MessageType.PROMOTIONAL, now_ms=NIGHT)
    preview = preview_of(prepared)

    assert [problem.code for problem in preview.problems] == [
        ProblemCode.SENDER_NOT_ALLOWED,
        ProblemCode.BLOCKED_WORDS,
        ProblemCode.QUIET_HOURS,
    ]
    assert preview.estimated_units == 1


def test_a_callback_goes_only_to_a_host_on_the_clients_list() -> None:
    assert judge(asynchronous=True, callback_url="https://orders.internal/sms").refusals == ()
    assert errors_of(asynchronous=True, callback_url="https://169.254.169.254/x") == {
        "callback_url": "host_not_allowed"
    }


@given(st.text(max_size=30), st.lists(st.text(max_size=20), max_size=3), st.text(max_size=200), st.text(max_size=70))
def test_no_error_repeats_what_the_caller_sent(
    sender: str, recipients: list[str], message: str, reference: str
) -> None:
    canary = "canary4711"
    try:
        prepared = judge(
            sender=sender + canary,
            recipients=tuple(number + canary for number in recipients),
            message=message + canary,
            reference=reference + canary,
        )
        refusals: Sequence[Refusal] = prepared.refusals
    except ValidationFailed as failure:
        refusals = [failure]
    for refusal in refusals:
        told = str(refusal) + refusal.detail
        if isinstance(refusal, ValidationFailed):
            told += "".join(error.field + error.message for error in refusal.errors)
        assert canary not in told


def test_a_preview_shows_what_is_well_formed_and_would_be_refused() -> None:
    preview = preview_of(judge(message="a" * 161, max_segments=1))

    assert [problem.code for problem in preview.problems] == [ProblemCode.TOO_MANY_SEGMENTS]
    assert preview.text.segments == 2
