"""``/v1/notifications``: send, preview, look up, cancel."""

import re
from typing import Any

import msgspec
from msgspec import Struct

from relay.domain.codes import Permission, ProblemCode
from relay.domain.errors import Refusal, ValidationFailed
from relay.domain.notification import Entry, Hit, RouteDecision, SendWarning, TextFacts
from relay.http.answers import PRIVATE, answer_body, answer_response, location
from relay.http.auth import Gate
from relay.http.bodies import read_json
from relay.http.exchange import Exchange, Header, Reply, Route
from relay.http.headers import NO_PREFERENCES, Preferences, parse_idempotency_key, parse_preferences, require_key
from relay.http.malformed import BODY
from relay.http.responder import report_bug
from relay.http.schemas import Malformed, NotificationRequest, decode, to_partial_submission, to_submission
from relay.sending.events import Events
from relay.sending.requests import Answer, Caller, Preview, PreviewProblem, Sending, Submission

SEND_PATH = "/v1/notifications"

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class PreviewRecipient(Struct, frozen=True, omit_defaults=True):
    """One requested number: what it comes to, or why it is refused."""

    input: str
    recipient: str | None = None
    reason: str | None = None


class PreviewBody(Struct, frozen=True, kw_only=True):
    """How a request would go out, and what it would be refused for."""

    acceptable: bool
    problems: tuple[PreviewProblem, ...]
    route: RouteDecision | None
    text: TextFacts
    recipients: list[PreviewRecipient]
    hits: tuple[Hit, ...]
    warnings: tuple[SendWarning, ...]
    calls: int
    estimated_units: str


class Notifications:
    """The endpoints for single notifications.

    Args:
        gate: lets requests in.
        sending: the core.
        events: told of a bug that must not become a 500.
    """

    def __init__(self, gate: Gate, sending: Sending, events: Events) -> None:
        self._gate = gate
        self._sending = sending
        self._events = events

    def routes(self) -> list[Route]:
        """What is served here; the first is the hot path."""
        return [
            Route("POST", SEND_PATH, self.send),
            Route("POST", "/v1/notifications/preview", self.preview),
            Route("GET", "/v1/notifications/{id}", self.find),
            Route("DELETE", "/v1/notifications/{id}", self.cancel),
        ]

    async def send(self, exchange: Exchange) -> Reply:
        """Send: 200 with outcomes, 202 with ``Prefer: respond-async``, or a problem."""
        caller = await self._gate.admit(exchange, Permission.SEND)
        key = require_key(
            parse_idempotency_key(exchange.all_values(b"idempotency-key")),
            required=caller.client.require_idempotency_key,
        )
        preferences = read_preferences(exchange)
        if preferences.respond_async:
            submission = await self._read(exchange, caller, key, asynchronous=True)
            exchange.stage = None
            answer = await self._enqueue(submission, caller)
        else:
            exchange.stage = None
            with self._sending.arrive(caller):
                exchange.stage = "edge"
                submission = await self._read(exchange, caller, key, asynchronous=False)
                exchange.stage = None
            answer = await self._sending.send(submission, caller, preferences.wait_seconds)
        return self._answer(exchange, answer, preferences)

    async def _enqueue(self, submission: Submission, caller: Caller) -> Answer:
        [answer] = await self._sending.enqueue([submission], caller)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    def _answer(self, exchange: Exchange, answer: Answer, preferences: Preferences) -> Reply:
        """After the claim even a bug of ours is no 500: nobody may be invited to send again (SPEC section 2)."""
        applied = preferences.applied
        headers: tuple[Header, ...] = () if applied is None else ((b"preference-applied", applied),)
        try:
            reply = answer_response(answer, exchange.request_id, headers)
        except Exception as bug:  # noqa: BLE001 — see above
            report_bug(self._events, exchange, bug)
            body = {"id": answer.stored.notification.id, "status": "in_progress", "replayed": answer.replayed}
            return Reply(202, msgspec.json.encode(body), headers=(location(answer.stored), PRIVATE))
        return reply

    async def _read(self, exchange: Exchange, caller: Caller, key: str | None, *, asynchronous: bool) -> Submission:
        body = await read_json(exchange)
        try:
            return to_submission(decode(body, NotificationRequest), key)
        except Malformed as malformed:
            raise complete_errors(malformed, self._sending, caller, asynchronous=asynchronous) from None

    async def preview(self, exchange: Exchange) -> Reply:
        """Everything but the send."""
        caller = await self._gate.admit(exchange, Permission.PREVIEW)
        asynchronous = read_preferences(exchange).respond_async
        submission = await self._read(exchange, caller, None, asynchronous=asynchronous)
        exchange.stage = None
        preview = self._sending.preview(submission, caller, asynchronous=asynchronous)
        return Reply(200, msgspec.json.encode(_preview_body(preview)), headers=(PRIVATE,))

    async def find(self, exchange: Exchange) -> Reply:
        """Status and outcomes, for the client that sent it."""
        caller = await self._gate.admit(exchange, Permission.READ)
        notification_id = read_id(exchange)
        exchange.stage = None
        stored = await self._sending.find(notification_id, caller.client)
        if stored is None:
            raise no_such_notification()
        return Reply(200, answer_body(stored), headers=(PRIVATE,))

    async def cancel(self, exchange: Exchange) -> Reply:
        """Cancel what is still queued."""
        caller = await self._gate.admit(exchange, Permission.SEND)
        notification_id = read_id(exchange)
        exchange.stage = None
        stored = await self._sending.cancel(notification_id, caller.client)
        if stored is None:
            raise no_such_notification()
        return Reply(200, answer_body(stored), headers=(PRIVATE,))


def read_preferences(exchange: Exchange) -> Preferences:
    """Read the ``Prefer`` headers."""
    if b"prefer" not in exchange.headers:
        return NO_PREFERENCES
    return parse_preferences(exchange.all_values(b"prefer"))


def complete_errors(malformed: Malformed, sending: Sending, caller: Caller, *, asynchronous: bool) -> ValidationFailed:
    """Add what is wrong with the fields that have the right shape, so that all errors come at once."""
    if malformed.errors[0].field == BODY:
        return malformed
    found = sending.find_field_errors(
        to_partial_submission(malformed), caller, asynchronous=asynchronous, skip=malformed.bad
    )
    return ValidationFailed((*malformed.errors, *found))


def read_id(exchange: Exchange) -> str:
    """Read a notification's id from the path.

    Raises:
        Refusal: ``not_found``: it cannot be one.
    """
    notification_id: Any = exchange.path_params.get("id")
    if not isinstance(notification_id, str) or _ID.fullmatch(notification_id) is None:
        raise no_such_notification()
    return notification_id


def no_such_notification() -> Refusal:
    """The same for an id that does not exist and for one of another client."""
    return Refusal(ProblemCode.NOT_FOUND, "This client has no notification with this id.")


def _preview_body(preview: Preview) -> PreviewBody:
    return PreviewBody(
        acceptable=not preview.problems,
        problems=preview.problems,
        route=preview.route,
        text=preview.text,
        recipients=[_preview_recipient(entry) for entry in preview.entries],
        hits=preview.hits,
        warnings=preview.warnings,
        calls=preview.calls,
        estimated_units=str(preview.estimated_units),
    )


def _preview_recipient(entry: Entry) -> PreviewRecipient:
    return PreviewRecipient(entry.input, entry.number, None if entry.reason is None else entry.reason.value)
