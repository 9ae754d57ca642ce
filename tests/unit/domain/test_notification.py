"""What a caller sees of a notification, and what may still change in it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import (
    DEFINITE,
    STATUS_OF,
    Code,
    Encoding,
    MessageType,
    NotificationStatus,
    NumberReason,
    RequestedRoute,
    ResolvedBy,
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
    Stored,
    TextFacts,
    UpstreamRecord,
    count_statuses,
    find_outcomes,
    overall_status,
    settle_unknown,
    view_recipients,
)

RECORD = UpstreamRecord(code="0000", status="SENT", message_id="9967534522177818556581618")
OUTCOMES = [Outcome(code=code, upstream=RECORD) for code in STATUS_OF]
FIRST = Entry("08012345678", "2348012345678")
SECOND = Entry("08098765432", "2348098765432")
BAD = Entry("bad", reason=NumberReason.BAD_CHARACTER)
AGAIN = Entry("+2348012345678", "2348012345678", duplicate_of=0)

outcomes = st.sampled_from(OUTCOMES)
recorded = st.sampled_from([o for o in OUTCOMES if o.status in (*DEFINITE, Status.UNKNOWN)])
unknown = Outcome(code=Code.NO_ANSWER)
rejected = Outcome(code=Code.DND_REJECTED, upstream=RECORD)
sent = Outcome(code=Code.SENT, upstream=RECORD)
not_sent = Outcome(code=Code.UPSTREAM_UNREACHABLE)


def stored(
    entries: Sequence[Entry],
    *calls: Call,
    capped: tuple[int, ...] = (),
    held_until: int | None = None,
    owned: bool = False,
) -> Stored:
    notification = Notification(
        id="0192f3c4-0000-7000-8000-000000000000",
        client="billing",
        source=Source.API,
        mode=Mode.ASYNCHRONOUS,
        sender="ACME",
        message=None,
        message_hash=b"",
        message_type=MessageType.OTP,
        route=RouteDecision(RequestedRoute.AUTO, Route.NORMAL, RouteReason.CONFIGURED),
        text=TextFacts(Encoding.GSM_7, 5, 1),
        entries=tuple(entries),
        created_at=0,
        held_until=held_until,
    )
    return Stored(notification=notification, calls=calls, capped=capped, owned=owned)


def done(recipients: Sequence[int], results: Sequence[Outcome], *, ordinal: int = 0, dialled: bool = True) -> Call:
    return Call(
        ordinal=ordinal,
        route=Route.NORMAL if ordinal == 0 else Route.DND,
        recipients=tuple(recipients),
        state=CallState.DONE,
        outcomes=tuple(results),
        dialled=dialled,
    )


def open_call(recipients: Sequence[int], state: CallState, *, ordinal: int = 0) -> Call:
    dialled = state is CallState.DIALLING
    return Call(ordinal=ordinal, route=Route.DND, recipients=tuple(recipients), state=state, dialled=dialled)


@pytest.mark.parametrize("code", [Code.SENT, Code.SENT_DND, Code.DELIVERED, Code.REJECTED, Code.DND_REJECTED])
def test_what_only_the_upstream_can_say_needs_its_record_or_the_operator(code: Code) -> None:
    with pytest.raises(ValueError, match="needs the upstream's record"):
        Outcome(code=code)
    with pytest.raises(ValueError, match="needs the upstream's record"):
        Outcome(code=code, resolved_by=ResolvedBy.LATE_ANSWER)
    assert Outcome(code=code, resolved_by=ResolvedBy.OPERATOR).status is STATUS_OF[code]


def test_a_duplicate_is_no_outcome() -> None:
    with pytest.raises(ValueError, match="duplicate_recipient"):
        Outcome(code=Code.DUPLICATE_RECIPIENT)


def test_there_is_one_result_for_each_requested_number_in_order_duplicates_included() -> None:
    results = view_recipients(stored([FIRST, BAD, SECOND, AGAIN], done([2, 0], [rejected, sent])))
    assert [(r.input, r.recipient, r.status.value, r.code.value) for r in results] == [
        ("08012345678", "2348012345678", "sent", "sent"),
        ("bad", None, "not_sent", "invalid_number"),
        ("08098765432", "2348098765432", "rejected", "dnd_rejected"),
        ("+2348012345678", "2348012345678", "sent", "duplicate_recipient"),
    ]
    assert results[1].reason == "bad_character"
    assert results[3].upstream == RECORD
    assert overall_status(results) is NotificationStatus.PARTIAL
    assert count_statuses(results) == {Status.SENT: 2, Status.NOT_SENT: 1, Status.REJECTED: 1}


def test_only_valid_first_entries_are_dialable() -> None:
    assert stored([BAD, FIRST, Entry("x", FIRST.number, duplicate_of=1), SECOND]).notification.dialable() == [1, 3]


def test_a_duplicate_says_who_settled_the_first() -> None:
    settled = Outcome(code=Code.SENT, resolved_by=ResolvedBy.OPERATOR)
    first, again = view_recipients(stored([FIRST, AGAIN], done([0], [settled])))
    assert first.resolved_by is again.resolved_by is ResolvedBy.OPERATOR


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (open_call([0], CallState.CLAIMED), Code.QUEUED),
        (open_call([0], CallState.DIALLING), Code.DIALLING),
        (done([0], [], dialled=False), Code.QUEUED),
    ],
)
def test_what_is_not_over_is_queued_or_dialling(call: Call, code: Code) -> None:
    assert view_recipients(stored([FIRST], call))[0].code is code


def test_a_notification_held_for_quiet_hours_says_so_until_somebody_takes_it() -> None:
    waiting = open_call([0], CallState.CLAIMED)
    assert view_recipients(stored([FIRST], waiting, held_until=1))[0].code is Code.HELD_QUIET_HOURS
    assert view_recipients(stored([FIRST], waiting, held_until=1, owned=True))[0].code is Code.QUEUED


def test_a_capped_recipient_is_certainly_not_sent() -> None:
    results = view_recipients(stored([FIRST, SECOND, AGAIN], done([1], [sent]), capped=(0,)))
    assert [r.code for r in results] == [Code.RECIPIENT_CAPPED, Code.SENT, Code.DUPLICATE_RECIPIENT]
    assert [r.retry_safe for r in results] == [True, False, True]


@given(st.lists(recorded, min_size=1, max_size=5))
def test_sending_again_is_safe_exactly_for_entries_not_sent(results: list[Outcome]) -> None:
    entries = [Entry(str(i), f"23480{i:08}") for i in range(len(results))]
    for result in view_recipients(stored([*entries, BAD], done(range(len(results)), results))):
        assert result.retry_safe is (result.status is Status.NOT_SENT)


@given(recorded, recorded)
def test_a_second_attempt_speaks_for_the_number_unless_it_was_never_made(earlier: Outcome, later: Outcome) -> None:
    attempted = later.status is not Status.NOT_SENT
    calls = done([0], [earlier]), done([0], [later], ordinal=1, dialled=attempted)
    found, attempts = find_outcomes(stored([FIRST], *calls))
    first_stands = not attempted and earlier.status is not Status.NOT_SENT
    assert found == {0: earlier if first_stands else later}
    assert attempts == {0: 2 if attempted else 1}


@pytest.mark.parametrize(
    ("state", "status", "attempts"),
    [(CallState.CLAIMED, Status.QUEUED, 1), (CallState.DIALLING, Status.IN_PROGRESS, 2)],
)
def test_a_number_in_its_second_attempt_is_not_over(state: CallState, status: Status, attempts: int) -> None:
    calls = done([0, 1], [rejected, sent]), open_call([0], state, ordinal=1)
    results = view_recipients(stored([FIRST, SECOND], *calls))
    assert (results[0].status, results[0].attempts) == (status, attempts)
    assert (results[1].status, results[1].attempts) == (Status.SENT, 1)


def test_a_lost_second_attempt_is_unknown_although_the_first_was_rejected() -> None:
    calls = done([0], [rejected]), done([0], [unknown], ordinal=1)
    assert view_recipients(stored([FIRST], *calls))[0].status is Status.UNKNOWN


def test_the_calls_that_replace_a_call_speak_for_it() -> None:
    calls = done([0, 1], []), done([0], [sent], ordinal=1), open_call([1], CallState.CLAIMED, ordinal=2)
    results = view_recipients(stored([FIRST, SECOND], *calls))
    assert [(r.status, r.attempts) for r in results] == [(Status.SENT, 2), (Status.QUEUED, 1)]


@given(
    st.lists(outcomes, min_size=1, max_size=6),
    st.dictionaries(st.integers(0, 7), outcomes),
    st.sampled_from(ResolvedBy),
)
def test_an_unknown_outcome_is_settled_once_and_a_definite_one_never(
    before: list[Outcome], answers: dict[int, Outcome], resolved_by: ResolvedBy
) -> None:
    call = done(range(len(before)), before)
    settled = settle_unknown(call, answers, resolved_by)
    may_change = [
        i
        for i, old in enumerate(before)
        if old.status is Status.UNKNOWN and i in answers and answers[i].status in DEFINITE
    ]
    if settled is None:
        assert may_change == []
        return
    changed_call, changed = settled
    assert list(changed) == may_change
    for index, (old, new) in enumerate(zip(before, changed_call.outcomes, strict=True)):
        if index in may_change:
            assert (new.code, new.upstream, new.resolved_by) == (answers[index].code, RECORD, resolved_by)
        else:
            assert new is old
    assert settle_unknown(changed_call, answers, resolved_by) is None
    assert settle_unknown(changed_call, dict.fromkeys(range(8), sent), resolved_by) == settle_unknown(
        changed_call, {i: sent for i in range(8) if i not in may_change}, resolved_by
    )


def test_answers_are_matched_to_entries_not_to_positions() -> None:
    call = done([4, 2], [unknown, unknown])
    settled = settle_unknown(call, {2: sent, 0: rejected}, ResolvedBy.LATE_ANSWER)
    assert settled is not None
    assert [outcome.code for outcome in settled[0].outcomes] == [Code.NO_ANSWER, Code.SENT]
    assert settled[1] == (2,)


def test_a_second_attempt_that_the_operator_calls_not_sent_leaves_the_rejection() -> None:
    lost = done([0], [unknown], ordinal=1)
    settled = settle_unknown(lost, {0: not_sent}, ResolvedBy.OPERATOR)
    assert settled is not None
    assert view_recipients(stored([FIRST], done([0], [rejected]), settled[0]))[0].code is Code.DND_REJECTED


def test_a_call_without_outcomes_has_nothing_to_settle() -> None:
    assert settle_unknown(done([0], []), {0: sent}, ResolvedBy.OPERATOR) is None
