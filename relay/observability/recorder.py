"""Turns what the core states into counters and at most one log line each. Decides nothing, never raises.

What a line may hold: ids, names of clients and senders, words of closed sets, counts, seconds. Numbers, texts, keys and
anybody's exception text are in none: events do not carry them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from relay.domain.codes import Code, ProblemCode, Status
from relay.domain.notification import Mode
from relay.observability.logs import Logger
from relay.observability.metrics import CallbackOutcome, Metrics
from relay.observability.metrics.labels import BALANCE
from relay.observability.spans import record_span
from relay.observability.tracing import Attribute, Tracing, current_trace, parse_traceparent
from relay.sending import events
from relay.sending.breaker import BreakerState
from relay.sending.ports import RejectionKind, SendOutcome

REFUSAL_OF: Final[Mapping[RejectionKind, ProblemCode]] = {
    RejectionKind.CREDENTIALS: ProblemCode.UPSTREAM_CREDENTIALS,
    RejectionKind.CONTRACT: ProblemCode.UPSTREAM_CONTRACT,
    RejectionKind.NO_BALANCE: ProblemCode.UPSTREAM_NO_BALANCE,
    RejectionKind.BLOCKED_SENDER: ProblemCode.BLOCKED_SENDER,
    RejectionKind.BLOCKED_WORDS: ProblemCode.BLOCKED_WORDS,
    RejectionKind.TOO_MANY_RECIPIENTS: ProblemCode.UPSTREAM_CONTRACT,
}
"""What the upstream's no to a whole batch counts as among the refusals."""

_QUIET_ROUTES: Final = frozenset({"/healthz", "/readyz", "/metrics"})


