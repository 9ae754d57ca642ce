"""One notification's way out, on a real journal: each text is sent once, held where it may not go yet, and ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from relay.domain.audit import Act
from relay.domain.codes import AccountReason, Code, MessageType, NotificationStatus, ProblemCode, Rejection
from relay.domain.errors import Unavailable
from relay.domain.hours import DeliveryWindow
from relay.domain.notification import CallState, Ended, find_outcomes, overall_status, view_recipients
from relay.domain.suppression import SuppressionWish
from relay.domain.templates import TemplateBook, TemplateUse, parse_templates
from relay.sending.accounts import HOLD_MS
from relay.sending.breaker import BreakerState
from relay.sending.events import (
    CallFinished,
    JournalFailed,
    NotificationCompleted,
    TaskFailed,
    UnknownSettled,
    WordsMissed,
)
from relay.sending.follow_up import FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS
from relay.sending.ports import BalanceResult, JournalUnavailable, RecordResult, SendOutcome, SendResult
from support.journal import codes, pause
from support.sending import Scene, running_scene, submission
from support.waiting import PATIENCE_SECONDS

ONE = "2348031234567"
TWO = ("2348031234567", "2348031234568")
LOST = SendResult(outcome=SendOutcome.UNKNOWN, outcomes=(), cause="timeout", seconds=20.0)
AWAY = JournalUnavailable("unreachable")


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running_scene(tmp_path, recipients_per_call=1) as scene:
        yield scene


# --- what is held ---


async def test_what_is_held_goes_back_to_the_queue_whole_and_is_sent_once_later(scene: Scene) -> None:
    stored = await scene.enqueue(*TWO)
    scene.runtime.switches.paused = True
    assert await scene.deliver_due() == 1
    held = await scene.find(stored.notification.id)

    assert (held.owned, held.completed_at) == (False, None)
    assert [call.state for call in held.calls] == [CallState.CLAIMED] * 2
    assert scene.heard.of(NotificationCompleted) == []

    scene.runtime.switches.paused = False
    assert await scene.deliver_due() == 1
    assert codes(await scene.find(stored.notification.id)) == [Code.SENT] * 2
    assert scene.sends() == dict.fromkeys(TWO, 1)


async def test_a_call_that_is_held_beside_one_that_is_out_is_not_lost(scene: Scene) -> None:
    stored = await scene.enqueue(*TWO)
    [lease] = await scene.journal.take(["billing"], list(MessageType), 1, scene.clock.now_ms())

    async def pause_after(real: Any, ref: Any, *more: Any) -> Any:
        granted = await real(ref, *more)
        scene.runtime.switches.paused = True
        return granted

    scene.journal.hooks["start_dialling"] = pause_after
    await scene.lifecycle.deliver_taken(lease)
    scene.journal.hooks.clear()
    scene.runtime.switches.paused = False
    while await scene.deliver_due():
        pass

    assert codes(await scene.find(stored.notification.id)) == [Code.SENT] * 2
    assert scene.sends() == dict.fromkeys(TWO, 1)


async def suppress(scene: Scene, *numbers: str) -> None:
    act = Act(at=scene.clock.now_ms(), client="ops", action="suppress")
    await scene.journal.suppress([SuppressionWish(number=number, client="") for number in numbers], act)


async def test_who_is_suppressed_after_it_was_taken_from_the_queue_gets_nothing(tmp_path: Path) -> None:
    async with running_scene(tmp_path) as scene:
        stored = await scene.enqueue(*TWO, "2348031234569")
        [lease] = await scene.journal.take(["billing"], list(MessageType), 1, scene.clock.now_ms())
        await suppress(scene, TWO[0], "2348031234569")
        await scene.lifecycle.deliver_taken(lease)

        final = await scene.find(stored.notification.id)
        assert codes(final) == [Code.SUPPRESSED, Code.SENT, Code.SUPPRESSED]
        assert scene.sends() == {TWO[1]: 1}
        assert scene.bulkhead.in_use == 0


async def test_who_is_suppressed_while_a_caller_waits_for_a_place_gets_nothing_and_the_key_stays(scene: Scene) -> None:
    entering: list[asyncio.Future[None]] = []

    async def suppress_first(real: Any, *arguments: Any) -> Any:
        entering.append(entering[0] if entering else asyncio.ensure_future(suppress(scene, *TWO)))
        await entering[0]
        return await real(*arguments)

    scene.journal.hooks["start_dialling"] = suppress_first
    answer = await scene.lifecycle.send(submission(*TWO, idempotency_key="k"), scene.caller)
    again = await scene.lifecycle.send(submission(*TWO, idempotency_key="k"), scene.caller)

    assert codes(answer.stored) == [Code.SUPPRESSED] * 2
    assert again.replayed
    assert scene.sends() == {}


async def test_in_quiet_hours_it_is_held_until_they_end(tmp_path: Path) -> None:
    quiet = {MessageType.PROMOTIONAL: DeliveryWindow(13 * 60, 11 * 60, code=Code.HELD_QUIET_HOURS)}
    async with running_scene(tmp_path, hours=quiet) as scene:
        scene.clock.advance(-2 * 3600)  # ten in the morning: accepted, and not yet quiet
        stored = await scene.enqueue(ONE, message_type=MessageType.PROMOTIONAL)
        assert await scene.deliver_due(2 * 3600) == 1
        assert scene.sends() == {}
        assert await scene.deliver_due(3600 - 1) == 0
        assert await scene.deliver_due(1) == 1

        assert codes(await scene.find(stored.notification.id)) == [Code.SENT]
        assert scene.sends() == {ONE: 1}


async def test_behind_an_open_breaker_the_queue_waits_until_the_probe(scene: Scene) -> None:
    stored = await scene.enqueue(ONE)
    scene.upstream.switches.set({"tg": "TG11", "calls": 1})
    await scene.deliver_due()
    assert scene.breaker.state is BreakerState.OPEN
    await scene.deliver_due(FIRST_BACKOFF_MS / 1000)

    assert scene.sends() == {}
    assert not (await scene.find(stored.notification.id)).owned
    assert len(scene.upstream.ledger.since()) == 1


# --- what follows from an answer ---


async def test_a_refusal_that_passes_is_tried_again_after_a_while_that_grows(scene: Scene) -> None:
    stored = await scene.enqueue(ONE)
    scene.upstream.switches.set({"tg": "TG17", "calls": 2})
    for tries in range(2):
        assert await scene.deliver_due() == 1
        scene.breaker.record_balance(units_left=True)
        scene.clock.advance(FIRST_BACKOFF_MS * 2**tries / 1000 - 0.001)
        assert await scene.deliver_due() == 0
        scene.clock.advance(0.001)
    assert await scene.deliver_due() == 1

    final = await scene.find(stored.notification.id)
    assert codes(final) == [Code.SENT]
    assert view_recipients(final)[0].attempts == 3
    assert scene.sends() == {ONE: 1}


async def test_what_the_upstream_blocks_is_said_and_not_tried_again(scene: Scene) -> None:
    scene.upstream.switches.set({"tg": "TG19"})
    answer = await scene.lifecycle.send(submission(ONE), scene.caller)

    [result] = view_recipients(answer.stored)
    assert (result.code, result.rejection) == (Code.UPSTREAM_REJECTED, Rejection.BLOCKED_WORDS)
    assert [event.field for event in scene.heard.of(WordsMissed)] == ["message"]
    assert [event.upstream_code for event in scene.heard.of(CallFinished)] == ["TG19"]


async def test_halves_of_a_call_that_was_too_large_are_calls_of_their_own(tmp_path: Path) -> None:
    numbers = tuple(f"23480312345{index:02}" for index in range(8))
    async with running_scene(tmp_path) as scene:
        scene.upstream.switches.set({"recipient_limit": 3})
        answer = await scene.lifecycle.send(submission(*numbers), scene.caller)

        assert codes(answer.stored) == [Code.SENT] * 8
        assert scene.sends() == dict.fromkeys(numbers, 1)
        assert [call.ordinal for call in answer.stored.calls] == list(range(1, len(answer.stored.calls) + 1))
        assert (await scene.find(answer.stored.notification.id)).calls == answer.stored.calls


# --- how it ends ---


async def test_the_caller_the_journal_and_the_log_are_told_the_same_end(scene: Scene) -> None:
    answer = await scene.lifecycle.send(submission(*TWO, "12"), scene.caller)
    stored = await scene.find(answer.stored.notification.id)
    [event] = scene.heard.of(NotificationCompleted)

    assert answer.results == tuple(view_recipients(stored))
    assert answer.stored.completed_at == stored.completed_at == scene.clock.now_ms()
    assert event.status is overall_status(view_recipients(stored)) is NotificationStatus.PARTIAL
    assert sum(event.recipients.values()) == 3


async def test_a_journal_that_is_away_for_the_last_record_keeps_nobody_waiting(scene: Scene) -> None:
    scene.journal.fail_once("record", AWAY, times=2)
    answer = await scene.lifecycle.send(submission(ONE), scene.caller)

    assert codes(answer.stored) == [Code.SENT]
    await scene.runtime.tasks.drain(PATIENCE_SECONDS)
    assert codes(await scene.find(answer.stored.notification.id)) == [Code.SENT]
    assert [event.during for event in scene.heard.of(JournalFailed)] == ["record"] * 2


async def test_a_record_that_turns_out_to_be_there_already_still_ends_the_notification(scene: Scene) -> None:
    first = [True]

    async def lose_the_answer(real: Any, ref: Any, outcomes: Any, *, ended: Ended | None = None, **more: Any) -> Any:
        if not first:
            return await real(ref, outcomes, ended=ended, **more)
        first.clear()
        assert await real(ref, outcomes, **more) is RecordResult.RECORDED
        raise JournalUnavailable("unreachable", ambiguous=True)

    scene.journal.hooks["record"] = lose_the_answer
    answer = await scene.lifecycle.send(submission(ONE), scene.caller)
    await scene.runtime.tasks.drain(PATIENCE_SECONDS)
    stored = await scene.find(answer.stored.notification.id)

    assert stored.completed_at is not None
    assert codes(stored) == [Code.SENT]


async def test_a_journal_that_cannot_give_the_right_to_dial_sends_nothing_to_a_waiting_caller(scene: Scene) -> None:
    scene.journal.fail_once("start_dialling", AWAY, times=2)
    answer = await scene.lifecycle.send(submission(*TWO), scene.caller)

    assert codes(answer.stored) == [Code.INTERRUPTED_BEFORE_DIAL] * 2
    assert scene.sends() == {}
    assert scene.bulkhead.in_use == 0


async def test_a_journal_that_cannot_give_the_right_to_dial_delays_the_queue(scene: Scene) -> None:
    stored = await scene.enqueue(ONE)
    scene.journal.fail_once("start_dialling", AWAY)
    assert await scene.deliver_due() == 1
    assert scene.sends() == {}
    assert await scene.deliver_due(FIRST_BACKOFF_MS / 1000) == 1

    assert codes(await scene.find(stored.notification.id)) == [Code.SENT]
    assert scene.sends() == {ONE: 1}


async def test_what_was_cancelled_meanwhile_is_not_dialled(scene: Scene) -> None:
    stored = await scene.enqueue(ONE)
    notification_id = stored.notification.id

    async def cancel_first(real: Any, ref: Any, *more: Any) -> Any:
        await scene.journal.real.cancel(notification_id, "billing", scene.clock.now_ms())
        return await real(ref, *more)

    scene.journal.hooks["start_dialling"] = cancel_first
    await scene.deliver_due()

    assert codes(await scene.find(notification_id)) == [Code.CANCELLED]
    assert scene.sends() == {}
    assert scene.heard.of(NotificationCompleted) == []
    assert scene.bulkhead.in_use == 0


async def test_a_right_to_dial_that_comes_too_late_is_not_used(scene: Scene) -> None:
    stored = await scene.enqueue(ONE, expires_at=scene.clock.now_ms() + 60_000)

    async def take_a_minute(real: Any, ref: Any, *more: Any) -> Any:
        granted = await real(ref, *more)
        scene.clock.advance(60)
        return granted

    scene.journal.hooks["start_dialling"] = take_a_minute
    await scene.deliver_due()

    assert codes(await scene.find(stored.notification.id)) == [Code.EXPIRED]
    assert scene.sends() == {}
    assert scene.bulkhead.in_use == 0


async def test_a_call_that_is_lost_is_unknown_and_never_made_again(scene: Scene) -> None:
    stored = await scene.enqueue(ONE)
    scene.upstream.switches.set({"fault": "hang"})
    await scene.deliver_due()
    while await scene.deliver_due(LONGEST_BACKOFF_MS / 1000):
        pass

    assert codes(await scene.find(stored.notification.id)) == [Code.NO_ANSWER]
    assert len(scene.upstream.ledger.since()) == 1
    assert [event.outcome for event in scene.heard.of(CallFinished)] == [SendOutcome.UNKNOWN]


async def test_a_bug_after_the_dial_is_unknown_and_one_before_it_waits(scene: Scene) -> None:
    stored = await scene.enqueue(*TWO)
    calls = [0]

    async def fail_second(real: Any, ref: Any, *more: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise ValueError("a bug")
        return await real(ref, *more)

    scene.journal.hooks["start_dialling"] = fail_second
    await scene.deliver_due()
    scene.journal.hooks.clear()

    assert [event.exception for event in scene.heard.of(TaskFailed)] == ["ValueError"]
    assert await scene.deliver_due(LONGEST_BACKOFF_MS / 1000) == 1
    outcomes, _ = find_outcomes(await scene.find(stored.notification.id))
    assert {outcome.code for outcome in outcomes.values()} == {Code.SENT}
    assert scene.sends() == dict.fromkeys(TWO, 1)


async def test_a_stop_in_the_middle_tells_what_the_next_process_will_find(scene: Scene) -> None:
    reached = asyncio.Event()

    async def hang(real: Any, *arguments: Any, **named: Any) -> Any:
        reached.set()
        await asyncio.Event().wait()

    scene.journal.hooks["record"] = hang
    waiting = asyncio.ensure_future(scene.lifecycle.send(submission(ONE), scene.caller))
    await reached.wait()
    await scene.runtime.tasks.drain(0.0)
    answer = await waiting

    assert codes(answer.stored) == [Code.SENT]
    assert scene.sends() == {ONE: 1}


async def test_nothing_is_dialled_again_before_the_queue_may_look(scene: Scene) -> None:
    await scene.enqueue(ONE)
    scene.runtime.switches.paused = True
    await scene.deliver_due()
    for _ in range(3):
        scene.breaker.record_send(LOST, scene.clock.monotonic())
    scene.runtime.switches.paused = False
    await scene.deliver_due()

    assert await scene.deliver_due(HOLD_MS / 1000 - 0.001) == 0
    assert scene.sends() == {}


async def test_an_end_that_a_failure_before_the_last_call_delayed_is_written_all_the_same(scene: Scene) -> None:
    scene.journal.fail_once("record", AWAY)
    answer = await scene.lifecycle.send(submission(*TWO), scene.caller)

    assert codes(answer.stored) == [Code.SENT] * 2
    assert (await scene.find(answer.stored.notification.id)).completed_at is not None
    assert len(scene.heard.of(NotificationCompleted)) == 1


# --- what comes late ---


@pytest.mark.parametrize(("switches", "code"), [({}, Code.SENT), ({"fault": "hang"}, Code.NO_ANSWER)])
async def test_an_answer_after_the_callers_deadline_settles_what_it_can(
    scene: Scene, switches: dict[str, object], code: Code
) -> None:
    scene.upstream.switches.set(switches)
    scene.gated.open.clear()
    answer = await scene.lifecycle.send(submission(ONE), scene.caller, 0.05)
    in_use = scene.bulkhead.in_use
    scene.gated.open.set()
    await scene.runtime.tasks.drain(PATIENCE_SECONDS)

    assert codes(answer.stored) == [Code.NO_ANSWER]
    assert in_use == 1
    assert codes(await scene.find(answer.stored.notification.id)) == [code]
    assert len(scene.heard.of(UnknownSettled)) == (code is Code.SENT)
    assert len(scene.upstream.ledger.since()) == 1
    assert scene.bulkhead.in_use == 0


async def test_an_answer_that_overtakes_the_record_of_its_absence_is_the_answer_and_ends_it(tmp_path: Path) -> None:
    async def let_pass(real: Any, *arguments: Any, **named: Any) -> Any:
        if not scene.gated.open.is_set():
            scene.clock.advance(1)
            scene.gated.open.set()
            await overtaken.wait()
        result = await real(*arguments, **named)
        overtaken.set()
        return result

    overtaken = asyncio.Event()
    async with running_scene(tmp_path, recipients_per_call=1, calls_at_a_time=1) as scene:
        scene.journal.hooks["record"] = let_pass
        scene.gated.open.clear()
        answer = await scene.lifecycle.send(submission(*TWO), scene.caller, 0.05)
        stored = await scene.find(answer.stored.notification.id)

        assert stored.completed_at is not None
        assert codes(answer.stored) == codes(stored) == [Code.SENT, Code.DEADLINE]
        assert len(scene.heard.of(NotificationCompleted)) == 1


async def test_an_answer_within_a_short_deadline_is_the_answer(scene: Scene) -> None:
    answer = await scene.lifecycle.send(submission(ONE), scene.caller, 5.0)

    assert codes(answer.stored) == [Code.SENT]


async def test_what_expires_while_it_waits_for_a_permit_is_not_dialled(scene: Scene) -> None:
    scene.gated.open.clear()
    out = [asyncio.ensure_future(scene.lifecycle.send(submission(ONE), scene.caller)) for _ in range(4)]
    while scene.bulkhead.in_use < 3:
        await asyncio.sleep(0)
    stored = await scene.enqueue("2348031234569", expires_at=scene.clock.now_ms() + 1_000)
    waiting = asyncio.ensure_future(scene.deliver_due())
    while scene.bulkhead.waiting < 2:
        await asyncio.sleep(0)
    scene.clock.advance(1)
    scene.gated.open.set()
    await asyncio.gather(waiting, *out)

    assert codes(await scene.find(stored.notification.id)) == [Code.EXPIRED]
    assert "2348031234569" not in scene.sends()
    assert scene.bulkhead.in_use == 0


CODE = """[[template]]
name = "login"
message_type = "otp"
[template.values]
code = 6
[template.text]
en = "Your code is {{ code }}."
"""


async def test_a_template_is_judged_by_its_own_message_type(scene: Scene) -> None:
    scene.rules = replace(scene.rules, templates=TemplateBook(parse_templates(CODE, scene.rules.matcher)))
    scene.runtime.switches.pauses = (pause(message_type=MessageType.OTP),)
    asked = submission(message="", template=TemplateUse(name="login", values={"code": "1204"}))

    with pytest.raises(Unavailable) as refused:
        await scene.lifecycle.send(asked, scene.caller)
    preview = await scene.lifecycle.preview(asked, scene.caller, asynchronous=False)

    assert refused.value.code is ProblemCode.PAUSED
    assert preview.account_reason is AccountReason.PAUSED
    assert scene.sends() == {}


async def test_what_is_gone_when_it_is_read_again_is_told_as_it_was(scene: Scene) -> None:
    async def refuse(_real: Any, *_: Any) -> bool:
        return False

    async def find_nothing(_real: Any, *_: Any) -> None:
        return None

    scene.journal.hooks |= {"start_dialling": refuse, "find": find_nothing}
    answer = await scene.lifecycle.send(submission(*TWO), scene.caller)

    assert scene.sends() == {}
    assert answer.stored.completed_at is None


async def test_a_trial_that_is_not_made_leaves_the_next_one_to_somebody_else(scene: Scene) -> None:
    for _ in range(3):
        scene.breaker.record_send(LOST, scene.clock.monotonic())
    scene.clock.advance(10)
    assert scene.breaker.may_probe(scene.clock.monotonic())
    scene.breaker.record_probe(BalanceResult("256.21"), scene.clock.monotonic())
    stored = await scene.enqueue(ONE)
    scene.journal.fail_once("start_dialling", AWAY)
    await scene.deliver_due()
    assert scene.breaker.may_call()
    await scene.deliver_due(FIRST_BACKOFF_MS / 1000)

    assert scene.breaker.state is BreakerState.CLOSED
    assert codes(await scene.find(stored.notification.id)) == [Code.SENT]
