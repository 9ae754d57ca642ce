"""The planted bugs still are bugs of this code, and the simulation finds such as take few seeds; ``make sim-planted``
looks for all of them."""

import shutil
from pathlib import Path

import pytest

from sim.hunt import LEAKS, ROOT, apply, hunt, patches


@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")
@pytest.mark.parametrize("patch", [*patches(), *patches(LEAKS)], ids=lambda each: each.stem)
def test_a_planted_bug_can_be_planted(patch: Path) -> None:
    assert "@@" in patch.read_text()
    apply(patch, ROOT, dry=True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")
def test_a_planted_bug_is_found() -> None:
    [patch] = [each for each in patches() if each.stem == "interrupted_not_sent"]

    assert hunt(patch, beginnings=1, most=200).seeds[0] is not None
