"""A core for tests of the fronts: implements ``Sending`` and ``Operations`` in memory, sends nothing, answers at once.

What becomes of a recipient is what the test says; judging requests is the real thing.
"""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from decimal import Decimal

from msgspec.structs import replace

from relay.domain.audit import FIRST, AuditPage
from relay.domain.clients import Client
from relay.domain.codes import Code, ProblemCode, ResolvedBy, Status
from relay.domain.errors import FieldError, Refusal, ValidationFailed
from relay.domain.notification import (
    Call,
    CallState,
    Mode,
    Notification,
    Outcome,
    Overview,
    Stored,
    UpstreamRecord,
    find_outcomes,
    may_move,
    overall_status,
    overview_of,
    set_send_at,
    settle_unknown,
    view_recipients,
)
from relay.domain.numbers import parse_number
from relay.domain.pausing import Scope, SendingPause
from relay.domain.routing import DEFAULT_ROUTES
from relay.domain.usage import UsageQuery, UsageRow
from relay.domain.words import WordEntry, WordMatcher
from relay.sending.ports import (
    BalanceResult,
    Cursor,
    ListFilter,
    OpenUnknown,
    SendRequest,
    SendResult,
    UnknownCall,
    UnknownFilter,
)
from relay.sending.prepare import Prepared, Rules, find_field_errors, prepare, preview_of
from relay.sending.requests import (
    AccountBalance,
    AccountHealth,
    Answer,
    Balance,
    Caller,
    ErasureReceipt,
    Health,
    Preview,
    Settlement,
    Submission,
)
from relay.sending.shares import AdmissionVerdict
from relay.sending.turns import HeavyWork, Place, Slices, Turns
from relay.smsclone.upstream_answers import rejection_of
from support.fakes import FakeClock

NOW_MS = 1_796_119_200_042
SENT = Outcome(
    code=Code.SENT, upstream=UpstreamRecord("0000", "SENT", "MESSAGE SENT TO PROVIDER", "9967534522177818556581618")
)


def rejected_by(code: str) -> Outcome:
    """The outcome of a batch that smsclone refused as a whole."""
    return Outcome(code=Code.UPSTREAM_REJECTED, upstream=UpstreamRecord(code), rejection=rejection_of(code).rejection)


class Chunker:
    """An upstream that only splits: one call for everything."""

    def chunk(self, sender: str, message: str, route: object, numbers: Sequence[str]) -> list[tuple[int, ...]]:
        return [tuple(range(len(numbers)))]

    async def send(self, request: SendRequest, timeout_seconds: float) -> SendResult:
        raise AssertionError("the fake core sends nothing")

    async def balance(self, timeout_seconds: float) -> BalanceResult:
        raise AssertionError("the fake core asks nobody")


