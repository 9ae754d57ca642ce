"""What the fronts hand to the core, and what the core hands back, in the domain's words."""

from contextlib import AbstractContextManager
from typing import Protocol

from msgspec import Struct

from relay.domain.clients import Client
from relay.domain.codes import MessageType, OnNonGsm, ProblemCode, RequestedRoute, Source
from relay.domain.errors import FieldError, Refusal
from relay.domain.notification import Entry, Hit, RouteDecision, SendWarning, Stored, TextFacts
from relay.sending.ports import Cursor, Deduplication, ListFilter, UnknownCall


class Submission(Struct, frozen=True, kw_only=True):
    """One request to send, decoded and of the right types, nothing judged yet. Times are milliseconds since 1970 UTC.

    ``words_only_warn`` is for alert receivers: a blocked word must not hold up a page. ``deduplication`` is for
    webhooks only.
    """

    recipients: tuple[str, ...]
    message: str
    sender: str | None = None
    message_type: MessageType = MessageType.TRANSACTIONAL
    route: RequestedRoute = RequestedRoute.AUTO
    reference: str | None = None
    on_non_gsm: OnNonGsm = OnNonGsm.SEND
    max_segments: int | None = None
    strict: bool = False
    expires_at: int | None = None
    callback_url: str | None = None
    idempotency_key: str | None = None
    words_only_warn: bool = False
    deduplication: Deduplication | None = None
    resend_of: str | None = None


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks, and through which door."""

    client: Client
    source: Source
    request_id: str
    traceparent: str | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """A claimed notification as it stands now. ``duplicate`` is for webhooks: an earlier one of the group stands."""

    stored: Stored
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
    calls: int
    estimated_units: int


class Balance(Struct, frozen=True):
    """Units left at the upstream (a decimal as text) and when they were read."""

    units: str
    read_at: int


class Health(Struct, frozen=True, kw_only=True):
    """What the readiness page tells. ``ready`` is started and not draining; the rest explains refusals."""

    ready: bool
    started: bool
    draining: bool
    paused: bool
    journal: str
    """``ok``, or the reason of the last failure."""
    upstream: str
    """The breaker: ``closed``, ``open``, ``half_open``; or ``no_balance`` while TG17 stops sending."""
    in_flight: int
    waiting: int


class Sending(Protocol):
    """The core as the fronts see it; ``relay.sending.dispatcher.Dispatcher`` is the one implementation."""

    def is_overloaded(self) -> bool:
        """Whether there is no place for one more who would wait."""
        ...

    def arrive(self, caller: Caller) -> AbstractContextManager[None]:
        """Let somebody in who would wait, or say no before anything of the request is read.

        Saying no must cost little, or a flood would leave nothing for those who are served. So not even an idempotency
        key is looked up: it is honoured when the caller tries again.

        Returns:
            A block in which the request is read.

        Raises:
            Unavailable: ``overloaded``.
        """
        ...

    async def send(self, submission: Submission, caller: Caller, wait_seconds: float | None = None) -> Answer:
        """Send and wait for the outcome, at most the notification deadline (lowered by ``wait_seconds``).

        The send goes on when the caller goes away.

        Raises:
            Refusal: nothing was claimed and nothing was sent.
        """
        ...

    async def enqueue(self, submissions: "list[Submission]", caller: Caller) -> "list[Answer | Refusal]":
        """Accept for later, each by itself, in one transaction; results in order."""
        ...

    def preview(self, submission: Submission, caller: Caller, *, asynchronous: bool) -> Preview:
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

    async def cancel(self, notification_id: str, client: Client) -> Stored | None:
        """Cancel what is still queued.

        Raises:
            Refusal: ``already_dialled``.
        """
        ...

    async def balance(self, client: Client) -> Balance:
        """Units left, read now; a sandbox client sees the stand-in's.

        Raises:
            Refusal: they could not be read.
        """
        ...

    def health(self) -> Health:
        """How things stand, without waiting for anything."""
        ...


class Operations(Protocol):
    """What the operator's commands do, through the server; ``relay.sending.operations.Operator`` implements it."""

    async def list_unknown(self, limit: int, before: Cursor | None) -> "list[UnknownCall]":
        """Terminal notifications with recipients nobody can know about, newest first."""
        ...

    async def resolve(self, notification_id: str, *, sent: bool, recipients: "list[str] | None", actor: str) -> Stored:
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

    async def set_paused(self, paused: bool, actor: str) -> None:
        """Stop or start all sending on all replicas."""
        ...

    async def erase_recipient(self, number: str, actor: str) -> int:
        """Erase a number (as a caller would write it) from all terminal notifications; how many changed.

        Raises:
            Refusal: not a number.
        """
        ...
