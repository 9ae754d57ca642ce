"""Keys are compared as a whole, in constant time; whatever is not a valid one is 401, never 500."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.domain.codes import Permission
from relay.http.auth import KeyEntry, KeyRing, new_key
from support.front import BILLING_KEY, ORDERS_KEY, REQUEST, Front

KEY, KEY_ID, SHA256 = new_key()
RING = KeyRing([KeyEntry("billing", KEY_ID, SHA256)])


def bearer(key: str) -> bytes:
    return b"Bearer " + key.encode("latin-1")


def test_a_new_key_opens_what_its_hash_stands_for() -> None:
    assert KEY.startswith(f"rk_{KEY_ID}_")
    assert hashlib.sha256(KEY.encode()).hexdigest() == SHA256
    assert len(KEY) < 128
    assert RING.find(bearer(KEY), 0) == ("billing", KEY_ID)


def test_no_two_new_keys_are_alike() -> None:
    assert len({new_key()[0] for _ in range(100)}) == 100


def test_the_scheme_is_read_in_any_case() -> None:
    assert RING.find(b"bEaReR  " + KEY.encode(), 0) == ("billing", KEY_ID)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        KEY.encode(),
        b"Basic " + KEY.encode(),
        bearer(KEY[:-1]),
        bearer(KEY + "A"),
        bearer(KEY[:-1] + "\xe9"),
        bearer(KEY[:-1] + "\x00"),
        bearer(KEY + " "),
        bearer(KEY + "\n"),
        bearer(f"rk_{KEY_ID}_"),
        bearer("rk__secret"),
        bearer(KEY.replace(KEY_ID, "00000000")),
        b"Bearer " + b"a" * 100_000,
    ],
    ids=lambda _: "header",
)
def test_whatever_is_not_the_key_finds_nobody(authorization: bytes | None) -> None:
    assert RING.find(authorization, 0) is None


@given(st.binary(max_size=200))
def test_any_header_is_answered_without_an_error(value: bytes) -> None:
    assert RING.find(value, 0) is None
    assert RING.find(f"Bearer rk_{KEY_ID}_".encode() + value, 0) is None


def test_an_expired_key_is_refused_from_its_moment_on() -> None:
    ring = KeyRing([KeyEntry("billing", KEY_ID, SHA256, expires_at=1_000)])

    assert ring.find(bearer(KEY), 999) == ("billing", KEY_ID)
    assert ring.find(bearer(KEY), 1_000) is None


def test_two_keys_of_a_client_work_at_once() -> None:
    other, other_id, other_sha256 = new_key()
    ring = KeyRing([KeyEntry("billing", KEY_ID, SHA256), KeyEntry("billing", other_id, other_sha256)])

    assert ring.find(bearer(KEY), 0) == ("billing", KEY_ID)
    assert ring.find(bearer(other), 0) == ("billing", other_id)


def test_an_id_that_two_clients_share_opens_for_each_its_own() -> None:
    other = f"rk_{KEY_ID}_another-secret"
    ring = KeyRing(
        [
            KeyEntry("billing", KEY_ID, SHA256),
            KeyEntry("orders", KEY_ID, hashlib.sha256(other.encode()).hexdigest()),
        ]
    )

    assert ring.find(bearer(KEY), 0) == ("billing", KEY_ID)
    assert ring.find(bearer(other), 0) == ("orders", KEY_ID)


# --- over HTTP ---


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/v1/notifications"),
        ("POST", "/v1/notifications/batch"),
        ("POST", "/v1/notifications/preview"),
        ("GET", "/v1/notifications"),
        ("GET", "/v1/notifications/0192f3c4-0000-7000-8000-000000000000"),
        ("DELETE", "/v1/notifications/0192f3c4-0000-7000-8000-000000000000"),
        ("GET", "/v1/balance"),
        ("POST", "/v1/operator/pause"),
        ("POST", "/v1/operator/resume"),
        ("GET", "/v1/operator/unknown"),
        ("POST", "/v1/operator/unknown/0192f3c4-0000-7000-8000-000000000000/resolve"),
        ("POST", "/v1/operator/unknown/0192f3c4-0000-7000-8000-000000000000/resend"),
        ("POST", "/v1/operator/erase"),
    ],
)
async def test_without_a_key_everything_under_v1_is_401(method: str, target: str) -> None:
    front = Front()
    reply = await front.request(method, target, REQUEST, key=None)

    assert (reply.status, reply.code) == (401, "unauthenticated")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert front.core.requests == []
    assert front.witness.refusals == [("auth", "unauthenticated", None)]


async def test_two_authorization_headers_are_401() -> None:
    front = Front()
    headers = [("authorization", f"Bearer {BILLING_KEY}"), ("authorization", f"Bearer {ORDERS_KEY}")]
    reply = await front.request("GET", "/v1/balance", headers=headers)

    assert reply.status == 401


async def test_a_key_of_a_client_that_left_the_settings_is_401() -> None:
    front = Front()
    del front.clients["billing"]

    assert (await front.send()).status == 401


async def test_a_replaced_key_ring_counts_at_once() -> None:
    front = Front()
    front.keys = KeyRing([])

    assert (await front.send()).status == 401


@pytest.mark.parametrize(
    ("method", "target", "permission"),
    [
        ("POST", "/v1/notifications", Permission.SEND),
        ("POST", "/v1/notifications/batch", Permission.SEND),
        ("DELETE", "/v1/notifications/0192f3c4-0000-7000-8000-000000000000", Permission.SEND),
        ("POST", "/v1/notifications/preview", Permission.PREVIEW),
        ("GET", "/v1/notifications", Permission.READ),
        ("GET", "/v1/notifications/0192f3c4-0000-7000-8000-000000000000", Permission.READ),
        ("GET", "/v1/balance", Permission.BALANCE),
        ("POST", "/v1/operator/pause", Permission.OPERATE),
        ("POST", "/v1/operator/resume", Permission.OPERATE),
        ("GET", "/v1/operator/unknown", Permission.OPERATE),
        ("POST", "/v1/operator/unknown/0192f3c4-0000-7000-8000-000000000000/resolve", Permission.OPERATE),
        ("POST", "/v1/operator/unknown/0192f3c4-0000-7000-8000-000000000000/resend", Permission.OPERATE),
        ("POST", "/v1/operator/erase", Permission.OPERATE),
    ],
)
async def test_without_the_permission_it_is_403(method: str, target: str, permission: Permission) -> None:
    front = Front()
    client = front.clients["billing"]
    front.clients["billing"] = replace(client, permissions=client.permissions - {permission})
    reply = await front.request(method, target, REQUEST)

    assert (reply.status, reply.code) == (403, "permission_missing")
    assert permission.value in reply.json()["detail"]
    assert front.core.requests == []
    assert front.core.acts == []
