"""The answer about a notification: its body, and which HTTP status it travels with.

A definite answer about a message that was or may have been sent is 200, whatever it says: a 5xx, 408 or 429 invites
proxies and client libraries to repeat. A problem is answered only where certainly nothing was sent and every recipient
shares the cause (SPEC section 2).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from relay.domain.codes import (
    AccountReason,
    Code,
    MessageType,
    NotificationStatus,
    ProblemCode,
    Rejection,
    RequestedRoute,
    ResolvedBy,
    Route,
    RouteReason,
    Status,
    common_status,
)
from relay.domain.errors import Blocked, Refusal, Unavailable
from relay.domain.notification import (
    Mode,
    RecipientResult,
    RouteDecision,
    SendWarning,
    Stored,
    TextFacts,
    UpstreamRecord,
    count_statuses,
    iterate_recipients,
    view_recipients,
)
from relay.http.asgi import WireResponse
from relay.http.pieces import PiecewiseResponse, put_between
from relay.http.problems import render_problem
from relay.http.times import format_time
from relay.sending.requests import Answer
from relay.sending.turns import Slices

PRIVATE = {"cache-control": "no-store"}
"""On every answer that holds numbers or texts."""

NO_HEADERS: Mapping[str, str] = MappingProxyType({})

_NO_BALANCE_SECONDS = 60.0
"""How long sends stop after TG17 when no poll shows units before (SPEC section 5)."""

_UNREACHABLE_SECONDS = 5.0
_NOT_COUNTED = frozenset({Code.INVALID_NUMBER, Code.DUPLICATE_RECIPIENT, Code.RECIPIENT_CAPPED, Code.SUPPRESSED})
"""Entries for which no call was to be made: they stand beside a shared cause without hindering it."""

_DETAILS = {
    ProblemCode.UPSTREAM_CREDENTIALS: "The account refused the relay's credentials. Nothing was sent.",
    ProblemCode.UPSTREAM_CONTRACT: "smsclone refused the call, and sending it again will not help. Nothing was sent.",
    ProblemCode.UPSTREAM_NO_BALANCE: "The units at the account do not suffice. Nothing was sent.",
    ProblemCode.UPSTREAM_UNREACHABLE: "No connection to an account was made. Nothing was sent.",
    ProblemCode.BLOCKED_SENDER: "smsclone blocks this sender. Nothing was sent.",
    ProblemCode.BLOCKED_WORDS: "smsclone found words that it blocks; it does not say which. Nothing was sent.",
}


class UpstreamBody(Struct, frozen=True, gc=False):
    """What smsclone said about a recipient, as it said it."""

    code: str
    status: str | None
    description: str | None
    message_id: str | None


class RecipientBody(Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of one requested number. `reason` is there for `invalid_number` only, `resolved_by` where an unknown
    outcome became definite later."""

    input: str | UnsetType
    recipient: str | None
    status: Status
    code: Code
    retry_safe: bool
    attempts: int
    account: str | None
    upstream: UpstreamBody | None
    reason: str | None = None
    resolved_by: ResolvedBy | None = None
    resent_as: str | None = None


class CountsBody(Struct, frozen=True, omit_defaults=True):
    """How many entries have each status."""

    sent: int
    rejected: int
    unknown: int
    not_sent: int
    queued: int
    in_progress: int = 0


class RouteTakenBody(Struct, frozen=True, omit_defaults=True):
    """Which way it went: the route and why, and the account, if all recipients share one. `account_reason` is there
    where that was not the client's first: why the first one was not used."""

    requested: RequestedRoute
    used: Route
    reason: RouteReason
    account: str | UnsetType | None = UNSET
    account_reason: AccountReason | None = None


class NotificationBody(Struct, frozen=True, kw_only=True):
    """A notification and what became of it."""

    id: str
    reference: str | None
    status: NotificationStatus
    replayed: bool
    sandbox: bool
    message_type: MessageType
    sender: str
    route: RouteTakenBody
    text: TextFacts
    warnings: tuple[SendWarning, ...]
    counts: CountsBody
    recipients: list[RecipientBody]
    created_at: str
    completed_at: str | None
    billing_code: str | UnsetType = UNSET
    send_at: str | UnsetType = UNSET
    duplicate_of: str | UnsetType = UNSET
    client: str | UnsetType = UNSET
    resend_of: str | UnsetType = UNSET


