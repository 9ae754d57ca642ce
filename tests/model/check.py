"""Check the model of a notification's life with Spin: every bound holds, and each guard is missed when it is away.

python tests/model/check.py            all runs, as a table; exits 1 where one of them came out otherwise than it must
python tests/model/check.py --quick    some small runs, for a test
python tests/model/check.py --missed   those without a guard alone
python tests/model/check.py --keep     all runs, and writes the counterexamples into tests/model/traces

Needs Spin and a C compiler (Debian: spin, gcc).
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

MODEL = Path(__file__).parent / "relay.pml"
TRACES = Path(__file__).parent / "traces"
SECONDS = 590
DEPTH = 1_000_000


class Run(NamedTuple):
    """One search of all states within some bounds.

    Args:
        name: what is searched.
        bounds: macro → value.
        guard: which guard is away; every guard stands where it is empty.
        missed: whether a counterexample must be found.
        effort: the compiler's; a small search ends sooner than the compiler would.
    """

    name: str
    bounds: dict[str, int]
    guard: str = ""
    missed: bool = False
    effort: str = "-O2"


class Found(NamedTuple):
    """What a search came to: states seen, whether all were, and the way to a broken assertion."""

    states: int
    complete: bool
    seconds: float
    trace: tuple[str, ...]


def bounds(replicas: int, notifications: int, **troubles: int) -> dict[str, int]:
    """The macros of a run; what may go wrong is 0 unless named."""
    names = ("crashes", "suspicions", "doubts", "holds", "passes", "tasks_each", "same_key", "failovers")
    values = dict.fromkeys(names, 0) | {"tasks_each": 1} | troubles
    macros = {name.upper(): value for name, value in values.items() if name != "same_key"}
    if values["same_key"]:
        macros["SAME_KEY"] = 1
    return {"REPLICAS": replicas, "N": notifications, **macros}


ALL_TROUBLES = bounds(2, 1, crashes=2, suspicions=1, doubts=1, holds=1, passes=1)
ONE_OF_EACH = bounds(2, 1, crashes=1, suspicions=1, doubts=1, holds=1)
TWO_DELIVERIES = bounds(2, 1, tasks_each=2, suspicions=1, doubts=1, holds=1)
ONE_KEY = bounds(2, 2, same_key=1, crashes=1, doubts=1)
FAILOVER = bounds(2, 1, failovers=1, crashes=1)
HOLDS = [
    Run("one notification, everything that may go wrong", ALL_TROUBLES),
    Run("two deliveries at once in a replica", TWO_DELIVERIES),
    Run("two requests with one key", ONE_KEY),
    Run("the store loses its last commits", FAILOVER),
    Run("three replicas, two notifications of two calls, two crashes", bounds(3, 2, crashes=2)),
]
MISSED = [
    Run("owner", TWO_DELIVERIES, "OWNER"),
    Run("fence", TWO_DELIVERIES, "FENCE"),
    Run("dialled", ONE_OF_EACH, "DIALLED"),
    Run("undialled", ONE_OF_EACH, "UNDIALLED"),
    Run("heir's lease", ONE_OF_EACH, "HEIR_LEASE"),
    Run("lease of what is put back", ONE_OF_EACH, "PUT_BACK_LEASE"),
    Run("queued", TWO_DELIVERIES, "QUEUED"),
    Run("completion once", ONE_OF_EACH, "COMPLETION_ONCE"),
    Run("all calls closed", ONE_OF_EACH, "ALL_CLOSED"),
    Run("only unknown is settled", ONE_OF_EACH, "SETTLE_ONLY_UNKNOWN"),
    Run("no answer is unknown", ONE_OF_EACH, "UNKNOWN"),
    Run("interrupted is unknown", ONE_OF_EACH, "UNKNOWN_HEIR"),
    Run("the dead one's dialling is closed", ONE_OF_EACH, "DIALLING_STAYS"),
    Run("follow-up in the transaction", ONE_OF_EACH, "PLAN_IN_RECORD"),
    Run("follow-up after certainty only", ONE_OF_EACH, "CERTAINTY"),
    Run("unique key", ONE_KEY, "KEY"),
    Run("key stays", ONE_KEY, "KEY_STAYS"),
    Run("recover --restored", FAILOVER, "RESTORED"),
]
NOT_MISSED = ["CLAIMED", "CLOSING_LEASE", "FIRST_FENCE", "CONFIRMING", "NEW_FENCE"]
"""Guards that nothing in the model needs; README.md says of each why it is there all the same."""


def runs(*, quick: bool) -> Iterator[Run]:
    """Every run: first those in which all guards stand."""
    missed = [run._replace(name=f"without: {run.name}", missed=True, effort="-O1") for run in MISSED]
    if quick:
        yield from (run._replace(effort="-O0") for run in (HOLDS[3], missed[-3], missed[-1]))
        return
    yield from HOLDS
    yield from missed
    for guard in NOT_MISSED:
        yield Run(f"without: {guard.lower().replace('_', ' ')} (explained)", ONE_OF_EACH, guard)


def search(run: Run, directory: Path) -> Found:
    """Let Spin search every state, or up to the first broken assertion."""
    flags = [f"-D{name}={value}" for name, value in run.bounds.items()]
    if run.guard:
        flags.append(f"-DNO_{run.guard}")
    if not run.missed and run.bounds["TASKS_EACH"] == 1:  # in a trace a replica keeps its number
        flags.append("-DIN_ORDER")
    model = directory / MODEL.name
    model.write_text(MODEL.read_text())
    subprocess.run(["spin", *flags, "-a", model.name], cwd=directory, check=True, capture_output=True)
    # No step is one process's own, so that leaving orders out costs time and leaves none out; and all of a state is
    # global, so that there are no parts of it to be kept once.
    options = ("-w", "-DSAFETY", "-DNOREDUCE", "-DNOFAIR", "-DVECTORSZ=2048")
    compiled = ["gcc", run.effort, *options, "-o", "pan", "pan.c"]
    subprocess.run(compiled, cwd=directory, check=True, capture_output=True)
    began = time.monotonic()
    said = subprocess.run(
        ["timeout", str(SECONDS), "./pan", f"-m{DEPTH}", "-n"], cwd=directory, capture_output=True, text=True
    ).stdout
    seconds = time.monotonic() - began
    states = [
        int(float(found)) for found in re.findall(r"^\s*(\d+(?:\.\d+)?(?:e\+\d+)?) states, stored", said, re.MULTILINE)
    ]
    complete = bool(states) and "errors: 0" in said and "Search not completed" not in said
    return Found(states[-1] if states else 0, complete, seconds, trace(model, flags))


def trace(model: Path, flags: Sequence[str]) -> tuple[str, ...]:
    """The counterexample in words, one move a line; nothing where none was found."""
    if not model.with_suffix(".pml.trail").exists():
        return ()
    told = subprocess.run(["spin", "-t", *flags, model.name], cwd=model.parent, capture_output=True, text=True).stdout
    return tuple(line.strip() for line in told.splitlines() if line.strip().startswith("replica "))


def check(run: Run) -> tuple[Run, Found]:
    """Run one in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="relay-model-") as directory:
        return run, search(run, Path(directory))


