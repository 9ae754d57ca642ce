"""The quick form of ``make chaos``: kills at random moments under load; nothing twice, lost, told wrongly, or early."""

import os
from pathlib import Path

import pytest

from support.postgres import PostgresServer
from tools.chaos import Chaos

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("RELAY_TEST_KILLS", "6"))
SEED = 20261130
"""The same kills in every run of the suite; ``make chaos`` draws others each time."""


def test_kills_at_random_moments_lose_nothing_and_double_nothing_on_sqlite(tmp_path: Path) -> None:
    tally = Chaos(tmp_path, postgres=None, kills=KILLS, seed=SEED).run()

    assert tally.accepted > 0
    assert tally.holds, tally.line()


def test_kills_at_random_moments_lose_nothing_and_double_nothing_on_postgresql(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    tally = Chaos(tmp_path, postgres=postgres_server, kills=KILLS, seed=SEED).run()

    assert tally.accepted > 0
    assert tally.holds, tally.line()
