"""What a transport must do that carries a billed GET: the same probes for ours and, to show why, for stock ones
(all of them with ``RELAY_TEST_STOCK=1``, as in ``make faults``).

The promise behind all of them: ``not_sent`` only where the server received nothing, ``answered`` only with the whole
answer to this very request, ``unknown`` otherwise, on time, and never a second request.
"""

import asyncio
import functools
import os
import random
import socket
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.fault_server import (
    BODY,
    FaultServer,
    Peer,
    Script,
    answer,
    answer_and_close,
    answer_late,
    answer_then,
    chunked,
    drip_answer,
    http_answer,
    receive_and_end,
    receive_and_hang,
    receive_and_reset,
    reset_at_once,
    reset_inside,
    silent_address,
)
from support.transports import OURS, PATIENT_SECONDS, SHORT_SECONDS, STOCK, Certificates, Options, Seen, Subject, get
from support.waiting import until

ON_TIME_SECONDS = 8.0
"""By then a call with a short deadline must be over; generous, because the machine may be busy."""

LONGEST_TRY_SECONDS = 30.0
"""A deadline that is doubled until a busy machine gets to the fault is doubled no further than beyond this."""

CANCELS = int(os.environ.get("RELAY_TEST_CANCELS", "2000"))
"""100,000 in the long form: ``RELAY_TEST_CANCELS=100000 pytest tests/conformance/test_transport.py -k cancels``."""

LONGEST_PROBE_SECONDS = 180 + CANCELS / 100

SURE = {
    "httpx": {
        "a_lost_answer_is_unknown_and_the_request_was_made_once[length_and_chunks]": "reads two framings as one",
        "a_dripping_head_is_cut_at_the_deadline": "its timeouts begin anew with each byte",
        "a_dripping_body_is_cut_at_the_deadline": "its timeouts begin anew with each byte",
        "a_head_of_many_small_headers_is_refused": "caps one read, not the head",
        "a_giant_body_is_refused": "reads whatever comes",
        "chunks_that_carry_more_frame_than_body_are_refused": "reads whatever comes",
        "any_content_encoding_is_refused_unread[Content-Encoding: identity]": "decodes, and keeps what it cannot",
        "any_content_encoding_is_refused_unread[content-encoding: zstd]": "decodes, and keeps what it cannot",
        "a_flood_of_interim_answers_is_refused": "reads over any number",
        "cancels_and_timeouts_at_any_moment_lose_no_place_and_no_descriptor[http]": "its pool loses slots",
        "cancels_and_timeouts_at_any_moment_lose_no_place_and_no_descriptor[https]": "its pool loses slots",
    },
    "httpx-aiohttp": {
        "a_changed_address_is_honoured_at_the_next_call": "keeps addresses for ten seconds",
        "a_lost_answer_is_unknown_and_the_request_was_made_once[reset_after_the_request]": "says ConnectTimeout",
        "a_lost_answer_is_unknown_and_the_request_was_made_once[end_without_an_answer]": "says ConnectTimeout",
        "a_lost_answer_is_unknown_and_the_request_was_made_once[reset_after_the_head]": "says ConnectTimeout",
        "a_lost_answer_is_unknown_and_the_request_was_made_once[reset_after_a_body_without_length]": (
            "takes a reset for the end of a body"
        ),
        "a_lost_answer_is_unknown_and_the_request_was_made_once[no_http]": "lets aiohttp's own exception through",
        "a_lost_answer_is_unknown_and_the_request_was_made_once[length_and_chunks]": (
            "lets aiohttp's own exception through"
        ),
        "a_lost_answer_is_unknown_and_the_request_was_made_once[two_lengths]": "lets aiohttp's own exception through",
        "a_lost_answer_is_unknown_and_the_request_was_made_once[switching_protocols]": "takes 101 for an answer",
        "a_dripping_head_is_cut_at_the_deadline": "its timeouts begin anew with each byte",
        "a_dripping_body_is_cut_at_the_deadline": "its timeouts begin anew with each byte",
        "a_giant_head_is_refused": "lets aiohttp's own exception through",
        "a_head_of_many_small_headers_is_refused": "lets aiohttp's own exception through",
        "a_giant_body_is_refused": "reads whatever comes",
        "chunks_that_carry_more_frame_than_body_are_refused": "reads whatever comes",
        "any_content_encoding_is_refused_unread[Content-Encoding: identity]": "decodes, and keeps what it cannot",
        "any_content_encoding_is_refused_unread[content-encoding: zstd]": "decodes, and keeps what it cannot",
        "a_compressing_transfer_encoding_is_refused": "takes no notice of it",
        "a_flood_of_interim_answers_is_refused": "reads over any number",
        "a_cookie_is_not_sent_back": "keeps a jar",
        "a_tls_connection_that_is_cut_leaves_an_unknown": "says ConnectTimeout",
        "a_kept_connection_that_dies_under_a_request_costs_one_unknown_and_no_second_request": (
            "repeats the GET by itself: three requests for two calls"
        ),
        "a_kept_connection_that_is_reset_under_a_request_costs_one_unknown_and_no_second_request": (
            "repeats the GET by itself: three requests for two calls"
        ),
        "an_answer_that_nobody_asked_for_is_never_taken_for_the_next_one": "takes it for the next one",
    },
}
"""What the stock transports fail every time. Strict: an upgrade that mends one of these is seen."""

