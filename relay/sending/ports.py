"""What the sending core needs from outside, as contracts. Adapters implement them; one suite a port holds each to it.

Every journal method may be awaited from several tasks at once, is never cancelled by its callers, and raises only
:class:`JournalUnavailable`. Times are milliseconds since 1970-01-01 UTC.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from relay.domain.audit import Act, AuditPage
from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import (
    AccountReason,
    Code,
    MessageType,
    NotificationStatus,
    ProblemCode,
    Rejection,
    ResolvedBy,
    Route,
)
from relay.domain.errors import Unavailable
from relay.domain.notification import Ended, Notification, Outcome, Overview, PlannedCall, Stored
from relay.domain.pausing import Scope, SendingPause
from relay.domain.suppression import Addressed, Suppression, SuppressionWish
from relay.domain.usage import UsageQuery, UsageRow


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
    """An answer was read in full and the upstream took the batch."""
    REJECTED = "rejected"
    """An answer was read in full and the upstream refused the batch: nothing was sent."""
    UNKNOWN = "unknown"
    """Bytes may have left and no clear answer came back."""
    NOT_SENT = "not_sent"
    """No byte left."""


class SendRequest(Struct, frozen=True):
    """One call: a text to the numbers of one chunk (``234…``, distinct)."""

    sender: str
    message: str
    numbers: tuple[str, ...]
    route: Route


class SendResult(Struct, frozen=True, kw_only=True):
    """What one call brought. ``outcomes`` has one outcome a number, in the order asked, whatever happened.

    ``rejection`` is set where the upstream refused the batch; ``upstream_code`` is its own code, for the log alone.
    ``too_many`` is set only where it certainly sent nothing because there were too many recipients: the chunk may be
    halved. ``cause`` is a short closed word for the log
    (``timeout``, ``reset``, ``refused``, ``tls``, ``html``, …), never text of the upstream or of an exception.
    ``warnings`` are closed words too.
    """

    outcome: SendOutcome
    outcomes: tuple[Outcome, ...]
    cause: str
    seconds: float
    rejection: Rejection | None = None
    upstream_code: str | None = None
    too_many: bool = False
    warnings: tuple[str, ...] = ()


class BalanceResult(Struct, frozen=True):
    """Units left, as the upstream wrote them (a decimal, not a float), or why they could not be read.

    Exactly one of ``units`` and ``cause`` is set; ``rejection`` and ``upstream_code`` as in :class:`SendResult`.
    """

    units: str | None
    cause: str | None = None
    rejection: Rejection | None = None
    upstream_code: str | None = None


class MessageTooLongEncoded(Exception):
    """One recipient's URL would exceed the limit; no chunk can be made."""


