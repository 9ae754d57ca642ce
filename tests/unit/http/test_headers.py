"""Headers that steer the relay are read to one value, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import ProblemCode
from relay.domain.errors import Refusal
from relay.http.headers import (
    Preferences,
    is_idempotency_key,
    parse_idempotency_key,
    parse_preferences,
    parse_request_id,
)

VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)


@given(VISIBLE.filter(lambda key: not key.startswith('"')))
def test_every_key_of_visible_ascii_is_taken_as_it_is(key: str) -> None:
    assert parse_idempotency_key([key.encode()]) == key
    assert is_idempotency_key(key)


@given(VISIBLE)
def test_a_quoted_key_is_the_same_key_as_the_bare_one(key: str) -> None:
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'

    assert parse_idempotency_key([quoted.encode()]) == key


@pytest.mark.parametrize(
    "values",
    [
        [b""],
        [b"a" * 256],
        [b"one", b"two"],
        [b"one", b"one"],
        [b'"'],
        [b'""'],
        [b'"open'],
        [b'"a"b"'],
        [b'"a b"'],
        [b"a b"],
        [b'"a\\n"'],
        ["schlüssel".encode()],
        [b"\xe9"],
        [b"a\r\nb"],
        [b"a\x00"],
        [b'"' + b"a" * 256 + b'"'],
    ],
)
def test_a_key_that_is_malformed_or_repeated_is_refused(values: list[bytes]) -> None:
    with pytest.raises(Refusal) as refused:
        parse_idempotency_key(values)
    assert refused.value.code is ProblemCode.INVALID_IDEMPOTENCY_KEY


def test_without_the_header_there_is_no_key() -> None:
    assert parse_idempotency_key([]) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_a_key_or_a_refusal(value: bytes) -> None:
    try:
        key = parse_idempotency_key([value])
    except Refusal:
        return
    assert key is not None
    assert is_idempotency_key(key)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"respond-async"], Preferences(respond_async=True)),
        ([b"Respond-Async"], Preferences(respond_async=True)),
        ([b"wait=10"], Preferences(wait_seconds=10)),
        ([b"wait = 10"], Preferences(wait_seconds=10)),
        ([b'wait="10"'], Preferences(wait_seconds=10)),
        ([b"wait=10, wait=3"], Preferences(wait_seconds=10)),
        ([b"wait=10", b"respond-async"], Preferences(respond_async=True, wait_seconds=10)),
        ([b"respond-async; foo=bar, handling=strict"], Preferences(respond_async=True)),
        ([b"wait=0"], Preferences()),
        ([b"wait=-1"], Preferences()),
        ([b"wait=1.5"], Preferences()),
        ([b"wait=99999999999999999999"], Preferences()),
        ([b"respond-asynchronously"], Preferences()),
        ([b""], Preferences()),
    ],
)
def test_preferences_are_read_and_unknown_ones_ignored(values: list[bytes], expected: Preferences) -> None:
    assert parse_preferences(values) == expected


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_no_preference_is_ever_an_error(values: list[bytes]) -> None:
    parse_preferences(values)


@pytest.mark.parametrize("value", [None, b"", b"a" * 129, b"a b", b"a\x00", b"\xff", b"a\n"])
def test_a_request_id_that_is_not_sane_is_not_taken(value: bytes | None) -> None:
    assert parse_request_id(value) is None


def test_a_sane_request_id_is_taken() -> None:
    assert parse_request_id(b"a" * 128) == "a" * 128
