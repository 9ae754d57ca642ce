"""A command at a terminal of a given width, as a person sees it."""

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping


def at_terminal(environment: Mapping[str, str], columns: int, *words: str) -> str:
    """What ``relay`` with these words shows, without colours."""
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    shown = bytearray()
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", *words],
        env={name: value for name, value in environment.items() if name != "COLUMNS"} | {"TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(ours)
    process.wait()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r\n", "\n")
