"""What the stand-in decides about a request: refuse the batch, or give each number its record. Pure.

Owns the order of the checks (the order of the codes on the upstream's page; the real one is not published) and the rule
that made each outcome, in words for a person.
"""

import random
from collections.abc import Callable, Sequence

from msgspec import Struct

from relay.sandbox.dialect import (
    DND_REJECTED,
    DND_SENT,
    REJECTED,
    SENT,
    RecordStatus,
    SandboxRecord,
    SmsRequest,
    canonical,
    echo,
    is_mobile,
)
from relay.sandbox.ledger import RecipientEntry
from relay.sandbox.magic import BLOCKED_SENDER, BLOCKED_WORD, MAGIC, Magic
from relay.sandbox.registry import StandinAccount
from relay.sandbox.switches import Fault, SandboxSwitches


class RefusedRequest(Struct, frozen=True):
    """The whole request was refused: the TG code, and the rule that refused it."""

    code: str
    rule: str


class ProcessedBatch(Struct, frozen=True):
    """The batch was processed.

    ``records`` are in the order of the answer, ``deliveries`` in the order of the request. ``fault``, if any, then
    happens on the wire.
    """

    records: tuple[SandboxRecord, ...]
    deliveries: tuple[RecipientEntry, ...]
    fault: Fault | None
    fault_rule: str


def check_account(
    request: SmsRequest, switches: SandboxSwitches, account: StandinAccount | None
) -> RefusedRequest | None:
    """Check what every path needs: first a forced code, then the credentials.

    Args:
        account: whose user name it gives.
    """
    if switches.tg is not None:
        return RefusedRequest(switches.tg, f"switch tg: {switches.tg}")
    if not request.get("username"):
        return RefusedRequest("TG12", "no username")
    if not request.get("password"):
        return RefusedRequest("TG13", "no password")
    if account is None or request.get("password") != account.facts.password.reveal():
        return RefusedRequest("TG11", "another username or password")
    return None


def check_message(request: SmsRequest, switches: SandboxSwitches) -> RefusedRequest | None:
    """Check everything that a send needs except the units."""
    for name, code in (("recipient", "TG14"), ("message", "TG15"), ("sender", "TG16")):
        if request.is_blank(name):
            return RefusedRequest(code, f"no {name}")
    if not request.recipients:
        return RefusedRequest("TG14", "no recipient")
    if request.get("sender").strip().upper() == BLOCKED_SENDER:
        return RefusedRequest("TG18", f"sender {BLOCKED_SENDER}")
    if BLOCKED_WORD in request.get("message").lower():
        return RefusedRequest("TG19", f"word {BLOCKED_WORD}")
    if len(set(map(canonical, request.recipients))) > switches.recipient_limit:
        return RefusedRequest("TG20", f"more than {switches.recipient_limit} recipients")
    return None


def judge_numbers(
    request: SmsRequest,
    route: str,
    switches: SandboxSwitches,
    slow_seconds: float,
    new_id: Callable[[], str],
    *,
    registered: bool = True,
) -> ProcessedBatch:
    """Give every number its record.

    Args:
        route: ``normal``, ``dnd`` or ``dnd-fallback``.
        slow_seconds: how long the slow number's answer takes.
        new_id: gives fresh message ids.
        registered: whether the sender is registered at the account.
    """
    numbers = [canonical(recipient) for recipient in request.recipients]
    if switches.duplicates == "merged":
        numbers = list(dict.fromkeys(numbers))
    records: list[SandboxRecord] = []
    deliveries: list[RecipientEntry] = []
    for number in numbers:
        statuses, rule = _statuses(number, route, switches)
        if not registered:
            is_renamed = switches.unregistered == "renamed"
            rule = f"sender not registered: {f'another name on the phone, {rule}' if is_renamed else 'rejected'}"
            statuses = statuses if is_renamed else (REJECTED,)
        magic = MAGIC.get(number)
        written = echo(number, magic.echo if magic and magic.echo else switches.echo)
        message_id = magic.message_id if magic and magic.message_id else None
        made = [SandboxRecord(status, written, message_id or new_id()) for status in statuses]
        records += made
        deliveries.append(_delivery(number, made, rule))
    fault, fault_rule = _fault(numbers, switches, slow_seconds)
    return ProcessedBatch(_ordered(records, switches), tuple(deliveries), fault, fault_rule)


def _statuses(number: str, route: str, switches: SandboxSwitches) -> tuple[tuple[RecordStatus, ...], str]:
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
    """Whether the table says more about a number than "sent"; otherwise the switches still apply."""
    return magic.normal != (SENT,) or magic.dnd != (SENT,)


def _delivery(number: str, records: Sequence[SandboxRecord], rule: str) -> RecipientEntry:
    if not records:
        return RecipientEntry(number, "", "", "", "left_out", rule)
    best = records[-1]
    return RecipientEntry(number, best.status.code, best.status.word, best.message_id, best.status.outcome, rule)


def _ordered(records: list[SandboxRecord], switches: SandboxSwitches) -> tuple[SandboxRecord, ...]:
    if switches.order == "reversed":
        records.reverse()
    elif switches.order == "shuffled":
        random.Random(len(records)).shuffle(records)
    return tuple(records)


def _fault(numbers: Sequence[str], switches: SandboxSwitches, slow_seconds: float) -> tuple[Fault | None, str]:
    if switches.fault is not None:
        return switches.fault, "switch fault"
    for number in numbers:
        magic = MAGIC.get(number)
        if magic is not None and magic.fault is not None:
            fault = Fault("slow", slow_seconds) if magic.fault.kind == "slow" else magic.fault
            return fault, f"magic number {number}: {magic.does}"
    return None, ""
