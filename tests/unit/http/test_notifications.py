"""Send, preview, look up, cancel, as callers see them."""

from typing import Any

import pytest
from msgspec.structs import replace

from relay.domain.codes import MessageType, OnNonGsm, Permission, ProblemCode, RequestedRoute, Source
from relay.domain.errors import LimitReached, Unavailable
from relay.sending.requests import Submission
from support.fake_core import NOW_MS
from support.front import ORDERS_KEY, REQUEST, Front

NOBODYS_ID = "0192f3c4-0000-7000-8000-000000000000"
FULL: dict[str, Any] = {
    "sender": "ACME",
    "recipients": ["08012345678", "+234 801 234 5679"],
    "message": "Hello.",
    "message_type": "otp",
    "route": "normal",
    "reference": "order-1204",
    "on_non_gsm": "fold",
    "max_segments": 4,
    "strict": True,
    "expires_at": "2026-12-01T11:00:00.042+01:00",
    "callback_url": "https://orders.internal/sms-status",
}


async def test_every_field_reaches_the_core_as_it_was_sent() -> None:
    front = Front()
    reply = await front.request(
        "POST", "/v1/notifications", FULL, {"Idempotency-Key": "key-1", "Prefer": "respond-async"}
    )
    [(submission, caller)] = front.core.requests

    assert reply.status == 202
    assert submission == Submission(
        recipients=("08012345678", "+234 801 234 5679"),
        message="Hello.",
        sender="ACME",
        message_type=MessageType.OTP,
        route=RequestedRoute.NORMAL,
        reference="order-1204",
        on_non_gsm=OnNonGsm.FOLD,
        max_segments=4,
        strict=True,
        expires_at=NOW_MS,
        callback_url="https://orders.internal/sms-status",
        idempotency_key="key-1",
    )
    assert caller.client is front.clients["billing"]
    assert caller.source is Source.API


async def test_one_string_is_a_list_of_one() -> None:
    front = Front()
    reply = await front.send(recipients="08012345678")

    assert [entry["input"] for entry in reply.json()["recipients"]] == ["08012345678"]


async def test_optional_fields_may_be_null() -> None:
    optional = dict.fromkeys(("sender", "reference", "max_segments", "expires_at", "callback_url"))
    reply = await Front().request("POST", "/v1/notifications", REQUEST | optional)

    assert reply.status == 200


async def test_a_trace_context_and_the_request_id_go_along() -> None:
    front = Front()
    context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await front.send({"traceparent": context, "X-Request-Id": "mine"})
    [(_, caller)] = front.core.requests

    assert (caller.traceparent, caller.request_id) == (context, "mine")


# --- waiting or not ---


async def test_respond_async_is_202_with_queued_entries_and_a_location() -> None:
    front = Front()
    reply = await front.send({"Prefer": "respond-async"})
    body = reply.json()

    assert reply.status == 202
    assert reply.headers["location"] == f"/v1/notifications/{body['id']}"
    assert reply.headers["preference-applied"] == "respond-async"
    assert body["status"] == "queued"
    assert body["completed_at"] is None
    assert body["counts"]["queued"] == 1
    looked_up = await front.request("GET", reply.headers["location"])
    assert looked_up.json() == body


async def test_wait_lowers_the_deadline_and_is_told_as_applied() -> None:
    front = Front()
    reply = await front.send({"Prefer": "wait=5"})

    assert front.core.wait_seconds == [5]
    assert reply.headers["preference-applied"] == "wait=5"


async def test_without_a_preference_none_is_applied() -> None:
    front = Front()
    reply = await front.send({"Prefer": "handling=lenient"})

    assert front.core.wait_seconds == [None]
    assert "preference-applied" not in reply.headers


async def test_above_100_recipients_only_asynchronously() -> None:
    front = Front()
    many = [f"080{number:08d}" for number in range(12_300_000, 12_300_101)]
    refused = await front.send(recipients=many)

    assert (refused.status, refused.code) == (422, "use_async")
    assert (await front.send({"Prefer": "respond-async"}, recipients=many)).status == 202


# --- idempotency ---


@pytest.mark.parametrize("again", ["key-1", '"key-1"'])
async def test_the_same_key_gets_the_stored_answer(again: str) -> None:
    front = Front()
    first = await front.send({"Idempotency-Key": "key-1"})
    second = await front.send({"Idempotency-Key": again})

    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert second.status == 200
    assert second.json() == first.json() | {"replayed": True}


