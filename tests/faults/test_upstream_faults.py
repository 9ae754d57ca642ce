"""What the upstream and the network do to a whole relay, by the numbers of the catalogue (C1); the oracle judges each.

The relay calls one fixed port. Each scenario puts a server of its own there, or none.
"""

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.fault_server import (
    FaultServer,
    Peer,
    Script,
    answer_and_close,
    chunked,
    http_answer,
    receive_and_end,
    receive_and_hang,
    receive_and_reset,
    reset_inside,
)
from support.oracle import Oracle, count_heads, fresh_number, make_body, numbers_of
from support.relay import TRIES, ClientKey, RelayProcess, free_port, make_client, running_relay
from support.upstream import processed
from support.waiting import wait_until

pytestmark = pytest.mark.slow

TIMEOUT_SECONDS = 2
GROWTH_BYTES = 5_000_000
SUCCESS = processed({"{number}": "sent"}).encode()
"""What says "sent" once the number is filled in."""


def good(numbers: list[str]) -> bytes:
    """An answer that says "sent" for these numbers."""
    return http_answer(processed(dict.fromkeys(numbers, "sent")), headers=("Connection: close",))


def honest(peer: Peer) -> None:
    """Answer well."""
    peer.send(good(list(numbers_of(peer.receive()))))


def filled(make: Callable[[bytes], bytes], pause: float = 0.0) -> Script:
    """Answer with bytes that are made from a body that says "sent" for the very number."""

    def script(peer: Peer) -> None:
        number = next(numbers_of(peer.receive()), "").encode()
        peer.pause(pause)
        peer.send(make(SUCCESS.replace(b"{number}", number)))

    return script


def endless(head: bytes, piece: bytes) -> Script:
    """Answer with a head and then with more and more, up to a gigabyte."""

    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(head)
        for _ in range(1_000_000_000 // len(piece)):
            peer.send(piece)

    return script


def drip_filled(split: Callable[[bytes], int]) -> Script:
    """Send a good answer up to a place at once, and the rest byte by byte, each within half the timeout."""

    def script(peer: Peer) -> None:
        whole = good(list(numbers_of(peer.receive())))
        place = split(whole)
        peer.send(whole[:place])
        peer.drip(whole[place:], TIMEOUT_SECONDS / 2)

    return script


def encoded(name: str) -> Script:
    return filled(lambda body: http_answer(body, headers=(f"Content-Encoding: {name}",)))


def status(line: str, body: str = "", *headers: str) -> Script:
    return answer_and_close(http_answer(body, status=line, headers=headers))


LOGIN = "<!doctype html><title>Sign in</title><p>TG00-MESSAGE PROCESSED</p>"

SCENARIOS: dict[str, tuple[Script, str]] = {
    "01-hang-before-headers": (receive_and_hang, "unknown"),
    "03-head-drips": (drip_filled(lambda whole: 20), "unknown"),
    "04-body-drips": (drip_filled(lambda whole: whole.index(b"\r\n\r\n") + 8), "unknown"),
    "06-reset-after-request": (receive_and_reset, "unknown"),
    "07-end-without-answer": (receive_and_end, "unknown"),
    "09-500-empty": (status("500 Internal Server Error"), "unknown"),
    "09-502-html": (status("502 Bad Gateway", "<h1>Bad Gateway</h1>"), "unknown"),
    "09-503-html": (status("503 Service Unavailable", "<h1>Busy</h1>", "Retry-After: 1"), "unknown"),
    "09-504-empty": (status("504 Gateway Timeout"), "unknown"),
    "10-login-page": (status("200 OK", LOGIN), "unknown"),
    "11-empty-body": (status("200 OK"), "unknown"),
    "11-other-number": (status("200 OK", processed({"2348099999999": "sent"})), "unknown"),
    "11-word-with-junk": (filled(lambda body: http_answer(body.replace(b"|SENT|", b"|SENT-NOT|"))), "unknown"),
    "11-byte-order-mark": (filled(lambda body: http_answer(b"\xef\xbb\xbf" + body)), "sent"),
    "11-latin-1": (filled(lambda body: http_answer(body + b" \xe9t\xe9")), "sent"),
    "12-truncated": (filled(lambda body: http_answer(body, length=len(body) + 1)), "unknown"),
    "12-truncated-chunks": (
        filled(lambda body: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body)),
        "unknown",
    ),
    "13-no-length-closed-in-the-record": (
        filled(lambda body: b"HTTP/1.1 200 OK\r\n\r\n" + body[: body.index(b"|SENT")]),
        "unknown",
    ),
    "13-no-length-reset": (reset_inside(b"HTTP/1.1 200 OK\r\n\r\nTG00-MESSAGE PROCESSED:0000|"), "unknown"),
    "15-gzip": (encoded("gzip"), "unknown"),
    "15-br": (encoded("br"), "unknown"),
    "15-zstd": (encoded("zstd"), "unknown"),
    "15-chained": (encoded("gzip, gzip, br"), "unknown"),
    "18-204-with-body": (filled(lambda body: b"HTTP/1.1 204 No Content\r\n\r\n" + body), "unknown"),
    "18-101": (
        filled(lambda body: http_answer(body, status="101 Switching", headers=("Upgrade: x",))),
        "unknown",
    ),
    "18-2000-interim": (filled(lambda body: b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000 + http_answer(body)), "unknown"),
    "18-http-0.9": (filled(lambda body: body), "unknown"),
    "18-200-kB-header": (filled(lambda body: http_answer(body, headers=("X-Pad: " + "x" * 200_000,))), "unknown"),
    "24-429-seconds": (status("429 Too Many Requests", "", "Retry-After: 2"), "unknown"),
    "24-429-date": (status("429 Too Many Requests", "", "Retry-After: Wed, 25 Nov 2099 10:00:00 GMT"), "unknown"),
    "24-429-huge": (status("429 Too Many Requests", "", "Retry-After: 99999999999999999999"), "unknown"),
    "24-429-negative": (status("429 Too Many Requests", "", "Retry-After: -5"), "unknown"),
    "26-just-before-the-deadline": (filled(http_answer, TIMEOUT_SECONDS * 0.5), "sent"),
    "26-just-after-the-deadline": (filled(http_answer, TIMEOUT_SECONDS * 1.4), "unknown"),
}
"""What the upstream does → what its recipient must be."""


