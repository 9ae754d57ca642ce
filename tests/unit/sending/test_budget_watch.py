"""How much of their budgets clients have used is told, and said once before nothing fits any more."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from relay.domain.clients import Client
from relay.sending.budget_watch import BudgetWatch
from relay.sending.events import BudgetMeasured
from support.journal import DAY_MS
from support.sending import Scene, running_scene


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running_scene(tmp_path) as scene:
        yield scene


class Watched:
    """A watch over clients whose spending a test sets."""

    def __init__(self, scene: Scene) -> None:
        self.clients = {
            "shop": Client(name="shop", units_per_month=Decimal(100)),
            "trial": Client(name="trial", units_per_month=Decimal(100), sandbox=True),
            "free": Client(name="free"),
        }
        self.spent: dict[str, Decimal] = {}
        self.months: list[str] = []
        self._scene = scene
        self._watch = BudgetWatch(scene.runtime, lambda: self.clients)
        scene.journal.hooks["spent"] = self._read

    async def _read(self, _real: Any, month: str) -> dict[str, Decimal]:
        self.months.append(month)
        return self.spent

    async def look(self, spent: int) -> list[tuple[str, float, int | None]]:
        """What is told of each client."""
        self.spent["shop"] = Decimal(spent)
        before = len(self._scene.heard.of(BudgetMeasured))
        await self._watch.measure()
        return [(each.client, each.ratio, each.reached) for each in self._scene.heard.of(BudgetMeasured)[before:]]


async def test_eighty_and_a_hundred_per_cent_are_said_once_in_a_month(scene: Scene) -> None:
    watched = Watched(scene)

    assert await watched.look(79) == [("shop", 0.79, None)]
    assert await watched.look(80) == [("shop", 0.8, 80)]
    assert await watched.look(90) == [("shop", 0.9, None)]
    assert await watched.look(101) == [("shop", 1.01, 100)]
    scene.clock.wall_ms += 31 * DAY_MS
    assert await watched.look(85) == [("shop", 0.85, 80)]
    assert (watched.months[0], watched.months[-1]) == ("2026-12", "2027-01")


async def test_a_budget_that_is_taken_out_or_raised_stands_as_it_is(scene: Scene) -> None:
    watched = Watched(scene)
    await watched.look(90)

    watched.clients["shop"] = replace(watched.clients["shop"], units_per_month=Decimal(1_000))
    assert await watched.look(90) == [("shop", 0.09, None)]
    watched.clients["shop"] = replace(watched.clients["shop"], units_per_month=Decimal(0))
    assert await watched.look(0) == [("shop", 1.0, 100)]
    watched.clients["shop"] = replace(watched.clients["shop"], units_per_month=None)
    assert await watched.look(90) == [("shop", 0.0, None)]