class Upstream(Protocol):
    """smsclone, or a stand-in for it."""

    def chunk(self, sender: str, message: str, route: Route, numbers: Sequence[str]) -> list[tuple[int, ...]]:
        """Split numbers into calls by count and by URL bytes; pure but for the limit that a refusal taught.

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


RETRY_SOON_SECONDS = 1.0
"""When it is worth trying again what a moment may mend."""


class JournalUnavailable(Unavailable):
    """The store did not take or give what was asked. ``reason`` is a closed word (``disk_full``, ``unreachable``, …).

    A refusal by itself: where it reaches a caller, nothing was sent. After a failed write the store has looked again
    where it could: the write is not there, or ``ambiguous`` is true.
    """

    def __init__(self, reason: str, *, ambiguous: bool = False) -> None:
        super().__init__(
            ProblemCode.JOURNAL_UNAVAILABLE,
            f"The relay cannot use its journal now ({reason}); nothing was sent. Try again as Retry-After says.",
            retry_after_seconds=RETRY_SOON_SECONDS,
        )
        self.args = (reason,)  # what a traceback shows
        self.reason = reason
        self.ambiguous = ambiguous


class Quota(Struct, frozen=True):
    """Recipients of a client on one day (Africa/Lagos): all or nothing. ``recipients`` counts capped ones too;
    they come back with ``Ended.quota_given_back``."""

    day: str
    recipients: int
    limit: int


class Budget(Struct, frozen=True):
    """Units of a client in one month (Africa/Lagos, ``2026-12``), in millionths: all or nothing.

    ``each`` is what one recipient costs at most, ``recipients`` how many the calls are to; those that are left out of
    every call cost nothing. What a call came to takes the place of what was reserved for it when it ends.
    """

    month: str
    each: int
    recipients: int
    limit: int


class Cap(Struct, frozen=True):
    """Sends of one message type to one number in a window. ``hashes`` are keyed hashes, by entry index."""

    message_type: MessageType
    limit: int
    window_ms: int
    hashes: Mapping[int, bytes]


class Deduplication(Struct, frozen=True):
    """A group that gives one notification in a window: a webhook's, whoever of an HA pair delivers it, or requests
    without a key of the same content.

    With ``counts_sent`` one that ended ``not_sent`` stands in nobody's way; with ``anew`` the claim takes the group
    over, and later ones are compared with it.
    """

    key: bytes
    window_ms: int
    counts_sent: bool = False
    anew: bool = False


class Claim(Struct, frozen=True, kw_only=True):
    """Everything that one acceptance writes, in one transaction: all of it or nothing.

    ``due_at`` is set for asynchronous notifications only: they enter the queue without an owner and may be taken from
    then on; ``waiting`` says what they wait for. Synchronous ones belong to this process at once; with ``dials`` the
    one call of such a claim is written as ``dialling`` already, because it is dialled as soon as the claim stands. The
    idempotency key and fingerprint are the notification's own; ``key_window_ms`` is how long the key holds after the
    later of acceptance and ``send_at``.
    """

    notification: Notification
    calls: tuple[PlannedCall, ...]
    due_at: int | None = None
    waiting: Code | None = None
    dials: bool = False
    key_window_ms: int = 0
    quota: Quota | None = None
    budget: Budget | None = None
    cap: Cap | None = None
    deduplication: Deduplication | None = None


class Lease(Struct, frozen=True):
    """A notification that belongs to this process under ``fence``, until it ends or goes back to the queue.

    Claiming, taking from the queue, taking back and taking over from the dead all give this. Whoever holds it may ask
    for the right to dial each call (:meth:`Journal.start_dialling`), record, end and requeue. After a claim,
    ``stored.capped`` names the entries that were left out of every call (a call left empty was not written).
    """

    stored: Stored
    fence: int


class DialLease(Lease, frozen=True):
    """A lease whose one call the claim made ``dialling``: it may be dialled, once, without asking."""


class Queued(Struct, frozen=True):
    """The claim holds and waits in the queue. It belongs to no process yet."""

    stored: Stored


class KeyTaken(Struct, frozen=True):
    """Somebody claimed this client and key before; nothing was written. Compare the fingerprints."""

    stored: Stored


class Duplicate(Struct, frozen=True):
    """The same webhook group was accepted within the window; nothing was written."""

    stored: Stored


class QuotaExhausted(Struct, frozen=True):
    """The client's day has too few recipients left; nothing was written."""

    used: int


class BudgetExhausted(Struct, frozen=True):
    """The client's month has too few units left; nothing was written. ``used``: in millionths, reserved ones too."""

    used: int


class AllCapped(Struct, frozen=True):
    """Every dialable entry is over its cap; nothing was written. ``free_at``: when the first place is free."""

    free_at: int


ClaimResult = Lease | Queued | KeyTaken | Duplicate | QuotaExhausted | BudgetExhausted | AllCapped


class CallRef(Struct, frozen=True):
    """Names one call, and the fence under which its owner may dial it."""

    notification_id: str
    ordinal: int
    fence: int
    account: str = FIRST_ACCOUNT
    """At which a record of it is charged."""
    patient: bool = False
    """Whether nobody waits for an answer: on SQLite, where one thread writes, it lets others go first."""


class LeftOut(Struct, frozen=True):
    """Recipients of a call that came onto the list of suppressed numbers; it stays ``claimed`` with all of them."""

    entries: tuple[int, ...]


class RecordResult(StrEnum):
    """What became of a record."""

    RECORDED = "recorded"
    """The call was ``dialling`` (or ``claimed``, for an outcome ``not_sent``) and is now ``done``."""
    SETTLED = "settled"
    """The call was already given up as ``unknown``; the definite outcomes replaced it, once."""
    STALE = "stale"
    """The call was ``done`` and nothing changed, or the fence no longer allows the write."""


class Cursor(Struct, frozen=True):
    """Where a listing goes on: before what has this time and id, newest first."""

    created_at: int
    id: str