class Occupant(FaultServer):
    """A server that frees its port at once when its block ends: the next scenario's server wants the same."""

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts there; closing alone does not
        super().__exit__()


@dataclass
class Scene:
    """A relay, and the port that it calls."""

    relay: RelayProcess
    client: ClientKey
    port: int

    def server(self, *scripts: Script) -> Occupant:
        """Something that listens there while its block runs."""
        return Occupant(*scripts, address=("127.0.0.1", self.port))

    def oracle(self, server: FaultServer | None) -> Oracle:
        """A judge with this server's ledger; without one nothing can arrive."""
        return Oracle([self.relay], self.client, lambda: {} if server is None else count_heads(server.ledger))

    def resident_bytes(self) -> int:
        """How much memory the relay holds."""
        lines = Path(f"/proc/{self.relay.process.pid}/status").read_text().splitlines()
        [line] = [line for line in lines if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    client, port = make_client(), free_port()
    toml = (
        f"[smsclone]\ntimeout_seconds = {TIMEOUT_SECONDS}\nbalance_interval_seconds = 86400\n"
        "[sending]\nnotification_deadline_seconds = 8\n[breaker]\nfailures = 1000\n"
    )
    upstream = f"http://127.0.0.1:{port}"
    with running_relay(tmp_path_factory.mktemp("relay"), client, upstream=upstream, toml=toml) as relay:
        yield Scene(relay, client, port)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whatever_the_upstream_does_is_told_truly_and_never_repeated(scene: Scene, scenario: str) -> None:
    script, expected = SCENARIOS[scenario]
    with scene.server(script) as server:
        oracle = scene.oracle(server)
        number, answer = oracle.send_that_counts(TIMEOUT_SECONDS, expected)

        assert answer.status_code == 200
        assert [entry["status"] for entry in answer.json()["recipients"]] == [expected]
        assert oracle.check()[number] == [expected]
        assert set(count_heads(server.ledger).values()) == {1}
    with scene.server(honest) as server:
        oracle = scene.oracle(server)
        _, answer = oracle.send_that_counts(TIMEOUT_SECONDS)
        assert answer.json()["status"] == "sent"  # nothing of it is left behind
        oracle.check()


def test_02_a_hang_whose_caller_has_gone_is_completed_all_the_same(scene: Scene) -> None:
    number = fresh_number()
    with scene.server(receive_and_hang) as server:
        oracle = scene.oracle(server)
        oracle.expect("gone", number)
        caller = http.client.HTTPConnection("127.0.0.1", scene.relay.port)
        headers = scene.client.headers | {"Content-Type": "application/json"}
        caller.request("POST", "/v1/notifications", json.dumps(make_body("gone", number)), headers)
        wait_until(lambda: server.ledger)
        caller.close()

        assert oracle.check() == {number: ["unknown"]}


def test_05_a_closed_port_is_not_sent_and_may_be_repeated_with_the_same_key(scene: Scene) -> None:
    for _ in range(TRIES):
        number, key = fresh_number(), {"Idempotency-Key": fresh_number()}
        oracle = scene.oracle(None)
        refused = oracle.send(number, headers=key)
        oracle.check()
        assert (refused.status_code, refused.json()["retry_safe"]) == (503, True)
        with scene.server(honest) as server:
            oracle.ledger = lambda: count_heads(server.ledger)
            started = time.monotonic()
            again = oracle.send(number, headers=key)
            if time.monotonic() - started >= TIMEOUT_SECONDS:
                continue  # it may truly be unknown: another number, because this one's key may be taken now
            assert (again.json()["status"], again.json()["replayed"]) == ("sent", False)
            assert count_heads(server.ledger) == {number: 1}
            return
    raise AssertionError(f"none of {TRIES} calls took less than {TIMEOUT_SECONDS} s")


def test_08_a_server_that_closes_after_each_answer_costs_no_unknown_with_fresh_connections(scene: Scene) -> None:
    def answer_and_leave(peer: Peer) -> None:
        peer.send(http_answer(processed(dict.fromkeys(numbers_of(peer.receive()), "sent"))))
        peer.end()

    with scene.server(answer_and_leave) as server:
        oracle = scene.oracle(server)
        with ThreadPoolExecutor(8) as pool:
            numbers = [number for number, _ in pool.map(lambda _: oracle.send_that_counts(TIMEOUT_SECONDS), range(100))]

        states, arrived = oracle.check(), count_heads(server.ledger)
        assert [states[number] for number in numbers] == [["sent"]] * 100
        assert [arrived[number] for number in numbers] == [1] * 100


@pytest.mark.parametrize(
    "script",
    [
        endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b"x" * 65_536),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked(b"x" * 65_536)),
        endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536),
        endless(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", b"\0" * 65_536),
    ],
    ids=["14-length", "14-chunks", "14-until-the-end", "15-bomb"],
)
def test_a_giant_answer_is_cut_and_leaves_memory_as_it_was(scene: Scene, script: Script) -> None:
    with scene.server(script) as server:
        oracle = scene.oracle(server)
        oracle.send_that_counts(TIMEOUT_SECONDS, "unknown")
        before = scene.resident_bytes()
        answers = [oracle.send_that_counts(TIMEOUT_SECONDS, "unknown") for _ in range(3)]

        assert [answer.json()["status"] for _, answer in answers] == ["unknown"] * 3
        assert scene.resident_bytes() - before < GROWTH_BYTES
        oracle.check()


