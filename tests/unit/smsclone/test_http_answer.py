"""Reading an HTTP answer: however its bytes arrive, whatever they are."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.smsclone.exchange import Cause, Exchange
from relay.smsclone.http_answer import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    MAX_INTERIM_ANSWERS,
    MAX_WIRE_BYTES,
    AnswerReader,
)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
WHOLE = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nTG17", b"TG17"),
    "chunks": (CHUNKED + b"2;x=y\r\nTG\r\n2\r\n17\r\n0\r\nX-Trailer: y\r\n\r\n", b"TG17"),
    "interim": (INTERIM * 3 + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nTG17", b"TG17"),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
}
FAULTS = {
    "no http": (b"TG00-MESSAGE PROCESSED:", Cause.MALFORMED),
    "a request": (b"GET / HTTP/1.1\r\n\r\n", Cause.MALFORMED),
    "HTTP/2": (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", Cause.MALFORMED),
    "switching": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", Cause.MALFORMED),
    "status 99": (b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", Cause.MALFORMED),
    "status 600": (b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n", Cause.MALFORMED),
    "length and chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nTG17\r\n0\r\n\r\n",
        Cause.MALFORMED,
    ),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 2\r\n\r\nTG17", Cause.MALFORMED),
    "negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nTG17", Cause.MALFORMED),
    "gzip": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nTG17", Cause.COMPRESSED),
    "gzip, chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4\r\nTG17\r\n0\r\n\r\n",
        Cause.COMPRESSED,
    ),
    "giant header": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES, Cause.TOO_LARGE),
    "giant trailer": (CHUNKED + b"0\r\nX: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n", Cause.TOO_LARGE),
    "giant body": (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_BODY_BYTES + 1), Cause.TOO_LARGE),
    "giant frame": (CHUNKED + b"1;" + b"x" * MAX_WIRE_BYTES, Cause.TOO_LARGE),
    "interim flood": (INTERIM * (MAX_INTERIM_ANSWERS + 1), Cause.INTERIM_FLOOD),
}


def read(*parts: bytes, ended: bool = False) -> AnswerReader:
    reader = AnswerReader()
    for part in filter(None, parts):
        reader.feed(part)
    if ended:
        reader.feed_end()
    return reader


@pytest.mark.parametrize("kind", WHOLE)
def test_an_answer_is_read_whole_wherever_its_bytes_are_parted(kind: str) -> None:
    data, body = WHOLE[kind]
    for cut in range(len(data) + 1):
        reader = read(data[:cut], data[cut:])
        assert reader.end == Exchange(wrote=True, cause=Cause.ANSWERED, status=200, body=body)
        assert reader.reusable
    assert read(*(bytes([byte]) for byte in data)).end == read(data).end


@pytest.mark.parametrize("kind", WHOLE)
def test_an_answer_cut_anywhere_is_no_answer(kind: str) -> None:
    data, _ = WHOLE[kind]
    for cut in range(len(data)):
        end = read(data[:cut], ended=True).end
        assert end is not None
        assert (end.wrote, end.status) == (True, None)
        assert end.cause in (Cause.CLOSED, Cause.TRUNCATED)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_has_its_cause_and_ends_the_connection(kind: str) -> None:
    data, cause = FAULTS[kind]
    reader = read(data)
    assert reader.end == Exchange(wrote=True, cause=cause)
    assert not reader.reusable


def test_a_body_without_length_is_complete_at_the_end_and_its_connection_is_spent() -> None:
    parts = (b"HTTP/1.1 200 OK\r\n\r\nTG", b"17")
    assert read(*parts).end is None
    reader = read(*parts, ended=True)
    assert reader.end == Exchange(wrote=True, cause=Cause.ANSWERED, status=200, body=b"TG17")
    assert not reader.reusable


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n"])
def test_a_connection_that_the_answer_gives_up_is_not_used_again(head: bytes) -> None:
    reader = read(head + b"Content-Length: 4\r\n\r\nTG17")
    assert reader.end is not None
    assert reader.end.body == b"TG17"
    assert not reader.reusable


# Blank lines alone are read over before an answer (RFC 9112, 2.2), and no answer can be made of them.
@given(surplus=st.binary(min_size=1, max_size=80).filter(lambda data: data.strip(b"\r\n")), together=st.booleans())
@example(surplus=WHOLE["length"][0], together=True)
@example(surplus=b"\r\n", together=False)
@example(surplus=b"H", together=True)
def test_anything_after_an_answer_ends_its_connection_and_changes_nothing_in_it(surplus: bytes, together: bool) -> None:
    data, body = WHOLE["length"]
    reader = read(data + surplus) if together else read(data, surplus)
    assert reader.end == Exchange(wrote=True, cause=Cause.ANSWERED, status=200, body=body)
    assert not reader.reusable


@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([data for data, _ in WHOLE.values()])), max_size=6))
def test_no_bytes_raise_and_an_end_once_reached_never_changes(parts: list[bytes]) -> None:
    reader = AnswerReader()
    ends = []
    for part in parts:
        reader.feed(part)
        ends.append(reader.end)
    reader.feed_end()
    assert reader.end is not None
    assert not reader.reusable
    known = [end for end in ends if end is not None]
    assert all(end == reader.end for end in known)


def test_an_answer_to_connect_ends_with_its_head() -> None:
    reader = AnswerReader(head_only=True)
    reader.feed(b"HTTP/1.1 200 Connection established\r\n\r\n")
    assert reader.end == Exchange(wrote=True, cause=Cause.ANSWERED, status=200)
    assert reader.reusable
    reader.feed(b"early")
    assert not reader.reusable


# --- the limits, in numbers -------------------------------------------------------------------------------------------


def head_of(size: int) -> bytes:
    """A whole head whose reason, header names and values have this size together."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + b"a" * (size - len("OKContent-Length0X")) + b"\r\n\r\n"


