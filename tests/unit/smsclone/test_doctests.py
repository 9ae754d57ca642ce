"""Every example in the docstrings runs."""

import doctest

from relay.smsclone import addresses


def test_the_examples_of_the_addresses_run() -> None:
    results = doctest.testmod(addresses)
    assert (results.failed, results.attempted > 0) == (0, True)