@pytest.mark.parametrize("line", ["302 Found", "307 Temporary Redirect"], ids=["16-302", "16-307"])
def test_a_redirect_to_another_host_is_not_followed(scene: Scene, line: str) -> None:
    with FaultServer(honest, address=("127.0.0.3", 0)) as elsewhere:
        moved = status(line, "", f"Location: {elsewhere.base_url}/api/sms/sendsms")
        with scene.server(moved) as server:
            oracle = scene.oracle(server)

            assert oracle.send_that_counts(TIMEOUT_SECONDS, "unknown")[1].json()["status"] == "unknown"
            assert elsewhere.connections == 0
            oracle.check()


def test_17_a_cookie_is_not_sent_back(scene: Scene) -> None:
    with scene.server(
        filled(lambda body: http_answer(body, headers=("Set-Cookie: session=tracked; Path=/",)))
    ) as server:
        oracle = scene.oracle(server)
        for _ in range(2):
            assert oracle.send_that_counts(TIMEOUT_SECONDS)[1].json()["status"] == "sent"

        assert not any(b"cookie" in head.lower() for head in server.ledger)
        oracle.check()


def test_19_a_second_answer_on_a_connection_is_never_anothers(scene: Scene) -> None:
    first, second = fresh_number(), fresh_number()

    def answer_twice(peer: Peer) -> None:
        peer.receive()
        peer.send(good([first]) + good([second]))
        peer.hang()

    with scene.server(answer_twice, receive_and_hang) as server:
        oracle = scene.oracle(server)
        oracle.send(first)
        oracle.send(second)

        assert oracle.check()[second] == ["unknown"]


def test_28_a_way_that_repeats_requests_is_seen_in_the_ledger(scene: Scene) -> None:
    with FaultServer(honest) as upstream:

        def repeat(peer: Peer) -> None:
            head = peer.receive() + b"\r\n\r\n"
            said = b""
            for _ in range(2):
                with socket.create_connection((upstream.host, upstream.port)) as onward:
                    onward.sendall(head)
                    while piece := onward.recv(65_536):
                        said += piece
            peer.send(said[: len(said) // 2])

        with scene.server(repeat):
            oracle = Oracle([scene.relay], scene.client, lambda: count_heads(upstream.ledger))

            assert oracle.send_that_counts(TIMEOUT_SECONDS)[1].json()["status"] == "sent"
            with pytest.raises(AssertionError, match="I1: 2 sends for 1 accepted"):
                oracle.check()


def test_29_a_bad_line_loses_nothing_and_doubles_nothing(scene: Scene) -> None:
    chance, lock = random.Random(29), threading.Lock()

    def bad_line(peer: Peer) -> None:
        """500 ms there and back, 64 kbit/s, and a fifth of the packets gone."""
        with lock:
            luck = chance.random()
        if luck < 0.1:
            peer.reset()
            return
        whole = good(list(numbers_of(peer.receive())))
        peer.pause(0.5)
        if luck < 0.2:
            peer.hang()
        for place in range(0, len(whole), 80):
            peer.send(whole[place : place + 80])
            peer.pause(0.01)

    numbers = [fresh_number() for _ in range(30)]
    with scene.server(bad_line) as server:
        oracle = scene.oracle(server)
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(oracle.send, numbers))
        states = oracle.check()

    assert {state for told in states.values() for state in told} <= {"sent", "unknown", "not_sent"}
    assert ["sent"] in states.values()
