"""The journal's moves in the suites of the journal and of the faults, held against the model (``make moves``).

Runs the suites with the switch on, and so many simulations (``--seeds``), and prints how often each move was seen.
Exits 1 where a move was none of the model's, or one of the model's was not seen.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sim.simulate import Tally, in_parts, try_seeds
from support.moves import MOVES

SUITES = ("tests/conformance", "tests/faults")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", default=SUITES)
    parser.add_argument("--seeds", type=int, default=0, help="simulations whose moves are counted too")
    arguments = parser.parse_args()
    seen: Counter[str] = Counter()
    illegal: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "moves.jsonl"
        command = [sys.executable, "-m", "pytest", "-q", *arguments.suites]
        failed = subprocess.run(command, env=os.environ | {"RELAY_TEST_MOVES": str(file)}).returncode
        for line in file.read_text().splitlines():
            verdict = json.loads(line)
            seen.update(verdict["seen"])
            illegal += [f"{verdict['where']}: {move}" for move in verdict["illegal"]]
    simulated = Tally()
    with ProcessPoolExecutor(initializer=gc.freeze) as pool:
        for part in pool.map(try_seeds, in_parts(range(1, arguments.seeds + 1))):
            simulated.add(part)
    seen.update(simulated.moves)
    illegal += [f"seed {scenario.seed} broke a promise" for scenario in simulated.failed]
    for name in MOVES:
        print(f"{seen[name]:>10} {name}")
    print(f"{seen.total()} moves, {len(illegal)} illegal", *illegal, sep="\n")
    return bool(failed or illegal or set(MOVES) - set(seen))


if __name__ == "__main__":
    sys.exit(main())
