"""The house's sizes: small functions, modules that are read at once (DESIGN, "Sizes")."""

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

RELAY = Path(__file__).parents[2] / "relay"
MODULES = sorted(RELAY.rglob("*.py"))

LONGER_MODULES = {
    "domain/notification.py": "the facts of a notification and the one view of them, which every layer reads together",
    "sending/accept.py": "one stage, one file: the claim, what became of it, and what to do when nobody knows",
    "sending/delivery.py": "one notification's way out: its steps share their state, and splitting would hide it",
    "sending/dispatcher.py": "the face of the core: a short method for each promise of Sending and Desk",
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
