"""Bodies are capped, timed, typed and never too deep; any bytes at all are answered with a 4xx, never with 500."""

import asyncio
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.domain.codes import ProblemCode
from relay.domain.errors import Refusal
from relay.http import bodies
from relay.http.asgi import Head, Message, Receive
from relay.http.bodies import BODY_BYTES, check_nesting, count_commas
from support.front import REQUEST, Front, Reply

GOOD = json.dumps(REQUEST).encode()


FRONT = Front()


async def post(body: bytes, headers: dict[str, str] | None = None) -> Reply:
    return await FRONT.request("POST", "/v1/notifications", body, headers or {})


def is_refused(body: bytes) -> bool:
    try:
        check_nesting(body)
    except Refusal as refusal:
        return refusal.code is ProblemCode.INVALID_JSON
    return False


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


BRACKETY = st.text(st.sampled_from('[]{}"\\,:a é'), max_size=12)
VALUES = st.recursive(
    BRACKETY | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(BRACKETY, inner, max_size=3)
)


@given(VALUES, st.integers(0, 20), st.booleans())
def test_exactly_what_is_nested_beyond_16_is_refused(value: Any, more: int, as_object: bool) -> None:
    for _ in range(more):
        value = {"[": value, '"]': "}"} if as_object else ["]", value, "[["]
    body = json.dumps(value, ensure_ascii=False).encode()

    assert is_refused(body) == (depth_of(value) > 16)


@given(st.binary(max_size=200))
@example(b'"' * 99)
@example(b"\\" * 99)
@example(b'["\\"' * 40)
def test_any_bytes_pass_or_are_refused(body: bytes) -> None:
    is_refused(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * BODY_BYTES,
        b"[]" * (BODY_BYTES // 2),
        b'["' * (BODY_BYTES // 2),
        b'{"a":' * (BODY_BYTES // 5),
        b'"' * BODY_BYTES + b"[" * 17,
        b"\\" * (BODY_BYTES - 20) + b"[" * 20,
    ],
    ids=["open", "pairs", "strings", "objects", "quotes", "escapes"],
)
def test_a_megabyte_of_brackets_is_judged_in_one_sweep(body: bytes) -> None:
    is_refused(body)  # milliseconds; were the cost quadratic, this would not end


BAD_JSON = {
    "empty": b"",
    "blank": b"   ",
    "100,000 arrays": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 17 + b"1" + b"}" * 17,
    "not UTF-8": GOOD.replace(b"order", b"\xff\xfe"),
    "not UTF-8 in a name": b'{"\xff":1}',
    "overlong": GOOD.replace(b"order", b"\xc0\xaf"),
    "lone surrogate": GOOD.replace(b"order", b"\\ud800"),
    "raw NUL": GOOD.replace(b"order", b"\x00"),
    "raw line feed": GOOD.replace(b"order", b"\n"),
    "5,000 digits": GOOD[:-1] + b', "max_segments": ' + b"9" * 5_000 + b"}",
    "5,000 digits in a stranger": GOOD[:-1] + b', "x": ' + b"9" * 5_000 + b"}",
    "NaN": GOOD[:-1] + b', "max_segments": NaN}',
    "Infinity": GOOD[:-1] + b', "max_segments": Infinity}',
    "1e400": GOOD[:-1] + b', "max_segments": 1e400}',
    "byte-order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-32": GOOD.decode().encode("utf-32-le"),
    "trailing bytes": GOOD + b"x",
    "two values": GOOD + GOOD,
    "trailing comma": GOOD[:-1] + b",}",
    "comment": b"/* */" + GOOD,
    "single quotes": GOOD.replace(b'"', b"'"),
    "cut": GOOD[:-5],
}


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON.keys())
async def test_what_is_not_json_is_400(body: bytes) -> None:
    reply = await post(body)

    assert (reply.status, reply.code) == (400, "invalid_json")


@pytest.mark.parametrize(
    "first",
    [
        b'"message": "no"',
        b'"message": 5',
        b'"message" : "no"',
        b'"m\\u0065ssage": "no"',
        b'"strict": false, "strict": true',
        b'"max_segments": 1, "max_segments": {"max_segments": 1}',
    ],
    ids=["sound", "malformed", "spaced", "escaped", "optional", "nested"],
)
async def test_a_name_that_comes_twice_is_400(first: bytes) -> None:
    reply = await post(GOOD.replace(b"{", b"{" + first + b", ", 1))

    assert (reply.status, reply.code) == (400, "invalid_json")


@pytest.mark.parametrize("text", ['"message": "message"', '{"message": 1, "message": 2}', "\\u0007f", "caf\u00e9"])
async def test_a_text_may_look_like_names_that_come_twice(text: str) -> None:
    assert (await post(json.dumps(REQUEST | {"message": text}).encode())).status == 200


async def test_a_long_body_of_another_shape_is_told_its_shape() -> None:
    reply = await post(b'{"a": "\\u0061", "a": [' + b"1," * 40_000 + b"1]}")

    assert (reply.status, reply.code) == (422, "validation_failed")


async def test_an_escaped_name_is_the_name() -> None:
    assert (await post(GOOD.replace(b'"message"', b'"m\\u0065ssage"'))).status == 200


async def test_a_hundred_thousand_unknown_names_are_one_error() -> None:
    body = b"{" + b",".join(b'"%d":1' % number for number in range(100_000)) + b"}"
    reply = await post(body)

    assert reply.status == 422
    assert len(reply.body) < 3_000


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        *("recipients", "message", "sender", "message_type", "route", "reference", "on_non_gsm", "max_segments"),
        *("strict", "expires_at", "callback_url", "idempotency_key", "canary-name"),
    ]
)


