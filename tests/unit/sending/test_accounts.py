"""Which account takes a call, and what becomes of one that the next account cannot bear."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from relay.domain.codes import AccountReason, Code, Status
from relay.domain.notification import view_recipients
from relay.sending.breaker import Breaker
from relay.sending.bulkhead import Bulkhead
from relay.sending.channels import Channel
from relay.smsclone.client import SmscloneClient
from relay.smsclone.exchange import InProcessTransport
from relay.smsclone.query import Queries
from support.journal import codes
from support.sending import Scene, running_scene, submission

ONE, TWO = "2348031234567", "2348031234568"
LONG = "x" * 900


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Two accounts of one upstream: the address of the second one leaves room for short texts alone, to one
    recipient a call."""
    async with running_scene(tmp_path) as scene:
        client = SmscloneClient(
            Queries(f"https://{'a' * 5_000}.invalid", "demo", "demo"),
            InProcessTransport(scene.upstream.answer_in_process),
            most_recipients=1,
            monotonic=scene.clock.monotonic,
        )
        backup = Channel(client, Breaker(3, 10.0, lambda *_: None), Bulkhead(4), account="backup")
        known = scene.lifecycle._channels
        both = {**known.accounts, "backup": backup}
        scene.lifecycle._channels = replace(known, accounts=both, order=("smsclone", "backup"))
        scene.client = replace(scene.client, accounts=("smsclone", "backup"))
        yield scene


async def test_a_text_that_the_next_account_bears_goes_there(scene: Scene) -> None:
    scene.upstream.switches.set({"tg": "TG11", "calls": 1})
    answer = await scene.lifecycle.send(submission(ONE), scene.caller)

    [result] = view_recipients(answer.stored)
    assert (result.account, result.account_reason) == ("backup", AccountReason.CREDENTIALS)


@pytest.mark.parametrize("numbers", [(ONE,), (ONE, TWO)])
async def test_a_text_that_the_next_account_does_not_bear_is_not_sent_there(
    scene: Scene, numbers: tuple[str, ...]
) -> None:
    scene.upstream.switches.set({"tg": "TG11", "calls": 1})
    answer = await scene.lifecycle.send(submission(*numbers, message=LONG), scene.caller)
    behind_the_breaker = await scene.lifecycle.send(submission(*numbers, message=LONG), scene.caller)

    assert codes(answer.stored) == [Code.UPSTREAM_REJECTED] * len(numbers)
    assert codes(behind_the_breaker.stored) == [Code.UPSTREAM_UNREACHABLE] * len(numbers)
    assert {result.status for result in view_recipients(answer.stored)} == {Status.NOT_SENT}
    assert len(scene.upstream.ledger.since()) == 1


async def test_a_text_for_later_waits_for_the_account_that_bears_it(scene: Scene) -> None:
    stored = await scene.enqueue(ONE, message=LONG)
    scene.upstream.switches.set({"tg": "TG17", "calls": 1})
    assert await scene.deliver_due() == 1
    assert codes(await scene.find(stored.notification.id)) == [Code.QUEUED]
    assert await scene.deliver_due(30) == 1
    assert len(scene.upstream.ledger.since()) == 1

    scene.breaker.record_balance(units_left=True)
    assert await scene.deliver_due(60) == 1
    [result] = view_recipients(await scene.find(stored.notification.id))
    assert (result.code, result.account) == (Code.SENT, "smsclone")


async def test_a_text_that_no_account_of_today_bears_ends_as_not_sent(scene: Scene) -> None:
    stored = await scene.enqueue(ONE, message=LONG)
    scene.lifecycle._channels = replace(scene.lifecycle._channels, order=("backup",))
    assert await scene.deliver_due() == 1

    assert codes(await scene.find(stored.notification.id)) == [Code.UPSTREAM_UNREACHABLE]
    assert scene.sends() == {}


async def test_a_call_for_more_than_the_account_of_today_bears_goes_out_in_smaller_ones(scene: Scene) -> None:
    stored = await scene.enqueue(ONE, TWO)
    scene.lifecycle._channels = replace(scene.lifecycle._channels, order=("backup",))
    assert await scene.deliver_due() == 1

    assert codes(await scene.find(stored.notification.id)) == [Code.SENT] * 2
    assert len(scene.upstream.ledger.since()) == 2
