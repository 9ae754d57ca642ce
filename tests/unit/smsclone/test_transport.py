"""What only our transport has: evidence in words, a proxy, TLS sessions, kept connections that go in time."""

import asyncio
import base64
import ssl
import threading
from collections.abc import Awaitable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
import pytest

from relay.domain.secret import Secret
from relay.smsclone.exchange import Cause, Exchange
from relay.smsclone.tls import ResumingContext
from relay.smsclone.transport import BilledGetTransport
from support.fault_server import (
    BODY,
    FaultServer,
    Peer,
    Script,
    answer,
    answer_and_close,
    http_answer,
    receive_and_end,
    receive_and_hang,
    receive_and_reset,
    silent_address,
    tunnel_to,
)
from support.transports import Certificates
from support.waiting import PATIENCE_SECONDS, let_pass, until

TARGET = b"/api/sms/sendsms?username=kanu&password=p4ss&sender=ACME&recipient=2348012345678&message=Hello"
DEADLINE_SECONDS = 60.0

T = TypeVar("T")


def make_transport(base_url: str, **options: Any) -> BilledGetTransport:
    """A transport whose deadline is that of the call."""
    return BilledGetTransport(base_url, **{"connect_timeout_seconds": DEADLINE_SECONDS, "tls": None, **options})


async def ask(transport: BilledGetTransport, seconds: float = DEADLINE_SECONDS) -> Exchange:
    return await transport.exchange(TARGET, asyncio.get_running_loop().time() + seconds)


async def until_the_deadline(asked: Awaitable[T], server: FaultServer, requests: int = 1) -> T:
    """What comes of asking a server that takes so many requests and never answers: their time is over then."""
    asking = asyncio.ensure_future(asked)
    await until(lambda: len(server.ledger) == requests)
    assert not asking.done()
    let_pass(DEADLINE_SECONDS)
    return await asyncio.wait_for(asking, PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    """An authority for this module."""
    return Certificates()


# --- evidence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keepalive_seconds", "says"), [(0.0, b"close"), (0.5, b"keep-alive")])
async def test_the_request_is_these_bytes(keepalive_seconds: float, says: bytes) -> None:
    with FaultServer(answer()) as server:
        transport = make_transport(server.base_url, keepalive_seconds=keepalive_seconds)
        await ask(transport)
        await transport.aclose()

        assert server.ledger == [
            b"GET " + TARGET + b" HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
            b"User-Agent: relay\r\nConnection: %b" % (server.port, says)
        ]


async def test_nothing_follows_the_blank_line_of_the_request() -> None:
    received, gone = bytearray(), asyncio.Event()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # the transport cuts the line at its deadline
            while piece := await reader.read(65_536):
                received.extend(piece)
        writer.close()
        gone.set()

    async with await asyncio.start_server(keep, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        asking = asyncio.ensure_future(ask(make_transport(f"http://127.0.0.1:{port}")))
        await until(lambda: b"\r\n\r\n" in received)
        let_pass(DEADLINE_SECONDS)
        await asyncio.wait_for(asyncio.gather(asking, gone.wait()), PATIENCE_SECONDS)

    assert bytes(received).partition(b"\r\n\r\n")[1:] == (b"\r\n\r\n", b"")


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        (receive_and_end, Cause.CLOSED),
        (receive_and_reset, Cause.RESET),
        (answer_and_close(http_answer(length=len(BODY) + 9)), Cause.TRUNCATED),
        (answer_and_close(b"no http"), Cause.MALFORMED),
        (answer_and_close(http_answer(headers=("Content-Encoding: gzip",))), Cause.COMPRESSED),
        (answer_and_close(http_answer(b"x" * 70_000)), Cause.TOO_LARGE),
    ],
)
async def test_after_the_request_every_fault_has_its_cause_and_a_byte_may_have_left(
    script: Script, cause: Cause
) -> None:
    with FaultServer(script) as server:
        exchange = await ask(make_transport(server.base_url))

        assert exchange == Exchange(wrote=True, cause=cause)


