"""From the end of a notification to its receiver: over a real journal and real sockets, with time that a test moves."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from standardwebhooks import Webhook

from relay.domain.callback_rules import CallbackOutcome
from relay.domain.codes import ResolvedBy
from relay.domain.secret import Secret
from relay.journal.sqlite import SqliteJournal
from relay.sending.callback_queue import CallbackQueue, DueCallback
from relay.sending.events import Event, JournalFailed
from relay.sending.ports import JournalUnavailable
from relay.webhooks.callbacks.addresses import AddressRules
from relay.webhooks.callbacks.posting import GuardedBackend, Poster
from relay.webhooks.callbacks.schedule import Response
from relay.webhooks.callbacks.worker import PER_TARGET, CallbackClient, CallbackWorker, Posting
from support.fakes import FakeClock
from support.journal import NO_ANSWER, NOON, SENT, audit, make_queued, send
from support.receiver import CallbackReceiver, answer, running_receiver
from support.waiting import PATIENCE_SECONDS

SECRET = "whsec_" + base64.b64encode(b"canary-secret-0123456789-0123").decode()
MINUTE_MS = 60_000


async def loopback(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


@dataclass
class Witness:
    """Takes outcomes and events."""

    outcomes: list[tuple[CallbackOutcome, int, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def record_callback(self, **told: Any) -> None:
        self.outcomes.append((told["outcome"], told["attempt"], told["cause"]))

    def emit(self, event: Event) -> None:
        self.events.append(event)


@dataclass
class Office:
    """A worker with what it needs."""

    journal: SqliteJournal
    clock: FakeClock
    witness: Witness = field(default_factory=Witness)
    clients: dict[str, CallbackClient] = field(default_factory=dict)
    rules: AddressRules = field(default_factory=lambda: AddressRules(["127.0.0.0/8"]))
    worker: CallbackWorker | None = None

    def start(self, *, poster: Posting | None = None, queue: Any = None) -> None:
        """Begin."""
        backend = GuardedBackend(loopback, self.rules.permits)
        made = Poster(backend, ssl.create_default_context(), deadline_seconds=PATIENCE_SECONDS)
        self.worker = CallbackWorker(
            queue or self.journal,
            poster or made,
            clients=lambda: self.clients,
            recorder=self.witness,
            events=self.witness,
            clock=self.clock,
            chance=lambda: 1.0,
            poll_seconds=0.01,
        )
        self.worker.start()

    def serve(self, receiver: CallbackReceiver, client: str = "billing", host: str = "orders.internal") -> str:
        """Let a client's callbacks go to a receiver; its address."""
        known = self.clients.get(client, CallbackClient(frozenset(), (Secret(SECRET),)))
        self.clients[client] = replace(known, hosts=known.hosts | {f"http://{host}:{receiver.port}"})
        return f"http://{host}:{receiver.port}/sms"

    async def finish(self, url: str, **changes: Any) -> str:
        """Take a notification to its end; its id."""
        claim = make_queued(callback_url=url, **{k: v for k, v in changes.items() if k != "outcome"})
        outcome = {"outcome": changes["outcome"]} if "outcome" in changes else {}
        await send(self.journal, claim, callback_url=url, at=NOON, **outcome)
        return claim.notification.id

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not happened():
                await asyncio.sleep(0.005)

    async def outcomes(self, count: int) -> list[tuple[CallbackOutcome, int, str]]:
        """The first outcomes."""
        await self.until(lambda: len(self.witness.outcomes) >= count)
        return self.witness.outcomes[:count]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    clock = FakeClock(NOON)
    journal = SqliteJournal(tmp_path / "relay.db", clock=clock)
    await journal.open()
    made = Office(journal, clock)
    yield made
    if made.worker is not None:
        await made.worker.stop(0.2)
    await journal.close()


@pytest.fixture
async def receiver() -> AsyncIterator[CallbackReceiver]:
    async with running_receiver() as running:
        yield running


