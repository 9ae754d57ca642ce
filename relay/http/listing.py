"""``GET /v1/notifications``: a client's notifications, newest first, page by page. Also what other lists share."""

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import msgspec
from msgspec.structs import replace

from relay.domain.codes import NotificationStatus, Permission
from relay.domain.errors import FieldError, ValidationFailed
from relay.domain.notification import Stored
from relay.http.answers import PRIVATE, NotificationBody, build_notification
from relay.http.auth import Gate
from relay.http.exchange import Exchange, Reply, Route
from relay.http.headers import is_idempotency_key
from relay.http.malformed import UNKNOWN
from relay.http.schemas import Moment
from relay.http.times import to_milliseconds
from relay.sending.ports import Cursor, ListFilter
from relay.sending.requests import Sending

DEFAULT_LIMIT = 50
HIGHEST_LIMIT = 200

_MOST_PARAMETERS = 32
_FIRST_READ = 8
"""Items, of which nobody knows how large they are; later reads are larger."""

_RECIPIENTS_A_PAGE = 20_000
"""A page ends once it holds so many recipients, however few its items are: about 4 MB."""

_RECIPIENTS_A_TURN = 2_000
"""How many entries are encoded before the event loop may do something else: about 10 ms."""

_LIMIT = re.compile(r"[0-9]{1,3}")
_CURSOR = re.compile(rb"([0-9]{1,15})\.([0-9a-f-]{36})")
_REFERENCE = re.compile(r"[!-~]{1,64}")


class Parameter(Exception):
    """A query parameter that cannot be read: its error code and the remedy."""

    def __init__(self, code: str, remedy: str) -> None:
        super().__init__(code)
        self.code = code
        self.remedy = remedy


class Listing:
    """The endpoint that lists a client's notifications."""

    def __init__(self, gate: Gate, sending: Sending) -> None:
        self._gate = gate
        self._sending = sending

    def routes(self) -> list[Route]:
        """What is served here."""
        return [Route("GET", "/v1/notifications", self.select)]

    async def select(self, exchange: Exchange) -> Reply:
        """List the notifications that match every filter."""
        caller = await self._gate.admit(exchange, Permission.READ)
        values = read_query(exchange.query, PARAMETERS)
        limit: int = values.pop("limit", DEFAULT_LIMIT)
        before = values.pop("cursor", None)
        exchange.stage = None
        page, last = await self._read_page(ListFilter(client=caller.client.name, before=before, **values), limit)
        body = await encode_page(map(build_notification, page), last)
        return Reply(200, body, headers=(PRIVATE,))

    async def _read_page(self, asked: ListFilter, limit: int) -> tuple[list[Stored], Stored | None]:
        """Read a page in small parts, so that one of large notifications ends early instead of filling the memory.

        Returns:
            The page, and its last item where another page follows.
        """
        page: list[Stored] = []
        recipients, most = 0, _FIRST_READ
        while True:
            size, most = min(limit - len(page), most), most * 4
            # One more than asked for tells whether there is a next page.
            found = await self._sending.select(replace(asked, limit=size + 1))
            page += found[:size]
            if len(found) <= size:
                return page, None
            recipients += sum(len(stored.notification.entries) for stored in found[:size])
            last = page[-1]
            if len(page) == limit or recipients >= _RECIPIENTS_A_PAGE:
                return page, last
            asked = replace(asked, before=Cursor(last.notification.created_at, last.notification.id))


def read_query(query: bytes, parameters: dict[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Read a query string of known parameters, each at most once.

    Args:
        query: as it came.
        parameters: how each known one is parsed; a parser raises :class:`Parameter`.

    Raises:
        ValidationFailed: with every parameter that is unknown, repeated or malformed.
    """
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS, errors="strict"
        )
    except ValueError:
        remedy = "Percent-encode the query as UTF-8, with each parameter once."
        raise ValidationFailed([FieldError("(query)", "malformed", remedy)]) from None
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    unknown = 0
    for name, text in pairs:
        if name not in parameters:
            unknown += 1
        elif name in values:
            errors.append(FieldError(name, "repeated", f"Give {name} once."))
        else:
            values[name] = None
            try:
                values[name] = parameters[name](text)
            except Parameter as wrong:
                errors.append(FieldError(name, wrong.code, wrong.remedy))
    if unknown:
        remedy = f"{unknown} of the parameters are not known here; the known ones are {', '.join(parameters)}."
        errors.append(FieldError(UNKNOWN, "unknown_parameter", remedy))
    if errors:
        raise ValidationFailed(errors)
    return values


async def encode_page(bodies: Iterable[NotificationBody], last: Stored | None) -> bytes:
    """Encode a page item by item, and let others have their turn in between.

    Args:
        bodies: in order.
        last: the last one of the page where another page follows.
    """
    items: list[msgspec.Raw] = []
    recipients = 0
    for body in bodies:
        items.append(msgspec.Raw(msgspec.json.encode(body)))
        recipients += len(body.recipients)
        if recipients > _RECIPIENTS_A_TURN:
            recipients = 0
            await asyncio.sleep(0)
    return msgspec.json.encode({"items": items, "next_cursor": None if last is None else format_cursor(last)})


def format_cursor(last: Stored) -> str:
    """Make the opaque cursor that goes on after this notification."""
    text = f"{last.notification.created_at}.{last.notification.id}"
    return base64.urlsafe_b64encode(text.encode("ascii")).rstrip(b"=").decode("ascii")


def parse_cursor(text: str) -> Cursor:
    """Read a cursor that :func:`format_cursor` made."""
    try:
        decoded = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        decoded = b""
    parts = _CURSOR.fullmatch(decoded)
    if parts is None:
        raise Parameter("malformed", "Give the next_cursor of the page before, unchanged.")
    return Cursor(int(parts[1]), parts[2].decode("ascii"))


def parse_limit(text: str) -> int:
    """Read how many items a page may have."""
    if _LIMIT.fullmatch(text) is None or not 1 <= int(text) <= HIGHEST_LIMIT:
        raise Parameter("out_of_range", f"Give a number from 1 to {HIGHEST_LIMIT}.")
    return int(text)


def _parse_reference(text: str) -> str:
    if _REFERENCE.fullmatch(text) is None:
        raise Parameter("malformed", "A reference is 1 to 64 visible ASCII characters.")
    return text


def _parse_key(text: str) -> str:
    if not is_idempotency_key(text):
        raise Parameter("malformed", "An idempotency key is 1 to 255 visible ASCII characters.")
    return text


def _parse_status(text: str) -> NotificationStatus:
    try:
        return NotificationStatus(text)
    except ValueError:
        choices = ", ".join(status.value for status in NotificationStatus)
        raise Parameter("unlisted_value", f"Use one of: {choices}.") from None


def _parse_time(text: str) -> int:
    try:
        return to_milliseconds(msgspec.convert(text, Moment))
    except ValueError:
        _refuse_time()


def _refuse_time() -> NoReturn:
    remedy = "Give an RFC 3339 time with an offset, such as 2026-12-01T10:00:00Z; write a plus sign as %2B."
    raise Parameter("malformed", remedy) from None


PARAMETERS: dict[str, Callable[[str], Any]] = {
    "reference": _parse_reference,
    "idempotency_key": _parse_key,
    "status": _parse_status,
    "created_from": _parse_time,
    "created_to": _parse_time,
    "limit": parse_limit,
    "cursor": parse_cursor,
}
"""What a list can be filtered by, and how each is read."""