async def test_at_the_deadline_a_request_without_an_answer_ends_and_a_byte_may_have_left() -> None:
    with FaultServer(receive_and_hang) as server:
        exchange = await until_the_deadline(ask(make_transport(server.base_url)), server)

        assert exchange == Exchange(wrote=True, cause=Cause.TIMEOUT)


async def test_a_connect_timeout_below_the_deadline_ends_the_dial() -> None:
    with silent_address() as (host, port):
        exchange = await ask(make_transport(f"http://{host}:{port}", connect_timeout_seconds=0.2))

    assert exchange == Exchange(wrote=False, cause=Cause.CONNECT_TIMEOUT)


async def test_an_address_that_no_route_leads_to_is_unreachable() -> None:
    exchange = await ask(make_transport("http://255.255.255.255:9"))

    assert exchange == Exchange(wrote=False, cause=Cause.UNREACHABLE)


async def test_nothing_is_dialled_after_the_deadline() -> None:
    with FaultServer(answer()) as server:
        exchange = await ask(make_transport(server.base_url), -1.0)

        assert exchange == Exchange(wrote=False, cause=Cause.CONNECT_TIMEOUT)
        assert server.ledger == []


async def test_a_send_that_has_the_right_to_dial_waits_for_no_connection() -> None:
    with FaultServer(receive_and_hang) as server:
        transport = make_transport(server.base_url, max_connections=1)
        exchanges = await until_the_deadline(asyncio.gather(*(ask(transport) for _ in range(3))), server, requests=3)

        assert exchanges == [Exchange(wrote=True, cause=Cause.TIMEOUT)] * 3


# --- TLS ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "options", "cause"),
    [
        (("localhost",), {"not_after": datetime(2020, 1, 1, tzinfo=UTC)}, Cause.TLS_EXPIRED),
        (("elsewhere.invalid",), {}, Cause.TLS_WRONG_HOST),
        (("localhost",), {"by_stranger": True}, Cause.TLS_UNTRUSTED),
    ],
)
async def test_each_tls_fault_has_a_cause_of_its_own_and_sends_nothing(
    certificates: Certificates, names: tuple[str, ...], options: dict[str, Any], cause: Cause
) -> None:
    with FaultServer(answer(), tls=certificates.server(*names, **options)) as server:
        exchange = await ask(make_transport(server.base_url, tls=certificates.client()))

        assert exchange == Exchange(wrote=False, cause=cause)
        assert server.ledger == []


async def test_a_certificate_for_another_address_is_for_another_host(certificates: Certificates) -> None:
    with FaultServer(answer(), tls=certificates.server("127.0.0.9")) as server:
        base_url = f"https://127.0.0.1:{server.port}"
        exchange = await ask(make_transport(base_url, tls=certificates.client()))

        assert exchange == Exchange(wrote=False, cause=Cause.TLS_WRONG_HOST)
        assert server.ledger == []


async def test_a_server_without_tls_is_a_tls_fault(certificates: Certificates) -> None:
    def answer_in_clear(peer: Peer) -> None:
        peer.send(http_answer())
        peer.hang()

    with FaultServer(answer_in_clear) as server:
        base_url = f"https://localhost:{server.port}"
        exchange = await ask(make_transport(base_url, tls=certificates.client()))

        assert exchange == Exchange(wrote=False, cause=Cause.TLS)


async def test_a_server_that_ends_in_the_handshake_is_a_tls_fault(certificates: Certificates) -> None:
    with FaultServer(Peer.end) as server:
        base_url = f"https://localhost:{server.port}"
        exchange = await ask(make_transport(base_url, tls=certificates.client()))

        assert exchange == Exchange(wrote=False, cause=Cause.TLS)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_fresh_connections_resume_the_session(certificates: Certificates, version: ssl.TLSVersion) -> None:
    context = certificates.server("localhost")
    context.maximum_version = version
    with FaultServer(answer(requests=1), tls=context) as server:
        transport = make_transport(server.base_url, tls=certificates.client())
        for _ in range(3):
            assert (await ask(transport)).cause is Cause.ANSWERED

        assert server.resumed == [False, True, True]


