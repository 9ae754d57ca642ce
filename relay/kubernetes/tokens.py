"""What a projected service account token claims: enough to refuse it without a review, never enough to accept it.

Source:
    RFC 7519, section 4.1 (``aud``, ``exp``, ``sub``); Kubernetes, "Managing Service Accounts": the subject of a
    projected token is ``system:serviceaccount:<namespace>:<name>``.
"""

import base64
import binascii
import re

import msgspec
from msgspec import Struct

LONGEST_TOKEN = 8_192
"""Bytes. Projected tokens have about 1,200."""

_SUBJECT = "system:serviceaccount:"
_JWT = re.compile(rb"[A-Za-z0-9_-]{2,}\.([A-Za-z0-9_-]{2,})\.[A-Za-z0-9_-]{2,}")


class Claims(Struct, frozen=True):
    """The unchecked claims of a token, which only a review can confirm."""

    sub: str
    aud: str | list[str]
    exp: float

    @property
    def account(self) -> str | None:
        """The service account as ``namespace/name``."""
        return account_of(self.sub)

    @property
    def audiences(self) -> list[str]:
        """The audiences of the token."""
        return [self.aud] if isinstance(self.aud, str) else self.aud


_claims = msgspec.json.Decoder(Claims)


def read_claims(token: bytes) -> Claims | None:
    """Read a token's claims, unchecked; ``None`` if it is not a service account's token."""
    found = _JWT.fullmatch(token) if len(token) <= LONGEST_TOKEN else None
    if found is None:
        return None
    try:
        payload = base64.urlsafe_b64decode(found[1] + b"=" * (-len(found[1]) % 4))
        return _claims.decode(payload)
    except (binascii.Error, ValueError, RecursionError):
        return None


def account_of(username: str) -> str | None:
    """``namespace/name`` from a service account's user name; ``None`` if it is another user's.

    Example:
        >>> account_of("system:serviceaccount:orders:api"), account_of("system:admin")
        ('orders/api', None)
    """
    namespace, colon, name = username.removeprefix(_SUBJECT).partition(":")
    if not username.startswith(_SUBJECT) or not colon or not namespace or not name or ":" in name:
        return None
    return f"{namespace}/{name}"
