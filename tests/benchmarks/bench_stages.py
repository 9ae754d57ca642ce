"""``make profile``: where the CPU of one synchronous notification goes, stage by stage, in the order they happen.

    python tests/benchmarks/bench_stages.py [repetitions]

Each stage is the relay's own code, called as the relay calls it, with everything on: 1,000 listed words, JSON log,
metrics, SQLite with ``synchronous=FULL``, a fresh connection a call to nginx. Journal and transport run 64 at a time,
as they do under load; the rest one after another. Microseconds of this process's CPU, the median of five rounds.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack, nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from measure import running_nginx

from relay.app.adapters import SystemClock
from relay.app.composition import Relay
from relay.domain.codes import Route as SmsRoute
from relay.domain.codes import Source
from relay.domain.notification import CallState, Mode, Stored, conclude
from relay.domain.templates import TemplateBook
from relay.http.answers import answer_response
from relay.http.application import Surroundings, build_application
from relay.http.asgi import Head
from relay.http.auth import Gate
from relay.http.bodies import check_nesting
from relay.http.schemas import NotificationRequest, decode, to_submission
from relay.observability.logs import Log
from relay.observability.recorder import Recorder
from relay.sending.events import Event
from relay.sending.ports import CallRef, DialLease, Lease, SendOutcome, SendResult
from relay.sending.prepare import prepare
from relay.sending.report import Report
from relay.sending.requests import Answer, Caller
from relay.sending.service import Service
from relay.sending.turns import Turns
from relay.settings import load_settings
from relay.smsclone.query import Queries
from relay.smsclone.record_redaction import RecordRedactor, list_forms
from relay.smsclone.transport import BilledGetTransport
from relay.smsclone.upstream_answers import match_outcomes, parse_answer
from support.relay import ClientKey, make_client, make_relay

ROUNDS = 5
HIDDEN = list_forms("demo", "p4ssword")
AT_ONCE = 64
ANSWER = b"TG00-MESSAGE PROCESSED:0000|2348012345678|9967534522177818556581618|SENT|MESSAGE SENT TO PROVIDER"
BODY = b'{"sender": "ACME", "recipients": ["2348012345678"], "message": "Your order 1204 is on its way."}'


class Stages:
    """Runs stages and prints what each costs."""

    def __init__(self, repetitions: int) -> None:
        self.repetitions = repetitions
        self.total = 0.0

    async def one_by_one(self, name: str, stage: Callable[[], Any]) -> None:
        """Measure a stage that has nothing to wait for."""

        async def run() -> None:
            for _ in range(self.repetitions):
                value = stage()
                if isinstance(value, Coroutine):
                    await value

        await self._measure(name, run)

    async def together(self, name: str, stage: Callable[[], Awaitable[Any]]) -> None:
        """Measure a stage that waits for others, with many of it under way."""

        async def run() -> None:
            left = iter(range(self.repetitions))

            async def worker() -> None:
                for _ in left:
                    await stage()

            await asyncio.gather(*(worker() for _ in range(AT_ONCE)))

        await self._measure(name, run)

    async def _measure(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        await run()
        readings = []
        for _ in range(ROUNDS):
            before = time.process_time()
            await run()
            readings.append((time.process_time() - before) / self.repetitions * 1e6)
        self.total += statistics.median(readings)
        print(f"| {name} | {statistics.median(readings):.1f} |", flush=True)


class Unheard:
    """Takes events and records, and does nothing with them."""

    def emit(self, event: Event) -> None:
        """Nothing."""

    def record_request(self, **record: Any) -> None:
        """Nothing."""


class Kept:
    """Keeps events, so that they can be stated again."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)


def make_scope(client: ClientKey) -> dict[str, Any]:
    """A request as granian hands it over."""
    headers = {"host": "relay", "content-type": "application/json", "content-length": str(len(BODY))}
    headers["authorization"] = f"Bearer {client.key}"
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/notifications",
        "raw_path": b"/v1/notifications",
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


async def receive() -> dict[str, Any]:
    """The body."""
    return {"type": "http.request", "body": BODY, "more_body": False}


async def send(message: Any) -> None:
    """Nobody reads the answer."""