async def test_a_replay_of_an_asynchronous_one_is_202_again_whoever_asks_how() -> None:
    front = Front()
    first = await front.send({"Idempotency-Key": "key-1", "Prefer": "respond-async"})
    second = await front.send({"Idempotency-Key": "key-1"})

    assert second.status == 202
    assert second.headers["location"] == first.headers["location"]


async def test_a_replay_of_a_synchronous_one_is_200_also_for_who_would_not_wait() -> None:
    front = Front()
    await front.send({"Idempotency-Key": "key-1"})
    reply = await front.send({"Idempotency-Key": "key-1", "Prefer": "respond-async"})

    assert reply.status == 200
    assert reply.json()["status"] == "sent"


async def test_two_clients_with_one_key_are_independent() -> None:
    front = Front()
    await front.send({"Idempotency-Key": "key-1"})
    other = await front.request("POST", "/v1/notifications", REQUEST, {"Idempotency-Key": "key-1"}, key=ORDERS_KEY)

    assert other.json()["replayed"] is False


@pytest.mark.parametrize("key", ["", "a" * 256, '"open', "a b", "\xe9"])
async def test_a_malformed_key_is_400_before_anything_is_sent(key: str) -> None:
    front = Front()
    reply = await front.send({"Idempotency-Key": key})

    assert (reply.status, reply.code) == (400, "invalid_idempotency_key")
    assert front.core.requests == []


async def test_two_keys_are_400() -> None:
    front = Front()
    reply = await front.send([("Idempotency-Key", "one"), ("Idempotency-Key", "two")])

    assert (reply.status, reply.code) == (400, "invalid_idempotency_key")
    assert front.core.requests == []


async def test_a_client_that_must_give_a_key_is_refused_without_one() -> None:
    front = Front()
    front.clients["billing"] = replace(front.clients["billing"], require_idempotency_key=True)

    assert (await front.send()).code == "invalid_idempotency_key"
    assert (await front.send({"Idempotency-Key": "key-1"})).status == 200


# --- field errors ---


async def test_every_error_comes_at_once_those_of_shape_and_those_of_content() -> None:
    front = Front()
    reply = await front.send(
        recipients=["08012345678", 8012345679],
        message="tab\there",
        sender="X",
        route="fast",
        strict="yes",
        reference="two words",
        max_segments=11,
        expires_at="tomorrow",
        callback_url="https://elsewhere.example/",
        favourite_colour="canary",
    )
    errors = {error["field"]: error["code"] for error in reply.json()["errors"]}

    assert (reply.status, reply.code) == (422, "validation_failed")
    assert errors == {
        "recipients[1]": "not_a_string",
        "route": "unlisted_value",
        "strict": "not_a_boolean",
        "expires_at": "malformed",
        "(unknown)": "unknown_field",
        "sender": "too_short",
        "message": "control_character",
        "reference": "malformed",
        "max_segments": "out_of_range",
        "callback_url": "asynchronous_only",
    }
    assert b"canary" not in reply.body
    assert b"favourite" not in reply.body
    assert b"elsewhere" not in reply.body


async def test_a_number_as_a_json_number_is_refused_with_the_reason() -> None:
    reply = await Front().send(recipients=[2348012345678])
    [error] = reply.json()["errors"]

    assert (error["field"], error["code"]) == ("recipients[0]", "not_a_string")
    assert "leading zeros" in error["message"]


async def test_a_value_that_is_not_listed_is_refused_with_those_that_are() -> None:
    [error] = (await Front().send(message_type="spam")).json()["errors"]

    assert error["message"] == "Use one of otp, alert, transactional, promotional."


async def test_missing_fields_are_named() -> None:
    reply = await Front().request("POST", "/v1/notifications", {})

    assert [(e["field"], e["code"]) for e in reply.json()["errors"]] == [
        ("recipients", "required"),
        ("message", "required"),
    ]


@pytest.mark.parametrize("document", [[], [REQUEST], "text", 5, None, True])
async def test_json_that_is_no_object_is_422(document: Any) -> None:
    reply = await Front().request("POST", "/v1/notifications", repr(document).replace("'", '"').encode())
    if document in (None, True):
        assert reply.code == "invalid_json"
    else:
        assert [(e["field"], e["code"]) for e in reply.json()["errors"]] == [("(body)", "not_an_object")]


async def test_a_time_without_an_offset_is_refused() -> None:
    [error] = (await Front().send(expires_at="2026-12-01T10:00:00")).json()["errors"]

    assert (error["field"], error["code"]) == ("expires_at", "malformed")


