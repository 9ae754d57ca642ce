"""The relay's own client against the stand-in, which shares no wire code with it: two readings of one dialect agree."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from relay.domain.codes import Code, Route, Status
from relay.sandbox.dialect import REJECTIONS
from relay.sending.ports import SendOutcome, SendRequest, SendResult
from relay.smsclone.client import SmscloneClient
from relay.smsclone.query import Queries
from relay.smsclone.transport import BilledGetTransport
from support.sandbox import running_sandbox
from support.waiting import PATIENCE_SECONDS, let_pass

PLAIN = "2348039999999"
DEADLINE_SECONDS = 60.0
DRIP_SECONDS = 0.5
LATE = frozenset({"slow", "slow_head", "slow_body"})
"""Faults that end no earlier than the deadline."""


@pytest.fixture
def sandbox() -> Iterator[running_sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
async def client(sandbox: running_sandbox) -> AsyncIterator[SmscloneClient]:
    transport = BilledGetTransport(sandbox.base_url, connect_timeout_seconds=DEADLINE_SECONDS, tls=None)
    queries = Queries(sandbox.base_url, "demo", "demo")
    yield SmscloneClient(queries, transport, most_recipients=100, monotonic=time.monotonic)
    await transport.aclose()


async def send(client: SmscloneClient, *numbers: str, route: Route = Route.DND_FALLBACK) -> SendResult:
    """One call."""
    request = SendRequest("ACME", "Owó ọjà: ₦500 & 50% #1+1", numbers or (PLAIN,), route)
    return await client.send(request, DEADLINE_SECONDS)


async def send_until_the_deadline(client: SmscloneClient, sandbox: running_sandbox, *numbers: str) -> SendResult:
    """One call whose answer does not come in time, though bytes of it may: the deadline is over once it has arrived."""
    sending = asyncio.ensure_future(send(client, *numbers))
    await sandbox.received(1)
    for _ in range(2):
        await asyncio.sleep(2 * DRIP_SECONDS)
        assert not sending.done()
        let_pass(DEADLINE_SECONDS / 2)
    return await asyncio.wait_for(sending, PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("number", "on_normal", "on_fallback"),
    [
        ("2348010000001", Code.SENT, Code.SENT),
        ("2348010000002", Code.DND_REJECTED, Code.SENT_DND),
        ("2348010000003", Code.DND_REJECTED, Code.DND_REJECTED),
        ("2348010000004", Code.REJECTED, Code.REJECTED),
        ("2348010000005", Code.MISSING_IN_ANSWER, Code.MISSING_IN_ANSWER),
        ("2348010000006", Code.UNLISTED_CODE, Code.UNLISTED_CODE),
        ("2348010000007", Code.CONFLICTING_ANSWER, Code.CONFLICTING_ANSWER),
        ("2348010000008", Code.DELIVERED, Code.DELIVERED),
        ("2348010000009", Code.SENT, Code.SENT),
        ("2348010000010", Code.SENT_DND, Code.SENT_DND),
    ],
)
async def test_each_magic_number_is_read_as_the_table_says(
    client: SmscloneClient, number: str, on_normal: Code, on_fallback: Code
) -> None:
    for route, code in ((Route.NORMAL, on_normal), (Route.DND_FALLBACK, on_fallback)):
        result = await send(client, PLAIN, number, route=route)

        assert [outcome.code for outcome in result.outcomes] == [Code.SENT, code]


@pytest.mark.parametrize("number", [f"23480100000{index}" for index in (11, 12, 14, 15, 16)])
async def test_a_call_that_fails_after_it_was_taken_is_unknown_for_all_and_was_made_once(
    client: SmscloneClient, sandbox: running_sandbox, number: str
) -> None:
    late = number.endswith("11")
    result = await (send_until_the_deadline(client, sandbox, PLAIN, number) if late else send(client, PLAIN, number))

    assert result.outcome is SendOutcome.UNKNOWN
    assert {outcome.status for outcome in result.outcomes} == {Status.UNKNOWN}
    assert sandbox.count() == {PLAIN: 1, number: 1}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "slow", "seconds": 60},
        {"kind": "slow_head", "seconds": DRIP_SECONDS},
        {"kind": "slow_body", "seconds": DRIP_SECONDS},
        {"kind": "reset_in_body"},
        {"kind": "api_page"},
        {"kind": "error_page", "status": 500},
        {"kind": "error_page", "status": 429, "retry_after": "0"},
        {"kind": "redirect"},
        {"kind": "gzip"},
        {"kind": "gzip_bomb"},
        {"kind": "huge"},
        {"kind": "continue_flood"},
        {"kind": "switching_protocols"},
        {"kind": "no_content_with_body"},
        {"kind": "garbage"},
        {"kind": "huge_head"},
    ],
    ids=lambda fault: str(fault["kind"]),
)
async def test_no_fault_makes_the_client_send_twice_or_claim_to_know(
    client: SmscloneClient, sandbox: running_sandbox, fault: dict[str, object]
) -> None:
    sandbox.set(fault=fault)

    result = await (send_until_the_deadline(client, sandbox) if fault["kind"] in LATE else send(client))

    assert result.outcome is SendOutcome.UNKNOWN
    assert sandbox.count() == {PLAIN: 1}


@pytest.mark.parametrize(
    "change",
    [
        {"fields": 9},
        {"format": "json"},
        {"echo": "080"},
        {"echo": "+234"},
        {"order": "reversed"},
        {"order": "shuffled"},
        {"duplicates": "repeated"},
        {"text": "bom"},
        {"text": "padded"},
        {"text": "new_lines"},
        {"text": "lower_case"},
        {"text": "trailing_comma"},
        {"text": "bad_utf8"},
        {"text": "nul"},
        {"fault": {"kind": "status", "status": 500}},
        {"fault": "cookie"},
    ],
    ids=str,
)
async def test_every_doubtful_form_of_an_answer_is_read(
    client: SmscloneClient, sandbox: running_sandbox, change: dict[str, object]
) -> None:
    sandbox.set(**change)

    result = await send(client, PLAIN, "2348010000003")

    assert [outcome.code for outcome in result.outcomes] == [Code.SENT, Code.DND_REJECTED]


@pytest.mark.parametrize("code", [*REJECTIONS, "TG21"])
@pytest.mark.parametrize("form", ["described", "bare", "colon", "arrow"])
@pytest.mark.parametrize("status", [200, 402])
async def test_every_form_of_a_rejection_is_read_and_nothing_was_sent(
    client: SmscloneClient, sandbox: running_sandbox, code: str, form: str, status: int
) -> None:
    sandbox.set(tg=code, rejection=form, rejection_status=status)

    result = await send(client)

    assert result.rejection is not None
    assert result.upstream_code == code
    assert {outcome.status for outcome in result.outcomes} == {Status.NOT_SENT}
    assert sandbox.count() == {}


async def test_what_was_sent_arrives_as_it_was_meant(client: SmscloneClient, sandbox: running_sandbox) -> None:
    await send(client, PLAIN, "2348010000001")
    balance = await client.balance(DEADLINE_SECONDS)

    [entry] = sandbox.sends()
    assert (entry.sender, entry.message) == ("ACME", "Owó ọjà: ₦500 & 50% #1+1")
    assert entry.recipients == (PLAIN, "2348010000001")
    assert entry.parameters == ("username", "password", "sender", "recipient", "message")
    assert balance.units == "9998.00"
