"""What the operator does by hand, through the server: settle what nobody can know, stop, start, erase.

Every act leaves an audit row, in the same transaction where the act is a write.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from msgspec.structs import asdict, replace

from relay.domain.audit import LONGEST_REASON, Action, AuditPage, mask_digits
from relay.domain.clients import Client
from relay.domain.codes import Code, NumberReason, OnNonGsm, ProblemCode, ResolvedBy, Source, Status
from relay.domain.errors import FieldError, Refusal, ValidationFailed
from relay.domain.notification import Outcome, Stored, find_outcomes, open_indexes
from relay.domain.numbers import parse_number
from relay.domain.pausing import Scope, SendingPause
from relay.domain.text import prepare_text
from relay.sending.events import Events, UnknownSettled
from relay.sending.ports import CallEvidence, Clock, Cursor, Journal, ListFilter, UnknownCall, UnknownFilter
from relay.sending.requests import Answer, Caller, ErasureReceipt, Sending, Settlement, Submission

_SENT = Outcome(code=Code.SENT, resolved_by=ResolvedBy.OPERATOR)
_NEVER_ARRIVED = Outcome(code=Code.UPSTREAM_UNREACHABLE, resolved_by=ResolvedBy.OPERATOR)


MOST_SETTLED = 1_000
"""Notifications that one request settles; the next request goes on."""


class Operator:
    """Implements the port ``Operations``, which has the contract of each method.

    Args:
        hash_message: the keyed hash that the journal keeps of every text.
        look_at_pause: lets this process see the switch at once; the others see it within a second.
        clients: the clients as they are configured now; a re-send goes out in the name of the original one.
        accounts: the names of all accounts.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        events: Events,
        sending: Sending,
        *,
        hash_message: Callable[[str], bytes],
        look_at_pause: Callable[[], Awaitable[None]],
        clients: Callable[[], Mapping[str, Client]],
        accounts: Collection[str],
        allow_foreign: bool,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._events = events
        self._sending = sending
        self._hash_message = hash_message
        self._look_at_pause = look_at_pause
        self._clients = clients
        self._accounts = accounts
        self._allow_foreign = allow_foreign

    async def list_unknown(self, limit: int, before: Cursor | None, asked: UnknownFilter) -> list[UnknownCall]:
        found = await self._journal.list_unknown(limit, before, asked)
        evidence = await self._journal.read_evidence([call.stored for call in found])
        return [self._judge_age(call, evidence.get(call.stored.notification.id)) for call in found]

    def _judge_age(self, call: UnknownCall, known: CallEvidence | None) -> UnknownCall:
        """With its evidence, and the time since the call, or since it was accepted where that was not kept."""
        since = call.stored.notification.created_at if known is None else known.dialled_at
        return replace(call, evidence=known, age_seconds=max(self._clock.now_ms() - since, 0) // 1_000)

    async def resolve(
        self, notification_id: str, *, sent: bool, recipients: Sequence[str] | None, reason: str, caller: Caller
    ) -> Stored:
        said = check_reason(reason)
        stored = await self._find(notification_id)
        unknown = list(open_indexes(stored))
        if recipients is not None:
            wanted = self._normalize(recipients)
            unknown = [index for index in unknown if stored.notification.entries[index].number in wanted]
        if not unknown:
            raise _nothing_unknown()
        now = self._clock.now_ms()
        action = Action.RESOLVE_SENT if sent else Action.RESOLVE_NOT_SENT
        act = caller.act(action, now, notification_id=notification_id, count=len(unknown), reason=said)
        answers = dict.fromkeys(unknown, _SENT if sent else _NEVER_ARRIVED)
        settled = await self._journal.settle(notification_id, answers, ResolvedBy.OPERATOR, now, act)
        if settled is None:
            raise _nothing_unknown()
        self._events.emit(
            UnknownSettled(
                notification_id=notification_id,
                client=stored.notification.client,
                resolved_by=ResolvedBy.OPERATOR,
                recipients=len(unknown),
            )
        )
        return settled

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
        said = check_reason(reason or "") if reason is not None or not dry_run else ""
        wanted = None if recipients is None else self._normalize(recipients)
        if isinstance(which, UnknownFilter):
            found = [call.stored for call in await self._journal.list_unknown(MOST_SETTLED, None, which)]
        else:
            found = await self._journal.read_stored(list(dict.fromkeys(which)))
        settlements: list[Settlement] = []
        for stored in found:
            numbers = [stored.notification.entries[index].number for index in open_indexes(stored)]
            matching = [number for number in numbers if wanted is None or number in wanted]
            if not matching:
                continue
            settled = False
            if not dry_run:
                try:
                    stored = await self.resolve(  # noqa: PLW2901 — as it is after it
                        stored.notification.id,
                        sent=sent,
                        recipients=None if wanted is None else [number for number in matching if number is not None],
                        reason=said,
                        caller=caller,
                    )
                    settled = True
                except Refusal:  # somebody else was faster
                    continue
            settlements.append(Settlement(stored=stored, recipients=len(matching), settled=settled))
        return settlements

    async def resend(self, notification_id: str, *, message: str, caller: Caller) -> Answer:
        stored = await self._find(notification_id)
        original = stored.notification
        unknown = _unknown_indexes(stored)
        if not unknown:
            raise _nothing_unknown()
        if any(original.entries[index].number is None for index in unknown):
            raise Refusal(ProblemCode.NOT_FOUND, "The numbers of this notification were erased; nothing can be sent.")
        client = self._clients().get(original.client)
        if client is None:
            detail = "The client of this notification is no longer configured; add it again to send in its name."
            raise Refusal(ProblemCode.NOT_FOUND, detail)
        submission = Submission(
            sender=original.sender,
            recipients=tuple(f"+{original.entries[index].number}" for index in unknown),
            message=self._same_message(message, original.message_hash),
            message_type=original.message_type,
            route=original.route.requested,
            reference=original.reference,
            billing_code=original.billing_code,
            idempotency_key=f"resend-of-{original.id}",
            resend_of=original.id,
        )
        now = self._clock.now_ms()
        await self._journal.audit(caller.act(Action.RESEND, now, notification_id=notification_id, count=len(unknown)))
        sender = Caller(client=client, source=Source.OPERATOR, request_id=caller.request_id)
        [answer] = await self._sending.enqueue([submission], sender)
        if isinstance(answer, Refusal):
            raise answer
        again = answer.stored.notification.id
        await self._journal.mark_resent(original.id, dict.fromkeys(unknown, again))
        linked = caller.act(Action.RESENT_AS, now, notification_id=original.id, other_id=again, count=len(unknown))
        await self._journal.audit(linked)
        return answer

    async def pause(
        self, scope: Scope, caller: Caller, *, reason: str, seconds: int | None
    ) -> tuple[SendingPause, ...]:
        now = self._clock.now_ms()
        said = check_reason(reason)
        self._check_scope(scope, ())
        pause = SendingPause(
            scope=scope,
            reason=said,
            by=caller.client.name,
            key=caller.key,
            since=now,
            until=None if seconds is None else now + seconds * 1000,
        )
        await self._journal.pause(pause, caller.act(Action.PAUSE, now, reason=_name_scope(scope, said)))
        await self._look_at_pause()
        return await self._journal.list_pauses(now)

    async def resume(self, scope: Scope | None, caller: Caller) -> tuple[SendingPause, ...]:
        now = self._clock.now_ms()
        if scope is not None:
            self._check_scope(scope, await self._journal.list_pauses(now))
        reason = None if scope is None else _name_scope(scope, "")
        await self._journal.resume(scope, caller.act(Action.RESUME, now, reason=reason))
        await self._look_at_pause()
        return await self._journal.list_pauses(now)

    def _check_scope(self, scope: Scope, pauses: Sequence[SendingPause]) -> None:
        """Refuse names that nothing has: a pause that stops nothing is worse than none. What is stopped may have left
        the settings since."""
        errors = []
        if scope.client not in {None, *self._clients(), *(each.scope.client for each in pauses)}:
            remedy = "There is no client of this name in the settings."
            errors.append(FieldError("client", "unknown_client", remedy))
        if scope.account not in {None, *self._accounts, *(each.scope.account for each in pauses)}:
            remedy = "There is no account of this name in the settings: smsclone, or one under [[accounts]]."
            errors.append(FieldError("account", "unknown_account", remedy))
        if errors:
            raise ValidationFailed(errors)

    async def erase_recipient(self, number: str, caller: Caller) -> ErasureReceipt:
        [normalized] = self._normalize([number])
        erased = await self._journal.erase_recipient(normalized, caller.act(Action.ERASE, self._clock.now_ms()))
        left = await self._journal.search(ListFilter(client=None, recipient=normalized, limit=1_000))
        now = self._clock.now_ms()
        row_hash = await self._journal.audit(caller.act(Action.ERASED, now, count=erased))
        return ErasureReceipt(number=normalized, notifications=erased, not_ended=len(left), at=now, hash=row_hash)

    async def read_audit(self, limit: int, before: int | None, notification_id: str | None) -> AuditPage:
        return await self._journal.read_audit(limit, before, notification_id)

    async def _find(self, notification_id: str) -> Stored:
        stored = await self._journal.find(notification_id)
        if stored is None:
            raise Refusal(ProblemCode.NOT_FOUND, "There is no notification with this id.")
        return stored

    def _normalize(self, recipients: Sequence[str]) -> set[str]:
        numbers: set[str] = set()
        for position, recipient in enumerate(recipients):
            number = parse_number(recipient, allow_foreign=self._allow_foreign)
            if isinstance(number, NumberReason):
                remedy = "Not a mobile number that can be sent to."
                raise ValidationFailed([FieldError(f"recipients[{position}]", number.value, remedy)])
            numbers.add(number)
        return numbers

    def _same_message(self, message: str, expected: bytes) -> str:
        """The text as it was sent, whichever folding it had then; another text is refused."""
        for folding in (OnNonGsm.SEND, OnNonGsm.FOLD, OnNonGsm.FOLD_LETTERS):
            sent = prepare_text(message, folding).message
            if self._hash_message(sent) == expected:
                return sent
        error = FieldError("message", "other_text", "This is not the text of that notification; nothing was sent.")
        raise ValidationFailed([error])


def check_reason(reason: str) -> str:
    """The reason of an act as it is kept: on one line, with numbers masked.

    Raises:
        ValidationFailed: there is none, or it is too long.
    """
    said = " ".join(reason.split())
    if not 1 <= len(said) <= LONGEST_REASON or not said.isprintable():
        remedy = f"Say in 1 to {LONGEST_REASON} characters why: the audit keeps it."
        raise ValidationFailed([FieldError("reason", "out_of_range", remedy)])
    return mask_digits(said)


def _name_scope(scope: Scope, reason: str) -> str | None:
    """What was stopped, and why, for the audit."""
    named = ", ".join(f"{name} {value}" for name, value in asdict(scope).items() if value is not None)
    return ": ".join(filter(None, (named, reason))) or None


def _unknown_indexes(stored: Stored) -> list[int]:
    outcomes, _ = find_outcomes(stored)
    return [index for index, outcome in outcomes.items() if outcome.status is Status.UNKNOWN]


def _nothing_unknown() -> Refusal:
    detail = "No recipient of this notification is unknown now; look it up to see what each became."
    return Refusal(ProblemCode.NOT_FOUND, detail)
