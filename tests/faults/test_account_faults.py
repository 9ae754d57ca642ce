"""Two accounts with a ledger each: what the first one does decides whether the second one is asked, and nobody gets a
message twice. Over real sockets: a caller who waits, one who does not, a batch, and 250 recipients in three calls."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from relay.domain.codes import AccountReason, Code, ProblemCode
from relay.domain.errors import Refusal
from relay.domain.notification import Outcome, RecipientResult, view_recipients
from relay.domain.pausing import Scope
from relay.sending.ports import SendOutcome, SendResult
from support.core import Core, running_core, submission
from support.upstream import (
    Answer,
    Request,
    Upstream,
    http_answer,
    nobody_listening,
    processed,
    running_upstream,
    send_all,
)
from support.waiting import let_pass, until

ONE = ("2348031234567",)
THREE = ("2348031234567", "2348031234568", "2348031234569")
MANY = tuple(f"23480312{number:05}" for number in range(250))

Send = Callable[[Core], "object"]


@pytest.fixture
def first() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture
def second() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


def saying(body: str, status: str = "200 OK") -> Answer:
    """An upstream that answers every send like this; its balance is good."""

    def answer(request: Request) -> bytes:
        return http_answer("256.21") if request.path.endswith("/balance") else http_answer(body, status)

    return answer


def marking(outcome: str) -> Answer:
    """An upstream that says the same of every number."""

    def answer(request: Request) -> bytes:
        return http_answer(processed(dict.fromkeys(request.numbers, outcome)))

    return answer


def too_many(request: Request) -> bytes:
    """An upstream that takes fifty recipients at a time."""
    return send_all(request) if len(request.numbers) <= 50 else http_answer("TG20-RECIPIENTS ABOVE THE MAXIMUM TARGET")


def cut(request: Request) -> bytes:
    """Half an answer."""
    return http_answer(processed(dict.fromkeys(request.numbers, "sent")))[:-20]


class Fault(NamedTuple):
    """What the first account does: how its address, answer or state are changed, and what is told of it."""

    told: str
    """Why it was not used; for a fault that goes nowhere else, the code of each recipient."""
    url: Callable[[Upstream, str], str] = lambda first, nowhere: first.base_url
    """Where it is: at the first upstream, or where nobody listens."""
    answer: Answer = send_all
    reset: bool = False
    hang: bool = False
    senders: str = ""
    prepare: Callable[[Core], Awaitable[None]] | None = None


async def open_breaker(core: Core) -> None:
    """As it is after five calls without an answer."""
    failed = SendResult(
        outcome=SendOutcome.UNKNOWN, outcomes=(Outcome(code=Code.NO_ANSWER),), cause="timeout", seconds=20.0
    )
    for _ in range(5):
        core.service._channels.accounts["smsclone"].breaker.record_send(failed, core.relay._clock.monotonic())


async def pause_first(core: Core) -> None:
    """As an operator does who stops one account."""
    await core.operator.pause(Scope(account="smsclone"), core.caller(), reason="a drill", seconds=None)


GOES_ON = {
    "refused": Fault("unreachable", url=lambda first, nowhere: nowhere),
    "no-name": Fault("unreachable", url=lambda first, nowhere: "https://nowhere.invalid"),
    "tls": Fault("unreachable", url=lambda first, nowhere: first.base_url.replace("http:", "https:")),
    "TG11": Fault("credentials", answer=saying("TG11-INVALID AUTHENTICATION CREDENTIALS")),
    "TG12": Fault("credentials", answer=saying("TG12-EMPTY USERNAME")),
    "TG13": Fault("credentials", answer=saying("TG13-EMPTY PASSWORD")),
    "TG17": Fault("no_balance", answer=saying("TG17-NOT ENOUGH UNITS BALANCE")),
    "breaker-open": Fault("breaker_open", prepare=open_breaker),
    "paused": Fault("paused", prepare=pause_first),
    "sender-not-registered": Fault("sender_not_registered", senders='senders = ["OTHER"]'),
}
"""Certainly nothing was sent, for a reason that is the account's own: the second one is asked."""