class AcceptedItem(Struct, frozen=True, omit_defaults=True):
    """An item that was accepted; `replayed` where an earlier request with its key answered it."""

    index: int
    id: str
    status: NotificationStatus
    replayed: bool = False


class RefusedItem(Struct, frozen=True):
    """An item that was refused, with the problem document that it alone would have got."""

    index: int
    problem: dict[str, Any]


class BatchBody(Struct, frozen=True):
    """What became of each item, in order."""

    items: list[AcceptedItem | RefusedItem]
    accepted: int
    refused: int


_encoder = msgspec.json.Encoder()

_NO_RECIPIENTS = b'"recipients":[]'
_ENCODED_AT_ONCE = 100
"""Recipients that are looked at and encoded before anybody else may have a turn: a third of a millisecond."""


def build_notification(
    stored: Stored, *, replayed: bool = False, with_client: bool = False, with_inputs: bool = True
) -> NotificationBody:
    """Make the body of an answer.

    Args:
        stored: the notification as it stands.
        replayed: whether an earlier request was answered with it.
        with_client: whether to say whose it is (for the operator).
        with_inputs: whether to repeat the numbers as the caller wrote them (not in callbacks).
    """
    results = view_recipients(stored)
    recipients = [_recipient(result, with_inputs) for result in results]
    return _build(stored, count_statuses(results), _accounts_of(results), recipients, replayed, with_client)


def _build(
    stored: Stored,
    counts: Mapping[Status, int],
    accounts: Mapping[str, AccountReason | None],
    recipients: list[RecipientBody],
    replayed: bool,
    with_client: bool,
) -> NotificationBody:
    notification = stored.notification
    return NotificationBody(
        id=notification.id,
        reference=notification.reference,
        status=common_status(counts),
        replayed=replayed,
        sandbox=notification.sandbox,
        message_type=notification.message_type,
        sender=notification.sender,
        route=_route(notification.route, accounts),
        text=notification.text,
        warnings=notification.warnings,
        counts=count_body(counts),
        recipients=recipients,
        created_at=format_time(notification.created_at),
        completed_at=None if stored.completed_at is None else format_time(stored.completed_at),
        billing_code=notification.billing_code or UNSET,
        send_at=UNSET if notification.send_at is None else format_time(notification.send_at),
        # Without a key only its content can have made it the answer to another request.
        duplicate_of=notification.id if replayed and notification.idempotency_key is None else UNSET,
        client=notification.client if with_client else UNSET,
        resend_of=notification.resend_of or UNSET,
    )


async def encode_notification(
    stored: Stored,
    slices: Slices,
    *,
    replayed: bool = False,
    with_client: bool = False,
    show: Callable[[RecipientBody], RecipientBody] = lambda body: body,
) -> list[bytes]:
    """Encode the answer about a notification (SPEC section 2, Answer), in slices: it may have very many recipients.

    Args:
        show: makes what is shown of a recipient.

    Returns:
        Its pieces, not put together: copies of megabytes are what holds up a send.
    """
    counts: Counter[Status] = Counter()
    accounts: dict[str, AccountReason | None] = {}
    parts: list[bytes] = []
    bodies: list[RecipientBody] = []
    for result in iterate_recipients(stored):
        counts[result.status] += 1
        accounts |= _accounts_of([result])
        bodies.append(show(_recipient(result, with_input=True)))
        if len(bodies) == _ENCODED_AT_ONCE:
            parts.append(_encoder.encode(bodies)[1:-1])
            bodies = []
            await slices.pause()
    if bodies:
        parts.append(_encoder.encode(bodies)[1:-1])
    whole = _encoder.encode(_build(stored, counts, accounts, [], replayed, with_client))
    before, mark, after = whole.partition(_NO_RECIPIENTS)  # inside a text the quotes of the mark would be escaped
    return [before, mark[:-1], *put_between(b",", parts), b"]", after]


async def show_notification(stored: Stored, slices: Slices) -> PiecewiseResponse:
    """Answer who looks it up."""
    return PiecewiseResponse(200, await encode_notification(stored, slices), PRIVATE, slices)


def _accounts_of(results: Iterable[RecipientResult]) -> dict[str, AccountReason | None]:
    """The accounts that recipients were called at, and why that was not the first."""
    return {result.account: result.account_reason for result in results if result.account is not None}


