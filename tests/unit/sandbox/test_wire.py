"""Every fault has its steps; what a patient caller could read of them is told without a wire."""

import gzip
from typing import get_args

import pytest

from relay.sandbox.faults import plan
from relay.sandbox.switches import Fault, FaultKind
from relay.sandbox.wire import Drip, Ending, Pause, SandboxReply, Send, Wire, read_all

BODY = b"TG00-MESSAGE PROCESSED:0000|2348010000001|1|SENT|MESSAGE SENT TO PROVIDER"


def planned(kind: FaultKind, **measures: object) -> Wire:
    """The steps of an answer that a fault strikes."""
    fault = Fault(kind, **measures)  # type: ignore[arg-type]
    return plan(SandboxReply(body=BODY, fault=fault), keep_alive=True)


def test_a_plain_answer_is_one_step_and_keeps_the_connection_if_asked_to() -> None:
    reply = SandboxReply(body=BODY)

    [step] = plan(reply, keep_alive=True).steps
    assert isinstance(step, Send)
    assert step.data.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=UTF-8\r\n")
    assert step.data.endswith(b"Connection: keep-alive\r\n\r\n" + BODY)
    assert plan(reply, keep_alive=True).ending is Ending.KEEP
    assert plan(reply, keep_alive=False).ending is Ending.CLOSE


@pytest.mark.parametrize("kind", get_args(FaultKind))
def test_every_kind_of_fault_has_a_plan_and_changes_something(kind: FaultKind) -> None:
    assert planned(kind) != plan(SandboxReply(body=BODY), keep_alive=True)


def test_slow_answers_wait_first_or_drip() -> None:
    assert planned("slow", seconds=2).steps[0] == Pause(2)
    head, body = planned("slow_body", seconds=0.5).steps
    assert isinstance(head, Send)
    assert body == Drip(BODY, 0.5)
    dripping = planned("slow_head", seconds=0.5).steps[0]
    assert isinstance(dripping, Drip)
    assert dripping.data.startswith(b"HTTP/1.1 200")


def test_a_cut_answer_announces_more_than_it_sends() -> None:
    wire = planned("cut", size=10)

    [step] = wire.steps
    assert isinstance(step, Send)
    assert b"Content-Length: %d\r\n" % len(BODY) in step.data
    assert step.data.endswith(b"\r\n\r\n" + BODY[:10])
    assert wire.ending is Ending.CLOSE


def test_a_bomb_unfolds_to_the_answer_and_so_many_bytes_and_is_small_on_the_wire() -> None:
    wire = planned("gzip_bomb", size=3 << 20)

    first, block = wire.steps
    assert isinstance(first, Send)
    assert isinstance(block, Send)
    packed = first.data.partition(b"\r\n\r\n")[2] + block.data * block.times
    assert len(packed) < 20_000
    with pytest.raises(EOFError):  # no end mark: what is unpacked goes on for as long as the caller reads
        gzip.decompress(packed)


def test_a_huge_answer_is_as_long_as_it_announces_and_never_lies_whole_in_memory() -> None:
    steps = planned("huge", size=(1 << 30) + 5).steps

    assert all(isinstance(step, Send) for step in steps)
    sizes = [(len(step.data), step.times) for step in steps if isinstance(step, Send)]
    announced = len(BODY) + (1 << 30) + 5
    first = steps[0]
    assert isinstance(first, Send)
    assert b"Content-Length: %d\r\n" % announced in first.data
    assert max(size for size, _ in sizes) <= 1 << 16
    assert sum(size * times for size, times in sizes) - len(first.data.partition(BODY)[0]) == announced


@pytest.mark.parametrize("kind", ["hang", "reset", "reset_in_body", "close", "cut", "garbage", "switching_protocols"])
def test_where_no_whole_answer_comes_nothing_is_read(kind: FaultKind) -> None:
    assert read_all(planned(kind)) is None


@pytest.mark.parametrize("kind", ["slow", "slow_head", "slow_body", "cookie", "huge_head", "continue_flood", "surplus"])
def test_a_patient_caller_reads_the_answer_through_what_is_only_odd(kind: FaultKind) -> None:
    assert read_all(planned(kind)) == (200, BODY)


def test_status_pages_and_redirects_are_read_with_their_status() -> None:
    assert read_all(planned("status", status=500)) == (500, BODY)
    for kind, status in (("error_page", 503), ("redirect", 302)):
        read = read_all(planned(kind))  # type: ignore[arg-type]
        assert read is not None
        assert read[0] == status
        assert read[1].startswith(b"<!DOCTYPE html>")


def test_a_retry_after_goes_out_as_it_was_given() -> None:
    [step] = planned("error_page", status=429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT").steps

    assert isinstance(step, Send)
    assert step.data.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"\r\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n" in step.data
