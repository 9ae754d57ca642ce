"""Every example in the domain's docstrings runs."""

import doctest
import importlib
import pkgutil

import pytest

import relay.domain

MODULES = sorted(module.name for module in pkgutil.walk_packages(relay.domain.__path__, "relay.domain."))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_domain_module_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_text_rules_have_examples_at_all() -> None:
    with_examples = ("numbers", "senders", "text", "routing", "secret")
    for name in with_examples:
        assert doctest.testmod(importlib.import_module(f"relay.domain.{name}")).attempted > 0
