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
from relay.http.exchange import Exchange
from relay.http.headers import parse_traceparent
from relay.sending.ports import Clock
from relay.sending.requests import Caller

LONGEST_CREDENTIALS = 512
"""Bytes of an ``Authorization`` header that is looked at; an honest one has about a quarter of that."""

_CREDENTIALS = re.compile(rb"bearer +(rk_([A-Za-z0-9-]{1,32})_[!-~]+)", re.IGNORECASE)
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


class _Known(Struct, frozen=True):
    digest: bytes
    client: str
    expires_at: int | None


class KeyRing:
    """The keys of all clients, by id. Immutable: a reload of the settings makes another one.

    Args:
        entries: several may share an id; each is tried.
    """

    def __init__(self, entries: Iterable[KeyEntry]) -> None:
        self._keys: dict[bytes, tuple[_Known, ...]] = {}
        for entry in entries:
            key_id = entry.key_id.encode("ascii")
            known = _Known(bytes.fromhex(entry.sha256), entry.client, entry.expires_at)
            self._keys[key_id] = (*self._keys.get(key_id, ()), known)

    def find_client(self, authorization: bytes | None, now_ms: int) -> str | None:
        """Give the name of the client whose key an ``Authorization`` header holds, or ``None``.

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
        for known in known_keys:
            if hmac.compare_digest(digest, known.digest) and (known.expires_at is None or now_ms < known.expires_at):
                return known.client
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
    """Lets a request in: a valid key, of a known client, that may do this.

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

    async def admit(self, exchange: Exchange, permission: Permission, source: Source = Source.API) -> Caller:
        """Find out who calls, before anything else of the request is read.

        Raises:
            Refusal: ``unauthenticated``, ``permission_missing``.
            Unavailable: it is a token that nobody can check now.
        """
        exchange.source = source
        exchange.stage = "auth"
        client = self._find_by_key(exchange) or await self._find_by_token(exchange)
        if client is None:
            raise Refusal(ProblemCode.UNAUTHENTICATED, _NOBODY if self._tokens is None else _NOBODY_KNOWN)
        exchange.client = client.name
        if permission not in client.permissions:
            detail = f"This client's settings do not give it the permission {permission.value}."
            raise NotAllowed(ProblemCode.PERMISSION_MISSING, detail)
        exchange.stage = "edge"
        return Caller(
            client=client,
            source=source,
            request_id=exchange.request_id,
            traceparent=parse_traceparent(exchange.headers.get(b"traceparent")),
        )

    def _find_by_key(self, exchange: Exchange) -> Client | None:
        if b"authorization" in exchange.repeated:
            return None
        name = self._keys().find_client(exchange.headers.get(b"authorization"), self._clock.now_ms())
        return self._clients().get(name) if name is not None else None

    async def _find_by_token(self, exchange: Exchange) -> Client | None:
        if self._tokens is None or b"authorization" in exchange.repeated:
            return None
        credentials = _TOKEN.fullmatch(exchange.headers.get(b"authorization", b""))
        name = await self._tokens.find_client(credentials[1]) if credentials is not None else None
        return self._clients().get(name) if name is not None else None