async def test_the_end_of_a_notification_is_told_signed_and_once(office: Office, receiver: CallbackReceiver) -> None:
    office.start()
    notification_id = await office.finish(office.serve(receiver))

    assert await office.outcomes(1) == [(CallbackOutcome.DELIVERED, 1, "204")]
    [request] = receiver.requests
    body = json.loads(request.body)
    assert body["type"] == "notification.completed"
    assert body["data"]["id"] == notification_id
    assert "input" not in body["data"]["recipients"][0]
    assert request.headers["webhook-id"] == f"msg_{notification_id}_completed"
    assert request.headers["webhook-timestamp"] == str(NOON // 1000)
    at = datetime.fromtimestamp(NOON / 1000, UTC)
    signature = Webhook(SECRET).sign(request.headers["webhook-id"], at, request.body.decode())
    assert request.headers["webhook-signature"] == signature
    assert await office.journal.take_callbacks(9, NOON * 2, lease_ms=1, per_target=9, busy=[]) == []


async def test_a_rotated_secret_signs_beside_the_old_one_from_the_next_attempt_on(
    office: Office, receiver: CallbackReceiver
) -> None:
    receiver.answers = [answer(500), answer(204)]
    office.start()
    await office.finish(office.serve(receiver))
    await office.outcomes(1)
    old = office.clients["billing"]
    office.clients["billing"] = replace(old, secrets=(Secret(SECRET), Secret(SECRET.replace("Y2", "Z2"))))
    office.clock.advance(5)
    await office.outcomes(2)

    assert [len(request.headers["webhook-signature"].split()) for request in receiver.requests] == [1, 2]


async def test_a_failure_is_repeated_with_the_same_id_and_a_new_timestamp(
    office: Office, receiver: CallbackReceiver
) -> None:
    receiver.answers = [answer(500), answer(302, "Location: /elsewhere\r\n"), answer(200)]
    office.start()
    await office.finish(office.serve(receiver))
    await office.outcomes(1)
    office.clock.advance(5)
    await office.outcomes(2)
    office.clock.advance(15)

    assert await office.outcomes(3) == [
        (CallbackOutcome.RETRIED, 1, "500"),
        (CallbackOutcome.RETRIED, 2, "302"),
        (CallbackOutcome.DELIVERED, 3, "200"),
    ]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    stamps = [int(request.headers["webhook-timestamp"]) for request in receiver.requests]
    assert stamps == [NOON // 1000, NOON // 1000 + 5, NOON // 1000 + 20]


async def test_retry_after_is_waited_for(office: Office, receiver: CallbackReceiver) -> None:
    receiver.answers = [answer(429, "Retry-After: 120\r\n"), answer(204)]
    office.start()
    await office.finish(office.serve(receiver))
    await office.outcomes(1)
    office.clock.advance(119)
    await asyncio.sleep(0.05)  # several polls
    assert len(receiver.requests) == 1
    office.clock.advance(1)

    assert (await office.outcomes(2))[1] == (CallbackOutcome.DELIVERED, 2, "204")


async def test_a_receiver_that_is_gone_is_called_no_more(office: Office, receiver: CallbackReceiver) -> None:
    receiver.answers = [answer(410)]
    office.start()
    url = office.serve(receiver)
    await office.finish(url)
    assert await office.outcomes(1) == [(CallbackOutcome.GONE, 1, "410")]
    await office.until(lambda: office.worker is not None and not office.worker._under_way)
    await office.finish(url)
    office.clock.advance(3600)
    await asyncio.sleep(0.05)  # several polls

    assert len(receiver.requests) == 1


async def test_after_a_day_it_is_given_up(office: Office, receiver: CallbackReceiver) -> None:
    receiver.answers = [answer(503)]
    url = office.serve(receiver)
    await office.finish(url)
    office.clock.advance(24 * 3600)
    office.start()

    assert await office.outcomes(1) == [(CallbackOutcome.GIVEN_UP, 1, "503")]
    assert await office.journal.take_callbacks(9, NOON * 2, lease_ms=1, per_target=9, busy=[]) == []


async def test_what_becomes_definite_is_told_again(office: Office, receiver: CallbackReceiver) -> None:
    office.start()
    notification_id = await office.finish(office.serve(receiver), outcome=NO_ANSWER)
    await office.outcomes(1)
    await office.journal.settle(notification_id, {0: SENT}, ResolvedBy.OPERATOR, NOON, audit("settle"))
    await office.outcomes(2)

    told = [json.loads(request.body) for request in receiver.requests]
    assert [body["type"] for body in told] == ["notification.completed", "notification.resolved"]
    assert [body["data"]["status"] for body in told] == ["unknown", "sent"]
    assert told[1]["data"]["recipients"][0]["resolved_by"] == "operator"


# --- where it may go --------------------------------------------------------------------------------------------------


async def test_an_address_inside_is_refused_at_send_and_not_tried_again(
    office: Office, receiver: CallbackReceiver
) -> None:
    office.rules = AddressRules()
    office.start()
    await office.finish(office.serve(receiver))

    assert await office.outcomes(1) == [(CallbackOutcome.REFUSED, 1, "refused")]
    assert receiver.connections == 0


@pytest.mark.parametrize("change", ["host", "client", "secrets"])
async def test_what_was_allowed_when_it_was_registered_may_be_allowed_no_more(
    office: Office, receiver: CallbackReceiver, change: str
) -> None:
    url = office.serve(receiver)
    known = office.clients["billing"]
    await office.finish(url)
    office.clients = {
        "host": {"billing": replace(known, hosts=frozenset({"other.internal"}))},
        "client": {},
        "secrets": {"billing": replace(known, secrets=())},
    }[change]
    office.start()

    assert await office.outcomes(1) == [(CallbackOutcome.REFUSED, 1, "not_allowed")]
    assert receiver.connections == 0


# --- never in the way ------------------------------------------------------------------------------------------------


async def hang(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(10 * PATIENCE_SECONDS)


async def test_a_receiver_that_hangs_holds_up_no_other(office: Office, receiver: CallbackReceiver) -> None:
    async with running_receiver(CallbackReceiver(behave=hang)) as hanging:
        slow, fast = office.serve(hanging, host="slow.internal"), office.serve(receiver)
        for _ in range(3 * PER_TARGET):
            await office.finish(slow)
        await office.finish(fast)
        office.start()

        assert await office.outcomes(1) == [(CallbackOutcome.DELIVERED, 1, "204")]
        await office.until(lambda: hanging.connections == PER_TARGET)
        await asyncio.sleep(0.05)  # several polls
        assert hanging.connections == PER_TARGET


async def test_a_long_line_to_one_receiver_is_worked_off(office: Office, receiver: CallbackReceiver) -> None:
    url = office.serve(receiver)
    ids = [await office.finish(url) for _ in range(40)]
    office.start()
    await office.outcomes(40)

    assert sorted(json.loads(request.body)["data"]["id"] for request in receiver.requests) == sorted(ids)


async def test_what_a_stop_cuts_is_told_by_whoever_comes_next(office: Office) -> None:
    async with running_receiver(CallbackReceiver(behave=hang)) as receiver:
        office.start()
        await office.finish(office.serve(receiver))
        await asyncio.wait_for(receiver.arrived.wait(), PATIENCE_SECONDS)
        assert office.worker is not None
        await office.worker.stop(0.01)
        assert office.witness.outcomes == []

        receiver.behave = None
        office.clock.advance(60)
        office.start()
        assert await office.outcomes(1) == [(CallbackOutcome.DELIVERED, 2, "204")]


class Broken:
    """A queue that fails when it is told how it went, the first time."""

    def __init__(self, queue: CallbackQueue) -> None:
        self._queue = queue
        self.failures = 1

    async def take_callbacks(self, *arguments: Any, **options: Any) -> list[DueCallback]:
        return await self._queue.take_callbacks(*arguments, **options)

    async def finish_callback(self, *arguments: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise JournalUnavailable("disk_full")
        await self._queue.finish_callback(*arguments)


async def test_where_the_journal_does_not_take_it_it_is_told_again(office: Office, receiver: CallbackReceiver) -> None:
    office.start(queue=Broken(office.journal))
    await office.finish(office.serve(receiver))
    await office.outcomes(1)
    await office.until(lambda: bool(office.witness.events))
    office.clock.advance(60)

    assert (await office.outcomes(2))[1] == (CallbackOutcome.DELIVERED, 2, "204")
    assert office.witness.events == [JournalFailed(during="callback", reason="disk_full")]


class Bug:
    """A poster with a bug."""

    async def post(self, url: str, headers: object, body: bytes) -> Response:
        raise RuntimeError("canary")


async def test_a_bug_stops_neither_the_worker_nor_a_later_attempt(office: Office, receiver: CallbackReceiver) -> None:
    office.start(poster=Bug())
    await office.finish(office.serve(receiver))
    await office.until(lambda: bool(office.witness.events))
    await office.until(lambda: office.worker is not None and not office.worker._under_way)

    assert "canary" not in repr(office.witness.events)
    [due] = await office.journal.take_callbacks(9, NOON + MINUTE_MS, lease_ms=1, per_target=9, busy=[])
    assert due.attempt == 2
