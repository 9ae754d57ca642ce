"""Problem documents (RFC 9457): what a refusal looks like over HTTP, with the headers that belong to it; and litestar's
exception handlers, one a class, which between them answer whatever is raised.

A document never holds a value that the caller sent; field names only where they are ours. Which status, title and
remedy a code has is in one table, ``problem_kinds``.
"""

from math import ceil
from typing import Any

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException
from msgspec import Struct

from relay.domain.codes import ProblemCode
from relay.domain.errors import Blocked, LimitReached, OutsideHours, Refusal, ValidationFailed
from relay.http.asgi import WireResponse
from relay.http.problem_kinds import PROBLEMS, ProblemKind
from relay.http.request import RelayRequest, report_bug
from relay.http.schemas import Malformed, NotificationRequest, to_partial_submission
from relay.http.times import format_time
from relay.http.validation import BODY
from relay.sending.requests import Caller, Sending

__all__ = ["PASSING", "PROBLEMS", "TYPE_PREFIX", "Problem", "ProblemKind", "problem_body", "render_problem"]

PROBLEM_JSON = "application/problem+json"

TYPE_PREFIX = "/docs/problems#"
"""Where ``type`` points to: a reference relative to the relay itself, on a page that it serves."""

PASSING = (429, 503)
"""Statuses of what passes: they always come with Retry-After."""

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
        case OutsideHours(allowed_from=allowed_from):
            body["allowed_from"] = format_time(allowed_from)
    return body


class Problem(Struct, frozen=True):
    """A problem document with the headers that belong to it, ready to go out."""

    status: int
    body: bytes
    headers: dict[str, str]

    def wire(self) -> WireResponse:
        """The answer, as it goes on the wire."""
        return WireResponse(self.status, self.body, self.headers, PROBLEM_JSON)

    def response(self) -> Response[bytes]:
        """The answer, for litestar."""
        return Response(self.body, status_code=self.status, headers=self.headers, media_type=PROBLEM_JSON)


def render_problem(
    refusal: Refusal, request_id: str, *, notification_id: str | None = None, status: int | None = None
) -> Problem:
    """Write the answer that says no.

    Args:
        refusal: what was said no to, and why.
        request_id: of the request.
        notification_id: where one was claimed, and nothing of it was sent.
        status: another one than the code's own.
    """
    body = problem_body(refusal, request_id, notification_id=notification_id)
    if status is not None:
        body["status"] = status
    return Problem(body["status"], msgspec.json.encode(body), problem_headers(refusal))


def problem_headers(refusal: Refusal) -> dict[str, str]:
    """Make the headers that belong to a refusal: when to come again, how to authenticate, limits."""
    headers: dict[str, str] = {}
    if refusal.code is ProblemCode.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"
    if refusal.code in _UNREAD:
        headers["connection"] = "close"
    after = refusal.retry_after_seconds
    if after is None and PROBLEMS[refusal.code].status in PASSING:
        after = _RETRY_SECONDS
    if after is not None:
        headers["retry-after"] = str(_whole_seconds(after))
    if isinstance(refusal, LimitReached):
        # Fields as draft-ietf-httpapi-ratelimit-headers-10 writes them: structured lists of one item.
        limited = _whole_seconds(refusal.retry_after_seconds or 1)
        headers["ratelimit-policy"] = f'"{refusal.policy}";q={refusal.limit};w={refusal.window_seconds}'
        headers["ratelimit"] = f'"{refusal.policy}";r={refusal.remaining};t={limited}'
    return headers


def _whole_seconds(seconds: float) -> int:
    return max(ceil(seconds), 1)


# --- exception handlers ---


def refuse(request: RelayRequest, refusal: Refusal) -> Response[bytes]:
    """Answer a refusal, and report it."""
    request.report(refusal)
    return render_problem(refusal, request.head.request_id).response()


def refuse_malformed(request: RelayRequest, malformed: Malformed) -> Response[bytes]:
    """Answer a body of the wrong shape, with what the core finds in the fields that can be read: all errors at once."""
    if malformed.kind is NotificationRequest:
        asynchronous = request.preferences.respond_async
        return refuse(
            request, complete_errors(malformed, request.app.state.sending, request.user, asynchronous=asynchronous)
        )
    return refuse(request, malformed)


def complete_errors(malformed: Malformed, sending: Sending, caller: Caller, *, asynchronous: bool) -> ValidationFailed:
    """Add what is wrong with the fields that have the right shape."""
    if malformed.errors[0].field == BODY:
        return malformed
    found = sending.find_field_errors(
        to_partial_submission(malformed), caller, asynchronous=asynchronous, skip=malformed.bad
    )
    return ValidationFailed((*malformed.errors, *found))


def refuse_unrouted(request: RelayRequest, error: HTTPException) -> Response[bytes]:
    """Answer what litestar found no handler for: 404, 405, or a head that it cannot read."""
    if error.status_code >= 500:
        return apologize(request, error)
    if error.status_code == 405 and (found := request.app.state.routes.find(request.scope["path"])) is not None:
        response = refuse(request, Refusal(ProblemCode.METHOD_NOT_ALLOWED, "This path has other methods; see Allow."))
        response.set_header("allow", found[1])
        return response
    if error.status_code in (404, 405):
        return refuse(request, Refusal(ProblemCode.NOT_FOUND, "The relay has no such path; its reference is at /docs."))
    return refuse(request, Refusal(ProblemCode.BAD_REQUEST, "The head of the request cannot be read."))


def apologize(request: RelayRequest, bug: Exception) -> Response[bytes]:
    """Answer for a bug of ours: its class and place go to the log, its text nowhere."""
    report_bug(request.app.state.events, request.scope, bug)
    detail = "Something went wrong in the relay. Tell whoever runs it the request_id."
    return render_problem(Refusal(ProblemCode.INTERNAL_ERROR, detail), request.head.request_id).response()


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    Malformed: refuse_malformed,
    Refusal: refuse,
    HTTPException: refuse_unrouted,
    Exception: apologize,
}
"""Whatever is raised, one of these answers; what goes wrong in them is the edge's last resort."""
