"""The explicit proxy: what is said to it, and that it is never said to anybody else."""

from base64 import b64encode

import pytest

from relay.domain.secret import Secret
from relay.smsclone.dialer import Origin, parse_origin
from relay.smsclone.proxy import parse_proxy, write_connect


def test_a_tunnel_is_asked_for_by_host_and_port() -> None:
    proxy = parse_proxy(Secret("http://proxy.example:3128"))
    assert (proxy.host, proxy.port) == ("proxy.example", 3128)
    assert write_connect(proxy, "sms.example:443") == (
        b"CONNECT sms.example:443 HTTP/1.1\r\nHost: sms.example:443\r\n\r\n"
    )


def test_the_proxys_account_is_decoded_and_sent_to_the_proxy() -> None:
    proxy = parse_proxy(Secret("http://us%40er:p%3Aw@proxy.example"))
    account = b64encode(b"us@er:p:w").decode()
    assert f"\r\nProxy-Authorization: Basic {account}\r\n\r\n".encode() in write_connect(proxy, "sms.example:443")
    assert proxy.port == 80
    assert account not in repr(proxy)


@pytest.mark.parametrize("url", ["socks5://x", "https://proxy", "http://", "proxy:3128"])
def test_what_is_no_http_proxy_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^not the address of an HTTP proxy$"):
        parse_proxy(Secret(url))


@pytest.mark.parametrize(
    ("base_url", "origin", "header"),
    [
        ("https://sms.example/v2", Origin("https", "sms.example", 443), "sms.example"),
        ("http://sms.example", Origin("http", "sms.example", 80), "sms.example"),
        ("http://sms.example:443", Origin("http", "sms.example", 443), "sms.example:443"),
        ("https://[2001:db8::1]:8443", Origin("https", "2001:db8::1", 8443), "[2001:db8::1]:8443"),
        ("https://b\u00fccher.example", Origin("https", "xn--bcher-kva.example", 443), "xn--bcher-kva.example"),
    ],
)
def test_a_base_url_names_an_origin_and_its_host_header(base_url: str, origin: Origin, header: str) -> None:
    assert parse_origin(base_url) == origin
    assert parse_origin(base_url).host_header == header


@pytest.mark.parametrize("base_url", ["ftp://sms.example", "sms.example", "https://"])
def test_what_is_no_web_address_is_no_origin(base_url: str) -> None:
    with pytest.raises(ValueError, match="not an http"):
        parse_origin(base_url)
