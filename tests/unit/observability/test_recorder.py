"""What the core states becomes counters and at most one line, and nothing of it can stop a send."""

import re
import typing
from collections import Counter
from contextvars import copy_context
from decimal import Decimal

import pytest
from msgspec.structs import replace

from relay.domain.callback_rules import CallbackOutcome
from relay.domain.codes import (
    AccountReason,
    Code,
    Encoding,
    MessageType,
    NotificationStatus,
    ProblemCode,
    Rejection,
    RequestedRoute,
    ResolvedBy,
    Route,
    RouteReason,
    Source,
    Status,
)
from relay.domain.notification import Mode
from relay.domain.pausing import Scope, SendingPause
from relay.observability.logs import Log, name_request, name_trace
from relay.observability.metric_table import QUEUE_STATES
from relay.observability.metrics import Metrics
from relay.observability.recorder import Recorder
from relay.observability.tracing import RequestTrace
from relay.sending import events
from relay.sending.breaker import BreakerState
from relay.sending.ports import SendOutcome
from support.log import Lines

CLAIMED = events.NotificationClaimed(
    notification_id="n1",
    client="billing",
    source=Source.API,
    mode=Mode.ASYNCHRONOUS,
    message_type=MessageType.OTP,
    route=Route.DND_FALLBACK,
    encoding=Encoding.GSM_7,
    segments=2,
    recipients=3,
    calls=1,
    route_requested=RequestedRoute.AUTO,
    route_reason=RouteReason.CONFIGURED,
)
FINISHED = events.CallFinished(
    account="smsclone",
    account_reason=None,
    notification_id="n1",
    ordinal=0,
    route=Route.DND_FALLBACK,
    recipients=3,
    outcome=SendOutcome.UNKNOWN,
    cause="timeout",
    seconds=20.0,
    upstream_code=None,
    warnings=(),
    attempt=1,
)
COMPLETED = events.NotificationCompleted(
    notification_id="n1",
    client="billing",
    source=Source.API,
    mode=Mode.SYNCHRONOUS,
    message_type=MessageType.OTP,
    route=Route.DND_FALLBACK,
    status=NotificationStatus.PARTIAL,
    recipients={
        (Status.SENT, Code.SENT): 2,
        (Status.SENT, Code.DUPLICATE_RECIPIENT): 1,
        (Status.UNKNOWN, Code.NO_ANSWER): 1,
        (Status.UNKNOWN, Code.DUPLICATE_RECIPIENT): 4,
    },
    calls=2,
    seconds=1.25,
    request_id="r1",
    route_reason=RouteReason.DEFAULT,
)
BALANCE = events.BalanceRead(account="smsclone", units="256.21", at=1_700_000_000_500, seconds=0.2, cause=None)