class ListFilter(Struct, frozen=True, kw_only=True):
    """What a listing selects; every field that is set must match."""

    client: str | None
    """``None``: of any client (:meth:`Journal.search` only)."""
    reference: str | None = None
    idempotency_key: str | None = None
    recipient: str | None = None
    """A number, normalized (``234…``)."""
    account: str | None = None
    message_id: str | None = None
    """One that the upstream gave (:meth:`Journal.search` only)."""
    status: NotificationStatus | None = None
    created_from: int | None = None
    created_to: int | None = None
    limit: int = 50
    before: Cursor | None = None


class QueueDepth(Struct, frozen=True):
    """How much waits: notifications by state, the due time of the oldest that is due, and whose they are.

    ``held`` and ``scheduled`` are not due yet; together they are counted up to 10,000, those that come next.
    """

    queued: int
    held: int
    claimed: int
    oldest_due_at: int | None
    clients: tuple[str, ...] = ()
    """Clients with something due, so that the work of one that left the settings is not forgotten."""
    scheduled: int = 0


class BalanceEvidence(Struct, frozen=True, kw_only=True):
    """The last reading of the balance before a call and the first after it, and what was charged between them.

    Units; times in milliseconds since 1970-01-01 UTC. ``explained`` is what the calls came to whose outcome is known,
    ``unknown`` what those come to, if they were sent, whose outcome was not known: the call in question is one of them.
    """

    before: Decimal
    before_at: int
    after: Decimal
    after_at: int
    explained: Decimal
    unknown: Decimal


class CallEvidence(Struct, frozen=True):
    """When the first call of a notification was made whose outcome nobody knows, and what the balance says about it;
    ``None`` where nobody read it around then."""

    dialled_at: int
    balance: BalanceEvidence | None


class UnknownCall(Struct, frozen=True):
    """A notification that has recipients nobody can know about, and which; age and evidence where they were asked
    for."""

    stored: Stored
    indexes: tuple[int, ...]
    evidence: CallEvidence | None = None
    age_seconds: int = 0


class UnknownState(StrEnum):
    """Where a notification stands that had unknown recipients."""

    OPEN = "open"
    """Some recipient is unknown and was not sent to once more."""
    SETTLED = "settled"
    RESENT = "resent"
    """Some was sent to once more."""


class UnknownFilter(Struct, frozen=True, kw_only=True):
    """Which of them a list has; every field that is set must match."""

    state: UnknownState = UnknownState.OPEN
    client: str | None = None
    account: str | None = None
    created_from: int | None = None
    created_to: int | None = None


ALL_OPEN = UnknownFilter()


class OpenUnknown(Struct, frozen=True):
    """Recipients that are open, by account, and when the oldest such notification was accepted."""

    recipients: Mapping[str, int]
    oldest_at: int | None


class CallTimes(Struct, frozen=True):
    """When a call was dialled and when it was done; the first edition did not keep that."""

    ordinal: int
    dialled_at: int | None
    done_at: int | None


