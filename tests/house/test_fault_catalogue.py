"""The catalogue of faults is whole, and names tests that exist."""

import ast
from pathlib import Path

import pytest

from tools.fault_table import BEGIN, PAGE, named_tests, page_table, read_catalogue

TESTS = Path(__file__).parents[1]
FAULTS = read_catalogue()


def test_every_fault_stands_there_once() -> None:
    assert [fault["number"] for fault in FAULTS] == list(range(1, 92))


def test_every_fault_has_a_test_or_the_reason_why_not() -> None:
    for fault in FAULTS:
        assert bool(fault.get("tests")) != bool(fault.get("out_of_reach")), fault["number"]


@pytest.mark.parametrize("test", named_tests(FAULTS))
def test_every_test_that_is_named_exists(test: str) -> None:
    path, _, name = test.partition("::")
    module = ast.parse((TESTS / path).read_text())

    assert name in {node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_page_shows_the_catalogue_as_it_is() -> None:
    assert page_table() in PAGE.read_text(), f"run make readme: the part after {BEGIN} is old"
