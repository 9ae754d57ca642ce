"""Reads smsclone's answers: a full match or unreadable, never a search inside the text.

The grammar, as far as anybody knows it (seed; domain.md sections 1 and 2)::

    answer  = head [ ":" records ]
    head    = "TG" 2DIGIT [ anything but ":" ]
    records = record *( "," record )
    record  = code "|" recipient "|" id "|" word *( "|" field )

Only the head's code and the first four fields of a record decide. Everything else is text.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from relay.domain.codes import STATUS_OF, Code, Status
from relay.domain.notification import Outcome
from relay.domain.numbers import match_number
from relay.smsclone.record_redaction import RecordRedactor
from relay.smsclone.upstream_codes import ACCEPTED, RECORDS, REJECTIONS, UNKNOWN_RANK, UNLISTED, BatchCode

_AROUND = " \t\r\n\ufeff\u00a0\u200b"
_HEAD = re.compile(r"(TG[0-9]{2})(?![^\W_])", re.IGNORECASE)
_RECORD_START = re.compile(r",[\s]*(?=[A-Za-z0-9]{1,8}\|\+?[0-9]*(?:[|,]|\Z))")
"""Where a record can begin: a code, a pipe, digits, then a pipe, or the end of a record that is too short."""
_SHORT_RECORD = 4
_LARGEST_NUMBER = 10**64


class BatchRecord(Struct, frozen=True):
    """One recipient's part of an answer, as the upstream wrote it. ``code`` is zero-padded where it was numeric."""

    code: str
    recipient: str
    message_id: str | None
    word: str | None
    description: str | None


