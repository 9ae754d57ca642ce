"""The claim, on a real journal: what counts as the same request, what is refused, and what nobody knows for a while."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from relay.domain.codes import Code, MessageType, OnNonGsm, ProblemCode, RequestedRoute
from relay.domain.errors import IdempotencyConflict, LimitReached, Refusal
from relay.domain.notification import CallState, Mode
from relay.domain.numbers import parse_recipients
from relay.domain.usage import Prices
from relay.sending.events import KeyChecked, NotificationClaimed
from relay.sending.policy import SendLimit
from relay.sending.ports import Deduplication, JournalUnavailable, Lease
from relay.sending.requests import Answer
from support.journal import DAY_MS, NOON, codes
from support.sending import Scene, running_scene, submission

ONE = "2348031234567"
AWAY = JournalUnavailable("unreachable")
DOUBT = JournalUnavailable("unreachable", ambiguous=True)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running_scene(tmp_path) as scene:
        scene.client = replace(
            scene.client,
            senders=frozenset({"ACME", "Orders"}),
            routes=frozenset(RequestedRoute),
            callback_hosts=frozenset({"orders.example"}),
        )
        yield scene


async def ask(scene: Scene, **fields: Any) -> Answer | Refusal:
    """Accept one request for later; a keyed one unless a test says otherwise."""
    [answer] = await scene.lifecycle.enqueue([submission(**({"idempotency_key": "k"} | fields))], scene.caller)
    return answer


ANOTHER = {
    "recipients": ("2348031234568",),
    "message": "Your order is late.",
    "sender": "Orders",
    "message_type": MessageType.OTP,
    "route": RequestedRoute.NORMAL,
    "reference": "order-1204",
    "on_non_gsm": OnNonGsm.FOLD,
    "max_segments": 2,
    "strict": True,
    "expires_at": 1_796_122_800_000 + 60_000,
    "callback_url": "https://orders.example/sms",
}


@pytest.mark.parametrize("field", ANOTHER)
async def test_a_key_is_for_one_request_and_each_of_its_fields_counts(scene: Scene, field: str) -> None:
    first = await ask(scene)
    other = await ask(scene, **{field: ANOTHER[field]})

    assert isinstance(first, Answer)
    assert isinstance(other, IdempotencyConflict)
    assert other.code is ProblemCode.IDEMPOTENCY_MISMATCH


async def test_the_same_request_gets_what_is_stored_also_when_it_would_be_refused_now(scene: Scene) -> None:
    first = await ask(scene)
    scene.runtime.switches.draining = True
    again = await ask(scene)
    new = await ask(scene, idempotency_key="other")

    assert isinstance(first, Answer)
    assert isinstance(again, Answer)
    assert (again.replayed, again.stored.notification.id) == (True, first.stored.notification.id)
    assert isinstance(new, Refusal)
    assert new.code is ProblemCode.DRAINING
    assert [event.result for event in scene.heard.of(KeyChecked)] == ["new", "replayed"]
    assert len(scene.heard.of(NotificationClaimed)) == 1


async def test_a_waiting_callers_request_that_still_runs_is_a_conflict_that_passes(scene: Scene) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hang(real: Any, *arguments: Any, **named: Any) -> Any:
        reached.set()
        await go_on.wait()
        return await real(*arguments, **named)

    scene.journal.hooks["record"] = hang
    keyed = submission(ONE, idempotency_key="k")
    first = asyncio.ensure_future(scene.lifecycle.send(keyed, scene.caller))
    await reached.wait()
    with pytest.raises(IdempotencyConflict) as conflict:
        await scene.lifecycle.send(keyed, scene.caller)
    go_on.set()

    assert conflict.value.code is ProblemCode.IDEMPOTENCY_IN_PROGRESS
    assert codes((await first).stored) == [Code.SENT]
    assert scene.sends() == {ONE: 1}
    assert scene.bulkhead.in_use == 0


async def test_a_group_that_was_accepted_gives_its_notification_again(scene: Scene) -> None:
    group = Deduplication(b"oncall", 600_000)
    first = await ask(scene, idempotency_key=None, deduplication=group)
    again = await ask(scene, idempotency_key=None, deduplication=group)

    assert isinstance(first, Answer)
    assert isinstance(again, Answer)
    assert (again.duplicate, again.stored.notification.id) == (True, first.stored.notification.id)


async def test_a_day_that_is_used_up_says_what_is_left_and_when_the_next_begins(scene: Scene) -> None:
    scene.client = replace(scene.client, recipients_per_day=3)
    numbers = tuple(f"234803123456{index}" for index in range(2))
    assert isinstance(await ask(scene, recipients=numbers), Answer)
    refusal = await ask(scene, recipients=numbers, idempotency_key="other")

    assert isinstance(refusal, LimitReached)
    assert (refusal.code, refusal.limit, refusal.remaining) == (ProblemCode.QUOTA_EXCEEDED, 3, 1)
    assert refusal.retry_after_seconds == 12 * 3600  # it is noon


async def test_a_month_that_is_used_up_says_what_is_left_and_when_the_next_begins(tmp_path: Path) -> None:
    prices = {"smsclone": Prices(Decimal("1.5"), Decimal("2.5"))}
    async with running_scene(tmp_path, prices=prices) as scene:
        scene.client = replace(scene.client, routes=frozenset(RequestedRoute), units_per_month=Decimal(9))
        numbers = tuple(f"234803123456{index}" for index in range(3))
        normal = {"recipients": numbers, "route": RequestedRoute.NORMAL}
        assert isinstance(await ask(scene, **normal), Answer), "4.5 units"
        refusal = await ask(scene, recipients=numbers, idempotency_key="other")
        assert isinstance(await ask(scene, **normal, idempotency_key="fits"), Answer)
        later = await ask(scene, **normal, idempotency_key="later", send_at=NOON + 31 * DAY_MS)

    assert isinstance(refusal, LimitReached)
    assert (refusal.code, refusal.policy) == (ProblemCode.BUDGET_EXCEEDED, "units-per-month")
    assert (refusal.limit, refusal.remaining, refusal.window_seconds) == (9, 4, 31 * 86_400)
    assert "limited to 9; left: 4.5; this needs up to 7.5 (estimates)" in refusal.detail
    assert refusal.retry_after_seconds == 30.5 * 86_400  # it is noon of the month's first day
    assert isinstance(later, Answer), "it is January's"


async def test_a_sandbox_clients_sends_are_of_no_budget(scene: Scene) -> None:
    scene.client = replace(scene.client, units_per_month=Decimal(0), sandbox=True)

    assert isinstance(await ask(scene), Answer)


async def test_a_number_that_had_its_messages_is_refused_until_the_window_is_over(tmp_path: Path) -> None:
    limits = {MessageType.OTP: SendLimit(1, 600)}
    async with running_scene(tmp_path, send_limits=limits) as scene:
        otp = {"message_type": MessageType.OTP, "idempotency_key": None}
        assert isinstance(await ask(scene, **otp), Answer)
        scene.clock.advance(100)
        refusal = await ask(scene, **otp)
        other_type = await ask(scene, idempotency_key=None, message_type=MessageType.ALERT)
        scene.clock.advance(500)
        later = await ask(scene, **otp)

        assert isinstance(refusal, LimitReached)
        assert (refusal.code, refusal.retry_after_seconds) == (ProblemCode.RECIPIENT_CAPPED, 500)
        assert isinstance(other_type, Answer)
        assert isinstance(later, Answer)


async def test_what_is_queued_expires_at_the_latest_after_the_life_of_the_queue(scene: Scene) -> None:
    plain = await ask(scene)
    own = await ask(scene, idempotency_key=None, expires_at=scene.clock.now_ms() + 5_000)

    assert isinstance(plain, Answer)
    assert isinstance(own, Answer)
    assert plain.stored.notification.expires_at == scene.clock.now_ms() + scene.runtime.policy.queue_lifetime_ms
    assert own.stored.notification.expires_at == scene.clock.now_ms() + 5_000


async def test_a_journal_that_is_away_refuses_every_request_of_a_batch(scene: Scene) -> None:
    scene.journal.fail_once("claim", AWAY)
    answers = await scene.lifecycle.enqueue([submission(ONE), submission(ONE)], scene.caller)

    assert [type(answer) for answer in answers] == [JournalUnavailable] * 2
    assert all(isinstance(answer, Refusal) and answer.code is ProblemCode.JOURNAL_UNAVAILABLE for answer in answers)


def lose_answer(scene: Scene, *, committed: bool) -> None:
    """Let the next claim's answer be lost."""

    async def hook(real: Any, claims: Any) -> Any:
        del scene.journal.hooks["claim"]
        if committed:
            await real(claims)
        raise DOUBT

    scene.journal.hooks["claim"] = hook


