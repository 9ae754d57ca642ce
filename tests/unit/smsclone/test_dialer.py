"""Dials: a dead address does not stall them, and the explicit proxy is told what is for it and nothing else is."""

import asyncio
import socket
import ssl
from base64 import b64encode

import pytest

from relay.domain.secret import Secret
from relay.smsclone.connection import Connection
from relay.smsclone.dialer import Dialer, Origin, parse_origin, parse_proxy, write_connect
from support.fault_server import FaultServer, answer, silent_address


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


async def dial(dialer: Dialer, *addresses: str) -> Connection:
    """Connect to the first of these addresses that answers; the system itself gives a silent one up after 127 s."""
    async with asyncio.timeout(60):
        return await dialer._connect(addresses, asyncio.get_running_loop().time() + 600)


async def test_an_address_that_refuses_is_passed_over() -> None:
    with FaultServer(answer()) as server:
        dialer = Dialer(Origin("http", "sms.example", server.port), tls=None, proxy=None)
        connection = await dial(dialer, "127.0.0.9", "127.0.0.1")

        assert connection.is_open
        connection.close()


async def test_a_handshake_that_fails_after_an_address_was_passed_over_leaves_nothing_open() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        dialer = Dialer(Origin("https", "sms.example", port), tls=ssl.create_default_context(), proxy=None)

        with pytest.raises(OSError):  # noqa: PT011 — a reset or the end of the stream, as the system has it
            await dial(dialer, "127.0.0.9", "127.0.0.1")


async def test_an_address_that_is_silent_costs_only_a_head_start() -> None:
    with FaultServer(answer()) as server, silent_address(server.port) as (silent, _):
        dialer = Dialer(Origin("http", "sms.example", server.port), tls=None, proxy=None)
        connection = await dial(dialer, silent, "127.0.0.1")

        assert connection.is_open
        connection.close()


async def test_where_every_address_refuses_the_dial_says_so() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        dialer = Dialer(Origin("http", "sms.example", listener.getsockname()[1]), tls=None, proxy=None)
        with pytest.raises(ConnectionRefusedError):
            await dial(dialer, "127.0.0.1", "127.0.0.9", "127.0.0.8")