STAYS = {
    "TG14": Fault("upstream_rejected", answer=saying("TG14-EMPTY RECIPIENTS")),
    "TG15": Fault("upstream_rejected", answer=saying("TG15-EMPTY MESSAGE")),
    "TG16": Fault("upstream_rejected", answer=saying("TG16-EMPTY SENDERID")),
    "TG18": Fault("upstream_rejected", answer=saying("TG18-BLOCKED WORDS FOUND SENDER ID")),
    "TG19": Fault("upstream_rejected", answer=saying("TG19-BLOCKED WORDS FOUND IN MESSAGE BODY")),
    "TG20": Fault("sent", answer=too_many),
    "2222": Fault("rejected", answer=marking("rejected")),
    "3333": Fault("dnd_rejected", answer=marking("dnd_rejected")),
    "reset": Fault("no_answer", answer=lambda _: None, reset=True),
    "hang": Fault("no_answer", hang=True),
    "half-an-answer": Fault("no_answer", answer=cut),
    "garbage": Fault("unreadable_answer", answer=saying("<html>It works!</html>")),
    "503": Fault("unreadable_answer", answer=saying("<h1>Service Unavailable</h1>", "503 Service Unavailable")),
    "TG17-with-records": Fault(
        "conflicting_answer", answer=saying("TG17-NOT ENOUGH UNITS:0000|2348031234567|1|SENT|MESSAGE SENT TO PROVIDER")
    ),
}
"""Something was, or may have been sent, or the message itself was refused: nobody else is asked."""


async def send_waiting(core: Core) -> list[RecipientResult]:
    try:
        answer = await core.service.send(submission(*ONE), core.caller())
    except Refusal as refusal:
        raise AssertionError(refusal.code) from None
    return view_recipients(answer.stored)


async def send_later(core: Core) -> list[RecipientResult]:
    return await _enqueue(core, [ONE])


async def send_batch(core: Core) -> list[RecipientResult]:
    return await _enqueue(core, [(number,) for number in THREE])


async def send_many(core: Core) -> list[RecipientResult]:
    return await _enqueue(core, [MANY])


async def _enqueue(core: Core, requests: Sequence[Sequence[str]]) -> list[RecipientResult]:
    answers = await core.service.enqueue([submission(*numbers) for numbers in requests], core.caller())
    stored = [await core.wait_completed(answer.stored.notification.id) for answer in answers]
    return [result for each in stored for result in view_recipients(each)]


WAYS = {
    "waiting": (send_waiting, ONE),
    "later": (send_later, ONE),
    "batch": (send_batch, THREE),
    "250": (send_many, MANY),
}


def cross(faults: Iterable[str]) -> list[tuple[str, str]]:
    """Each fault in two ways, and some in all: from the queue on the others take the same path. In the long form, each
    in all."""
    some = ("refused", "TG17", "TG20", "reset")
    every = "RELAY_TEST_WAYS" in os.environ
    return [(fault, way) for fault in faults for way in WAYS if every or way in ("waiting", "250") or fault in some]


def two_accounts(directory: Path, second: Upstream, senders: str = "") -> Path:
    """Settings with a second account."""
    config = directory / "relay.toml"
    config.write_text(
        f'[smsclone]\n{senders}\n[sending]\naccounts = ["smsclone", "backup"]\n'
        f'[[accounts]]\nname = "backup"\nbase_url = "{second.base_url}"\nusername = "demo"\npassword = "demo"\n'
    )
    return config


def use_both(core: Core) -> None:
    """Let the client take either account."""
    core.client = replace(core.client, accounts=("smsclone", "backup"))
    core.relay._clients["billing"] = core.client


async def run(
    fault: Fault, way: str, first: Upstream, second: Upstream, directory: Path
) -> tuple[list[RecipientResult], Sequence[str]]:
    """Send in one way past a first account with this fault."""
    first.answer, first.reset = fault.answer, fault.reset
    if fault.hang:
        first.gate.clear()
    config = two_accounts(directory, second, fault.senders)
    with nobody_listening() as nowhere:
        settings = {"RELAY_CONFIG": str(config), "RELAY_SMSCLONE_BASE_URL": fault.url(first, nowhere)}
        return await _send_past(fault, way, first, directory, settings)


