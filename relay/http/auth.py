"""Who calls: API keys, and what their client may do.

A key reads ``rk_<id>_<secret>``. The settings hold its id and the hex SHA-256 of the whole key; the key itself is shown
once, when it is made, and is kept nowhere. Comparison is of digests, in constant time, also where the id is unknown.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from msgspec import Struct

from relay.domain.clients import Client
from relay.domain.codes import Permission, ProblemCode, Source
from relay.domain.errors import NotAllowed, Refusal
from relay.http.asgi import Head
from relay.sending.ports import Clock
from relay.sending.requests import Caller

LONGEST_CREDENTIALS = 512
"""Bytes of an ``Authorization`` header that is looked at; an honest one has about a quarter of that."""

SERVICE_ACCOUNT = "service-account"
"""Stands for the id of a key where a pod's token was shown."""

_CREDENTIALS = re.compile(rb"bearer +(rk_([A-Za-z0-9-]{1,32})_[!-~]+)", re.IGNORECASE)
_KEY_ID = re.compile(rb"bearer +rk_([A-Za-z0-9-]{1,32})_", re.IGNORECASE)
_TOKEN = re.compile(rb"bearer +((?!rk_)[A-Za-z0-9_.-]{16,8192})", re.IGNORECASE)
_NOBODYS_DIGEST = bytes(32)

_NOBODY = "Send a valid API key: Authorization: Bearer rk_<id>_<secret>. It may have expired or been replaced."
_NOBODY_KNOWN = (
    "Send a valid API key (Authorization: Bearer rk_<id>_<secret>), or a projected token of a service account that the "
    "settings bind to a client, made for the relay's audience. It may have expired or been replaced."
)


class KeyEntry(Struct, frozen=True):
    """One key of the settings. ``expires_at`` is milliseconds since 1970-01-01 UTC: from then on it is refused."""

    client: str
    key_id: str
    sha256: str
    expires_at: int | None = None


class KeyRing:
    """The keys of all clients, by id. Immutable: a reload of the settings makes another one.

    Args:
        entries: several may share an id; each is tried.
    """

    def __init__(self, entries: Iterable[KeyEntry]) -> None:
        self._keys: dict[bytes, tuple[tuple[bytes, KeyEntry], ...]] = {}
        for entry in entries:
            key_id = entry.key_id.encode("ascii")
            self._keys[key_id] = (*self._keys.get(key_id, ()), (bytes.fromhex(entry.sha256), entry))

    def name_client(self, authorization: bytes) -> str | None:
        """Give the name of the client whose key an ``Authorization`` header names. The key is not checked."""
        named = _KEY_ID.match(authorization)
        known_keys = self._keys.get(named[1]) if named is not None else None
        return None if known_keys is None else known_keys[0][1].client

    def find(self, authorization: bytes | None, now_ms: int) -> tuple[str, str] | None:
        """Give the client whose key an ``Authorization`` header holds, and the key's id, or ``None``.

        Args:
            authorization: the header's value as it came.
            now_ms: wall-clock milliseconds, for expiry.
        """
        if authorization is None or len(authorization) > LONGEST_CREDENTIALS:
            return None
        credentials = _CREDENTIALS.fullmatch(authorization)
        if credentials is None:
            return None
        key, key_id = credentials.groups()
        digest = hashlib.sha256(key).digest()
        known_keys = self._keys.get(key_id)
        if known_keys is None:
            hmac.compare_digest(digest, _NOBODYS_DIGEST)
            return None
        for known_digest, entry in known_keys:
            if hmac.compare_digest(digest, known_digest) and (entry.expires_at is None or now_ms < entry.expires_at):
                return entry.client, entry.key_id
        return None


def new_key() -> tuple[str, str, str]:
    """Make a key with 256 bits of chance.

    Returns:
        The key, its id, and the hex SHA-256 of the whole key for the settings.
    """
    key_id = secrets.token_hex(4)
    key = f"rk_{key_id}_{secrets.token_urlsafe(32)}"
    return key, key_id, hashlib.sha256(key.encode("ascii")).hexdigest()


class Tokens(Protocol):
    """Knows whose a bearer token is that is no key: a pod's, of a service account."""

    async def find_client(self, token: bytes) -> str | None:
        """Give the name of the client that the token stands for, or ``None``.

        Raises:
            Unavailable: nobody can say now.
        """
        ...


class Gate:
    """Knows callers by their keys.

    Args:
        keys, clients: read at every request, so that a reload takes effect at once.
        tokens: asked about a bearer token that is no key; without it there are only keys.
    """

    def __init__(
        self,
        keys: Callable[[], KeyRing],
        clients: Callable[[], Mapping[str, Client]],
        clock: Clock,
        tokens: Tokens | None = None,
    ) -> None:
        self._keys = keys
        self._clients = clients
        self._clock = clock
        self._tokens = tokens

    def name_client(self, authorization: bytes) -> Client | None:
        """Give the client whose key an ``Authorization`` header names, unchecked: enough to refuse, not to let in."""
        name = self._keys().name_client(authorization)
        return None if name is None else self._clients().get(name)

    async def identify(self, head: Head, source: Source, authorization: bytes | None = None) -> Caller:
        """Find out who calls.

        Args:
            head: of the request.
            source: the door that it came through.
            authorization: stands for the header, where what it holds was read otherwise.

        Raises:
            Refusal: ``unauthenticated``.
            Unavailable: it is a token that nobody can check now.
        """
        if authorization is None and b"authorization" not in head.repeated:
            authorization = head.fields.get(b"authorization")
        found = self._keys().find(authorization, self._clock.now_ms())
        if found is None and self._tokens is not None:
            token = _TOKEN.fullmatch(authorization or b"")
            name = await self._tokens.find_client(token[1]) if token is not None else None
            found = (name, SERVICE_ACCOUNT) if name is not None else None
        client = self._clients().get(found[0]) if found is not None else None
        if found is None or client is None:
            raise unauthenticated(_NOBODY if self._tokens is None else _NOBODY_KNOWN)
        return make_caller(client, head, source, found[1])


def make_caller(client: Client, head: Head, source: Source, key: str | None = None) -> Caller:
    """Say who calls, once that is known; the trace is the one that the request belongs to."""
    return Caller(client=client, source=source, request_id=head.request_id, traceparent=head.traceparent, key=key)


_OPERATORS_TOO = (Permission.USAGE, Permission.SUPPRESS)
"""What an operator may do for everybody."""


def require_permission(caller: Caller, permission: Permission) -> None:
    """Refuse who may not do this.

    Raises:
        NotAllowed: ``permission_missing``.
    """
    has = caller.client.permissions
    if permission not in has and not (permission in _OPERATORS_TOO and Permission.OPERATE in has):
        raise not_permitted(f"This client's settings do not give it the permission {permission.value}.")


def unauthenticated(detail: str) -> Refusal:
    """The refusal of who is nobody."""
    return Refusal(ProblemCode.UNAUTHENTICATED, detail)


def not_permitted(detail: str) -> NotAllowed:
    """The refusal of somebody who may not do this at all."""
    return NotAllowed(ProblemCode.PERMISSION_MISSING, detail)