# --- refusals of the core ---


async def test_a_blocked_word_is_422_with_its_position() -> None:
    front = Front()
    reply = await front.send(message="Hi, You have W0N.")
    body = reply.json()

    assert (reply.status, reply.code) == (422, "blocked_words")
    assert body["detected_by"] == "relay"
    assert body["hits"] == [{"entry": "you have won", "category": "prize", "start": 4, "end": 16}]
    assert front.witness.refusals == [("prepare", "blocked_words", "billing")]


async def test_a_sender_of_somebody_else_is_403() -> None:
    reply = await Front().send(sender="OTHERS")

    assert (reply.status, reply.code) == (403, "sender_not_allowed")


@pytest.mark.parametrize(
    "code", [ProblemCode.OVERLOADED, ProblemCode.DRAINING, ProblemCode.PAUSED, ProblemCode.JOURNAL_UNAVAILABLE]
)
async def test_what_passes_is_503_safe_to_repeat(code: ProblemCode) -> None:
    front = Front()
    front.core.refusal = Unavailable(code, "Not now.", retry_after_seconds=2)
    reply = await front.send()

    assert (reply.status, reply.code, reply.json()["retry_safe"]) == (503, code.value, True)
    assert reply.headers["retry-after"] == "2"


async def test_a_limit_is_429_with_the_rate_limit_fields() -> None:
    front = Front()
    front.core.refusal = LimitReached(
        ProblemCode.QUOTA_EXCEEDED,
        "Enough for today.",
        policy="recipients-per-day",
        limit=100,
        window_seconds=86_400,
        remaining=3,
        retry_after_seconds=7200,
    )
    reply = await front.send()

    assert (reply.status, reply.code) == (429, "quota_exceeded")
    assert reply.headers["ratelimit"] == '"recipients-per-day";r=3;t=7200'
    assert reply.headers["ratelimit-policy"] == '"recipients-per-day";q=100;w=86400'


async def test_a_bug_before_the_claim_is_500_and_says_nothing_of_itself() -> None:
    front = Front()
    front.core.bug = ZeroDivisionError("canary 08012345678")
    reply = await front.send()

    assert (reply.status, reply.code) == (500, "internal_error")
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert b"canary" not in reply.body
    [event] = front.witness.events
    assert "ZeroDivisionError at fake_core.py:" in str(event)
    assert "canary" not in str(event)


# --- preview ---


async def test_a_preview_shows_everything_and_sends_nothing() -> None:
    front = Front()
    reply = await front.request("POST", "/v1/notifications/preview", REQUEST | {"recipients": ["08012345678", "12"]})

    assert reply.status == 200
    assert reply.json() == {
        "acceptable": True,
        "problems": [],
        "route": {"requested": "auto", "used": "dnd-fallback", "reason": "default"},
        "text": {"encoding": "gsm-7", "characters": 30, "segments": 1, "replaced": []},
        "recipients": [{"input": "08012345678", "recipient": "2348012345678"}, {"input": "12", "reason": "too_short"}],
        "hits": [],
        "warnings": [],
        "calls": 1,
        "estimated_units": "1",
        "account": None,
        "account_reason": None,
    }
    assert front.core.requests == []
    assert front.core.stored == {}


async def test_a_preview_of_what_would_be_refused_is_200_with_the_problems() -> None:
    front = Front()
    reply = await front.request(
        "POST", "/v1/notifications/preview", REQUEST | {"message": "You have won", "sender": "OTHERS"}
    )
    body = reply.json()

    assert reply.status == 200
    assert body["acceptable"] is False
    assert [problem["code"] for problem in body["problems"]] == ["sender_not_allowed", "blocked_words"]
    assert body["hits"] == [{"entry": "you have won", "category": "prize", "start": 0, "end": 12}]


async def test_a_preview_with_malformed_fields_is_422() -> None:
    reply = await Front().request("POST", "/v1/notifications/preview", REQUEST | {"message": ""})

    assert (reply.status, reply.code) == (422, "validation_failed")


# --- look up and cancel ---


async def test_others_notifications_do_not_exist() -> None:
    front = Front()
    notification_id = (await front.send({"Prefer": "respond-async"})).json()["id"]
    front.clients["orders"] = replace(front.clients["orders"], permissions=frozenset(Permission))
    for method in ("GET", "DELETE"):
        own = await front.request(method, f"/v1/notifications/{NOBODYS_ID}")
        others = await front.request(method, f"/v1/notifications/{notification_id}", key=ORDERS_KEY)
        assert (own.status, own.code) == (others.status, others.code) == (404, "not_found")
        assert own.json()["detail"] == others.json()["detail"]


