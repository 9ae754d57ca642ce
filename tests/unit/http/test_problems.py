"""The table of problems is the contract's own, row by row; documents hold what the contract says and nothing else."""

import json
from typing import Any

import pytest

from relay.domain.codes import ProblemCode as P
from relay.domain.errors import (
    Blocked,
    FieldError,
    LimitReached,
    OutsideHours,
    Refusal,
    Unavailable,
    ValidationFailed,
)
from relay.domain.notification import Hit
from relay.http.problems import PROBLEMS, Problem, render_problem

CONTRACT: list[tuple[P, int, bool | None]] = [
    # SPEC section 2, "HTTP status and problem codes", from top to bottom: code, status, retry_safe (None: no word).
    (P.INVALID_JSON, 400, None),
    (P.UNSUPPORTED_MEDIA_TYPE, 415, None),
    (P.BODY_TOO_LARGE, 413, None),
    (P.VALIDATION_FAILED, 422, None),
    (P.BLOCKED_WORDS, 422, None),
    (P.BLOCKED_SENDER, 422, None),
    (P.QUIET_HOURS, 422, None),
    (P.OUTSIDE_WINDOW, 422, None),
    (P.UNAUTHENTICATED, 401, None),
    (P.SENDER_NOT_ALLOWED, 403, None),
    (P.ROUTE_NOT_ALLOWED, 403, None),
    (P.MESSAGE_TYPE_NOT_ALLOWED, 403, None),
    (P.PERMISSION_MISSING, 403, None),
    (P.IDEMPOTENCY_MISMATCH, 422, False),
    (P.IDEMPOTENCY_IN_PROGRESS, 409, False),
    (P.IDEMPOTENCY_KEY_EXPIRED, 422, False),
    (P.INVALID_IDEMPOTENCY_KEY, 400, None),
    (P.RATE_LIMITED, 429, True),
    (P.QUOTA_EXCEEDED, 429, True),
    (P.BUDGET_EXCEEDED, 429, True),
    (P.RECIPIENT_CAPPED, 429, True),
    (P.UPSTREAM_CREDENTIALS, 502, True),
    (P.UPSTREAM_CONTRACT, 502, True),
    (P.UPSTREAM_NO_BALANCE, 503, True),
    (P.UPSTREAM_UNREACHABLE, 503, True),
    (P.JOURNAL_UNAVAILABLE, 503, True),
    (P.OVERLOADED, 503, True),
    (P.DRAINING, 503, True),
    (P.PAUSED, 503, True),
    # Elsewhere in section 2: recipients, message, on_non_gsm, max_segments; DELETE.
    (P.USE_ASYNC, 422, None),
    (P.MESSAGE_TOO_LONG_ENCODED, 422, None),
    (P.NON_GSM_TEXT, 422, None),
    (P.NON_GSM_VALUE, 422, None),
    (P.TEMPLATE_REQUIRED, 403, None),
    (P.TOO_MANY_SEGMENTS, 422, None),
    (P.ALREADY_DIALLED, 409, None),
    (P.ALREADY_ENDED, 409, None),
    # Silent there.
    (P.NOT_FOUND, 404, None),
    (P.METHOD_NOT_ALLOWED, 405, None),
    (P.BAD_REQUEST, 400, None),
    (P.INTERNAL_ERROR, 500, None),
]


def document(reply: Problem) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(reply.body)
    return body


def headers(reply: Problem) -> dict[str, str]:
    return reply.headers


@pytest.mark.parametrize(("code", "status", "retry_safe"), CONTRACT, ids=lambda value: str(value))
def test_each_code_has_the_contracts_status_and_retry_safe(code: P, status: int, retry_safe: bool | None) -> None:
    reply = render_problem(Refusal(code, "Why."), "request-1")
    body = document(reply)

    assert reply.status == body["status"] == status
    assert body.get("retry_safe") is retry_safe
    assert body["code"] == code.value
    assert body["type"] == f"/docs/problems#{code.value}"
    assert body["detail"] == "Why."
    assert body["request_id"] == "request-1"


def test_the_contract_knows_every_code_once() -> None:
    assert set(P) - set(PROBLEMS) == set(), "write its row in relay/http/problem_kinds.py"
    assert sorted(code for code, _, _ in CONTRACT) == sorted(P), "CONTRACT has a row for each code"


@pytest.mark.parametrize("code", PROBLEMS)
def test_every_problem_says_cause_and_remedy_in_sentences(code: P) -> None:
    kind = PROBLEMS[code]

    assert kind.title
    assert not kind.title.endswith(".")
    assert kind.cause.endswith(".")
    assert kind.remedy.endswith(".")


@pytest.mark.parametrize("code", [code for code, status, _ in CONTRACT if status in (429, 503)])
def test_429_and_503_always_say_when_to_try_again(code: P) -> None:
    assert int(headers(render_problem(Refusal(code, ""), ""))["retry-after"]) >= 1


@pytest.mark.parametrize(("seconds", "header"), [(0.001, "1"), (1.0, "1"), (1.2, "2"), (60, "60")])
def test_retry_after_is_whole_seconds_rounded_up(seconds: float, header: str) -> None:
    reply = render_problem(Unavailable(P.OVERLOADED, "", retry_after_seconds=seconds), "")

    assert headers(reply)["retry-after"] == header


def test_field_errors_come_all_at_once() -> None:
    errors = [FieldError("recipients[3]", "too_short", "Longer."), FieldError("message", "empty", "Give one.")]
    body = document(render_problem(ValidationFailed(errors), ""))

    assert body["errors"] == [
        {"field": "recipients[3]", "code": "too_short", "message": "Longer."},
        {"field": "message", "code": "empty", "message": "Give one."},
    ]


def test_a_hit_of_our_list_names_entry_category_and_position() -> None:
    refusal = Blocked(P.BLOCKED_WORDS, "", detected_by="relay", hits=[Hit("you have won", "prize", 3, 15)])
    body = document(render_problem(refusal, ""))

    assert body["detected_by"] == "relay"
    assert body["hits"] == [{"entry": "you have won", "category": "prize", "start": 3, "end": 15}]
    assert "retry_safe" not in body


def test_a_hit_of_the_upstreams_list_may_be_sent_again_and_has_no_position() -> None:
    body = document(render_problem(Blocked(P.BLOCKED_SENDER, "", detected_by="smsclone"), ""))

    assert body["detected_by"] == "smsclone"
    assert body["retry_safe"] is True
    assert "hits" not in body


def test_quiet_hours_say_from_when_it_is_allowed() -> None:
    refusal = OutsideHours(P.QUIET_HOURS, "", allowed_from=1_796_119_200_000, retry_after_seconds=3600.5)
    reply = render_problem(refusal, "")

    assert document(reply)["allowed_from"] == "2026-12-01T10:00:00.000Z"
    assert headers(reply)["retry-after"] == "3601"


def test_a_limit_is_told_in_the_rate_limit_fields() -> None:
    refusal = LimitReached(
        P.RATE_LIMITED, "", policy="requests", limit=50, window_seconds=1, remaining=0, retry_after_seconds=0.3
    )
    fields = headers(render_problem(refusal, ""))

    assert fields["ratelimit-policy"] == '"requests";q=50;w=1'
    assert fields["ratelimit"] == '"requests";r=0;t=1'
    assert fields["retry-after"] == "1"


def test_a_notification_that_was_claimed_is_named() -> None:
    assert document(render_problem(Refusal(P.UPSTREAM_CONTRACT, ""), "", notification_id="n-1"))["id"] == "n-1"
