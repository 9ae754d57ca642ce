"""One run: replicas, clients and operator under a scenario's faults, until everything that was accepted has ended."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from functools import cache
from itertools import count
from typing import Any

from msgspec import Struct, field

from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import MessageType, ProblemCode, RequestedRoute
from relay.domain.errors import Refusal
from relay.domain.notification import open_indexes
from relay.domain.pausing import Scope
from relay.observability.recorder import Recorder
from relay.sending.requests import Answer, Caller, Submission
from relay.sending.service import Service
from relay.sending.suppression_list import AskedSuppression
from sim.faults import Fault, Operation, Scenario
from sim.guises import Guise
from sim.judge import Told, judge
from sim.loop import NeverEnds, Process, SimulatedLoop
from sim.network import PLAIN, Network, Upstream
from sim.replica import CALLBACK_URL, CLIENT, EPOCH_MS, Receiver, Replica, Vanished, cheaper
from sim.store import Database, Store
from support.moves import READ, judge_moves, read_moves

_LOOK_SECONDS = 5.0
_LONGEST_SECONDS = 7200.0
"""Of simulated time, after which what has not ended never will."""
_ROUGH_SECONDS = 200.0
"""How long things may still go wrong after the last operation."""
PAUSED_SECONDS = 60
"""How long a pause lasts."""
_QUIET_SECONDS = 25.0
"""How long an answer may still come after the last end: a call has 20 s."""
_TRY_AGAIN = frozenset(
    {
        ProblemCode.JOURNAL_UNAVAILABLE,
        ProblemCode.OVERLOADED,
        ProblemCode.DRAINING,
        ProblemCode.PAUSED,
        ProblemCode.UPSTREAM_UNREACHABLE,
        ProblemCode.IDEMPOTENCY_IN_PROGRESS,
    }
)


class Run(Struct, kw_only=True):
    """What a run was. ``log`` replays byte for byte; ``points`` are its crash points, in order."""

    scenario: Scenario
    violations: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    seconds: float = 0.0
    effects: int = 0
    works: dict[str, int] = field(default_factory=dict)
    moves: dict[str, int] = field(default_factory=dict)


@cache
def database() -> Database:
    """The database of this process's runs."""
    return Database()


def run(scenario: Scenario) -> Run:
    """Run a scenario and judge it."""
    world = World(scenario, database())
    result = world.result
    try:
        world.loop.run_until_complete(world.live())
        result.violations += judge(world)
        moves = judge_moves(read_moves(world.database.connection.execute(READ)))
        result.violations += [f"illegal move: {move}" for move in moves.illegal]
        result.moves = dict(moves.seen)
    except NeverEnds as reason:
        result.violations.append(f"never ended: {reason}")
    finally:
        result.violations += [f"trouble: {trouble}" for trouble in world.loop.troubles]
        result.seconds = world.loop.time()
        result.effects = world.upstream.effects.total()
        result.works = dict(world.store.seen)
        world.loop.bury()
        world.database.end()
    return result


