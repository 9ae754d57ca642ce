"""What the sending core needs from outside, as contracts. Adapters implement them; one suite a port holds each to it.

Every journal method may be awaited from several tasks at once, is never cancelled by its callers, and raises only
:class:`JournalUnavailable`. Times are milliseconds since 1970-01-01 UTC.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from relay.domain.codes import Code, MessageType, NotificationStatus, ResolvedBy, Route
from relay.domain.notification import Notification, Outcome, PlannedCall, Stored


class Clock(Protocol):
    """Time, twice: what the wall says and what only ever goes forward."""

    def now_ms(self) -> int:
        """Wall-clock time in milliseconds since 1970-01-01 UTC; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; the event loop's own clock, so that deadlines survive a changed wall clock."""
        ...


class Ids(Protocol):
    """Fresh identifiers."""

    def new_id(self) -> str:
        """A UUIDv7 in its canonical text form."""
        ...


# --- the upstream ---------------------------------------------------------------------------------------------------


class SendOutcome(StrEnum):
    """How a call ended, for breaker, metrics and log: the ``outcome`` label of the upstream metrics."""

    ACCEPTED = "accepted"
    """An answer was read in full and the upstream took the batch (TG00)."""
    REJECTED = "rejected"
    """An answer was read in full and nothing was sent (any other TGnn)."""
    UNKNOWN = "unknown"
    """Bytes may have left and no clear answer came back."""
    NOT_SENT = "not_sent"
    """No byte left."""


class RejectionKind(StrEnum):
    """What a rejection of the whole batch means for the sends that follow."""

    CREDENTIALS = "credentials"
    CONTRACT = "contract"
    NO_BALANCE = "no_balance"
    BLOCKED_SENDER = "blocked_sender"
    BLOCKED_WORDS = "blocked_words"
    TOO_MANY_RECIPIENTS = "too_many_recipients"


class Rejection(Struct, frozen=True):
    """The upstream's no to a whole batch. ``code`` is its own (``TG17``)."""

    kind: RejectionKind
    code: str
    description: str


class SendRequest(Struct, frozen=True):
    """One call: a text to the numbers of one chunk (``234…``, distinct)."""

    sender: str
    message: str
    numbers: tuple[str, ...]
    route: Route


class SendResult(Struct, frozen=True, kw_only=True):
    """What one call brought. ``outcomes`` has one outcome a number, in the order asked, whatever happened.

    ``rejection`` is set where the upstream refused the batch. ``too_many`` is set only on an exact TG20 without
    records: nothing was sent and the chunk may be halved. ``cause`` is a short closed word for the log
    (``timeout``, ``reset``, ``refused``, ``tls``, ``html``, …), never text of the upstream or of an exception.
    ``warnings`` are closed words too.
    """

    outcome: SendOutcome
    outcomes: tuple[Outcome, ...]
    cause: str
    seconds: float
    rejection: Rejection | None = None
    too_many: bool = False
    warnings: tuple[str, ...] = ()


class BalanceResult(Struct, frozen=True):
    """Units left, as the upstream wrote them (a decimal, not a float), or why they could not be read.

    Exactly one of ``units`` and ``cause`` is set; ``rejection`` tells which TG code, where there was one.
    """

    units: str | None
    cause: str | None = None
    rejection: Rejection | None = None


class MessageTooLongEncoded(Exception):
    """One recipient's URL would exceed the limit; no chunk can be made."""


class Upstream(Protocol):
    """smsclone, or a stand-in for it."""

    def chunk(self, sender: str, message: str, route: Route, numbers: Sequence[str]) -> list[tuple[int, ...]]:
        """Split numbers into calls by count and by URL bytes; pure but for the limit learned from a TG20.

        Returns:
            Positions in ``numbers``, in order, each exactly once.

        Raises:
            MessageTooLongEncoded: not even one recipient fits.
        """
        ...

    async def send(self, request: SendRequest, timeout_seconds: float) -> SendResult:
        """Make one call, once. Never repeats, never raises for anything that network or upstream can do.

        On return the result is final: a number is ``not_sent`` only where certainly nothing was sent. Must not be
        cancelled: a cancelled send is a bug of the caller.
        """
        ...

    async def balance(self, timeout_seconds: float) -> BalanceResult:
        """Read the units left. Free of charge, so it may be repeated; never raises for network or upstream."""
        ...