async def test_a_session_that_the_server_forgot_costs_a_full_handshake_and_nothing_else(
    certificates: Certificates,
) -> None:
    client = certificates.client()
    for _ in range(2):
        with FaultServer(answer(requests=1), tls=certificates.server("localhost")) as server:
            exchange = await ask(make_transport(server.base_url, tls=client))

            assert exchange.cause is Cause.ANSWERED
            assert server.resumed == [False]


def test_the_context_verifies_and_speaks_1_2_at_least(certificates: Certificates) -> None:
    context = certificates.client()

    assert isinstance(context, ResumingContext)
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert context.minimum_version.name == "TLSv1_2"


def test_https_without_a_context_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="TLS"):
        make_transport("https://upstream.invalid")


# --- a proxy --------------------------------------------------------------------------------------------------------


async def test_a_proxy_sees_a_plain_request_in_absolute_form_with_its_own_credentials() -> None:
    with FaultServer(answer()) as proxy:
        way = Secret(f"http://kanu:p%40ss@127.0.0.1:{proxy.port}")
        exchange = await ask(make_transport("http://upstream.invalid", proxy=way))

        assert exchange.body == BODY.encode()
        (head,) = proxy.ledger
        assert head.startswith(b"GET http://upstream.invalid" + TARGET + b" HTTP/1.1\r\nHost: upstream.invalid\r\n")
        assert b"\r\nProxy-Authorization: Basic " + base64.b64encode(b"kanu:p@ss") + b"\r\n" in head


async def test_through_a_tunnel_the_proxy_sees_host_and_port_and_nothing_else(certificates: Certificates) -> None:
    with FaultServer(answer(), tls=certificates.server("localhost")) as server:
        with FaultServer(tunnel_to(server.port)) as proxy:
            way = Secret(f"http://kanu:p4ss@127.0.0.1:{proxy.port}")
            transport = make_transport(server.base_url, tls=certificates.client(), proxy=way)
            exchange = await ask(transport)

            authority = b"localhost:%d" % server.port
            assert exchange.body == BODY.encode()
            assert proxy.ledger[0].startswith(b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority)
            assert len(proxy.ledger) == 1
        assert len(server.ledger) == 1
        assert b"Proxy-Authorization" not in server.ledger[0]


@pytest.mark.parametrize(
    "refusal",
    [
        answer_and_close(http_answer("", status="403 Forbidden")),
        answer_and_close(http_answer("", status="407 Proxy Authentication Required")),
        answer_and_close(http_answer("", status="300 Multiple Choices")),
        answer_and_close(http_answer("", status="302 Found", headers=("Location: http://elsewhere.invalid/",))),
        answer_and_close(b"no http"),
        answer(b"HTTP/1.1 200 Connection established\r\n\r\nsurplus"),
        receive_and_end,
        receive_and_hang,
    ],
    ids=["forbidden", "credentials", "choices", "redirect", "garbage", "surplus", "end", "hang"],
)
async def test_a_proxy_that_opens_no_tunnel_leaves_everything_unsent(
    certificates: Certificates, refusal: Script
) -> None:
    with FaultServer(refusal) as proxy:
        way = Secret(f"http://127.0.0.1:{proxy.port}")
        transport = make_transport("https://localhost", tls=certificates.client(), proxy=way)
        asked = ask(transport)
        exchange = await (until_the_deadline(asked, proxy) if refusal is receive_and_hang else asked)

        assert not exchange.wrote
        assert exchange.cause in (Cause.PROXY, Cause.CONNECT_TIMEOUT)
        assert all(head.startswith(b"CONNECT ") for head in proxy.ledger)


