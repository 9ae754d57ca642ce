"""Problem documents (RFC 9457): what a refusal looks like over HTTP, with the headers that belong to it.

A document never holds a value that the caller sent; field names only where they are ours. Which status, title and
remedy a code has is in one table, ``problem_kinds``.
"""

from math import ceil
from typing import Any

import msgspec

from relay.domain.codes import ProblemCode
from relay.domain.errors import Blocked, LimitReached, QuietHours, Refusal, ValidationFailed
from relay.http.exchange import PROBLEM, Header, Reply
from relay.http.problem_kinds import PROBLEMS, ProblemKind
from relay.http.times import format_time

__all__ = ["PROBLEMS", "TYPE_PREFIX", "ProblemKind", "problem_body", "problem_response"]

TYPE_PREFIX = "/docs/problems#"
"""Where ``type`` points to: a reference relative to the relay itself, on a page that it serves."""

_PASSING = (429, 503)
"""Statuses that always come with Retry-After."""

_UNREAD = frozenset({ProblemCode.BODY_TOO_LARGE, ProblemCode.BAD_REQUEST})
"""After these there may be bytes on the connection that nobody will read."""

_RETRY_SECONDS = 1.0
"""What it says where nobody knows better."""


def problem_body(refusal: Refusal, request_id: str, *, notification_id: str | None = None) -> dict[str, Any]:
    """Make the document.

    Args:
        refusal: what was said no to, and why.
        request_id: of the request.
        notification_id: where one was claimed, and nothing of it was sent.
    """
    kind = PROBLEMS[refusal.code]
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + refusal.code.value,
        "title": kind.title,
        "status": kind.status,
        "code": refusal.code,
        "detail": refusal.detail,
    }
    by_upstream = isinstance(refusal, Blocked) and refusal.detected_by == "smsclone"
    retry_safe = True if by_upstream else kind.retry_safe
    if retry_safe is not None:
        body["retry_safe"] = retry_safe
    body["request_id"] = request_id
    if notification_id is not None:
        body["id"] = notification_id
    match refusal:
        case ValidationFailed(errors=errors):
            body["errors"] = errors
        case Blocked(detected_by=detected_by, hits=hits):
            body["detected_by"] = detected_by
            if not by_upstream:
                body["hits"] = hits
        case QuietHours(allowed_from=allowed_from):
            body["allowed_from"] = format_time(allowed_from)
    return body


def problem_response(refusal: Refusal, request_id: str, *, notification_id: str | None = None) -> Reply:
    """Make the reply that says no, with the headers that belong to it."""
    body = problem_body(refusal, request_id, notification_id=notification_id)
    return Reply(
        status=body["status"],
        body=msgspec.json.encode(body),
        content_type=PROBLEM,
        headers=tuple(_headers(refusal)),
    )


def _headers(refusal: Refusal) -> list[Header]:
    headers: list[Header] = []
    if refusal.code is ProblemCode.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.code in _UNREAD:
        headers.append((b"connection", b"close"))
    after = refusal.retry_after_seconds
    if after is None and PROBLEMS[refusal.code].status in _PASSING:
        after = _RETRY_SECONDS
    if after is not None:
        headers.append((b"retry-after", b"%d" % _whole_seconds(after)))
    if isinstance(refusal, LimitReached):
        headers += _limit_headers(refusal)
    return headers


def _limit_headers(refusal: LimitReached) -> list[Header]:
    """``RateLimit`` fields as draft-ietf-httpapi-ratelimit-headers-10 writes them: structured lists of one item."""
    name = refusal.policy.encode("ascii")
    after = _whole_seconds(refusal.retry_after_seconds or 1)
    return [
        (b"ratelimit-policy", b'"%b";q=%d;w=%d' % (name, refusal.limit, refusal.window_seconds)),
        (b"ratelimit", b'"%b";r=%d;t=%d' % (name, refusal.remaining, after)),
    ]


def _whole_seconds(seconds: float) -> int:
    return max(ceil(seconds), 1)
