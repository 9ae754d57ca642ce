"""Files that may be replaced while the relay runs: reports when one of them has changed.

**Decisions**

- 2026-11-25: a look every second instead of inotify. On a laptop, SQLite's journal is in the same folder, and each
  write woke the process: 0.36 ms of CPU per notification at 200 per second, measured with ``make bench``. A look costs
  about 2 µs per file, and sees what editors and Kubernetes do: replace files and links.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

LOOK_SECONDS = 1.0

_Identity = tuple[int, int, int, int] | None


class TextFile(Struct, frozen=True):
    """A file as it was read: its text, or why it could not be read."""

    name: str
    text: str | None
    error: str = ""


def read_text_file(path: Path) -> TextFile:
    """Read a file that somebody wrote; line ends stay as they are, a byte-order mark does not."""
    try:
        return TextFile(path.name, path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        return TextFile(path.name, None, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return TextFile(path.name, None, "is not UTF-8; save it as UTF-8")


class Nudge:
    """Lets somebody make every watch look at its files now, whether they changed or not."""

    def __init__(self) -> None:
        self._count = 0
        self._given = asyncio.Event()

    def give(self) -> None:
        """Ask for a look; a watch that is busy, or has not started yet, does it next."""
        self._count += 1
        self._given.set()
        self._given = asyncio.Event()

    async def wait(self, seen: int, seconds: float) -> int:
        """Wait until more were given than ``seen``, or until the time is over. Returns how many were given."""
        if self._count == seen:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._given.wait(), seconds)
        return self._count


async def watch_files(
    paths: Iterable[Path], look_seconds: float = LOOK_SECONDS, *, nudge: Nudge | None = None
) -> AsyncIterator[None]:
    """Yield whenever one of the files was changed, replaced, removed or made, until cancelled.

    Args:
        paths: links are followed, so a link that now points elsewhere is a change too.
        look_seconds: the interval between looks.
        nudge: yield for each of these too.
    """
    watched = list(paths)
    seen = [_identify(path) for path in watched]
    nudge = nudge or Nudge()
    nudges = 0
    while True:
        given = await nudge.wait(nudges, look_seconds)
        now = [_identify(path) for path in watched]
        if now != seen or given != nudges:
            seen, nudges = now, given
            yield


def _identify(path: Path) -> _Identity:
    """Device, inode, size and modification time: new content differs in at least one of them."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
