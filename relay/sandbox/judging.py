"""What the stand-in decides about a request: refuse the batch, or give each number its record. Pure.

Owns the order of the checks (the order of the codes on the upstream's page; the real one is not published) and the rule
that made each outcome, in words for a person.
"""

import random
from collections.abc import Callable, Sequence

from msgspec import Struct

from relay.sandbox.config import SandboxConfig
from relay.sandbox.dialect import DND_REJECTED, DND_SENT, REJECTED, SENT, Record, Verdict, canonical, echo, is_mobile
from relay.sandbox.ledger import Delivery
from relay.sandbox.magic import BLOCKED_SENDER, BLOCKED_WORD, MAGIC, Magic
from relay.sandbox.request import SmsRequest
from relay.sandbox.switches import Fault, Switches


class Refused(Struct, frozen=True):
    """A no to the whole request: a TG code, and the rule."""

    code: str
    rule: str


class Batch(Struct, frozen=True):
    """A yes: records in the order of the answer, what of each number in the order asked, a fault that strikes."""

    records: tuple[Record, ...]
    deliveries: tuple[Delivery, ...]
    fault: Fault | None
    fault_rule: str


def check_account(request: SmsRequest, switches: Switches, config: SandboxConfig) -> Refused | None:
    """Check what every path needs: a forced code, then the credentials."""
    if switches.tg is not None:
        return Refused(switches.tg, f"switch tg: {switches.tg}")
    if not request.get("username"):
        return Refused("TG12", "no username")
    if not request.get("password"):
        return Refused("TG13", "no password")
    given = (request.get("username"), request.get("password"))
    if given != (config.username, config.password.reveal()):
        return Refused("TG11", "another username or password")
    return None


def check_message(request: SmsRequest, switches: Switches) -> Refused | None:
    """Check what a send needs, units excepted."""
    for name, code in (("recipient", "TG14"), ("message", "TG15"), ("sender", "TG16")):
        if request.is_blank(name):
            return Refused(code, f"no {name}")
    if not request.recipients:
        return Refused("TG14", "no recipient")
    if request.get("sender").strip().upper() == BLOCKED_SENDER:
        return Refused("TG18", f"sender {BLOCKED_SENDER}")
    if BLOCKED_WORD in request.get("message").lower():
        return Refused("TG19", f"word {BLOCKED_WORD}")
    if len(set(map(canonical, request.recipients))) > switches.recipient_limit:
        return Refused("TG20", f"more than {switches.recipient_limit} recipients")
    return None


def judge_numbers(
    request: SmsRequest, route: str, switches: Switches, slow_seconds: float, new_id: Callable[[], str]
) -> Batch:
    """Give every number its record.

    Args:
        route: ``normal``, ``dnd`` or ``dnd-fallback``.
        slow_seconds: how late the late number's answer is.
        new_id: gives fresh message ids.
    """
    numbers = [canonical(recipient) for recipient in request.recipients]
    if switches.duplicates == "merged":
        numbers = list(dict.fromkeys(numbers))
    records: list[Record] = []
    deliveries: list[Delivery] = []
    for number in numbers:
        verdicts, rule = _verdicts(number, route, switches)
        magic = MAGIC.get(number)
        written = echo(number, magic.echo if magic and magic.echo else switches.echo)
        message_id = magic.message_id if magic and magic.message_id else None
        made = [Record(verdict, written, message_id or new_id()) for verdict in verdicts]
        records += made
        deliveries.append(_delivery(number, made, rule))
    fault, fault_rule = _fault(numbers, switches, slow_seconds)
    return Batch(_ordered(records, switches), tuple(deliveries), fault, fault_rule)


def _verdicts(number: str, route: str, switches: Switches) -> tuple[tuple[Verdict, ...], str]:
    magic = MAGIC.get(number)
    if magic is not None and _is_special(magic):
        return (magic.normal if route == "normal" else magic.dnd), f"magic number: {magic.does}"
    if switches.invalid_numbers != "processed" and not is_mobile(number):
        dropped = switches.invalid_numbers == "dropped"
        return (() if dropped else (REJECTED,)), f"switch invalid_numbers: {switches.invalid_numbers}"
    if switches.dnd:
        return ((DND_REJECTED,) if route == "normal" else (DND_SENT,)), "switch dnd: every number is on DND"
    if route == "dnd" and switches.dnd_route == "0014":
        return (DND_SENT,), "switch dnd_route: 0014"
    return (SENT,), f"magic number: {magic.does}" if magic else "sent by default"


def _is_special(magic: Magic) -> bool:
    """Whether the table says more of a number than that it is sent: else the switches still apply."""
    return magic.normal != (SENT,) or magic.dnd != (SENT,)


def _delivery(number: str, records: Sequence[Record], rule: str) -> Delivery:
    if not records:
        return Delivery(number, "", "", "", "left_out", rule)
    best = records[-1]
    return Delivery(number, best.verdict.code, best.verdict.word, best.message_id, best.verdict.outcome, rule)


def _ordered(records: list[Record], switches: Switches) -> tuple[Record, ...]:
    if switches.order == "reversed":
        records.reverse()
    elif switches.order == "shuffled":
        random.Random(len(records)).shuffle(records)
    return tuple(records)


def _fault(numbers: Sequence[str], switches: Switches, slow_seconds: float) -> tuple[Fault | None, str]:
    if switches.fault is not None:
        return switches.fault, "switch fault"
    for number in numbers:
        magic = MAGIC.get(number)
        if magic is not None and magic.fault is not None:
            fault = Fault("slow", slow_seconds) if magic.fault.kind == "slow" else magic.fault
            return fault, f"magic number {number}: {magic.does}"
    return None, ""