async def _send_past(
    fault: Fault, way: str, first: Upstream, directory: Path, settings: dict[str, str]
) -> tuple[list[RecipientResult], Sequence[str]]:
    async with running_core(directory, first, **settings) as core:
        use_both(core)
        if fault.prepare is not None:
            await fault.prepare(core)
        send, numbers = WAYS[way]
        sending = asyncio.create_task(send(core))
        if fault.hang:
            await until(lambda: sum(len(request.numbers) for request in first.sends) == len(numbers))
            let_pass(core.relay.settings.smsclone.timeout_seconds)
        return await sending, numbers


@pytest.mark.parametrize(("name", "way"), cross(GOES_ON))
async def test_what_the_first_account_certainly_did_not_send_the_second_one_sends_once(
    name: str, way: str, first: Upstream, second: Upstream, tmp_path: Path
) -> None:
    fault = GOES_ON[name]
    results, numbers = await run(fault, way, first, second, tmp_path)

    assert second.count() == dict.fromkeys(numbers, 1)
    assert {result.code.value for result in results} == {"sent"}
    assert {result.account for result in results} == {"backup"}
    reasons = {result.account_reason for result in results}
    assert AccountReason(fault.told) in reasons
    assert reasons <= {AccountReason(fault.told), AccountReason.BREAKER_OPEN}
    assert all(count <= 1 for count in first.count().values())
    dialled = {number for request in first.sends for number in request.numbers}
    unreached = fault.told == "unreachable"
    assert all(result.attempts == 1 + (result.recipient in dialled) for result in results) or unreached


@pytest.mark.parametrize(("name", "way"), cross(STAYS))
async def test_what_may_have_been_sent_or_lies_with_the_message_never_goes_to_the_second_account(
    name: str, way: str, first: Upstream, second: Upstream, tmp_path: Path
) -> None:
    fault = STAYS[name]
    if name == "TG17-with-records" and way != "waiting":
        pytest.skip("names one number")
    results, numbers = await run(fault, way, first, second, tmp_path)

    assert second.sends == []
    assert {result.code.value for result in results} == {fault.told}
    assert {(result.account, result.account_reason) for result in results} == {("smsclone", None)}
    accepted = [request for request in first.sends if name != "TG20" or len(request.numbers) <= 50]
    assert sorted(number for request in accepted for number in request.numbers) == sorted(numbers)


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("TG11", "TG17", ProblemCode.UPSTREAM_CREDENTIALS),
        ("TG17", "TG13", ProblemCode.UPSTREAM_NO_BALANCE),
        ("refused", "TG11", ProblemCode.UPSTREAM_UNREACHABLE),
        ("TG11", "TG19", ProblemCode.BLOCKED_WORDS),
    ],
)
async def test_where_no_account_can_take_it_the_first_ones_reason_is_told_but_for_what_lies_with_the_message(
    before: str, after: str, code: ProblemCode, first: Upstream, second: Upstream, tmp_path: Path
) -> None:
    from relay.http.answers import find_shared_cause

    second.answer = {**GOES_ON, **STAYS}[after].answer
    results, _ = await run(GOES_ON[before], "waiting", first, second, tmp_path)

    cause = find_shared_cause(results)
    assert cause is not None
    assert cause.code is code
    assert [(result.attempts, result.retry_safe) for result in results] == [(2, True)]
    assert len(second.sends) == 1


async def test_every_balance_is_read_and_an_account_that_answers_again_is_used_again(
    first: Upstream, second: Upstream, tmp_path: Path
) -> None:
    settings = {"RELAY_CONFIG": str(two_accounts(tmp_path, second)), "RELAY_BREAKER_OPEN_SECONDS": "1"}
    async with running_core(tmp_path, first, **settings) as core:
        use_both(core)
        for upstream in (first, second):
            assert await asyncio.to_thread(upstream.arrived.acquire, timeout=60)  # the reading at the start

        first.gate.clear()  # the probe is not answered before somebody came past
        await open_breaker(core)
        [past] = await send_waiting(core)
        first.gate.set()
        assert await asyncio.to_thread(first.arrived.acquire, timeout=60)  # the probe
        await until(core.service._channels.accounts["smsclone"].breaker.may_call)
        [back] = await send_waiting(core)

    assert (past.account, past.account_reason) == ("backup", AccountReason.BREAKER_OPEN)
    assert (back.account, back.account_reason) == ("smsclone", None)
