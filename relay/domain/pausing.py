"""Pauses: what an operator stopped, who, why and until when. Several may be in force at once."""

import re

from msgspec import Struct

from relay.domain.codes import MessageType

LONGEST_SECONDS = 24 * 3600
"""A pause that ends by itself does so within a day; one without an end stays until somebody resumes it."""

_DURATION = re.compile(r"([0-9]{1,6})([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


class Scope(Struct, frozen=True, kw_only=True):
    """What is stopped; a field that is ``None`` means all."""

    client: str | None = None
    message_type: MessageType | None = None
    account: str | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing may be sent at all."""
        return self.client is None and self.message_type is None and self.account is None


class SendingPause(Struct, frozen=True, kw_only=True):
    """One pause. Times are milliseconds since 1970-01-01 UTC; ``by`` is the operator's client, ``key`` the key's id."""

    scope: Scope
    reason: str
    by: str
    key: str | None
    since: int
    until: int | None = None

    def is_over(self, now_ms: int) -> bool:
        """Whether it has ended by itself."""
        return self.until is not None and now_ms >= self.until

    def covers(self, client: str, message_type: MessageType | None, account: str | None) -> bool:
        """Whether it stops such a message; ``account`` is ``None`` for what goes to no account."""
        return (
            self.scope.client in (None, client)
            and self.scope.message_type in (None, message_type)
            and self.scope.account in (None, account)
        )


def parse_duration(text: str) -> int | None:
    """Read how long something lasts, in seconds: a number with s, m or h; ``None`` where it is none or above a day.

    Example:
        >>> parse_duration("15m"), parse_duration("25h"), parse_duration("0s"), parse_duration("15")
        (900, None, None, None)
    """
    found = _DURATION.fullmatch(text)
    seconds = 0 if found is None else int(found[1]) * _SECONDS[found[2]]
    return seconds if 0 < seconds <= LONGEST_SECONDS else None
