"""Parameters of paths and queries, as handlers declare them: type, description, and how a value is checked.

A handler writes ``limit: Limit = DEFAULT_LIMIT``; admission checks all of a request's parameters before anything else
of it is read, and litestar hands them over.
"""

import base64
import binascii
import re
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, TypeAlias, TypeVar, get_args, get_type_hints

import msgspec
from litestar.di import Dependency
from litestar.handlers import BaseRouteHandler
from litestar.params import PathParameter, QueryParameter, SkipValidationMarker
from msgspec import Struct

from relay.domain.codes import NotificationStatus, NumberReason, ProblemCode
from relay.domain.errors import Refusal
from relay.domain.notification import Notification
from relay.domain.numbers import parse_number
from relay.domain.suppression import Suppression
from relay.http.headers import is_idempotency_key
from relay.http.schemas import Moment
from relay.http.times import to_milliseconds
from relay.http.validation import Field, Wrong
from relay.sending.ports import Cursor

DEFAULT_LIMIT = 50
HIGHEST_LIMIT = 200
HIGHEST_EXPANDED_LIMIT = 20
"""How many on a page with recipients, and how many if the caller does not say."""

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LIMIT = re.compile(r"[0-9]{1,3}")
_CURSOR = re.compile(rb"([0-9]{1,15})\.([0-9a-f-]{32,36})")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REFERENCE = re.compile(r"[!-~]{1,64}")


T = TypeVar("T")
Service: TypeAlias = Annotated[T, Dependency(), SkipValidationMarker()]
"""What a handler asks for beside the request, by the parameter's name. One at most: for two litestar starts a task
group at each request (82 µs)."""


class Check(Struct, frozen=True):
    """Stands beside a parameter's type: raises ``Wrong`` (or a ``Refusal``) for a text that is none."""

    read: Any


def no_such_notification() -> Refusal:
    """The same for an id that does not exist and for one of another client."""
    return Refusal(ProblemCode.NOT_FOUND, "There is no notification with this id that this client may see.")


def check_id(text: str) -> None:
    """Refuse what cannot be an id."""
    if _ID.fullmatch(text) is None:
        raise no_such_notification()


def check_uuid(text: str) -> None:
    """Refuse a filter that cannot be an id."""
    if _ID.fullmatch(text) is None:
        raise Wrong("malformed", "Give a notification's id, 36 characters in lower case.")


def check_name(text: str) -> None:
    """Refuse what cannot be the name of a client or an account."""
    if _NAME.fullmatch(text) is None:
        raise Wrong("malformed", "Give a name as it stands in the settings.")


def format_cursor(last: Notification | Suppression) -> str:
    """Make the opaque cursor that goes on after this one."""
    text = f"{last.created_at}.{last.id}"
    return base64.urlsafe_b64encode(text.encode("ascii")).rstrip(b"=").decode("ascii")


def parse_cursor(text: str) -> Cursor:
    """Read a cursor that :func:`format_cursor` made."""
    try:
        decoded = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        decoded = b""
    parts = _CURSOR.fullmatch(decoded)
    if parts is None:
        raise Wrong("malformed", "Give the next_cursor of the page before, unchanged.")
    return Cursor(int(parts[1]), parts[2].decode("ascii"))


def parse_limit(text: str) -> int:
    """Read how many items a page may have."""
    if _LIMIT.fullmatch(text) is None or not 1 <= int(text) <= HIGHEST_LIMIT:
        raise Wrong("out_of_range", f"Give a number from 1 to {HIGHEST_LIMIT}.")
    return int(text)


def _check_reference(text: str) -> None:
    if _REFERENCE.fullmatch(text) is None:
        raise Wrong("malformed", "A reference is 1 to 64 visible ASCII characters.")


def _check_key(text: str) -> None:
    if not is_idempotency_key(text):
        raise Wrong("malformed", "An idempotency key is 1 to 255 visible ASCII characters.")


def parse_time(text: str) -> int:
    """Read a time with an offset, as milliseconds since 1970-01-01 UTC."""
    try:
        return to_milliseconds(msgspec.convert(text, Moment))
    except ValueError:
        remedy = "Give an RFC 3339 time with an offset, such as 2026-12-01T10:00:00Z; write a plus sign as %2B."
        raise Wrong("malformed", remedy) from None


def parse_recipient(text: str) -> str:
    """Read a number to look up, in any form in which it could be sent to."""
    number = parse_number(text, allow_foreign=True)
    if isinstance(number, NumberReason):
        raise Wrong(number.value, "Give one phone number, such as 08031234567; write a plus sign as %2B.")
    return number


class Expansion(StrEnum):
    """What a list gives beside its notifications."""

    RECIPIENTS = "recipients"


ClientFilter = Annotated[str | None, QueryParameter(description="Notifications of this client."), Check(check_name)]
AccountFilter = Annotated[
    str | None, QueryParameter(description="Notifications that went over this account."), Check(check_name)
]
NotificationId = Annotated[
    str, PathParameter(name="id", description="A notification's id.", format="uuid"), Check(check_id)
]
Reference = Annotated[
    str | None,
    QueryParameter(description="Notifications with this reference.", pattern="^[!-~]{1,64}$"),
    Check(_check_reference),
]
KeyFilter = Annotated[
    str | None, QueryParameter(description="The one with this key.", pattern="^[!-~]{1,255}$"), Check(_check_key)
]
StatusFilter = Annotated[NotificationStatus | None, QueryParameter(description="Notifications with this status.")]
CreatedFrom = Annotated[
    datetime | None, QueryParameter(description="Created at this time or later."), Check(parse_time)
]
CreatedTo = Annotated[datetime | None, QueryParameter(description="Created before this time."), Check(parse_time)]
Limit = Annotated[
    int,
    QueryParameter(description=f"How many on a page; {DEFAULT_LIMIT} if left out.", ge=1, le=HIGHEST_LIMIT),
    Check(parse_limit),
]
RecipientFilter = Annotated[
    str | None, QueryParameter(description="Notifications to this number."), Check(parse_recipient)
]
Expand = Annotated[
    Expansion | None,
    QueryParameter(
        description=f"`recipients`: give each notification with them, at most {HIGHEST_EXPANDED_LIMIT} on a page."
    ),
]
ListLimit = Annotated[
    int | None,
    QueryParameter(
        description=(
            f"How many on a page; {DEFAULT_LIMIT} if left out. With `expand` at most {HIGHEST_EXPANDED_LIMIT}, and so"
            " many if left out."
        ),
        ge=1,
        le=HIGHEST_LIMIT,
    ),
    Check(parse_limit),
]
PageCursor = Annotated[
    str | None,
    QueryParameter(description="The `next_cursor` of the page before.", pattern="^[A-Za-z0-9_-]{46,70}$"),
    Check(parse_cursor),
]


class Parameters(Struct, frozen=True):
    """What a handler declares, by the names that callers use."""

    path: dict[str, Field]
    query: dict[str, Field]


@cache
def parameters_of(handler: BaseRouteHandler) -> Parameters:
    """Read a handler's parameters from its signature."""
    found = Parameters({}, {})
    defaults = handler.parsed_fn_signature.parameters
    for name, hint in get_type_hints(handler.fn, include_extras=True).items():
        kind, *metadata = get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
        check = next((each.read for each in metadata if isinstance(each, Check)), None)
        for marker in metadata:
            if isinstance(marker, PathParameter | QueryParameter):
                place = found.path if isinstance(marker, PathParameter) else found.query
                public = marker.name or name
                place[public] = Field(public, kind, defaults[name].is_required, check)
    return found