@pytest.mark.parametrize("committed", [True, False])
async def test_a_waiting_callers_claim_in_doubt_is_asked_for_and_never_guessed(scene: Scene, committed: bool) -> None:
    lose_answer(scene, committed=committed)
    asked = scene.lifecycle.send(submission(ONE), scene.caller)
    if committed:
        assert codes((await asked).stored) == [Code.SENT]
    else:
        with pytest.raises(JournalUnavailable):
            await asked

    assert scene.sends() == ({ONE: 1} if committed else {})
    assert scene.bulkhead.in_use == 0


async def test_a_claim_for_later_in_doubt_waits_in_the_queue_as_if_nothing_had_been(scene: Scene) -> None:
    lose_answer(scene, committed=True)
    scene.journal.fail_once("take_back", AWAY)
    answer = await ask(scene)

    assert isinstance(answer, Answer)
    stored = await scene.find(answer.stored.notification.id)
    assert (stored.owned, [call.state for call in stored.calls]) == (False, [CallState.CLAIMED])
    assert await scene.deliver_due() == 1
    assert scene.sends() == {ONE: 1}


async def test_a_claim_in_doubt_that_somebody_else_took_is_theirs(scene: Scene) -> None:
    lose_answer(scene, committed=True)

    async def be_late(real: Any, ids: Any, undialled: Any = ()) -> list[Lease]:
        del scene.journal.hooks["take_back"]
        await scene.deliver_due()
        taken: list[Lease] = await real(ids, undialled)
        return taken

    scene.journal.hooks["take_back"] = be_late
    answer = await ask(scene)

    assert isinstance(answer, Answer)
    assert codes(await scene.find(answer.stored.notification.id)) == [Code.SENT]
    assert scene.sends() == {ONE: 1}


