"""A replica as it is composed in production, without its HTTP front, on the simulated journal and network."""

import copy
import io
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import count
from ssl import SSLContext
from typing import Any, TypeVar
from unittest.mock import patch

from relay.app import outbound
from relay.app.composition import Relay
from relay.app.outbound import callback_clients
from relay.app.policies import client_policies
from relay.domain.codes import Source
from relay.observability.recorder import Recorder
from relay.sending import jobs, queue
from relay.sending.operations import Operator
from relay.sending.ports import JournalUnavailable
from relay.sending.requests import Caller
from relay.sending.service import Service
from relay.sending.suppression_list import SuppressionList
from relay.settings import Settings
from relay.settings.load import settings_of
from relay.smsclone.tls import make_tls_context
from relay.webhooks.callbacks.schedule import Response
from relay.webhooks.callbacks.worker import CallbackWorker
from sim.guises import Guise
from sim.loop import Process, SimulatedLoop
from sim.network import ACCOUNTS, PLAIN
from sim.store import SimulatedJournal, Store

T = TypeVar("T")

EPOCH_MS = 1_793_000_000_000
"""When every run begins: 2026-10-26, 07:33 in Lagos."""
HASH_KEY = "simulated hash key, of 32 bytes."
CLIENT = "billing"
CALLBACK_URL = "https://orders.internal/sms"
_SECRET = "whsec_c2ltdWxhdGVkIHNlY3JldCwgb2YgMzIgYnl0ZXMhIQ=="
_RESTART_SECONDS = 5.0

SLOWER = {
    (queue, "POLL_SECONDS"): 60.0,
    (jobs, "HEARTBEAT_SECONDS"): 20.0,
    (jobs, "RECOVER_SECONDS"): 30.0,
    (jobs, "PAUSE_SECONDS"): 30.0,
    (jobs, "PROBE_SECONDS"): 40.0,
    (jobs, "BUDGET_SECONDS"): 600.0,
    (jobs, "MEASURE_SECONDS"): 600.0,
    (jobs, "TEND_SECONDS"): 600.0,
    (jobs, "UNKNOWN_SECONDS"): 600.0,
}
"""Jobs that look again and again, made rarer: they are most of the cost of a simulated minute."""
CALLBACK_POLL_SECONDS = 30.0


@cache
def _tls_context() -> SSLContext:
    return make_tls_context()


@contextmanager
def cheaper() -> Iterator[None]:
    """A block in which what costs a run most is rare, or made once; other tests of this process are not concerned."""
    with ExitStack() as stack:
        for (module, name), seconds in SLOWER.items():
            stack.enter_context(patch.object(module, name, seconds))
        # plain http never uses it, and it is a tenth of a second of work
        stack.enter_context(patch.object(outbound, "make_tls_context", lambda _ca_file: _tls_context()))
        yield


class SimulatedClock:
    """A process's clocks: the wall's may be wrong, by ``skew_ms``."""

    def __init__(self, loop: SimulatedLoop, skew_ms: int) -> None:
        self._loop = loop
        self._skew_ms = skew_ms

    def now_ms(self) -> int:
        """Wall-clock milliseconds."""
        return EPOCH_MS + round(self._loop.time() * 1000) + self._skew_ms

    def monotonic(self) -> float:
        """Seconds."""
        return self._loop.time()


class SimulatedIds:
    """UUIDv7 in form, by the clock and a count that all replicas share."""

    def __init__(self, clock: SimulatedClock, numbers: "count[int]") -> None:
        self._clock = clock
        self._numbers = numbers

    def new_id(self) -> str:
        """One id."""
        time, number = f"{self._clock.now_ms():012x}", next(self._numbers)
        return f"{time[:8]}-{time[8:]}-7000-8000-{number:012x}"


class Ear:
    """Takes what a replica says: events, and how callbacks ended."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def emit(self, event: Any) -> None:
        """See ``Events``. Measurements are left out: there are many, and nothing follows from them."""
        name = type(event).__name__
        if not name.endswith("Measured"):
            self._note(name)

    def record_callback(self, *, notification_id: str, outcome: Any, **_facts: Any) -> None:
        """See ``CallbackRecorder``."""
        del notification_id
        self._note(f"callback {outcome.value}")


@cache
def settings(guise: Guise, accounts: int = 1) -> Settings:
    """What every simulated replica is configured with."""
    document: dict[str, Any] = {
        "smsclone": {"base_url": "http://127.0.0.1:9", "username": ACCOUNTS[0], "password": guise.text("open sesame")},
        "sending": {"dnd_second_attempt": ["transactional"]},
        "clients": [
            {
                "name": CLIENT,
                "keys": [],
                "default_sender": "ACME",
                "message_types": ["otp", "alert", "transactional"],
                "routes": ["auto", "normal", "dnd", "dnd-fallback"],
                "callback_hosts": ["orders.internal"],
                "callback_secrets": [_SECRET],
            }
        ],
    }
    if accounts > 1:
        document["accounts"] = [{**document["smsclone"], "name": "second", "username": ACCOUNTS[1]}]
        document["clients"][0]["accounts"] = ["smsclone", "second"]
    return settings_of(document, {})


@cache
def template(guise: Guise, accounts: int) -> Relay:
    """A relay of which every replica is a copy: reading lists and making series takes longer than a whole run."""
    return Relay(settings(guise, accounts), io.BytesIO())


class Receiver:
    """Stands for whoever takes callbacks; keeps what came, in order."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self.bodies: list[bytes] = []
        self.calm = False

    async def post(self, url: str, headers: list[tuple[str, str]], body: bytes) -> Response:
        """See ``Posting``: now and then nothing arrives, or the answer is lost."""
        del url, headers
        future = self._loop.create_future()
        self._loop.current.post(self._loop.random.uniform(0.01, 0.2), _finish, future)
        await future
        luck = 1.0 if self.calm else self._loop.random.random()
        if luck < 0.1:
            return Response(None, "reset")
        self.bodies.append(body)
        return Response(None, "timeout") if luck < 0.2 else Response(200, "answered")


