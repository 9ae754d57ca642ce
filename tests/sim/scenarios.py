"""Where scenarios come from: drawn from a seed, or every one of a kind in turn."""

import random
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Literal, get_args

from msgspec.structs import replace

from sim.faults import CallFault, Fault, JournalFault, Operation, PauseScope, Scenario
from sim.network import ACCOUNTS, DND, REJECTED

_NUMBERS = ("2348031234567", "2348031234568", "2348031234569", "2348031234560")
_WORKS = (
    "claims.claim_lists",
    "calls.dial_all",
    "calls.record_all",
    "ending.end_whole",
    "ending.cancel",
    "ending.settle_by",
    "queueing.take",
    "queueing.take_expired",
    "queueing.take_back",
    "queueing.take_from_dead",
    "queueing.confirm_taken",
    "queueing.requeue",
    "queueing.move",
    "suppression_entries.begin_suppressing",
    "reading.find",
    "control.beat",
    "callbacks.finish",
)
"""What may fail in the journal, by ``module.function``."""

_KINDS: tuple[Literal["crash", "stop", "cut", "journal", "outage", "call", "upstream", "clock"], ...] = (
    *("crash",) * 6,
    *("call",) * 6,
    *("journal",) * 5,
    *("stop",) * 3,
    *("cut",) * 3,
    "outage",
    "upstream",
    "clock",
)
_LATER: tuple[Literal["cancel", "settle", "resend", "pause", "resume", "restart", "move", "suppress"], ...] = (
    "cancel",
    "settle",
    "resend",
    "pause",
    "resume",
    "restart",
    "move",
    "suppress",
)
_LAST_POINT = 70
_AWAY_SECONDS = (1.0, 5.0, 30.0, 90.0)


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = random.Random(seed)
    replicas = chance.choice((1, 2, 2, 2, 3))
    operations: list[Operation] = []
    for place in range(chance.choice((1, 1, 2, 2, 3, 4))):
        operations.append(_draw_operation(chance, operations, place, replicas))
    faults = [_draw_fault(chance, replicas) for _ in range(chance.choice((0, 1, 2, 3, 4, 5, 6)))]
    most_per_call = chance.choice((100, 100, 2, 1))
    accounts = chance.choice((1, 1, 2))
    if accounts > 1:  # what stops them both is no reason to take the other one
        faults = [
            replace(fault, account=chance.choice(ACCOUNTS)) if fault.kind == "upstream" else fault for fault in faults
        ]
        if chance.random() < 0.5:
            faults.append(_draw_refusal(chance, ACCOUNTS[0]))
    return Scenario(
        seed=seed,
        replicas=replicas,
        accounts=accounts,
        operations=tuple(operations),
        faults=tuple(faults),
        most_per_call=most_per_call,
    )


def _draw_operation(chance: random.Random, earlier: Sequence[Operation], place: int, replicas: int) -> Operation:
    at, replica = chance.choice((1.0, chance.uniform(1.0, 30.0))), chance.randrange(replicas)
    sends = [position for position, each in enumerate(earlier) if each.kind in ("send", "enqueue")]
    keyed = [position for position in sends if earlier[position].key is not None]
    luck = chance.random()
    if keyed and luck < 0.25:  # the same request once more, as a rival or later
        return replace(earlier[chance.choice(keyed)], at=at, replica=replica)
    if sends and luck < 0.5:
        kind = chance.choice(_LATER)
        waiting = [position for position in sends if earlier[position].kind == "enqueue"]
        of = chance.choice(waiting if waiting and kind in ("move", "suppress") else sends)
        later = chance.uniform(0.0, 60.0) if chance.random() < 0.5 else chance.expovariate(100.0)
        return Operation(
            kind=kind,
            at=earlier[of].at + later,
            replica=replica,
            of=of,
            send_in=chance.uniform(2.0, 40.0) if kind == "move" else None,
            scope=chance.choice(get_args(PauseScope)) if kind == "pause" else "all",
        )
    numbers = chance.sample(_NUMBERS, chance.choice((1, 1, 2, 3)))
    if chance.random() < 0.2:
        numbers[0] = chance.choice((DND, REJECTED))
    with_key = chance.random() < 0.6
    queued = chance.random() < 0.5
    scheduled = queued and chance.random() < 0.3
    return Operation(
        kind="enqueue" if queued else "send",
        at=at,
        replica=replica,
        numbers=tuple(numbers),
        text=f"text-{place}",
        key=f"key-{place}" if with_key else None,
        wait=None if queued else chance.choice((None, None, 1.0, 22.0)),
        route=chance.choice(("auto", "normal")),
        expires_in=None if scheduled else chance.choice((None, None, 5.0, 120.0)),
        message_type=chance.choice(("transactional", "transactional", "otp")),
        send_in=chance.uniform(1.0, 40.0) if scheduled else None,
        calls_back=queued and chance.random() < 0.5,
        tries=chance.randrange(4) if with_key else 0,
    )