def _route(route: RouteDecision, accounts: Mapping[str, AccountReason | None]) -> RouteTakenBody:
    account, reason = next(iter(accounts.items())) if len(accounts) == 1 else (None, None)
    return RouteTakenBody(route.requested, route.used, route.reason, account, reason)


def count_body(counts: Mapping[Status, int]) -> CountsBody:
    """Counts as an answer tells them."""
    return CountsBody(
        sent=counts.get(Status.SENT, 0),
        rejected=counts.get(Status.REJECTED, 0),
        unknown=counts.get(Status.UNKNOWN, 0),
        not_sent=counts.get(Status.NOT_SENT, 0),
        queued=counts.get(Status.QUEUED, 0),
        in_progress=counts.get(Status.IN_PROGRESS, 0),
    )


def _recipient(result: RecipientResult, with_input: bool) -> RecipientBody:
    return RecipientBody(
        result.input if with_input else UNSET,
        result.recipient,
        result.status,
        result.code,
        result.retry_safe,
        result.attempts,
        result.account,
        None if result.upstream is None else _upstream(result.upstream),
        result.reason,
        result.resolved_by,
        result.resent_as,
    )


def _upstream(record: UpstreamRecord) -> UpstreamBody:
    return UpstreamBody(record.code, record.status, record.description, record.message_id)


async def answer_response(
    answer: Answer, request_id: str, slices: Slices, headers: Mapping[str, str] = NO_HEADERS
) -> WireResponse | PiecewiseResponse:
    """Answer a request to send.

    Args:
        answer: what the core gave: just claimed, or of an earlier request with the same key.
        request_id: of this request.
        slices: in which very many recipients are told.
        headers: what else is said, such as ``Preference-Applied``.

    Returns:
        202 for an asynchronous notification; a problem where nothing of a synchronous one was sent for one shared
        reason; else 200.
    """
    stored = answer.stored
    said = dict(headers)
    if answer.replayed:
        said["idempotency-replayed"] = "true"
    if stored.notification.mode is Mode.ASYNCHRONOUS:
        said |= location(stored) | PRIVATE
        pieces = await encode_notification(stored, slices, replayed=answer.replayed)
        return PiecewiseResponse(202, pieces, said, slices)
    results = view_recipients(stored) if answer.results is None else answer.results
    refusal = find_shared_cause(results)
    if refusal is not None:
        problem = render_problem(refusal, request_id, notification_id=stored.notification.id)
        return msgspec.structs.replace(problem, headers=said | problem.headers).wire()
    recipients = [_recipient(result, with_input=True) for result in results]
    counts, accounts = count_statuses(results), _accounts_of(results)
    body = _build(stored, counts, accounts, recipients, answer.replayed, with_client=False)
    return WireResponse(200, _encoder.encode(body), said | PRIVATE)


def location(stored: Stored) -> dict[str, str]:
    """Where the outcome can be looked up."""
    return {"location": f"/v1/notifications/{stored.notification.id}"}


def find_shared_cause(results: Sequence[RecipientResult]) -> Refusal | None:
    """Tell why nothing of a notification was sent, where the upstream (or the way there) is the one reason for all.

    Outcomes that the operator settled are facts of a later day, not the answer to this request.
    """
    first: ProblemCode | None = None
    for result in results:
        if result.code in _NOT_COUNTED:
            continue
        problem = _problem_of(result)
        if problem is None or (first is not None and problem is not first):
            return None
        first = problem
    return None if first is None else _refusal(first)


def _problem_of(result: RecipientResult) -> ProblemCode | None:
    if result.resolved_by is not None:
        return None
    if result.code is Code.UPSTREAM_UNREACHABLE:
        return ProblemCode.UPSTREAM_UNREACHABLE
    if result.code is Code.UPSTREAM_REJECTED:
        return (result.rejection or Rejection.CONTRACT).problem
    return None


def _refusal(problem: ProblemCode) -> Refusal:
    detail = _DETAILS[problem]
    match problem:
        case ProblemCode.BLOCKED_SENDER | ProblemCode.BLOCKED_WORDS:
            return Blocked(problem, detail, detected_by="smsclone")
        case ProblemCode.UPSTREAM_UNREACHABLE:
            return Unavailable(problem, detail, retry_after_seconds=_UNREACHABLE_SECONDS)
        case ProblemCode.UPSTREAM_NO_BALANCE:
            return Unavailable(problem, detail, retry_after_seconds=_NO_BALANCE_SECONDS)
        case _:
            return Refusal(problem, detail)
