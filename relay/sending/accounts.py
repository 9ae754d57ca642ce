"""Whether a call may go out now, and which account takes it: the first of its client's list that can take it (SPEC
section 12). No I/O.

A call goes on to another account only where certainly nothing was sent to its recipients: ``follow_up`` plans it,
and what is chosen here leaves out every account that has failed these recipients already.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from relay.domain.codes import AccountReason, Code, Rejection, Route, Status
from relay.domain.notification import Call, CallState, Mode, Notification, Outcome, lies_with_account
from relay.sending.channels import Channel
from relay.sending.delivery import Delivery, Switches
from relay.sending.ports import Clock, MessageTooLongEncoded, SendResult
from relay.sending.shares import Asker


class Choice(Struct, frozen=True):
    """The account that takes a call, and why it is not the first of the list (``None``: it is)."""

    channel: Channel
    reason: AccountReason | None


class Hold(Struct, frozen=True):
    """An asynchronous notification goes back to the queue until then, and waits for this; nothing of it is lost."""

    until_ms: int
    waiting: Code = Code.QUEUED


HOLD_MS = 1_000
"""How soon the queue looks again at what was held because nothing may be sent now."""

UNTIL_CHANGED_SECONDS = 10.0
"""How soon it looks again at what only somebody's word can change: an account is paused, or none has the sender."""


def find_hindrance(channel: Channel, sender: str, asker: Asker, switches: Switches, now: float) -> AccountReason | None:
    """Say why an account cannot take a call at this moment, or ``None``. A full one can: it is waited for.

    Args:
        now: monotonic seconds.
    """
    if not channel.has_registered(sender):
        return AccountReason.SENDER_NOT_REGISTERED
    if switches.find_pause(asker.client, asker.message_type, channel.account) is not None:
        return AccountReason.PAUSED
    if not channel.breaker.may_call():
        return AccountReason.CREDENTIALS if channel.breaker.refused_credentials else AccountReason.BREAKER_OPEN
    return AccountReason.NO_BALANCE if channel.breaker.seconds_without_balance(now) > 0 else None


def choose(
    channels: Sequence[Channel],
    sender: str,
    asker: Asker,
    switches: Switches,
    now: float,
    *,
    tried: Mapping[str, AccountReason],
    planned: Call | None = None,
) -> Choice | AccountReason:
    """Choose the account for a call.

    Args:
        channels: the accounts of the client, in its order.
        asker: on whose behalf, for pauses.
        tried: accounts that have failed this call's recipients, and why.
        planned: the call, where it was planned for an account: that one comes first.

    Returns:
        The choice, or why the first account of the list cannot take it, where none can; ``breaker_open`` where the
        list is empty.
    """
    reasons = {
        channel.account: tried.get(channel.account) or find_hindrance(channel, sender, asker, switches, now)
        for channel in channels
    }
    preferred = None if planned is None else planned.account
    for channel in sorted(channels, key=lambda each: each.account != preferred):
        if reasons[channel.account] is None:
            if channel is channels[0]:
                return Choice(channel, None)
            kept = planned.account_reason if planned is not None and channel.account == preferred else None
            return Choice(channel, reasons[channels[0].account] or kept)
    return next(iter(reasons.values()), None) or AccountReason.BREAKER_OPEN


def choose_for(delivery: Delivery, call: Call) -> Choice | Hold | Code:
    """Say which account a call takes at this moment, until when to hold it, or why it may not go out."""
    notification, runtime = delivery.notification, delivery.runtime
    now_ms, now = runtime.clock.now_ms(), runtime.clock.monotonic()
    waiting = notification.mode is Mode.SYNCHRONOUS
    overdue = find_overdue(notification.expires_at, runtime.clock, delivery.deadline)
    if overdue is not None:
        return overdue
    if (early := _find_early(notification, runtime.clock)) is not None:
        return early
    closed = runtime.policy.find_closed(notification.message_type, notification.windows, now_ms)
    if closed is not None:
        return Code.EXPIRED if waiting else Hold(closed.until, closed.code)
    if not waiting and runtime.switches.stopping:
        return Hold(now_ms)
    tried = find_tried(delivery.own_calls(), call)
    channels, choice = _choose_fitting(delivery, call, tried, planned=call)
    if isinstance(choice, Choice):
        return choice
    if not channels:  # none of them is the client's any more, or can ever bear it
        return Code.UPSTREAM_UNREACHABLE
    if not waiting:
        seconds = _seconds_until_allowed(channels, notification.sender, delivery.asker, runtime.switches, now)
        return Hold(now_ms + max(int(seconds * 1000), HOLD_MS))
    if choice is AccountReason.NO_BALANCE and channels[0].account not in tried:
        return Choice(channels[0], None)  # the account's own word, which costs nothing, is the better answer
    return Code.UPSTREAM_UNREACHABLE


def find_onward(delivery: Delivery, call: Call, result: SendResult) -> str | None:
    """The account that takes a call over whose outcome lies with the account that it took; ``None`` where none can, or
    where it must not go out any more."""
    if not result.outcomes or not all(map(lies_with_account, result.outcomes)):
        return None
    tried = find_tried(delivery.own_calls(), call)
    if call.account is not None:
        tried[call.account] = reason_of(result.outcomes[0])
    _, choice = _choose_fitting(delivery, call, tried)
    return choice.channel.account if isinstance(choice, Choice) else None


