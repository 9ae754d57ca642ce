"""What is certain in the upstream's own list of messages: one row, one open recipient, and nothing that could be meant
in its place."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from relay.domain.codes import Code, MessageType, RequestedRoute, Source
from relay.domain.errors import ValidationFailed
from relay.sending.follow_up import LONGEST_BACKOFF_MS
from relay.sending.list_matching import ListMatching, Matched
from relay.sending.operations import Operator
from relay.sending.ports import Journal
from relay.sending.requests import Caller, Sending
from support.journal import codes
from support.sending import Scene, running_scene

ONE = "2348031234567"


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running_scene(tmp_path, second_attempt=frozenset({MessageType.TRANSACTIONAL})) as scene:
        yield scene


def operator(scene: Scene) -> Operator:
    return Operator(
        cast("Journal", scene.journal),
        scene.clock,
        scene.heard,
        cast("Sending", scene.lifecycle),
        hash_message=str.encode,
        look_at_pause=_nothing,
        clients=lambda: {"billing": scene.client},
        accounts=("smsclone",),
        allow_foreign=False,
    )


async def _nothing() -> None:
    pass


async def lose(scene: Scene, *numbers: str, **fields: Any) -> str:
    """A notification whose call got no answer."""
    stored = await scene.enqueue(*numbers, **fields)
    scene.upstream.switches.set({"fault": "hang"})
    assert await scene.deliver_due()
    scene.upstream.switches.set({"fault": None})
    return stored.notification.id


async def match(scene: Scene, *rows: str, account: str = "smsclone", settle: bool = False) -> Matched:
    """Compare with a list whose rows are ``number,seconds from now,status``."""
    now = datetime.fromtimestamp(scene.clock.now_ms() / 1000, UTC)
    lines = ["Mobile,Date,Status"]
    for row in rows:
        number, seconds, status = row.split(",")
        lines.append(f"{number},{(now + timedelta(seconds=float(seconds))).isoformat()},{status}")
    matching = ListMatching(cast("Journal", scene.journal), operator(scene), scene.clock)
    caller = Caller(client=scene.client, source=Source.OPERATOR, request_id="r")
    return await matching.match(
        "\n".join(lines), account, 300_000, caller, reason="their list" if settle else None, pause=_nothing
    )


async def test_one_row_for_one_open_recipient_settles_it(scene: Scene) -> None:
    notification_id = await lose(scene, ONE)

    matched = await match(scene, f"{ONE},-20,DELIVERED", settle=True)

    assert [(found.doubt, found.settled) for found in matched.matches] == [(None, True)]
    assert codes(await scene.find(notification_id)) == [Code.SENT]


@pytest.mark.parametrize("status", ["PENDING", "FAILED", "", "EXPIRED"])
async def test_words_that_do_not_say_what_became_of_it_settle_nothing(scene: Scene, status: str) -> None:
    notification_id = await lose(scene, ONE)

    matched = await match(scene, f"{ONE},-20,{status}", settle=True)

    assert [(found.row.sent, found.settled) for found in matched.matches] == [(None, False)]
    assert codes(await scene.find(notification_id)) == [Code.NO_ANSWER]


async def test_the_list_of_another_account_says_nothing_about_a_call(scene: Scene) -> None:
    notification_id = await lose(scene, ONE)

    matched = await match(scene, f"{ONE},-20,REJECTED", account="second", settle=True)

    assert (matched.matches, matched.missing) == ((), 0)
    assert codes(await scene.find(notification_id)) == [Code.NO_ANSWER]


async def test_a_row_proves_nothing_where_the_notification_was_sent_to_the_number_twice(scene: Scene) -> None:
    scene.client = replace(scene.client, routes=frozenset(RequestedRoute))
    stored = await scene.enqueue(ONE, route=RequestedRoute.NORMAL)
    scene.upstream.switches.set({"dnd": True})
    dials = 0

    async def lose_the_second(real: Any, *arguments: Any) -> Any:
        nonlocal dials
        dials += 1
        if dials > 1:
            scene.upstream.switches.set({"fault": "hang"})
        return await real(*arguments)

    scene.journal.hooks["start_dialling"] = lose_the_second
    while await scene.deliver_due(LONGEST_BACKOFF_MS / 1000):
        pass
    notification_id = stored.notification.id
    assert codes(await scene.find(notification_id)) == [Code.NO_ANSWER]

    matched = await match(scene, f"{ONE},-20,REJECTED", settle=True)

    assert ["more than once" in (found.doubt or "") for found in matched.matches] == [True]
    assert codes(await scene.find(notification_id)) == [Code.NO_ANSWER]


async def test_nothing_is_certain_while_numbers_cannot_all_be_found(scene: Scene) -> None:
    await lose(scene, ONE)
    scene.journal.hooks["finds_every_number"] = _no

    matched = await match(scene, f"{ONE},-20,SENT", settle=True)

    assert ["index" in (found.doubt or "") for found in matched.matches] == [True]


async def _no(*_: Any) -> bool:
    return False


async def test_headings_without_end_are_refused(scene: Scene) -> None:
    matching = ListMatching(cast("Journal", scene.journal), operator(scene), scene.clock)
    caller = Caller(client=scene.client, source=Source.OPERATOR, request_id="r")

    with pytest.raises(ValidationFailed) as refused:
        await matching.match("Mobile,Date,Status" + ",x" * 200, "smsclone", 1, caller, reason=None, pause=_nothing)
    assert [(error.field, error.code) for error in refused.value.errors] == [("csv", "out_of_range")]
