"""What operators did, as a chain: each row carries the hash of the one before, so that nothing can be changed unseen.

Whoever can write to the journal can also write the whole chain anew. That is seen by a hash from elsewhere: the newest
one is logged every hour, and :func:`check_chain` takes one that is expected.
"""

import hashlib
import re
from collections.abc import Sequence
from enum import StrEnum

import msgspec
from msgspec import Struct

FIRST = "0" * 64
"""What the first row of all has in place of the hash of the one before."""

LONGEST_REASON = 200
"""Characters."""

_DIGITS = re.compile(r"\d{7,}|(?:\+?234|0)[ ().-]{0,2}[789]\d{1,2}(?:[ ().-]{0,2}\d){6,8}")
_PURGED = re.compile(r"to row [0-9]+, whose hash was ([0-9a-f]{64})")


class Action(StrEnum):
    """What was done. The journal may hold other words: those of the first edition."""

    SEARCH = "search"
    """Looked for notifications of any client; the reason names the kinds of filters, never their values."""
    OPEN = "open"
    TIMELINE = "timeline"
    FULL_NUMBERS = "full_numbers"
    """One of the three above, with numbers that are not masked."""
    RESOLVE_SENT = "resolve_sent"
    RESOLVE_NOT_SENT = "resolve_not_sent"
    RESEND = "resend"
    """Asked for; :attr:`RESENT_AS` says what came of it."""
    RESENT_AS = "resent_as"
    PAUSE = "pause"
    RESUME = "resume"
    ERASE = "erase"
    ERASED = "erased"
    """The receipt of an erasure: how many notifications it changed."""
    EXPORT = "export"
    SUPPRESS = "suppress"
    """Numbers came onto the list of those that are not to be written to."""
    LIFT_SUPPRESSION = "lift_suppression"
    PURGE = "purge"
    """The relay itself deleted rows that are older than ``audit_months``."""


class Act(Struct, frozen=True, kw_only=True):
    """Who did what. Holds no number and no text of a message; ``at`` is milliseconds since 1970-01-01 UTC.

    ``key`` is the id of the key that was used, ``service-account`` for a token of Kubernetes; rows of the first edition
    have none. ``other_id`` is a second notification (the one that was sent again), ``count`` how many it was about.
    """

    at: int
    client: str
    action: str
    key: str | None = None
    notification_id: str | None = None
    other_id: str | None = None
    count: int | None = None
    reason: str | None = None


class AuditRow(Struct, frozen=True, kw_only=True):
    """An act in the chain. A row that did not come through the relay may lack its hashes."""

    id: int
    act: Act
    previous_hash: str | None
    hash: str | None


class AuditPage(Struct, frozen=True):
    """Rows newest first, and the hash of the newest of all, which the journal keeps beside the rows."""

    rows: tuple[AuditRow, ...]
    newest_hash: str


class ChainFinding(Struct, frozen=True):
    """Something that is wrong with the chain: ``changed``, ``inserted``, ``missing`` or ``cut_off``; ``row`` is the
    row that shows it."""

    kind: str
    row: int | None
    detail: str


def hash_row(row_id: int, act: Act, previous_hash: str) -> str:
    """The hash of a row: SHA-256, in hex, over a JSON array of the hash before and every field, in this order."""
    fields = [
        *(previous_hash, row_id, act.at, act.client, act.key, act.action),
        *(act.notification_id, act.other_id, act.count, act.reason),
    ]
    return hashlib.sha256(msgspec.json.encode(fields)).hexdigest()


def mask_digits(text: str) -> str:
    """Mask runs of seven digits and more, and mobile numbers with blanks in between: a reason names nobody.

    Example:
        >>> mask_digits("0803 123 4567 called, ticket 123456")
        '••••••• called, ticket 123456'
    """
    return _DIGITS.sub("•" * 7, text)


def purge_reason(row_id: int, row_hash: str) -> str:
    """What the relay notes when it deletes the oldest rows: where the chain begins from now on."""
    return f"to row {row_id}, whose hash was {row_hash}"


def check_chain(rows: Sequence[AuditRow], newest_hash: str, expected: str | None = None) -> list[ChainFinding]:
    """Look for rows that were changed, inserted or taken out.

    Args:
        rows: all that there are, newest first.
        newest_hash: as the journal keeps it beside the rows.
        expected: a hash that was written down earlier; the row that it is of must still be there.
    """
    findings: list[ChainFinding] = []
    genuine = [_is_genuine(row) for row in rows]
    last_place = {row.hash: place for place, row in enumerate(rows)}
    last_genuine = {row.hash: place for place, row in enumerate(rows) if genuine[place]}
    begin = _begin_of(rows)
    wanted: str | None = newest_hash
    for place, row in enumerate(rows):
        stands_further_on = last_genuine.get(wanted, -1) > place or last_place.get(wanted, -1) > place
        if wanted in begin or ((row.hash != wanted or not genuine[place]) and stands_further_on):
            findings.append(ChainFinding("inserted", row.id, "This row is not part of the chain."))
            continue
        if row.hash != wanted:
            findings.append(_break(rows, place))
        if not genuine[place]:
            findings.append(ChainFinding("changed", row.id, "What this row says is not what was written."))
        wanted = row.previous_hash
    if wanted not in begin:
        kind, row_id = ("missing", rows[-1].id) if rows else ("cut_off", None)
        findings.append(ChainFinding(kind, row_id, "The rows before it are gone, and no purge explains it."))
    if expected is not None and expected not in last_genuine and expected not in begin:
        findings.append(ChainFinding("cut_off", None, "No row has the hash that was expected."))
    return findings


def _is_genuine(row: AuditRow) -> bool:
    return row.previous_hash is not None and hash_row(row.id, row.act, row.previous_hash) == row.hash


def _break(rows: Sequence[AuditRow], place: int) -> ChainFinding:
    if place == 0:
        return ChainFinding(
            "cut_off", rows[0].id, "The newest row is not the last that was written: later ones are gone."
        )
    return ChainFinding("missing", rows[place].id, f"Rows between this one and row {rows[place - 1].id} are gone.")


def _begin_of(rows: Sequence[AuditRow]) -> set[str]:
    """What the oldest row may follow: nothing, or what was purged last."""
    for row in rows:
        purged = _PURGED.fullmatch(row.act.reason or "") if row.act.action == Action.PURGE else None
        if purged is not None:
            return {purged[1]}
    return {FIRST}
