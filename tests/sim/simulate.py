"""Runs simulations from the command line (``make sim``): seeds, every crash point, or one scenario again.

What fails is shrunk and printed as JSON, which ``--replay`` takes; the log of a replay is the same, byte for byte.
"""

import argparse
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from sim.faults import Scenario
from sim.pairs import compare
from sim.run import run
from sim.scenarios import crash_everywhere, draw, list_scenarios
from sim.shrink import shrink
from support.moves import MOVES

_SEEDS_AT_A_TIME = 200


class Tally(msgspec.Struct):
    """What many runs were."""

    runs: int = 0
    seconds: float = 0.0
    effects: int = 0
    points: int = 0
    transactions: int = 0
    moves: Counter[str] = msgspec.field(default_factory=Counter)
    failed: list[Scenario] = msgspec.field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take up others'."""
        self.runs += other.runs
        self.seconds += other.seconds
        self.effects += other.effects
        self.points += other.points
        self.transactions += other.transactions
        self.moves.update(other.moves)
        self.failed += other.failed


def tally(scenarios: Iterable[Scenario]) -> Tally:
    """Run them all."""
    total = Tally()
    gc.disable()  # what runs leave is looked for now and then: each look costs more than a run
    for scenario in scenarios:
        result = run(scenario)
        total.runs += 1
        total.seconds += result.seconds
        total.effects += result.effects
        total.points += len(result.points)
        total.transactions += sum(result.works.values())
        total.moves.update(result.moves)
        if result.violations:
            total.failed.append(scenario)
        if total.runs % 50 == 0:
            gc.collect()
    gc.enable()
    return total


def try_seeds(seeds: range) -> Tally:
    """Run the scenarios of these seeds."""
    return tally(map(draw, seeds))


def try_pairs(seeds: range) -> tuple[int, list[tuple[int, str]]]:
    """Run these seeds in two guises each; how many there were, and the seeds in which something differed."""
    return len(seeds), [(seed, differences[0]) for seed in seeds if (differences := compare(draw(seed)))]


def tell_pairs(parts: Iterable[tuple[int, list[tuple[int, str]]]], begun: float) -> int:
    """Say what pairs came to."""
    pairs, differing = 0, []
    for count, some in parts:
        pairs += count
        differing += some
    print(f"{pairs} pairs in {time.monotonic() - begun:.0f} s: {len(differing)} differ")
    for seed, difference in differing[:20]:
        print(f"seed {seed}: {difference}")
    return bool(differing)


def crash_all(scenario: Scenario) -> Tally:
    """Run a scenario, and again with a crash at each of its crash points."""
    points = len(run(scenario).points)
    return tally([scenario, *crash_everywhere(scenario, points)])


def explain(scenario: Scenario, say: Callable[[str], object] = print) -> None:
    """Shrink a scenario that fails, and tell its course."""
    kinds = _kinds(run(scenario).violations)
    smallest = shrink(scenario, lambda each: bool(kinds & _kinds(run(each).violations)))
    result = run(smallest)
    say("\n".join(result.log))
    say("\n".join(result.violations))
    say(f"replay: {msgspec.json.encode(smallest).decode()}")


def _break(seed: int) -> list[str]:
    return run(draw(seed)).violations


def find_first(seeds: range, breaks: Callable[[int], list[str]]) -> int:
    """Say after how many seeds a promise was broken, and which."""
    for count, seed in enumerate(seeds, 1):
        violations = breaks(seed)
        if violations:
            print(f"found after {count} seeds: {violations[0]}")
            return 1
    return 0


def _kinds(violations: Iterable[str]) -> set[str]:
    return {violation.partition(":")[0] for violation in violations}


def in_parts(seeds: range) -> Iterator[range]:
    """Seeds in pieces that are worth giving to a process."""
    for begin in range(seeds.start, seeds.stop, _SEEDS_AT_A_TIME):
        yield range(begin, min(begin + _SEEDS_AT_A_TIME, seeds.stop))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000, help="how many, from --first on")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--operations", type=int, default=0, help="instead: every scenario of up to so many operations")
    parser.add_argument("--replay", help="instead: one scenario, as JSON, or a file with it")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--pairs", action="store_true", help="instead: each seed in two guises of what is secret")
    parser.add_argument("--until-found", action="store_true", help="stop at the first seed that fails")
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    if arguments.until_found:
        return find_first(seeds, (lambda seed: compare(draw(seed))) if arguments.pairs else _break)
    if arguments.replay:
        text = arguments.replay if arguments.replay.startswith("{") else Path(arguments.replay).read_text()
        result = run(msgspec.json.decode(text, type=Scenario))
        print("\n".join([*result.log, *result.violations]))
        return bool(result.violations)
    total, begun = Tally(), time.monotonic()
    # What is imported by now is no rubbish: without it a look for what runs leave is a fifth of all the work.
    with ProcessPoolExecutor(arguments.processes, initializer=gc.freeze) as pool:
        if arguments.pairs:
            return tell_pairs(pool.map(try_pairs, in_parts(seeds)), begun)
        if arguments.operations:
            parts = pool.map(crash_all, list_scenarios(arguments.operations), chunksize=4)
        else:
            parts = pool.map(try_seeds, in_parts(seeds))
        for part in parts:
            total.add(part)
            if sys.stderr.isatty():
                print(f"\r{total.runs} runs, {len(total.failed)} failed", end="", file=sys.stderr)
    took = time.monotonic() - begun
    print(
        f"{total.runs} runs in {took:.0f} s: {total.points} crash points, {total.transactions} transactions, "
        f"{total.effects} texts sent, {total.seconds / 86_400:.1f} simulated days "
        f"({total.seconds / 86_400 / (took / 60):.1f} a minute), {len(total.failed)} failed"
    )
    for name in MOVES:
        print(f"{total.moves[name]:>10} {name}")
    for scenario in total.failed[:3]:
        explain(scenario)
    if total.failed and not arguments.operations:
        print("failed seeds:", *sorted(scenario.seed for scenario in total.failed)[:50])
    return bool(total.failed)


if __name__ == "__main__":
    sys.exit(main())
