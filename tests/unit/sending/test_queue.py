"""The queue takes what is due: codes before receipts, every client in turn, and never more than there may be."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from relay.domain.codes import Code, MessageType, ProblemCode, Source
from relay.domain.errors import Refusal
from relay.domain.notification import Stored
from relay.sending import queue
from relay.sending.channels import Channels
from relay.sending.events import JournalFailed, TaskFailed
from relay.sending.ports import JournalUnavailable, Lease
from relay.sending.queue import Queue
from relay.sending.requests import Caller
from relay.sending.service import Service
from support.fakes import SequentialIds
from support.journal import codes, pause
from support.sending import Scene, running_scene, submission
from support.waiting import PATIENCE_SECONDS


class Taken:
    """A queue whose deliveries go on until a test lets them."""

    def __init__(self, scene: Scene, clients: Sequence[str] = ("billing",)) -> None:
        self.scene = scene
        self.clients = list(clients)
        self.leases: list[Lease] = []
        self.go_on = asyncio.Event()
        self.arrived = asyncio.Condition()
        self.queue = Queue(scene.runtime, clients=lambda _: self.clients, deliver=self._deliver)
        self.running = asyncio.ensure_future(self.queue.run())

    async def _deliver(self, lease: Lease) -> None:
        async with self.arrived:
            self.leases.append(lease)
            self.arrived.notify_all()
        await self.go_on.wait()
        await self.scene.lifecycle.deliver_taken(lease)

    async def until(self, count: int) -> list[MessageType]:
        """Wait until so many were taken; their types in order."""
        async with asyncio.timeout(60), self.arrived:
            await self.arrived.wait_for(lambda: len(self.leases) >= count)
        return [lease.stored.notification.message_type for lease in self.leases]

    async def stop(self) -> None:
        """Take nothing more, and let what was taken end."""
        self.go_on.set()
        self.queue.stop()
        async with asyncio.timeout(60):
            await self.running


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running_scene(tmp_path, queue_deliveries=4, queue_reserved=1) as scene:
        yield scene


async def test_codes_are_taken_before_receipts_and_receipts_before_campaigns(scene: Scene) -> None:
    for kind in (MessageType.PROMOTIONAL, MessageType.TRANSACTIONAL, MessageType.OTP):
        await scene.enqueue(message_type=kind)
    taken = Taken(scene)

    assert await taken.until(3) == [MessageType.OTP, MessageType.TRANSACTIONAL, MessageType.PROMOTIONAL]
    await taken.stop()


async def test_a_campaign_leaves_a_place_that_only_codes_and_alerts_may_take(scene: Scene) -> None:
    for index in range(6):
        await scene.enqueue(f"234803123456{index}", message_type=MessageType.PROMOTIONAL)
    taken = Taken(scene)
    await taken.until(3)
    for kind in (MessageType.OTP, MessageType.TRANSACTIONAL, MessageType.ALERT):
        await scene.enqueue(message_type=kind)
    taken.queue.wake()

    assert await taken.until(4) == [*[MessageType.PROMOTIONAL] * 3, MessageType.OTP]
    taken.go_on.set()
    await taken.until(9)
    await taken.stop()
    assert len(taken.leases) == 9


async def test_what_expired_ends_even_while_nothing_may_be_sent(scene: Scene) -> None:
    stored = await scene.enqueue(expires_at=scene.clock.now_ms() + 1_000)
    scene.clock.advance(1)
    taken = Taken(scene, clients=())
    await taken.until(1)
    await taken.stop()
    await scene.runtime.tasks.drain(PATIENCE_SECONDS)

    assert codes(await scene.find(stored.notification.id)) == [Code.EXPIRED]
    assert scene.sends() == {}


async def test_no_client_is_always_first(scene: Scene) -> None:
    asked: list[list[str]] = []

    async def see(real: Any, clients: Any, *more: Any) -> Any:
        asked.append(list(clients))
        return await real(clients, *more)

    scene.journal.hooks["take"] = see
    taken = Taken(scene, clients=("a", "b", "c"))
    async with asyncio.timeout(60):
        while len(asked) < 9:
            taken.queue.wake()
            await asyncio.sleep(0.01)
    await taken.stop()

    assert {clients[0] for clients in asked} == {"a", "b", "c"}
    assert all(sorted(clients) == ["a", "b", "c"] for clients in asked)


@pytest.mark.parametrize(
    ("failure", "event"), [(JournalUnavailable("unreachable"), JournalFailed), (ValueError("a row"), TaskFailed)]
)
async def test_neither_a_journal_that_is_away_nor_a_bug_ends_it(scene: Scene, failure: Exception, event: type) -> None:
    scene.journal.fail_once("take_expired", failure)
    await scene.enqueue()
    taken = Taken(scene)

    await taken.until(1)
    await taken.stop()
    assert len(scene.heard.of(event)) == 1


async def test_once_it_is_stopped_nothing_more_is_taken(scene: Scene) -> None:
    async def stop_first(real: Any, *arguments: Any) -> Any:
        taken.queue.stop()
        return await real(*arguments)

    await scene.enqueue(message_type=MessageType.OTP)
    await scene.enqueue(message_type=MessageType.TRANSACTIONAL)
    scene.journal.hooks["take"] = stop_first
    taken = Taken(scene)
    await taken.stop()

    assert [lease.stored.notification.message_type for lease in taken.leases] in ([], [MessageType.OTP])


async def test_what_expired_fills_every_place_and_the_rest_waits_its_turn(scene: Scene) -> None:
    for index in range(7):
        await scene.enqueue(f"234803123456{index}", expires_at=scene.clock.now_ms() + 1_000)
    scene.clock.advance(1)
    taken = Taken(scene)
    await taken.until(5)
    taken.queue.wake()
    await asyncio.sleep(0.05)
    at_first = len(taken.leases)
    taken.go_on.set()
    await taken.until(7)
    await taken.stop()

    assert at_first == 5
    assert scene.sends() == {}


async def test_whose_account_was_not_ready_at_the_start_waits_until_it_expires_and_keeps_nobody_else_waiting(
    scene: Scene,
) -> None:
    other = replace(scene.client, name="other", accounts=("backup",))
    clients = {each.name: each for each in (other, scene.client)}
    known = scene.lifecycle._channels
    channels = Channels(known.accounts, known.sandbox, clients=lambda: clients)
    service = Service(scene.runtime, channels, SequentialIds(500), rules=lambda: scene.rules, clients=lambda: clients)
    scene.client = replace(other, accounts=("smsclone",))
    waiting = await scene.enqueue()
    expiring = await scene.enqueue(expires_at=scene.clock.now_ms() + 1_000)
    scene.client = clients["billing"]
    sent = await scene.enqueue()

    scene.clock.advance(1)
    await service._queue._take_all()
    await scene.runtime.tasks.drain(PATIENCE_SECONDS)

    assert codes(await scene.find(waiting.notification.id)) == [Code.QUEUED]
    assert codes(await scene.find(expiring.notification.id)) == [Code.EXPIRED]
    assert codes(await scene.find(sent.notification.id)) == [Code.SENT]
    [refused] = await service.enqueue([submission()], Caller(client=other, source=Source.API, request_id="r"))
    assert isinstance(refused, Refusal)
    assert refused.code is ProblemCode.SENDER_NOT_ALLOWED


async def test_a_campaign_that_is_stopped_is_not_taken_again_and_again(scene: Scene) -> None:
    names = {"billing": scene.client}
    service = Service(
        scene.runtime, scene.lifecycle._channels, SequentialIds(500), rules=lambda: scene.rules, clients=lambda: names
    )
    scene.runtime.switches.pauses = (pause(message_type=MessageType.OTP),)
    stopped = await scene.enqueue(message_type=MessageType.OTP)
    others = [await scene.enqueue(message_type=kind) for kind in (MessageType.ALERT, MessageType.PROMOTIONAL)]
    taken: list[str] = []

    async def note(real: Any, *arguments: Any) -> Any:
        leases = await real(*arguments)
        taken.extend(lease.stored.notification.id for lease in leases)
        return leases

    scene.journal.hooks["take"] = note
    await service._queue._take_all()
    await scene.runtime.tasks.drain(PATIENCE_SECONDS)

    assert taken == [stored.notification.id for stored in others]
    assert codes(await scene.find(stopped.notification.id)) == [Code.QUEUED]


@pytest.fixture
def unpolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its first look the queue goes by wakes alone."""
    monkeypatch.setattr(queue, "POLL_SECONDS", 3_600.0)


