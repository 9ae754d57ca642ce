"""What a token says of itself: read without trust, never with an error."""

import base64
import doctest
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.kubernetes import tokens
from relay.kubernetes.tokens import account_of, read_claims


def test_examples_hold() -> None:
    assert doctest.testmod(tokens).failed == 0


@pytest.mark.parametrize(
    "username",
    [
        "",
        "orders:api",
        "system:serviceaccount:",
        "system:serviceaccount:orders:",
        "system:serviceaccount::api",
        "system:serviceaccount:orders:api:more",
        "system:node:orders:api",
        "System:serviceaccount:orders:api",
    ],
)
def test_only_a_whole_service_account_is_one(username: str) -> None:
    assert account_of(username) is None


@given(st.binary(max_size=200) | st.from_regex(rb"[A-Za-z0-9_-]{2,40}\.[A-Za-z0-9_-]{2,80}\.[A-Za-z0-9_-]{2,9}"))
def test_no_bytes_are_too_odd_to_be_looked_at(token: bytes) -> None:
    read_claims(token)


@given(
    st.dictionaries(
        st.sampled_from(["sub", "aud", "exp", "iss"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    )
)
def test_claims_of_other_shapes_are_no_claims(payload: dict[str, object]) -> None:
    encoded = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=")

    claims = read_claims(b"e30." + encoded + b".c2ln")

    if claims is not None:
        assert (claims.sub, claims.exp) == (payload["sub"], payload["exp"])
        assert all(isinstance(audience, str) for audience in claims.audiences)
