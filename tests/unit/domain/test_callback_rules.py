"""Where a callback may go, as written: what is not exactly an allowed host is refused when it is registered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.callback_rules import _MALFORMED, _NOT_ALLOWED, find_url_error, target_of

ALLOWED = {"orders.internal", "events.internal:8443", "http://plain.internal", "http://plain.internal:8080", "10.1.2.3"}


def code_of(url: str) -> str | None:
    error = find_url_error(url, ALLOWED)
    return None if error is None else error.code


@pytest.mark.parametrize(
    "url",
    [
        "https://orders.internal",
        "https://orders.internal/sms-status?id=1&x=%20",
        "https://orders.internal:443/",
        "https://ORDERS.internal./",
        "https://events.internal:8443/",
        "http://plain.internal/",
        "http://plain.internal:8080/x",
        "https://10.1.2.3/",
    ],
)
def test_an_allowed_host_is_taken(url: str) -> None:
    assert code_of(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://other.internal/",
        "https://orders.internal.evil.example/",
        "https://evil-orders.internal/",
        "https://orders.internal:8443/",
        "https://events.internal/",
        "http://orders.internal/",
        "https://plain.internal/",
        "http://plain.internal:81/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/",
        "https://192.168.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[fe80::1%25eth0]/",
        "https://orders%2einternal/",
    ],
)
def test_any_other_host_is_not_allowed(url: str) -> None:
    assert code_of(url) == "host_not_allowed"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "orders.internal",
        "//orders.internal/",
        "ftp://orders.internal/",
        "file:///etc/passwd",
        "gopher://orders.internal/",
        "https://",
        "https:///path",
        "https:orders.internal",
        "https://user@orders.internal/",
        "https://orders.internal@evil.example/",
        "https://orders.internal:443@evil.example/",
        "https://orders.internal\\@evil.example/",
        "https://evil.example\\.orders.internal/",
        "https://orders.internal/#x",
        "https://evil.example#@orders.internal/",
        "https://orders.internal:0/",
        "https://orders.internal:99999/",
        "https://orders.internal:port/",
        "https://orders.internal /",
        "https://orders.internal/\r\nHost: evil.example",
        "https://orders.internal/\x00",
        "https://ördérs.internal/",
        "https://[::1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.0.01/",
        "https://0/",
        "https://1.2.3.4.5/",
        "https://orders.internal/" + "x" * 2048,
    ],
)
def test_what_is_no_plain_address_is_malformed(url: str) -> None:
    assert code_of(url) == "malformed"


@given(st.text(max_size=40).map("https://".__add__) | st.text(max_size=60))
def test_any_text_is_judged(url: str) -> None:
    error = find_url_error(url, ALLOWED)

    assert error in (None, _MALFORMED, _NOT_ALLOWED), "which repeat nothing of it"


def test_addresses_of_one_host_have_one_target() -> None:
    assert target_of("https://orders.internal/a") == target_of("https://ORDERS.internal:443/b")
    assert target_of("https://orders.internal/a") != target_of("http://orders.internal/a")
