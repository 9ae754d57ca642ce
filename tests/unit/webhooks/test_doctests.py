"""The examples in the webhooks' docstrings are true."""

import doctest
import importlib

import pytest

MODULES = ["relay.webhooks.callbacks.addresses", "relay.webhooks.callbacks.schedule"]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_run(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module))

    assert results.attempted > 0
    assert results.failed == 0