class World:
    """Everything outside the replicas, and the replicas."""

    def __init__(
        self, scenario: Scenario, database: Database, guise: Guise = PLAIN, recorder: Recorder | None = None
    ) -> None:
        self.scenario = scenario
        self.guise = guise
        self.result = Run(scenario=scenario)
        self.loop = loop = SimulatedLoop(scenario.seed)
        self.database = database
        database.begin(self._moment_ms)
        faults = scenario.faults
        self._deaths = {fault.point: fault for fault in faults if fault.kind in ("crash", "stop", "cut")}
        self.store = Store(loop, database, faults, self.reach, self.note)
        self.upstream = Upstream(loop, faults, scenario.most_per_call, guise)
        self.network = Network(loop, self.upstream, faults, self.reach, self.note)
        self.receiver = Receiver(loop)
        ids = count(1)
        skews = {fault.replica: round(fault.seconds * 1000) for fault in faults if fault.kind == "clock"}
        self.replicas = [
            Replica(
                f"r{place}",
                loop,
                self.store,
                self.receiver,
                ids,
                self.note,
                skews.get(place, 0),
                guise,
                recorder,
                scenario.accounts,
            )
            for place in range(scenario.replicas)
        ]
        self.told: dict[int, Told] = {}
        """What each operation was told, by its position."""
        self._calm = False

    # --- what is heard of the replicas --------------------------------------------------------------------------------

    def note(self, process: Process, line: str) -> None:
        """Keep a line of the log."""
        self.result.log.append(f"{self.loop.time():.6f} {process.name} {line}")

    def reach(self, process: Process, what: str) -> bool:
        """A process comes to a crash point; whether it lives on."""
        if not process.alive or self._calm:
            return process.alive
        points = self.result.points
        points.append(what)
        fault = self._deaths.get(len(points))
        if fault is not None:
            self._strike(process, fault, what)
        return process.alive

    def _strike(self, process: Process, fault: Fault, what: str) -> None:
        self.note(process, f"{fault.kind} where it {what}")
        if fault.kind == "cut":
            process.cut_until = self.loop.time() + fault.seconds
            return
        if fault.kind == "stop":
            process.stopped = True
            self.loop.world.post(fault.seconds, process.go_on)
            return
        process.kill()
        replica = next(each for each in self.replicas if each.process is process)
        self.loop.world.post(fault.seconds, replica.start)

    # --- the course of a run ------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Do what the scenario says, then wait until everything has ended."""
        with cheaper():
            await self._live()

    async def _live(self) -> None:
        for replica in self.replicas:
            replica.start()
        clients = [
            self.loop.world.spawn(self._operate(place, operation))
            for place, operation in enumerate(self.scenario.operations)
        ]
        last = max((fault.at + fault.seconds for fault in self.scenario.faults if fault.kind != "clock"), default=0.0)
        if clients:
            await asyncio.wait(clients)
        for client in clients:
            client.result()
        await asyncio.sleep(max(last - self.loop.time(), 0.0))
        calm_at = self.loop.time() + _ROUGH_SECONDS
        while not self._is_over() and self.loop.time() < calm_at:
            await asyncio.sleep(_LOOK_SECONDS)
        self._be_calm()
        give_up = self.loop.time() + _LONGEST_SECONDS
        while not self._is_over():
            if self.loop.time() > give_up:
                return  # the judge says what has not ended
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.sleep(_QUIET_SECONDS)
        while not self._is_over() and self.loop.time() < give_up:
            await asyncio.sleep(_LOOK_SECONDS)

    def _be_calm(self) -> None:
        """Nothing goes wrong from here on; whoever is away comes back."""
        self._calm = self.store.calm = self.upstream.calm = self.network.calm = self.receiver.calm = True
        for replica in self.replicas:
            if replica.process is not None and replica.process.stopped:
                self.loop.world.post(0.0, replica.process.go_on)
            replica.start()

    def _is_over(self) -> bool:
        execute = self.database.connection.execute
        [open_ones] = execute("SELECT count(*) FROM notifications WHERE state != 'done'").fetchone()
        [callbacks] = execute("SELECT count(*) FROM callbacks").fetchone()
        return not open_ones and not callbacks and any(replica.serves for replica in self.replicas)

    # --- clients and the operator -------------------------------------------------------------------------------------

    async def _operate(self, place: int, operation: Operation) -> None:
        await asyncio.sleep(operation.at)
        told = self.told[place] = Told(operation=operation)
        if operation.kind in ("send", "enqueue"):
            await self._ask_until_told(told)
        elif operation.kind == "restart":
            await self._restart(self._replica(operation.replica))
        else:
            await self._act(told)

    def _replica(self, place: int) -> Replica:
        return self.replicas[place % len(self.replicas)]

    async def _ask_until_told(self, told: Told) -> None:
        operation = told.operation
        for attempt in range(operation.tries + 1):
            if attempt:
                await asyncio.sleep(self.loop.random.uniform(0.5, 8.0))
            replica = self._replica(operation.replica + attempt)
            if not replica.serves:
                continue
            answer = await self._ask(replica, told)
            if isinstance(answer, Answer) or (isinstance(answer, Refusal) and answer.code not in _TRY_AGAIN):
                return

    async def _ask(self, replica: Replica, told: Told) -> Answer | Refusal | Vanished:
        operation, service = told.operation, replica.service
        assert service is not None
        expires = None if operation.expires_in is None else self._now_ms() + round(operation.expires_in * 1000)
        submission = Submission(
            recipients=tuple(map(self.guise.number, operation.numbers)),
            message=self.guise.text(operation.text),
            reference=operation.text,
            idempotency_key=None if operation.key is None else self.guise.text(operation.key),
            route=RequestedRoute(operation.route),
            expires_at=expires,
            callback_url=CALLBACK_URL if operation.calls_back else None,
            message_type=MessageType(operation.message_type),
            send_at=None if operation.send_in is None else self._now_ms() + round(operation.send_in * 1000),
        )
        caller = replica.caller()
        work: Awaitable[Any]
        if operation.kind == "send":
            work = service.send(submission, caller, operation.wait)
        else:
            work = _enqueue(service, submission, caller)
        answer: Answer | Refusal | Vanished = await self._hear(replica, work)
        told.answers.append(answer)
        return answer

    async def _hear(self, replica: Replica, work: Any) -> Any:
        try:
            heard = await replica.ask(work)
        except (Refusal, Vanished) as failure:
            heard = failure
        assert replica.process is not None
        self.note(self.loop.world, f"hears {_name(heard)} of {replica.process.name}")
        return heard

    async def _act(self, told: Told) -> None:
        """What the operator does, or a client that cancels; where the replica is away, it is not done."""
        operation = told.operation
        replica = self._replica(operation.replica)
        if not replica.serves:
            return
        work = self._work_of(operation, replica)
        if work is not None:
            told.began_ms = self._moment_ms()
            told.answers.append(await self._hear(replica, work))
            told.heard_ms = self._moment_ms()

    def _work_of(self, operation: Operation, replica: Replica) -> Any:
        caller, operator, service = replica.caller(), replica.operator, replica.service
        assert service is not None
        if operation.kind == "pause":
            return operator.pause(self.scope_of(operation), caller, reason="a test", seconds=PAUSED_SECONDS)
        if operation.kind == "resume":
            return operator.resume(None, caller)
        meant = self.told.get(operation.of)
        notification_id = None if meant is None else meant.notification_id
        if meant is None or notification_id is None:
            return None
        if operation.kind == "cancel":
            return service.cancel(notification_id, caller.client)
        if operation.kind == "move":
            return service.move(notification_id, caller.client, self._now_ms() + round((operation.send_in or 0) * 1000))
        if operation.kind == "suppress":
            return self._suppress(replica, meant.operation.numbers[0])
        if operation.kind == "settle":
            return self._settle(replica, notification_id, meant.operation)
        return operator.resend(notification_id, message=self.guise.text(meant.operation.text), caller=caller)

    async def _settle(self, replica: Replica, notification_id: str, meant: Operation) -> Any:
        """The operator knows from elsewhere what became of each number, and says so once no call is out any more."""
        await asyncio.sleep(_QUIET_SECONDS)
        service, caller = replica.service, replica.caller()
        if service is None:  # it is stopping
            return None
        operator = replica.operator  # what it has begun it ends, also where it is told to stop meanwhile
        stored = await service.find(notification_id, caller.client)
        if stored is None:
            return None
        settled = stored
        for index in open_indexes(stored):
            number = stored.notification.entries[index].number or ""
            sent = self.upstream.effects[self.guise.undo_number(number), meant.text] > 0
            settled = await operator.resolve(
                notification_id, sent=sent, recipients=[f"+{number}"], reason="asked them", caller=caller
            )
        return settled

    async def _suppress(self, replica: Replica, number: str) -> Any:
        asked = AskedSuppression(recipient=f"+{self.guise.number(number)}", reason="asked to")

        async def pause() -> None:
            """One is entered."""

        return await replica.suppressions.enter([asked], replica.caller(), everybody=False, pause=pause)

    def scope_of(self, operation: Operation) -> Scope:
        """What a pause stops."""
        meant = self.scenario.operations[operation.of]
        return {
            "all": Scope(),
            "client": Scope(client=CLIENT),
            "message_type": Scope(message_type=MessageType(meant.message_type)),
            "account": Scope(account=FIRST_ACCOUNT),
        }[operation.scope]

    async def _restart(self, replica: Replica) -> None:
        if not replica.serves:
            return
        process = replica.process
        assert process is not None
        with suppress(Vanished, Refusal):
            await replica.ask(replica.stop())
        process.kill()
        self.note(process, "left")
        replica.start()

    def _now_ms(self) -> int:
        return round(self._moment_ms())

    def _moment_ms(self) -> float:
        return EPOCH_MS + self.loop.time() * 1000


async def _enqueue(service: Service, submission: Submission, caller: Caller) -> Answer | Refusal:
    [answer] = await service.enqueue([submission], caller)
    return answer


def _name(heard: object) -> str:
    return heard.code.value if isinstance(heard, Refusal) else type(heard).__name__