@pytest.mark.usefixtures("unpolled")
async def test_where_nothing_was_due_the_journal_is_asked_again_after_a_wake_alone(scene: Scene) -> None:
    asked: list[Sequence[MessageType]] = []

    async def note(real: Any, clients: Any, message_types: Sequence[MessageType], *more: Any) -> Any:
        asked.append(tuple(message_types))
        return await real(clients, message_types, *more)

    for index in range(2):
        await scene.enqueue(f"234803123456{index}", message_type=MessageType.TRANSACTIONAL)
    scene.journal.hooks["take"] = note
    taken = Taken(scene)
    await taken.until(2)
    taken.go_on.set()
    await scene.runtime.tasks.drain(PATIENCE_SECONDS)
    await scene.enqueue(message_type=MessageType.OTP)
    taken.queue.wake()
    await taken.until(3)
    await taken.stop()

    codes_and_alerts = (MessageType.OTP, MessageType.ALERT)
    receipts, campaigns = (MessageType.TRANSACTIONAL,), (MessageType.PROMOTIONAL,)
    assert asked[:5] == [codes_and_alerts, receipts, campaigns, receipts, codes_and_alerts]


@pytest.mark.usefixtures("unpolled")
async def test_what_is_accepted_while_the_journal_says_that_there_is_nothing_is_taken_all_the_same(
    scene: Scene,
) -> None:
    accepted: list[Stored] = []

    async def accept_meanwhile(real: Any, *arguments: Any) -> Any:
        found = await real(*arguments)
        if not accepted:
            accepted.append(await scene.enqueue(message_type=MessageType.OTP))
            taken.queue.wake()
        return found

    scene.journal.hooks["take"] = accept_meanwhile
    taken = Taken(scene)

    assert await taken.until(1) == [MessageType.OTP]
    await taken.stop()


