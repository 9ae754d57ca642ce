"""The relay under simulation: a bounded number of seeds, every crash point of single operations, exact replays.

``make sim`` runs many more; what a failing seed means is in ``tests/README.md``.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from sim.faults import Fault, Operation, PauseScope, Scenario
from sim.loop import NeverEnds, SimulatedLoop
from sim.pairs import compare
from sim.replica import SLOWER
from sim.run import PAUSED_SECONDS, run
from sim.scenarios import draw, list_scenarios
from sim.shrink import shrink
from sim.simulate import crash_all, try_seeds

SEEDS = int(os.environ.get("RELAY_TEST_SEEDS", "60"))
"""Of the short form; ``make sim`` tries thousands."""
TESTS = Path(__file__).parents[1]
NUMBER = "2348031234567"


@pytest.mark.slow
def test_every_promise_holds_for_the_first_seeds() -> None:
    assert try_seeds(range(1, SEEDS + 1)).failed == []


FOUND = {
    "a claim for later was promised while nobody knew whether it was made": (
        '{"seed":1,"replicas":1,"operations":[{"kind":"enqueue","at":1.0,"numbers":["2348031234560"],"text":"text-0",'
        '"key":"key-0"},{"kind":"enqueue","at":1.0,"numbers":["2348031234560"],"text":"text-0","key":"key-0"}],"faults":'
        '[{"kind":"outage","at":2.8,"seconds":90.0},{"kind":"journal","point":1,"work":"claims.claim_lists",'
        '"how":"late_commit"}]}'
    ),
}
"""Scenarios in which the simulation found the relay break a promise, as they were shrunk, by what was wrong."""


@pytest.mark.parametrize("scenario", FOUND.values(), ids=FOUND)
def test_what_was_found_once_holds(scenario: str) -> None:
    assert run(msgspec.json.decode(scenario, type=Scenario)).violations == []


def test_a_right_given_within_the_millisecond_before_a_suppression_was_heard_of_breaks_no_promise() -> None:
    enqueue = Operation(kind="enqueue", at=1.0, numbers=(NUMBER,), text="text-0")
    result = run(Scenario(seed=1, operations=(enqueue, Operation(kind="suppress", at=1.0092, of=0))))
    moments = {line.partition(" ")[2]: float(line.partition(" ")[0]) * 1000 for line in result.log}
    right, heard = moments["r0.1 calls.dial_all done"], moments["world hears list of r0.1"]
    assert round(heard) < right < heard, "this seed shows it no more: try others, and other moments of the suppression"

    assert result.violations == []


@pytest.mark.slow
@pytest.mark.parametrize("scenario", list(list_scenarios(1)), ids=lambda each: each.operations[0].text)
def test_every_promise_holds_whatever_crash_point_an_operation_dies_at(scenario: Scenario) -> None:
    assert crash_all(scenario).failed == []


def test_a_run_leaves_the_jobs_as_they_were_for_whatever_is_tested_next() -> None:
    run(draw(1))

    assert all(getattr(module, name) != seconds for (module, name), seconds in SLOWER.items())


def test_a_run_replays_byte_for_byte_in_another_process() -> None:
    scenario = draw(11)
    command = [sys.executable, "-m", "sim.simulate", "--replay", msgspec.json.encode(scenario).decode()]
    expected = "\n".join(run(scenario).log)

    environment = os.environ | {"PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "1"}
    replayed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert replayed.strip() == expected


def test_another_seed_is_another_order() -> None:
    scenario = draw(11)

    assert run(scenario).log != run(msgspec.structs.replace(scenario, seed=12)).log


def test_a_text_is_sent_and_the_client_told_so_where_nothing_goes_wrong() -> None:
    operation = Operation(kind="send", at=1.0, numbers=(NUMBER,), text="text-0")

    result = run(Scenario(seed=1, operations=(operation,)))

    assert (result.violations, result.effects) == ([], 1)


LATER = Operation(kind="enqueue", at=1.0, numbers=(NUMBER,), text="text-0", send_in=20.0)


def _when_sent(*acts: Operation) -> list[float]:
    """The seconds at which sends arrive where acts follow a notification for later."""
    result = run(Scenario(seed=1, operations=(LATER, *acts)))
    assert result.violations == []
    return [float(line.split()[0]) for line in result.log if line.endswith(" send arrives")]


def test_what_is_moved_goes_out_at_its_new_time() -> None:
    [moved] = _when_sent(Operation(kind="move", at=5.0, send_in=50.0))

    assert 55.0 <= moved < 90.0


def test_a_number_that_is_suppressed_after_acceptance_gets_nothing() -> None:
    assert _when_sent(Operation(kind="suppress", at=5.0)) == []


@pytest.mark.parametrize("scope", ["client", "message_type", "account"])
def test_what_is_paused_goes_out_after_the_pause(scope: PauseScope) -> None:
    [sent] = _when_sent(Operation(kind="pause", at=5.0, scope=scope))

    assert sent >= 5.0 + PAUSED_SECONDS


def test_a_replica_that_dies_after_its_dial_is_taken_over_and_nothing_is_sent_again() -> None:
    operation = Operation(kind="enqueue", at=1.0, numbers=(NUMBER,), text="text-0")
    points = run(Scenario(seed=1, operations=(operation,))).points
    point = points.index("has its request arrive", points.index("did calls.dial_all")) + 1

    crash = Fault(kind="crash", point=point, seconds=300.0)
    result = run(Scenario(seed=1, operations=(operation,), faults=(crash,)))

    assert (result.violations, result.effects) == ([], 1)
    assert any("Recovered" in line for line in result.log)


def test_a_scenario_is_shrunk_to_the_faults_and_operations_that_matter() -> None:
    def fails(scenario: Scenario) -> bool:
        lost = any(fault.how == "answer_lost" for fault in scenario.faults)
        return lost and any(operation.text == "text-0" for operation in scenario.operations)

    faults = [Fault(kind="outage", at=float(place)) for place in range(5)]
    faults.insert(3, Fault(kind="call", point=1, how="answer_lost"))
    operations = [Operation(kind="send", at=1.0, numbers=(NUMBER,), text=f"text-{place}") for place in range(3)]

    smallest = shrink(Scenario(seed=5, replicas=3, operations=tuple(operations), faults=tuple(faults)), fails)

    assert smallest.faults == (faults[3],)
    assert smallest.operations == (operations[0],)
    assert smallest.replicas == 1


def test_time_passes_only_where_nobody_has_anything_to_do() -> None:
    loop = SimulatedLoop(1)

    async def sleep_long() -> float:
        await asyncio.sleep(86_400.0)
        return loop.time()

    assert loop.run_until_complete(sleep_long()) == 86_400.0
    loop.bury()


def test_a_killed_process_does_nothing_more_and_is_not_cleaned_up() -> None:
    loop = SimulatedLoop(1)
    process = loop.start_process("victim")
    did: list[str] = []

    async def work() -> None:
        try:
            did.append("began")
            await asyncio.sleep(1.0)
            did.append("went on")
        finally:
            did.append("cleaned up")

    async def kill() -> None:
        process.spawn(work())
        await asyncio.sleep(0.5)
        process.kill()
        await asyncio.sleep(10.0)
        assert did == ["began"]

    loop.run_until_complete(kill())
    loop.bury()


def test_a_stopped_process_goes_on_later_as_if_nothing_had_been() -> None:
    loop = SimulatedLoop(1)
    process = loop.start_process("sleeper")
    woke: list[float] = []

    async def work() -> None:
        await asyncio.sleep(1.0)
        woke.append(loop.time())

    async def stop() -> None:
        process.spawn(work())
        process.stopped = True
        loop.world.post(60.0, process.go_on)
        await asyncio.sleep(100.0)

    loop.run_until_complete(stop())
    loop.bury()
    assert woke == [61.0]


def test_a_run_in_which_everybody_waits_for_ever_is_told_from_one_that_ends() -> None:
    loop = SimulatedLoop(1)

    with pytest.raises(NeverEnds):
        loop.run_until_complete(loop.create_future())
    loop.bury()


@pytest.mark.slow
def test_nothing_that_leaves_the_relay_depends_on_what_is_secret() -> None:
    assert [difference for seed in range(1, 21) for difference in compare(draw(seed))] == []
