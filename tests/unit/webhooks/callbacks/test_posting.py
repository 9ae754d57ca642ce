"""One attempt over real sockets: where it may go, what it sends, and what no receiver can do to it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence

import httpcore
import pytest
import trustme

from relay.webhooks.callbacks.addresses import AddressRules
from relay.webhooks.callbacks.posting import ANSWER_BYTES, GuardedBackend, Poster
from relay.webhooks.callbacks.schedule import Response
from support.receiver import CallbackReceiver, answer, running_receiver

LOOPBACK = AddressRules(["127.0.0.0/8"])
NOBODY = AddressRules()
HEADERS = [("webhook-id", "msg_1"), ("webhook-timestamp", "1"), ("webhook-signature", "v1,x")]


class Names:
    """A resolver that says what a test says, one answer a look-up; the last one is repeated."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Dials(httpcore.AsyncNetworkBackend):
    """Keeps whom it was asked to connect to, and reaches nobody."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.addresses.append(host)
        raise httpcore.ConnectError


def make_poster(
    rules: AddressRules,
    names: Names | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    deadline_seconds: float = 60.0,
) -> Poster:
    names = names if names is not None else Names(["127.0.0.1"])
    return Poster(
        GuardedBackend(names, rules.permits), tls or ssl.create_default_context(), deadline_seconds=deadline_seconds
    )


@pytest.fixture
async def receiver() -> AsyncIterator[CallbackReceiver]:
    async with running_receiver() as running:
        yield running


async def post(receiver: CallbackReceiver, poster: Poster | None = None, host: str = "orders.internal") -> Response:
    poster = poster if poster is not None else make_poster(LOOPBACK)
    return await poster.post(f"http://{host}:{receiver.port}/status?id=1", HEADERS, b'{"x":1}')


async def test_a_callback_arrives_as_it_was_made(receiver: CallbackReceiver) -> None:
    response = await post(receiver)
    [request] = receiver.requests

    assert response == Response(204, "answered")
    assert request.line == "POST /status?id=1 HTTP/1.1"
    assert request.headers["host"] == f"orders.internal:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "msg_1"
    assert request.body == b'{"x":1}'
    assert "accept-encoding" not in request.headers
    assert "cookie" not in request.headers


# --- where it may go ------------------------------------------------------------------------------------------------

DISGUISES = [
    "127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "::1",
    "0.0.0.0",
    "169.254.169.254",
    "10.0.0.1",
    "100.64.0.1",
    "fe80::1%lo",
    "fd00:ec2::254",
    "ff02::1",
]


@pytest.mark.parametrize("address", DISGUISES)
async def test_a_name_that_leads_inside_is_refused_and_nobody_is_called(
    receiver: CallbackReceiver, address: str
) -> None:
    response = await post(receiver, make_poster(NOBODY, Names([address])))

    assert response == Response(None, "refused", refused=True)
    assert receiver.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "[::1]"])
async def test_what_the_systems_resolver_makes_of_a_host_is_judged(receiver: CallbackReceiver, host: str) -> None:
    async def resolve(name: str, port: int) -> Sequence[str]:
        found = await asyncio.get_running_loop().getaddrinfo(name, port, type=1)
        return [str(entry[4][0]) for entry in found]

    poster = Poster(GuardedBackend(resolve, NOBODY.permits), ssl.create_default_context())

    assert (await post(receiver, poster, host)).refused
    assert receiver.connections == 0


async def test_an_address_that_the_operator_allowed_is_called(receiver: CallbackReceiver) -> None:
    assert (await post(receiver, make_poster(LOOPBACK, Names(["::ffff:127.0.0.1"])))).status == 204


async def test_a_name_is_asked_once_and_the_checked_address_is_called(receiver: CallbackReceiver) -> None:
    names, dials = Names(["1.1.1.1"], ["127.0.0.1"]), Dials()
    poster = Poster(GuardedBackend(names, NOBODY.permits, dials), ssl.create_default_context())
    response = await post(receiver, poster)

    assert response == Response(None, "unreachable")
    assert names.asked == [("orders.internal", receiver.port)]
    assert dials.addresses == ["1.1.1.1"]
    assert receiver.connections == 0


async def test_a_name_that_leads_elsewhere_the_next_time_is_refused_then(receiver: CallbackReceiver) -> None:
    poster = make_poster(AddressRules(["127.0.0.1/32"]), Names(["127.0.0.1"], ["127.0.0.2"]))

    assert (await post(receiver, poster)).status == 204
    assert (await post(receiver, poster)).refused


async def test_of_several_addresses_only_permitted_ones_are_called() -> None:
    dials = Dials()
    names = Names(["10.0.0.1", "1.1.1.1", "127.0.0.1", "1.0.0.1"])
    poster = Poster(GuardedBackend(names, NOBODY.permits, dials), ssl.create_default_context())

    assert await poster.post("https://orders.internal/", HEADERS, b"{}") == Response(None, "unreachable")
    assert dials.addresses == ["1.1.1.1", "1.0.0.1"]


async def test_a_dead_address_does_not_hide_a_living_one(receiver: CallbackReceiver) -> None:
    poster = make_poster(LOOPBACK, Names(["127.0.0.3", "127.0.0.1"]))

    assert (await post(receiver, poster)).status == 204, "nobody listens on the first one"


async def test_an_unknown_name_is_unreachable(receiver: CallbackReceiver) -> None:
    assert await post(receiver, make_poster(LOOPBACK, Names([]))) == Response(None, "unreachable")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(receiver: CallbackReceiver, status: int) -> None:
    receiver.answers = [answer(status, f"Location: http://127.0.0.1:{receiver.port}/secret\r\n")]

    assert (await post(receiver)).status == status
    assert len(receiver.requests) == 1


async def test_no_proxy_of_the_environment_is_used(receiver: CallbackReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert (await post(receiver)).status == 204


# --- TLS ------------------------------------------------------------------------------------------------------------


async def secured(certificate_host: str, *, trusted: bool = True) -> Response:
    authority, stranger = trustme.CA(), trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(certificate_host).configure_cert(server)
    client = ssl.create_default_context()
    (authority if trusted else stranger).configure_trust(client)
    async with running_receiver(tls=server) as receiver:
        poster = make_poster(LOOPBACK, tls=client)
        return await poster.post(f"https://orders.internal:{receiver.port}/", HEADERS, b"{}")


async def test_the_certificate_is_checked_against_the_name_not_the_address() -> None:
    assert (await secured("orders.internal")).status == 204


async def test_a_certificate_of_another_name_or_of_nobody_known_is_no_answer() -> None:
    assert (await secured("127.0.0.1")).status is None
    assert (await secured("orders.internal", trusted=False)).status is None


# --- what receivers do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400, 410, 429, 500, 503])
async def test_a_status_is_told(receiver: CallbackReceiver, status: int) -> None:
    receiver.answers = [answer(status, "Retry-After: 7\r\n", b"canary")]

    assert await post(receiver) == Response(status, "answered", "7")


async def hang(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def drip_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def go_on(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("behave", [hang, drip, drip_body, go_on])
async def test_a_receiver_that_does_not_end_is_left_at_the_deadline(behave: object) -> None:
    async with running_receiver(CallbackReceiver(behave=behave)) as receiver:  # type: ignore[arg-type]
        response = await post(receiver, make_poster(LOOPBACK, deadline_seconds=0.4))

    assert response == Response(None, "timeout")


async def test_a_name_server_that_does_not_answer_is_left_at_the_deadline(receiver: CallbackReceiver) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    poster = Poster(GuardedBackend(resolve, LOOPBACK.permits), ssl.create_default_context(), deadline_seconds=0.2)

    assert await post(receiver, poster) == Response(None, "timeout")


async def test_a_huge_answer_is_not_read_to_its_end() -> None:
    written = 0
    closed = asyncio.Event()

    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * ANSWER_BYTES)
                await writer.drain()
                written += ANSWER_BYTES
        except ConnectionError:
            closed.set()

    async with running_receiver(CallbackReceiver(behave=pour)) as receiver:
        assert (await post(receiver)).status == 200
        await asyncio.wait_for(closed.wait(), 60)

    assert written < 64 << 20, "what the sockets buffer, and no more"


async def test_a_compressed_answer_is_not_unpacked(receiver: CallbackReceiver) -> None:
    receiver.answers = [answer(200, "Content-Encoding: gzip\r\n", b"not gzip at all")]

    assert (await post(receiver)).status == 200


@pytest.mark.parametrize(
    "wire", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 300_000 + b"\r\n\r\n", b"HTTP/0.9\r\n"]
)
async def test_what_is_no_answer_is_none(wire: bytes) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire)

    async with running_receiver(CallbackReceiver(behave=speak)) as receiver:
        response = await post(receiver)

    assert response.status is None
    assert response.cause in ("unreadable", "reset")


async def test_a_receiver_that_is_not_there_is_unreachable(receiver: CallbackReceiver) -> None:
    response = await make_poster(LOOPBACK).post("http://orders.internal:1/", HEADERS, b"{}")

    assert response == Response(None, "unreachable")


async def test_an_attempt_that_is_cut_leaves_nothing_behind() -> None:
    async with running_receiver(CallbackReceiver(behave=hang)) as receiver:
        attempt = asyncio.ensure_future(post(receiver))
        await asyncio.wait_for(receiver.arrived.wait(), 60)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