class Recorder:
    """Implements ``Events`` for the core, and is told by the front what it answered.

    Args:
        metrics: of this process.
        logger: of ``relay.observability.logs``.
        tracing: takes spans; none are made if left out.
    """

    def __init__(self, metrics: Metrics, logger: Logger, tracing: Tracing | None = None) -> None:
        self._metrics = metrics
        self._logger = logger
        self._tracing = tracing
        self._records: dict[type, Callable[[Any], None]] = {
            events.Refused: self._refused,
            events.RouteChosen: self._route_chosen,
            events.WordsHit: self._words_hit,
            events.WordsMissed: self._words_missed,
            events.KeyChecked: self._key_checked,
            events.NotificationClaimed: self._claimed,
            events.CallFinished: self._call_finished,
            events.NotificationCompleted: self._completed,
            events.UnknownSettled: self._settled,
            events.BalanceRead: self._balance_read,
            events.BreakerChanged: self._breaker_changed,
            events.JournalFailed: self._journal_failed,
            events.Recovered: self._recovered,
            events.Paused: self._paused,
            events.QueueMeasured: self._queue_measured,
            events.Drained: self._drained,
            events.TaskFailed: self._task_failed,
        }

    def emit(self, event: events.Event) -> None:
        """See ``Events.emit``."""
        try:
            self._records[type(event)](event)
            if self._tracing is not None:
                record_span(self._tracing, event)
        except Exception as bug:  # noqa: BLE001 — telling about a send must never stop it
            self._lost(event, bug)

    def _lost(self, event: events.Event, bug: Exception) -> None:
        self._logger.error("event.lost", name=type(event).__name__, exc_info=bug)

    # --- the front ------------------------------------------------------------------------------------------------

    def record_request(
        self, *, route: str, method: str, status: int, seconds: float, client: str | None, request_id: str
    ) -> None:
        """Count and log one answered request: the only access log there is.

        Args:
            route: the address's template; what is none is ``unmatched``.
            client: the client's name, where it is known who asked.
            request_id: what the answer's ``X-Request-Id`` says.
        """
        route, method = self._metrics.front.count_request(route, method, status, seconds)
        log = self._logger.debug if route in _QUIET_ROUTES and status < 400 else self._logger.info
        fields = {"route": route, "method": method, "status": status, "seconds": round(seconds, 6)}
        log("request.answered", **fields, client=client, request_id=request_id)
        if self._tracing is not None and (trace := current_trace()) is not None:
            who = {} if client is None else {Attribute.CLIENT: client}
            trace.end({Attribute.ROUTE: route, Attribute.METHOD: method, Attribute.STATUS_CODE: status, **who})

    def record_shed(self, *, route: str, method: str, status: int, code: ProblemCode, count: int) -> None:
        """Count and log the requests that met an overload before anything of them was read: all of about a second."""
        self._metrics.front.count_shed(route, method, status, code, count)
        self._logger.warning("requests.shed", route=route, method=method, status=status, code=code, count=count)

    def record_alerts(
        self, *, kind: str, receiver: str, firing: int, resolved: int, duplicate: bool, unaddressed: int = 0
    ) -> None:
        """Count and log one accepted webhook; alerts that are ``unaddressed`` reach nobody."""
        if duplicate:
            self._metrics.front.count_duplicate(kind)
        else:
            self._metrics.front.count_alerts(kind, firing=firing, resolved=resolved)
        fields = {"kind": kind, "receiver": receiver, "firing": firing, "resolved": resolved}
        log = self._logger.warning if unaddressed else self._logger.info
        log("webhook.accepted", **fields, duplicate=duplicate, unaddressed=unaddressed)

    def record_template_failed(self, *, receiver: str, cause: str) -> None:
        """Log that a receiver's template failed and the default text goes out; ``cause`` is a class of exception."""
        self._logger.warning("template.failed", receiver=receiver, cause=cause)

    def record_unchecked_token(self, cause: str) -> None:
        """Log that a service account's token could not be checked; ``cause`` is a closed word."""
        self._logger.warning("token.unchecked", cause=cause)

    def record_callback(
        self, *, notification_id: str, client: str, outcome: CallbackOutcome, attempt: int, cause: str = ""
    ) -> None:
        """Count and log one delivery of a result; ``cause`` is the answer's status, or a word for why there is none."""
        self._metrics.front.count_callback(outcome)
        delivered = outcome is CallbackOutcome.DELIVERED
        log = self._logger.info if delivered else self._logger.warning
        fields = {"notification_id": notification_id, "client": client, "outcome": outcome}
        log("callback.finished", **fields, attempt=attempt, cause=cause)

    # --- the process ----------------------------------------------------------------------------------------------

    def record_reload(self, what: str, errors: Sequence[str] = ()) -> None:
        """Say that changed settings (``settings``) or word lists (``words``) were taken up, or each reason why not."""
        self._metrics.process.show_reload(what, good=not errors)
        if errors:
            self._logger.error("reload.refused", what=what, errors=list(errors))
        else:
            self._logger.info("reload.finished", what=what)

    # --- the core's events ------------------------------------------------------------------------------------------

    def _refused(self, event: events.Refused) -> None:
        self._metrics.front.count_refusal(event.stage, event.code)
        if event.limit is not None:
            self._metrics.clients.count_limited(event.client, event.limit)
        fields = {"stage": event.stage, "code": event.code, "client": event.client, "source": event.source}
        # A flood would be made worse by a second line for every no; the access log has the first.
        log = self._logger.debug if event.code is ProblemCode.OVERLOADED else self._logger.info
        log("notification.refused", **fields, limit=event.limit)

    def _route_chosen(self, event: events.RouteChosen) -> None:
        self._metrics.sending.count_route(event.requested, event.used, event.reason)

    def _words_hit(self, event: events.WordsHit) -> None:
        self._metrics.sending.count_hit(event.category, event.action)
        self._logger.debug("word.found", category=event.category, action=event.action, field=event.field)

    def _words_missed(self, event: events.WordsMissed) -> None:
        self._metrics.sending.count_missed(event.field)
        fields = {"notification_id": event.notification_id, "client": event.client, "field": event.field}
        self._logger.warning("word.missed", **fields, sender=event.sender)

    def _key_checked(self, event: events.KeyChecked) -> None:
        self._metrics.sending.count_key(event.result)

    def _claimed(self, event: events.NotificationClaimed) -> None:
        self._metrics.clients.count_segments(event.client, event.encoding, event.segments * event.recipients)
        # A caller who waits gets the line of the end in a moment; only who does not, this one too.
        log = self._logger.info if event.mode is Mode.ASYNCHRONOUS else self._logger.debug
        log(
            "notification.claimed",
            notification_id=event.notification_id,
            client=event.client,
            source=event.source,
            mode=event.mode,
            message_type=event.message_type,
            route=event.route,
            encoding=event.encoding,
            segments=event.segments,
            recipients=event.recipients,
            calls=event.calls,
            **_trace_of(event.traceparent),
        )

    def _call_finished(self, event: events.CallFinished) -> None:
        if not event.sandbox:
            self._metrics.upstream.count_call(event.route, event.outcome, event.seconds)
            if event.rejection is not None:
                self._metrics.front.count_refusal("upstream", REFUSAL_OF[event.rejection])
        clear = event.outcome is SendOutcome.ACCEPTED and not event.warnings
        log = self._logger.debug if clear else self._logger.warning
        log(
            "call.finished",
            notification_id=event.notification_id,
            ordinal=event.ordinal,
            route=event.route,
            recipients=event.recipients,
            outcome=event.outcome,
            cause=event.cause,
            upstream_code=event.upstream_code,
            warnings=event.warnings,
            attempt=event.attempt,
            seconds=round(event.seconds, 6),
            sandbox=event.sandbox,
            **_trace_of(event.traceparent),
        )

    def _completed(self, event: events.NotificationCompleted) -> None:
        clients, sending = self._metrics.clients, self._metrics.sending
        clients.count_notification(event.client, event.source, event.status)
        told: dict[str, int] = {}
        for (status, code), amount in event.recipients.items():
            told[code] = told.get(code, 0) + amount
            if code is Code.DUPLICATE_RECIPIENT:
                continue  # the same person as another entry, who is counted there
            clients.count_recipients(event.client, event.route, status, code, amount)
            if status is Status.UNKNOWN and not event.sandbox:
                sending.count_unknown(code, amount)
        self._logger.info(
            "notification.completed",
            notification_id=event.notification_id,
            client=event.client,
            source=event.source,
            mode=event.mode,
            message_type=event.message_type,
            route=event.route,
            route_reason=event.route_reason,
            status=event.status,
            recipients=told,
            calls=event.calls,
            seconds=round(event.seconds, 6),
            sandbox=event.sandbox,
            **({} if event.request_id is None else {"request_id": event.request_id}),
            **_trace_of(event.traceparent),
        )

    def _settled(self, event: events.UnknownSettled) -> None:
        fields = {"notification_id": event.notification_id, "client": event.client}
        self._logger.info("unknown.settled", **fields, resolved_by=event.resolved_by, recipients=event.recipients)

    def _balance_read(self, event: events.BalanceRead) -> None:
        read = event.units is not None
        self._metrics.upstream.count_call(BALANCE, "read" if read else "failed", event.seconds)
        if event.units is not None:
            self._metrics.upstream.show_balance(float(event.units), event.at / 1000)
        log = self._logger.debug if read else self._logger.warning
        log("balance.read", units=event.units, cause=event.cause, seconds=round(event.seconds, 6))

    def _breaker_changed(self, event: events.BreakerChanged) -> None:
        self._metrics.upstream.show_breaker(event.state)
        log = self._logger.info if event.state == BreakerState.CLOSED else self._logger.warning
        log("breaker.changed", state=event.state, reason=event.reason)

    def _journal_failed(self, event: events.JournalFailed) -> None:
        self._logger.error("journal.failed", during=event.during, reason=event.reason)

    def _recovered(self, event: events.Recovered) -> None:
        fields = {"notifications": event.notifications, "interrupted": event.interrupted}
        self._logger.warning("remains.settled", **fields, before_dial=event.before_dial, requeued=event.requeued)

    def _paused(self, event: events.Paused) -> None:
        self._metrics.sending.show_paused(event.paused)
        self._logger.warning("sending.paused" if event.paused else "sending.resumed")

    def _queue_measured(self, event: events.QueueMeasured) -> None:
        self._metrics.sending.show_queue(
            queued=event.queued, held=event.held, claimed=event.claimed, oldest_age_seconds=event.oldest_age_seconds
        )

    def _drained(self, event: events.Drained) -> None:
        log = self._logger.warning if event.abandoned else self._logger.info
        log("process.drained", drained=event.drained, abandoned=event.abandoned)

    def _task_failed(self, event: events.TaskFailed) -> None:
        fields = {"task": event.task, "exception": event.exception}
        self._logger.error("task.failed", **fields, notification_id=event.notification_id)


def _trace_of(traceparent: str | None) -> dict[str, str]:
    """The trace of a notification, which outlives the request that brought it."""
    context = parse_traceparent(traceparent)
    return {} if context is None else {"trace_id": context.trace_id}