async def test_a_connection_that_became_no_tunnel_is_closed_at_once(certificates: Certificates) -> None:
    gone = threading.Event()

    def refuse_and_wait(peer: Peer) -> None:
        peer.receive()
        peer.send(http_answer("", status="403 Forbidden"))
        peer.hang()
        gone.set()

    with FaultServer(refuse_and_wait) as proxy:
        way = Secret(f"http://127.0.0.1:{proxy.port}")
        exchange = await ask(make_transport("https://localhost", tls=certificates.client(), proxy=way))

        assert exchange == Exchange(wrote=False, cause=Cause.PROXY)
        assert await asyncio.to_thread(gone.wait, PATIENCE_SECONDS)


async def test_a_certificate_is_checked_inside_the_tunnel_too(certificates: Certificates) -> None:
    with FaultServer(answer(), tls=certificates.server("elsewhere.invalid")) as server:
        with FaultServer(tunnel_to(server.port)) as proxy:
            way = Secret(f"http://127.0.0.1:{proxy.port}")
            exchange = await ask(make_transport(server.base_url, tls=certificates.client(), proxy=way))

            assert exchange == Exchange(wrote=False, cause=Cause.TLS_WRONG_HOST)
        assert server.ledger == []


@pytest.mark.parametrize("url", ["https://proxy.internal:3128", "socks5://proxy.internal", "proxy.internal:3128"])
def test_a_proxy_that_is_no_http_proxy_is_refused_at_the_start_without_being_named(url: str) -> None:
    with pytest.raises(ValueError, match="proxy") as caught:
        make_transport("http://upstream.invalid", proxy=Secret(url))

    assert "internal" not in str(caught.value)


# --- kept connections -----------------------------------------------------------------------------------------------


async def test_a_kept_connection_is_closed_when_its_time_is_over() -> None:
    gone = threading.Event()

    def answer_and_wait(peer: Peer) -> None:
        peer.receive()
        peer.send(http_answer())
        peer.hang()
        gone.set()

    with FaultServer(answer_and_wait) as server:
        transport = make_transport(server.base_url, keepalive_seconds=0.1)
        await ask(transport)
        assert await asyncio.to_thread(gone.wait, PATIENCE_SECONDS)
        await ask(transport)

        assert server.connections == 2


async def test_closing_the_transport_closes_what_it_kept() -> None:
    with FaultServer(answer()) as server:
        transport = make_transport(server.base_url, keepalive_seconds=60)
        await ask(transport)
        await transport.aclose()
        await ask(transport)
        await transport.aclose()

        assert server.connections == 2


# --- the httpx face -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("POST", "http://127.0.0.1:9/"),
        ("GET", "http://127.0.0.1:8/"),
        ("GET", "https://127.0.0.1:9/"),
        ("GET", "http://elsewhere.invalid:9/"),
    ],
)
async def test_only_a_get_to_the_one_origin_is_made(method: str, url: str) -> None:
    transport = make_transport("http://127.0.0.1:9/prefix")
    with pytest.raises(httpx.UnsupportedProtocol):
        await transport.handle_async_request(httpx.Request(method, url))


@pytest.mark.parametrize(
    ("script", "error"),
    [(receive_and_hang, httpx.ReadTimeout), (receive_and_end, httpx.ReadError), (None, httpx.ConnectError)],
)
async def test_an_exception_tells_the_cause_and_nothing_of_the_request(
    script: Script | None, error: type[httpx.TransportError]
) -> None:
    with FaultServer(script or answer()) as server:
        port = server.port if script is not None else 9
        transport = make_transport(f"http://127.0.0.1:{port}")
        timeout = httpx.Timeout(DEADLINE_SECONDS).as_dict()
        request = httpx.Request("GET", f"http://127.0.0.1:{port}{TARGET.decode()}", extensions={"timeout": timeout})
        asked = transport.handle_async_request(request)
        with pytest.raises(error) as caught:
            await (until_the_deadline(asked, server) if script is receive_and_hang else asked)

        assert str(caught.value) in set(Cause)
        assert "p4ss" not in repr(caught.value)
        with pytest.raises(RuntimeError):
            _ = caught.value.request
