"""What only a real server on a real socket can show: framing, deadlines, clients that stop in the middle."""

import asyncio
import contextlib
import json
import re
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from relay.http import bodies
from relay.http.bodies import BODY_BYTES
from support.front import BILLING_KEY, REQUEST, Front
from support.relay import free_port
from support.waiting import PATIENCE_SECONDS, wait_until

BODY_SECONDS = 4.0
HEAD_SECONDS = 4
"""What a machine that stands still for a second or two does not use up while a request is under way."""
GOOD = json.dumps(REQUEST).encode()
DRIP = GOOD + b" " * 100
"""Enough to drip for much longer than the deadline."""
JSON = b"Content-Type: application/json\r\n"
KEY = f"Authorization: Bearer {BILLING_KEY}\r\n".encode()


class ServedFront:
    """The front on granian, on a loop of its own in a thread."""

    def __init__(self) -> None:
        self.front = Front()
        self.port = free_port()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = Server(
            self.front.app,
            address="127.0.0.1",
            port=self.port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backlog=2048,
            log_enabled=False,
            http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000),
        )
        await self._server.serve()

    def start(self) -> None:
        self._thread.start()
        wait_until(self._is_there)

    def _is_there(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def stop(self) -> None:
        assert self._loop is not None
        assert self._server is not None
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join()


@pytest.fixture(scope="module")
def served() -> Iterator[ServedFront]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "DEADLINE_SECONDS", BODY_SECONDS)
        served = ServedFront()
        served.start()
        yield served
        served.stop()


class Wire:
    """One connection, and what came back on it."""

    def __init__(self, served: ServedFront) -> None:
        self._socket = socket.create_connection(("127.0.0.1", served.port))
        self._socket.settimeout(PATIENCE_SECONDS)
        self._rest = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send; a peer that closed meanwhile is no error here."""
        with contextlib.suppress(OSError):
            self._socket.sendall(data)

    def answer(self, *, bodiless: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Read one answer."""
        while b"\r\n\r\n" not in self._rest:
            self._receive()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = 0 if bodiless else int(headers.get("content-length", 0))
        while len(self._rest) < length:
            self._receive()
        body, self._rest = self._rest[:length], self._rest[length:]
        return int(first.split()[1]), headers, body

    def has_come(self, within: float) -> bool:
        """Whether something comes back so soon."""
        coming = select.poll()
        coming.register(self._socket, select.POLLIN)
        return bool(coming.poll(within * 1000))

    def is_closed(self) -> bool:
        """Whether the peer ends the connection without another byte."""
        try:
            return not self._rest and not self._socket.recv(1)
        except ConnectionError:
            return True

    def _receive(self) -> None:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError("closed in the middle of an answer")
        self._rest += data


def post(body: bytes, *headers: bytes, path: bytes = b"/v1/notifications", length: int | None = None) -> bytes:
    """A POST with Content-Length."""
    size = b"%d" % (len(body) if length is None else length)
    head = b"POST " + path + b" HTTP/1.1\r\nHost: relay\r\nContent-Length: " + size + b"\r\n" + JSON + KEY
    return head + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def chunked(*chunks: bytes, last: bool = True) -> bytes:
    """A POST in chunks."""
    head = b"POST /v1/notifications HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n" + JSON + KEY + b"\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + (b"0\r\n\r\n" if last else b"")


def code_of(body: bytes) -> str:
    return str(json.loads(body)["code"])


def test_a_connection_serves_one_request_after_another(served: ServedFront) -> None:
    with Wire(served) as wire:
        for request in (post(GOOD), chunked(GOOD[:9], GOOD[9:]), post(b"{"), post(GOOD)):
            wire.send(request)
            status, headers, body = wire.answer()
            assert status == (400 if code_in(body) else 200)
            assert headers["x-request-id"]
            assert json.loads(body)


def code_in(body: bytes) -> bool:
    return b'"code":"invalid_json"' in body


