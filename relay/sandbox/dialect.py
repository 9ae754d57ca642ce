"""The upstream's dialect, written down a second time: how a request is read, and how an answer is put together.

Owns the codes, the words and the text of answers. It must never import the relay's own writing of queries or reading of
answers: a mistake in one would hide in the other.

Source: the upstream's API page (codes, sample); domain.md sections 1 and 2 for what is doubtful.
"""

import json
import re
from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl

from msgspec import Struct

from relay.sandbox.switches import Echo, RejectionForm, SandboxSwitches, TextForm

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


class RecordStatus(Struct, frozen=True):
    """What an answer says about one number. ``outcome`` is the ledger's word for it."""

    code: str
    word: str
    description: str
    outcome: str


SENT = RecordStatus("0000", "SENT", "MESSAGE SENT TO PROVIDER", "sent")
DND_SENT = RecordStatus("0014", "DND_SENT", "MESSAGE THROUGH COOPERATE DND ROUTE", "sent_dnd")
REJECTED = RecordStatus("2222", "REJECTED", "MESSAGE REJECTED", "rejected")
DND_REJECTED = RecordStatus("3333", "DND_REJECTED", "DND_REJECTED_NUMBER", "dnd_rejected")
DELIVERED = RecordStatus("1111", "DELIVERED", "MESSAGE DELIVERED TO HANDSET", "delivered")
UNLISTED = RecordStatus("4444", "QUEUED", "SOMETHING NEW", "unlisted")
CONFLICTING = RecordStatus("0000", "DND_REJECTED", "DND_REJECTED_NUMBER", "conflicting")


class SandboxRecord(Struct, frozen=True):
    """One number's part of an answer. ``recipient`` is written as the answer echoes it."""

    status: RecordStatus
    recipient: str
    message_id: str


_MOBILE = re.compile(r"234[789][01]\d{8}", re.ASCII)
_EXTRAS = ("MTNNG", "NIGERIA\r", "999", "0000-00-00 00:00:00")
"""Fields six to nine as the relative VTpass prints them: network, country with its CR, delivery code, date."""

_SEPARATORS: dict[RejectionForm, str] = {"described": "-", "colon": ":", "arrow": "=>"}


def canonical(recipient: str) -> str:
    """Rewrite a caller's number in the form ``234…``; anything that cannot be a number stays as it is.

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


def write_batch(records: Sequence[SandboxRecord], switches: SandboxSwitches) -> str:
    """Write the answer to a batch that was processed."""
    if switches.format == "json":
        return _write_json(records)
    extras = _EXTRAS if switches.fields == 9 else ()
    lines = ["|".join((*_fields(record), *extras)) for record in records]
    return f"TG00-{PROCESSED}:" + ",".join(lines)


def write_json_rejection(code: str) -> str:
    """Write a rejection as the relative VTpass does when asked for JSON."""
    return json.dumps({"responseCode": code, "response": REJECTIONS.get(code, "Something new")})


def _fields(record: SandboxRecord) -> tuple[str, str, str, str, str]:
    status = record.status
    return status.code, record.recipient, record.message_id, status.word, status.description


def _write_json(records: Sequence[SandboxRecord]) -> str:
    names = ("statusCode", "recipient", "messageId", "status", "description")
    more = dict(zip(("network", "country", "deliveryCode", "deliveryDate"), _EXTRAS, strict=True))
    messages = [dict(zip(names, _fields(record), strict=True)) | more for record in records]
    return json.dumps({"responseCode": "TG00", "response": PROCESSED, "messages": messages})


# --- requests -------------------------------------------------------------------------------------------------------

_DOCUMENTED = frozenset({"username", "password", "sender", "recipient", "message", "balance"})
OTHER = "(other)"
"""Stands for the name of any other parameter: half a password that was not encoded may be one."""


class SmsRequest(Struct, frozen=True):
    """A request's parts.

    ``parameters`` are the names in the query, in order, repeated ones included. If a parameter is repeated, the last
    value counts, as in PHP.
    """

    method: str
    path: str
    parameters: tuple[str, ...]
    values: dict[str, str]

    def get(self, name: str) -> str:
        """A parameter's value; an absent one is empty."""
        return self.values.get(name, "")

    def is_blank(self, name: str) -> bool:
        """Whether a parameter is absent, empty or only blanks, which the framework trims."""
        return not self.get(name).strip()

    @property
    def recipients(self) -> tuple[str, ...]:
        """The numbers as the caller wrote them, without blank ones between two commas."""
        return tuple(part for part in self.get("recipient").split(",") if part.strip())


def parse_request(method: str, path: str, query: bytes) -> SmsRequest:
    """Read a query: blanks from ``+``, percent-encoded UTF-8, broken bytes replaced.

    Example:
        >>> parse_request("GET", "/api/sms/balance", b"username=a+b&password=%2B").values
        {'username': 'a b', 'password': '+'}
    """
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="utf-8", errors="replace")
    names = tuple(name if name in _DOCUMENTED else OTHER for name, _ in pairs)
    return SmsRequest(method, path, names, dict(pairs))


# --- noise in and around a body, by the switch ``text`` (``upstream_answers.jsonl``; domain.md section 2) -------------

_MAKE: dict[TextForm, Callable[[bytes], bytes]] = {
    "plain": lambda body: body,
    "bom": lambda body: b"\xef\xbb\xbf" + body,
    "padded": lambda body: b"  \r\n" + body + b"\r\n",
    "new_lines": lambda body: body.replace(b":", b":\n", 1).replace(b",", b",\n"),
    "lower_case": lambda body: body.replace(b"TG00-MESSAGE PROCESSED", b"tg00-message processed"),
    "trailing_comma": lambda body: body + b",",
    "junk_after": lambda body: body + b"\n<script>track()</script>",
    "bad_utf8": lambda body: body.replace(b"MESSAGE SENT", b"MESSAGE\x92S SENT"),
    "nul": lambda body: body.replace(b"MESSAGE SENT", b"MESSAGE\x00SENT"),
    "empty": lambda _body: b"",
}


def make_text(body: bytes, form: TextForm) -> bytes:
    """Return the body as the switch says."""
    return _MAKE[form](body)
