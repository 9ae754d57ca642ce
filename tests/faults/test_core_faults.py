"""A journal that fails at the worst moment, a bug of ours, a stop in the middle: nothing lost, doubled or untrue."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.domain.codes import Code, MessageType, ProblemCode
from relay.domain.errors import Refusal
from relay.domain.notification import CallState, Outcome, view_recipients
from relay.domain.pausing import Scope
from relay.sending.ports import CallRef, JournalUnavailable, Lease, ListFilter, UnknownFilter
from relay.sending.requests import Answer
from support.core import Core, codes, running_core, submission
from support.upstream import Upstream, http_answer, processed, running_upstream
from support.waiting import let_pass, until

AWAY = JournalUnavailable("unreachable")
DOUBT = JournalUnavailable("unreachable", ambiguous=True)

ONE = ("2348031234567",)
"""One call, which is dialled by the right that its claim gives."""
TWO = ("2348031234567", "2348031234568")
"""Two calls of one recipient each: each of them asks for the right to dial."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


def lose_the_answer(*, committed: bool) -> Callable[..., Awaitable[None]]:
    """A first claim whose commit is in doubt; the journal is away for any more."""
    first = [True]

    async def hook(real: Any, claims: Any) -> None:
        if not first:
            raise AWAY
        first.clear()
        if committed:
            await real(claims)
        raise DOUBT

    return hook


async def test_a_claim_for_later_whose_answer_was_lost_is_sent_once(tmp_path: Path, upstream: Upstream) -> None:
    async with running_core(tmp_path, upstream) as core:
        core.journal.hooks["claim"] = lose_the_answer(committed=True)
        [answer] = await core.service.enqueue([submission()], core.caller())
        core.journal.hooks.clear()

        assert isinstance(answer, Answer)
        stored = await core.wait_completed(answer.stored.notification.id)
        assert codes(stored) == ["sent"]
        assert upstream.count() == {"2348031234567": 1}


async def test_a_waiting_callers_claim_whose_answer_was_lost_is_delivered_once(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with running_core(tmp_path, upstream) as core:
        core.journal.hooks["claim"] = lose_the_answer(committed=True)
        answer = await core.service.send(submission(), core.caller())

        assert codes(answer.stored) == ["sent"]
        assert upstream.count() == {"2348031234567": 1}


async def test_a_claim_that_was_not_made_is_503_and_sends_nothing(tmp_path: Path, upstream: Upstream) -> None:
    async with running_core(tmp_path, upstream) as core:
        core.fail_once("claim", AWAY)
        with pytest.raises(Refusal) as refusal:
            await core.service.send(submission(), core.caller())

        assert refusal.value.code is ProblemCode.JOURNAL_UNAVAILABLE
        assert upstream.sends == []


async def test_a_claim_in_doubt_that_quiet_hours_hold_goes_back_to_the_queue(
    tmp_path: Path, upstream: Upstream
) -> None:
    now = datetime.now(UTC)
    start, end = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (-1, 1))
    config = tmp_path / "relay.toml"
    config.write_text(f'[quiet_hours.promotional]\nfrom = "{start}"\nto = "{end}"\ntime_zone = "UTC"\n')
    async with running_core(tmp_path, upstream, RELAY_CONFIG=str(config)) as core:
        core.journal.hooks["claim"] = lose_the_answer(committed=True)
        core.fail_once("requeue", AWAY)
        promotional = submission(message_type=MessageType.PROMOTIONAL)
        [answer] = await core.service.enqueue([promotional], core.caller())
        core.journal.hooks.clear()
        cancelled = await core.service.cancel(answer.stored.notification.id, core.client)

        assert not cancelled.owned
        assert codes(cancelled) == ["cancelled"]
        assert upstream.sends == []


