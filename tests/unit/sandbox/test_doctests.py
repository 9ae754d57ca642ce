"""The examples in the docstrings run."""

import doctest

import pytest

from relay.sandbox import dialect, switches


@pytest.mark.parametrize("module", [dialect, switches])
def test_the_examples_of_a_module_hold(module: object) -> None:
    results = doctest.testmod(module)  # type: ignore[arg-type]

    assert results.attempted > 0
    assert results.failed == 0
