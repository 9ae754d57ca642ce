"""Makes a scenario that breaks a promise as small as it gets: what can be left out is left out, one by one."""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from sim.faults import Scenario

_SEEDS = 8
"""A smaller scenario has another course: so many orders of it are tried."""


def shrink(scenario: Scenario, fails: Callable[[Scenario], bool]) -> Scenario:
    """The smallest scenario that still fails, among those that lack some of its faults, operations and replicas."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller_ones(scenario):
            found = next((each for each in _orders(candidate) if fails(each)), None)
            if found is not None:
                scenario, smaller = found, True
                break
    return scenario


def _smaller_ones(scenario: Scenario) -> Iterator[Scenario]:
    for place in range(len(scenario.faults)):
        yield replace(scenario, faults=scenario.faults[:place] + scenario.faults[place + 1 :])
    operations = scenario.operations
    for place in range(len(operations) - 1, 0, -1):
        if all(each.of < place for each in operations):
            yield replace(scenario, operations=operations[:place] + operations[place + 1 :])
    if scenario.replicas > 1:
        yield replace(scenario, replicas=scenario.replicas - 1)
    if scenario.accounts > 1:
        yield replace(scenario, accounts=scenario.accounts - 1)
    for place, operation in enumerate(operations):
        if len(operation.numbers) > 1:
            fewer = replace(operation, numbers=operation.numbers[:-1])
            yield replace(scenario, operations=(*operations[:place], fewer, *operations[place + 1 :]))


def _orders(scenario: Scenario) -> Iterator[Scenario]:
    yield scenario
    for seed in range(1, _SEEDS):
        yield replace(scenario, seed=seed)
