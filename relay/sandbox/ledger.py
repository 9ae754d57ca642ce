"""The ledger: every request that arrived in full, what it said, and what was answered. Bounded, never random.

It must never hold the password. It holds numbers and texts: it is a stand-in's, not the relay's.
"""

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct


class RecipientEntry(Struct, frozen=True):
    """What the answer says about one number; an empty code means it was left out. ``rule`` says why."""

    recipient: str
    code: str
    status: str
    message_id: str
    outcome: str
    rule: str


class LedgerEntry(Struct, frozen=True, kw_only=True):
    """One request that arrived in full.

    ``account`` is the one whose user name was given, empty where there is none. ``recipients`` are as written by the
    caller. ``parameters`` are the names in the query, in order, repeated ones included. ``result`` is ``processed``,
    ``balance``, a TG code, or the HTTP status of a wrong path or method. ``fault`` is what then went wrong on the wire:
    the batch was processed, but the caller cannot know.
    """

    number: int
    at: datetime
    method: str
    path: str
    route: str
    sender: str
    recipients: tuple[str, ...]
    message: str
    parameters: tuple[str, ...]
    encoding: str
    characters: int
    segments: int
    units: str
    account: str = ""
    result: str
    rule: str
    fault: str | None
    fault_rule: str
    status: int
    answer: str
    deliveries: tuple[RecipientEntry, ...]

    @property
    def weight(self) -> int:
        """Roughly how many bytes it takes."""
        numbers = 400 * len(self.deliveries) + 80 * len(self.recipients)
        return 1000 + 4 * len(self.message) + len(self.answer) + numbers


class Ledger:
    """Entries by number, oldest first. Numbers go up by one and are never used again, not even after a clear."""

    def __init__(self, entries: int, size: int) -> None:
        self._most = entries
        self._most_weight = size
        self._entries: dict[int, LedgerEntry] = {}
        self._weight = 0
        self.total = 0
        """Requests since the start, whatever was dropped or cleared since."""
        self.listeners: set[Callable[[], None]] = set()
        """Called after every change."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def next_number(self) -> int:
        """The number of the entry that comes next."""
        return self.total + 1

    def add(self, entry: LedgerEntry) -> None:
        """Add an entry, which must have ``next_number``; drop the oldest ones if there are too many."""
        self.total = entry.number
        self._entries[entry.number] = entry
        self._weight += entry.weight
        while self._entries and (len(self._entries) > self._most or self._weight > self._most_weight):
            oldest = self._entries.pop(next(iter(self._entries)))
            self._weight -= oldest.weight
        self.tell()

    def clear(self) -> None:
        """Forget every entry."""
        self._entries.clear()
        self._weight = 0
        self.tell()

    def since(self, number: int = 0, limit: int | None = None) -> list[LedgerEntry]:
        """Entries after a number, oldest first, at most ``limit``."""
        first = max(number + 1, self.total - len(self._entries) + 1)
        last = self.total if limit is None else min(self.total, first + limit - 1)
        return [self._entries[n] for n in range(first, last + 1) if n in self._entries]

    def last(self, count: int) -> list[LedgerEntry]:
        """The newest entries, oldest first."""
        return self.since(self.total - count)

    def tell(self) -> None:
        """Tell the listeners that something changed."""
        for listener in tuple(self.listeners):
            listener()