UNSTEADY = {
    "httpx": {
        "what_follows_an_answer_is_never_taken_for_the_next_one[bytes]": "depends on what is read together",
        "what_follows_an_answer_is_never_taken_for_the_next_one[second_answer]": "depends on what is read together",
    },
    "httpx-aiohttp": {
        "a_server_that_resets_at_once_never_gets_a_second_request": "dials again, depending on when the reset is seen",
        "a_body_that_must_not_be_there_is_not_read": "lets aiohttp's own exception through, depending on what is read",
        "what_follows_an_answer_is_never_taken_for_the_next_one[bytes]": "depends on what is read together",
        "what_follows_an_answer_is_never_taken_for_the_next_one[second_answer]": "depends on what is read together",
        "a_place_is_free_again_after_each_kind_of_end": "repeats, so that the faults run out early or late",
    },
}
"""What they fail depending on timing; expected, and not held to it."""


EVIDENCE = {
    "test_a_changed_address_is_honoured_at_the_next_call",
    "test_a_lost_answer_is_unknown_and_the_request_was_made_once",
    "test_a_giant_body_is_refused",
    "test_any_content_encoding_is_refused_unread",
    "test_a_flood_of_interim_answers_is_refused",
    "test_a_whole_answer_is_read_whole",
    "test_a_cookie_is_not_sent_back",
    "test_a_kept_connection_that_dies_under_a_request_costs_one_unknown_and_no_second_request",
}
"""The probes that the stock transports are always held to: one for each kind of failure that no timing decides."""

ALL_STOCK = bool(os.environ.get("RELAY_TEST_STOCK"))
"""Whether they are held to every probe, as ``make faults`` does."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let each probe run over ours, and over the stock ones where that is evidence."""
    if "subject" not in metafunc.fixturenames:
        return
    stock = STOCK if ALL_STOCK or metafunc.function.__name__ in EVIDENCE else []
    # Their own warnings about what they leave open are not the subject here.
    quiet = pytest.mark.filterwarnings("ignore")
    subjects = [pytest.param(each, id=each.name, marks=() if each.is_ours else quiet) for each in (*OURS, *stock)]
    metafunc.parametrize("subject", subjects, indirect=True)


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """Each transport in turn; known failures are expected and nothing else."""
    chosen: Subject = request.param
    parameter = request.node.callspec.id.replace(chosen.name, "", 1).strip("-")
    probe = request.function.__name__.removeprefix("test_") + (f"[{parameter}]" if parameter else "")
    for table, is_strict in ((SURE, True), (UNSTEADY, False)):
        if reason := table.get(chosen.name, {}).get(probe):
            request.applymarker(pytest.mark.xfail(strict=is_strict, reason=reason))
    return chosen