def test_a_hundred_pipelined_requests_are_answered_in_order_each_once(served: ServedFront) -> None:
    before = len(served.front.core.requests)
    with Wire(served) as wire:
        wire.send(
            b"".join(post(GOOD, b"X-Request-Id: r-%d" % n, b"Idempotency-Key: pipe-%d" % (n // 2)) for n in range(100))
        )
        answers = [wire.answer() for _ in range(100)]

    assert [headers["x-request-id"] for _, headers, _ in answers] == [f"r-{n}" for n in range(100)]
    assert [json.loads(body)["replayed"] for _, _, body in answers] == [False, True] * 50
    assert len(served.front.core.requests) - before == 100


# --- sizes ---


def test_a_body_announced_too_large_is_413_at_once_and_closes(served: ServedFront) -> None:
    with Wire(served) as wire:
        wire.send(post(b"", length=BODY_BYTES + 1))
        status, headers, body = wire.answer()

        assert (status, code_of(body)) == (413, "body_too_large")
        assert headers["connection"] == "close"
        assert wire.is_closed()


def test_a_chunked_body_without_end_is_413_and_no_longer_read(served: ServedFront) -> None:
    with Wire(served) as wire:
        wire.send(chunked(*[b" " * 65_536] * 15, last=False))
        for _ in range(64):
            wire.send(b"10000\r\n" + b" " * 65_536 + b"\r\n")
        status, _, body = wire.answer()

        assert (status, code_of(body)) == (413, "body_too_large")
        assert wire.is_closed()


@pytest.mark.slow
def test_a_gigabyte_in_chunks_is_cut_off_early(served: ServedFront) -> None:
    sent = 0
    with Wire(served) as wire:
        wire.send(chunked(last=False))
        piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        try:
            for _ in range(1024):
                wire._socket.sendall(piece)
                sent += len(piece)
        except OSError:
            pass

    assert sent < 64 << 20


# --- time ---


@pytest.mark.parametrize("unfinished", [post(GOOD[:5], length=len(GOOD)), chunked(GOOD[:5], last=False)])
def test_a_body_that_stalls_is_400_at_the_deadline_and_closes(served: ServedFront, unfinished: bytes) -> None:
    with Wire(served) as wire:
        wire.send(unfinished)
        status, _, body = wire.answer()

        assert (status, code_of(body)) == (400, "bad_request")
        assert wire.is_closed()


def test_a_body_that_drips_is_cut_at_the_same_deadline(served: ServedFront) -> None:
    with Wire(served) as wire:
        wire.send(post(b"", length=len(DRIP)))
        for byte in DRIP:
            wire.send(bytes([byte]))
            if wire.has_come(within=BODY_SECONDS / 10):
                break
        status, _, body = wire.answer()

        assert (status, code_of(body)) == (400, "bad_request")


def test_a_head_that_stalls_is_closed_by_the_server(served: ServedFront) -> None:
    with Wire(served) as wire:
        wire.send(b"POST /v1/notifications HTTP/1.1\r\nHo")

        assert wire.is_closed()


@pytest.mark.slow
def test_hundreds_of_stalled_bodies_delay_nobody_and_are_closed(served: ServedFront) -> None:
    with contextlib.ExitStack() as stack:
        stalled = [stack.enter_context(Wire(served)) for _ in range(300)]
        for wire in stalled:
            wire.send(post(b"{", length=100))
        with Wire(served) as other:
            for _ in range(50):
                other.send(post(GOOD))
                assert other.answer()[0] == 200
        for wire in stalled:
            assert wire.answer()[0] == 400
            assert wire.is_closed()


# --- clients that go away ---


def wait_for_record(served: ServedFront, request_id: str, seconds: float = 60) -> int:
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        for record in list(served.front.witness.records):
            if record["request_id"] == request_id:
                return int(record["status"])
        time.sleep(0.005)
    raise TimeoutError(f"no record of {request_id}")


@pytest.mark.parametrize("cut", range(0, len(GOOD), 13))
def test_a_client_that_hangs_up_in_its_body_sends_nothing(served: ServedFront, cut: int) -> None:
    before = len(served.front.core.requests)
    request_id = f"hang-up-{cut}"
    with Wire(served) as wire:
        wire.send(post(GOOD[:cut], b"X-Request-Id: " + request_id.encode(), length=len(GOOD)))

    assert wait_for_record(served, request_id) == 400
    assert len(served.front.core.requests) == before


def test_a_client_that_hangs_up_after_its_body_is_served_all_the_same(served: ServedFront) -> None:
    before = len(served.front.core.requests)
    for turn in range(10):
        # Where the end arrives together with the request, the server may drop both before the relay sees anything.
        with Wire(served) as wire:
            wire.send(post(GOOD, b"X-Request-Id: gone-%d" % turn))
            time.sleep(0.002 * 2**turn)
        with contextlib.suppress(TimeoutError):
            assert wait_for_record(served, f"gone-{turn}", seconds=10) == 200
            break

    assert len(served.front.core.requests) == before + 1


# --- framing ---


def test_length_and_chunks_together_smuggle_nothing(served: ServedFront) -> None:
    before = len(served.front.core.requests)
    smuggled = post(GOOD, b"X-Request-Id: smuggled")
    for length in (3, len(smuggled) + 5):
        with Wire(served) as wire:
            head = b"POST /v1/notifications HTTP/1.1\r\nHost: relay\r\nContent-Length: %d\r\n" % length
            wire.send(head + b"Transfer-Encoding: chunked\r\n" + JSON + KEY + b"\r\n0\r\n\r\n" + smuggled)
            status, _, _ = wire.answer()

            assert 400 <= status < 500
            assert wire.is_closed()
    assert len(served.front.core.requests) == before
    assert all(record["request_id"] != "smuggled" for record in served.front.witness.records)


HEAD = b"POST /v1/notifications HTTP/1.1\r\nHost: relay\r\n" + JSON + KEY
MALFORMED = {
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "negative length": HEAD + b"Content-Length: -2\r\n\r\n{}",
    "length with sign": HEAD + b"Content-Length: +2\r\n\r\n{}",
    "unknown coding": HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "blank before colon": HEAD + b"Content-Length : 2\r\n\r\n{}",
    "folded header": HEAD + b"X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in a header": HEAD + b"X-A: \x00\r\nContent-Length: 2\r\n\r\n{}",
    "no Host": b"GET /v1/balance HTTP/1.1\r\n" + KEY + b"\r\n",
    "two Hosts": b"GET /v1/balance HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + KEY + b"\r\n",
    "600 kB header": b"GET /v1/balance HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 600_000 + b"\r\n\r\n",
    "200 headers": b"GET /v1/balance HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 200 + b"\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    "version": b"GET /v1/balance HTTP/3.7\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_is_a_4xx_or_a_closed_connection(served: ServedFront, request_bytes: bytes) -> None:
    before = len(served.front.core.requests)
    with Wire(served) as wire:
        wire.send(request_bytes)
        with contextlib.suppress(ConnectionError):
            assert 400 <= wire.answer()[0] < 500
        assert wire.is_closed()
    assert len(served.front.core.requests) == before


PATHS = [
    *(b"/%ff", b"/%00", b"/v1/notifications/%ff%fe", b"/v1/notifications/%2e%2e/x", b"/../../etc/passwd", b"//", b"*"),
    *(b"http://elsewhere/v1/nothing", b"/v1/notifications/" + b"a" * 30_000, b"/\xc3\xa9", b"/?" + b"%" * 99),
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:20].decode("latin-1"))
@pytest.mark.parametrize("method", [b"GET", b"OPTIONS", b"TRACE", b"BREW"])
def test_a_strange_address_is_a_4xx_and_never_a_500(served: ServedFront, method: bytes, path: bytes) -> None:
    with Wire(served) as wire:
        wire.send(method + b" " + path + b" HTTP/1.1\r\nHost: relay\r\n" + KEY + b"\r\n")
        status, _, _ = wire.answer()

    assert status in ((204, 400, 404, 414) if method == b"OPTIONS" else (400, 404, 405, 414))


def test_head_and_options_have_no_body_on_the_wire(served: ServedFront) -> None:
    with Wire(served) as wire:
        for method, status in ((b"HEAD", 200), (b"OPTIONS", 204)):
            wire.send(method + b" /readyz HTTP/1.1\r\nHost: relay\r\n\r\n")
            assert wire.answer(bodiless=True)[0] == status
        wire.send(b"GET /readyz HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
        assert wire.answer()[0] == 200
        assert wire.is_closed()


def test_an_old_client_without_host_is_served(served: ServedFront) -> None:
    with Wire(served) as wire:
        wire.send(b"GET /healthz HTTP/1.0\r\n\r\n")

        assert wire.answer()[0] == 200


def test_a_key_above_ascii_is_401_and_an_idempotency_key_above_it_400(served: ServedFront) -> None:
    with Wire(served) as wire:
        wire.send(b"GET /v1/balance HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer rk_\xe9_\xff\r\n\r\n")
        assert wire.answer()[0] == 401
        wire.send(post(GOOD, b"Idempotency-Key: \xe9"))
        status, _, body = wire.answer()
        assert (status, code_of(body)) == (400, "invalid_idempotency_key")
        wire.send(post(GOOD, b"Idempotency-Key: a", b"Idempotency-Key: a"))
        assert wire.answer()[0] == 400


def test_nothing_was_a_bug(served: ServedFront) -> None:
    assert [event for event in served.front.witness.events if re.search("TaskFailed", str(event))] == []
