"""The upstream's dialect, written down a second time: codes, words, and how an answer is put together.

Owns the text of answers. It must never import the relay's own reading of them.

Source: the upstream's API page (codes, sample); domain.md sections 1 and 2 for what is doubtful.
"""

import json
import re
from collections.abc import Sequence

from msgspec import Struct

from relay.sandbox.switches import Echo, RejectionForm, Switches

ROUTES = {
    "/api/sms/sendsms": "normal",
    "/api/sms/dnd-route": "dnd",
    "/api/sms/dnd-fallback": "dnd-fallback",
}
"""Send paths and the routes they stand for."""

BALANCE_PATH = "/api/sms/balance"
API_PREFIX = "/api/"

PROCESSED = "MESSAGE PROCESSED"
REJECTIONS = {
    "TG11": "Invalid Authentication Credentials",
    "TG12": "Empty Username",
    "TG13": "Empty Password",
    "TG14": "Empty Recipients",
    "TG15": "Empty Message",
    "TG16": "Empty SenderID",
    "TG17": "Not Enough Units Balance",
    "TG18": "Blocked Words Found Sender ID",
    "TG19": "Blocked Words Found in Message Body",
    "TG20": "Recipients above the maximum target",
}
"""What the upstream says instead of TG00, in its own words."""


class Verdict(Struct, frozen=True):
    """What an answer says of one number, and the word under which the ledger has it."""

    code: str
    word: str
    description: str
    outcome: str


SENT = Verdict("0000", "SENT", "MESSAGE SENT TO PROVIDER", "sent")
DND_SENT = Verdict("0014", "DND_SENT", "MESSAGE THROUGH COOPERATE DND ROUTE", "sent_dnd")
REJECTED = Verdict("2222", "REJECTED", "MESSAGE REJECTED", "rejected")
DND_REJECTED = Verdict("3333", "DND_REJECTED", "DND_REJECTED_NUMBER", "dnd_rejected")
DELIVERED = Verdict("1111", "DELIVERED", "MESSAGE DELIVERED TO HANDSET", "delivered")
UNLISTED = Verdict("4444", "QUEUED", "SOMETHING NEW", "unlisted")
CONFLICTING = Verdict("0000", "DND_REJECTED", "DND_REJECTED_NUMBER", "conflicting")


class Record(Struct, frozen=True):
    """One number's part of an answer. ``recipient`` is written as the answer echoes it."""

    verdict: Verdict
    recipient: str
    message_id: str


_MOBILE = re.compile(r"234[789][01]\d{8}", re.ASCII)
_EXTRAS = ("MTNNG", "NIGERIA\r", "999", "0000-00-00 00:00:00")
"""Fields six to nine as the relative VTpass prints them: network, country with its CR, delivery code, date."""

_SEPARATORS: dict[RejectionForm, str] = {"described": "-", "colon": ":", "arrow": "=>"}


def canonical(recipient: str) -> str:
    """Bring a number that a caller wrote into the form ``234…``; what cannot be one stays as it is.

    Example:
        >>> canonical("08010000001"), canonical("+2348010000001"), canonical("soon")
        ('2348010000001', '2348010000001', 'soon')
    """
    number = recipient.strip().removeprefix("+")
    return "234" + number[1:] if number.startswith("0") else number


def is_mobile(number: str) -> bool:
    """Whether a number in the form ``234…`` may be a Nigerian mobile's."""
    return _MOBILE.fullmatch(number) is not None


def echo(number: str, form: Echo) -> str:
    """Write a number as the answer echoes it.

    Example:
        >>> echo("2348010000001", "080")
        '08010000001'
    """
    if form == "080" and number.startswith("234"):
        return "0" + number[3:]
    return "+" + number if form == "+234" else number


def write_rejection(code: str, form: RejectionForm) -> str:
    """Write a rejection of the whole batch; which form the upstream uses is documented nowhere.

    Example:
        >>> write_rejection("TG12", "described"), write_rejection("TG12", "bare")
        ('TG12-Empty Username', 'TG12')
    """
    if form == "bare":
        return code
    return code + _SEPARATORS[form] + REJECTIONS.get(code, "Something new")


def write_batch(records: Sequence[Record], switches: Switches) -> str:
    """Write the answer for a batch that was taken."""
    if switches.format == "json":
        return _write_json(records)
    extras = _EXTRAS if switches.fields == 9 else ()
    lines = ["|".join((*_fields(record), *extras)) for record in records]
    return f"TG00-{PROCESSED}:" + ",".join(lines)


def write_json_rejection(code: str) -> str:
    """Write a rejection as the relative VTpass does when asked for JSON."""
    return json.dumps({"responseCode": code, "response": REJECTIONS.get(code, "Something new")})


def _fields(record: Record) -> tuple[str, str, str, str, str]:
    verdict = record.verdict
    return verdict.code, record.recipient, record.message_id, verdict.word, verdict.description


def _write_json(records: Sequence[Record]) -> str:
    names = ("statusCode", "recipient", "messageId", "status", "description")
    more = dict(zip(("network", "country", "deliveryCode", "deliveryDate"), _EXTRAS, strict=True))
    messages = [dict(zip(names, _fields(record), strict=True)) | more for record in records]
    return json.dumps({"responseCode": "TG00", "response": PROCESSED, "messages": messages})
