"""What clients do to a whole relay (C4 of the catalogue); the oracle judges what became of each request."""

import contextlib
import json
import resource
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.oracle import CANARY_TEXT, Oracle, fresh_number, fresh_reference, make_body
from support.relay import PASSWORD, USERNAME, ClientKey, RelayProcess, make_client, running_relay
from support.upstream import Upstream, running_upstream
from support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

LIMIT = 1024 * 1024
LIMITS = resource.getrlimit(resource.RLIMIT_NOFILE)
SILENCE_SECONDS = 0.3
RETRY_SECONDS = 0.1
GROWTH_BYTES = 24 * LIMIT
"""What a few bodies at the limit may leave in the allocator's hands; a gigabyte is far above."""


@dataclass
class Scene:
    """A relay that clients may try to break."""

    relay: RelayProcess
    client: ClientKey
    upstream: Upstream

    def oracle(self) -> Oracle:
        """A judge for one scenario."""
        return Oracle([self.relay], self.client, self.upstream.count)

    def head(self, *lines: str, path: str = "/v1/notifications", host: str = "Host: relay") -> bytes:
        """The head of a POST, with a good key."""
        first = (f"POST {path} HTTP/1.1", host, f"Authorization: Bearer {self.client.key}")
        return "\r\n".join([*(line for line in first if line), *lines, "", ""]).encode("latin-1")

    def post(self, body: bytes, *lines: str) -> bytes:
        """A whole POST."""
        return self.head("Content-Type: application/json", f"Content-Length: {len(body)}", *lines) + body

    def connect(self) -> socket.socket:
        """A connection of a client."""
        connection = socket.create_connection(("127.0.0.1", self.relay.port))
        connection.settimeout(60)
        return connection

    def ask(self, data: bytes, *, hang_up: bool = False) -> bytes:
        """Send bytes; everything that comes back until the relay closes or falls silent.

        Args:
            hang_up: say that no more will come. Otherwise the connection stays open, as a smuggler would have it.
        """
        with self.connect() as connection:
            with contextlib.suppress(OSError):
                connection.sendall(data)
                if hang_up:
                    connection.shutdown(socket.SHUT_WR)
            said = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                while piece := connection.recv(65_536):
                    said += piece
                    connection.settimeout(SILENCE_SECONDS)
            return said

    def resident_bytes(self) -> int:
        """How much memory the relay holds."""
        lines = Path(f"/proc/{self.relay.process.pid}/status").read_text().splitlines()
        [line] = [line for line in lines if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024


def send_until_taken(oracle: Oracle, number: str) -> int:
    """Try again while the relay is overloaded, ten times a second; how often it refused."""
    refusals = 0
    while (answer := oracle.send(number)).status_code == 503:
        assert answer.json()["code"] == "overloaded"
        refusals += 1
        time.sleep(RETRY_SECONDS)
    assert answer.json()["status"] == "sent"
    return refusals


def read_all(connection: socket.socket) -> bytes:
    """Everything until the end."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65_536):
            said += piece
    return said


def statuses(said: bytes) -> list[int]:
    """Of all answers on a connection."""
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    client = make_client()
    with (
        running_upstream() as upstream,
        running_relay(tmp_path_factory.mktemp("relay"), client, upstream=upstream.base_url) as relay,
    ):
        yield Scene(relay, client, upstream)


@pytest.fixture(autouse=True)
def _still_well(scene: Scene) -> Iterator[None]:
    """Whatever was done, nothing was a bug, nothing leaked, and the next caller is served."""
    yield
    oracle = scene.oracle()
    assert oracle.send().json()["status"] == "sent"
    oracle.check()
    assert "internal_error" not in scene.relay.log()


@pytest.mark.parametrize(
    "value",
    ["", "x" * 256, '"unfinished', "k\u00e9y", "a b", "a\x01b", "one\r\nIdempotency-Key: two"],
    ids=["61-empty", "61-256", "61-quote", "61-non-ascii", "61-space", "61-control", "61-two-headers"],
)
def test_a_bad_key_is_400_and_sends_nothing(scene: Scene, value: str) -> None:
    number = fresh_number()
    body = json.dumps(make_body(fresh_reference(), number)).encode()
    said = scene.ask(scene.post(body, f"Idempotency-Key: {value}"))

    assert statuses(said) == [400]
    assert number not in scene.upstream.count()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="62-nested"),
        pytest.param(b'{"message":"\xff\xfe"}', id="62-invalid-utf-8"),
        pytest.param(b'{"message":"\\ud800"}', id="62-lone-surrogate"),
        pytest.param(b'{"message":\x00}', id="62-nul"),
        pytest.param(b'{"message":' + b"9" * 5_000 + b"}", id="62-5000-digits"),
        pytest.param(b'{"message":NaN}', id="62-nan"),
        pytest.param(b"\xef\xbb\xbf{}", id="62-byte-order-mark"),
        pytest.param('{"message":"x"}'.encode("utf-16"), id="62-utf-16"),
        pytest.param(b'{"message":"x"} trailing', id="62-trailing"),
        pytest.param(b'{"recipients":"2348012345678","message":"x","message":"y"}', id="62-name-twice"),
        pytest.param(json.dumps(dict.fromkeys(map(str, range(50_000)), 1)).encode(), id="63-many-names"),
    ],
)
def test_a_body_that_cannot_be_meant_is_refused(scene: Scene, body: bytes) -> None:
    before = len(scene.upstream.sends)

    assert statuses(scene.ask(scene.post(body))) in ([400], [422])
    assert len(scene.upstream.sends) == before


def test_63_bodies_that_are_too_large_or_lie_are_cut_and_memory_stays_bounded(scene: Scene) -> None:
    sends, before = len(scene.upstream.sends), scene.resident_bytes()
    announced = scene.ask(scene.post(b"x" * (LIMIT + 1)))
    lying = scene.ask(scene.head("Content-Type: application/json", "Content-Length: 5000") + b"{}", hang_up=True)
    pieces = 0
    with scene.connect() as connection, contextlib.suppress(OSError):
        connection.sendall(scene.head("Content-Type: application/json", "Transfer-Encoding: chunked"))
        for pieces in range(16_384):  # noqa: B007 — how far it came is what is asked below
            connection.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")

    assert statuses(announced) in ([413], [])
    assert statuses(lying) in ([400], [])
    assert pieces < 1_000
    assert len(scene.upstream.sends) == sends
    assert scene.resident_bytes() - before < GROWTH_BYTES


def test_64_slow_clients_delay_nobody_and_are_closed(scene: Scene) -> None:
    unfinished = [
        b"POST /v1/notifications HTTP/1.1\r\nHost: rel",
        scene.head("Content-Type: application/json", "Content-Length: 100") + b'{"recip',
    ]
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, LIMITS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, LIMITS[1]), LIMITS[1]))
        resource.prlimit(scene.relay.process.pid, resource.RLIMIT_NOFILE, (min(4_096, LIMITS[1]), LIMITS[1]))
        slow = [stack.enter_context(scene.connect()) for _ in range(1_000)]
        for place, connection in enumerate(slow):
            connection.sendall(unfinished[place % 2])
        oracle = scene.oracle()
        numbers = [fresh_number() for _ in range(50)]
        with ThreadPoolExecutor(4) as pool:
            refusals = sum(pool.map(lambda number: send_until_taken(oracle, number), numbers))
        assert refusals < 100, "in the moment in which they come they are an overload like any; not while they wait"
        assert oracle.check() == {number: ["sent"] for number in numbers}
        give_up = time.monotonic() + PATIENCE_SECONDS
        for connection in slow:
            connection.settimeout(max(give_up - time.monotonic(), 0.1))
            read_all(connection)  # ends only where the relay closes


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["Content-Length: 4", "Transfer-Encoding: chunked"], id="65-length-and-chunks"),
        pytest.param(["Content-Length: 0", "Content-Length: 400"], id="65-two-lengths"),
        pytest.param(["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], id="65-two-encodings"),
        pytest.param(["Transfer-Encoding : chunked"], id="65-space-before-colon"),
        pytest.param(["Content-Length: +4"], id="65-signed-length"),
        pytest.param(["Content-Length: 0", "X-Padding: " + "x" * 600_000], id="65-600-kB-header"),
        pytest.param(["Content-Length: 0", *(f"X-{number}: x" for number in range(200))], id="65-200-headers"),
    ],
)
def test_a_shape_that_smuggles_is_refused_and_the_smuggled_request_is_not_executed(
    scene: Scene, lines: list[str]
) -> None:
    number = fresh_number()
    inner = scene.post(json.dumps(make_body(fresh_reference(), number)).encode())
    said = scene.ask(scene.head("Content-Type: application/json", *lines) + b"0\r\n\r\n" + inner)

    assert all(400 <= status < 500 for status in statuses(said)), statuses(said)
    assert number not in scene.upstream.count()


def test_66_a_hundred_pipelined_requests_are_answered_and_keys_hold(scene: Scene) -> None:
    oracle, numbers = scene.oracle(), [fresh_number() for _ in range(50)]
    stream = b""
    for number in numbers:
        reference = fresh_reference()
        oracle.expect(reference, number)
        body = json.dumps(make_body(reference, number)).encode()
        stream += scene.post(body, f"Idempotency-Key: {reference}") * 2
    with scene.connect() as connection:
        connection.sendall(stream)
        said = b""
        while len(statuses(said)) < 100 and (piece := connection.recv(65_536)):
            said += piece

    assert statuses(said) == [200] * 100
    assert [said.find(number.encode()) for number in numbers] == sorted(said.find(n.encode()) for n in numbers)
    assert oracle.check() == {number: ["sent"] for number in numbers}
    assert [scene.upstream.count()[number] for number in numbers] == [1] * 50


INJECTION = f"&password=x&recipient=2348099999999 %00 %26 + # ? = ; {CANARY_TEXT}"


@pytest.mark.parametrize(
    ("field", "value", "accepted"),
    [
        pytest.param("message", INJECTION, True, id="67-message"),
        pytest.param("message", f"one\r\ntwo {CANARY_TEXT}", True, id="67-line-ends"),
        pytest.param("message", "GET / HTTP/1.1\r\n\r\n\x00", False, id="67-nul"),
        pytest.param("sender", "ACME&password=x", False, id="67-sender"),
        pytest.param("sender", "ACME\r\nX: y", False, id="67-sender-line-ends"),
        pytest.param("recipients", ["2348012345678&password=x"], False, id="67-recipient"),
        pytest.param("recipients", ["2348012345678\r\nX: y"], False, id="67-recipient-line-ends"),
    ],
)
def test_what_looks_like_a_parameter_stays_inside_its_own(scene: Scene, field: str, value: Any, accepted: bool) -> None:
    oracle, number, reference = scene.oracle(), fresh_number(), fresh_reference()
    oracle.expect(reference, number)
    before = len(scene.upstream.sends)
    body = make_body(reference, number) | {field: value}
    answer = oracle.note(post_json(scene, body))

    assert answer.status_code in ((200,) if accepted else (403, 422))
    assert len(scene.upstream.sends) - before == accepted
    if accepted:
        query = scene.upstream.sends[-1].query
        assert (query["username"], query["password"], query["recipient"]) == (USERNAME, PASSWORD, number)
        assert query["message"] == value.replace("\r\n", "\n")
    oracle.check()


def post_json(scene: Scene, body: Any) -> httpx.Response:
    return httpx.post(
        f"{scene.relay.base_url}/v1/notifications",
        json=body,
        headers=scene.client.headers,
        trust_env=False,
        timeout=60,
    )


def test_68_a_number_in_several_forms_is_sent_to_once(scene: Scene) -> None:
    oracle, number, reference = scene.oracle(), fresh_number(), fresh_reference()
    oracle.expect(reference, number)
    body = make_body(reference, number, f"+{number}", "0" + number[3:], f"{number}\n")
    answer = oracle.note(post_json(scene, body))

    assert answer.status_code == 200
    assert scene.upstream.count()[number] == 1
    oracle.check()


def test_68_fifty_thousand_recipients_are_refused_before_anything_is_sent(scene: Scene) -> None:
    before = len(scene.upstream.sends)
    numbers = [str(2348070000000 + place) for place in range(50_000)]

    assert post_json(scene, make_body(fresh_reference(), *numbers)).status_code in (413, 422)
    assert len(scene.upstream.sends) == before


def test_69_a_message_whose_url_would_be_too_long_is_422_before_the_claim(scene: Scene) -> None:
    reference, number = fresh_reference(), fresh_number()
    body = make_body(reference, number) | {"message": "\U0001f642" * 700, "max_segments": 10}
    answer = post_json(scene, body)
    listed = httpx.get(
        f"{scene.relay.base_url}/v1/notifications?reference={reference}",
        headers=scene.client.headers,
        trust_env=False,
        timeout=60,
    )

    assert answer.status_code == 422
    assert listed.json()["items"] == []
    assert number not in scene.upstream.count()