def on_its_loop(probe: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a probe on the event loop that its subject is tested on."""

    @functools.wraps(probe)
    def run(*, subject: Subject, **fixtures: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(LONGEST_PROBE_SECONDS):
                await probe(subject=subject, **fixtures)

        with asyncio.Runner(loop_factory=subject.new_loop) as runner:
            runner.run(bounded())

    return run


@asynccontextmanager
async def opened(subject: Subject, base_url: str, **options: Any) -> AsyncIterator[httpx.AsyncBaseTransport]:
    """A transport for one server, closed at the end."""
    transport = subject.make(Options(base_url, **options))
    try:
        yield transport
    finally:
        await transport.aclose()


async def call_once(subject: Subject, server: FaultServer, seconds: float = PATIENT_SECONDS, **options: Any) -> Seen:
    """One GET on a transport of its own."""
    async with opened(subject, server.base_url, **options) as transport:
        return await get(transport, server.base_url, seconds)


def assert_unknown(seen: Seen, server: FaultServer, within: float = ON_TIME_SECONDS) -> None:
    """It was received once, and the caller knows that it does not know."""
    assert seen.verdict == "unknown", seen
    assert len(server.ledger) == 1
    assert seen.seconds < within


async def assert_cut_at_the_deadline(subject: Subject, fault: Callable[[float], Script]) -> None:
    """A request that arrives, and has no answer at its deadline, is unknown.

    On a busy machine the deadline may pass before anything arrives. That is another story, and told by other probes;
    here it is begun anew, with twice the time.

    Args:
        fault: gives what the server does where a call has so many seconds.
    """
    seconds = SHORT_SECONDS
    while True:
        with FaultServer(fault(seconds)) as server:
            seen = await call_once(subject, server, seconds)
            if server.ledger or seconds > LONGEST_TRY_SECONDS:
                assert_unknown(seen, server, within=seconds + ON_TIME_SECONDS)
                return
        assert seen.verdict == "unknown" or (seen.verdict == "not_sent" and not server.ledger), seen
        seconds *= 2


# --- before a byte left ---------------------------------------------------------------------------------------------


@on_its_loop
async def test_a_refused_connection_is_not_sent(subject: Subject) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with opened(subject, base_url) as transport:
        seen = await get(transport, base_url)

    assert seen.verdict == "not_sent"


@on_its_loop
async def test_an_address_that_swallows_packets_is_not_sent_and_on_time(subject: Subject) -> None:
    with silent_address() as (host, port):
        base_url = f"http://{host}:{port}"
        async with opened(subject, base_url) as transport:
            seen = await get(transport, base_url, SHORT_SECONDS)

    assert seen.verdict == "not_sent"
    assert seen.seconds < ON_TIME_SECONDS


@on_its_loop
async def test_a_name_that_nobody_knows_is_not_sent(subject: Subject, resolver: "Resolver") -> None:
    base_url = "http://nobody.invalid:9"
    async with opened(subject, base_url) as transport:
        seen = await get(transport, base_url)

    assert seen.verdict == "not_sent"


@on_its_loop
async def test_a_slow_name_server_costs_the_connect_timeout_and_holds_nothing_up(
    subject: Subject, resolver: "Resolver"
) -> None:
    resolver.hold("slow.invalid")
    base_url = "http://slow.invalid:9"
    async with opened(subject, base_url) as transport:
        patient = asyncio.create_task(get(transport, base_url))
        await until(resolver.asked.is_set)
        seen = await get(transport, base_url, SHORT_SECONDS)
        resolver.release.set()  # the stock ones leave a thread of the loop waiting, and the loop's end waits for it
        await patient

    assert seen.verdict == "not_sent"
    assert seen.seconds < ON_TIME_SECONDS
    assert not resolver.gave_up, "the loop stood still until the name server gave up"


@on_its_loop
async def test_a_changed_address_is_honoured_at_the_next_call(subject: Subject, resolver: "Resolver") -> None:
    goodbye = answer_and_close(http_answer(headers=("Connection: close",)))
    with FaultServer(goodbye) as first, FaultServer(goodbye, address=("127.0.0.3", first.port)) as second:
        base_url = f"http://moving.invalid:{first.port}"
        async with opened(subject, base_url) as transport:
            resolver.know("moving.invalid", first.host)
            await get(transport, base_url)
            resolver.know("moving.invalid", second.host)
            await get(transport, base_url)

        assert (len(first.ledger), len(second.ledger)) == (1, 1)


@on_its_loop
async def test_a_dead_first_address_does_not_keep_the_living_second_from_being_used(
    subject: Subject, resolver: "Resolver"
) -> None:
    with FaultServer(answer()) as server, silent_address(server.port) as (silent, _):
        resolver.know("twofold.invalid", silent, server.host)
        base_url = f"http://twofold.invalid:{server.port}"
        async with opened(subject, base_url) as transport:
            seen = await get(transport, base_url)

        assert seen.verdict == "answered"
        assert len(server.ledger) == 1


@pytest.mark.parametrize("fault", ["expired", "wrong_host", "stranger", "old_version"])
@on_its_loop
async def test_a_tls_fault_is_not_sent_and_never_falls_back(
    subject: Subject, certificates: Certificates, fault: str
) -> None:
    with FaultServer(answer(), tls=_faulty_tls(certificates, fault)) as server:
        seen = await call_once(subject, server, tls=certificates.client())

        assert seen.verdict == "not_sent"
        assert server.ledger == []


def _faulty_tls(certificates: Certificates, fault: str) -> ssl.SSLContext:
    if fault == "expired":
        return certificates.server("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    if fault == "wrong_host":
        return certificates.server("elsewhere.invalid")
    if fault == "stranger":
        return certificates.server("localhost", by_stranger=True)
    context = certificates.server("localhost")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@on_its_loop
async def test_a_server_that_resets_at_once_never_gets_a_second_request(subject: Subject) -> None:
    with FaultServer(reset_at_once) as server:
        seen = await call_once(subject, server)

        assert seen.verdict != "answered"
        assert server.connections == 1


@on_its_loop
async def test_a_server_that_speaks_before_it_is_asked_is_not_believed(subject: Subject) -> None:
    def speak_first(peer: Peer) -> None:
        peer.send(http_answer())
        peer.receive()
        peer.hang()

    with FaultServer(speak_first) as server:
        async with opened(subject, server.base_url) as transport:
            await get(transport, server.base_url, SHORT_SECONDS)
            seen = await get(transport, server.base_url, SHORT_SECONDS)

        assert len(server.ledger) <= 2
        assert seen.seconds < ON_TIME_SECONDS


# --- after a byte left ----------------------------------------------------------------------------------------------

LOST_ANSWERS: dict[str, Script] = {
    "reset_after_the_request": receive_and_reset,
    "end_without_an_answer": receive_and_end,
    "reset_after_the_head": reset_inside(http_answer()[:40]),
    "reset_inside_the_body": reset_inside(http_answer()[:-5]),
    "reset_after_a_body_without_length": reset_inside(b"HTTP/1.1 200 OK\r\n\r\n" + BODY.encode()),
    "truncated": answer_and_close(http_answer(length=len(BODY) + 1)),
    "truncated_chunks": answer_and_close(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(BODY.encode())
    ),
    "no_http": answer_and_close(BODY.encode()),
    "length_and_chunks": answer_and_close(
        http_answer(chunked(BODY.encode(), b""), headers=("Transfer-Encoding: chunked",))
    ),
    "two_lengths": answer_and_close(http_answer(headers=(f"Content-Length: {len(BODY) - 4}",))),
    "switching_protocols": answer_and_close(http_answer(status="101 Switching Protocols", headers=("Upgrade: x",))),
}


@pytest.mark.parametrize("fault", LOST_ANSWERS)
@on_its_loop
async def test_a_lost_answer_is_unknown_and_the_request_was_made_once(subject: Subject, fault: str) -> None:
    with FaultServer(LOST_ANSWERS[fault]) as server:
        assert_unknown(await call_once(subject, server), server)


@pytest.mark.parametrize(
    "fault", [lambda _: receive_and_hang, lambda seconds: answer_late(seconds * 2)], ids=["never", "late"]
)
@on_its_loop
async def test_an_answer_that_is_not_there_at_the_deadline_is_unknown(
    subject: Subject, fault: Callable[[float], Script]
) -> None:
    await assert_cut_at_the_deadline(subject, fault)


@on_its_loop
async def test_a_dripping_head_is_cut_at_the_deadline(subject: Subject) -> None:
    head = http_answer()[:48]
    await assert_cut_at_the_deadline(subject, lambda seconds: drip_answer(head[:-24], head[-24:], seconds * 0.8))


@on_its_loop
async def test_a_dripping_body_is_cut_at_the_deadline(subject: Subject) -> None:
    whole = http_answer()
    await assert_cut_at_the_deadline(subject, lambda seconds: drip_answer(whole[:-24], whole[-24:], seconds * 0.8))


@on_its_loop
async def test_a_giant_head_is_refused(subject: Subject) -> None:
    with FaultServer(answer_and_close(http_answer(headers=("X-Padding: " + "x" * 200_000,)))) as server:
        assert_unknown(await call_once(subject, server), server)


@on_its_loop
async def test_a_head_of_many_small_headers_is_refused(subject: Subject) -> None:
    many = tuple(f"X-{number}: x" for number in range(4_000))
    with FaultServer(answer_and_close(http_answer(headers=many))) as server:
        assert_unknown(await call_once(subject, server), server)


@on_its_loop
async def test_a_giant_body_is_refused(subject: Subject) -> None:
    with FaultServer(answer_and_close(http_answer(b"x" * 8_000_000))) as server:
        assert_unknown(await call_once(subject, server), server)


@on_its_loop
async def test_chunks_that_carry_more_frame_than_body_are_refused(subject: Subject) -> None:
    frame = b"1;" + b"x" * 8_000 + b"\r\nT\r\n"
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + frame * 200 + b"0\r\n\r\n"
    with FaultServer(answer_and_close(data)) as server:
        assert_unknown(await call_once(subject, server), server)


@pytest.mark.parametrize("header", ["Content-Encoding: gzip", "Content-Encoding: identity", "content-encoding: zstd"])
@on_its_loop
async def test_any_content_encoding_is_refused_unread(subject: Subject, header: str) -> None:
    with FaultServer(answer_and_close(http_answer(headers=(header,)))) as server:
        assert_unknown(await call_once(subject, server), server)


@on_its_loop
async def test_a_compressing_transfer_encoding_is_refused(subject: Subject) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + chunked(BODY.encode(), b"")
    with FaultServer(answer_and_close(data)) as server:
        assert_unknown(await call_once(subject, server), server)


@on_its_loop
async def test_a_flood_of_interim_answers_is_refused(subject: Subject) -> None:
    flood = b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000
    with FaultServer(answer_and_close(flood + http_answer())) as server:
        assert_unknown(await call_once(subject, server), server)


@on_its_loop
async def test_a_few_interim_answers_are_read_over(subject: Subject) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    with FaultServer(answer_and_close(interim + http_answer())) as server:
        seen = await call_once(subject, server)

        assert (seen.verdict, seen.status, seen.body) == ("answered", 200, BODY.encode())


@on_its_loop
async def test_a_body_that_must_not_be_there_is_not_read(subject: Subject) -> None:
    with FaultServer(answer_and_close(b"HTTP/1.1 204 No Content\r\n\r\n" + BODY.encode())) as server:
        seen = await call_once(subject, server)

        assert seen.verdict == "unknown" or seen.body == b""


# --- answers --------------------------------------------------------------------------------------------------------

GOOD_ANSWERS = {
    "length": http_answer(),
    "length_and_close": http_answer(headers=("Connection: close",)),
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(BODY[:30].encode(), BODY[30:].encode(), b""),
    "until_the_end": b"HTTP/1.1 200 OK\r\n\r\n" + BODY.encode(),
    "http_1_0": b"HTTP/1.0 200 OK\r\n\r\n" + BODY.encode(),
    "server_error": http_answer(status="500 Internal Server Error"),
}


@pytest.mark.parametrize("kind", GOOD_ANSWERS)
@on_its_loop
async def test_a_whole_answer_is_read_whole(subject: Subject, kind: str) -> None:
    with FaultServer(answer_and_close(GOOD_ANSWERS[kind])) as server:
        seen = await call_once(subject, server)

        assert (seen.verdict, seen.body) == ("answered", BODY.encode())
        assert seen.status == (500 if kind == "server_error" else 200)
        assert len(server.ledger) == 1


@on_its_loop
async def test_an_answer_byte_by_byte_is_read_whole(subject: Subject) -> None:
    with FaultServer(drip_answer(b"", http_answer(), 0.0005)) as server:
        seen = await call_once(subject, server)

        assert (seen.verdict, seen.body) == ("answered", BODY.encode())


@on_its_loop
async def test_an_answer_just_before_the_deadline_counts(subject: Subject) -> None:
    seconds = SHORT_SECONDS
    while True:
        with FaultServer(answer_late(seconds / 2)) as server:
            seen = await call_once(subject, server, seconds)
        if seen.seconds < seconds * 0.9 or seconds > LONGEST_TRY_SECONDS:
            break
        seconds *= 2  # the machine was too busy to answer in time

    assert seen.verdict == "answered"


@on_its_loop
async def test_a_redirect_is_not_followed(subject: Subject) -> None:
    with FaultServer(answer()) as elsewhere:
        moved = http_answer("", status="302 Found", headers=(f"Location: {elsewhere.base_url}/",))
        with FaultServer(answer_and_close(moved)) as server:
            seen = await call_once(subject, server)

            assert (seen.verdict, seen.status) == ("answered", 302)
        assert elsewhere.connections == 0


@on_its_loop
async def test_a_cookie_is_not_sent_back(subject: Subject) -> None:
    with FaultServer(answer(http_answer(headers=("Set-Cookie: session=tracked; Path=/",)))) as server:
        base_url = f"http://localhost:{server.port}"  # aiohttp's jar keeps none for a bare address
        async with opened(subject, base_url) as transport:
            await get(transport, base_url)
            await get(transport, base_url)

        assert len(server.ledger) == 2
        assert not any(b"cookie" in head.lower() for head in server.ledger)


@on_its_loop
async def test_proxies_of_the_environment_are_not_asked(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer(answer()) as proxy, FaultServer(answer()) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.base_url)
        await call_once(subject, server)

        assert (proxy.connections, len(server.ledger)) == (0, 1)


@on_its_loop
async def test_a_good_certificate_is_accepted(subject: Subject, certificates: Certificates) -> None:
    with FaultServer(answer(), tls=certificates.server("localhost")) as server:
        seen = await call_once(subject, server, tls=certificates.client())

        assert (seen.verdict, seen.body) == ("answered", BODY.encode())


@on_its_loop
async def test_a_tls_connection_that_is_cut_leaves_an_unknown(subject: Subject, certificates: Certificates) -> None:
    with FaultServer(receive_and_end, tls=certificates.server("localhost")) as server:
        assert_unknown(await call_once(subject, server, tls=certificates.client()), server)


# --- connections that are used again --------------------------------------------------------------------------------


@on_its_loop
async def test_connections_are_kept_only_where_the_setting_says_so(subject: Subject) -> None:
    with FaultServer(answer()) as server:
        async with opened(subject, server.base_url) as transport:
            for _ in range(3):
                assert (await get(transport, server.base_url)).verdict == "answered"

        assert len(server.ledger) == 3
        assert server.connections == (1 if subject.keeps_connections else 3)


@on_its_loop
async def test_a_kept_connection_that_dies_under_a_request_costs_one_unknown_and_no_second_request(
    subject: Subject,
) -> None:
    with FaultServer(answer_then(receive_and_end), answer()) as server:
        async with opened(subject, server.base_url) as transport:
            first = await get(transport, server.base_url)
            second = await get(transport, server.base_url)

        assert first.verdict == "answered"
        assert len(server.ledger) == 2
        assert second.verdict == ("unknown" if subject.keeps_connections else "answered")


@on_its_loop
async def test_a_kept_connection_that_is_reset_under_a_request_costs_one_unknown_and_no_second_request(
    subject: Subject,
) -> None:
    with FaultServer(answer_then(receive_and_reset), answer()) as server:
        async with opened(subject, server.base_url) as transport:
            first = await get(transport, server.base_url)
            second = await get(transport, server.base_url)

        assert first.verdict == "answered"
        assert len(server.ledger) == 2
        assert second.verdict == ("unknown" if subject.keeps_connections else "answered")


@on_its_loop
async def test_a_kept_connection_that_ended_meanwhile_is_not_used(subject: Subject) -> None:
    ended = threading.Semaphore(0)
    with FaultServer(answer_and_tell(ended)) as server:
        async with opened(subject, server.base_url) as transport:
            for _ in range(3):
                assert (await get(transport, server.base_url)).verdict == "answered"
                await until(lambda: ended.acquire(blocking=False))
                await asyncio.sleep(0.05)  # in which the loop sees it

        assert len(server.ledger) == 3


def answer_and_tell(ended: threading.Semaphore) -> Script:
    """Answer, close, and tell that it is closed."""

    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(http_answer())
        peer.end()
        ended.release()

    return script


@on_its_loop
async def test_an_end_that_the_loop_has_not_seen_yet_is_seen_before_the_next_request(subject: Subject) -> None:
    ended = threading.Semaphore(0)
    with FaultServer(answer_and_tell(ended)) as server:
        async with opened(subject, server.base_url) as transport:
            await get(transport, server.base_url)
            ended.acquire(timeout=60)  # blocks the loop on purpose: the end is in the socket, and nobody has read it
            seen = await get(transport, server.base_url)

        assert seen.verdict == "answered"
        assert len(server.ledger) == 2


WRONG = BODY.replace("0000", "2222").replace("|SENT|", "|REJECTED|")


@pytest.mark.parametrize("surplus", [b"surplus", http_answer(WRONG)], ids=["bytes", "second_answer"])
@on_its_loop
async def test_what_follows_an_answer_is_never_taken_for_the_next_one(subject: Subject, surplus: bytes) -> None:
    with FaultServer(answer(http_answer() + surplus, requests=1), answer()) as server:
        async with opened(subject, server.base_url) as transport:
            first = await get(transport, server.base_url)
            second = await get(transport, server.base_url)

        assert (first.verdict, first.body) == ("answered", BODY.encode())
        assert (second.verdict, second.body) == ("answered", BODY.encode())
        assert (len(server.ledger), server.connections) == (2, 2)


@on_its_loop
async def test_an_answer_that_nobody_asked_for_is_never_taken_for_the_next_one(subject: Subject) -> None:
    spoken = threading.Event()

    def speak_again(peer: Peer) -> None:
        peer.receive()
        peer.send(http_answer())
        peer.pause(0.05)
        peer.send(http_answer(WRONG))
        spoken.set()
        peer.hang()

    with FaultServer(speak_again, answer()) as server:
        async with opened(subject, server.base_url) as transport:
            await get(transport, server.base_url)
            while not spoken.is_set():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            second = await get(transport, server.base_url)

        assert second.body != WRONG.encode()
        assert server.connections == 2


TRIALS = 300


@pytest.mark.slow
@on_its_loop
async def test_a_server_that_closes_at_any_moment_gets_no_request_twice_and_no_call_an_answer_that_is_not_its_own(
    subject: Subject,
) -> None:
    chance = random.Random(4711)

    def answer_and_leave_sometime(peer: Peer) -> None:
        peer.receive()
        peer.send(http_answer())
        peer.pause(chance.random() * 0.002)

    with FaultServer(answer_and_leave_sometime) as server:
        async with opened(subject, server.base_url) as transport:
            verdicts = []
            for _ in range(TRIALS):
                verdicts.append((await get(transport, server.base_url)).verdict)
                await asyncio.sleep(chance.random() * 0.002)

        assert verdicts.count("answered") <= len(server.ledger) <= TRIALS - verdicts.count("not_sent")
        assert subject.keeps_connections or verdicts == ["answered"] * TRIALS


# --- limits and leaks -----------------------------------------------------------------------------------------------


@on_its_loop
async def test_the_wait_for_a_connection_is_bounded_and_dials_nothing(subject: Subject) -> None:
    may_answer = threading.Event()

    def answer_when_told(peer: Peer) -> None:
        peer.receive()
        may_answer.wait(ON_TIME_SECONDS * 2)
        peer.send(http_answer())

    with FaultServer(answer_when_told) as server:
        async with opened(subject, server.base_url, max_connections=1) as transport:
            first = asyncio.create_task(get(transport, server.base_url))
            while not server.ledger:
                await asyncio.sleep(0.01)
            second = await get(transport, server.base_url, SHORT_SECONDS)
            assert (second.verdict, len(server.ledger)) == ("not_sent", 1)
            assert second.seconds < ON_TIME_SECONDS
            may_answer.set()
            assert (await first).verdict == "answered"


@on_its_loop
async def test_a_place_is_free_again_after_each_kind_of_end(subject: Subject) -> None:
    faults = (receive_and_hang, receive_and_end, receive_and_reset, answer_and_close(b"no http"), reset_at_once)
    with FaultServer(*faults, answer()) as server:
        async with opened(subject, server.base_url, max_connections=1) as transport:
            while not server.connections:  # on a busy machine the deadline may pass before the hang gets its request
                await get(transport, server.base_url, SHORT_SECONDS)
            for _ in faults[1:]:
                await get(transport, server.base_url)
            seen = await get(transport, server.base_url)

        assert seen.verdict == "answered"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "https"])
@on_its_loop
async def test_cancels_and_timeouts_at_any_moment_lose_no_place_and_no_descriptor(
    subject: Subject, certificates: Certificates, scheme: str
) -> None:
    chance = random.Random(4711)

    async def give_up_sometime(transport: httpx.AsyncBaseTransport, base_url: str) -> None:
        task = asyncio.create_task(get(transport, base_url, seconds=chance.choice((0.0005, 0.002, 3.0))))
        await asyncio.sleep(chance.random() * 0.004)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def worker(transport: httpx.AsyncBaseTransport, base_url: str) -> None:
        for _ in range(CANCELS // 20):
            await give_up_sometime(transport, base_url)

    tls = certificates.server("localhost") if scheme == "https" else None
    with FaultServer(answer_late(0.002), tls=tls) as server:
        async with opened(subject, server.base_url, max_connections=4, tls=certificates.client()) as transport:
            before = _descriptors()
            await asyncio.gather(*[worker(transport, server.base_url) for _ in range(20)])
            await asyncio.sleep(0.1)
            together = await asyncio.gather(*[get(transport, server.base_url) for _ in range(4)])

            assert [seen.verdict for seen in together] == ["answered"] * 4
            # Both ends are in this process, and the server's are closed by threads of their own.
            await until(lambda: _descriptors() <= before + 4 * 2 + 8, lambda: f"{_descriptors()}, {before} before")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# --- fixtures -------------------------------------------------------------------------------------------------------


class Resolver:
    """The system's resolver, as a test wants it: names of its own, some that never get an answer."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, ...]] = {}
        self._held: set[str] = set()
        self.release = threading.Event()
        self.asked = threading.Event()
        self.gave_up = False
        self._ask_system = socket.getaddrinfo

    def know(self, name: str, *addresses: str) -> None:
        """Let a name have these addresses, in this order."""
        self._names[name] = addresses

    def hold(self, name: str) -> None:
        """Let a question for this name hang until the test is over."""
        self._held.add(name)

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
        """See ``socket.getaddrinfo``."""
        name = host.decode() if isinstance(host, bytes) else host
        if name in self._held:
            self.asked.set()
            self.gave_up |= not self.release.wait(PATIENT_SECONDS / 2)
        if name in self._names:
            kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*kind, (address, port)) for address in self._names[name]]
        if str(name).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._ask_system(host, port, *args, **options)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """A resolver that the test commands. Replaced at the one function that every transport ends up in."""
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.release.set()


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    """An authority for this module."""
    return Certificates()