@pytest.mark.usefixtures("unpolled")
async def test_what_found_no_place_is_taken_as_soon_as_one_is_free(scene: Scene) -> None:
    for index in range(9):
        await scene.enqueue(f"234803123456{index}", message_type=MessageType.PROMOTIONAL)
    taken = Taken(scene)
    await taken.until(3)
    taken.go_on.set()

    await taken.until(9)
    await taken.stop()


@pytest.mark.usefixtures("unpolled")
async def test_however_many_expired_at_once_none_waits_for_the_next_poll(scene: Scene) -> None:
    for index in range(25):
        await scene.enqueue(f"2348031234{index:03}", expires_at=scene.clock.now_ms() + 1_000)
    scene.clock.advance(1)
    taken = Taken(scene, clients=())
    taken.go_on.set()

    await taken.until(25)
    await taken.stop()
    assert scene.sends() == {}


@pytest.mark.usefixtures("unpolled")
async def test_codes_that_the_journal_could_not_give_are_asked_for_again_first(scene: Scene) -> None:
    asked: list[MessageType] = []
    failed = asyncio.Event()

    async def fail_once(real: Any, clients: Any, message_types: Sequence[MessageType], *more: Any) -> Any:
        asked.append(message_types[0])
        if len(taken.leases) == 1 and not failed.is_set():
            failed.set()
            raise JournalUnavailable("unreachable")
        return await real(clients, message_types, *more)

    await scene.enqueue(message_type=MessageType.PROMOTIONAL)
    taken = Taken(scene)
    await taken.until(1)
    scene.journal.hooks["take"] = fail_once
    await scene.enqueue(message_type=MessageType.OTP)
    taken.queue.wake()
    async with asyncio.timeout(60):
        await failed.wait()
    taken.go_on.set()

    assert await taken.until(2) == [MessageType.PROMOTIONAL, MessageType.OTP]
    assert asked[:2] == [MessageType.OTP, MessageType.OTP]
    await taken.stop()


async def test_deliveries_that_end_do_not_put_the_next_poll_off(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    polled_at = 0.0
    until: list[float] = []

    async def note(real: Any, *arguments: Any) -> Any:
        nonlocal polled_at
        found = await real(*arguments)
        polled_at = loop.time()
        return found

    async def wait(tasks: Any, *, timeout: float) -> None:
        until.append(loop.time() + timeout - polled_at)
        await asyncio.sleep(0.05)
        taken.queue._wake.set()  # a delivery ended
        await real_wait(tasks, timeout=timeout)

    real_wait = asyncio.wait
    scene.journal.hooks["take_expired"] = note
    monkeypatch.setattr(asyncio, "wait", wait)
    taken = Taken(scene)
    async with asyncio.timeout(60):
        while len(until) < 4:
            await asyncio.sleep(0.01)
    monkeypatch.undo()
    await taken.stop()

    assert until == pytest.approx([queue.POLL_SECONDS] * len(until), abs=0.02)
