"""The answer about a notification: its body, and which HTTP status it travels with.

A definite answer about a message that was or may have been sent is 200, whatever it says: a 5xx, 408 or 429 invites
proxies and client libraries to repeat. A problem is answered only where certainly nothing was sent and every recipient
shares the cause (SPEC section 2).
"""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType

from relay.domain.codes import Code, MessageType, NotificationStatus, ProblemCode, ResolvedBy, Status
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
    overall_status,
    view_recipients,
)
from relay.http.exchange import Header, Reply
from relay.http.problems import problem_response
from relay.http.times import format_time
from relay.sending.requests import Answer

PRIVATE: Header = (b"cache-control", b"no-store")
"""On every answer that holds numbers or texts."""

UPSTREAM_PROBLEMS: dict[str, ProblemCode] = {
    "TG11": ProblemCode.UPSTREAM_CREDENTIALS,
    "TG12": ProblemCode.UPSTREAM_CREDENTIALS,
    "TG13": ProblemCode.UPSTREAM_CREDENTIALS,
    "TG14": ProblemCode.UPSTREAM_CONTRACT,
    "TG15": ProblemCode.UPSTREAM_CONTRACT,
    "TG16": ProblemCode.UPSTREAM_CONTRACT,
    "TG17": ProblemCode.UPSTREAM_NO_BALANCE,
    "TG18": ProblemCode.BLOCKED_SENDER,
    "TG19": ProblemCode.BLOCKED_WORDS,
    "TG20": ProblemCode.UPSTREAM_CONTRACT,
}
"""The upstream's no to a whole batch → the problem, where nothing else became of the notification (SPEC section 2)."""

_NO_BALANCE_SECONDS = 60.0
"""How long sends stop after TG17 when no poll shows units before (SPEC section 5)."""

_UNREACHABLE_SECONDS = 5.0
_NOT_COUNTED = frozenset({Code.INVALID_NUMBER, Code.DUPLICATE_RECIPIENT, Code.RECIPIENT_CAPPED})
"""Entries for which no call was to be made: they stand beside a shared cause without hindering it."""

_DETAILS = {
    ProblemCode.UPSTREAM_CREDENTIALS: "smsclone refused the relay's credentials. Nothing was sent.",
    ProblemCode.UPSTREAM_CONTRACT: "smsclone refused the call, and sending it again will not help. Nothing was sent.",
    ProblemCode.UPSTREAM_NO_BALANCE: "The units at smsclone do not suffice. Nothing was sent.",
    ProblemCode.UPSTREAM_UNREACHABLE: "No connection to smsclone was made. Nothing was sent.",
    ProblemCode.BLOCKED_SENDER: "smsclone blocks this sender. Nothing was sent.",
    ProblemCode.BLOCKED_WORDS: "smsclone found words that it blocks; it does not say which. Nothing was sent.",
}


class UpstreamBody(Struct, frozen=True):
    """What smsclone said about a recipient, as it said it."""

    code: str
    status: str | None
    description: str | None
    message_id: str | None


class RecipientBody(Struct, frozen=True, omit_defaults=True):
    """What became of one requested number. `reason` is there for `invalid_number` only, `resolved_by` where an unknown
    outcome became definite later."""

    input: str | UnsetType
    recipient: str | None
    status: Status
    code: Code
    retry_safe: bool
    attempts: int
    upstream: UpstreamBody | None
    reason: str | None = None
    resolved_by: ResolvedBy | None = None


class CountsBody(Struct, frozen=True, omit_defaults=True):
    """How many entries have each status."""

    sent: int
    rejected: int
    unknown: int
    not_sent: int
    queued: int
    in_progress: int = 0


class NotificationBody(Struct, frozen=True, kw_only=True):
    """A notification and what became of it."""

    id: str
    reference: str | None
    status: NotificationStatus
    replayed: bool
    sandbox: bool
    message_type: MessageType
    sender: str
    route: RouteDecision
    text: TextFacts
    warnings: tuple[SendWarning, ...]
    counts: CountsBody
    recipients: list[RecipientBody]
    created_at: str
    completed_at: str | None
    client: str | UnsetType = UNSET


_encoder = msgspec.json.Encoder()


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
    return _build(stored, view_recipients(stored), replayed, with_client, with_inputs)


def _build(
    stored: Stored, results: Sequence[RecipientResult], replayed: bool, with_client: bool, with_inputs: bool
) -> NotificationBody:
    notification = stored.notification
    return NotificationBody(
        id=notification.id,
        reference=notification.reference,
        status=overall_status(results),
        replayed=replayed,
        sandbox=notification.sandbox,
        message_type=notification.message_type,
        sender=notification.sender,
        route=notification.route,
        text=notification.text,
        warnings=notification.warnings,
        counts=_count(results),
        recipients=[_recipient(result, with_inputs) for result in results],
        created_at=format_time(notification.created_at),
        completed_at=None if stored.completed_at is None else format_time(stored.completed_at),
        client=notification.client if with_client else UNSET,
    )


def answer_body(stored: Stored, *, replayed: bool = False) -> bytes:
    """Encode the answer about a notification (SPEC section 2, Answer)."""
    return _encoder.encode(build_notification(stored, replayed=replayed))


def _count(results: Sequence[RecipientResult]) -> CountsBody:
    counts = count_statuses(results)
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
        None if result.upstream is None else _upstream(result.upstream),
        result.reason,
        result.resolved_by,
    )


def _upstream(record: UpstreamRecord) -> UpstreamBody:
    return UpstreamBody(record.code, record.status, record.description, record.message_id)


def answer_response(answer: Answer, request_id: str, headers: tuple[Header, ...] = ()) -> Reply:
    """Answer a request to send.

    Args:
        answer: what the core gave: just claimed, or of an earlier request with the same key.
        request_id: of this request.
        headers: what else is said, such as ``Preference-Applied``.

    Returns:
        202 for an asynchronous notification; a problem where nothing of a synchronous one was sent for one shared
        reason; else 200.
    """
    stored = answer.stored
    if answer.replayed:
        headers = (*headers, (b"idempotency-replayed", b"true"))
    if stored.notification.mode is Mode.ASYNCHRONOUS:
        return Reply(202, answer_body(stored, replayed=answer.replayed), headers=(*headers, location(stored), PRIVATE))
    results = view_recipients(stored)
    refusal = find_shared_cause(results)
    if refusal is not None:
        reply = problem_response(refusal, request_id, notification_id=stored.notification.id)
        return msgspec.structs.replace(reply, headers=(*headers, *reply.headers))
    body = _build(stored, results, answer.replayed, with_client=False, with_inputs=True)
    return Reply(200, _encoder.encode(body), headers=(*headers, PRIVATE))


def location(stored: Stored) -> Header:
    """Where the outcome can be looked up."""
    return b"location", b"/v1/notifications/" + stored.notification.id.encode("ascii")


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
    if result.code is Code.UPSTREAM_REJECTED and result.upstream is not None:
        return UPSTREAM_PROBLEMS.get(result.upstream.code, ProblemCode.UPSTREAM_CONTRACT)
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