@pytest.mark.parametrize(("size", "cause"), [(16_384, Cause.ANSWERED), (16_385, Cause.TOO_LARGE)])
def test_a_head_may_have_16_kib(size: int, cause: Cause) -> None:
    end = read(head_of(size)).end

    assert end is not None
    assert end.cause is cause


def test_a_head_that_does_not_end_is_given_up_after_16_kib() -> None:
    start = b"HTTP/1.1 200 OK\r\nX: "
    begun = start + b"a" * (16_384 - len(start))

    assert read(begun).end is None
    assert read(begun, b"a").end == Exchange(wrote=True, cause=Cause.TOO_LARGE)


@pytest.mark.parametrize(("size", "cause"), [(65_536, Cause.ANSWERED), (65_537, Cause.TOO_LARGE)])
def test_a_body_may_have_64_kib(size: int, cause: Cause) -> None:
    end = read(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"b" * size).end

    assert end is not None
    assert end.cause is cause


@pytest.mark.parametrize(("size", "over"), [(540_672, False), (540_673, True)])
def test_an_answer_may_take_528_kib_with_the_frames_of_its_chunks(size: int, over: bool) -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"1;e=" + b"x" * 994 + b"\r\nb\r\n"
    chunks, rest = divmod(size - len(start), len(chunk))
    pieces = [start, *[chunk] * chunks, chunk[:rest]]

    assert sum(map(len, pieces)) == size
    assert read(*pieces).end == (Exchange(wrote=True, cause=Cause.TOO_LARGE) if over else None)


@pytest.mark.parametrize(("interim", "cause"), [(8, Cause.ANSWERED), (9, Cause.INTERIM_FLOOD)])
def test_eight_interim_answers_are_read_over(interim: int, cause: Cause) -> None:
    end = read(b"HTTP/1.1 103 Early Hints\r\n\r\n" * interim + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").end

    assert end is not None
    assert end.cause is cause


def test_each_interim_answer_may_have_a_head_of_its_own() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nX: " + b"a" * 16_000 + b"\r\n\r\n"
    end = read(interim, interim, head_of(16_384)).end

    assert end is not None
    assert end.cause is Cause.ANSWERED


@pytest.mark.parametrize(("status", "cause"), [(200, Cause.ANSWERED), (599, Cause.ANSWERED), (101, Cause.MALFORMED)])
def test_a_final_status_is_200_to_599(status: int, cause: Cause) -> None:
    end = read(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status).end

    assert end is not None
    assert end.cause is cause


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_an_interim_answer_is_any_from_100_to_199_but_switching(status: int) -> None:
    reader = read(b"HTTP/1.1 %d X\r\n\r\n" % status)
    assert (reader.end, reader.reusable) == (None, False)

    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nTG17")
    assert reader.end == Exchange(wrote=True, cause=Cause.ANSWERED, status=200, body=b"TG17")


def test_the_length_of_an_interim_answer_is_not_that_of_the_answer() -> None:
    interim = b"HTTP/1.1 103 X\r\nContent-Length: 0\r\n\r\n"

    assert read(interim, b"HTTP/1.1 200 OK\r\n\r\nTG17", ended=True).end == Exchange(
        wrote=True, cause=Cause.ANSWERED, status=200, body=b"TG17"
    )