class FakeCore:
    """Both protocols of the core.

    Attributes:
        outcome: what becomes of a recipient of a synchronous notification, by its index among those called.
        refusal: raised by everything that sends, if set.
        bug: raised by everything, if set.
        requests: what was asked for, in order.
        acts: what an operator did, in order.
    """

    def __init__(self) -> None:
        words = [
            WordEntry(text="you have won", category="prize", action="block"),
            WordEntry(text="urgent", category="pressure", action="warn"),
        ]
        self.rules = Rules(matcher=WordMatcher(words), routes=DEFAULT_ROUTES, hours={})
        self.refused_at_once = 100
        self.heavy_work = HeavyWork()
        self.turns = Turns(FakeClock())
        self.outcome: Callable[[int], Outcome] = lambda _: SENT
        self.refusal: Refusal | None = None
        self.bug: Exception | None = None
        self.requests: list[tuple[Submission, Caller]] = []
        self.wait_seconds: list[float | None] = []
        self.acts: list[tuple[str, ...]] = []
        self.stored: dict[str, Stored] = {}
        self.keys: dict[tuple[str, str], str] = {}
        self.state = Health(
            ready=True,
            started=True,
            draining=False,
            paused=False,
            journal="ok",
            upstream="closed",
            in_flight=0,
            waiting=0,
            accounts=(AccountHealth(account="smsclone", state="closed", in_flight=0, waiting=0),),
        )

    # --- Sending ---

    def is_short_of_places(self) -> bool:
        return self.refusal is not None and self.refusal.code is ProblemCode.OVERLOADED

    def judge_arrival(self, client: Client) -> AdmissionVerdict:
        return AdmissionVerdict.OVER_SHARE if self.is_short_of_places() else AdmissionVerdict.ROOM

    def arrive(self, caller: Caller) -> AbstractContextManager[object]:
        if self.refusal is not None and self.is_short_of_places():
            raise self.refusal
        return nullcontext()

    async def send(self, submission: Submission, caller: Caller, wait_seconds: float | None = None) -> Answer:
        self.wait_seconds.append(wait_seconds)
        return self._accept(submission, caller, Mode.SYNCHRONOUS)

    async def enqueue(self, submissions: Sequence[Submission], caller: Caller) -> list[Answer | Refusal]:
        self._fail()
        results: list[Answer | Refusal] = []
        for submission in submissions:
            try:
                results.append(self._accept(submission, caller, Mode.ASYNCHRONOUS))
            except Refusal as refusal:
                results.append(refusal)
        return results

    def count_refusal(self, client: Client) -> float:
        self.refused_at_once -= 1
        return 0.0 if self.refused_at_once >= 0 else 0.01

    def heavy(self, caller: Caller) -> AbstractAsyncContextManager[Place]:
        return self.heavy_work.enter(caller.client.name)

    def begin_slices(self) -> Slices:
        return self.turns.begin()

    async def preview(self, submission: Submission, caller: Caller, *, asynchronous: bool) -> Preview:
        self._fail()
        return preview_of(self._prepare(submission, caller, asynchronous=asynchronous))

    def find_field_errors(
        self, submission: Submission, caller: Caller, *, asynchronous: bool, skip: frozenset[str]
    ) -> tuple[FieldError, ...]:
        return find_field_errors(
            submission, caller.client, self.rules, asynchronous=asynchronous, now_ms=NOW_MS, skip=skip
        )

    async def find(self, notification_id: str, client: Client) -> Stored | None:
        self._fail()
        stored = self.stored.get(notification_id)
        return stored if stored is not None and stored.notification.client == client.name else None

    async def select(self, selection: ListFilter) -> list[Stored]:
        self._fail()
        found = [stored for stored in self.stored.values() if _matches(stored, selection)]
        found.sort(key=lambda stored: (stored.notification.created_at, stored.notification.id), reverse=True)
        return found[: selection.limit]

    async def list_overviews(self, selection: ListFilter) -> list[Overview]:
        return [overview_of(stored) for stored in await self.select(selection)]

    async def usage(self, query: UsageQuery) -> list[UsageRow]:
        self._fail()
        whose = query.client or "all"
        return [UsageRow(tuple(f"={field}-{whose}" for field in query.by), 1, 2, 4, Decimal("4.50"))]

    async def cancel(self, notification_id: str, client: Client) -> Stored | None:
        stored = await self.find(notification_id, client)
        if stored is None:
            return None
        if any(call.dialled for call in stored.calls):
            raise Refusal(ProblemCode.ALREADY_DIALLED, "A call was made already.")
        calls = tuple(_end(call, lambda _: Outcome(code=Code.CANCELLED), dialled=False) for call in stored.calls)
        return self._keep(replace(stored, calls=calls, completed_at=NOW_MS))

    async def move(self, notification_id: str, client: Client, send_at: int) -> Stored | None:
        stored = await self.find(notification_id, client)
        if stored is None:
            return None
        if not may_move(stored):
            raise Refusal(ProblemCode.ALREADY_DIALLED, "A call was made already.")
        moved = set_send_at(stored.notification, send_at, NOW_MS)
        return self._keep(replace(stored, notification=moved, waiting=Code.SCHEDULED))

    async def balances(self, client: Client) -> list[AccountBalance]:
        self._fail()
        return [AccountBalance("smsclone", Balance("256.21", NOW_MS))]

    def health(self) -> Health:
        return self.state

    # --- Operations ---

    async def list_unknown(self, limit: int, before: Cursor | None, asked: UnknownFilter) -> list[UnknownCall]:
        self._fail()
        found = [UnknownCall(stored, _unknown(stored)) for stored in self.stored.values() if _unknown(stored)]
        found.sort(key=lambda call: (call.stored.notification.created_at, call.stored.notification.id), reverse=True)
        if before is not None:
            found = [call for call in found if _is_before(call.stored, before)]
        return found[:limit]

    async def count_unknown(self) -> OpenUnknown:
        self._fail()
        open_ones = [stored for stored in self.stored.values() if _unknown(stored)]
        oldest = min((stored.notification.created_at for stored in open_ones), default=None)
        return OpenUnknown({"smsclone": sum(len(_unknown(stored)) for stored in open_ones)}, oldest)

    async def resolve(
        self, notification_id: str, *, sent: bool, recipients: Sequence[str] | None, reason: str, caller: Caller
    ) -> Stored:
        self.acts.append(("resolve", notification_id, "sent" if sent else "not_sent", caller.client.name))
        stored = self._unknown_of(notification_id)
        code = Code.SENT if sent else Code.UPSTREAM_UNREACHABLE
        answers = dict.fromkeys(_unknown(stored), Outcome(code=code, resolved_by=ResolvedBy.OPERATOR))
        settled = [settle_unknown(call, answers, ResolvedBy.OPERATOR) for call in stored.calls]
        calls = tuple(call if done is None else done[0] for call, done in zip(stored.calls, settled, strict=True))
        return self._keep(replace(stored, calls=calls, resolved_at=NOW_MS))

    async def resolve_many(
        self,
        which: Sequence[str] | UnknownFilter,
        *,
        sent: bool,
        recipients: Sequence[str] | None,
        reason: str | None,
        dry_run: bool,
        caller: Caller,
    ) -> list[Settlement]:
        self._fail()
        found = [stored for stored in self.stored.values() if _unknown(stored)]
        return [Settlement(stored, len(_unknown(stored)), not dry_run) for stored in found]

    async def resend(self, notification_id: str, *, message: str, caller: Caller) -> Answer:
        self.acts.append(("resend", notification_id, caller.client.name))
        original = self._unknown_of(notification_id).notification
        if message != original.message:
            raise ValidationFailed([FieldError("message", "other_text", "This is not the text of that notification.")])
        submission = Submission(
            recipients=tuple(f"+{entry.number}" for entry in original.entries), message=message, sender=original.sender
        )
        return self._accept(submission, caller, Mode.ASYNCHRONOUS)

    async def pause(
        self, scope: Scope, caller: Caller, *, reason: str, seconds: int | None
    ) -> tuple[SendingPause, ...]:
        self._fail()
        self.acts.append(("pause", caller.client.name))
        made = SendingPause(scope=scope, reason=reason, by=caller.client.name, key=caller.key, since=NOW_MS)
        self.state = replace(self.state, paused=True, pauses=(made,))
        return self.state.pauses

    async def resume(self, scope: Scope | None, caller: Caller) -> tuple[SendingPause, ...]:
        self._fail()
        self.acts.append(("resume", caller.client.name))
        self.state = replace(self.state, paused=False, pauses=())
        return ()

    async def erase_recipient(self, number: str, caller: Caller) -> ErasureReceipt:
        normalized = parse_number(number)
        if not normalized.isdigit():
            raise ValidationFailed([FieldError("recipients[0]", str(normalized), "Not a mobile number.")])
        self.acts.append(("erase", caller.client.name))
        erased = sum(
            any(entry.number == normalized for entry in stored.notification.entries) for stored in self.stored.values()
        )
        return ErasureReceipt(number=normalized, notifications=erased, not_ended=0, at=NOW_MS, hash="ab" * 32)

    async def read_audit(self, limit: int, before: int | None, notification_id: str | None) -> AuditPage:
        self._fail()
        return AuditPage((), FIRST)

    # --- inside ---

    def _fail(self) -> None:
        if self.bug is not None:
            raise self.bug
        if self.refusal is not None:
            raise self.refusal

    def _prepare(self, submission: Submission, caller: Caller, *, asynchronous: bool) -> Prepared:
        return prepare(submission, caller.client, self.rules, Chunker(), asynchronous=asynchronous, now_ms=NOW_MS)

    def _accept(self, submission: Submission, caller: Caller, mode: Mode) -> Answer:
        self._fail()
        self.requests.append((submission, caller))
        prepared = self._prepare(submission, caller, asynchronous=mode is Mode.ASYNCHRONOUS)
        for refusal in prepared.refusals:
            refusal.stage = "prepare"
            raise refusal
        name, key = caller.client.name, submission.idempotency_key
        if key is not None and (name, key) in self.keys:
            return Answer(stored=self.stored[self.keys[name, key]], replayed=True)
        stored = self._keep(self._store(prepared, caller, mode))
        if key is not None:
            self.keys[name, key] = stored.notification.id
        return Answer(stored=stored)

    def _store(self, prepared: Prepared, caller: Caller, mode: Mode) -> Stored:
        submission, route = prepared.submission, prepared.route
        assert route is not None
        notification = Notification(
            id=f"0192f3c4-0000-7000-8000-{uuid.uuid4().hex[:12]}",
            client=caller.client.name,
            source=caller.source,
            mode=mode,
            sender=prepared.sender,
            message=prepared.message,
            message_hash=hashlib.sha256(prepared.message.encode()).digest(),
            message_type=submission.message_type,
            route=route,
            text=prepared.text,
            entries=prepared.entries,
            created_at=NOW_MS + len(self.stored),
            reference=submission.reference,
            billing_code=submission.billing_code,
            send_at=submission.send_at,
            idempotency_key=submission.idempotency_key,
            warnings=prepared.warnings,
            sandbox=caller.client.sandbox,
        )
        calls = [
            Call(ordinal=ordinal, route=planned.route, recipients=planned.recipients, state=CallState.CLAIMED)
            for ordinal, planned in enumerate(prepared.calls)
        ]
        if mode is Mode.ASYNCHRONOUS:
            return Stored(notification=notification, calls=tuple(calls))
        calls = [_end(call, self.outcome, dialled=True) for call in calls]
        return Stored(notification=notification, calls=tuple(calls), completed_at=NOW_MS + 500)

    def _keep(self, stored: Stored) -> Stored:
        self.stored[stored.notification.id] = stored
        return stored

    def _unknown_of(self, notification_id: str) -> Stored:
        self._fail()
        stored = self.stored.get(notification_id)
        if stored is None or not _unknown(stored):
            raise Refusal(ProblemCode.NOT_FOUND, "Nothing of it is unknown.")
        return stored