@pytest.mark.parametrize("committed", [True, False])
async def test_a_waiting_callers_claim_that_stays_in_doubt_is_503_and_never_sent(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    monkeypatch.setattr("relay.sending.accept.AMBIGUITY_SECONDS", 0.6)
    once = submission(reference="doubt", idempotency_key="order-1204")
    async with running_core(tmp_path, upstream) as core:
        core.journal.hooks["claim"] = lose_the_answer(committed=committed)
        core.fail_once("take_back", AWAY, times=1_000)
        with pytest.raises(Refusal) as refusal:
            await core.service.send(once, core.caller())
        left = await core.journal.real.select(ListFilter(client="billing", reference="doubt"))
        core.journal.hooks.clear()

        assert refusal.value.code is ProblemCode.JOURNAL_UNAVAILABLE
        assert len(left) == committed
        for one in left:
            assert codes(await core.wait_completed(one.notification.id)) == ["interrupted_before_dial"]
        assert core.service.health().in_flight == 0
        assert upstream.sends == []
        assert codes((await core.service.send(once, core.caller())).stored) == ["sent"]
        assert upstream.count() == {"2348031234567": 1}


@pytest.mark.parametrize("committed", [True, False])
async def test_a_claim_for_later_that_stays_in_doubt_is_answered_once_the_journal_is_back(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    monkeypatch.setattr("relay.sending.accept.AMBIGUITY_SECONDS", 0.0)
    async with running_core(tmp_path, upstream) as core:
        core.journal.hooks["claim"] = lose_the_answer(committed=committed)
        core.fail_once("take_back", AWAY, times=3)
        [answer] = await core.service.enqueue([submission()], core.caller())

        if committed:
            assert isinstance(answer, Answer)
            assert codes(await core.wait_completed(answer.stored.notification.id)) == ["sent"]
        else:
            assert isinstance(answer, Refusal)
            assert answer.code is ProblemCode.JOURNAL_UNAVAILABLE
        assert upstream.count() == ({"2348031234567": 1} if committed else {})


async def test_a_claim_in_doubt_that_was_never_made_is_503(tmp_path: Path, upstream: Upstream) -> None:
    async with running_core(tmp_path, upstream) as core:
        core.journal.hooks["claim"] = lose_the_answer(committed=False)
        with pytest.raises(Refusal) as refusal:
            await core.service.send(submission(), core.caller())

        assert refusal.value.code is ProblemCode.JOURNAL_UNAVAILABLE
        assert upstream.sends == []


async def test_a_key_that_cannot_be_looked_up_is_503_for_a_request_that_would_be_refused(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with running_core(tmp_path, upstream) as core:
        await core.operator.pause(Scope(), core.caller(), reason="it hangs", seconds=None)
        core.fail_once("find_by_key", AWAY)
        for code in (ProblemCode.JOURNAL_UNAVAILABLE, ProblemCode.PAUSED):
            with pytest.raises(Refusal) as refusal:
                await core.service.send(submission(idempotency_key="order-1204"), core.caller())
            assert refusal.value.code is code

        assert upstream.sends == []


async def test_what_cannot_be_looked_up_cancelled_or_settled_is_503(tmp_path: Path, upstream: Upstream) -> None:
    async with running_core(tmp_path, upstream) as core:
        operator = core.operator
        upstream.answer = lambda _: None
        unknown = (await core.service.send(submission(), core.caller())).stored.notification.id
        asked: dict[str, Callable[[], Awaitable[Any]]] = {
            "find": lambda: core.service.find(unknown, core.client),
            "select": lambda: core.service.select(ListFilter(client="billing", reference="r")),
            "cancel": lambda: core.service.cancel(unknown, core.client),
            "list_unknown": lambda: operator.list_unknown(10, None, UnknownFilter()),
            "settle": lambda: operator.resolve(
                unknown, sent=True, recipients=None, reason="a test", caller=core.caller()
            ),
            "audit": lambda: operator.resend(unknown, message="Your order is on its way.", caller=core.caller()),
            "pause": lambda: operator.pause(Scope(), core.caller(), reason="it hangs", seconds=None),
            "erase_recipient": lambda: operator.erase_recipient("2348031234567", core.caller()),
        }
        for method, ask in asked.items():
            core.fail_once(method, AWAY)
            with pytest.raises(Refusal) as refusal:
                await ask()
            assert refusal.value.code is ProblemCode.JOURNAL_UNAVAILABLE, method
        core.fail_once("find", AWAY)
        with pytest.raises(Refusal) as refusal:
            await operator.resolve(unknown, sent=True, recipients=None, reason="a test", caller=core.caller())

        assert refusal.value.code is ProblemCode.JOURNAL_UNAVAILABLE
        core.journal.hooks.clear()
        assert codes(await core.wait_completed(unknown)) == ["no_answer"]
        assert len(upstream.sends) == 1


async def test_what_somebody_settled_meanwhile_is_not_settled_again(tmp_path: Path, upstream: Upstream) -> None:
    async with running_core(tmp_path, upstream) as core:
        upstream.answer = lambda _: None
        unknown = (await core.service.send(submission(), core.caller())).stored.notification.id

        async def be_late(real: Any, *arguments: Any) -> Any:
            core.journal.hooks.clear()
            await core.operator.resolve(unknown, sent=False, recipients=None, reason="a test", caller=core.caller())
            return await real(*arguments)

        core.journal.hooks["settle"] = be_late
        with pytest.raises(Refusal) as refusal:
            await core.operator.resolve(unknown, sent=True, recipients=None, reason="a test", caller=core.caller())

        assert refusal.value.code is ProblemCode.NOT_FOUND
        assert codes(await core.wait_completed(unknown)) == ["upstream_unreachable"]


async def test_nothing_is_sent_again_to_a_number_that_was_erased_or_for_a_client_that_is_gone(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with running_core(tmp_path, upstream) as core:
        upstream.answer = lambda _: None
        first, second = [
            (await core.service.send(submission(number), core.caller())).stored.notification.id
            for number in ("2348031234567", "2348031234568")
        ]
        await core.operator.erase_recipient("2348031234567", core.caller())
        core.relay._clients = {}
        for notification_id, says in ((first, "erased"), (second, "no longer configured")):
            with pytest.raises(Refusal) as refusal:
                await core.operator.resend(notification_id, message="Your order is on its way.", caller=core.caller())
            assert refusal.value.code is ProblemCode.NOT_FOUND
            assert says in refusal.value.detail

        assert len(upstream.sends) == 2


async def test_an_outcome_that_the_journal_does_not_take_is_told_and_written_when_it_is_back(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with running_core(tmp_path, upstream) as core:
        core.fail_once("record", AWAY, times=3)
        answer = await core.service.send(submission(), core.caller())

        assert codes(answer.stored) == ["sent"]
        assert codes(await core.wait_completed(answer.stored.notification.id)) == ["sent"]
        assert upstream.count() == {"2348031234567": 1}


PATIENT_CALL = {"RELAY_SMSCLONE_TIMEOUT_SECONDS": "100", "RELAY_SENDING_NOTIFICATION_DEADLINE_SECONDS": "50"}
"""The caller's deadline comes first, and neither before the test lets it."""


async def send_past_deadline(core: Core, upstream: Upstream) -> Answer:
    """Send to an upstream that hangs, until the caller's deadline has passed while the call is out."""
    sending = asyncio.create_task(core.service.send(submission(), core.caller()))
    await until(lambda: upstream.sends)
    let_pass(float(PATIENT_CALL["RELAY_SENDING_NOTIFICATION_DEADLINE_SECONDS"]))
    answer: Answer = await sending
    return answer


async def test_a_late_answer_that_is_written_before_the_retried_outcome_still_ends_the_notification(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with running_core(tmp_path, upstream, **PATIENT_CALL) as core:
        upstream.gate.clear()
        failures = [5]

        async def fail_the_end(real: Any, *arguments: Any, **named: Any) -> Any:
            if named.get("ended") is not None and failures[0] > 0:
                failures[0] -= 1
                raise AWAY
            return await real(*arguments, **named)

        core.journal.hooks["record"] = fail_the_end
        answer = await send_past_deadline(core, upstream)
        upstream.gate.set()
        stored = await core.wait_completed(answer.stored.notification.id)

        assert codes(answer.stored) == ["no_answer"]
        assert codes(stored) == ["sent"]
        assert stored.notification.message is None


async def test_a_late_answer_settles_what_its_caller_was_told_is_unknown(tmp_path: Path, upstream: Upstream) -> None:
    async with running_core(tmp_path, upstream, **PATIENT_CALL) as core:
        upstream.gate.clear()
        answer = await send_past_deadline(core, upstream)
        upstream.gate.set()
        await until(lambda: not core.service.health().in_flight)
        await core.relay.drain()
        stored = await core.wait_completed(answer.stored.notification.id)

        assert codes(answer.stored) == ["no_answer"]
        assert codes(stored) == ["sent"]
        assert upstream.count() == {"2348031234567": 1}


async def test_a_journal_that_cannot_say_whether_to_dial_only_delays_the_queue(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with running_core(tmp_path, upstream) as core:
        core.fail_once("start_dialling", AWAY)
        [answer] = await core.service.enqueue([submission()], core.caller())

        assert codes(await core.wait_completed(answer.stored.notification.id)) == ["sent"]
        assert upstream.count() == {"2348031234567": 1}


async def test_a_waiting_caller_is_told_that_a_call_was_not_made_where_the_journal_cannot_say_whether_to(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with running_core(tmp_path, upstream, RELAY_SMSCLONE_MAX_RECIPIENTS_PER_CALL="1") as core:
        core.fail_once("start_dialling", AWAY)
        answer = await core.service.send(submission(*TWO), core.caller())

        assert sorted(codes(answer.stored)) == ["interrupted_before_dial", "sent"]
        assert len(upstream.sends) == 1


async def test_a_call_to_which_the_right_is_refused_is_not_dialled_and_the_journals_word_is_told(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with running_core(tmp_path, upstream) as core:
        asked = asyncio.Event()

        async def be_overtaken(real: Any, ref: CallRef, *more: Any) -> Any:
            await core.journal.real.take_back([ref.notification_id])  # under a new fence, as another process would
            asked.set()
            return await real(ref, *more)

        core.journal.hooks["start_dialling"] = be_overtaken
        [answer] = await core.service.enqueue([submission()], core.caller())
        await asked.wait()
        await core.relay.drain()

        stored = await core.journal.real.find(answer.stored.notification.id)
        assert stored is not None
        assert stored.calls[0].state is CallState.CLAIMED
        assert upstream.sends == []


async def test_a_claim_that_somebody_took_over_and_dialled_is_theirs_to_end(tmp_path: Path, upstream: Upstream) -> None:
    async with running_core(tmp_path, upstream) as core:

        async def be_overtaken(real: Any, claims: Any) -> Any:
            [claimed] = await real(claims)
            return [Lease(claimed.stored, claimed.fence + 1)]

        core.journal.hooks["claim"] = be_overtaken
        answer = await core.service.send(submission(), core.caller())

        assert answer.stored.completed_at is None
        assert [call.state for call in answer.stored.calls] == [CallState.DIALLING]
        assert core.service.health().in_flight == 0
        assert upstream.sends == []


async def test_a_journal_that_is_slow_to_claim_holds_up_no_code_that_is_queued(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with running_core(tmp_path, upstream, RELAY_SMSCLONE_MAX_CONNECTIONS="5") as core:
        slow, held = asyncio.Event(), asyncio.Event()

        async def hang(real: Any, claims: Any) -> Any:
            if claims[0].due_at is None:
                held.set()
                await slow.wait()
            return await real(claims)

        core.journal.hooks["claim"] = hang
        sends = [asyncio.create_task(core.service.send(submission(), core.caller())) for _ in range(8)]
        await held.wait()
        code = submission("2348031239999", message_type=MessageType.OTP)
        [queued] = await core.service.enqueue([code], core.caller())
        stored = await core.wait_completed(queued.stored.notification.id)
        slow.set()
        await asyncio.gather(*sends)

        assert codes(stored) == ["sent"]
        assert core.service.health().in_flight == 0


@pytest.mark.parametrize(("can_look", "told"), [(True, "interrupted"), (False, "no_answer")])
async def test_who_was_taken_for_dead_tells_what_the_others_wrote(
    tmp_path: Path, upstream: Upstream, can_look: bool, told: str
) -> None:
    async with running_core(tmp_path, upstream) as core:
        upstream.answer = lambda _: None

        async def be_overtaken(real: Any, ref: CallRef, outcomes: Any, **more: Any) -> Any:
            await real(ref, (Outcome(code=Code.INTERRUPTED),), **more)
            if not can_look:
                core.fail_once("find", AWAY)
            return await real(ref, outcomes, **more)

        core.journal.hooks["record"] = be_overtaken
        answer = await core.service.send(submission(), core.caller())

        assert codes(answer.stored) == [told]
        assert codes(await core.wait_completed(answer.stored.notification.id)) == ["interrupted"]
        assert len(upstream.sends) == 1


async def test_a_bug_in_the_call_itself_is_unknown_and_not_dialled_again(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_down(*_: Any, **__: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("relay.smsclone.client.SmscloneClient.send", break_down)
    async with running_core(tmp_path, upstream) as core:
        answer = await core.service.send(submission(), core.caller())
        [later] = await core.service.enqueue([submission()], core.caller())

        assert codes(answer.stored) == ["interrupted"]
        assert codes(await core.wait_completed(later.stored.notification.id)) == ["interrupted"]
        assert core.service.health().in_flight == 0
        assert upstream.sends == []


async def test_a_queued_call_that_met_a_bug_before_its_dial_waits_and_can_be_cancelled(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with running_core(tmp_path, upstream) as core:
        core.fail_once("start_dialling", ValueError("a bug"), times=1_000)  # however late the test comes to cancel it
        requeued = asyncio.Event()

        async def see(real: Any, *arguments: Any) -> Any:
            result = await real(*arguments)
            requeued.set()
            return result

        core.journal.hooks["requeue"] = see
        [answer] = await core.service.enqueue([submission()], core.caller())
        await asyncio.wait_for(requeued.wait(), 60)
        cancelled = await core.service.cancel(answer.stored.notification.id, core.client)

        assert codes(cancelled) == ["cancelled"]
        assert upstream.sends == []


@pytest.mark.parametrize(("method", "numbers"), [("claim", ONE), ("start_dialling", TWO)])
async def test_a_journal_that_says_yes_after_the_deadline_dials_nothing(
    tmp_path: Path, upstream: Upstream, method: str, numbers: Sequence[str]
) -> None:
    async with running_core(tmp_path, upstream, RELAY_SMSCLONE_MAX_RECIPIENTS_PER_CALL="1") as core:

        async def slow(real: Any, *asked: Any) -> Any:
            await asyncio.sleep(0.6)
            return await real(*asked)

        core.journal.hooks[method] = slow
        answer = await core.service.send(submission(*numbers), core.caller(), 0.3)

        assert codes(answer.stored) == ["deadline"] * len(numbers)
        assert upstream.sends == []
        assert core.service.health().in_flight == 0


@pytest.mark.parametrize("method", ["take", "take_expired"])
async def test_the_queue_survives_a_row_that_cannot_be_read(tmp_path: Path, upstream: Upstream, method: str) -> None:
    async with running_core(tmp_path, upstream) as core:
        core.fail_once(method, ValueError("no such value"))
        [answer] = await core.service.enqueue([submission()], core.caller())

        assert codes(await core.wait_completed(answer.stored.notification.id)) == ["sent"]


@pytest.mark.parametrize(
    ("method", "numbers", "left", "calls"),
    [
        ("record", ONE, ["interrupted"], 1),
        ("record", TWO, ["interrupted", "sent"], 2),
        ("start_dialling", TWO, ["interrupted_before_dial", "sent"], 1),
    ],
)
async def test_a_bug_of_ours_leaves_no_permit_taken_and_no_call_open(
    tmp_path: Path, upstream: Upstream, method: str, numbers: Sequence[str], left: list[str], calls: int
) -> None:
    async with running_core(tmp_path, upstream, RELAY_SMSCLONE_MAX_RECIPIENTS_PER_CALL="1") as core:
        core.fail_once(method, ValueError("a bug"))
        answer = await core.service.send(submission(*numbers), core.caller())
        await core.wait_completed(answer.stored.notification.id)

        assert core.service.health().in_flight == 0
        assert sorted(codes(answer.stored)) == left
        assert len(upstream.sends) == calls


async def test_a_bug_before_the_claim_stands_leaves_no_permit_taken(tmp_path: Path, upstream: Upstream) -> None:
    async with running_core(tmp_path, upstream) as core:
        core.fail_once("claim", ValueError("a bug"))
        with pytest.raises(ValueError, match="a bug"):
            await core.service.send(submission(), core.caller())

        assert core.service.health().in_flight == 0
        assert upstream.sends == []


async def test_a_key_that_is_taken_leaves_no_permit_taken(tmp_path: Path, upstream: Upstream) -> None:
    async with running_core(tmp_path, upstream) as core:
        await core.service.send(submission(idempotency_key="order-1204"), core.caller())
        answer = await core.service.send(submission(idempotency_key="order-1204"), core.caller())

        assert answer.replayed
        assert core.service.health().in_flight == 0
        assert upstream.count() == {"2348031234567": 1}


async def test_pause_holds_what_is_in_delivery(tmp_path: Path, upstream: Upstream) -> None:
    async with running_core(tmp_path, upstream, RELAY_SMSCLONE_MAX_RECIPIENTS_PER_CALL="1") as core:
        upstream.gate.clear()
        numbers = [f"23480312{index:05}" for index in range(40)]
        [answer] = await core.service.enqueue([submission(*numbers)], core.caller())
        await until(lambda: len(upstream.sends) >= 4)
        looked = asyncio.Event()

        async def see_nothing(*_: Any) -> Any:
            looked.set()
            raise AWAY

        core.journal.hooks["list_pauses"] = see_nothing
        await looked.wait()  # so that no earlier look, still under way, brings back that nothing is stopped
        core.service._runtime.switches.paused = True
        upstream.gate.set()
        await until(lambda: not core.service.health().in_flight)
        await asyncio.sleep(0.3)
        made = len(upstream.sends)
        core.journal.hooks.clear()
        core.service._runtime.switches.paused = False
        await core.wait_completed(answer.stored.notification.id)

        assert made <= 8
        assert upstream.count() == dict.fromkeys(numbers, 1)


async def test_a_look_that_began_before_the_operators_stop_does_not_undo_it(tmp_path: Path, upstream: Upstream) -> None:
    async with running_core(tmp_path, upstream) as core:
        held, may_go_on, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def be_late(real: Any, *arguments: Any) -> Any:
            pauses = await real(*arguments)
            if not held.is_set():
                held.set()
                await may_go_on.wait()
                asyncio.get_running_loop().call_soon(over.set)  # after who looked has taken it up
            return pauses

        core.journal.hooks["list_pauses"] = be_late
        await held.wait()
        await core.operator.pause(Scope(), core.caller(), reason="a drill", seconds=None)
        may_go_on.set()
        await over.wait()

        assert core.service.health().paused


async def test_a_stop_that_runs_out_of_time_tells_what_the_next_process_will_find(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with running_core(tmp_path, upstream, RELAY_SENDING_DRAIN_SECONDS="0.2") as core:
        upstream.gate.clear()
        waiting = asyncio.create_task(core.service.send(submission(), core.caller()))
        await until(lambda: upstream.sends)
        await core.relay.drain()
        answer = await waiting
        upstream.gate.set()

        assert codes(answer.stored) == ["interrupted"]


async def test_what_hangs_at_the_stand_in_never_stops_sandbox_clients(tmp_path: Path, upstream: Upstream) -> None:
    async with running_core(tmp_path, upstream) as core:
        for _ in range(8):
            await core.service.send(submission("2348010000011"), core.caller(core.sandbox_client))
        answer = await core.service.send(submission("2348010000001"), core.caller(core.sandbox_client))

        assert codes(answer.stored) == ["sent"]
        assert upstream.sends == []


async def test_a_waiting_callers_notification_is_not_cancelled_as_if_it_were_queued(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with running_core(tmp_path, upstream, RELAY_SMSCLONE_MAX_CONNECTIONS="1") as core:
        upstream.gate.clear()
        first = asyncio.create_task(core.service.send(submission(), core.caller()))
        await until(lambda: upstream.sends)
        second = asyncio.create_task(core.service.send(submission(reference="second"), core.caller()))
        await until(lambda: core.service.health().waiting)
        [waiting] = await core.service.select(ListFilter(client="billing", reference="second"))
        with pytest.raises(Refusal) as refusal:
            await core.service.cancel(waiting.notification.id, core.client)
        upstream.gate.set()

        assert refusal.value.code is ProblemCode.ALREADY_DIALLED
        assert codes((await first).stored) == codes((await second).stored) == ["sent"]


async def test_tg20_is_halved_until_the_upstream_takes_it_and_nobody_gets_two(
    tmp_path: Path, upstream: Upstream
) -> None:
    def at_most_three(request: Any) -> bytes:
        if request.path.endswith("/balance"):
            return http_answer("256.21")
        if len(request.numbers) > 3:
            return http_answer("TG20-Recipients above the maximum target")
        sent.extend(request.numbers)
        return http_answer(processed(dict.fromkeys(request.numbers, "sent")))

    sent: list[str] = []
    upstream.answer = at_most_three
    numbers = [f"23480312{index:05}" for index in range(20)]
    async with running_core(tmp_path, upstream) as core:
        answer = await core.service.send(submission(*numbers), core.caller())

        assert codes(answer.stored) == ["sent"] * 20
        assert sorted(sent) == numbers


async def test_a_second_attempt_by_dnd_is_made_once_where_it_is_switched_on(tmp_path: Path, upstream: Upstream) -> None:
    def dnd(request: Any) -> bytes:
        if request.path.endswith("/balance"):
            return http_answer("256.21")
        outcome = "dnd_rejected" if request.path.endswith("/sendsms") else "sent_dnd"
        return http_answer(processed(dict.fromkeys(request.numbers, outcome)))

    upstream.answer = dnd
    config = tmp_path / "relay.toml"
    config.write_text('[sending]\ndnd_second_attempt = ["otp"]\n[routes]\notp = "normal"\n')
    async with running_core(tmp_path, upstream, RELAY_CONFIG=str(config)) as core:
        answer = await core.service.send(submission(message_type=MessageType.OTP), core.caller())
        [result] = view_recipients(answer.stored)

        assert (result.code.value, result.attempts) == ("sent_dnd", 2)
        assert [request.path for request in upstream.sends] == ["/api/sms/sendsms", "/api/sms/dnd-route"]
