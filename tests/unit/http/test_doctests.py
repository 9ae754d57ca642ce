"""The examples in the docstrings of the pure modules of the front run."""

import doctest
from types import ModuleType

import pytest

from relay.http import bodies, headers, times, validation


@pytest.mark.parametrize("module", [bodies, headers, times, validation], ids=lambda module: str(module.__name__))
def test_every_example_in_a_docstring_is_true(module: ModuleType) -> None:
    result = doctest.testmod(module)

    assert result.attempted > 0
    assert result.failed == 0
