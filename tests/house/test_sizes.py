"""The house's sizes: small functions, modules that are read at once (DESIGN, "Sizes")."""

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

RELAY = Path(__file__).parents[2] / "relay"
MODULES = sorted(RELAY.rglob("*.py"))

LONGER_MODULES = {
    "cli/demo.py": "one story, told from its first chapter to its last",
    "domain/notification.py": "the facts of a notification and the one view of them, which every layer reads together",
    "sending/lifecycle.py": "the list of the stages, in order, for who waits and who does not: read in one piece",
    "http/answers.py": "one body of a notification, whole or in slices, and the status that it travels with",
    "journal/claims.py": "one transaction from its first insert to its last, in the order in which it happens",
    "sending/accept.py": "one stage, one file: the claim, what became of it, and what to do when nobody knows",
    "sending/prepare.py": "one stage, one file: every rule that a request meets, in the order in which it meets them",
    "domain/codes.py": "the closed sets of the contract, side by side, with what each member means",
    "app/composition.py": "the one place that knows every part: what is made, and of what",
    "observability/recorder.py": "one table of events, and beside it what becomes of each",
    "http/schemas.py": "what callers send: a struct for each request, and what its fields mean",
    "journal/list_query.py": "one walk over indexes: of one client, of all of them, and what it judges on the way",
    "journal/schema.py": "every table, column and index, and nothing else: read beside each other",
    "journal/writer.py": "one thread and what it does with a transaction: what goes together, and what failed",
    "journal/base.py": "the port in terms of work: a method of a line or two for each of its promises",
    "sending/requests.py": "what the fronts ask of the core and what it answers, which are read together",
    "sending/ports.py": "contracts only: docstrings make most of its lines, and they belong together",
}
"""Modules above 300 lines, each with the reason why it is not split."""


def functions() -> Iterator[tuple[str, int]]:
    """Every function with its length in lines, docstring not counted."""
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module.relative_to(RELAY)}:{node.name}", length(node)


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def test_most_functions_are_short_and_none_is_long() -> None:
    sizes = dict(functions())

    assert median(sizes.values()) <= 8
    assert quantiles(sizes.values(), n=20)[-1] <= 35
    assert [name for name, size in sizes.items() if size > 60] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(RELAY)))
def test_a_module_is_at_most_300_lines_or_says_why_not(module: Path) -> None:
    lines = len(module.read_text().splitlines())

    assert lines <= 300 or str(module.relative_to(RELAY)) in LONGER_MODULES


def test_no_reason_for_a_long_module_is_out_of_date() -> None:
    long = {str(m.relative_to(RELAY)) for m in MODULES if len(m.read_text().splitlines()) > 300}

    assert set(LONGER_MODULES) <= long
