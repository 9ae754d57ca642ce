"""The tables of codes agree: smsclone's code ↔ kind of rejection ↔ problem ↔ HTTP status ↔ whether to send again."""

import pytest

from relay.domain.codes import STATUS_OF, Code, ProblemCode, Rejection, Status, is_retry_safe
from relay.http.problems import PROBLEMS
from relay.smsclone.upstream_codes import REJECTIONS, UNLISTED

PROBLEM_OF_KIND = {
    Rejection.CREDENTIALS: (ProblemCode.UPSTREAM_CREDENTIALS, 502),
    Rejection.CONTRACT: (ProblemCode.UPSTREAM_CONTRACT, 502),
    Rejection.TOO_MANY_RECIPIENTS: (ProblemCode.UPSTREAM_CONTRACT, 502),
    Rejection.NO_BALANCE: (ProblemCode.UPSTREAM_NO_BALANCE, 503),
    Rejection.BLOCKED_SENDER: (ProblemCode.BLOCKED_SENDER, 422),
    Rejection.BLOCKED_WORDS: (ProblemCode.BLOCKED_WORDS, 422),
}


def test_every_rejection_has_a_problem() -> None:
    assert set(PROBLEM_OF_KIND) == set(Rejection)
    assert PROBLEM_OF_KIND[UNLISTED.rejection][0] is ProblemCode.UPSTREAM_CONTRACT


@pytest.mark.parametrize("code", REJECTIONS)
def test_a_code_has_the_problem_and_status_of_its_kind(code: str) -> None:
    problem, status = PROBLEM_OF_KIND[REJECTIONS[code].rejection]

    assert REJECTIONS[code].rejection.problem is problem
    assert PROBLEMS[problem].status == status


def test_what_the_upstream_refused_as_a_whole_may_be_sent_again() -> None:
    assert is_retry_safe(STATUS_OF[Code.UPSTREAM_REJECTED])
    for problem in {rejection.problem for rejection in Rejection} - {
        ProblemCode.BLOCKED_SENDER,
        ProblemCode.BLOCKED_WORDS,
    }:
        assert PROBLEMS[problem].retry_safe is True


def test_only_a_problem_that_says_nothing_was_sent_has_a_5xx() -> None:
    for code, kind in PROBLEMS.items():
        if kind.status >= 500 and code is not ProblemCode.INTERNAL_ERROR:
            assert kind.retry_safe is True, code


def test_safe_to_repeat_is_exactly_not_sent() -> None:
    assert {status for status in Status if is_retry_safe(status)} == {Status.NOT_SENT}