class TimelineFacts(Struct, frozen=True, kw_only=True):
    """What happened to a notification and when, as far as it is not in the notification itself."""

    stored: Stored
    claimed_at: int | None
    held_at: int | None
    called_back_at: int | None
    called_back: str | None
    calls: tuple[CallTimes, ...]


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

    async def start_dialling(
        self,
        ref: CallRef,
        account: str = FIRST_ACCOUNT,
        reason: AccountReason | None = None,
        addressed: Addressed | None = None,
    ) -> bool | LeftOut:
        """Move a call from ``claimed`` to ``dialling`` where this process owns it under this fence.

        Args:
            account: where it is dialled, kept with the call.
            reason: why that is not the client's first account.
            addressed: its recipients, to be looked for in the list of suppressed numbers.

        Returns:
            Whether the dial is authorised. ``False`` is final: somebody else owns it, or it was cancelled. It is not
            where some of the recipients are suppressed: then which.
        """
        ...

    async def record(
        self,
        ref: CallRef,
        outcomes: Sequence[Outcome],
        *,
        follow_ups: Sequence[PlannedCall] = (),
        ended: Ended | None = None,
        undialled: bool = False,
    ) -> RecordResult:
        """Write what a call brought, and the calls that follow from it, and the end of the notification if this is it.

        From ``dialling`` any outcome is taken, whatever the fence (an answer is an answer); but from a caller that is
        ``undialled``, who was never given the right to dial this call, only under the fence: somebody else may be
        dialling it by now. From ``claimed`` only under the fence, and only outcomes ``not_sent``. On a call that is
        ``done``: unknown outcomes are settled by definite ones (see ``settle_unknown``), once; else nothing changes.
        Empty ``outcomes`` close a call that ``follow_ups`` replace. May be repeated after
        :class:`JournalUnavailable`.
        """
        ...

    async def end(self, notification_id: str, ended: Ended) -> bool:
        """End a notification all of whose calls are done: erase its text, free its key, give quota back.

        Returns:
            Whether this call did it; ``False`` where it had ended before or a call is still open.
        """
        ...

    async def take(
        self, clients: Sequence[str], message_types: Sequence[MessageType], limit: int, now: int
    ) -> list[Lease]:
        """Take due notifications from the queue for this process, at most ``limit`` in all.

        Fair: the given clients take turns in the given order, each giving its oldest due notification of those
        message types; no client gets a second before every other had its first. Two processes never take the same one.
        """
        ...

    async def take_expired(self, limit: int, now: int) -> list[Lease]:
        """Take queued notifications whose ``expires_at`` has passed, of any client, due or not: they end even while
        nothing may be sent."""
        ...

    async def take_back(self, notification_ids: Sequence[str], undialled: Sequence[str] = ()) -> list[Lease]:
        """After a claim whose commit was ambiguous: of these, take those that are there, have no call that was ever
        dialled, and belong to this process or to nobody. Each comes under a new fence. The others are not there, or
        somebody else took them from the queue; :meth:`find` tells which.

        Args:
            undialled: those whose claim came with the right to dial, which this process has not used: their call is
                ``claimed`` again.
        """
        ...

    async def requeue(self, notification_id: str, fence: int, due_at: int, waiting: Code = Code.QUEUED) -> bool:
        """Put an owned asynchronous notification back, to be taken from ``due_at`` on; ``waiting`` says what it waits
        for. ``False`` if not owned now."""
        ...

    async def move(
        self, notification_id: str, client: str, send_at: int, now: int, key_window_ms: int, *, patient: bool = False
    ) -> Stored | None:
        """Send an asynchronous notification at another time, where no call of it was ever dialled: it is in the queue
        then, whoever held it, and its expiry and its key's follow.

        Args:
            patient: whether others go first: with very many recipients it takes some time.

        Returns:
            The notification after it; where it was too late, unchanged. ``None`` if there is none.
        """
        ...

    async def heartbeat(self) -> bool:
        """Say that this process lives. ``False`` where the others already declared it dead (it registers anew)."""
        ...

    async def leads(self) -> bool:
        """Whether this process is the one that does what one replica does for all (polls the balance, purges): the
        longest-running process that lives. Two may think so for a moment; what it does must bear that."""
        ...

    async def take_from_dead(self, limit: int) -> list[Lease]:
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
        """Notifications newest first, at most ``limit``. Cost grows with what is returned, and no send waits for it."""
        ...

    async def search(self, selection: ListFilter) -> list[str]:
        """The ids of notifications of any client, newest first, at most ``limit``."""
        ...

    async def read_stored(self, notification_ids: Sequence[str]) -> list[Stored]:
        """Notifications by id, in this order; those that are gone are left out."""
        ...

    async def read_overviews(self, notification_ids: Sequence[str]) -> list[Overview]:
        """The same without their entries."""
        ...

    async def read_timeline(self, notification_id: str) -> TimelineFacts | None:
        """One notification with the times of what happened to it."""
        ...

    async def list_overviews(self, selection: ListFilter) -> list[Overview]:
        """The same without their entries, which may be ten thousand each."""
        ...

    async def tend(self) -> bool:
        """Do a bit of what may be done at leisure: enter what look-ups go by, make an index. Never makes a send wait.

        Returns:
            Whether there is more to do now.
        """
        ...

    async def cancel(self, notification_id: str, client: str, now: int, *, patient: bool = False) -> Stored | None:
        """Cancel an asynchronous notification no call of which was ever dialled: calls end as ``cancelled``.

        Args:
            patient: as of :meth:`move`.

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
        act: Act,
    ) -> Stored | None:
        """Make unknown outcomes definite (``settle_unknown`` over every call), with the audit row, in one transaction.

        Returns:
            The notification after it, or ``None`` where nothing changed.
        """
        ...

    async def list_unknown(
        self, limit: int, before: Cursor | None = None, asked: UnknownFilter = ALL_OPEN
    ) -> list[UnknownCall]:
        """Terminal notifications that have, or had, unknown recipients, newest first."""
        ...

    async def finds_every_number(self) -> bool:
        """Whether :meth:`search` by recipient finds all that there is: a migration, or the entering of a notification
        to very many, may still be at it."""
        ...

    async def read_evidence(self, items: Sequence[Stored]) -> Mapping[str, CallEvidence]:
        """What is known about the calls whose outcome nobody knows, by notification; those without one are absent."""
        ...

    async def keep_balance(self, account: str, units: Decimal, at: int) -> Decimal:
        """Keep a reading of the balance, as evidence.

        Returns:
            By how many units it fell beyond what the ledger explains, since the reading after which it last rose; below
            0 where the ledger explains more than that.
        """
        ...

    async def spent(self, month: str) -> Mapping[str, Decimal]:
        """Units of a month (``2026-12``) that are used or reserved, by client; who has no budget is absent."""
        ...

    async def count_unknown(self) -> OpenUnknown:
        """How many recipients are unknown and were neither settled nor sent to once more, by account."""
        ...

    async def mark_resent(self, notification_id: str, resent: Mapping[int, str]) -> None:
        """Keep as which notification unknown recipients (by entry) were sent to once more."""
        ...

    async def mark_restored(self) -> int:
        """After a restore: every call that is not done becomes ``unknown``/``interrupted``, every notification ends.

        Returns:
            How many calls were turned.
        """
        ...

    async def pause(self, pause: SendingPause, act: Act) -> None:
        """Add a pause, on all replicas, from their next look (each looks every second); one of its scope goes."""
        ...

    async def resume(self, scope: Scope | None, act: Act) -> None:
        """End the pauses of just this scope; all of them where there is none."""
        ...

    async def list_pauses(self, now: int) -> tuple[SendingPause, ...]:
        """What is in force at that time."""
        ...

    async def suppress(self, wishes: Sequence[SuppressionWish], act: Act) -> list[Suppression]:
        """Enter numbers that are not to be written to, with an audit row; the same again gives the same id. Claims
        leave them out from then on, and so does :meth:`take`; :meth:`start_dialling` names them. Many are entered bit
        by bit: where it fails, some of them may be on the list, and the same again is right."""
        ...

    async def list_suppressions(
        self, client: str, limit: int, before: Cursor | None = None, number: str | None = None
    ) -> list[Suppression]:
        """What is kept for a client (empty: for everybody), newest first; of one number all of it."""
        ...

    async def lift_suppression(self, suppression_id: str, client: str, act: Act) -> Suppression | None:
        """Take one off the list, with an audit row; ``None`` if there is none of this client."""
        ...

    async def find_suppressed(self, addressed: Addressed, now: int) -> tuple[int, ...]:
        """The places of the numbers that are not to be written to."""
        ...

    async def queue_depth(self, now: int) -> QueueDepth:
        """What waits now."""
        ...

    async def usage(self, query: UsageQuery) -> list[UsageRow]:
        """What the calls came to that were recorded, by the fields asked for; rows come in order of their groups."""
        ...

    async def purge(self, before: int, first_usage_day: str = "") -> int:
        """Delete notifications that ended before then (end of retention), with their calls, and usage of days
        before ``first_usage_day``.

        Returns:
            How many went.
        """
        ...

    async def erase_recipient(self, number: str, act: Act) -> int:
        """Erase a number everywhere: entries lose ``input`` and ``number``, records lose their descriptions.

        Returns:
            How many notifications changed. Notifications that are not terminal are left alone.
        """
        ...

    async def audit(self, act: Act) -> str:
        """Keep an operator's act that changes nothing else, as the next row of the chain; the row's hash."""
        ...

    async def read_audit(self, limit: int, before: int | None = None, notification_id: str | None = None) -> AuditPage:
        """Rows of the audit newest first, at most ``limit``: those before a row's id, those about a notification."""
        ...

    async def purge_audit(self, before: int) -> int:
        """Delete the rows of before then, from the oldest on, with a row that says so; how many went."""
        ...


UNKNOWN_INTERRUPTED = Outcome(code=Code.INTERRUPTED)
"""What a dialled call becomes when its process died."""