@given(st.dictionaries(FIELDS, JSON_VALUES, max_size=13))
async def test_any_json_object_is_sent_or_refused_and_never_a_500(document: dict[str, Any]) -> None:
    reply = await post(json.dumps(document).encode())

    assert reply.status in (200, 400, 403, 422)
    if reply.status != 200:
        assert b"canary-name" not in reply.body


@given(st.binary(max_size=300))
async def test_any_bytes_are_answered_with_a_4xx(body: bytes) -> None:
    assert 400 <= (await post(body)).status < 500


# --- sizes ---


async def test_a_body_of_just_a_mebibyte_is_read_and_one_byte_more_is_413() -> None:
    just = GOOD + b" " * (BODY_BYTES - len(GOOD))

    assert (await post(just)).status == 200
    refused = await post(just + b" ")
    assert (refused.status, refused.code) == (413, "body_too_large")
    assert refused.headers["connection"] == "close"


async def test_a_chunked_body_is_capped_while_it_comes() -> None:
    front = Front()
    chunks = [b" " * 65_536] * 17
    reply = await front.request(
        "POST", "/v1/notifications", chunks=chunks, headers={"content-type": "application/json"}
    )

    assert (reply.status, reply.code) == (413, "body_too_large")


async def test_a_chunked_body_is_read_whole() -> None:
    front = Front()
    chunks = [GOOD[:7], b"", GOOD[7:]]
    reply = await front.request(
        "POST", "/v1/notifications", chunks=chunks, headers={"content-type": "application/json"}
    )

    assert reply.status == 200


async def test_an_announced_length_over_the_cap_is_refused_unread() -> None:
    reply = await post(b"", {"content-length": str(BODY_BYTES + 1)})

    assert reply.code == "body_too_large"


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "", "9" * 40, "1,1"])
async def test_a_length_that_is_no_number_is_400(length: str) -> None:
    assert (await post(GOOD, {"content-length": length})).status == 400


async def test_the_batch_may_have_eight_mebibytes() -> None:
    body = b"[" + GOOD + b" " * (8 * BODY_BYTES - len(GOOD) - 2) + b"]"
    front = Front()

    assert (await front.request("POST", "/v1/notifications/batch", body)).status == 202
    assert (await front.request("POST", "/v1/notifications/batch", body + b" ")).code == "body_too_large"


# --- types ---


@pytest.mark.parametrize(
    "content_type",
    [
        *("application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=UTF-8"),
        *('application/json; charset="utf-8"', "application/json ;charset=utf-8;"),
        *("application/json;charset=UTF8", "application/json; charset=utf8", 'application/json;charset="Utf8"'),
        *("application/json;version=1", "application/json;odata=verbose", 'application/json; profile="a;b"'),
        *("application/json;odata.metadata=minimal;IEEE754Compatible=true;charset=utf-8", "application/json;;q"),
        *(r'application/json; note="charset=latin-1; \" "; charset=utf-8', "application/json; charset = UTF-8 ; v=1"),
    ],
)
async def test_json_in_utf_8_is_taken(content_type: str) -> None:
    assert (await post(GOOD, {"content-type": content_type})).status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        *("application/json;charset=utf-16;charset=utf-8", "application/json; CHARSET=latin1"),
        *("application/json;charset=", "application/json; charset=utf-8 x", "application/json; charset='utf-8'"),
        *('application/json; charset="utf-8', "application/jsonp", "text/json; charset=utf-8", "json"),
    ],
)
async def test_another_charset_or_name_is_415(content_type: str) -> None:
    assert (await post(GOOD, {"content-type": content_type})).code == "unsupported_media_type"


