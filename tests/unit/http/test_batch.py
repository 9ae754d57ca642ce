"""Each item of a batch is accepted or refused by itself; NDJSON in gives NDJSON out."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.domain.codes import ProblemCode, Source
from relay.domain.errors import IdempotencyConflict, LimitReached, Refusal, Unavailable, ValidationFailed
from relay.http.bodies import BODY_BYTES
from relay.sending.requests import Answer, Caller, Submission
from support.front import REQUEST, Front, Reply

NDJSON = {"Content-Type": "application/x-ndjson"}
GOOD = REQUEST
BAD = {"recipients": ["12"], "message": "Hello."}


async def post(front: Front, body: Any, headers: dict[str, str] | None = None) -> Reply:
    return await front.request("POST", "/v1/notifications/batch", body, headers or {})


def lines(*items: Any) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def keys(front: Front) -> list[str | None]:
    return [submission.idempotency_key for submission, _ in front.core.requests]


async def test_an_array_is_202_with_an_entry_an_item() -> None:
    front = Front()
    reply = await post(front, [GOOD, BAD, GOOD])
    body = reply.json()

    assert reply.status == 202
    assert (body["accepted"], body["refused"]) == (2, 1)
    assert [item["index"] for item in body["items"]] == [0, 1, 2]
    assert body["items"][0] == {"index": 0, "id": body["items"][0]["id"], "status": "queued"}
    assert body["items"][1]["problem"]["code"] == "validation_failed"
    assert body["items"][1]["problem"]["status"] == 422
    assert all(caller.source is Source.BATCH for _, caller in front.core.requests)


async def test_lines_in_give_lines_out() -> None:
    reply = await post(Front(), lines(GOOD, BAD), NDJSON)
    first, second = [json.loads(line) for line in reply.body.splitlines()]

    assert reply.status == 202
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert (first["index"], first["status"]) == (0, "queued")
    assert (second["index"], second["problem"]["code"]) == (1, "validation_failed")


async def test_a_line_that_is_no_json_stops_no_other() -> None:
    front = Front()
    body = (
        b'{"recipients"\n\n' + lines(GOOD) + b"\r\n" + b'"\xff"\n' + b"[" * 100 + b"]" * 100 + b"\n" + lines(GOOD)[:-1]
    )
    reply = await post(front, body, NDJSON)
    items = [json.loads(line) for line in reply.body.splitlines()]

    assert [item.get("status") or item["problem"]["code"] for item in items] == [
        "invalid_json",
        "queued",
        "invalid_json",
        "invalid_json",
        "queued",
    ]
    assert [item["index"] for item in items] == [0, 1, 2, 3, 4]
    assert front.witness.refusals == [("edge", "invalid_json", "billing")] * 3


@pytest.mark.parametrize("item", [5, "text", None, [], [GOOD], {}, {"recipients": 5, "message": []}, BAD])
async def test_any_item_that_is_none_is_refused_under_its_index(item: Any) -> None:
    body = (await post(Front(), [GOOD, item, GOOD])).json()

    assert [("problem" in entry) for entry in body["items"]] == [False, True, False]
    assert body["items"][1]["problem"]["code"] == "validation_failed"


async def test_a_bad_item_lists_all_its_errors() -> None:
    body = (await post(Front(), [GOOD, {"recipients": [5], "message": "", "x": 1}])).json()
    problem = body["items"][1]["problem"]

    assert [(error["field"], error["code"]) for error in problem["errors"]] == [
        ("recipients[0]", "not_a_string"),
        ("(unknown)", "unknown_field"),
        ("message", "empty"),
    ]


async def test_where_nothing_is_accepted_it_is_422_with_the_same_items() -> None:
    reply = await post(Front(), [BAD, BAD])
    body = reply.json()

    assert reply.status == 422
    assert reply.headers["content-type"] == "application/json"
    assert (body["accepted"], body["refused"], len(body["items"])) == (0, 2, 2)


DRAINING = Unavailable(ProblemCode.DRAINING, "Not now.", retry_after_seconds=1.0)
PASSING = [
    DRAINING,
    Unavailable(ProblemCode.PAUSED, "Not now.", retry_after_seconds=30.0),
    Unavailable(ProblemCode.OVERLOADED, "Not now."),
    Unavailable(ProblemCode.JOURNAL_UNAVAILABLE, "Not now.", retry_after_seconds=0.2),
    LimitReached(
        ProblemCode.QUOTA_EXCEEDED, "No more.", policy="day", limit=5, window_seconds=86_400, retry_after_seconds=600.0
    ),
]


def refuse_each(front: Front, *refusals: Refusal) -> None:
    """Let the core refuse each item by itself: the first with the first refusal, and so on."""

    async def enqueue(submissions: Sequence[Submission], caller: Caller) -> list[Answer | Refusal]:
        return list(refusals[: len(submissions)])

    front.core.enqueue = enqueue  # type: ignore[method-assign]


@pytest.mark.parametrize("refusal", PASSING, ids=lambda refusal: refusal.code.value)
@pytest.mark.parametrize("form", ["array", "lines"])
async def test_where_all_are_refused_for_one_cause_that_passes_the_batch_has_its_status(
    refusal: Refusal, form: str
) -> None:
    front = Front()
    refuse_each(front, refusal, refusal)
    reply = await (post(front, [GOOD, GOOD]) if form == "array" else post(front, lines(GOOD, GOOD), NDJSON))
    items = reply.json()["items"] if form == "array" else [json.loads(line) for line in reply.body.splitlines()]

    assert reply.status == (429 if isinstance(refusal, LimitReached) else 503)
    assert int(reply.headers["retry-after"]) == max(1, int(refusal.retry_after_seconds or 0))
    assert ("ratelimit" in reply.headers) == isinstance(refusal, LimitReached)
    assert [item["problem"]["code"] for item in items] == [refusal.code.value] * 2
    assert all(item["problem"]["retry_safe"] for item in items)


async def test_the_longest_wait_of_the_items_is_the_batchs() -> None:
    front = Front()
    refuse_each(front, *(Unavailable(ProblemCode.PAUSED, "", retry_after_seconds=after) for after in (2.0, 7.5, 3.0)))

    assert (await post(front, [GOOD] * 3)).headers["retry-after"] == "8"


@pytest.mark.parametrize(
    "refusals",
    [
        (DRAINING, ValidationFailed([])),
        (DRAINING, Unavailable(ProblemCode.PAUSED, "")),
        (IdempotencyConflict(ProblemCode.IDEMPOTENCY_MISMATCH, ""),) * 2,
    ],
    ids=["one is wrong", "two causes", "none passes"],
)
async def test_causes_that_differ_or_never_pass_are_422(refusals: tuple[Refusal, ...]) -> None:
    front = Front()
    refuse_each(front, *refusals)
    reply = await post(front, [GOOD, GOOD])

    assert reply.status == 422
    assert "retry-after" not in reply.headers


async def test_a_bad_item_among_those_that_may_come_again_is_422() -> None:
    front = Front()
    refuse_each(front, DRAINING)

    assert (await post(front, [GOOD, {"recipients": 5}])).status == 422


async def test_where_no_line_is_accepted_it_is_422_too() -> None:
    assert (await post(Front(), lines(BAD), NDJSON)).status == 422


@pytest.mark.parametrize("count", [0, 1_001])
@pytest.mark.parametrize("form", ["array", "lines"])
async def test_a_batch_has_1_to_1000_items(count: int, form: str) -> None:
    front = Front()
    items = [GOOD] * count
    reply = await (post(front, items) if form == "array" else post(front, lines(*items), NDJSON))

    assert (reply.status, reply.code) == (422, "validation_failed")
    assert reply.json()["errors"][0]["field"] == "(body)"
    assert front.core.requests == []


async def test_a_thousand_items_are_taken() -> None:
    assert (await post(Front(), [GOOD] * 1_000)).json()["accepted"] == 1_000


@pytest.mark.parametrize(
    "body", [b"[" + b"1," * 3_000_000 + b"1]", b"\n" * 8_000_000, b"[" + b"{}," * 2_000_000 + b"{}]"]
)
async def test_a_flood_of_tiny_items_is_refused(body: bytes) -> None:
    headers = NDJSON if body.startswith(b"\n") else {}

    assert (await post(Front(), body, headers)).code == "validation_failed"


async def test_texts_full_of_commas_are_no_flood() -> None:
    item = json.dumps(REQUEST | {"message": "," * 1_200}).encode()

    assert (await post(Front(), b"[" + b",".join([item] * 700) + b"]")).status == 202


async def test_an_item_in_which_a_name_comes_twice_is_refused_alone() -> None:
    twice = json.dumps(GOOD).replace("{", '{"message": "no", ', 1)

    reply = await post(Front(), f"[{twice}, {json.dumps(GOOD)}]".encode())
    of_lines = await post(Front(), f"{twice}\n{json.dumps(GOOD)}".encode(), NDJSON)

    assert [item.get("problem", {}).get("code") for item in reply.json()["items"]] == ["invalid_json", None]
    assert [json.loads(line).get("problem", {}).get("code") for line in of_lines.body.splitlines()] == [
        "invalid_json",
        None,
    ]


async def test_an_item_that_is_larger_than_a_request_may_be_is_refused_alone() -> None:
    large = GOOD | {"reference": "r" * BODY_BYTES}

    reply = await post(Front(), f"[{json.dumps(large)}, {json.dumps(GOOD)}]".encode())

    assert reply.status == 202
    assert [item.get("problem", {}).get("code") for item in reply.json()["items"]] == ["body_too_large", None]


@pytest.mark.parametrize("body", [b"", b"[", b"[{}", b"not json", b"\xef\xbb\xbf[]", b"[" * 50_000])
async def test_what_is_no_array_at_all_is_400(body: bytes) -> None:
    assert (await post(Front(), body)).code == "invalid_json"


@pytest.mark.parametrize("body", [b"{}", b'"text"', b"5"])
async def test_json_that_is_no_array_is_422(body: bytes) -> None:
    reply = await post(Front(), body)

    assert reply.json()["errors"][0]["code"] == "not_a_list"


# --- keys ---


async def test_an_items_own_key_counts_and_others_follow_from_the_header() -> None:
    front = Front()
    await post(front, [GOOD | {"idempotency_key": "mine"}, GOOD, GOOD], {"Idempotency-Key": '"batch"'})

    assert keys(front) == ["mine", "batch:1", "batch:2"]


async def test_without_any_key_items_have_none() -> None:
    front = Front()
    await post(front, [GOOD])

    assert keys(front) == [None]


@pytest.mark.slow
@settings(max_examples=15)
@given(st.integers(1, 255), st.integers(1, 12))
async def test_item_keys_are_distinct_stable_and_never_too_long(length: int, count: int) -> None:
    header = "k" * length
    first, second = Front(), Front()
    for front in (first, second):
        await post(front, [GOOD] * count, {"Idempotency-Key": header})

    assert keys(first) == keys(second)
    assert len(set(keys(first))) == count
    assert all(key is not None and len(key) <= 255 for key in keys(first))


async def test_a_header_too_long_to_append_to_is_stood_for_by_its_hash() -> None:
    front = Front()
    header = "k" * 255
    await post(front, [GOOD], {"Idempotency-Key": header})

    assert keys(front) == [f"{hashlib.sha256(header.encode()).hexdigest()}:0"]


@pytest.mark.parametrize("key", ["", "a" * 256, "a b", "é", "\x00"])
async def test_a_malformed_item_key_refuses_that_item_only(key: str) -> None:
    body = (await post(Front(), [GOOD | {"idempotency_key": key}, GOOD])).json()

    assert body["items"][0]["problem"]["code"] == "invalid_idempotency_key"
    assert body["items"][1]["status"] == "queued"


async def test_a_client_that_must_give_keys_is_refused_item_by_item() -> None:
    front = Front()
    front.clients["billing"] = replace(front.clients["billing"], require_idempotency_key=True)
    body = (await post(front, [GOOD, GOOD | {"idempotency_key": "mine"}])).json()

    assert [item.get("status") or item["problem"]["code"] for item in body["items"]] == [
        "invalid_idempotency_key",
        "queued",
    ]


async def test_a_repeated_batch_replays_each_item() -> None:
    front = Front()
    first = (await post(front, [GOOD, GOOD], {"Idempotency-Key": "batch"})).json()
    second = (await post(front, [GOOD, GOOD], {"Idempotency-Key": "batch"})).json()

    assert [item["id"] for item in second["items"]] == [item["id"] for item in first["items"]]
    assert all(item["replayed"] for item in second["items"])


async def test_a_refusal_of_the_whole_batch_is_one_problem() -> None:
    front = Front()
    front.core.refusal = Unavailable(ProblemCode.DRAINING, "Not now.", retry_after_seconds=1)
    reply = await post(front, [GOOD])

    assert (reply.status, reply.code) == (503, "draining")
