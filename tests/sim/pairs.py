"""Pairs of runs that differ in nothing but what is secret: all that leaves the relay must be equal, byte for byte.

Held against each other are the log at DEBUG (with what every library says), the metrics, and the problem documents.
What may differ is what the caller and the upstream get: requests, answers with their numbers, callbacks.
"""

import io
import logging
import re
from itertools import zip_longest

from relay.app.policies import list_secrets
from relay.domain.errors import Refusal
from relay.http.problems import render_problem
from relay.observability import logs
from relay.observability.logs import Log
from relay.observability.metrics import Metrics
from relay.observability.recorder import Recorder
from sim.faults import Scenario
from sim.guises import Guise
from sim.loop import NeverEnds
from sim.network import PLAIN
from sim.replica import settings
from sim.run import World, database

OTHER = Guise(steps=1, plain=PLAIN.plain)
_OF_PYTHON = re.compile(rb"process_|python_|relay_build_info|_created")
"""Metrics of the interpreter and the machine."""


def observe(scenario: Scenario, guise: Guise) -> list[bytes]:
    """Everything that leaves the relay in a run, in lines."""
    stream = io.BytesIO()
    log = Log("debug", stream, list_secrets(settings(guise, scenario.accounts)))
    metrics = Metrics(version="simulated")
    real_now, level = logs._now, logging.root.level
    put_back = log.take_over()
    logging.root.setLevel(logging.DEBUG)
    world = World(scenario, database(), guise, Recorder(metrics, log.logger))
    logs._now = lambda: f"{world.loop.time():.6f}"
    try:
        world.loop.run_until_complete(world.live())
    except NeverEnds as reason:
        world.result.log.append(str(reason))
    finally:
        world.loop.bury()  # what ends here is still told at the run's own time
        logs._now = real_now
        logging.root.setLevel(level)
        put_back()
        world.database.end()
    problems = [
        render_problem(answer, "r").body
        for told in world.told.values()
        for answer in told.answers
        if isinstance(answer, Refusal)
    ]
    measured, _ = metrics.render("")
    samples = [line for line in measured.splitlines() if not _OF_PYTHON.match(line)]
    log.flush()
    return [*stream.getvalue().splitlines(), *problems, *samples]


def compare(scenario: Scenario) -> list[str]:
    """Where two guises of a scenario differ."""
    pairs = zip_longest(observe(scenario, PLAIN), observe(scenario, OTHER), fillvalue=b"")
    return [f"leaked: {one!r} or {other!r}" for one, other in pairs if one != other]