async def profile(stages: Stages, relay: Relay, client: ClientKey, upstream: str) -> None:
    """Every stage, in the order in which a notification meets them."""
    service = relay.service
    policy = relay._clients[client.name]
    caller = Caller(client=policy, source=Source.API, request_id="01")
    head = Head(make_scope(client)["headers"])
    gate = Gate(lambda: relay._keys, lambda: relay._clients, relay._clock)

    def read() -> Any:
        check_nesting(BODY)
        return to_submission(decode(BODY, NotificationRequest), "key")

    submission = read()
    rules, channel = relay._rules, service._channels.accounts["smsclone"]

    def judge() -> Any:
        return prepare(submission, policy, rules, channel.upstream, asynchronous=False, now_ms=0)

    matcher = rules.matcher

    def search() -> None:
        kind, exceptions = submission.message_type, policy.word_exceptions
        matcher.find("ACME", field="sender", message_type=kind, exceptions=exceptions)
        matcher.find(submission.message, field="message", message_type=kind, exceptions=exceptions)

    before = stages.total
    await stages.one_by_one("prefilter", search)
    words = stages.total - before
    prepared = judge()
    lease = await claim_one(service, prepared, caller)
    stored, _ = finish(lease.stored)
    front = front_stage(relay, client, gate, stored)
    await stages.one_by_one("front: head, key, routing, body, answer", front)
    before = stages.total
    await stages.one_by_one("of which: key", lambda: gate.identify(head, Source.API))
    await stages.one_by_one("of which: decode", read)
    await stages.one_by_one(
        "of which: encode", lambda: answer_response(Answer(stored=stored), "01", service.begin_slices())
    )
    stages.total = before
    await stages.one_by_one("validate, route, chunk (with the prefilter)", judge)
    stages.total -= words
    await journal_stages(stages, service, prepared, caller)
    await smsclone_stages(stages, upstream)
    await told_stages(stages, relay, prepared, lease, caller)


def front_stage(relay: Relay, client: ClientKey, gate: Gate, stored: Stored) -> Callable[[], Any]:
    """The whole front around a core that answers every send with the same notification."""
    quiet = Unheard()
    core: Any = Answering(stored)
    front = build_application(
        Surroundings(events=quiet, recorder=quiet, clock=relay._clock, ids=relay._ids),
        sending=core,
        operations=core,
        gate=gate,
        metrics=relay.metrics,
        templates=TemplateBook,
        word_lists=lambda: "ok",
        template_state=lambda: "ok",
        document=dict,
    )
    return lambda: front(make_scope(client), receive, send)


class Answering:
    """A core that answers at once."""

    def __init__(self, stored: Stored) -> None:
        self._answer = Answer(stored=stored)
        self.begin_slices = Turns(SystemClock()).begin

    def arrive(self, _: Caller) -> Any:
        """There is always a place."""
        return nullcontext()

    async def send(self, *_: Any) -> Answer:
        """The answer."""
        return self._answer


async def journal_stages(stages: Stages, service: Service, prepared: Any, caller: Caller) -> None:
    """Claim with the right to dial, then record: two writes, each durable before what follows."""
    keys = count()
    claimed: list[Lease] = []

    async def claim() -> None:
        fresh = msgspec.structs.replace(prepared.submission, idempotency_key=f"key-{next(keys)}")
        request = msgspec.structs.replace(prepared, submission=fresh)
        claimed.append(await claim_one(service, request, caller))

    await stages.together("journal: fingerprint, claim", claim)
    outcomes = make_outcomes()

    async def record() -> None:
        accepted = claimed.pop()
        await service._runtime.journal.record(reference_of(accepted), outcomes, ended=finish(accepted.stored)[1])

    await stages.together("journal: outcome and end", record)


async def claim_one(service: Service, prepared: Any, caller: Caller) -> Lease:
    """Claim what nobody has claimed before."""
    [accepted] = await service._lifecycle._acceptance.claim([prepared], caller, Mode.SYNCHRONOUS, dials=True)
    assert isinstance(accepted, Lease)
    assert isinstance(accepted, DialLease)
    return accepted


def reference_of(accepted: Lease) -> CallRef:
    """The one call of a notification to one number."""
    return CallRef(accepted.stored.notification.id, accepted.stored.calls[0].ordinal, accepted.fence)


