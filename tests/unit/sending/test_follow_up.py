"""The only place that lets a text go to a number again: what may follow from an answer, and what never may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import (
    Code,
    Encoding,
    MessageType,
    Rejection,
    RequestedRoute,
    Route,
    RouteReason,
    Source,
    Status,
)
from relay.domain.notification import (
    Call,
    CallState,
    Entry,
    Mode,
    Notification,
    Outcome,
    RouteDecision,
    TextFacts,
    UpstreamRecord,
)
from relay.sending.follow_up import LONGEST_BACKOFF_MS, MOST_HALVINGS, Step, decide
from relay.sending.ports import SendOutcome, SendResult

NOW = 1_764_040_000_000
OTP_ON_DND = frozenset({MessageType.OTP})


def notification(mode: Mode = Mode.SYNCHRONOUS, message_type: MessageType = MessageType.OTP) -> Notification:
    return Notification(
        id="0192f3c4-0000-7000-8000-000000000001",
        client="billing",
        source=Source.API,
        mode=mode,
        sender="ACME",
        message="Your code is 4711.",
        message_hash=b"",
        message_type=message_type,
        route=RouteDecision(RequestedRoute.AUTO, Route.DND_FALLBACK, RouteReason.DEFAULT),
        text=TextFacts(Encoding.GSM_7, 18, 1),
        entries=tuple(Entry(f"0801234{i:04}", f"234801234{i:04}") for i in range(100)),
        created_at=NOW,
    )


def call(recipients: int = 4, route: Route = Route.NORMAL, level: int = 0) -> Call:
    return Call(
        ordinal=0, route=route, recipients=tuple(range(recipients)), state=CallState.DIALLING, level=level, dialled=True
    )


def outcome(code: Code) -> Outcome:
    return Outcome(code=code, upstream=UpstreamRecord("0000"))


def result(*codes: Code, kind: SendOutcome = SendOutcome.ACCEPTED, rejected: Rejection | None = None) -> SendResult:
    return SendResult(
        outcome=kind, outcomes=tuple(outcome(code) for code in codes), cause="answered", seconds=0.1, rejection=rejected
    )


def too_many(recipients: int) -> SendResult:
    return SendResult(
        outcome=SendOutcome.REJECTED,
        outcomes=(outcome(Code.UPSTREAM_REJECTED),) * recipients,
        cause="rejected",
        seconds=0.1,
        rejection=Rejection.TOO_MANY_RECIPIENTS,
        too_many=True,
    )


def follow(
    told: Notification, dialled: Call, brought: SendResult, second: frozenset[MessageType] = frozenset(), tries: int = 0
) -> Step:
    return decide(told, dialled, brought, second_attempt=second, tries=tries, now_ms=NOW)


def test_an_answer_ends_the_matter() -> None:
    step = follow(notification(), call(2), result(Code.SENT, Code.REJECTED))

    assert [kept.code for kept in step.outcomes] == [Code.SENT, Code.REJECTED]
    assert step.follow_ups == ()


def test_a_batch_that_was_too_large_is_halved_and_nobody_is_lost() -> None:
    step = follow(notification(), call(5), too_many(5))

    assert step.outcomes == ()
    assert [half.recipients for half in step.follow_ups] == [(0, 1), (2, 3, 4)]
    assert {half.level for half in step.follow_ups} == {1}
    assert {half.route for half in step.follow_ups} == {Route.NORMAL}


@pytest.mark.parametrize(("recipients", "level"), [(1, 0), (2, MOST_HALVINGS)], ids=["single", "7 levels"])
def test_halving_ends_with_a_single_recipient_or_at_seven_levels(recipients: int, level: int) -> None:
    step = follow(notification(), call(recipients, level=level), too_many(recipients))

    assert step.follow_ups == ()
    assert {kept.code for kept in step.outcomes} == {Code.UPSTREAM_REJECTED}


def test_the_second_attempt_goes_by_dnd_to_those_who_got_nothing() -> None:
    step = follow(notification(), call(3), result(Code.SENT, Code.DND_REJECTED, Code.NO_ANSWER), OTP_ON_DND)

    [attempt] = step.follow_ups
    assert attempt.recipients == (1,)
    assert attempt.route is Route.DND


@pytest.mark.parametrize("route", [Route.DND, Route.DND_FALLBACK])
def test_no_second_attempt_is_made_after_a_dnd_route(route: Route) -> None:
    assert follow(notification(), call(1, route), result(Code.DND_REJECTED), OTP_ON_DND).follow_ups == ()


def test_promotional_traffic_is_never_tried_again() -> None:
    told = notification(message_type=MessageType.PROMOTIONAL)

    assert follow(told, call(1), result(Code.DND_REJECTED), frozenset(MessageType)).follow_ups == ()


@pytest.mark.parametrize(
    ("brought", "again"),
    [
        (result(Code.UPSTREAM_UNREACHABLE, kind=SendOutcome.NOT_SENT), True),
        (
            result(
                Code.UPSTREAM_REJECTED,
                kind=SendOutcome.REJECTED,
                rejected=Rejection.NO_BALANCE,
            ),
            True,
        ),
        (
            result(
                Code.UPSTREAM_REJECTED,
                kind=SendOutcome.REJECTED,
                rejected=Rejection.CREDENTIALS,
            ),
            True,
        ),
        (
            result(
                Code.UPSTREAM_REJECTED,
                kind=SendOutcome.REJECTED,
                rejected=Rejection.BLOCKED_WORDS,
            ),
            False,
        ),
        (result(Code.NO_ANSWER, kind=SendOutcome.UNKNOWN), False),
    ],
    ids=["unreachable", "no balance", "credentials", "blocked words", "no answer"],
)
def test_the_queue_tries_again_only_what_was_certainly_not_sent_for_a_reason_that_passes(
    brought: SendResult, again: bool
) -> None:
    step = follow(notification(Mode.ASYNCHRONOUS), call(1), brought)

    assert bool(step.follow_ups) is again
    assert (step.hold_until is not None) is again


def test_a_caller_who_waits_is_told_at_once_instead() -> None:
    step = follow(notification(), call(1), result(Code.UPSTREAM_UNREACHABLE, kind=SendOutcome.NOT_SENT))

    assert step.follow_ups == ()
    assert step.outcomes[0].status is Status.NOT_SENT


def test_each_hold_is_longer_up_to_a_minute() -> None:
    unreachable = result(Code.UPSTREAM_UNREACHABLE, kind=SendOutcome.NOT_SENT)
    holds = [
        (follow(notification(Mode.ASYNCHRONOUS), call(1), unreachable, tries=tries).hold_until or 0) - NOW
        for tries in range(9)
    ]

    assert holds == sorted(holds)
    assert holds[0] == 1_000
    assert holds[-1] == LONGEST_BACKOFF_MS


@given(
    st.sampled_from(list(Mode)),
    st.sampled_from(list(MessageType)),
    st.sampled_from(list(Route)),
    st.lists(st.sampled_from([Code.SENT, Code.SENT_DND, Code.REJECTED, Code.DND_REJECTED, Code.NO_ANSWER]), min_size=1),
)
def test_nobody_who_may_have_got_the_text_is_ever_called_again(
    mode: Mode, message_type: MessageType, route: Route, codes: list[Code]
) -> None:
    told = notification(mode, message_type)
    step = follow(told, call(len(codes), route), result(*codes), frozenset(MessageType))

    for attempt in step.follow_ups:
        assert all(codes[index] is Code.DND_REJECTED for index in attempt.recipients)
