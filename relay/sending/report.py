"""What the core says about requests and calls: events built from what the stages hold."""

from relay.domain.codes import Code, ProblemCode, Rejection, Status
from relay.domain.errors import IdempotencyConflict, LimitReached, Refusal, Unavailable
from relay.domain.notification import Call, Ended, Notification, Stored
from relay.sending.events import (
    CallFinished,
    Events,
    KeyChecked,
    NotificationClaimed,
    NotificationCompleted,
    WordsHit,
    WordsMissed,
)
from relay.sending.ports import Lease, SendResult
from relay.sending.prepare import Prepared
from relay.sending.requests import Answer

_KEY_RESULTS = {
    ProblemCode.IDEMPOTENCY_IN_PROGRESS: "in_progress",
    ProblemCode.IDEMPOTENCY_MISMATCH: "mismatch",
}
_MISSED_FIELDS = {Rejection.BLOCKED_SENDER: "sender", Rejection.BLOCKED_WORDS: "message"}


class Report:
    """States facts about one request after another."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def refused(self, refusal: Refusal) -> None:
        """A request was refused: for what it says (``prepare``), or for how things are (``accept``).

        Whoever turns the refusal into an answer reports it, once.
        """
        passes = isinstance(refusal, Unavailable | LimitReached | IdempotencyConflict)
        refusal.stage = "accept" if passes else "prepare"

    def words_hit(self, prepared: Prepared) -> None:
        """What the word lists found."""
        for field, found in prepared.found:
            self._events.emit(WordsHit(category=found.hit.category, action=found.action, field=field))

    def key_checked(self, prepared: Prepared, outcome: Lease | Answer | Refusal) -> None:
        """What the idempotency key met."""
        if isinstance(outcome, Answer) and outcome.replayed:
            result = "replayed"  # also without a key, where its content is a repetition
        elif prepared.submission.idempotency_key is None:
            result = "none"
        elif isinstance(outcome, Answer):
            result = "new"
        else:
            result = "new" if isinstance(outcome, Lease) else _KEY_RESULTS.get(outcome.code, "new")
        self._events.emit(KeyChecked(result=result))

    def claimed(self, prepared: Prepared, stored: Stored) -> None:
        """A notification is in the journal, and this way it goes."""
        notification = stored.notification
        route = notification.route
        self._events.emit(
            NotificationClaimed(
                notification_id=notification.id,
                client=notification.client,
                source=notification.source,
                mode=notification.mode,
                message_type=notification.message_type,
                route=route.used,
                encoding=notification.text.encoding,
                segments=notification.text.segments,
                recipients=prepared.dialable,
                calls=len(prepared.calls),
                route_requested=route.requested,
                route_reason=route.reason,
                traceparent=notification.traceparent,
            )
        )

    def call_finished(self, notification: Notification, call: Call, result: SendResult) -> None:
        """A call is over; where the upstream's list hit what ours let pass, that too."""
        rejection = result.rejection
        self._events.emit(
            CallFinished(
                notification_id=notification.id,
                ordinal=call.ordinal,
                account=call.account or "",
                account_reason=call.account_reason,
                route=call.route,
                recipients=len(call.recipients),
                outcome=result.outcome,
                cause=result.cause,
                seconds=result.seconds,
                upstream_code=result.upstream_code,
                warnings=result.warnings,
                attempt=1 if call.route is notification.route.used else 2,
                rejection=rejection,
                sandbox=notification.sandbox,
                traceparent=notification.traceparent,
            )
        )
        if rejection is not None and (field := _MISSED_FIELDS.get(rejection)) is not None:
            self._events.emit(
                WordsMissed(
                    notification_id=notification.id, client=notification.client, field=field, sender=notification.sender
                )
            )

    def completed(self, stored: Stored, ended: Ended, seconds: float, request_id: str | None) -> None:
        """Every recipient has a terminal status."""
        notification = stored.notification
        counts: dict[tuple[Status, Code], int] = {}
        for result in ended.results:
            counts[result.status, result.code] = counts.get((result.status, result.code), 0) + 1
        self._events.emit(
            NotificationCompleted(
                notification_id=notification.id,
                client=notification.client,
                source=notification.source,
                mode=notification.mode,
                message_type=notification.message_type,
                route=notification.route.used,
                status=ended.status,
                recipients=counts,
                calls=sum(1 for call in stored.calls if call.dialled),
                seconds=seconds,
                request_id=request_id,
                route_reason=notification.route.reason,
                sandbox=notification.sandbox,
                traceparent=notification.traceparent,
            )
        )
