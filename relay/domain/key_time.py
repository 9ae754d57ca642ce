"""When an idempotency key was made, for keys that say so: UUIDv7 (RFC 9562) and ULID."""

import re

MOST_AHEAD_MS = 300_000
"""A caller's clock may be so far ahead."""

_UUID7 = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.IGNORECASE)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME_CHARACTERS = 10


def read_key_time(key: str) -> int | None:
    """Milliseconds since 1970-01-01 UTC at which a key was made; ``None`` where it has neither form.

    Example:
        >>> read_key_time("01890a5d-ac96-774b-bcce-b302099a8057")
        1688096058518
        >>> read_key_time("01ARZ3NDEKTSV4RRFFQ69G5FAV")
        1469922850259
        >>> read_key_time("order-1204") is None
        True
    """
    uuid = _UUID7.fullmatch(key)
    if uuid is not None:
        return int(uuid[1] + uuid[2], 16)
    if _ULID.fullmatch(key) is None:
        return None
    value = 0
    for character in key[:_TIME_CHARACTERS].upper():
        value = value * len(_CROCKFORD) + _CROCKFORD.index(character)
    return value