class BatchAnswer(Struct, frozen=True, kw_only=True):
    """A readable answer: ``TG00`` or a rejection, with its records. ``warnings`` are of a closed set."""

    code: str
    records: tuple[BatchRecord, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the batch was accepted."""
        return self.code == ACCEPTED

    @property
    def contradicts_itself(self) -> bool:
        """Whether it refuses the whole batch and yet does not say of each recipient that it was rejected."""
        return not self.accepted and any(STATUS_OF[judge(record)[0]] is not Status.REJECTED for record in self.records)


class Unreadable(Struct, frozen=True):
    """Not an answer by smsclone: an HTML page, truncated JSON, something else. ``reason`` is of a closed set."""

    reason: str


def parse_answer(body: bytes) -> BatchAnswer | Unreadable:
    """Read the body of a send call. Never raises."""
    text = body.decode("utf-8", "replace").strip(_AROUND)
    if text.startswith("{"):
        return _parse_json(text)
    match = _HEAD.match(text)
    if match is None:
        return Unreadable("no_code_at_start")
    code = match.group(1).upper()
    warnings = [] if match.group(1) == code else ["lower_case"]
    _, _, tail = text.partition(":")
    if code != ACCEPTED:
        has_records = "|" in text
        parts = _split(tail or text[match.end() :]) if has_records else []
        return _rejected(code, has_records, [_parse_record(part, []) for part in parts], warnings)
    return _accepted([_parse_record(part, warnings) for part in _split(tail)], warnings)


def _accepted(records: list[BatchRecord], warnings: list[str]) -> BatchAnswer:
    if not records:
        warnings.append("no_records")
    return BatchAnswer(code=ACCEPTED, records=tuple(records), warnings=tuple(dict.fromkeys(warnings)))


def _rejected(code: str, has_records: bool, records: list[BatchRecord], warnings: list[str]) -> BatchAnswer:
    if has_records:
        warnings.append("records_on_rejection")
    return BatchAnswer(code=code, records=tuple(records), warnings=tuple(warnings))


def _split(tail: str) -> list[str]:
    """Split at commas where a record can begin, but not at a comma inside a description."""
    parts = _RECORD_START.split("," + tail.strip(_AROUND))
    return [part.strip(_AROUND + ",") for part in parts if part.strip(_AROUND + ",")]


def _parse_record(text: str, warnings: list[str]) -> BatchRecord:
    fields = [field.strip(_AROUND) for field in text.split("|")]
    if len(fields) < _SHORT_RECORD:
        warnings.append("short_record")
    padded = fields + [""] * (5 - len(fields))
    code = padded[0].zfill(4) if padded[0].isascii() and padded[0].isdigit() else padded[0]
    if code != padded[0]:
        warnings.append("padded_code")
    return BatchRecord(code, padded[1], padded[2] or None, padded[3] or None, padded[4] or None)


def _parse_json(text: str) -> BatchAnswer | Unreadable:
    """Read the JSON form of the related API (VTpass version 2)."""
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Unreadable("bad_json")
    head = document.get("responseCode") if isinstance(document, dict) else None
    if not isinstance(head, str) or _HEAD.fullmatch(head) is None:
        return Unreadable("no_code_at_start")
    code = head.upper()
    warnings = [] if head == code else ["lower_case"]
    listed = document.get("messages")
    messages = [message for message in listed if isinstance(message, dict)] if isinstance(listed, list) else []
    if code != ACCEPTED:
        return _rejected(code, bool(listed), [_json_record(message, []) for message in messages], warnings)
    return _accepted([_json_record(message, warnings) for message in messages], warnings)


def _json_record(message: Mapping[str, Any], warnings: list[str]) -> BatchRecord:
    names = ("statusCode", "recipient", "messageId", "status", "description")
    return _parse_record("|".join(_json_field(message.get(name)) for name in names), warnings)


def _json_field(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_NUMBER:
        return str(value)
    return value.replace("|", " ") if isinstance(value, str) else ""


def judge(record: BatchRecord) -> tuple[Code, int]:
    """What a record means, and how it ranks among several for one number. Its code and word must agree."""
    known = RECORDS.get(record.code)
    if record.word is None:
        return Code.UNREADABLE_ANSWER, UNKNOWN_RANK
    if known is None:
        return Code.UNLISTED_CODE, UNKNOWN_RANK
    if not record.word.isascii() or record.word.upper() != known.word:
        return Code.CONFLICTING_ANSWER, UNKNOWN_RANK
    return known.code, known.rank


def record_outcome(record: BatchRecord, number: str, redactor: RecordRedactor) -> tuple[Outcome, int]:
    """The outcome that a record means for a number, and its rank."""
    upstream = redactor.keep(record.code, record.word, record.description, record.message_id, number)
    code, rank = judge(record)
    return Outcome(code=code, upstream=upstream), rank


def match_outcomes(
    records: tuple[BatchRecord, ...], numbers: tuple[str, ...], redactor: RecordRedactor
) -> tuple[tuple[Outcome, ...], tuple[str, ...]]:
    """One outcome per number, in the order asked; matched by normalized number, never by position.

    Of several records for one number the best wins: anything definitely sent, then anything unclear (something may
    have been sent), then ``rejected``, and ``dnd_rejected`` only where every record says so.

    Returns:
        Outcomes, and warnings.
    """
    asked = set(numbers)
    best: dict[str, tuple[Outcome, int]] = {}
    warnings: list[str] = []
    for record in records:
        number = match_number(record.recipient)
        if number is None or number not in asked:
            warnings.append("unasked_record")
            continue
        found = record_outcome(record, number, redactor)
        if number not in best or found[1] > best[number][1]:
            best[number] = found
    missing = Outcome(code=Code.MISSING_IN_ANSWER)
    return tuple(best[n][0] if n in best else missing for n in numbers), tuple(dict.fromkeys(warnings))


def rejection_of(code: str) -> BatchCode:
    """What a rejection's code means; an undocumented code counts as a broken contract."""
    return REJECTIONS.get(code, UNLISTED)


_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?", re.ASCII)


def parse_balance(body: bytes) -> str | BatchAnswer | Unreadable:
    """Read the body of a balance call: a decimal as text, or a rejection."""
    text = body.decode("utf-8", "replace").strip(_AROUND)
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip(_AROUND)
    if _DECIMAL.fullmatch(text) and len(text) <= 40:
        return text.replace(",", "").removeprefix("+")
    answer = parse_answer(body)
    return answer if isinstance(answer, BatchAnswer) and not answer.accepted else Unreadable("no_decimal")