@pytest.mark.parametrize(
    "path", ["x", "0192F3C4-0000-7000-8000-000000000000", f"{NOBODYS_ID}\n", "%00", "é", "a" * 9000]
)
async def test_an_id_that_cannot_be_one_is_404(path: str) -> None:
    front = Front()
    front.core.bug = AssertionError("the core was asked")

    assert (await front.request("GET", f"/v1/notifications/{path}")).code == "not_found"


async def test_cancelling_what_is_queued_ends_it_as_not_sent() -> None:
    front = Front()
    notification_id = (await front.send({"Prefer": "respond-async"})).json()["id"]
    reply = await front.request("DELETE", f"/v1/notifications/{notification_id}")
    [entry] = reply.json()["recipients"]

    assert reply.status == 200
    assert (entry["status"], entry["code"], entry["retry_safe"]) == ("not_sent", "cancelled", True)


async def test_cancelling_what_was_dialled_is_409() -> None:
    front = Front()
    notification_id = (await front.send()).json()["id"]
    reply = await front.request("DELETE", f"/v1/notifications/{notification_id}")

    assert (reply.status, reply.code) == (409, "already_dialled")


async def test_a_later_time_is_in_the_answer_and_can_be_moved() -> None:
    front = Front()
    accepted = await front.send({"Prefer": "respond-async"}, send_at="2026-12-01T12:00:00+01:00")
    path = f"/v1/notifications/{accepted.json()['id']}"
    moved = await front.request("PATCH", path, {"send_at": "2026-12-02T12:00:00Z"})
    listed = await front.request("GET", "/v1/notifications")

    assert (accepted.status, accepted.json()["send_at"]) == (202, "2026-12-01T11:00:00.000Z")
    assert (moved.status, moved.json()["send_at"]) == (200, "2026-12-02T12:00:00.000Z")
    assert moved.json()["recipients"][0]["code"] == "scheduled"
    assert listed.json()["items"][0]["send_at"] == "2026-12-02T12:00:00.000Z"
    assert "send_at" not in (await front.send()).json()


async def test_who_waits_for_the_outcome_cannot_ask_for_a_later_time() -> None:
    reply = await Front().send(send_at="2026-12-01T12:00:00Z")

    assert (reply.status, reply.code) == (422, "use_async")


async def test_a_delivery_window_refuses_with_the_time_from_which_it_is_right() -> None:
    front = Front()
    window = {"from": "00:00", "to": "09:00"}  # it is ten in the morning in Lagos
    reply = await front.send(delivery_window=window)
    held = await front.send({"Prefer": "respond-async"}, delivery_window=window)
    elsewhere = await front.send(delivery_window=window | {"time_zone": "America/New_York"})
    wrong = await front.send(delivery_window={"from": "8", "time_zone": 1, "until": "9"})

    assert (reply.status, reply.code) == (422, "outside_window")
    assert reply.json()["allowed_from"] == "2026-12-01T23:00:00.000Z"
    assert (held.status, elsewhere.status) == (202, 200)
    assert {error["field"] for error in wrong.json()["errors"]} == {
        "delivery_window.to",
        "delivery_window.time_zone",
        "delivery_window.(unknown)",
    }


async def test_what_is_moved_must_be_there_and_not_dialled() -> None:
    front = Front()
    dialled = (await front.send()).json()["id"]
    asked = {"send_at": "2026-12-02T12:00:00Z"}
    late = await front.request("PATCH", f"/v1/notifications/{dialled}", asked)
    nobodys = await front.request("PATCH", f"/v1/notifications/{NOBODYS_ID}", asked)
    malformed = await front.request("PATCH", f"/v1/notifications/{dialled}", {"send_at": "tomorrow", "other": 1})

    assert (late.status, late.code) == (409, "already_dialled")
    assert (nobodys.status, nobodys.code) == (404, "not_found")
    assert (malformed.status, malformed.code) == (422, "validation_failed")
    assert {error["field"] for error in malformed.json()["errors"]} == {"send_at", "(unknown)"}


async def test_answers_with_numbers_are_not_to_be_cached() -> None:
    front = Front()
    sent = await front.send()
    looked_up = await front.request("GET", f"/v1/notifications/{sent.json()['id']}")

    assert sent.headers["cache-control"] == looked_up.headers["cache-control"] == "no-store"