def make_outcomes() -> Any:
    """What a good answer comes to."""
    answer: Any = parse_answer(ANSWER)
    return match_outcomes(answer.records, ("2348012345678",), RecordRedactor(HIDDEN, "Your order 1204 is on its way."))[
        0
    ]


def finish(stored: Stored) -> tuple[Stored, Any]:
    """A notification at its end, and how it ended."""
    done = msgspec.structs.replace(stored.calls[0], state=CallState.DONE, dialled=True, outcomes=make_outcomes())
    ended = msgspec.structs.replace(stored, calls=(done,), completed_at=1, owned=False)
    return ended, conclude(ended, 1)


async def smsclone_stages(stages: Stages, upstream: str) -> None:
    """The GET: its address, the call over a fresh connection and over a kept one, and reading the answer."""
    queries = Queries(upstream, "demo", "p4ssword")

    def write() -> bytes:
        return queries.send(SmsRoute.DND_FALLBACK, "ACME", ("2348012345678",), "Your order 1204 is on its way.")

    await stages.one_by_one("smsclone: write the address", write)
    target, loop = write(), asyncio.get_running_loop()

    async def call(transport: BilledGetTransport) -> None:
        assert (await transport.exchange(target, loop.time() + 20)).status == 200

    for name, keepalive in (("a fresh connection", 0.0), ("a kept connection instead", 30.0)):
        transport = BilledGetTransport(
            upstream,
            connect_timeout_seconds=5,
            tls=None,
            keepalive_seconds=keepalive,
            max_connections=AT_ONCE,
        )
        before = stages.total
        await stages.together(f"smsclone: the call over {name}", partial(call, transport))
        if keepalive:
            stages.total = before
        await transport.aclose()
    await stages.one_by_one("smsclone: read the answer", make_outcomes)


async def told_stages(stages: Stages, relay: Relay, prepared: Any, lease: Lease, caller: Caller) -> None:
    """What log and metrics are told."""
    stored, ended = finish(lease.stored)
    kept = Kept()
    report, result = (
        Report(kept),
        SendResult(outcome=SendOutcome.ACCEPTED, outcomes=make_outcomes(), cause="answered", seconds=0.01),
    )
    report.key_checked(prepared, lease)
    report.claimed(prepared, lease.stored)
    report.call_finished(stored.notification, stored.calls[0], result)
    report.completed(stored, ended, 0.01, "01")

    def tell(recorder: Recorder) -> None:
        for event in kept.events:
            recorder.emit(event)
        recorder.record_request(
            route="/v1/notifications",
            method="POST",
            status=200,
            seconds=0.01,
            client=caller.client.name,
            request_id="01",
            trace=relay.tracing.begin(None),
        )

    silent = Recorder(relay.metrics, Log("error", None, ()).logger, relay.tracing)
    before = stages.total
    await stages.one_by_one("metrics", lambda: tell(silent))
    metrics = stages.total - before
    await stages.one_by_one("log (with the metrics)", lambda: tell(relay.recorder))
    stages.total -= metrics


async def main(repetitions: int) -> int:
    """Open a relay in this process and profile it."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(running_nginx(directory))
        if upstream is None:
            print("nginx is not installed; it is the upstream of this benchmark (Debian: nginx-light)")
            return 1
        words = directory / "words.toml"
        entries = (f'[[entry]]\ntext = "badword{i}x"\ncategory = "bench"\naction = "block"\n' for i in range(1000))
        words.write_text("\n".join(entries))
        client = make_client()
        process = make_relay(directory, client, upstream=upstream, toml=f'[prefilter]\nlists = ["{words}"]\n')
        log = stack.enter_context((directory / "output.log").open("wb", buffering=0))
        relay = Relay(load_settings({**process.environment, "RELAY_LOG_LEVEL": "info"}), log)
        await relay.open()
        print("| stage | CPU µs |\n| --- | --- |")
        stages = Stages(repetitions)
        await profile(stages, relay, client, upstream)
        print(f"| all of these (fresh connection) | {stages.total:.1f} |")
        await relay.drain()
        await relay.close()
    return 0


if __name__ == "__main__":
    sys.exit(uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)))
