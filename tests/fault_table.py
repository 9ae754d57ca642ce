"""``make faults``: every fault of the catalogue, run in its long form, as a table; and the table of the README.

python tests/fault_table.py           runs them all
python tests/fault_table.py --readme  writes the README's table, without running anything
"""

import argparse
import os
import sys
import tomllib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
README = TESTS.parent / "README.md"
LONG_FORM = {
    "RELAY_TEST_KEYS": "1000",
    "RELAY_TEST_RACERS": "20",
    "RELAY_TEST_RATE": "200",
    "RELAY_TEST_CANCELS": "20000",
    "RELAY_TEST_KILLS": "40",
}
BEGIN, END = "<!-- faults: made by tests/fault_table.py -->", "<!-- end of faults -->"


def read_catalogue() -> list[dict[str, Any]]:
    """The faults, by number."""
    faults: list[dict[str, Any]] = tomllib.loads((TESTS / "faults/catalogue.toml").read_text())["fault"]
    return faults


def named_tests(faults: Iterable[dict[str, Any]]) -> list[str]:
    """Every test that is named, once."""
    return list(dict.fromkeys(test for fault in faults for test in fault.get("tests", ())))


class Watch:
    """A pytest plugin that keeps what became of each test, parameters taken together."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cases: dict[str, int] = {}
        self.bad: dict[str, list[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a phase of a test."""
        name = report.nodeid.partition("[")[0].removeprefix("tests/")
        self.seconds[name] = self.seconds.get(name, 0.0) + report.duration
        expected = hasattr(report, "wasxfail")  # what a stock transport fails at, on purpose
        if report.when == "call" and not expected and report.passed:
            self.cases[name] = self.cases.get(name, 0) + 1
        if (report.failed or (report.skipped and not expected)) and not (report.when == "call" and expected):
            self.bad.setdefault(name, []).append("skipped" if report.skipped else str(report.longrepr))


def run() -> int:
    """Run the catalogue and print the table; 0 where all of it holds."""
    faults = read_catalogue()
    watch = Watch()
    os.environ.update({name: value for name, value in LONG_FORM.items() if name not in os.environ})
    os.chdir(TESTS.parent)
    nodes = [f"tests/{test}" for test in named_tests(faults)]
    pytest.main(["-q", "-q", "--no-header", "--no-summary", "-p", "no:randomly", *nodes], plugins=[watch])
    print("\n| nr | what happens | what must hold | held | cases | s |\n| --- | --- | --- | --- | --- | --- |")
    broken, twice, lost, leaked = 0, 0, 0, 0
    for fault in faults:
        tests = fault.get("tests", ())
        bad = [text for test in tests for text in watch.bad.get(test, ())]
        cases = sum(watch.cases.get(test, 0) for test in tests)
        seconds = sum(watch.seconds.get(test, 0.0) for test in tests)
        held = "out of reach" if not tests else "yes" if cases and not bad else "NO"
        broken += held == "NO"
        twice += any("I1" in text for text in bad)
        lost += any("I2" in text or "I3" in text for text in bad)
        leaked += any("I4" in text for text in bad)
        print(f"| {fault['number']} | {fault['what']} | {fault.get('then', '-')} | {held} | {cases} | {seconds:.1f} |")
    beyond = sum(1 for fault in faults if "out_of_reach" in fault)
    sums = f"{twice} sent twice, {lost} lost, {leaked} leaked"
    print(f"\n{len(faults)} rows, {beyond} out of reach, {broken} not held: {sums}")
    return 1 if broken else 0


def readme_table() -> str:
    """What the README shows: the catalogue without the names of its tests."""
    lines = ["| nr | what happens | what holds |", "| --- | --- | --- |"]
    lines += [
        f"| {fault['number']} | {fault['what']} | {fault.get('then') or 'out of reach: ' + fault['out_of_reach']} |"
        for fault in read_catalogue()
    ]
    return "\n".join([BEGIN, *lines, END])


def write_readme() -> None:
    """Put the table into the README."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    README.write_text(before + readme_table() + rest.split(END)[1])
    print(f"written {datetime.now(UTC):%Y-%m-%d}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readme", action="store_true")
    if parser.parse_args().readme:
        write_readme()
        sys.exit(0)
    sys.exit(run())
