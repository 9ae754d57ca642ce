"""What happened to one notification, in order: from what the journal keeps of it, and from the audit. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from relay.domain.audit import Act, Action
from relay.domain.codes import Code, ResolvedBy
from relay.domain.notification import Call, CallState, Mode, Outcome, find_outcomes
from relay.sending.ports import TimelineFacts

_HELD_BY: dict[Code | None, str] = {
    Code.HELD_QUIET_HOURS: "quiet_hours",
    Code.HELD_WINDOW: "delivery_window",
}
RELAY = "relay"
"""The actor of what the relay did by itself."""


class TimelineEvent(Struct, frozen=True, kw_only=True):
    """One thing that happened; ``at`` is milliseconds since 1970-01-01 UTC. ``approximate``: the time was not kept."""

    event: str
    at: int
    actor: str = RELAY
    facts: dict[str, Any] = {}
    approximate: bool = False


def tell_timeline(facts: TimelineFacts, acts: Sequence[Act]) -> list[TimelineEvent]:
    """Put it together, oldest first.

    Args:
        facts: of the notification.
        acts: rows of the audit about it; only those that changed something are told.
    """
    found = [*_begin(facts), *_calls(facts), *_late_answers(facts), *_acts(acts), *_called_back(facts)]
    return sorted(found, key=lambda event: event.at)  # stable: what happened in one moment stays in this order


def _begin(facts: TimelineFacts) -> Iterator[TimelineEvent]:
    notification = facts.stored.notification
    route = notification.route
    told: dict[str, Any] = {
        "route": route.used.value,
        "reason": route.reason.value,
        "source": notification.source.value,
        "mode": notification.mode.value,
    }
    if notification.resend_of is not None:
        told["resend_of"] = notification.resend_of
    yield TimelineEvent(event="accepted", at=notification.created_at, actor=notification.client, facts=told)
    if notification.send_at is not None and notification.send_at > notification.created_at:
        until = {"reason": "scheduled", "until": notification.send_at}
        yield TimelineEvent(event="held", at=notification.created_at, facts=until)
    elif notification.held_until is not None:
        reason = _HELD_BY.get(notification.held_by, "quiet_hours")  # the version before knew nothing else
        until = {"reason": reason, "until": notification.held_until}
        yield TimelineEvent(event="held", at=notification.created_at, facts=until)
    if facts.held_at is not None:
        reason = _HELD_BY.get(facts.stored.waiting, "nothing_may_be_sent")
        yield TimelineEvent(event="held", at=facts.held_at, facts={"reason": reason})
    if facts.claimed_at is not None:
        yield TimelineEvent(event="claimed", at=max(facts.claimed_at, notification.created_at))
    elif notification.mode is Mode.SYNCHRONOUS:
        yield TimelineEvent(event="claimed", at=notification.created_at)


def _calls(facts: TimelineFacts) -> Iterator[TimelineEvent]:
    times = {each.ordinal: each for each in facts.calls}
    stored = facts.stored
    for call in stored.calls:
        at = times[call.ordinal]
        if not call.dialled:
            continue
        dialled = at.dialled_at or stored.notification.created_at
        about: dict[str, Any] = {"call": call.ordinal, "account": call.account, "route": call.route.value}
        if call.account_reason is not None:
            about["account_reason"] = call.account_reason.value
        about["recipients"] = len(call.recipients)
        yield TimelineEvent(event="dialled", at=dialled, facts=about, approximate=at.dialled_at is None)
        if call.state is CallState.DONE:
            done = at.done_at or stored.completed_at or dialled
            told: dict[str, Any] = {"call": call.ordinal}
            if at.done_at is not None and at.dialled_at is not None:
                told["milliseconds"] = max(at.done_at - at.dialled_at, 0)
            told |= _answer_of(call)
            yield TimelineEvent(event="answered", at=done, facts=told, approximate=at.done_at is None)


def _answer_of(call: Call) -> dict[str, Any]:
    """What came back, as the upstream said it: once where everybody got the same, else for each answer."""
    answers = [answer for outcome in call.outcomes if (answer := _words_of(outcome))]
    different = [each for place, each in enumerate(answers) if each not in answers[:place]]
    if len(different) == 1:
        return different[0]
    return {"answers": [each | {"recipients": answers.count(each)} for each in different]} if different else {}


def _words_of(outcome: Outcome) -> dict[str, Any]:
    # What the operator made of it is told by the event "settled".
    told: dict[str, Any] = {} if outcome.resolved_by is ResolvedBy.OPERATOR else {"outcome": outcome.code.value}
    if outcome.upstream is not None:
        told["code"] = outcome.upstream.code
        words = " ".join(filter(None, (outcome.upstream.status, outcome.upstream.description)))
        if words:
            told["words"] = words
    return told


def _late_answers(facts: TimelineFacts) -> Iterator[TimelineEvent]:
    stored = facts.stored
    outcomes, _ = find_outcomes(stored)
    late = [each for each in outcomes.values() if each.resolved_by is ResolvedBy.LATE_ANSWER]
    if late and stored.resolved_at is not None:
        yield TimelineEvent(
            event="settled", at=stored.resolved_at, facts={"by": ResolvedBy.LATE_ANSWER.value, "recipients": len(late)}
        )


def _acts(acts: Iterable[Act]) -> Iterator[TimelineEvent]:
    for act in acts:
        actor = act.client if act.key is None else f"{act.client}, key {act.key}"
        told: dict[str, Any] = {} if act.count is None else {"recipients": act.count}
        if act.reason is not None:
            told["reason"] = act.reason
        if act.action in (Action.RESOLVE_SENT, Action.RESOLVE_NOT_SENT):
            told = {"outcome": "sent" if act.action == Action.RESOLVE_SENT else "not_sent"} | told
            yield TimelineEvent(event="settled", at=act.at, actor=actor, facts=told)
        elif act.action == Action.RESENT_AS:
            if act.other_id is not None:
                told["resent_as"] = act.other_id
            yield TimelineEvent(event="resent", at=act.at, actor=actor, facts=told)


def _called_back(facts: TimelineFacts) -> Iterator[TimelineEvent]:
    if facts.called_back_at is not None:
        told = {"outcome": facts.called_back} if facts.called_back is not None else {}
        yield TimelineEvent(event="called_back", at=facts.called_back_at, facts=told)
