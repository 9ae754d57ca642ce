"""A definite answer is 200 whatever it says; a problem only where nothing was sent and all share the cause."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.codes import STATUS_OF, Code, ResolvedBy, Status
from relay.domain.notification import Outcome, UpstreamRecord
from relay.http.times import format_time
from support.fake_core import SENT, rejected_by
from support.front import REQUEST, Front

UNREACHABLE = Outcome(code=Code.UPSTREAM_UNREACHABLE)
TWO = ["08012345678", "08012345679"]


def outcomes(*given: Outcome) -> Callable[[int], Outcome]:
    return lambda position: given[min(position, len(given) - 1)]


@pytest.mark.parametrize(
    ("code", "status", "problem"),
    [
        ("TG11", 502, "upstream_credentials"),
        ("TG12", 502, "upstream_credentials"),
        ("TG13", 502, "upstream_credentials"),
        ("TG14", 502, "upstream_contract"),
        ("TG15", 502, "upstream_contract"),
        ("TG16", 502, "upstream_contract"),
        ("TG17", 503, "upstream_no_balance"),
        ("TG18", 422, "blocked_sender"),
        ("TG19", 422, "blocked_words"),
        ("TG20", 502, "upstream_contract"),
        ("TG99", 502, "upstream_contract"),
    ],
)
async def test_a_rejection_that_all_share_is_a_problem_safe_to_repeat(code: str, status: int, problem: str) -> None:
    front = Front()
    front.core.outcome = outcomes(rejected_by(code))
    reply = await front.send(recipients=TWO)
    body = reply.json()

    assert (reply.status, reply.code) == (status, problem)
    assert body["retry_safe"] is True
    assert body["id"] in front.core.stored
    assert body.get("detected_by") == ("smsclone" if status == 422 else None)


async def test_an_upstream_out_of_reach_for_all_is_503() -> None:
    front = Front()
    front.core.outcome = outcomes(UNREACHABLE)
    reply = await front.send(recipients=TWO)

    assert (reply.status, reply.code, reply.json()["retry_safe"]) == (503, "upstream_unreachable", True)
    assert "retry-after" in reply.headers


async def test_codes_of_one_class_are_one_cause() -> None:
    front = Front()
    front.core.outcome = outcomes(rejected_by("TG14"), rejected_by("TG16"))

    assert (await front.send(recipients=TWO)).code == "upstream_contract"


@pytest.mark.parametrize(
    "mixture",
    [
        (SENT, UNREACHABLE),
        (SENT, rejected_by("TG17")),
        (UNREACHABLE, rejected_by("TG17")),
        (rejected_by("TG11"), rejected_by("TG14")),
        (UNREACHABLE, Outcome(code=Code.DEADLINE)),
        (UNREACHABLE, Outcome(code=Code.NO_ANSWER)),
        (Outcome(code=Code.DEADLINE),),
        (Outcome(code=Code.EXPIRED),),
        (Outcome(code=Code.INTERRUPTED_BEFORE_DIAL),),
        (Outcome(code=Code.NO_ANSWER),),
        (Outcome(code=Code.UPSTREAM_UNREACHABLE, resolved_by=ResolvedBy.OPERATOR),),
        (Outcome(code=Code.UNREADABLE_ANSWER, upstream=UpstreamRecord("TG17")),),
    ],
    ids=lambda mixture: "+".join(outcome.code for outcome in mixture),
)
async def test_whatever_else_became_of_it_is_200_with_one_entry_each(mixture: tuple[Outcome, ...]) -> None:
    front = Front()
    front.core.outcome = outcomes(*mixture)
    reply = await front.send(recipients=TWO)

    assert reply.status == 200
    assert [entry["code"] for entry in reply.json()["recipients"]] == [outcomes(*mixture)(i).code for i in (0, 1)]


async def test_bad_numbers_and_duplicates_beside_a_shared_cause_do_not_hinder_the_problem() -> None:
    front = Front()
    front.core.outcome = outcomes(UNREACHABLE)
    reply = await front.send(recipients=["08012345678", "12", "+2348012345678"])

    assert (reply.status, reply.code) == (503, "upstream_unreachable")


ANY_FRONT = Front()
"""One for all examples: to build it costs most of what an example does."""


@settings(max_examples=60)
@given(st.lists(st.sampled_from([code for code in STATUS_OF if code is not Code.DIALLING]), min_size=1, max_size=4))
async def test_a_5xx_is_answered_only_where_certainly_nothing_was_sent(codes: list[Code]) -> None:
    ANY_FRONT.core.outcome = outcomes(*(Outcome(code=code, upstream=UpstreamRecord("TG17")) for code in codes))
    reply = await ANY_FRONT.send(recipients=[f"0801234567{i}" for i in range(len(codes))])

    if reply.status != 200:
        assert {STATUS_OF[code] for code in codes} == {Status.NOT_SENT}
        assert reply.json()["retry_safe"] is True


# --- the body ---

KEYS = [
    *("id", "reference", "status", "replayed", "sandbox", "message_type", "sender", "route", "text", "warnings"),
    *("counts", "recipients", "created_at", "completed_at"),
]


async def test_the_answer_has_exactly_the_contracts_keys_in_its_order() -> None:
    front = Front()
    reply = await front.send(recipients=["08012345678", "12", "+2348012345678"], reference="order-1204")
    body = reply.json()

    assert list(body) == KEYS
    assert body["reference"] == "order-1204"
    assert body["status"] == "partial"
    assert body["route"] == {"requested": "auto", "used": "dnd-fallback", "reason": "default", "account": "smsclone"}
    assert body["text"] == {"encoding": "gsm-7", "characters": 30, "segments": 1, "replaced": []}
    assert body["counts"] == {"sent": 2, "rejected": 0, "unknown": 0, "not_sent": 1, "queued": 0}
    assert body["created_at"] == "2026-12-01T10:00:00.042Z"
    assert body["completed_at"] == "2026-12-01T10:00:00.542Z"


async def test_one_entry_for_each_requested_number_in_order_with_exactly_the_contracts_keys() -> None:
    front = Front()
    body = (await front.send(recipients=["08012345678", "12", "+2348012345678"])).json()
    upstream = {
        "code": "0000",
        "status": "SENT",
        "description": "MESSAGE SENT TO PROVIDER",
        "message_id": "9967534522177818556581618",
    }
    made = {"attempts": 1, "account": "smsclone", "upstream": upstream}
    sent = {"recipient": "2348012345678", "status": "sent", "retry_safe": False} | made

    assert body["recipients"] == [
        {"input": "08012345678", "code": "sent"} | sent,
        {
            "input": "12",
            "recipient": None,
            "status": "not_sent",
            "code": "invalid_number",
            "retry_safe": True,
            "attempts": 0,
            "account": None,
            "upstream": None,
            "reason": "too_short",
        },
        {"input": "+2348012345678", "code": "duplicate_recipient"} | sent,
    ]


async def test_what_the_upstream_left_out_is_null() -> None:
    front = Front()
    front.core.outcome = outcomes(SENT, rejected_by("TG17"))
    body = (await front.send(recipients=TWO)).json()

    assert body["recipients"][1]["upstream"] == {
        "code": "TG17",
        "status": None,
        "description": None,
        "message_id": None,
    }


async def test_a_warning_is_in_the_answer_with_its_position() -> None:
    front = Front()
    body = (await front.send(message="This is urgent.")).json()

    assert body["warnings"] == [
        {"code": "listed_word", "entry": "urgent", "category": "pressure", "start": 8, "end": 14}
    ]


async def test_retry_safe_is_true_exactly_where_nothing_was_sent() -> None:
    front = Front()
    front.core.outcome = outcomes(SENT, Outcome(code=Code.NO_ANSWER), Outcome(code=Code.DEADLINE))
    body = (await front.send(recipients=[*TWO, "08012345670"])).json()

    assert [entry["retry_safe"] for entry in body["recipients"]] == [False, False, True]


@given(st.integers(0, 253_402_300_799_999))
def test_times_are_rfc_3339_in_utc_with_milliseconds(at_ms: int) -> None:
    text = format_time(at_ms)

    assert len(text) == 24
    assert text.endswith("Z")
    assert json.loads(json.dumps(text)) == text
    assert text[20:23] == f"{at_ms % 1000:03d}"


async def test_a_bug_after_the_claim_is_202_with_the_id_and_never_500(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("canary")

    front = Front()
    monkeypatch.setattr("relay.http.notifications.answer_response", fail)
    reply = await front.request("POST", "/v1/notifications", REQUEST, documented=False)
    [notification_id] = front.core.stored

    assert reply.status == 202
    assert reply.json()["id"] == notification_id
    assert reply.headers["location"] == f"/v1/notifications/{notification_id}"
    assert "canary" not in str(front.witness.events)
