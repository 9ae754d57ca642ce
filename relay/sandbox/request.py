"""One request, as the upstream's framework reads it.

It must never import the relay's own writing of queries.
"""

from urllib.parse import parse_qsl

from msgspec import Struct

_DOCUMENTED = frozenset({"username", "password", "sender", "recipient", "message", "balance"})
OTHER = "(other)"
"""Stands for the name of any other parameter: half a password that was not encoded may be one."""


class SmsRequest(Struct, frozen=True):
    """A request's parts. ``parameters`` are the names of the query in order, repeated ones too; of a repeated parameter
    the last value counts, as in PHP."""

    method: str
    path: str
    parameters: tuple[str, ...]
    values: dict[str, str]

    def get(self, name: str) -> str:
        """A parameter's value; an absent one is empty."""
        return self.values.get(name, "")

    def is_blank(self, name: str) -> bool:
        """Whether a parameter is absent, empty or nothing but blanks, which the framework trims."""
        return not self.get(name).strip()

    @property
    def recipients(self) -> tuple[str, ...]:
        """The numbers as the caller wrote them; what is between two commas and blank is no number."""
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
