"""Sends for later: at their time, never before, whatever happens meanwhile."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from relay.domain.codes import Code, MessageType, ProblemCode
from relay.domain.errors import IdempotencyConflict, Refusal, ValidationFailed
from relay.domain.hours import DeliveryWindow
from relay.domain.notification import Stored
from relay.sending.ports import JournalUnavailable
from relay.sending.requests import Answer, AskedWindow
from relay.sending.service import Service
from relay.sending.turns import MOST_WAITING
from support.fakes import SequentialIds
from support.journal import codes
from support.sending import Scene, running_scene, submission

ONE = "2348031234567"
DAY = 86_400
HOUR_MS = 3_600_000


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running_scene(tmp_path) as scene:
        yield scene


@pytest.fixture
def service(scene: Scene) -> Service:
    channels = scene.lifecycle._channels
    return Service(scene.runtime, channels, SequentialIds(500), rules=lambda: scene.rules, clients=dict)


def later(scene: Scene, *, hours: float) -> int:
    return scene.clock.now_ms() + round(hours * HOUR_MS)


async def refusal_of(scene: Scene, **fields: Any) -> Refusal:
    [answer] = await scene.lifecycle.enqueue([submission(ONE, **fields)], scene.caller)
    assert isinstance(answer, Refusal)
    return answer


async def test_it_goes_out_at_its_time_and_not_before(scene: Scene) -> None:
    stored = await scene.enqueue(ONE, send_at=later(scene, hours=2))

    assert codes(stored) == [Code.SCHEDULED]
    assert await scene.deliver_due(2 * 3600 - 1) == 0
    assert await scene.deliver_due(1) == 1
    assert codes(await scene.find(stored.notification.id)) == [Code.SENT]
    assert scene.sends() == {ONE: 1}


async def test_a_time_that_has_passed_means_now(scene: Scene) -> None:
    stored = await scene.enqueue(ONE, send_at=later(scene, hours=-100))

    assert codes(stored) == [Code.QUEUED]
    assert stored.notification.expires_at == scene.clock.now_ms() + DAY * 1000
    assert await scene.deliver_due() == 1


async def test_its_life_in_the_queue_begins_at_its_time(scene: Scene) -> None:
    send_at = later(scene, hours=48)
    stored = await scene.enqueue(ONE, send_at=send_at)
    assert stored.notification.expires_at == send_at + DAY * 1000

    given = await scene.enqueue(ONE, send_at=send_at, expires_at=send_at + 1)
    assert given.notification.expires_at == send_at + 1


async def test_what_is_taken_over_too_early_is_put_back_until_its_time(scene: Scene) -> None:
    stored = await scene.enqueue(ONE, send_at=later(scene, hours=1))
    [lease] = await scene.journal.real.take_back([stored.notification.id])
    await scene.lifecycle.deliver_taken(lease)

    assert scene.sends() == {}
    assert codes(await scene.find(stored.notification.id)) == [Code.SCHEDULED]
    assert await scene.deliver_due(3599) == 0
    assert await scene.deliver_due(1) == 1
    assert scene.sends() == {ONE: 1}
    assert scene.bulkhead.in_use == 0


async def test_put_back_too_early_it_is_not_sent_early(scene: Scene) -> None:
    stored = await scene.enqueue(ONE, send_at=later(scene, hours=1))
    [lease] = await scene.journal.real.take_back([stored.notification.id])
    await scene.journal.real.requeue(stored.notification.id, lease.fence, scene.clock.now_ms())  # as a recovery does

    assert await scene.deliver_due() == 1  # looked at, and put back
    assert await scene.deliver_due(3599) == 0
    assert await scene.deliver_due(1) == 1
    assert scene.sends() == {ONE: 1}


async def test_a_claim_in_doubt_waits_for_its_time_all_the_same(scene: Scene) -> None:
    async def lose(real: Any, claims: Any) -> Any:
        scene.journal.hooks.clear()
        await real(claims)
        raise JournalUnavailable("unreachable", ambiguous=True)

    scene.journal.hooks["claim"] = lose
    stored = await scene.enqueue(ONE, send_at=later(scene, hours=1))

    assert codes(await scene.find(stored.notification.id)) == [Code.SCHEDULED]
    assert await scene.deliver_due(3599) == 0
    assert await scene.deliver_due(1) == 1


async def test_who_waits_cannot_ask_for_a_later_time(scene: Scene) -> None:
    with pytest.raises(ValidationFailed) as raised:
        await scene.lifecycle.send(submission(ONE, send_at=later(scene, hours=1)), scene.caller)

    assert raised.value.code is ProblemCode.USE_ASYNC


@pytest.mark.parametrize("beyond", [0, 1])
async def test_35_days_are_the_most(scene: Scene, beyond: int) -> None:
    send_at = scene.clock.now_ms() + 35 * DAY * 1000 + beyond
    if beyond:
        refusal = await refusal_of(scene, send_at=send_at)
        assert isinstance(refusal, ValidationFailed)
        assert refusal.code is ProblemCode.VALIDATION_FAILED
        assert [(error.field, error.code) for error in refusal.errors] == [("send_at", "too_far_ahead")]
    else:
        await scene.enqueue(ONE, send_at=send_at)


async def test_it_must_expire_after_its_time(scene: Scene) -> None:
    send_at = later(scene, hours=1)
    refusal = await refusal_of(scene, send_at=send_at, expires_at=send_at)

    assert isinstance(refusal, ValidationFailed)
    assert [(error.field, error.code) for error in refusal.errors] == [("expires_at", "not_after_send_at")]


async def test_the_key_is_looked_up_before_the_time_is_judged(scene: Scene) -> None:
    fields = {"send_at": later(scene, hours=35 * 24), "idempotency_key": "k"}
    first = await scene.enqueue(ONE, **fields)
    scene.clock.jump(-3600)  # a clock that was set right: the time is too far ahead now
    [again] = await scene.lifecycle.enqueue([submission(ONE, **fields)], scene.caller)

    assert isinstance(again, Answer)
    assert (again.replayed, again.stored.notification.id) == (True, first.notification.id)

    scene.clock.advance(40 * DAY)  # and now it has passed
    [late] = await scene.lifecycle.enqueue([submission(ONE, **fields)], scene.caller)
    assert isinstance(late, Answer)
    assert late.replayed


async def test_another_time_is_another_request(scene: Scene) -> None:
    await scene.enqueue(ONE, send_at=later(scene, hours=1), idempotency_key="k")
    refusal = await refusal_of(scene, send_at=later(scene, hours=2), idempotency_key="k")

    assert isinstance(refusal, IdempotencyConflict)
    assert refusal.code is ProblemCode.IDEMPOTENCY_MISMATCH


# --- moved and cancelled ---


async def test_it_can_be_moved_and_cancelled_until_it_is_dialled(scene: Scene, service: Service) -> None:
    stored = await scene.enqueue(ONE, send_at=later(scene, hours=1))
    notification_id = stored.notification.id
    moved = await service.move(notification_id, scene.client, later(scene, hours=3))

    assert moved is not None
    assert codes(moved) == [Code.SCHEDULED]
    assert await scene.deliver_due(3 * 3600 - 1) == 0
    cancelled = await service.cancel(notification_id, scene.client)
    assert cancelled is not None
    assert codes(cancelled) == [Code.CANCELLED]
    assert await service.cancel(notification_id, scene.client) == cancelled
    with pytest.raises(Refusal, match="already_ended"):
        await service.move(notification_id, scene.client, later(scene, hours=4))
    assert scene.sends() == {}


@pytest.mark.parametrize("what", ["move", "cancel"])
async def test_after_the_dial_it_is_too_late(scene: Scene, service: Service, what: str) -> None:
    stored = await scene.enqueue(ONE)
    await scene.deliver_due()

    with pytest.raises(Refusal, match="already_dialled"):
        await change(service, scene, stored, what)


@pytest.mark.parametrize("what", ["move", "cancel"])
async def test_what_has_ended_otherwise_says_so(scene: Scene, service: Service, what: str) -> None:
    stored = await scene.enqueue(ONE, send_at=later(scene, hours=1), expires_at=later(scene, hours=2))
    scene.clock.advance(2 * 3600)
    [lease] = await scene.journal.take_expired(1, scene.clock.now_ms())
    await scene.lifecycle.deliver_taken(lease)

    with pytest.raises(Refusal, match="already_ended"):
        await change(service, scene, stored, what)


@pytest.mark.parametrize("what", ["move", "cancel"])
async def test_of_many_recipients_it_is_heavy_work_and_of_few_it_is_not(
    scene: Scene, service: Service, what: str
) -> None:
    heavy_work = service._lifecycle.heavy_work
    many = await scene.enqueue(*(f"234803{i:07}" for i in range(101)), send_at=later(scene, hours=1))
    few = await scene.enqueue(ONE, send_at=later(scene, hours=1))
    async with heavy_work.enter(scene.client.name):
        heavy_work._asking[scene.client.name] += MOST_WAITING
        with pytest.raises(Refusal, match="overloaded"):
            await change(service, scene, many, what)
        await change(service, scene, few, what)
        heavy_work._asking[scene.client.name] -= MOST_WAITING
    await change(service, scene, many, what)


async def test_moving_counts_as_a_request_and_cancelling_does_not(scene: Scene, service: Service) -> None:
    stored = await scene.enqueue(ONE, send_at=later(scene, hours=1))
    scene.client = replace(scene.client, requests_per_second=1.0)
    await change(service, scene, stored, "move")
    with pytest.raises(Refusal, match="rate_limited"):
        await change(service, scene, stored, "move")
    await change(service, scene, stored, "cancel")


async def change(service: Service, scene: Scene, stored: Stored, what: str) -> None:
    if what == "move":
        await service.move(stored.notification.id, scene.client, later(scene, hours=1))
    else:
        await service.cancel(stored.notification.id, scene.client)


async def test_moved_it_is_known_by_a_key_from_the_future_until_that_is_too_old(scene: Scene, service: Service) -> None:
    scene.client = replace(scene.client, keys_carry_time=True)
    made_at = later(scene, hours=0) + 300_000
    key = {"idempotency_key": "k", "key_made_at": made_at, "send_at": later(scene, hours=1)}
    stored = await scene.enqueue(ONE, **key)
    await service.move(stored.notification.id, scene.client, later(scene, hours=0))
    await scene.deliver_due()

    scene.clock.advance(7 * DAY + 299)
    assert (await scene.enqueue(ONE, **key)).notification.id == stored.notification.id
    scene.clock.advance(2)
    assert (await refusal_of(scene, **key)).code is ProblemCode.IDEMPOTENCY_KEY_EXPIRED


async def test_it_is_not_moved_past_35_days_or_its_callers_own_expiry(scene: Scene, service: Service) -> None:
    expires_at = later(scene, hours=5)
    stored = await scene.enqueue(ONE, send_at=later(scene, hours=1), expires_at=expires_at)
    for send_at, code in ((later(scene, hours=35 * 24 + 1), "not_before_expires_at"), (expires_at, None)):
        with pytest.raises(ValidationFailed) as raised:
            await service.move(stored.notification.id, scene.client, send_at)
        assert raised.value.errors[0].code == (code or "not_before_expires_at")
    free = await scene.enqueue(ONE, send_at=later(scene, hours=1))
    with pytest.raises(ValidationFailed) as raised:
        await service.move(free.notification.id, scene.client, later(scene, hours=35 * 24 + 1))
    assert raised.value.errors[0].code == "too_far_ahead"


async def test_nobody_moves_or_cancels_what_is_not_there(scene: Scene, service: Service) -> None:
    assert await service.move("01900000-0000-7000-8000-ffffffffffff", scene.client, 0) is None
    assert await service.cancel("01900000-0000-7000-8000-ffffffffffff", scene.client) is None


async def test_moved_while_somebody_holds_it_it_is_not_dialled_before(scene: Scene, service: Service) -> None:
    stored = await scene.enqueue(ONE)
    send_at = later(scene, hours=1)

    async def move_first(real: Any, ref: Any, *more: Any) -> Any:
        scene.journal.hooks.clear()
        await service.move(stored.notification.id, scene.client, send_at)
        return await real(ref, *more)

    scene.journal.hooks["start_dialling"] = move_first
    assert await scene.deliver_due() == 1
    assert scene.sends() == {}
    assert scene.bulkhead.in_use == 0
    assert await scene.deliver_due(3599) == 0
    assert await scene.deliver_due(1) == 1
    assert scene.sends() == {ONE: 1}
    leases = await scene.journal.take(["billing"], list(MessageType), 1, scene.clock.now_ms())
    assert leases == []


# --- windows ---


async def test_what_comes_due_outside_its_window_is_held_until_it_opens(scene: Scene) -> None:
    window = AskedWindow("06:00", "11:00", "Africa/Lagos")
    stored = await scene.enqueue(ONE, send_at=later(scene, hours=1), delivery_window=window)
    assert codes(stored) == [Code.SCHEDULED]
    assert await scene.deliver_due(3600) == 1
    assert codes(await scene.find(stored.notification.id)) == [Code.HELD_WINDOW]
    assert await scene.deliver_due(17 * 3600 - 1) == 0
    assert await scene.deliver_due(1) == 1
    assert scene.sends() == {ONE: 1}


async def test_what_is_accepted_outside_its_window_says_so_and_waits(scene: Scene) -> None:
    scene.client = replace(scene.client, delivery_window=DeliveryWindow(6 * 60, 11 * 60))
    stored = await scene.enqueue(ONE)

    assert codes(stored) == [Code.HELD_WINDOW]
    assert (stored.notification.held_by, stored.notification.held_until) == (
        Code.HELD_WINDOW,
        later(scene, hours=18),
    )
    assert await scene.deliver_due(18 * 3600 - 1) == 0
    assert await scene.deliver_due(1) == 1
    assert scene.sends() == {ONE: 1}


async def test_a_waiting_callers_message_whose_window_closes_meanwhile_is_not_sent(tmp_path: Path) -> None:
    window = AskedWindow("06:00", "12:01", "Africa/Lagos")
    async with running_scene(tmp_path, recipients_per_call=1) as scene:

        async def take_long(real: Any, claims: Any) -> Any:
            scene.clock.jump(60)
            return await real(claims)

        scene.journal.hooks["claim"] = take_long
        numbers = (ONE, "2348031234568")
        answer = await scene.lifecycle.send(submission(*numbers, delivery_window=window), scene.caller)

        assert codes(answer.stored) == [Code.EXPIRED] * 2
        assert scene.sends() == {}


async def test_hours_that_no_longer_meet_hold_what_waits_until_it_expires(tmp_path: Path) -> None:
    night = {MessageType.TRANSACTIONAL: DeliveryWindow(20 * 60, 22 * 60)}
    async with running_scene(tmp_path, hours=night) as scene:
        scene.rules = replace(scene.rules, hours={})  # as they were before the relay was started again
        window = AskedWindow("06:00", "13:00", "Africa/Lagos")
        stored = await scene.enqueue(ONE, delivery_window=window)
        for _ in range(3):
            assert await scene.deliver_due(3600) <= 1
        assert codes(await scene.find(stored.notification.id)) == [Code.HELD_WINDOW]
        scene.clock.advance(DAY)
        [lease] = await scene.journal.take_expired(1, scene.clock.now_ms())
        await scene.lifecycle.deliver_taken(lease)
        assert codes(await scene.find(stored.notification.id)) == [Code.EXPIRED]
        assert scene.sends() == {}


async def test_another_window_is_another_request(scene: Scene) -> None:
    window = AskedWindow("06:00", "13:00", "Africa/Lagos")
    await scene.enqueue(ONE, delivery_window=window, idempotency_key="k")
    again = await scene.enqueue(ONE, delivery_window=window, idempotency_key="k")
    assert again.notification.windows == (DeliveryWindow(360, 780),)
    refusal = await refusal_of(scene, delivery_window=replace(window, end="14:00"), idempotency_key="k")
    assert refusal.code is ProblemCode.IDEMPOTENCY_MISMATCH
