"""What the fronts hand to the core, and what the core hands back, in the domain's words."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from decimal import Decimal
from typing import Any, Protocol

from msgspec import Struct

from relay.domain.audit import Act, Action, AuditPage
from relay.domain.clients import Client
from relay.domain.codes import AccountReason, MessageType, OnNonGsm, ProblemCode, RequestedRoute, Source
from relay.domain.errors import FieldError, Refusal
from relay.domain.notification import (
    Entry,
    Hit,
    Overview,
    RecipientResult,
    RouteDecision,
    SendWarning,
    Stored,
    TextFacts,
)
from relay.domain.pausing import Scope, SendingPause
from relay.domain.templates import TemplateUse
from relay.domain.usage import UsageQuery, UsageRow
from relay.sending.ports import Cursor, Deduplication, ListFilter, UnknownCall, UnknownFilter
from relay.sending.shares import AdmissionVerdict
from relay.sending.turns import Slices


class HeavyPlace(Protocol):
    """A client's one heavy request; ``relay.sending.turns.Place`` in a process."""

    async def begin(self) -> None:
        """Wait until it may be worked on: to be called once it was read.

        Raises:
            Unavailable: ``overloaded``.
        """
        ...

    def end(self) -> None:
        """The work is done, or was given up; the block ends it too."""
        ...


class AskedWindow(Struct, frozen=True):
    """When a message may be sent, as it was asked for: times as ``20:00``, and a zone of the IANA database."""

    begin: str
    end: str
    time_zone: str


class Submission(Struct, frozen=True, kw_only=True):
    """One request to send, decoded and of the right types, nothing judged yet. Times are milliseconds since 1970 UTC.

    ``template`` goes before ``message``. ``words_only_warn`` is for alert receivers: a blocked word must not hold up a
    page. ``deduplication`` is for webhooks only, as is a ``repeat_window_seconds`` other than the client's.
    ``key_made_at`` is there for clients whose keys carry their time; with ``allow_repeat`` a request that equals a
    recent one is sent all the same.
    """

    recipients: tuple[str, ...]
    message: str = ""
    template: TemplateUse | None = None
    sender: str | None = None
    message_type: MessageType = MessageType.TRANSACTIONAL
    route: RequestedRoute = RequestedRoute.AUTO
    reference: str | None = None
    billing_code: str | None = None
    on_non_gsm: OnNonGsm = OnNonGsm.SEND
    max_segments: int | None = None
    strict: bool = False
    send_at: int | None = None
    expires_at: int | None = None
    delivery_window: AskedWindow | None = None
    callback_url: str | None = None
    idempotency_key: str | None = None
    key_made_at: int | None = None
    allow_repeat: bool = False
    repeat_window_seconds: int | None = None
    words_only_warn: bool = False
    deduplication: Deduplication | None = None
    resend_of: str | None = None
    entries: tuple[Entry, ...] | None = None
    """What the recipients come to, where they are so many that they were looked at in slices."""


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks, and through which door."""

    client: Client
    source: Source
    request_id: str
    traceparent: str | None = None
    key: str | None = None
    """The id of the key that was used, or what stands for it."""

    def act(self, action: Action, at: int, **facts: Any) -> Act:
        """A row for the audit: what this caller did; ``facts`` are further fields of it."""
        return Act(at=at, client=self.client.name, key=self.key, action=action, **facts)


class Answer(Struct, frozen=True, kw_only=True):
    """A claimed notification as it is now. ``duplicate``: it is an earlier one, of the same webhook group or, without a
    key, of the same content.

    ``results`` are what became of each recipient, where that was worked out already.
    """

    stored: Stored
    results: tuple[RecipientResult, ...] | None = None
    replayed: bool = False
    duplicate: bool = False


class PreviewProblem(Struct, frozen=True, omit_defaults=True):
    """One thing that a send would be refused for."""

    code: ProblemCode
    detail: str
    errors: tuple[FieldError, ...] = ()


class Preview(Struct, frozen=True, kw_only=True):
    """Everything but the send. ``route`` is ``None`` where no route may be taken."""

    problems: tuple[PreviewProblem, ...]
    sender: str | None
    route: RouteDecision | None
    text: TextFacts
    entries: tuple[Entry, ...]
    hits: tuple[Hit, ...]
    warnings: tuple[SendWarning, ...]
    suppressed: tuple[int, ...] = ()
    """The places of entries that are not to be written to."""
    calls: int
    estimated_units: Decimal
    account: str | None = None
    """The account that would take it now; ``None`` where none can."""
    account_reason: AccountReason | None = None
    """Why it is not the client's first, or why none can."""


