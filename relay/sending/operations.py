"""What the operator does by hand, through the server: settle what nobody can know, stop, start, erase.

Every act leaves an audit row, in the same transaction where the act is a write.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from relay.domain.clients import Client
from relay.domain.codes import Code, NumberReason, OnNonGsm, ProblemCode, ResolvedBy, Source, Status
from relay.domain.errors import FieldError, Refusal, ValidationFailed
from relay.domain.notification import Outcome, Stored, find_outcomes
from relay.domain.numbers import parse_number
from relay.domain.text import prepare_text
from relay.sending.events import Events, UnknownSettled
from relay.sending.gate import journal_unavailable
from relay.sending.ports import AuditRow, Clock, Cursor, Journal, JournalUnavailable, UnknownCall
from relay.sending.requests import Answer, Caller, Sending, Submission

_SENT = Outcome(code=Code.SENT, resolved_by=ResolvedBy.OPERATOR)
_NEVER_ARRIVED = Outcome(code=Code.UPSTREAM_UNREACHABLE, resolved_by=ResolvedBy.OPERATOR)


class Operator:
    """Implements ``Operations``.

    Args:
        hash_message: the keyed hash that the journal keeps of every text.
        look_at_pause: lets this process see the switch at once; the others see it within a second.
        clients: the clients as they are configured now; a re-send goes out in the name of the original one.
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
        allow_foreign: bool,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._events = events
        self._sending = sending
        self._hash_message = hash_message
        self._look_at_pause = look_at_pause
        self._clients = clients
        self._allow_foreign = allow_foreign

    async def list_unknown(self, limit: int, before: Cursor | None) -> list[UnknownCall]:
        """See ``Operations.list_unknown``."""
        try:
            return await self._journal.list_unknown(limit, before)
        except JournalUnavailable as failure:
            raise journal_unavailable(failure) from None

    async def resolve(
        self, notification_id: str, *, sent: bool, recipients: Sequence[str] | None, actor: str
    ) -> Stored:
        """See ``Operations.resolve``."""
        stored = await self._find(notification_id)
        unknown = _unknown_indexes(stored)
        if recipients is not None:
            wanted = self._normalize(recipients)
            unknown = [index for index in unknown if stored.notification.entries[index].number in wanted]
        if not unknown:
            raise _nothing_unknown()
        audit = AuditRow(
            at=self._clock.now_ms(),
            actor=actor,
            action="resolve_sent" if sent else "resolve_not_sent",
            notification_id=notification_id,
            detail=f"{len(unknown)} recipients",
        )
        answers = dict.fromkeys(unknown, _SENT if sent else _NEVER_ARRIVED)
        try:
            settled = await self._journal.settle(
                notification_id, answers, ResolvedBy.OPERATOR, self._clock.now_ms(), audit
            )
        except JournalUnavailable as failure:
            raise journal_unavailable(failure) from None
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

    async def resend(self, notification_id: str, *, message: str, caller: Caller) -> Answer:
        """See ``Operations.resend``."""
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
            idempotency_key=f"resend-of-{original.id}",
            resend_of=original.id,
        )
        audit = AuditRow(
            at=self._clock.now_ms(),
            actor=caller.client.name,
            action="resend",
            notification_id=notification_id,
            detail=f"{len(unknown)} recipients",
        )
        try:
            await self._journal.audit(audit)
        except JournalUnavailable as failure:
            raise journal_unavailable(failure) from None
        sender = Caller(client=client, source=Source.OPERATOR, request_id=caller.request_id)
        [answer] = await self._sending.enqueue([submission], sender)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    async def set_paused(self, paused: bool, actor: str) -> None:
        """See ``Operations.set_paused``."""
        action = "pause" if paused else "resume"
        try:
            await self._journal.set_paused(paused, AuditRow(at=self._clock.now_ms(), actor=actor, action=action))
            await self._look_at_pause()
        except JournalUnavailable as failure:
            raise journal_unavailable(failure) from None

    async def erase_recipient(self, number: str, actor: str) -> int:
        """See ``Operations.erase_recipient``."""
        [normalized] = self._normalize([number])
        try:
            return await self._journal.erase_recipient(
                normalized, AuditRow(at=self._clock.now_ms(), actor=actor, action="erase_recipient")
            )
        except JournalUnavailable as failure:
            raise journal_unavailable(failure) from None

    async def _find(self, notification_id: str) -> Stored:
        try:
            stored = await self._journal.find(notification_id)
        except JournalUnavailable as failure:
            raise journal_unavailable(failure) from None
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


def _unknown_indexes(stored: Stored) -> list[int]:
    outcomes, _ = find_outcomes(stored)
    return [index for index, outcome in outcomes.items() if outcome.status is Status.UNKNOWN]


def _nothing_unknown() -> Refusal:
    detail = "No recipient of this notification is unknown now; look it up to see what each became."
    return Refusal(ProblemCode.NOT_FOUND, detail)
