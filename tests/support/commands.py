"""The command ``relay``: in a process of its own where that is the subject, else in the test's own, a hundred times
faster. Both see the environment that is given and nothing else, and no terminal."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any
from unittest.mock import patch

from relay.cli import main
from support.relay import COVERED

BARE = {**COVERED, "PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"}
"""An environment in which a command starts."""

Done = subprocess.CompletedProcess[str]


def run_process(*words: str, **options: Any) -> Done:
    """Run it in a process; ``options`` are those of ``subprocess.run``, on top of a bare environment and pipes."""
    usual: dict[str, Any] = {"env": BARE, "capture_output": True, "text": True, "check": False, "timeout": 180}
    if {"stdout", "stderr"} & set(options):
        usual |= {"capture_output": False, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run([sys.executable, "-m", "relay", *words], **usual | options)


def run_command(*words: str, typed: str = "", environment: Mapping[str, str] | None = None) -> Done:
    """Run it here, with this added to a bare environment; the same as a process that was given this to read."""
    standard = [TextIOWrapper(BytesIO(given), encoding="utf-8") for given in (typed.encode(), b"", b"")]
    entered, printed, told = standard
    with (
        patch.dict(os.environ, BARE | dict(environment or {}), clear=True),
        patch.object(sys, "argv", ["relay", *words]),
        patch.object(sys, "stdin", entered),
        redirect_stdout(printed),
        redirect_stderr(told),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code
        else:
            status = 0
    assert isinstance(status, int), status
    for stream in (printed, told):
        stream.flush()
        stream.seek(0)
    return Done([*words], status, printed.read(), told.read())
