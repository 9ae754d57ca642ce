"""Files that may be replaced while the relay runs: tells when one of them is another than before.

**Decisions**

- 2026-11-25: a look every second instead of the system's notifications. Watching a folder in which SQLite's journal
  lies too (a laptop's) woke the process at every write: 0.36 ms of CPU a notification at 200 a second, measured with
  ``make bench``. A look costs about 2 µs a file, and sees what editors and Kubernetes do: replace files and links.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

LOOK_SECONDS = 1.0

_Identity = tuple[int, int, int, int] | None


async def watch_files(paths: Iterable[Path], look_seconds: float = LOOK_SECONDS) -> AsyncIterator[None]:
    """Yield whenever one of the files was changed, replaced, removed or made, until cancelled.

    Args:
        paths: links are followed, so a link that leads elsewhere is a change too.
        look_seconds: how often they are looked at.
    """
    watched = list(paths)
    seen = [_identify(path) for path in watched]
    while True:
        await asyncio.sleep(look_seconds)
        now = [_identify(path) for path in watched]
        if now != seen:
            seen = now
            yield


def _identify(path: Path) -> _Identity:
    """Device, inode, size and time of change: what no new content shares with the old one."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
