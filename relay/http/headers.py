"""Request headers that steer the relay: parsed to one value each, or refused. Pure.

Header values arrive as bytes; whatever is not visible ASCII is refused where it matters, because servers hand bytes
above 0x7F through as they are.
"""

import re
from collections.abc import Iterable

from msgspec import Struct

from relay.domain.clients import Client
from relay.domain.codes import ProblemCode
from relay.domain.errors import Refusal
from relay.domain.key_time import read_key_time

LONGEST_KEY = 255

_REQUEST_ID = re.compile(rb"(?!rk_|whsec_|eyJ|[+0-9]*\Z)[!-~]{1,128}")
_BARE_KEY = re.compile(rb"[!-~]{1,255}")
_QUOTED_KEY = re.compile(rb'"((?:[!#-\[\]-~]|\\["\\])*)"')
_ESCAPED = re.compile(rb"\\(.)")
_WAIT = re.compile(rb"[0-9]{1,6}")
_MEDIA_TYPE = re.compile(rb'([^;"]*)((?:;(?:"(?:[^"\\]|\\.)*"|[^;"])*)*)', re.DOTALL)
_PARAMETER = re.compile(rb';((?:"(?:[^"\\]|\\.)*"|[^;"])*)', re.DOTALL)
_UTF_8 = frozenset({b"utf-8", b"utf8"})


class Preferences(Struct, frozen=True):
    """What ``Prefer`` asked for (RFC 7240) of what the relay knows; everything else in it is ignored, as it says."""

    respond_async: bool = False
    wait_seconds: int | None = None

    @property
    def applied(self) -> str | None:
        """The value of ``Preference-Applied``."""
        if self.respond_async:
            return "respond-async"
        return None if self.wait_seconds is None else f"wait={self.wait_seconds}"


NO_PREFERENCES = Preferences()


def parse_request_id(value: bytes | None) -> str | None:
    """Take the caller's request id if it is a sane one: 1 to 128 visible ASCII characters.

    It goes into the log as it is, so one that has the form of a key, a token or a phone number is not sane.
    """
    if value is None or _REQUEST_ID.fullmatch(value) is None:
        return None
    return value.decode("ascii")


def parse_utf8_type(value: bytes) -> bytes | None:
    """Read the media type of a body that must be UTF-8 text, in lower case.

    Parameters are ignored but for ``charset``, which may name UTF-8 only: JSON's media type has none (RFC 8259, section
    11), and clients send what they like.

    Returns:
        ``None`` where another charset is named, or a quote is not closed.

    Example:
        >>> parse_utf8_type(b'Application/JSON; odata=verbose; charset="UTF8"')
        b'application/json'
        >>> parse_utf8_type(b"application/json; charset=latin-1") is None
        True
    """
    parts = _MEDIA_TYPE.fullmatch(value)
    if parts is None:
        return None
    for parameter in _PARAMETER.findall(parts[2]):
        name, _, given = parameter.partition(b"=")
        if name.strip().lower() == b"charset":
            charset = given.strip()
            if charset.startswith(b'"'):
                charset = _ESCAPED.sub(rb"\1", charset[1:-1])
            if charset.lower() not in _UTF_8:
                return None
    return parts[1].strip().lower()


def parse_preferences(values: Iterable[bytes]) -> Preferences:
    """Read every ``Prefer`` header of a request; of a preference that is given twice the first counts (RFC 7240).

    Example:
        >>> parse_preferences([b"respond-async, wait=5"])
        Preferences(respond_async=True, wait_seconds=5)
        >>> parse_preferences([b"wait=0; foo=bar", b"handling=lenient"])
        Preferences(respond_async=False, wait_seconds=None)
    """
    respond_async = False
    wait_seconds: int | None = None
    for value in values:
        for preference in value.split(b","):
            name, _, argument = preference.split(b";", 1)[0].partition(b"=")
            name = name.strip().lower()
            if name == b"respond-async":
                respond_async = True
            elif name == b"wait" and wait_seconds is None and _WAIT.fullmatch(argument := argument.strip(b' \t"')):
                # Nothing can be sent in no time: such a wish is ignored rather than turned into a refusal.
                wait_seconds = int(argument) or None
    return Preferences(respond_async, wait_seconds)


def parse_idempotency_key(values: list[bytes]) -> str | None:
    """Read the ``Idempotency-Key``: bare, or quoted as a structured string (RFC 8941); both forms are one key.

    Raises:
        Refusal: ``invalid_idempotency_key``: several headers, or not 1 to 255 visible ASCII characters.

    Example:
        >>> parse_idempotency_key([b'"order-1204"']) == parse_idempotency_key([b"order-1204"])
        True
    """
    if not values:
        return None
    if len(values) > 1:
        raise invalid_key("The Idempotency-Key header was given more than once; send it once.")
    [value] = values
    if value.startswith(b'"'):
        quoted = _QUOTED_KEY.fullmatch(value)
        value = _ESCAPED.sub(rb"\1", quoted[1]) if quoted is not None else b""
    if _BARE_KEY.fullmatch(value) is None:
        raise invalid_key(
            f"An Idempotency-Key is 1 to {LONGEST_KEY} visible ASCII characters, bare or in double quotes."
        )
    return value.decode("ascii")


def is_idempotency_key(text: str) -> bool:
    """Whether a batch item's key, which is a JSON string, is one."""
    return 0 < len(text) <= LONGEST_KEY and all("!" <= character <= "~" for character in text)


def judge_key(key: str | None, client: Client) -> int | None:
    """Hold a key against the settings of its client; says when it was made where they have keys carry their time.

    Args:
        key: as the client sent it.

    Returns:
        Milliseconds since 1970-01-01 UTC, or ``None``.

    Raises:
        Refusal: ``invalid_idempotency_key``: one is required, or it is neither a UUIDv7 nor a ULID.
    """
    if key is None and client.require_idempotency_key:
        raise invalid_key("This client's settings require an Idempotency-Key with every send.")
    if key is None or not client.keys_carry_time:
        return None
    made_at = read_key_time(key)
    if made_at is None:
        raise invalid_key("This client's keys carry their time: send a UUIDv7 or a ULID.")
    return made_at


def invalid_key(detail: str) -> Refusal:
    """The refusal of a malformed, repeated or missing key."""
    return Refusal(ProblemCode.INVALID_IDEMPOTENCY_KEY, detail)
