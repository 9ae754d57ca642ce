"""The small adapters that are the machine itself: its clocks, its chance; and why a start fails."""

import time

import uuid_utils


class StartError(Exception):
    """The relay cannot start: what is wrong, and what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Wall-clock milliseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back: the clock of asyncio's loops too."""
        return time.monotonic()


class Uuid7Ids:
    """Fresh UUIDv7 identifiers (RFC 9562)."""

    def new_id(self) -> str:
        """One id, in its canonical text form."""
        return str(uuid_utils.uuid7())
