"""The promises, held against what the upstream sent, what the journal keeps, and what everybody was told."""

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from relay.domain.codes import ProblemCode, ResolvedBy, Status
from relay.domain.errors import Refusal
from relay.domain.notification import Stored, find_outcomes, view_recipients
from relay.journal import reading
from relay.sending.requests import Answer
from sim.faults import Operation
from sim.rights import judge_rights

if TYPE_CHECKING:
    from sim.run import World

_TERMINAL = frozenset({Status.SENT, Status.REJECTED, Status.UNKNOWN, Status.NOT_SENT})
_STILL_RUNS = frozenset({ProblemCode.IDEMPOTENCY_IN_PROGRESS})


class Told(Struct, kw_only=True):
    """What was asked, and every answer to it: an ``Answer``, a ``Refusal``, or ``Vanished``; of an act also when it was
    begun, and heard of."""

    operation: Operation
    answers: list[Any] = field(default_factory=list)
    began_ms: float = 0
    heard_ms: float = 0

    @property
    def notification_id(self) -> str | None:
        """The notification that was accepted, where anybody heard of one."""
        found = [answer.stored.notification.id for answer in self.answers if isinstance(answer, Answer)]
        return found[-1] if found else None


def judge(world: "World") -> list[str]:
    """Every promise that was broken, in words."""
    return [*_Judgement(world).violations()]


class _Judgement:
    def __init__(self, world: "World") -> None:
        self._world = world
        self._effects = world.upstream.effects
        ids = [row[0] for row in world.database.connection.execute("SELECT id FROM notifications ORDER BY id")]
        kept = world.database.perform(lambda: reading.load(ids))
        self._stored = {key: kept[key].stored for key in ids}
        self._by_text: dict[str, list[Stored]] = defaultdict(list)
        for stored in self._stored.values():
            self._by_text[stored.notification.reference or ""].append(stored)
        self._again = {stored.notification.resend_of for stored in self._stored.values()}

    def violations(self) -> list[str]:
        found = []
        for stored in self._stored.values():
            if stored.completed_at is None:
                states = [call.state.value for call in stored.calls]
                found.append(f"never ended: {stored.notification.reference} {states}")
        for text in sorted({text for _, text in self._effects} | set(self._by_text)):
            found += self._judge_text(text)
        for told in self._world.told.values():
            if told.operation.kind in ("send", "enqueue"):
                found += self._judge_told(told)
        return [*found, *self._judge_callbacks(), *judge_rights(self._world, self._stored)]

    # --- effects against what the journal keeps -----------------------------------------------------------------------

    def _judge_text(self, text: str) -> list[str]:
        found = []
        numbers = {number for number, sent in self._effects if sent == text}
        statuses: dict[str, list[tuple[Status, bool]]] = defaultdict(list)
        for stored in self._by_text[text]:
            outcomes, _ = find_outcomes(stored)
            for index, outcome in outcomes.items():
                number = stored.notification.entries[index].number or ""
                by_operator = outcome.resolved_by is ResolvedBy.OPERATOR
                statuses[number].append((outcome.status, by_operator))
        for number in sorted(numbers | set(statuses)):
            effects = self._effects[number, text]
            resends = sum(
                1
                for stored in self._by_text[text]
                if stored.notification.resend_of is not None
                and any(entry.number == number for entry in stored.notification.entries)
            )
            if effects > 1 + resends:
                found.append(f"sent twice: {effects} of {text}, {resends} resends")
            held = statuses[number]
            sure = sum(1 for status, _ in held if status is Status.SENT)
            possible = sum(1 for status, told in held if status in (Status.SENT, Status.UNKNOWN) or told)
            if sure > effects:
                found.append(f"kept as sent, and was not: {text} {[status.value for status, _ in held]}")
            if effects > possible:
                found.append(f"sent, and kept as not: {text} {[status.value for status, _ in held]}")
        return found

    # --- what callers were told ---------------------------------------------------------------------------------------

    def _judge_told(self, told: Told) -> list[str]:
        found, text = [], told.operation.text
        for answer in told.answers:
            if isinstance(answer, Answer):
                found += self._judge_answer(answer, text)
        if told.answers and all(
            isinstance(answer, Refusal) and answer.code not in _STILL_RUNS for answer in told.answers
        ):
            shares = [other for other in self._world.told.values() if other.operation.text == text]
            sent = sum(count for (_, each), count in self._effects.items() if each == text)
            if sent and len(shares) == 1:
                found.append(f"told no, and sent all the same: {text}")
        return found

    def _judge_answer(self, answer: Answer, text: str) -> list[str]:
        found = []
        notification = answer.stored.notification
        if notification.id not in self._stored:
            found.append(f"accepted and lost: {text}")
        for result in answer.results or view_recipients(answer.stored):
            if result.recipient is None:
                continue
            effects = self._effects[result.recipient, text]
            if result.status is Status.SENT and not effects:
                found.append(f"told sent, and was not: {text}")
            if result.status is Status.NOT_SENT and effects and len(self._by_text[text]) == 1:
                found.append(f"told not sent, and was: {text}")
        return found

    # --- callbacks ----------------------------------------------------------------------------------------------------

    def _judge_callbacks(self) -> list[str]:
        found = []
        bodies: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for body in self._world.receiver.bodies:
            callback = json.loads(body)
            bodies[callback["data"]["id"]].append(callback)
        for stored in self._stored.values():
            notification = stored.notification
            if notification.callback_url is None or stored.completed_at is None:
                continue
            came = bodies.get(notification.id, [])
            kinds = {callback["type"] for callback in came}
            if "notification.completed" not in kinds:
                found.append(f"ended, and nobody was called back: {notification.reference}")
            for callback in came:
                statuses = {entry["status"] for entry in callback["data"]["recipients"]}
                if not statuses <= {status.value for status in _TERMINAL}:
                    found.append(f"called back before the end: {notification.reference} {sorted(statuses)}")
        return found
