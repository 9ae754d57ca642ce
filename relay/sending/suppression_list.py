"""Who is not to be written to: numbers are entered, shown and taken off, for one client or for everybody."""

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from relay.domain.audit import Action
from relay.domain.codes import MessageType, NumberReason, Permission, ProblemCode
from relay.domain.errors import FieldError, NotAllowed, Refusal, ValidationFailed
from relay.domain.numbers import parse_number
from relay.domain.suppression import EVERYBODY, Suppression, SuppressionWish
from relay.sending.operations import check_reason
from relay.sending.ports import Clock, Cursor, Journal
from relay.sending.requests import Caller


class AskedSuppression(Struct, frozen=True, kw_only=True):
    """A number as a caller writes it, with what it is not to get."""

    recipient: str
    message_types: tuple[MessageType, ...] = ()
    reason: str
    until: int | None = None


class SuppressionList:
    """The list, as the fronts see it.

    Args:
        journal: keeps it.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def enter(
        self,
        asked: Sequence[AskedSuppression],
        caller: Caller,
        *,
        everybody: bool,
        pause: Callable[[], Awaitable[None]],
    ) -> list[Suppression | Refusal]:
        """Enter numbers, each judged by itself; results in order. One row of the audit for all.

        Args:
            pause: called after each, to let others go first.

        Raises:
            Refusal: ``permission_missing`` for everybody's, ``journal_unavailable``.
        """
        client = _whose(caller, everybody=everybody)
        judged: list[SuppressionWish | Refusal] = []
        for each in asked:
            judged.append(_judge(each, client, self._clock.now_ms()))
            await pause()
        wishes = [each for each in judged if isinstance(each, SuppressionWish)]
        if not wishes:
            return [each for each in judged if isinstance(each, Refusal)]
        scope = "for everybody" if everybody else "for itself"
        reason = f"{scope}: {wishes[0].reason}" if len(wishes) == 1 else scope
        act = caller.act(Action.SUPPRESS, self._clock.now_ms(), count=len(wishes), reason=reason)
        entered = iter(await self._journal.suppress(wishes, act))
        return [each if isinstance(each, Refusal) else next(entered) for each in judged]

    async def select(
        self, caller: Caller, limit: int, before: Cursor | None, number: str | None, *, everybody: bool
    ) -> list[Suppression]:
        """What is kept, newest first; of one number all of it.

        Raises:
            Refusal: ``permission_missing`` for everybody's.
        """
        return await self._journal.list_suppressions(_whose(caller, everybody=everybody), limit, before, number)

    async def lift(self, suppression_id: str, caller: Caller) -> Suppression | None:
        """Take one off the list: the client's own, or everybody's where the caller is an operator."""
        act = caller.act(Action.LIFT_SUPPRESSION, self._clock.now_ms(), count=1)
        lifted = await self._journal.lift_suppression(suppression_id, caller.client.name, act)
        if lifted is None and Permission.OPERATE in caller.client.permissions:
            lifted = await self._journal.lift_suppression(suppression_id, EVERYBODY, act)
        return lifted


def _whose(caller: Caller, *, everybody: bool) -> str:
    if not everybody:
        return caller.client.name
    if Permission.OPERATE not in caller.client.permissions:
        detail = "Only a client with the permission operate may suppress a number for everybody; leave scope out."
        raise NotAllowed(ProblemCode.PERMISSION_MISSING, detail)
    return EVERYBODY


def _judge(asked: AskedSuppression, client: str, now_ms: int) -> SuppressionWish | Refusal:
    errors: list[FieldError] = []
    reason = ""
    number = parse_number(asked.recipient, allow_foreign=True)
    if isinstance(number, NumberReason):
        errors.append(FieldError("recipient", number.value, "Give a phone number, such as 08031234567."))
    try:
        reason = check_reason(asked.reason)
    except ValidationFailed as failure:
        errors += failure.errors
    if asked.until is not None and asked.until <= now_ms:
        errors.append(FieldError("until", "passed", "Give a time that is still to come, or leave it out."))
    if errors:
        return ValidationFailed(errors)
    types = tuple(sorted(set(asked.message_types)))
    return SuppressionWish(number=number, client=client, message_types=types, reason=reason, until=asked.until)