EVENTS: dict[type, tuple[events.Event, str | None]] = {
    events.Refused: (
        events.Refused(stage="prepare", code=ProblemCode.BLOCKED_WORDS, client="billing", source=Source.API),
        "notification.refused",
    ),
    events.WordsHit: (events.WordsHit(category="prize", action="warn", field="message"), "prefilter.hit"),
    events.WordsMissed: (
        events.WordsMissed(notification_id="n1", client="billing", field="message", sender="ACME"),
        "prefilter.missed",
    ),
    events.KeyChecked: (events.KeyChecked(result="replayed"), None),
    events.NotificationClaimed: (CLAIMED, "notification.claimed"),
    events.CallFinished: (FINISHED, "call.finished"),
    events.NotificationCompleted: (COMPLETED, "notification.completed"),
    events.UnknownSettled: (
        events.UnknownSettled(notification_id="n1", client="billing", resolved_by=ResolvedBy.LATE_ANSWER, recipients=1),
        "unknown.settled",
    ),
    events.BalanceRead: (BALANCE, "balance.read"),
    events.BreakerChanged: (
        events.BreakerChanged(account="smsclone", state="open", reason="failures"),
        "breaker.changed",
    ),
    events.CredentialsJudged: (
        events.CredentialsJudged(account="smsclone", taken=False, cause="TG11"),
        "credentials.refused",
    ),
    events.JournalFailed: (events.JournalFailed(during="claim", reason="disk_full"), "journal.failed"),
    events.Recovered: (
        events.Recovered(notifications=1, interrupted=1, before_dial=0, requeued=0),
        "recovery.completed",
    ),
    events.Paused: (
        events.Paused(
            pause=SendingPause(scope=Scope(), reason="smsclone hangs", by="ops", key="k1", since=0),
            over=False,
            everything=True,
        ),
        "sending.paused",
    ),
    events.AuditSealed: (events.AuditSealed(hash="ab" * 32, row=7), "audit.sealed"),
    events.UnknownMeasured: (events.UnknownMeasured(recipients={"smsclone": 3}, oldest_age_seconds=7.5), None),
    events.BudgetMeasured: (
        events.BudgetMeasured(
            client="shop", month="2026-12", ratio=0.8, used=Decimal(80), limit=Decimal(100), reached=80
        ),
        "budget.reached",
    ),
    events.BalanceDrifted: (events.BalanceDrifted(account="smsclone", units=Decimal(7)), None),
    events.QueueMeasured: (
        events.QueueMeasured(queued=3, held=2, scheduled=4, claimed=1, oldest_age_seconds=7.5),
        None,
    ),
    events.Drained: (events.Drained(drained=5, abandoned=1), "process.drained"),
    events.TaskFailed: (events.TaskFailed(task="send", exception="ValueError", notification_id="n1"), "task.failed"),
}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One series."""
    return metrics.registry.get_sample_value(name, labels)


def test_the_examples_cover_every_event_of_the_core() -> None:
    assert set(EVENTS) == set(typing.get_args(events.Event))


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_is_one_line_at_most_named_by_noun_and_participle(
    recorder: Recorder, lines: Lines, kind: type
) -> None:
    event, name = EVENTS[kind]
    recorder.emit(event)

    assert [line["event"] for line in lines.read_all()] == ([] if name is None else [name])
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+", str(line["event"])) for line in lines.read_all())


def test_the_end_of_a_notification_is_one_wide_line(recorder: Recorder, lines: Lines) -> None:
    recorder.emit(COMPLETED)

    [line] = lines.read_all()
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {
        "level": "info",
        "event": "notification.completed",
        "notification_id": "n1",
        "client": "billing",
        "source": "api",
        "mode": "sync",
        "message_type": "otp",
        "route": "dnd-fallback",
        "route_reason": "default",
        "status": "partial",
        "recipients": {"sent": 2, "duplicate_recipient": 5, "no_answer": 1},
        "calls": 2,
        "seconds": 1.25,
        "sandbox": False,
        "request_id": "r1",
    }


def test_people_are_counted_by_outcome_and_each_only_once(recorder: Recorder, metrics: Metrics) -> None:
    recorder.emit(COMPLETED)

    counted = {"client": "billing", "route": "dnd-fallback"}
    assert value(metrics, "relay_recipients_total", **counted, status="sent", code="sent") == 2
    assert value(metrics, "relay_recipients_total", **counted, status="unknown", code="no_answer") == 1
    assert value(metrics, "relay_recipients_total", **counted, status="sent", code="duplicate_recipient") is None
    assert value(metrics, "relay_unknown_total", code="no_answer") == 1
    assert value(metrics, "relay_notifications_total", client="billing", source="api", status="partial") == 1


def test_what_a_stand_in_did_wakes_nobody(recorder: Recorder, metrics: Metrics) -> None:
    recorder.emit(replace(COMPLETED, sandbox=True))
    recorder.emit(replace(FINISHED, sandbox=True, rejection=Rejection.CREDENTIALS))

    assert value(metrics, "relay_unknown_total", code="no_answer") == 0
    assert (
        value(metrics, "relay_upstream_requests_total", account="smsclone", endpoint="dnd-fallback", outcome="unknown")
        == 0
    )
    assert value(metrics, "relay_refusals_total", stage="upstream", code="upstream_credentials") == 0
    assert value(metrics, "relay_notifications_total", client="billing", source="api", status="partial") == 1


def test_segments_are_counted_for_every_recipient(recorder: Recorder, metrics: Metrics) -> None:
    recorder.emit(CLAIMED)

    assert value(metrics, "relay_segments_total", client="billing", encoding="gsm-7") == 6


def test_a_call_is_counted_and_timed_by_its_endpoint(recorder: Recorder, metrics: Metrics) -> None:
    recorder.emit(FINISHED)

    assert (
        value(metrics, "relay_upstream_requests_total", account="smsclone", endpoint="dnd-fallback", outcome="unknown")
        == 1
    )
    assert (
        value(metrics, "relay_upstream_request_duration_seconds_sum", account="smsclone", endpoint="dnd-fallback")
        == 20.0
    )


@pytest.mark.parametrize("kind", Rejection)
def test_every_no_of_the_upstream_to_a_whole_batch_is_a_refusal(
    recorder: Recorder, metrics: Metrics, kind: Rejection
) -> None:
    recorder.emit(replace(FINISHED, outcome=SendOutcome.REJECTED, rejection=kind, upstream_code="TG11"))

    assert value(metrics, "relay_refusals_total", stage="upstream", code=kind.problem) == 1


def test_a_limit_that_was_reached_is_counted_by_client_and_limit(recorder: Recorder, metrics: Metrics) -> None:
    refused = events.Refused(
        stage="accept", code=ProblemCode.QUOTA_EXCEEDED, client="shop", source=Source.API, limit="recipients-per-day"
    )
    recorder.emit(refused)

    assert value(metrics, "relay_refusals_total", stage="accept", code="quota_exceeded") == 1
    assert value(metrics, "relay_rate_limited_total", client="shop", limit="recipients-per-day") == 1


@pytest.mark.parametrize(("state", "shown"), [("closed", 0), ("half_open", 1), ("open", 2)])
def test_the_breaker_is_a_number(recorder: Recorder, metrics: Metrics, state: str, shown: int) -> None:
    recorder.emit(events.BreakerChanged(account="smsclone", state=BreakerState(state), reason="probe"))

    assert value(metrics, "relay_upstream_breaker_state", account="smsclone") == shown


def test_a_balance_that_was_read_is_shown_and_one_that_was_not_leaves_the_last(
    recorder: Recorder, metrics: Metrics
) -> None:
    recorder.emit(BALANCE)
    recorder.emit(
        events.BalanceRead(account="smsclone", units=None, at=1_800_000_000_000, seconds=10.0, cause="timeout")
    )

    assert value(metrics, "relay_upstream_balance_units", account="smsclone") == 256.21
    assert value(metrics, "relay_upstream_balance_read_timestamp_seconds", account="smsclone") == 1_700_000_000.5
    assert value(metrics, "relay_upstream_requests_total", account="smsclone", endpoint="balance", outcome="read") == 1
    assert (
        value(metrics, "relay_upstream_requests_total", account="smsclone", endpoint="balance", outcome="failed") == 1
    )


def test_the_queue_and_the_switch_are_shown(recorder: Recorder, metrics: Metrics) -> None:
    for kind in (events.QueueMeasured, events.Paused):
        recorder.emit(EVENTS[kind][0])

    assert [value(metrics, "relay_queue_depth", state=state) for state in QUEUE_STATES] == [3, 2, 4, 1]
    assert value(metrics, "relay_queue_oldest_age_seconds") == 7.5
    assert value(metrics, "relay_paused") == 1


def test_decisions_keys_and_words_are_counted(recorder: Recorder, metrics: Metrics) -> None:
    for kind in (events.NotificationClaimed, events.KeyChecked, events.WordsHit, events.WordsMissed):
        recorder.emit(EVENTS[kind][0])

    decided = {"requested": "auto", "used": "dnd-fallback", "reason": "configured"}
    assert value(metrics, "relay_route_decisions_total", **decided) == 1
    assert value(metrics, "relay_idempotency_total", result="replayed") == 1
    assert value(metrics, "relay_prefilter_hits_total", category="prize", action="warn") == 1
    assert value(metrics, "relay_prefilter_missed_total", field="message") == 1


def test_at_info_a_send_that_went_well_is_one_line(metrics: Metrics, lines: Lines) -> None:
    recorder = Recorder(metrics, Log("info", lines).logger)
    well = replace(FINISHED, outcome=SendOutcome.ACCEPTED, cause="answered", upstream_code="TG00")
    for event in (EVENTS[events.KeyChecked][0], replace(CLAIMED, mode=Mode.SYNCHRONOUS), well, COMPLETED):
        recorder.emit(event)

    assert [line["event"] for line in lines.read_all()] == ["notification.completed"]


def test_a_request_is_counted_and_logged_without_its_address(
    recorder: Recorder, metrics: Metrics, lines: Lines
) -> None:
    recorder.record_request(
        route="/v1/secret?to=2348012345678",
        method="BREW",
        status=404,
        seconds=0.01,
        client=None,
        request_id="r9",
        trace=RequestTrace(None),
    )

    [line] = lines.read_all()
    assert (line["event"], line["route"], line["method"], line["request_id"]) == (
        "request.answered",
        "unmatched",
        "OTHER",
        "r9",
    )
    assert "2348012345678" not in lines.text + metrics.render("")[0].decode()


def test_probes_and_scrapes_that_go_well_are_no_news(metrics: Metrics, lines: Lines) -> None:
    recorder = Recorder(metrics, Log("info", lines).logger)
    for status in (200, 503):
        recorder.record_request(
            route="/readyz",
            method="GET",
            status=status,
            seconds=0.001,
            client=None,
            request_id="r",
            trace=RequestTrace(None),
        )

    assert [line["status"] for line in lines.read_all()] == [503]


def test_webhooks_and_callbacks_are_counted_and_logged(recorder: Recorder, metrics: Metrics, lines: Lines) -> None:
    recorder.record_alerts(kind="grafana", receiver="oncall", firing=2, resolved=1, duplicate=False)
    recorder.record_alerts(kind="grafana", receiver="oncall", firing=2, resolved=1, duplicate=True)
    recorder.record_callback(notification_id="n1", client="billing", outcome=CallbackOutcome.RETRIED, attempt=2)

    assert value(metrics, "relay_webhook_alerts_total", kind="grafana", status="firing") == 2
    assert value(metrics, "relay_webhook_alerts_total", kind="grafana", status="resolved") == 1
    assert value(metrics, "relay_webhook_duplicates_total", kind="grafana") == 1
    assert value(metrics, "relay_callbacks_total", outcome="retried") == 1
    assert [line["event"] for line in lines.read_all()] == ["webhook.accepted"] * 2 + ["callback.finished"]


def test_what_was_shed_is_counted_one_by_one_and_told_in_one_line(
    recorder: Recorder, metrics: Metrics, lines: Lines
) -> None:
    shed = {"route": "/v1/notifications", "method": "POST", "status": 503, "code": ProblemCode.OVERLOADED}
    who = Counter({("billing", "over_share"): 4, ("orders", "reserved"): 3})
    recorder.record_shed(**shed, shed=who)  # type: ignore[arg-type]

    labels = {"route": "/v1/notifications", "method": "POST", "status": "503"}
    assert value(metrics, "relay_http_requests_total", **labels) == 7
    assert value(metrics, "relay_refusals_total", stage="accept", code="overloaded") == 7
    assert value(metrics, "relay_shed_total", client="billing", reason="over_share") == 4
    [line] = lines.read_all()
    assert (line["level"], line["event"], line["count"]) == ("warning", "requests.shed", 7)


def test_a_reload_that_was_refused_names_every_reason(recorder: Recorder, metrics: Metrics, lines: Lines) -> None:
    recorder.record_reload("settings", ["clients[0].name is missing", "log.level must be one of …"])

    [line] = lines.read_all()
    assert line["level"] == "error"
    assert line["errors"] == ["clients[0].name is missing", "log.level must be one of …"]
    assert value(metrics, "relay_config_reload_success") == 0


def test_lines_carry_the_ids_of_the_request_that_caused_them(recorder: Recorder, lines: Lines) -> None:
    def caused() -> None:
        name_request("r7")
        name_trace("4bf92f3577b34da6a3ce929d0e0e4736")
        recorder.emit(FINISHED)

    copy_context().run(caused)

    [line] = lines.read_all()
    assert (line["request_id"], line["trace_id"]) == ("r7", "4bf92f3577b34da6a3ce929d0e0e4736")


def test_an_event_that_cannot_be_counted_is_told_and_stops_nothing(recorder: Recorder, lines: Lines) -> None:
    recorder.emit(events.BalanceRead(account="smsclone", units="a lot, 2348012345678", at=0, seconds=0.1, cause=None))
    recorder.emit(typing.cast("events.Event", "2348012345678"))

    first, second = lines.read_all()
    assert (first["event"], first["name"], second["name"]) == ("event.dropped", "BalanceRead", "str")
    assert "2348012345678" not in lines.text


def test_a_log_that_cannot_be_written_stops_nothing(metrics: Metrics) -> None:
    closed = Lines()
    closed.close()

    Recorder(metrics, Log("debug", closed).logger).emit(COMPLETED)

    assert value(metrics, "relay_unknown_total", code="no_answer") == 1


def test_one_bad_reload_is_seen_until_that_same_thing_is_good_again(recorder: Recorder, metrics: Metrics) -> None:
    recorder.record_reload("words", ["entry[0].text: a text is needed"])
    recorder.record_reload("settings")
    assert value(metrics, "relay_config_reload_success") == 0

    recorder.record_reload("words")
    assert value(metrics, "relay_config_reload_success") == 1


def test_credentials_that_were_taken_after_all_are_told_and_the_gauge_is_good_again(
    recorder: Recorder, metrics: Metrics, lines: Lines
) -> None:
    recorder.emit(events.CredentialsJudged(account="smsclone", taken=False, cause="TG11"))
    assert value(metrics, "relay_credentials_reload_success", account="smsclone") == 0
    recorder.emit(events.CredentialsJudged(account="smsclone", taken=True, cause="proven"))

    assert value(metrics, "relay_credentials_reload_success", account="smsclone") == 1
    assert [line["event"] for line in lines.read_all()] == ["credentials.refused", "credentials.taken"]


def test_a_call_by_another_account_than_the_first_is_counted_with_its_reason(
    recorder: Recorder, metrics: Metrics
) -> None:
    recorder.emit(replace(FINISHED, account_reason=AccountReason.NO_BALANCE))

    assert value(metrics, "relay_upstream_fallback_total", account="smsclone", reason="no_balance") == 1