def _choose_fitting(
    delivery: Delivery, call: Call, tried: Mapping[str, AccountReason], planned: Call | None = None
) -> tuple[Sequence[Channel], Choice | AccountReason]:
    """Choose an account that can bear the call, which was made for another one perhaps: one whose addresses are longer
    bears shorter texts.

    Returns:
        The accounts without those that turned out to bear it not even for one recipient, and what :func:`choose` says.
    """
    sender, runtime = delivery.notification.sender, delivery.runtime
    now = runtime.clock.monotonic()
    channels = channels_for(delivery.channels, delivery.calls.values(), call)
    while True:
        choice = choose(channels, sender, delivery.asker, runtime.switches, now, tried=tried, planned=planned)
        if not isinstance(choice, Choice) or _fits(delivery, call, choice.channel):
            return channels, choice
        channels = [each for each in channels if each is not choice.channel]


def _fits(delivery: Delivery, call: Call, channel: Channel) -> bool:
    """Whether a text can go to each recipient of a call by an account."""
    notification = delivery.notification
    if was_made_for(delivery, channel):
        return True
    longest = max((notification.entries[index].number or "" for index in call.recipients), key=len)
    return bool(split(channel, notification.sender, notification.message or "", call.route, (longest,)))


def was_made_for(delivery: Delivery, channel: Channel) -> bool:
    """Whether the calls of a delivery were certainly made for an account; what waited in the queue has perhaps seen
    another order of accounts."""
    return channel is delivery.channels[0] and delivery.notification.mode is Mode.SYNCHRONOUS


def split(channel: Channel, sender: str, message: str, route: Route, numbers: Sequence[str]) -> list[tuple[int, ...]]:
    """How a call that was planned for another account would go out by this one; not at all where it does not fit."""
    try:
        return channel.upstream.chunk(sender, message, route, numbers)
    except MessageTooLongEncoded:
        return []


def _seconds_until_allowed(
    channels: Sequence[Channel], sender: str, asker: Asker, switches: Switches, now: float
) -> float:
    """How long until one of the accounts may be worth trying; ``now`` is monotonic seconds."""
    waits: list[float] = []
    for channel in channels:
        if channel.has_registered(sender):
            is_paused = switches.find_pause(asker.client, asker.message_type, channel.account) is not None
            breaker, least = channel.breaker, UNTIL_CHANGED_SECONDS if is_paused else 0.0
            waits.append(max(breaker.seconds_until_allowed(now), breaker.seconds_without_balance(now), least))
    return min(waits, default=UNTIL_CHANGED_SECONDS)


def _find_early(notification: Notification, clock: Clock) -> Hold | None:
    """Say that it is too early to dial. The queue takes nothing early, but a takeover from the dead may."""
    send_at = notification.send_at
    return Hold(send_at, Code.SCHEDULED) if send_at is not None and clock.now_ms() < send_at else None


def find_overdue(expires_at: int | None, clock: Clock, deadline: float | None) -> Code | None:
    """Say why it is too late to dial, or ``None``."""
    if expires_at is not None and clock.now_ms() >= expires_at:
        return Code.EXPIRED
    return Code.DEADLINE if deadline is not None and clock.monotonic() >= deadline else None


def find_tried(calls: Iterable[Call], call: Call) -> dict[str, AccountReason]:
    """The accounts that failed a call's recipients since they were last put back to be sent anew, and why.

    Args:
        calls: of the notification, in order.
    """
    tried: dict[str, AccountReason] = {}
    for earlier in calls:
        if earlier.ordinal >= call.ordinal or call.recipients[0] not in earlier.recipients:
            continue
        if earlier.state is CallState.DONE and not earlier.outcomes:
            tried.clear()
        elif earlier.dialled and earlier.account is not None and earlier.outcomes:
            outcome = earlier.outcomes[earlier.recipients.index(call.recipients[0])]
            if lies_with_account(outcome):
                tried[earlier.account] = reason_of(outcome)
    return tried


def reason_of(outcome: Outcome) -> AccountReason:
    """Why an account failed a call, from an outcome that lies with the account."""
    if outcome.code is Code.UPSTREAM_UNREACHABLE:
        return AccountReason.UNREACHABLE
    return AccountReason.CREDENTIALS if outcome.rejection is Rejection.CREDENTIALS else AccountReason.NO_BALANCE


def channels_for(channels: Sequence[Channel], calls: Iterable[Call], call: Call) -> Sequence[Channel]:
    """The accounts that a call may take: all of its client, but a second attempt after a refusal of the number stays
    where the number was refused, since that refusal is final for every other account."""
    for earlier in calls:
        if earlier.ordinal < call.ordinal and call.recipients[0] in earlier.recipients and earlier.outcomes:
            outcome = earlier.outcomes[earlier.recipients.index(call.recipients[0])]
            if outcome.status is Status.REJECTED:
                return [channel for channel in channels if channel.account == earlier.account]
    return channels
