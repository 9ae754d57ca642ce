"""Who gets the next place where places are short: one rule for callers who wait, for calls that are out, for the queue.

Places are shared by client, and within a client by message type; a quarter of them is kept for codes and alerts (SPEC
section 11). The rule is work-conserving: while there is room, everybody gets in, so a client alone may hold everything
but that quarter. Places that are held are never taken away; so where all are held, a client below its share is let in
all the same, and those above theirs wait or are refused until the surplus is gone. There are never more than twice as
many as the limit says.

Pure: no clock, no I/O. To learn from: Kubernetes' API priority and fairness; the load shedders that Stripe describes.
"""

from collections import Counter
from enum import StrEnum
from typing import NamedTuple, TypeVar

from relay.domain.codes import MessageType
from relay.domain.notification import Mode

URGENT = frozenset({MessageType.OTP, MessageType.ALERT})
"""What the reserve is for: codes and pages."""

_RESERVED_PART = 4

Key = TypeVar("Key")


class Asker(NamedTuple):
    """On whose behalf a place is held: ``message_type`` is ``None`` while nobody knows it, as a request is read."""

    client: str
    message_type: MessageType | None
    mode: Mode = Mode.SYNCHRONOUS

    @property
    def is_urgent(self) -> bool:
        """Whether the reserve is for it."""
        return self.message_type in URGENT


class AdmissionVerdict(StrEnum):
    """The answer, and why: the two refusals are also a label of ``relay_shed_total``."""

    ROOM = "room"
    """There is a free place."""
    BELOW_SHARE = "below_share"
    """All are held, and others hold more than their share of them."""
    OVER_SHARE = "over_share"
    """All are held, and this client holds its share."""
    RESERVED = "reserved"
    """What is free is kept for codes and alerts, and this client holds its share of the rest."""

    @property
    def admits(self) -> bool:
        """Whether the asker gets a place."""
        return self in (AdmissionVerdict.ROOM, AdmissionVerdict.BELOW_SHARE)


class Shares:
    """Who holds how many of some places.

    Args:
        limit: places in all; a quarter of them, rounded up, is kept for codes and alerts where there are two or more.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserved = -(-limit // _RESERVED_PART) if limit > 1 else 0
        self.held = 0
        self.held_by: Counter[str] = Counter()
        self.held_by_type: Counter[tuple[str, MessageType | None]] = Counter()
        self._ordinary = 0
        self._urgent_by: Counter[str] = Counter()

    def has_room(self, asker: Asker) -> bool:
        """Whether there is a free place for an asker of this kind."""
        if self.held >= self.limit:
            return False
        return asker.is_urgent or self._ordinary < self.limit - self.reserved

    def judge(self, asker: Asker) -> AdmissionVerdict:
        """Say whether the asker gets a place now, and why, or why not."""
        if self.has_room(asker):
            return AdmissionVerdict.ROOM
        client = asker.client
        share = self._share(self.held_by, client, self.limit - self.reserved)
        if self.held_by[client] < share:
            return AdmissionVerdict.BELOW_SHARE
        if asker.is_urgent:
            if self._urgent_by[client] < self._share(self._urgent_by, client, self.reserved):
                return AdmissionVerdict.BELOW_SHARE
        elif asker.message_type is not None and self._is_below_within(asker, share):
            return AdmissionVerdict.BELOW_SHARE
        return AdmissionVerdict.RESERVED if self.held < self.limit else AdmissionVerdict.OVER_SHARE

    def take(self, asker: Asker) -> None:
        """Count a place as held."""
        self._count(asker, 1)

    def give_back(self, asker: Asker) -> None:
        """Count it as free again."""
        self._count(asker, -1)

    def _count(self, asker: Asker, change: int) -> None:
        self.held += change
        kind = (asker.client, asker.message_type)
        _add(self.held_by, asker.client, change)
        _add(self.held_by_type, kind, change)
        if asker.is_urgent:
            _add(self._urgent_by, asker.client, change)
        else:
            self._ordinary += change

    def _share(self, held_by: "Counter[str]", client: str, places: int) -> int:
        sharers = len(held_by) + (client not in held_by)
        return max(places // sharers, 1)

    def _is_below_within(self, asker: Asker, share: int) -> bool:
        """Whether a message type holds less than its part of what the client may hold: one type of a client does not
        stop its others either."""
        types = {kind for client, kind in self.held_by_type if client == asker.client}
        own = (asker.client, asker.message_type)
        return len(types | {asker.message_type}) > 1 and self.held_by_type[own] < share // len(types | {own[1]})


def order(shares: Shares, asker: Asker) -> tuple[bool, int, int, int]:
    """Who goes first when a place is free; the smallest does. Codes and alerts, then who holds the fewest places; of
    one client a waiting caller before its queue and promotion last, then the message type that holds the fewest."""
    patience = 0 if asker.mode is Mode.SYNCHRONOUS else 1
    if asker.message_type is MessageType.PROMOTIONAL:
        patience = 2
    return (
        not asker.is_urgent,
        shares.held_by[asker.client],
        patience,
        shares.held_by_type[(asker.client, asker.message_type)],
    )


def _add(counter: "Counter[Key]", key: Key, change: int) -> None:
    """Count, and keep no row of zero: who holds nothing does not share."""
    held = counter.get(key, 0) + change  # a Counter asked for a key that it lacks calls Python
    if held:
        counter[key] = held
    else:
        del counter[key]