def _draw_fault(chance: random.Random, replicas: int) -> Fault:
    kind = chance.choice(_KINDS)
    at, point = chance.uniform(0.0, 30.0), chance.randrange(1, _LAST_POINT)
    if kind == "crash":
        return Fault(kind="crash", point=point, seconds=chance.choice(_AWAY_SECONDS))
    if kind in ("stop", "cut"):
        return Fault(kind=kind, point=point, seconds=chance.choice((3.0, 30.0, 80.0, 120.0)))
    if kind == "journal":
        return Fault(
            kind="journal",
            work=chance.choice(_WORKS),
            point=chance.choice((1, 1, 2, 3)),
            how=chance.choice(get_args(JournalFault)),
            times=chance.choice((1, 1, 2, 3)),
        )
    if kind == "call":
        return Fault(kind="call", point=chance.randrange(1, 7), how=chance.choice(get_args(CallFault)))
    if kind == "outage":
        return Fault(kind="outage", at=at, seconds=chance.choice((0.5, 5.0, 30.0, 90.0)))
    if kind == "upstream":
        return _draw_refusal(chance)
    return Fault(kind="clock", replica=chance.randrange(replicas), seconds=chance.uniform(-3600.0, 3600.0))


def _draw_refusal(chance: random.Random, account: str | None = None) -> Fault:
    how = chance.choice(("TG11", "TG16", "TG17", "TG19", "TG20"))
    at, seconds = chance.uniform(0.0, 30.0), chance.choice((0.5, 10.0, 90.0))
    return Fault(kind="upstream", at=at, seconds=seconds, how=how, account=account)


# --- every one of a kind ----------------------------------------------------------------------------------------------

_ALPHABET: dict[str, Operation] = {
    "send": Operation(kind="send", at=0.0, numbers=_NUMBERS[:1]),
    "send with key": Operation(kind="send", at=0.0, numbers=_NUMBERS[:1], key="key", tries=3),
    "send two calls": Operation(kind="send", at=0.0, numbers=_NUMBERS[:2], key="key", tries=2),
    "enqueue": Operation(kind="enqueue", at=0.0, numbers=_NUMBERS[:2], key="key", tries=3, calls_back=True),
    "enqueue to DND": Operation(kind="enqueue", at=0.0, numbers=(DND,), route="normal", calls_back=True),
    "cancel": Operation(kind="cancel", at=0.0),
    "settle": Operation(kind="settle", at=20.0),
    "resend": Operation(kind="resend", at=20.0),
}
"""What the operations of an exhaustive scenario are made of. A cancel, settle or resend is of the first."""


def list_scenarios(most: int) -> Iterator[Scenario]:
    """Every scenario of up to so many operations, without faults; the same key means the same request again."""
    for length in range(1, most + 1):
        for names in product(_ALPHABET, repeat=length):
            if _ALPHABET[names[0]].kind in ("send", "enqueue"):
                yield _assemble(names)


def _assemble(names: Sequence[str]) -> Scenario:
    operations = []
    for place, name in enumerate(names):
        operation = _ALPHABET[name]
        text = f"text of {name}" if operation.key is not None else f"text-{place}"
        key = None if operation.key is None else f"key of {name}"
        at = operation.at + 1.0 + 0.002 * place
        operations.append(replace(operation, at=at, replica=place, text=text, key=key))
    return Scenario(seed=1, replicas=2, operations=tuple(operations), most_per_call=1)


def crash_everywhere(scenario: Scenario, points: int) -> Iterator[Scenario]:
    """The scenario with a crash at each of its crash points; the replica comes back at once, or late."""
    for point in range(1, points + 1):
        for seconds in (1.0, 90.0):
            yield replace(scenario, faults=(Fault(kind="crash", point=point, seconds=seconds),))