class Balance(Struct, frozen=True):
    """Units left at an account (a decimal as text) and when they were read; ``None`` where that failed or was never."""

    units: str
    read_at: int


class AccountBalance(Struct, frozen=True):
    """What is known of the units of one account; ``balance`` is ``None`` where they could not be read."""

    account: str
    balance: Balance | None


class AccountHealth(Struct, frozen=True, kw_only=True):
    """How one account stands: ``state`` is the breaker (``closed``, ``open``, ``half_open``), or ``no_balance`` while
    missing units stop sending, or ``paused``."""

    account: str
    state: str
    in_flight: int
    waiting: int


class Health(Struct, frozen=True, kw_only=True):
    """What the readiness page tells. ``ready`` is started and not draining; the rest explains refusals."""

    ready: bool
    started: bool
    draining: bool
    paused: bool
    pauses: tuple[SendingPause, ...] = ()
    journal: str
    """``ok``, or the reason of the last failure."""
    upstream: str
    """The breaker: ``closed``, ``open``, ``half_open``; or ``no_balance`` while missing units stop sending."""
    in_flight: int
    waiting: int
    accounts: tuple[AccountHealth, ...] = ()
    """Every account that this process can send by; ``upstream`` is the best of them."""


class Sending(Protocol):
    """The core as the fronts see it; ``relay.sending.service.Service`` in a process."""

    def is_short_of_places(self) -> bool:
        """Whether places for those who wait are short, so that somebody may have to be refused."""
        ...

    def judge_arrival(self, client: Client) -> AdmissionVerdict:
        """Say whether a request of this client that nobody has read yet gets one, and why, or why not."""
        ...

    def count_refusal(self, client: Client) -> float:
        """Count that a client is told ``overloaded``; how many seconds to hold the answer back."""
        ...

    def arrive(self, caller: Caller) -> AbstractContextManager[object]:
        """Let somebody in who would wait, or say no before anything of the request is read.

        Saying no must cost little, or a flood would leave nothing for those who are served. So not even an idempotency
        key is looked up: it is honoured when the caller tries again.

        Returns:
            A block in which the request is read.

        Raises:
            Unavailable: ``overloaded``.
        """
        ...

    def heavy(self, caller: Caller) -> AbstractAsyncContextManager[HeavyPlace]:
        """A block in which a client makes a heavy request: a batch, a list, a preview, one to many recipients.

        A client makes one at a time; entering waits for the one before, for a while.

        Raises:
            Unavailable: ``overloaded``.
        """
        ...

    def begin_slices(self) -> Slices:
        """Begin work that may take long, which is to say after every bit of it that others may go first."""
        ...

    async def send(self, submission: Submission, caller: Caller, wait_seconds: float | None = None) -> Answer:
        """Send and wait for the outcome, at most the notification deadline (lowered by ``wait_seconds``).

        The send goes on when the caller goes away.

        Raises:
            Refusal: nothing was claimed and nothing was sent.
        """
        ...

    async def enqueue(self, submissions: "list[Submission]", caller: Caller) -> "list[Answer | Refusal]":
        """Accept for later, each by itself, some in each transaction; results in order.

        Where the journal or this process goes in the middle, those before are accepted and those after are not.
        """
        ...

    async def preview(self, submission: Submission, caller: Caller, *, asynchronous: bool) -> Preview:
        """Everything but the send; pure, nothing is journalled, quotas are not touched.

        Raises:
            Refusal: fields are malformed (the same that a send would list as ``validation_failed``).
        """
        ...

    def find_field_errors(
        self, submission: Submission, caller: Caller, *, asynchronous: bool, skip: frozenset[str]
    ) -> tuple[FieldError, ...]:
        """What is wrong with the fields not in ``skip``: for a front that already found malformed ones."""
        ...

    async def find(self, notification_id: str, client: Client) -> Stored | None:
        """One notification of this client."""
        ...

    async def select(self, selection: ListFilter) -> "list[Stored]":
        """Notifications of a client, newest first."""
        ...

    async def list_overviews(self, selection: ListFilter) -> "list[Overview]":
        """The same without their entries."""
        ...

    async def usage(self, query: UsageQuery) -> list[UsageRow]:
        """What was sent, by the fields asked for."""
        ...

    async def cancel(self, notification_id: str, client: Client) -> Stored | None:
        """Cancel what is still queued.

        Raises:
            Refusal: ``already_dialled``, ``already_ended``, ``overloaded``.
        """
        ...

    async def move(self, notification_id: str, client: Client, send_at: int) -> Stored | None:
        """Send what is still queued at another time.

        Raises:
            Refusal: ``already_dialled``, ``already_ended``; ``validation_failed`` where it is too far ahead, or not
                before the caller's own ``expires_at``; ``rate_limited``, ``overloaded``.
        """
        ...

    async def balances(self, client: Client) -> list[AccountBalance]:
        """Units left at each of a client's accounts, in its order; those that cannot be read now are ``None``, but the
        first's.

        Raises:
            Refusal: the first's could not be read.
        """
        ...

    def health(self) -> Health:
        """How things stand, without waiting for anything."""
        ...


