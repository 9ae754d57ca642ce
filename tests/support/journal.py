"""Claims for tests of the journal: plain ones, and every part of them that a test wants otherwise."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from relay.domain.audit import Act
from relay.domain.codes import (
    Code,
    Encoding,
    MessageType,
    NotificationStatus,
    RequestedRoute,
    Route,
    RouteReason,
    Source,
)
from relay.domain.notification import (
    Call,
    CallState,
    Ended,
    Entry,
    Mode,
    Notification,
    Outcome,
    PlannedCall,
    RouteDecision,
    Stored,
    TextFacts,
    UpstreamRecord,
    find_outcomes,
)
from relay.domain.pausing import Scope, SendingPause
from relay.sending.ports import CallRef, Claim, Journal, Lease, ListFilter, Queued
from support.fakes import SequentialIds

NOON = 1_796_122_800_000
DAY_MS = 86_400_000
FIRST_FENCE = 1
SENT = Outcome(
    code=Code.SENT,
    upstream=UpstreamRecord("0000", "SENT", "MESSAGE SENT TO PROVIDER", "9967534522177818556581618"),
)
REJECTED = Outcome(code=Code.REJECTED, upstream=UpstreamRecord("2222", "REJECTED", "REJECTED", "99"))
NO_ANSWER = Outcome(code=Code.NO_ANSWER)
NOT_SENT = Outcome(code=Code.UPSTREAM_UNREACHABLE)

_ids = SequentialIds()


def make_notification(*numbers: str, **changes: Any) -> Notification:
    """A notification to some numbers, as the relay would have accepted it at noon."""
    numbers = numbers or ("2348012345678",)
    notification = Notification(
        id=_ids.new_id(),
        client="billing",
        source=Source.API,
        mode=Mode.SYNCHRONOUS,
        sender="ACME",
        message="Your order 1204 is on its way.",
        message_hash=b"h" * 32,
        message_type=MessageType.TRANSACTIONAL,
        route=RouteDecision(RequestedRoute.AUTO, Route.DND_FALLBACK, RouteReason.DEFAULT),
        text=TextFacts(Encoding.GSM_7, 30, 1),
        entries=tuple(Entry(input="0" + number[3:], number=number) for number in numbers),
        created_at=NOON,
    )
    return replace(notification, **changes)


def make_claim(
    *numbers: str, calls: Sequence[Sequence[int]] | None = None, claim: dict[str, Any] | None = None, **changes: Any
) -> Claim:
    """A claim of such a notification.

    Args:
        calls: the entries of each call; one call for all of them if it is not given.
        claim: fields of the claim itself.
        changes: fields of the notification.
    """
    notification = make_notification(*numbers, **changes)
    chunks = [notification.dialable()] if calls is None else calls
    planned = tuple(PlannedCall(route=Route.DND_FALLBACK, recipients=tuple(chunk)) for chunk in chunks)
    fields = {"key_window_ms": 7 * DAY_MS} | (claim or {})
    return Claim(notification=notification, calls=planned, **fields)


def make_queued(*numbers: str, due_at: int = NOON, **changes: Any) -> Claim:
    """A claim of an asynchronous notification."""
    fields = {"due_at": due_at} | changes.pop("claim", {})
    return make_claim(*numbers, claim=fields, mode=Mode.ASYNCHRONOUS, **changes)


def as_stored(claim: Claim) -> Stored:
    """The notification of a claim, as a process holds it that has just claimed it."""
    calls = tuple(
        Call(ordinal=ordinal, route=planned.route, recipients=planned.recipients, state=CallState.CLAIMED)
        for ordinal, planned in enumerate(claim.calls, 1)
    )
    return Stored(notification=claim.notification, calls=calls, owned=True)


async def accept(journal: Journal, claim: Claim) -> Lease:
    """Claim what nothing stands in the way of; what waits in the queue comes under the fence before its first owner."""
    [result] = await journal.claim([claim])
    if isinstance(result, Queued):
        return Lease(result.stored, FIRST_FENCE)
    assert isinstance(result, Lease), result
    return result


def first_call(accepted: Lease, position: int = 0) -> CallRef:
    """Names one of its calls, under its fence."""
    stored = accepted.stored
    return CallRef(stored.notification.id, stored.calls[position].ordinal, accepted.fence)


def ended(status: NotificationStatus = NotificationStatus.SENT, **changes: Any) -> Ended:
    """The end of a notification, a second after noon."""
    return replace(Ended(status=status, at=NOON + 1_000, results=()), **changes)


async def send(
    journal: Journal, claim: Claim, outcome: Outcome = SENT, account: str = "smsclone", **changes: Any
) -> Stored:
    """Take a notification with one call through to its end; ``changes`` are fields of its end."""
    accepted = await accept(journal, claim)
    if claim.due_at is not None:
        await journal.take([claim.notification.client], [claim.notification.message_type], 1, max(claim.due_at, NOON))
        accepted = Lease(await found(journal, claim), FIRST_FENCE + 1)
    ref = first_call(accepted)
    assert await journal.start_dialling(ref, account)
    outcomes = (outcome,) * len(accepted.stored.calls[0].recipients)
    status = NotificationStatus(outcome.status.value)
    await journal.record(ref, outcomes, ended=ended(status, **changes))
    return await found(journal, claim)


async def found(journal: Journal, claim: Claim) -> Stored:
    """The notification of a claim as the journal holds it now."""
    stored = await journal.find(claim.notification.id)
    assert stored is not None
    return stored


def codes(stored: Stored) -> list[Code]:
    """The code of every dialable entry, in order."""
    outcomes, _ = find_outcomes(stored)
    return [outcomes[index].code for index in sorted(outcomes)]


def listing(**fields: Any) -> ListFilter:
    """What a listing of the client billing asks for."""
    return replace(ListFilter(client="billing"), **fields)


def audit(action: str, notification_id: str | None = None, **fields: Any) -> Act:
    """An act of the operator's."""
    about = replace(Act(at=NOON, client="ops", key="k1", action=action, count=1), notification_id=notification_id)
    return replace(about, **fields)


def pause(*, until: int | None = None, **scope: Any) -> SendingPause:
    """What an operator stopped: everything, or what the scope names."""
    return SendingPause(scope=Scope(**scope), reason="smsclone hangs", by="ops", key="k1", since=NOON, until=until)
