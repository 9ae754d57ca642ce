"""What an answer leads to. The only place in the relay that lets a text go to a number again; pure, and short.

A number is called again only where certainly nothing was sent to it (no byte left, or the upstream refused the whole
batch), later or by another account of the client; or, where the operator switched it on, where the upstream said that
this number got nothing (3333 on ``normal``).
"""

from collections.abc import Set as AbstractSet

from msgspec import Struct
from msgspec.structs import replace

from relay.domain.codes import MessageType, Rejection, Route
from relay.domain.notification import Call, Mode, Notification, Outcome, PlannedCall, lies_with_account
from relay.domain.routing import choose_second_attempt
from relay.sending.accounts import reason_of
from relay.sending.ports import SendOutcome, SendResult

MOST_HALVINGS = 7
"""A chunk is halved at most so often (SPEC section 2); 100 recipients are single after 7."""

FIRST_BACKOFF_MS = 1_000
LONGEST_BACKOFF_MS = 60_000


class Step(Struct, frozen=True):
    """Outcomes to keep (none where the calls that follow replace this one), and when those may be made."""

    outcomes: tuple[Outcome, ...]
    follow_ups: tuple[PlannedCall, ...] = ()
    hold_until: int | None = None


def decide(
    notification: Notification,
    call: Call,
    result: SendResult,
    *,
    second_attempt: AbstractSet[MessageType],
    tries: int,
    now_ms: int,
    onward: str | None = None,
) -> Step:
    """Say what an answer leads to.

    Args:
        second_attempt: the message types whose 3333 on ``normal`` is tried once more on ``dnd``.
        tries: how often this notification was held before.
        now_ms: wall-clock milliseconds.
        onward: the next account of the client that can take the call now, if there is one.
    """
    if result.too_many and len(call.recipients) > 1 and call.level < MOST_HALVINGS:
        return Step((), halve(call))
    if onward is not None and all(map(lies_with_account, result.outcomes)):
        reason = reason_of(result.outcomes[0])
        again = replace(as_planned(call), account=onward, account_reason=call.account_reason or reason)
        return Step(result.outcomes, (again,))
    if notification.mode is Mode.ASYNCHRONOUS and _passes(result):
        again = replace(as_planned(call), account=None, account_reason=None)
        backoff = min(FIRST_BACKOFF_MS * 2 ** min(tries, 10), LONGEST_BACKOFF_MS)
        return Step((), (again,), now_ms + backoff)
    outcomes = dict(zip(call.recipients, result.outcomes, strict=True))
    indexes = choose_second_attempt(call.route, notification.message_type, second_attempt, outcomes)
    if indexes:
        again = PlannedCall(route=Route.DND, recipients=indexes, account=call.account)
        return Step(result.outcomes, (again,))
    return Step(result.outcomes)


def halve(call: Call) -> tuple[PlannedCall, PlannedCall]:
    """Split a call that the upstream found too large; each half is a call of its own, for the same account."""
    middle = len(call.recipients) // 2
    whole = replace(as_planned(call), level=call.level + 1)
    return (
        replace(whole, recipients=call.recipients[:middle]),
        replace(whole, recipients=call.recipients[middle:]),
    )


def as_planned(call: Call) -> PlannedCall:
    """The same call to be made once more."""
    return PlannedCall(
        route=call.route,
        recipients=call.recipients,
        level=call.level,
        account=call.account,
        account_reason=call.account_reason,
    )


def _passes(result: SendResult) -> bool:
    """Whether certainly nothing was sent, for a reason that passes: worth another try when nobody waits."""
    if result.rejection is not None:
        return result.rejection in (Rejection.CREDENTIALS, Rejection.NO_BALANCE)
    return result.outcome is SendOutcome.NOT_SENT