def is_as_expected(run: Run, found: Found) -> bool:
    """Whether all held, or, without a guard, was broken."""
    return bool(found.trace) if run.missed else found.complete and not found.trace


def main() -> int:
    """Search, tell, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--missed", action="store_true", help="the runs without a guard alone")
    parser.add_argument("--quick", action="store_true", help="the small runs only")
    parser.add_argument("--keep", action="store_true", help="write the counterexamples into tests/model/traces")
    options = parser.parse_args()
    failed, total = 0, 0
    print("| run | states | seconds | outcome |", "| --- | ---: | ---: | --- |", sep="\n", flush=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chosen = [run for run in runs(quick=options.quick) if run.missed or not options.missed]
        for run, found in pool.map(check, chosen):
            held = is_as_expected(run, found)
            failed += not held
            total += found.states
            outcome = (
                f"broken in {len(found.trace)} moves" if found.trace else "holds" if found.complete else "not finished"
            )
            remark = "" if held else " **not as it must be**"
            print(f"| {run.name} | {found.states:,} | {found.seconds:.0f} | {outcome}{remark} |", flush=True)
            if options.keep and found.trace and run.missed:
                TRACES.mkdir(exist_ok=True)
                (TRACES / f"{run.guard.lower()}.txt").write_text("\n".join(found.trace) + "\n")
    print(f"\n{total:,} states in all; {failed} runs not as they must be")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
