"""Callers with old keys, and callers with none: no second message where nobody can be sure that it is wanted."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from relay.domain.codes import Code, MessageType, ProblemCode
from relay.domain.errors import IdempotencyConflict, Refusal
from relay.sending.requests import Answer
from support.journal import codes
from support.sending import Scene, running_scene, submission

ONE, TWO = "2348031234567", "2348031234568"
DAY_MS = 86_400_000
KEY = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running_scene(tmp_path) as scene:
        scene.client = replace(scene.client, keys_carry_time=True, repeat_window_seconds=60)
        yield scene


async def send(scene: Scene, *numbers: str, **fields: Any) -> Answer:
    return await scene.lifecycle.send(submission(*(numbers or (ONE,)), **fields), scene.caller)


# --- keys that carry their time ---


async def test_a_key_of_eight_days_ago_is_refused_and_nothing_is_sent(scene: Scene) -> None:
    fields = {"idempotency_key": KEY, "key_made_at": scene.clock.now_ms() - 8 * DAY_MS}
    with pytest.raises(Refusal, match="idempotency_key_expired"):
        await send(scene, **fields)
    [refused] = await scene.lifecycle.enqueue([submission(ONE, **fields)], scene.caller)

    assert isinstance(refused, Refusal)
    assert refused.code is ProblemCode.IDEMPOTENCY_KEY_EXPIRED
    assert scene.sends() == {}


async def test_a_key_that_is_known_is_answered_however_old_it_is(scene: Scene) -> None:
    fields = {"idempotency_key": KEY, "key_made_at": scene.clock.now_ms() - 6 * DAY_MS}
    first = await send(scene, **fields)
    scene.clock.advance(2 * 86_400)
    again = await send(scene, **fields)

    assert again.replayed
    assert again.stored.notification.id == first.stored.notification.id
    scene.clock.advance(6 * 86_400)
    with pytest.raises(Refusal, match="idempotency_key_expired"):
        await send(scene, **fields)
    assert scene.sends() == {ONE: 1}


@pytest.mark.parametrize(("ahead_ms", "taken"), [(300_000, True), (300_001, False)])
async def test_a_key_may_be_five_minutes_ahead(scene: Scene, ahead_ms: int, taken: bool) -> None:
    fields = {"idempotency_key": KEY, "key_made_at": scene.clock.now_ms() + ahead_ms}
    if not taken:
        with pytest.raises(Refusal, match="invalid_idempotency_key"):
            await send(scene, **fields)
        return
    await send(scene, **fields)
    # Until it is too old to be new, it is known.
    scene.clock.advance(7 * 86_400 + ahead_ms / 1000 - 1)
    assert (await send(scene, **fields)).replayed
    scene.clock.advance(2)
    with pytest.raises(Refusal, match="idempotency_key_expired"):
        await send(scene, **fields)
    assert scene.sends() == {ONE: 1}


# --- no keys at all ---


async def test_the_same_without_a_key_gets_the_first_ones_answer_until_the_window_is_over(scene: Scene) -> None:
    first = await send(scene, ONE, TWO)
    for _ in range(2):
        scene.clock.advance(29)
        again = await send(scene, TWO, ONE, TWO, "12", reference="other", billing_code="other")
        assert (again.replayed, again.duplicate) == (True, True)
        assert again.stored.notification.id == first.stored.notification.id
    scene.clock.advance(2)  # counted from the first
    assert not (await send(scene, ONE, TWO)).replayed
    assert scene.sends() == {ONE: 2, TWO: 2}


@pytest.mark.parametrize(
    "other",
    [
        {"sender": "ACME2"},
        {"message": "Your order is late."},
        {"message_type": MessageType.OTP},
        {"idempotency_key": "k"},
        {"recipients": (TWO,)},
    ],
)
async def test_what_differs_is_no_repetition(scene: Scene, other: dict[str, Any]) -> None:
    scene.client = replace(scene.client, senders=frozenset({"ACME2"}))
    await send(scene)
    assert not (await send(scene, **other)).replayed


async def test_another_clients_is_no_repetition_and_who_has_no_window_repeats_nothing(scene: Scene) -> None:
    await send(scene)
    scene.client = replace(scene.client, name="orders")
    assert not (await send(scene)).replayed
    scene.client = replace(scene.client, repeat_window_seconds=0)
    assert not (await send(scene)).replayed
    assert scene.sends() == {ONE: 3}


async def test_who_allows_it_repeats_and_later_ones_compare_with_that(scene: Scene) -> None:
    await send(scene)
    scene.clock.advance(50)
    second = await send(scene, allow_repeat=True)
    scene.clock.advance(50)
    third = await send(scene)

    assert not second.replayed
    assert third.stored.notification.id == second.stored.notification.id
    assert scene.sends() == {ONE: 2}


async def test_one_that_was_not_sent_does_not_count(scene: Scene) -> None:
    scene.upstream.switches.set({"tg": "TG19", "calls": 1})
    refused = await send(scene)
    answer = await send(scene)

    assert codes(refused.stored) == [Code.UPSTREAM_REJECTED]
    assert not answer.replayed
    assert codes(answer.stored) == [Code.SENT]


async def test_one_that_still_runs_is_a_conflict_that_passes(scene: Scene) -> None:
    scene.gated.open.clear()
    first = asyncio.ensure_future(send(scene))
    await scene.gated.arrived.wait()
    with pytest.raises(IdempotencyConflict) as raised:
        await send(scene)
    scene.gated.open.set()

    assert raised.value.code is ProblemCode.IDEMPOTENCY_IN_PROGRESS
    assert raised.value.retry_after_seconds
    assert (await send(scene)).stored.notification.id == (await first).stored.notification.id
    assert scene.sends() == {ONE: 1}


async def test_what_waits_in_the_queue_answers_its_repetition(scene: Scene) -> None:
    first = await scene.enqueue(ONE)
    again = await scene.enqueue(ONE)
    assert again.notification.id == first.notification.id
    assert await scene.deliver_due() == 1
    assert scene.sends() == {ONE: 1}
