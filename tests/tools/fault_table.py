"""``make faults``: every fault of the catalogue, run in its long form, as a table; and the table of their page.

python tests/tools/fault_table.py           runs them all
python tests/tools/fault_table.py --keep    runs them, keeps the results, and writes them into tests/faults/README.md
python tests/tools/fault_table.py --readme  writes that table from the results that were kept last
"""

import argparse
import json
import os
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS / "faults/README.md"
RESULTS = TESTS / "faults/results.json"
LONG_FORM = {
    "RELAY_TEST_KEYS": "1000",
    "RELAY_TEST_TEXTS": "1000",
    "RELAY_TEST_RACERS": "20",
    "RELAY_TEST_RATE": "200",
    "RELAY_TEST_CANCELS": "20000",
    "RELAY_TEST_KILLS": "40",
    "RELAY_TEST_STOCK": "1",
    "RELAY_TEST_WAYS": "all",
    "RELAY_TEST_FLAPPING_SECONDS": "180",
}
BEGIN, END = "<!-- faults: made by tests/tools/fault_table.py -->", "<!-- end of faults -->"


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


class Judged(NamedTuple):
    """What the oracle saw in a fault's tests: recipients by what was told of them, and sends that arrived."""

    told: Counter[str]
    arrived: int


def read_verdicts(path: Path) -> dict[str, Judged]:
    """What was judged, by test."""
    judged: dict[str, Judged] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        verdict = json.loads(line)
        test = verdict["test"].removeprefix("tests/")
        before = judged.get(test, Judged(Counter(), 0))
        judged[test] = Judged(before.told + Counter(verdict["told"]), before.arrived + verdict["arrived"])
    return judged


def run(*, keep: bool) -> int:
    """Run the catalogue and print the table; 0 where all of it holds. ``keep`` the results for the page."""
    faults = read_catalogue()
    watch = Watch()
    os.environ.update({name: value for name, value in LONG_FORM.items() if name not in os.environ})
    os.chdir(TESTS.parent)
    nodes = [f"tests/{test}" for test in named_tests(faults)]
    with TemporaryDirectory() as directory:
        verdicts = Path(directory) / "verdicts"
        os.environ["RELAY_TEST_VERDICTS"] = str(verdicts)
        pytest.main(["-q", "-q", "--no-header", "--no-summary", "-p", "no:randomly", *nodes], plugins=[watch])
        judged = read_verdicts(verdicts)
    rows = {str(fault["number"]): judge(fault, watch, judged) for fault in faults}
    results = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "rows": rows}
    print("\n" + "\n".join(table_lines(faults, results)))
    bad = [text for fault in faults for test in fault.get("tests", ()) for text in watch.bad.get(test, ())]
    twice, leaked = (sum(sign in text for text in bad) for sign in ("I1", "I4"))
    lost = sum("I2" in text or "I3" in text for text in bad)
    beyond, broken = (sum(row["held"] == held for row in rows.values()) for held in ("out of reach", "NO"))
    sums = f"{twice} sent twice, {lost} lost, {leaked} leaked"
    print(f"\n{len(faults)} rows, {beyond} out of reach, {broken} not held: {sums}")
    if keep and not broken:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        write_page()
    return 1 if broken else 0


def judge(fault: dict[str, Any], watch: Watch, judged: dict[str, Judged]) -> dict[str, Any]:
    """One row's results."""
    tests = fault.get("tests", ())
    cases = sum(watch.cases.get(test, 0) for test in tests)
    bad = any(watch.bad.get(test) for test in tests)
    seen = [judged[test] for test in tests if test in judged]
    told = sum((one.told for one in seen), Counter[str]())
    held = "out of reach" if not tests else "yes" if cases and not bad else "NO"
    seconds = round(sum(watch.seconds.get(test, 0.0) for test in tests), 1)
    return {
        "held": held,
        "cases": cases,
        "told": dict(sorted(told.items())),
        "arrived": sum(one.arrived for one in seen),
        "seconds": seconds,
    }


HEAD = ("nr", "what happens", "what must hold", "held", "cases", "ledger and outcome", "s")


def table_lines(faults: Sequence[dict[str, Any]], results: dict[str, Any]) -> list[str]:
    """The table, in Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "| " + " | ".join("---" for _ in HEAD) + " |"]
    for fault in faults:
        row = results["rows"][str(fault["number"])]
        then = fault.get("then") or "out of reach: " + fault["out_of_reach"]
        told = ", ".join(f"{count} {status}" for status, count in row["told"].items())
        ledger = f"{row['arrived']} arrived: {told}" if told else "by its tests" if row["cases"] else "—"
        cells = (fault["number"], fault["what"], then, row["held"], row["cases"], ledger, row["seconds"])
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def page_table() -> str:
    """What the page shows: the catalogue with the results that were kept last."""
    results = json.loads(RESULTS.read_text())
    said = f"Run in their long form on {results['date']}:"
    return "\n".join([BEGIN, said, "", *table_lines(read_catalogue(), results), END])


def write_page() -> None:
    """Put the table into the page."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + page_table() + rest.split(END)[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if options.readme:
        write_page()
        sys.exit(0)
    sys.exit(run(keep=options.keep))
