"""Plants each wrong variant of the relay in a copy, and counts the seeds until it is found (``make sim-planted``).

python -m sim.hunt              every patch of planted/, as a table with the median over some beginnings
python -m sim.hunt NAME…        these alone
python -m sim.hunt --leaks      the same for what may leak (leaks/), by pairs of runs
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PLANTED = Path(__file__).parent / "planted"
LEAKS = Path(__file__).parent / "leaks"
_APART = 1_000_000
"""Between two beginnings."""


class Find(NamedTuple):
    """How a planted bug was found: how many seeds it took from each beginning (``None``: not found), and by what."""

    seeds: list[int | None]
    broken: str


def patches(folder: Path = PLANTED) -> list[Path]:
    """Every planted bug, or leak."""
    return sorted(folder.glob("*.patch"))


@contextmanager
def planted(patch: Path) -> Iterator[Path]:
    """A copy of the relay and the simulation in which a patch is applied.

    Raises:
        ValueError: it does not apply.
    """
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        leave_out = shutil.ignore_patterns("__pycache__")
        for part in ("relay", "tests/sim", "tests/support"):
            shutil.copytree(ROOT / part, copy / part, ignore=leave_out)
        apply(patch, copy)
        yield copy


def apply(patch: Path, copy: Path, *, dry: bool = False) -> None:
    """Apply a patch to a copy.

    Raises:
        ValueError: it does not apply.
    """
    command = ["patch", "-p1", "--batch", "--silent", *(["--dry-run"] if dry else []), "-i", str(patch)]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{patch.name} does not apply: change it to what the code is now.\n{done.stdout}{done.stderr}")


def hunt(patch: Path, *, beginnings: int, most: int) -> Find:
    """Look for a planted bug from several beginnings, with at most so many seeds from each."""
    found: list[int | None] = []
    broken = ""
    with planted(patch) as copy:
        for beginning in range(beginnings):
            first = beginning * _APART + 1
            command = [sys.executable, "-m", "sim.simulate", "--until-found", f"--first={first}", f"--seeds={most}"]
            if patch.parent == LEAKS:
                command.append("--pairs")
            path = os.pathsep.join((str(copy / "tests"), str(copy)))
            environment = os.environ | {"PYTHONPATH": path}
            done = subprocess.run(command, env=environment, cwd=copy, capture_output=True, text=True)
            told = re.search(r"^found after (\d+) seeds: (.*)$", done.stdout, re.MULTILINE)
            if told is None and (done.returncode or done.stderr):
                raise ValueError(f"{patch.name} cannot be run:\n{done.stderr}")
            found.append(None if told is None else int(told[1]))
            broken = broken if told is None else told[2]
    return Find(found, broken)


def describe(name: str, find: Find, most: int) -> str:
    """A line of the table."""
    missed = sum(1 for seeds in find.seeds if seeds is None)
    middle = median([most if seeds is None else seeds for seeds in find.seeds])
    told = f"{middle:.0f}" if not missed else f"{middle:.0f}, missed {missed} of {len(find.seeds)} times"
    return f"| {name.replace('_', ' ')} | {told} | {find.broken.replace('|', ' ')[:90]} |"


def main(names: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--beginnings", type=int, default=5)
    parser.add_argument("--most", type=int, default=20_000, help="seeds from each beginning")
    parser.add_argument("--leaks", action="store_true")
    arguments = parser.parse_args(names)
    folder = LEAKS if arguments.leaks else PLANTED
    chosen = [patch for patch in patches(folder) if not arguments.names or patch.stem in arguments.names]
    print("| planted | median of seeds | found as |\n| --- | --- | --- |")
    search = partial(hunt, beginnings=arguments.beginnings, most=arguments.most)
    missed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for patch, find in zip(chosen, pool.map(search, chosen), strict=True):
            print(describe(patch.stem, find, arguments.most), flush=True)
            missed += all(seeds is None for seeds in find.seeds)
    print(f"\n{len(chosen)} planted, {len(chosen) - missed} found")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
