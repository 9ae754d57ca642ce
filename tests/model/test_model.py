"""The quick form of ``make model``: small bounds, and two of the guards that the model says are needed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parent / "check.py"


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("spin") and shutil.which("gcc")), reason="spin and gcc (Debian) are not here")
def test_the_promises_hold_in_every_order_and_a_guard_is_missed_when_it_is_away() -> None:
    checked = subprocess.run([sys.executable, str(CHECK), "--quick"], capture_output=True, text=True, timeout=600)

    assert checked.returncode == 0, checked.stdout + checked.stderr