@pytest.mark.parametrize("committed", [True, False])
async def test_in_doubt_for_too_long_a_waiting_caller_is_refused_and_nothing_is_sent(
    scene: Scene, committed: bool
) -> None:
    lose_answer(scene, committed=committed)

    async def be_away(real: Any, *_: Any) -> Any:
        scene.clock.advance(6)
        raise AWAY

    scene.journal.hooks["take_back"] = be_away
    with pytest.raises(JournalUnavailable):
        await scene.lifecycle.send(submission(ONE, reference="doubt"), scene.caller)
    scene.journal.hooks.clear()
    await scene.runtime.tasks.drain(10.0)

    assert scene.sends() == {}
    assert scene.heard.of(NotificationClaimed) == []


@pytest.mark.parametrize("committed", [True, False])
async def test_in_doubt_nothing_is_promised_for_later_until_the_journal_is_back(
    scene: Scene, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answer(scene, committed=committed)
    looks = 0
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)

    async def be_away_for_long(real: Any, *arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        scene.clock.advance(6)
        if looks < 3:
            raise AWAY
        return await real(*arguments)

    scene.journal.hooks["take_back"] = be_away_for_long
    answer = await ask(scene)

    assert looks == 3
    assert [wait for wait in waits if wait] == [0.25, 0.25, 2.0]  # less often after ten seconds
    assert isinstance(answer, Answer if committed else JournalUnavailable)
    assert await scene.deliver_due() == (1 if committed else 0)
    assert scene.sends() == ({ONE: 1} if committed else {})


async def test_a_claim_for_later_whose_caller_is_gone_is_waited_for_when_the_process_ends(scene: Scene) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    done: list[Any] = []

    async def be_slow(real: Any, claims: Any) -> Any:
        begun.set()
        await go_on.wait()
        done.extend(await real(claims))
        return done

    scene.journal.hooks["claim"] = be_slow
    asking = asyncio.ensure_future(ask(scene))
    await begun.wait()
    asking.cancel()
    draining = asyncio.ensure_future(scene.runtime.tasks.drain(10.0))
    await asyncio.sleep(0)
    go_on.set()

    assert await draining == (1, 0)
    assert len(done) == 1


async def test_without_a_key_there_is_nothing_to_look_up_for_who_is_refused(scene: Scene) -> None:
    scene.runtime.switches.draining = True
    scene.journal.fail_once("find_by_key", AssertionError("nothing to look up"))
    answer = await ask(scene, idempotency_key=None)

    assert isinstance(answer, Refusal)
    assert answer.code is ProblemCode.DRAINING


async def test_a_request_that_may_take_no_route_never_gets_as_far_as_a_claim(scene: Scene) -> None:
    prepared = scene.lifecycle._prepare(submission(ONE), scene.caller, asynchronous=False)

    with pytest.raises(ValueError, match="refused before the claim"):
        await scene.lifecycle._acceptance.claim([replace(prepared, route=None)], scene.caller, Mode.SYNCHRONOUS)


async def test_a_large_batch_is_claimed_some_at_a_time_so_that_no_send_waits_for_all(scene: Scene) -> None:
    sizes: list[int] = []

    async def hook(real: Any, claims: Any) -> Any:
        sizes.append(len(claims))
        return await real(claims)

    scene.journal.hooks["claim"] = hook
    answers = await scene.lifecycle.enqueue([submission(ONE)] * 60, scene.caller)

    assert sizes == [25, 25, 10]
    assert all(isinstance(answer, Answer) for answer in answers)


async def test_where_the_journal_goes_in_the_middle_of_a_batch_the_items_before_are_told_as_accepted(
    scene: Scene,
) -> None:
    claimed = 0

    async def hook(real: Any, claims: Any) -> Any:
        nonlocal claimed
        if claimed:
            raise AWAY
        claimed += len(claims)
        return await real(claims)

    scene.journal.hooks["claim"] = hook
    answers = await scene.lifecycle.enqueue([submission(ONE)] * 30, scene.caller)

    accepted = [answer for answer in answers if isinstance(answer, Answer)]
    assert len(accepted) == claimed == 25
    assert [await scene.find(answer.stored.notification.id) for answer in accepted]
    assert {type(answer) for answer in answers[25:]} == {JournalUnavailable}


async def test_very_many_recipients_are_judged_in_slices_as_they_would_be_at_once(scene: Scene) -> None:
    numbers = [f"0803{i:07}" for i in range(450)]
    numbers[300:303] = ["0803123", numbers[7], "+2348031234568"]

    answer = await ask(scene, recipients=tuple(numbers))

    assert isinstance(answer, Answer)
    assert answer.stored.notification.entries == parse_recipients(numbers)
