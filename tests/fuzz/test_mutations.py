"""Bytes that nobody meant, by the hundred thousand: made from real ones by plain mutation, the same in every run.

    RELAY_TEST_CASES=10000000 python -m pytest tests/fuzz/test_mutations.py      (make fuzz)

A case that fails is written down in ``tests/fuzz/regressions``, where every later run begins.
"""

import hashlib
import json
import os
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from relay.domain.codes import Status
from relay.domain.errors import Refusal
from relay.http.bodies import check_nesting
from relay.http.headers import parse_idempotency_key, parse_preferences, parse_request_id
from relay.http.schemas import NotificationRequest, decode, to_submission
from relay.smsclone.exchange import Cause
from relay.smsclone.http_answer import MAX_BODY_BYTES, AnswerReader
from relay.smsclone.record_redaction import RecordRedactor
from relay.smsclone.upstream_answers import BatchAnswer, match_outcomes, parse_answer, parse_balance

CASES = int(os.environ.get("RELAY_TEST_CASES", "400000"))
VECTORS = Path(__file__).parents[1] / "vectors"
REGRESSIONS = Path(__file__).parent / "regressions"
ADA, BOLA = "2348012345678", "2348098765432"
NOTHING = RecordRedactor(frozenset(), "")
PIECES = [
    b"TG00",
    b"TG",
    b"|",
    b",",
    b":",
    b"0000",
    b"3333",
    b"SENT",
    b"REJECTED",
    ADA.encode(),
    b'"',
    b"{",
    b"[",
    b"\\u",
]
PIECES += [
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\n",
    b" ",
    b"-",
    b"1e999",
    b"Content-Length: ",
    b"HTTP/1.1 200 OK",
]


def mutate(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One to eight changes of something real: cut, doubled, swapped, flipped, spliced."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, 8)):
        at, end = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
        match chance.randint(0, 6):
            case 0:
                del data[at:end]
            case 1:
                data[at:at] = chance.choice(PIECES)
            case 2:
                data[at:at] = data[at : min(end, at + 50)]
            case 3:
                if at < len(data):
                    data[at] ^= 1 << chance.randint(0, 7)
            case 4:
                data[at:end] = chance.choice(corpus)[:60]
            case 5:
                data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 4)))
            case _:
                del data[at:]
    return bytes(data)


def run(name: str, corpus: Sequence[bytes], check: Callable[[bytes], None], cases: int) -> None:
    """Check what failed before, then fresh cases; a failure is kept."""
    for kept in sorted(REGRESSIONS.glob(f"{name}-*")):
        check(kept.read_bytes())
    chance = random.Random(f"{name}-4711")
    for _ in range(cases):
        data = mutate(chance, corpus)
        try:
            check(data)
        except BaseException:
            (REGRESSIONS / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
            raise


def answers() -> list[bytes]:
    """The bodies of all answer vectors."""
    lines = (VECTORS / "upstream_answers.jsonl").read_text().splitlines()
    bodies = [json.loads(line)["raw"].encode("utf-8", "surrogatepass") for line in lines]
    good = f"TG00-MESSAGE PROCESSED:0000|{ADA}|99675345221778|SENT|MESSAGE SENT TO PROVIDER".encode()
    return [*bodies, good, good + f",3333|{BOLA}|1|DND_REJECTED|DND_REJECTED_NUMBER".encode(), b"256.21", b'"1,024"']


def test_no_answer_raises_and_sent_needs_a_record_of_that_number() -> None:
    def check(body: bytes) -> None:
        answer = parse_answer(body)
        parse_balance(body)
        if not isinstance(answer, BatchAnswer) or not answer.accepted:
            return
        outcomes, _ = match_outcomes(answer.records, (ADA, BOLA), NOTHING)
        assert len(outcomes) == 2
        for number, outcome in zip((ADA, BOLA), outcomes, strict=True):
            if outcome.status is Status.SENT:
                # A code and a word in accord, in a record with that number in some form.
                assert re.search(rb"(?i)TG00", body)
                assert number[3:].encode() in re.sub(rb"[^0-9]", b"", body)
                assert re.search(rb"(?i)SENT|DELIVER", body)

    run("answer", answers(), check, CASES // 2)


def test_no_bytes_break_the_reader_of_answers_and_a_status_means_a_whole_one() -> None:
    body = answers()[0]
    heads = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), b"HTTP/1.0 200 OK\r\n\r\n"]
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" + heads[0] + body
    corpus = [*(head + body for head in heads), chunked, interim, heads[0] + body + heads[0] + body]
    chance = random.Random("pieces-4711")

    def check(wire: bytes) -> None:
        reader = AnswerReader()
        at = 0
        while at < len(wire):
            size = chance.randint(1, 200)
            reader.feed(wire[at : at + size])
            at += size
        reader.feed_end()
        assert reader.end is not None
        assert reader.end.wrote
        assert (reader.end.status is not None) == (reader.end.cause is Cause.ANSWERED)
        assert len(reader.end.body) <= MAX_BODY_BYTES
        assert not reader.reusable

    run("wire", corpus, check, CASES // 4)


def test_no_request_raises_anything_but_a_refusal() -> None:
    request = {
        "sender": "ACME",
        "recipients": ["08031234567", "+234 803 123 4568"],
        "message": "Your order 1204 is on its way. \\u20a6 \U0001f600",
        "message_type": "otp",
        "route": "auto",
        "reference": "order-1204",
        "on_non_gsm": "fold",
        "max_segments": 4,
        "strict": False,
        "expires_at": "2026-12-01T10:00:00Z",
        "callback_url": "https://orders.internal/sms-status",
    }
    corpus = [json.dumps(request).encode(), json.dumps(request, ensure_ascii=False).encode(), b'{"recipients": "08"}']

    def check(body: bytes) -> None:
        try:
            check_nesting(body)
            to_submission(decode(body, NotificationRequest), None)
        except Refusal:
            return

    run("request", corpus, check, CASES // 4)


@pytest.mark.parametrize(
    ("name", "parse"),
    [
        ("key", lambda value: parse_idempotency_key([value])),
        ("prefer", lambda value: parse_preferences([value])),
        ("request_id", parse_request_id),
    ],
)
def test_no_header_raises_anything_but_a_refusal(name: str, parse: Callable[[bytes], object]) -> None:
    corpus = [b'"order-1204"', b"respond-async, wait=10", b"0192f3c4-1c7e-7d0a-9b6e-6a1f6f1f0a11", b"wait = 5 ; a=b"]

    def check(value: bytes) -> None:
        try:
            parse(value)
        except Refusal:
            return

    run(name, corpus, check, CASES // 10)