# --- the journal ----------------------------------------------------------------------------------------------------


class JournalUnavailable(Exception):
    """The store did not take or give what was asked. ``reason`` is a closed word (``disk_full``, ``unreachable``, …).

    After a failed write the store has looked again where it could: the write is not there, or ``ambiguous`` is true.
    """

    def __init__(self, reason: str, *, ambiguous: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.ambiguous = ambiguous


class Quota(Struct, frozen=True):
    """Recipients of a client on one day (Africa/Lagos): all or nothing. ``recipients`` counts capped ones too;
    they come back with ``Completion.quota_given_back``."""

    day: str
    recipients: int
    limit: int


class Cap(Struct, frozen=True):
    """Sends of one message type to one number in a window. ``hashes`` are keyed hashes, by entry index."""

    message_type: MessageType
    limit: int
    window_ms: int
    hashes: Mapping[int, bytes]


class Deduplication(Struct, frozen=True):
    """A webhook group that gives one notification in a window, whoever of an HA pair delivers it."""

    key: bytes
    window_ms: int


class Claim(Struct, frozen=True, kw_only=True):
    """Everything that one acceptance writes, in one transaction: all of it or nothing.

    ``due_at`` is set for asynchronous notifications only: they enter the queue without an owner and may be taken from
    then on. Synchronous ones belong to this process at once; with ``dials`` the one call of such a claim is written as
    ``dialling`` already, because it is dialled as soon as the claim stands. The idempotency key and fingerprint are the
    notification's own; ``key_window_ms`` is how long the key holds.
    """

    notification: Notification
    calls: tuple[PlannedCall, ...]
    due_at: int | None = None
    dials: bool = False
    key_window_ms: int = 0
    quota: Quota | None = None
    cap: Cap | None = None
    deduplication: Deduplication | None = None


class Claimed(Struct, frozen=True):
    """The claim stands. ``capped`` entries were left out of every call (a call left empty was not written).

    ``may_dial`` is the right to dial the one call of a claim that asked for it: ``start_dialling`` is not needed.
    """

    stored: Stored
    fence: int
    may_dial: bool = False


class KeyTaken(Struct, frozen=True):
    """Somebody claimed this client and key before; nothing was written. Compare the fingerprints."""

    stored: Stored


class Duplicate(Struct, frozen=True):
    """The same webhook group was accepted within the window; nothing was written."""

    stored: Stored


class QuotaExhausted(Struct, frozen=True):
    """The client's day has too few recipients left; nothing was written."""

    used: int


class AllCapped(Struct, frozen=True):
    """Every dialable entry is over its cap; nothing was written. ``free_at``: when the first place is free."""

    free_at: int


ClaimResult = Claimed | KeyTaken | Duplicate | QuotaExhausted | AllCapped


class CallRef(Struct, frozen=True):
    """Names one call, and the fence under which its owner may dial it."""

    notification_id: str
    ordinal: int
    fence: int


class Completion(Struct, frozen=True, kw_only=True):
    """What the end of a notification writes: its status, whether its key is free again, what quota it gives back, and
    where to tell of it."""

    status: NotificationStatus
    at: int
    frees_key: bool
    quota_given_back: int = 0
    callback_url: str | None = None


class RecordResult(StrEnum):
    """What became of a record."""

    RECORDED = "recorded"
    """The call was ``dialling`` (or ``claimed``, for an outcome ``not_sent``) and is now ``done``."""
    SETTLED = "settled"
    """The call was already given up as ``unknown``; the definite outcomes replaced it, once."""
    STALE = "stale"
    """The call was ``done`` and nothing changed, or the fence no longer allows the write."""


class Taken(Struct, frozen=True):
    """A notification that now belongs to this process, under this fence."""

    stored: Stored
    fence: int


class Cursor(Struct, frozen=True):
    """Where a listing goes on: before this notification, newest first."""

    created_at: int
    id: str


class ListFilter(Struct, frozen=True, kw_only=True):
    """What a listing selects; every field that is set must match."""

    client: str
    reference: str | None = None
    idempotency_key: str | None = None
    status: NotificationStatus | None = None
    created_from: int | None = None
    created_to: int | None = None
    limit: int = 50
    before: Cursor | None = None


class QueueDepth(Struct, frozen=True):
    """How much waits: notifications by state, the due time of the oldest that is due, and whose they are."""

    queued: int
    held: int
    claimed: int
    oldest_due_at: int | None
    clients: tuple[str, ...] = ()
    """Clients with something queued or held, so that the work of one that left the settings is not forgotten."""


class UnknownCall(Struct, frozen=True):
    """A notification that has recipients nobody can know about, and which."""

    stored: Stored
    indexes: tuple[int, ...]


class AuditRow(Struct, frozen=True, kw_only=True):
    """An operator's act, kept for good: who did what to which notification. Holds no number and no text."""

    at: int
    actor: str
    action: str
    notification_id: str | None = None
    detail: str = ""


class Journal(Protocol):
    """The durable memory. What it acknowledged survives a SIGKILL (and, on SQLite, a power cut).

    One instance is one process to the others: :meth:`open` registers it with a heartbeat row.
    """

    async def open(self) -> None:
        """Take the lock or the pool, migrate (SQLite) or check the schema, register this process.

        Raises:
            JournalUnavailable: cannot be used, ``reason`` says why (``locked``, ``read_only``, ``schema_too_new``, …).
        """
        ...

    async def close(self) -> None:
        """Finish what waits, say goodbye (the heartbeat row goes), release everything. May be called twice."""
        ...

    async def hash_key(self) -> bytes:
        """The 32-byte key for fingerprints and hashes, made at first start and the same on every replica."""
        ...

    async def claim(self, claims: Sequence[Claim]) -> list[ClaimResult]:
        """Accept notifications, each by itself, in one transaction. Results come in order.

        For each: deduplication, then the idempotency key (insert-or-nothing on client + key; an entry older than its
        window gives its key up), then the cap, then the quota, then notification and calls. A refusal writes nothing.
        Two claims with one key in one list behave like two racers.
        """
        ...

    async def start_dialling(self, ref: CallRef) -> bool:
        """Move a call from ``claimed`` to ``dialling`` where this process owns it under this fence.

        Returns:
            Whether the dial is authorised. ``False`` is final: somebody else owns it, or it was cancelled.
        """
        ...

    async def record(
        self,
        ref: CallRef,
        outcomes: Sequence[Outcome],
        *,
        follow_ups: Sequence[PlannedCall] = (),
        completion: Completion | None = None,
    ) -> RecordResult:
        """Write what a call brought, and the calls that follow from it, and the end of the notification if this is it.

        From ``dialling`` any outcome is taken, whatever the fence (an answer is an answer). From ``claimed`` only
        under the fence, and only outcomes ``not_sent``. On a call that is ``done``: unknown outcomes are settled by
        definite ones (see ``settle_unknown``), once; else nothing changes. Empty ``outcomes`` close a call that
        ``follow_ups`` replace. May be repeated after :class:`JournalUnavailable`.
        """
        ...

    async def complete(self, notification_id: str, completion: Completion) -> bool:
        """End a notification all of whose calls are done: erase its text, free its key, give quota back.

        Returns:
            Whether this call did it; ``False`` where it was complete before or a call is still open.
        """
        ...

    async def take(
        self, clients: Sequence[str], message_types: Sequence[MessageType], limit: int, now: int
    ) -> list[Taken]:
        """Take due notifications from the queue for this process, at most ``limit`` in all.

        Fair: the given clients take turns in the given order, each giving its oldest due notification of those
        message types; no client gets a second before every other had its first. Two processes never take the same one.
        """
        ...

    async def take_expired(self, limit: int, now: int) -> list[Taken]:
        """Take queued notifications whose ``expires_at`` has passed, of any client, due or not: they end even while
        nothing may be sent."""
        ...

    async def take_back(self, notification_ids: Sequence[str], undialled: Sequence[str] = ()) -> list[Taken]:
        """After a claim whose commit was ambiguous: of these, take those that are there, have no call that was ever
        dialled, and belong to this process or to nobody. Each comes under a new fence. The others are not there, or
        somebody else took them from the queue; :meth:`find` tells which.

        Args:
            undialled: those whose claim came with the right to dial, which this process has not used: their call is
                ``claimed`` again.
        """
        ...

    async def requeue(self, notification_id: str, fence: int, due_at: int) -> bool:
        """Put an owned asynchronous notification back, to be taken from ``due_at`` on. ``False`` if not owned now."""
        ...

    async def heartbeat(self) -> bool:
        """Say that this process lives. ``False`` where the others already declared it dead (it registers anew)."""
        ...

    async def leads(self) -> bool:
        """Whether this process is the one that does what one replica does for all (polls the balance, purges): the
        longest-running process that lives. Two may think so for a moment; what it does must bear that."""
        ...

    async def take_from_dead(self, limit: int) -> list[Taken]:
        """Take over notifications whose owner is dead: 60 s without a heartbeat by the database's clock, or, on
        SQLite, every owner but this process. Each comes under a new fence, so that the old owner cannot dial."""
        ...

    async def find(self, notification_id: str, client: str | None = None) -> Stored | None:
        """One notification; of this client only, where one is given."""
        ...

    async def find_by_key(self, client: str, key: str, now: int) -> Stored | None:
        """The notification that holds this idempotency key now (freed and outdated keys are not held)."""
        ...

    async def select(self, selection: ListFilter) -> list[Stored]:
        """Notifications newest first, at most ``limit``."""
        ...

    async def cancel(self, notification_id: str, client: str, now: int) -> Stored | None:
        """Cancel an asynchronous notification no call of which was ever dialled: calls end as ``cancelled``.

        Returns:
            The notification after it; where a call was dialled before, unchanged. ``None`` if there is none.
        """
        ...

    async def settle(
        self,
        notification_id: str,
        answers: Mapping[int, Outcome],
        resolved_by: ResolvedBy,
        now: int,
        audit: AuditRow,
    ) -> Stored | None:
        """Make unknown outcomes definite (``settle_unknown`` over every call), with the audit row in one transaction.

        Returns:
            The notification after it, or ``None`` where nothing changed.
        """
        ...

    async def list_unknown(self, limit: int, before: Cursor | None = None) -> list[UnknownCall]:
        """Terminal notifications with unknown recipients, newest first."""
        ...

    async def mark_restored(self) -> int:
        """After a restore: every call that is not done becomes ``unknown``/``interrupted``, every notification ends.

        Returns:
            How many calls were turned.
        """
        ...

    async def set_paused(self, paused: bool, audit: AuditRow) -> None:
        """Stop or start all sending, on all replicas, from their next look (each looks every second)."""
        ...

    async def is_paused(self) -> bool:
        """Whether sending is stopped."""
        ...

    async def queue_depth(self, now: int) -> QueueDepth:
        """What waits now."""
        ...

    async def purge(self, before: int) -> int:
        """Delete terminal notifications created before then (end of retention), with their calls.

        Returns:
            How many went.
        """
        ...

    async def erase_recipient(self, number: str, audit: AuditRow) -> int:
        """Erase a number everywhere: entries lose ``input`` and ``number``, records lose their descriptions.

        Returns:
            How many notifications changed. Notifications that are not terminal are left alone.
        """
        ...

    async def audit(self, row: AuditRow) -> None:
        """Keep an operator's act."""
        ...


UNKNOWN_INTERRUPTED = Outcome(code=Code.INTERRUPTED)
"""What a dialled call becomes when its process died."""