class Replica:
    """A replica: one process after another.

    Attributes:
        service: the core of the present life, once it has started.
    """

    def __init__(
        self,
        name: str,
        loop: SimulatedLoop,
        store: Store,
        receiver: Receiver,
        ids: "count[int]",
        note: Callable[[Process, str], None],
        skew_ms: int = 0,
        guise: Guise = PLAIN,
        recorder: Recorder | None = None,
        accounts: int = 1,
    ) -> None:
        self.name = name
        self._loop = loop
        self._store = store
        self._receiver = receiver
        self._numbers = ids
        self._note = note
        self._skew_ms = skew_ms
        self._guise = guise
        self._recorder = recorder
        self._accounts = accounts
        self._lives = 0
        self.service: Service | None = None
        self.process: Process | None = None
        self._relay: Any = None
        self._callbacks: CallbackWorker | None = None

    @property
    def serves(self) -> bool:
        """Whether a request would be answered."""
        return self.service is not None and self.process is not None and self.process.alive

    def start(self) -> None:
        """Begin a life, unless one goes on."""
        if self.process is not None and self.process.alive:
            return
        self._lives += 1
        self.service = None
        self.process = process = self._loop.start_process(f"{self.name}.{self._lives}")
        process.spawn(self._live(process)).add_done_callback(self._loop.tell_of_bug)

    async def _live(self, process: Process) -> None:
        clock = SimulatedClock(self._loop, self._skew_ms)
        ear: Any = self._recorder or Ear(lambda line: self._note(process, line))
        relay: Any = copy.copy(template(self._guise, self._accounts))
        relay._clock, relay.recorder = clock, ear
        relay._ids = SimulatedIds(clock, self._numbers)
        relay._clients = client_policies(relay.settings)
        relay._journal = journal = SimulatedJournal(self._store, process, clock, self._guise.text(HASH_KEY).encode())
        callbacks = CallbackWorker(
            journal,
            self._receiver,
            clients=lambda: callback_clients(relay.settings),
            recorder=ear,
            events=ear,
            clock=clock,
            chance=self._loop.random.random,
            poll_seconds=CALLBACK_POLL_SECONDS,
        )
        try:
            await journal.open()
            service = relay._make_service(await journal.hash_key())
            await service.start()
        except JournalUnavailable:  # as in production: the process ends, and is started again
            process.kill()
            self._loop.world.post(_RESTART_SECONDS, self.start)
            return
        callbacks.start()
        self._relay, self._callbacks, self.service = relay, callbacks, service
        self._note(process, "serves")

    async def stop(self) -> None:
        """Drain and leave, as after SIGTERM; a task of the process."""
        service, callbacks, relay = self.service, self._callbacks, self._relay
        self.service = None
        if service is None or callbacks is None:
            return
        await service.drain()
        await callbacks.stop()
        await relay._journal.close()

    @property
    def operator(self) -> Operator:
        """What the operator's requests reach."""
        service, relay = self.service, self._relay
        assert service is not None
        return Operator(
            relay._journal,
            relay._clock,
            relay.recorder,
            service,
            hash_message=service.hash_message,
            look_at_pause=service.look_at_pause,
            clients=lambda: relay._clients,
            accounts=tuple(relay.settings.all_accounts()),
            allow_foreign=False,
        )

    @property
    def suppressions(self) -> SuppressionList:
        """Who is not to be written to, as the client's requests reach it."""
        return SuppressionList(self._relay._journal, self._relay._clock)

    def caller(self) -> Caller:
        """The client that asks."""
        return Caller(client=self._relay._clients[CLIENT], source=Source.API, request_id="r")

    def ask(self, work: Coroutine[Any, Any, T]) -> "Any":
        """Let the replica do something for somebody outside: a future of the world, which ends with its result, its
        exception, or :class:`Vanished` where the process dies first."""
        process = self.process
        assert process is not None
        future = self._loop.create_future()
        task = process.spawn(work)

        def on_done(_task: Any) -> None:
            self._loop.world.post(0.0, _pass_on, task, future)

        def on_death() -> None:
            self._loop.world.post(0.0, _vanish, future)

        task.add_done_callback(on_done)
        process.mourners.append(on_death)
        return future


class Vanished(Exception):
    """The connection to a replica broke before it answered."""


def _pass_on(task: Any, future: Any) -> None:
    if future.done():
        return
    if task.cancelled():
        future.set_exception(Vanished())
    elif (error := task.exception()) is not None:
        future.set_exception(error)
    else:
        future.set_result(task.result())


def _vanish(future: Any) -> None:
    if not future.done():
        future.set_exception(Vanished())


def _finish(future: Any) -> None:
    if not future.done():
        future.set_result(None)
