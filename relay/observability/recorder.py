"""Turns each event of the core into counters and at most one log line. Decides nothing, never raises.

A line may hold ids, names of clients and senders, words of closed sets, counts and seconds. It never holds phone
numbers, texts, keys or the text of an exception: events do not carry them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from logging import DEBUG
from typing import Any, Final

from msgspec.structs import asdict

from relay.domain.callback_rules import CallbackOutcome
from relay.domain.codes import Code, ProblemCode, Status
from relay.domain.notification import Mode
from relay.domain.usage import format_units
from relay.observability.history import History
from relay.observability.logs import Logger
from relay.observability.metric_table import BALANCE, BREAKER_NUMBERS, HTTP_ROUTES, METHODS, QUEUE_STATES
from relay.observability.metrics import Metrics
from relay.observability.tracing import Attribute, RequestTrace, Tracing, parse_traceparent
from relay.sending import events
from relay.sending.breaker import BreakerState
from relay.sending.ports import SendOutcome

_QUIET_ROUTES: Final = frozenset({"/healthz", "/readyz", "/metrics"})


class Recorder:
    """Implements ``Events`` for the core; the front reports to it what it answered.

    Args:
        metrics: of this process.
        logger: of ``relay.observability.logs``.
        tracing: takes spans; none are made if left out.
        history: samples the metrics while the core measures its queue; none is kept if left out.
    """

    def __init__(
        self, metrics: Metrics, logger: Logger, tracing: Tracing | None = None, history: History | None = None
    ) -> None:
        self._metrics = metrics
        self._history = history
        self._logger = logger
        self._tracing = tracing
        self._refused_reloads: set[str] = set()
        self._accounts_with_unknown: set[str] = set()
        self._records: dict[type, Callable[[Any], None]] = {
            events.Refused: self._refused,
            events.WordsHit: self._words_hit,
            events.WordsMissed: self._words_missed,
            events.KeyChecked: self._key_checked,
            events.NotificationClaimed: self._claimed,
            events.CallFinished: self._call_finished,
            events.NotificationCompleted: self._completed,
            events.UnknownSettled: self._settled,
            events.BalanceRead: self._balance_read,
            events.BreakerChanged: self._breaker_changed,
            events.CredentialsJudged: self._credentials_judged,
            events.JournalFailed: self._journal_failed,
            events.Recovered: self._recovered,
            events.Paused: self._paused,
            events.AuditSealed: self._audit_sealed,
            events.UnknownMeasured: self._unknown_measured,
            events.BudgetMeasured: self._budget_measured,
            events.BalanceDrifted: self._balance_drifted,
            events.QueueMeasured: self._queue_measured,
            events.Drained: self._drained,
            events.TaskFailed: self._task_failed,
        }

    def emit(self, event: events.Event) -> None:
        """Count and log one event; a bug here is logged and goes no further."""
        try:
            self._records[type(event)](event)
            if self._tracing is not None:
                self._tracing.record(event)
        except Exception as bug:  # noqa: BLE001 — reporting a send must never stop it
            self._dropped(event, bug)

    def _dropped(self, event: events.Event, bug: Exception) -> None:
        self._logger.error("event.dropped", name=type(event).__name__, exc_info=bug)

    # --- the front ------------------------------------------------------------------------------------------------

    def record_request(
        self,
        *,
        route: str,
        method: str,
        status: int,
        seconds: float,
        client: str | None,
        request_id: str,
        trace: RequestTrace,
    ) -> None:
        """Count and log one answered request, and end its span: the only access log there is.

        Args:
            route: the template of the path; a path that is none of ours counts as ``unmatched``.
            client: the name of the client, if it is known.
            request_id: the answer's ``X-Request-Id``.
            trace: that it is a part of.
        """
        route = self._metrics.known(HTTP_ROUTES, route)
        method = method if method in METHODS.members else METHODS.other
        self._metrics.add("relay_http_requests_total", route, method, str(status))
        self._metrics.observe("relay_http_request_duration_seconds", seconds, route)
        log = self._logger.debug if route in _QUIET_ROUTES and status < 400 else self._logger.info
        fields = {"route": route, "method": method, "status": status, "seconds": round(seconds, 6)}
        log("request.answered", **fields, client=client, request_id=request_id)
        who = {} if client is None else {Attribute.CLIENT: client}
        trace.end({Attribute.ROUTE: route, Attribute.METHOD: method, Attribute.STATUS_CODE: status, **who})

    def record_shed(
        self, *, route: str, method: str, status: int, code: ProblemCode, shed: Counter[tuple[str, str]]
    ) -> None:
        """Count and log the requests that were refused unread because of overload, those of a second together."""
        # They are not timed: nothing of them was read.
        count = shed.total()
        for (client, reason), number in shed.items():
            self._metrics.add("relay_shed_total", client, reason, amount=number)
        self._metrics.add("relay_http_requests_total", route, method, str(status), amount=count)
        self._metrics.add("relay_refusals_total", "accept", code, amount=count)
        self._logger.warning("requests.shed", route=route, method=method, status=status, code=code, count=count)

    def record_alerts(
        self,
        *,
        kind: str,
        receiver: str,
        firing: int,
        resolved: int,
        duplicate: bool,
        unaddressed: int = 0,
        skipped: int = 0,
    ) -> None:
        """Count and log one accepted webhook; ``unaddressed`` alerts reach nobody, ``skipped`` parts were unusable."""
        if duplicate:
            self._metrics.add("relay_webhook_duplicates_total", kind)
        else:
            self._metrics.add("relay_webhook_alerts_total", kind, "firing", amount=firing)
            self._metrics.add("relay_webhook_alerts_total", kind, "resolved", amount=resolved)
        fields = {"kind": kind, "receiver": receiver, "firing": firing, "resolved": resolved}
        log = self._logger.warning if unaddressed or skipped else self._logger.info
        log("webhook.accepted", **fields, duplicate=duplicate, unaddressed=unaddressed, skipped=skipped)

    def record_template_failed(self, *, receiver: str, cause: str) -> None:
        """Log that a receiver's template failed and the default text goes out; ``cause`` is a class of exception."""
        self._logger.warning("template.failed", receiver=receiver, cause=cause)

    def record_unchecked_token(self, cause: str) -> None:
        """Log that a service account's token could not be checked; ``cause`` is a closed word."""
        self._logger.warning("token.unverified", cause=cause)

    def record_callback(
        self, *, notification_id: str, client: str, outcome: CallbackOutcome, attempt: int, cause: str = ""
    ) -> None:
        """Count and log one delivery of a result; ``cause`` is the answer's status, or why there was no answer."""
        self._metrics.add("relay_callbacks_total", outcome)
        delivered = outcome is CallbackOutcome.DELIVERED
        log = self._logger.info if delivered else self._logger.warning
        fields = {"notification_id": notification_id, "client": client, "outcome": outcome}
        log("callback.finished", **fields, attempt=attempt, cause=cause)

    # --- the process ----------------------------------------------------------------------------------------------

    def record_reload(self, what: str, errors: Sequence[str] = ()) -> None:
        """Log that changed settings (``settings``) or word lists (``words``) were applied, or every reason why not."""
        (self._refused_reloads.add if errors else self._refused_reloads.discard)(what)
        self._metrics.set("relay_config_reload_success", not self._refused_reloads)
        if errors:
            self._logger.error("reload.refused", what=what, errors=list(errors))
        else:
            self._logger.info("reload.finished", what=what)

    # --- the core's events ------------------------------------------------------------------------------------------

    def _refused(self, event: events.Refused) -> None:
        self._metrics.add("relay_refusals_total", event.stage, event.code)
        if event.limit is not None:
            self._metrics.add("relay_rate_limited_total", event.client or "", event.limit)
        if event.shed is not None:
            self._metrics.add("relay_shed_total", event.client or "", event.shed)
        fields = {"stage": event.stage, "code": event.code, "client": event.client, "source": event.source}
        # In a flood, a second line for every refusal would make it worse; the access log already has one.
        log = self._logger.debug if event.code is ProblemCode.OVERLOADED else self._logger.info
        log("notification.refused", **fields, limit=event.limit)

    def _words_hit(self, event: events.WordsHit) -> None:
        self._metrics.add("relay_prefilter_hits_total", event.category, event.action)
        self._logger.debug("prefilter.hit", category=event.category, action=event.action, field=event.field)

    def _words_missed(self, event: events.WordsMissed) -> None:
        self._metrics.add("relay_prefilter_missed_total", event.field)
        fields = {"notification_id": event.notification_id, "client": event.client, "field": event.field}
        self._logger.warning("prefilter.missed", **fields, sender=event.sender)

    def _key_checked(self, event: events.KeyChecked) -> None:
        self._metrics.add("relay_idempotency_total", event.result)

    def _claimed(self, event: events.NotificationClaimed) -> None:
        self._metrics.add("relay_route_decisions_total", event.route_requested, event.route, event.route_reason)
        segments = event.segments * event.recipients
        self._metrics.add("relay_segments_total", event.client, event.encoding, amount=segments)
        # If the caller waits, the line of the end follows in a moment; this one is for those who do not wait.
        if event.mode is Mode.ASYNCHRONOUS:
            self._logger.info("notification.claimed", **_fields_of(event))
        elif self._logger.is_enabled_for(DEBUG):
            self._logger.debug("notification.claimed", **_fields_of(event))

    def _call_finished(self, event: events.CallFinished) -> None:
        if not event.sandbox:
            self._metrics.add("relay_upstream_requests_total", event.account, event.route, event.outcome)
            self._metrics.observe("relay_upstream_request_duration_seconds", event.seconds, event.account, event.route)
            if event.account_reason is not None:
                self._metrics.add("relay_upstream_fallback_total", event.account, event.account_reason)
            if event.rejection is not None:
                self._metrics.add("relay_refusals_total", "upstream", event.rejection.problem)
        if event.outcome is not SendOutcome.ACCEPTED or event.warnings:
            self._logger.warning("call.finished", **_fields_of(event))
        elif self._logger.is_enabled_for(DEBUG):
            self._logger.debug("call.finished", **_fields_of(event))

    def _completed(self, event: events.NotificationCompleted) -> None:
        metrics = self._metrics
        metrics.add("relay_notifications_total", event.client, event.source, event.status)
        by_code: dict[str, int] = {}
        for (status, code), amount in event.recipients.items():
            by_code[code] = by_code.get(code, 0) + amount
            if code is Code.DUPLICATE_RECIPIENT:
                continue  # the same person as another entry, who is counted there
            metrics.add("relay_recipients_total", event.client, event.route, status, code, amount=amount)
            if status is Status.UNKNOWN and not event.sandbox:
                metrics.add("relay_unknown_total", code, amount=amount)
        self._logger.info("notification.completed", **_fields_of(event) | {"recipients": by_code})

    def _settled(self, event: events.UnknownSettled) -> None:
        fields = {"notification_id": event.notification_id, "client": event.client}
        self._logger.info("unknown.settled", **fields, resolved_by=event.resolved_by, recipients=event.recipients)

    def _balance_read(self, event: events.BalanceRead) -> None:
        account, read = event.account, event.units is not None
        self._metrics.add("relay_upstream_requests_total", account, BALANCE, "read" if read else "failed")
        self._metrics.observe("relay_upstream_request_duration_seconds", event.seconds, account, BALANCE)
        if event.units is not None:
            self._metrics.set("relay_upstream_balance_units", float(event.units), account)
            self._metrics.set("relay_upstream_balance_read_timestamp_seconds", event.at / 1000, account)
        if read:
            self._logger.debug("balance.read", account=account, units=event.units, seconds=round(event.seconds, 6))
        else:
            self._logger.warning("balance.failed", account=account, cause=event.cause, seconds=round(event.seconds, 6))

    def _breaker_changed(self, event: events.BreakerChanged) -> None:
        self._metrics.set("relay_upstream_breaker_state", BREAKER_NUMBERS[event.state], event.account)
        log = self._logger.info if event.state == BreakerState.CLOSED else self._logger.warning
        log("breaker.changed", account=event.account, state=event.state, reason=event.reason)

    def _credentials_judged(self, event: events.CredentialsJudged) -> None:
        self._metrics.set("relay_credentials_reload_success", event.taken, event.account)
        if event.taken:
            self._logger.info("credentials.taken", account=event.account, cause=event.cause)
        else:
            self._logger.error("credentials.refused", account=event.account, cause=event.cause)

    def _journal_failed(self, event: events.JournalFailed) -> None:
        self._logger.error("journal.failed", during=event.during, reason=event.reason)

    def _recovered(self, event: events.Recovered) -> None:
        fields = {"notifications": event.notifications, "interrupted": event.interrupted}
        self._logger.warning("recovery.completed", **fields, before_dial=event.before_dial, requeued=event.requeued)

    def _paused(self, event: events.Paused) -> None:
        self._metrics.set("relay_paused", event.everything)
        pause, scope = event.pause, event.pause.scope
        fields = {"client": scope.client, "message_type": scope.message_type, "account": scope.account}
        fields |= {"by": pause.by, "key_id": pause.key, "reason": pause.reason}
        until = None if pause.until is None else datetime.fromtimestamp(pause.until / 1000, UTC).isoformat()
        self._logger.warning("sending.resumed" if event.over else "sending.paused", **fields, until=until)

    def _audit_sealed(self, event: events.AuditSealed) -> None:
        self._logger.info("audit.sealed", hash=event.hash, row=event.row)

    def _unknown_measured(self, event: events.UnknownMeasured) -> None:
        for account in {*event.recipients, *self._accounts_with_unknown}:
            self._metrics.set("relay_unknown_open", event.recipients.get(account, 0), account)
        self._accounts_with_unknown.update(event.recipients)
        self._metrics.set("relay_unknown_open_oldest_seconds", event.oldest_age_seconds)

    def _budget_measured(self, event: events.BudgetMeasured) -> None:
        self._metrics.set("relay_budget_used_ratio", event.ratio, event.client)
        if event.reached is not None:
            fields = {"month": event.month, "percent": event.reached}
            used, limit = format_units(event.used), format_units(event.limit)
            self._logger.warning("budget.reached", client=event.client, **fields, used=used, limit=limit)

    def _balance_drifted(self, event: events.BalanceDrifted) -> None:
        self._metrics.set("relay_balance_drift_units", float(event.units), event.account)

    def _queue_measured(self, event: events.QueueMeasured) -> None:
        for state in QUEUE_STATES:
            self._metrics.set("relay_queue_depth", getattr(event, state), state)
        self._metrics.set("relay_queue_oldest_age_seconds", event.oldest_age_seconds)
        if self._history is not None:
            self._history.sample()

    def _drained(self, event: events.Drained) -> None:
        log = self._logger.warning if event.abandoned else self._logger.info
        log("process.drained", drained=event.drained, abandoned=event.abandoned)

    def _task_failed(self, event: events.TaskFailed) -> None:
        fields = {"task": event.task, "exception": event.exception}
        self._logger.error("task.failed", **fields, notification_id=event.notification_id)


def _fields_of(
    event: events.NotificationClaimed | events.CallFinished | events.NotificationCompleted,
) -> dict[str, Any]:
    """An event's own fields, as its line has them: events hold no texts and no numbers.

    The trace is the notification's, which outlives the request that brought it.
    """
    fields = asdict(event)
    context = parse_traceparent(fields.pop("traceparent"))
    if context is not None:
        fields["trace_id"] = context.trace_id
    if fields.get("request_id", "") is None:
        del fields["request_id"]  # the line then has that of the request in which it is written
    if "seconds" in fields:
        fields["seconds"] = round(fields["seconds"], 6)
    return fields