def _end(call: Call, outcome: Callable[[int], Outcome], *, dialled: bool) -> Call:
    outcomes = tuple(outcome(position) for position in range(len(call.recipients)))
    account = "smsclone" if dialled else None
    return replace(call, state=CallState.DONE, outcomes=outcomes, dialled=dialled, account=account)


def _unknown(stored: Stored) -> tuple[int, ...]:
    outcomes, _ = find_outcomes(stored)
    return tuple(index for index, outcome in outcomes.items() if outcome.status is Status.UNKNOWN)


def _is_before(stored: Stored, cursor: Cursor) -> bool:
    return (stored.notification.created_at, stored.notification.id) < (cursor.created_at, cursor.id)


def _matches(stored: Stored, selection: ListFilter) -> bool:
    notification = stored.notification
    created_at = notification.created_at
    return (
        notification.client == selection.client
        and selection.reference in (None, notification.reference)
        and selection.recipient in (None, *(entry.number for entry in notification.entries))
        and selection.idempotency_key in (None, notification.idempotency_key)
        and selection.status in (None, overall_status(view_recipients(stored)))
        and (selection.created_from is None or created_at >= selection.created_from)
        and (selection.created_to is None or created_at < selection.created_to)
        and (selection.before is None or _is_before(stored, selection.before))
    )