class Settlement(Struct, frozen=True):
    """A notification of which so many recipients matched, and whether they were settled."""

    stored: Stored
    recipients: int
    settled: bool


class ErasureReceipt(Struct, frozen=True, kw_only=True):
    """What an erasure did. ``hash`` is that of its row in the audit; ``not_ended`` notifications still hold the number,
    until they end (at most 1,000 are counted)."""

    number: str
    notifications: int
    not_ended: int
    at: int
    hash: str


class Operations(Protocol):
    """What the operator's commands do, through the server; ``relay.sending.operations.Operator`` implements it."""

    async def list_unknown(self, limit: int, before: Cursor | None, asked: UnknownFilter) -> "list[UnknownCall]":
        """Terminal notifications that have, or had, recipients nobody can know about, newest first."""
        ...

    async def resolve_many(
        self,
        which: "Sequence[str] | UnknownFilter",
        *,
        sent: bool,
        recipients: "list[str] | None",
        reason: str | None,
        dry_run: bool,
        caller: Caller,
    ) -> "list[Settlement]":
        """Settle what is open of many notifications, by id or by filter; with ``dry_run`` only say of which: that
        needs no reason.

        Raises:
            Refusal: ``validation_failed``, on ``reason`` or ``recipients``.
        """
        ...

    async def resolve(
        self, notification_id: str, *, sent: bool, recipients: "list[str] | None", reason: str, caller: Caller
    ) -> Stored:
        """Settle unknown recipients (all, or those numbers) as sent or not sent.

        Raises:
            Refusal: ``not_found``, or nothing of it is unknown.
        """
        ...

    async def resend(self, notification_id: str, *, message: str, caller: Caller) -> Answer:
        """Send again to the unknown recipients, with the text given again and checked against the hash.

        A notification of its own, with its own id, ``resend_of`` and an audit row; asynchronous.

        Raises:
            Refusal: ``not_found``, nothing unknown, or the text is another.
        """
        ...

    async def pause(
        self, scope: Scope, caller: Caller, *, reason: str, seconds: int | None
    ) -> tuple[SendingPause, ...]:
        """Stop what the scope names on all replicas; a pause of the same scope is replaced.

        Args:
            seconds: after which it ends by itself.

        Returns:
            Every pause in force.

        Raises:
            Refusal: ``validation_failed``, on ``reason``, or on a client that is not there.
        """
        ...

    async def resume(self, scope: Scope | None, caller: Caller) -> tuple[SendingPause, ...]:
        """End the pauses of just this scope, or all of them; those that are left."""
        ...

    async def erase_recipient(self, number: str, caller: Caller) -> ErasureReceipt:
        """Erase a number (as a caller would write it) from all terminal notifications.

        Raises:
            Refusal: not a number.
        """
        ...

    async def read_audit(self, limit: int, before: int | None, notification_id: str | None) -> AuditPage:
        """Rows of the audit newest first: those before a row's id, those about a notification."""
        ...
