"""When a right to dial may not be given: to a number that was suppressed before, for what was paused, before its time.

The database keeps each right with its moment, so that nothing has to be guessed from when a call arrives.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from relay.domain.errors import Refusal
from relay.domain.notification import Stored
from relay.sending import jobs
from sim.replica import SLOWER

if TYPE_CHECKING:
    from sim.judge import Told
    from sim.run import World

_CLOCKS_APART_SECONDS = 3600
"""By how much clocks of replicas may differ where suppression is promised."""
_SOON_MS = SLOWER[jobs, "PAUSE_SECONDS"] * 1000 + 1000
"""How long it takes until every replica has seen a pause, where nothing stops it or keeps it from the journal."""
_KEEP_FROM_SEEING = frozenset({"stop", "cut", "outage", "journal", "clock"})


class Right(NamedTuple):
    """A right to dial, as it was given: milliseconds, the places of the recipients, and the time that was asked for
    by then."""

    at: float
    notification_id: str
    recipients: str
    account: str
    send_at: int | None


def judge_rights(world: "World", stored: Mapping[str, Stored]) -> list[str]:
    """The promises about rights that were broken, in words."""
    rows = world.database.connection.execute("SELECT at, notification_id, recipients, account, send_at FROM rights")
    rights = [right for right in (Right(*row) for row in rows) if right.notification_id in stored]
    skews = {fault.replica: fault.seconds for fault in world.scenario.faults if fault.kind == "clock"}
    acts = [told for told in world.told.values() if told.heard_ms and not isinstance(told.answers[-1], Exception)]
    found: list[str] = []
    if not skews:
        found += _judge_times(rights, stored)
    clocks = [skews.get(place, 0.0) for place in range(world.scenario.replicas)]
    if max(clocks) - min(clocks) <= _CLOCKS_APART_SECONDS:
        found += _judge_suppressed(world, acts, rights, stored)
    if not any(fault.kind in _KEEP_FROM_SEEING for fault in world.scenario.faults):
        found += _judge_pauses(world, acts, rights, stored)
    return found


def _judge_times(rights: list[Right], stored: Mapping[str, Stored]) -> Iterator[str]:
    """The time counts that held as the right was given: what certainly sent nothing may be moved after it."""
    for right in rights:
        if right.at < (right.send_at or 0) - 1:
            yield f"dialled before its time: {stored[right.notification_id].notification.reference}"


def _judge_suppressed(
    world: "World", acts: "list[Told]", rights: list[Right], stored: Mapping[str, Stored]
) -> Iterator[str]:
    entered = [
        (told, world.guise.number(world.scenario.operations[told.operation.of].numbers[0]))
        for told in acts
        if told.operation.kind == "suppress" and not isinstance(told.answers[-1][0], Refusal)
    ]
    for right, (told, number) in product(rights, entered):
        notification = stored[right.notification_id].notification
        numbers = {notification.entries[index].number for index in json.loads(right.recipients)}
        if right.at > told.heard_ms and number in numbers:
            yield f"dialled, and was suppressed: {notification.reference}"


def _judge_pauses(
    world: "World", acts: "list[Told]", rights: list[Right], stored: Mapping[str, Stored]
) -> Iterator[str]:
    resumed = [told.began_ms for told in acts if told.operation.kind == "resume"]
    for told in acts:
        if told.operation.kind != "pause":
            continue
        pause = next((each for each in told.answers[-1] if each.scope == world.scope_of(told.operation)), None)
        if pause is None or pause.until is None:  # ended by another operator
            continue
        end = min([pause.until, *(each for each in resumed if each >= told.began_ms)])
        for right in rights:
            notification = stored[right.notification_id].notification
            covered = pause.covers(notification.client, notification.message_type, right.account)
            if covered and told.heard_ms + _SOON_MS < right.at < end:
                yield f"dialled, and was paused: {notification.reference} {told.operation.scope}"