@pytest.mark.parametrize(
    "content_type",
    [
        *("application/x-ndjson", "application/x-ndjson;charset=UTF8", "Application/X-NDJSON; version=1"),
        *('application/x-ndjson; charset="utf-8"; header=absent', "application/json;charset=UTF8;version=1"),
    ],
)
async def test_a_batch_takes_both_types_with_any_parameters(content_type: str) -> None:
    body = GOOD if "nd" in content_type.lower() else b"[" + GOOD + b"]"
    reply = await FRONT.request("POST", "/v1/notifications/batch", body, {"content-type": content_type})

    assert reply.status == 202
    assert reply.headers["content-type"] == content_type.partition(";")[0].lower()


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "-"},
        {"content-type": ""},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/problem+json"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json, text/plain"},
        {"content-type": "application/x-ndjson"},
        {"content-encoding": "gzip"},
        {"content-encoding": "br"},
        {"content-encoding": "identity, gzip"},
        {"content-encoding": ""},
    ],
    ids=str,
)
async def test_another_type_or_encoding_is_415(headers: dict[str, str]) -> None:
    reply = await post(GOOD, headers)

    assert (reply.status, reply.code) == (415, "unsupported_media_type")


async def test_two_content_types_are_415() -> None:
    front = Front()
    headers = [("content-type", "application/json"), ("content-type", "text/plain")]

    assert (await front.request("POST", "/v1/notifications", GOOD, headers)).status == 415


async def test_the_encoding_identity_is_none() -> None:
    assert (await post(GOOD, {"content-encoding": "identity"})).status == 200


# --- time ---


HEAD = Head([(b"content-length", b"10")])


def receiving(*messages: Message) -> Receive:
    waiting = list(messages)

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


async def test_a_body_that_stalls_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "DEADLINE_SECONDS", 0.02)
    receive = receiving({"type": "http.request", "body": b"half", "more_body": True})
    with pytest.raises(Refusal) as refused:
        await bodies.read_body(HEAD, receive, BODY_BYTES)

    assert refused.value.code is ProblemCode.BAD_REQUEST


async def test_a_client_that_hangs_up_in_its_body_is_answered_with_400_all_the_same() -> None:
    receive = receiving({"type": "http.disconnect"})
    with pytest.raises(Refusal) as refused:
        await bodies.read_body(HEAD, receive, BODY_BYTES)

    assert refused.value.code is ProblemCode.BAD_REQUEST


def commas_outside(text: str) -> int:
    """Commas outside strings, by walking."""
    count, inside, escaped = 0, False, False
    for character in text:
        if escaped:
            escaped = False
        elif inside and character == "\\":
            escaped = True
        elif character == '"':
            inside = not inside
        elif character == "," and not inside:
            count += 1
    return count


@given(VALUES, st.integers(1, 5))
@example([',"', '\\",', "\\\\", ",,"], 1)
def test_commas_are_counted_outside_strings_wherever_the_body_is_cut(value: Any, piece: int) -> None:
    text = json.dumps(value, ensure_ascii=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "_PIECE_BYTES", piece)
        assert count_commas(text.encode()) == commas_outside(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        b'["' + b'","' * 2_700_000 + b'"]',
        b'["' + b',","' * 2_000_000 + b'"]',
        b"[" * 20 + b'"' + b'\\"' * 4_000_000 + b'"' + b"]" * 20,
        b"[" * 20 + b'"["],[' * 1_300_000 + b"]" * 20,
        b'["' + b'\\"' * 4_000_000,
    ],
    ids=["empty strings", "strings of commas", "escaped quotes", "strings of brackets", "a string without end"],
)
def test_looking_at_eight_mib_takes_little_memory_whatever_they_hold(body: bytes) -> None:
    tracemalloc.start()
    try:
        is_refused(body)
        count_commas(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 5 * len(body)
