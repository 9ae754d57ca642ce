"""Who calls a webhook: a client's key as bearer, as basic auth's password or in a header, or a signature of the body.

The user of basic auth may be anything; senders that know only basic auth must give one.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping

from relay.domain.clients import Client
from relay.domain.codes import Permission, ProblemCode, Source
from relay.domain.errors import Refusal, Unavailable
from relay.http.asgi import Head
from relay.http.auth import (
    LONGEST_CREDENTIALS,
    Gate,
    make_caller,
    not_permitted,
    require_permission,
    unauthenticated,
)
from relay.http.request import RelayRequest
from relay.sending.ports import Clock
from relay.sending.requests import Caller
from relay.webhooks.receivers import Receiver
from relay.webhooks.signatures import Signature

_BASIC = re.compile(rb"basic +([A-Za-z0-9+/_-]+={0,2})", re.IGNORECASE)

_DIGITS_OF_SMALL = range(1, 7)
"""Digits of the announced length of a body that anybody may send; without one it may be large."""


class WebhookAuthenticator:
    """Finds out who calls, and whether this receiver is theirs.

    Args:
        gate: knows the keys.
        clients: read at every request, so that a reload takes effect at once.
        clock: for the age of signatures.
    """

    def __init__(self, gate: Gate, clients: Callable[[], Mapping[str, Client]], clock: Clock) -> None:
        self._gate = gate
        self._clients = clients
        self._clock = clock
        self._large_bodies = asyncio.Semaphore()

    async def admit(
        self, request: RelayRequest, kind: Source, receiver: Receiver | None, read_body: Callable[[], Awaitable[bytes]]
    ) -> tuple[Caller, Receiver, bytes]:
        """Let a request in and read its body; without a good key, it is read only where it may be signed.

        Returns:
            Who calls, for which receiver, with what.

        Raises:
            Refusal: ``unauthenticated``; ``permission_missing``: another client's receiver, or no permission to send;
                ``not_found``: no such receiver, which is told only to who has a key.
        """
        head = request.head
        head.source = kind
        if receiver is not None:
            signature = receiver.signatures.get(kind)
            if signature is not None and signature.headers[0] in head.fields:
                return await self._admit_signed(request, receiver, signature, read_body)
        bearer = _password(head) if receiver is None else _password(head) or _key(head, receiver.key_header)
        caller = await self._gate.identify(head, kind, bearer)
        request.scope["user"] = caller
        require_permission(caller, Permission.SEND)
        if receiver is None:
            raise Refusal(ProblemCode.NOT_FOUND, "The relay's settings have no receiver of this name.")
        if receiver.client != caller.client.name:
            raise not_permitted("This receiver belongs to another client.")
        return caller, receiver, await read_body()

    async def _admit_signed(
        self, request: RelayRequest, receiver: Receiver, signature: Signature, read_body: Callable[[], Awaitable[bytes]]
    ) -> tuple[Caller, Receiver, bytes]:
        head = request.head
        body = await self._read_strangers(head, read_body)
        client = self._clients().get(receiver.client)
        if client is None or any(name in head.repeated for name in signature.headers):
            raise _badly_signed()
        if not signature.is_genuine(body, head.fields, self._clock.now_ms()):
            raise _badly_signed()
        caller = make_caller(client, head, head.source)
        request.scope["user"] = caller
        require_permission(caller, Permission.SEND)
        return caller, receiver, body

    async def _read_strangers(self, head: Head, read_body: Callable[[], Awaitable[bytes]]) -> bytes:
        """Read what somebody sends who is not known before it is read: a large body only while no other is."""
        if len(head.fields.get(b"content-length", b"")) in _DIGITS_OF_SMALL:
            return await read_body()
        if self._large_bodies.locked():
            raise Unavailable(ProblemCode.OVERLOADED, "Another large signed body is being read; send this one again.")
        async with self._large_bodies:
            return await read_body()


def _badly_signed() -> Refusal:
    return unauthenticated(
        "The signature, or its timestamp, is not valid for this body and receiver; compare the secrets."
    )


def _password(head: Head) -> bytes | None:
    """The password of basic auth, as the bearer that it stands for; ``None`` where there is none."""
    value = head.fields.get(b"authorization")
    if value is None or b"authorization" in head.repeated or len(value) > LONGEST_CREDENTIALS:
        return None
    basic = _BASIC.fullmatch(value)
    if basic is None:
        return None
    try:
        _, colon, password = base64.b64decode(basic[1], validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return b"Bearer " + password if colon else None


def _key(head: Head, name: bytes | None) -> bytes | None:
    """A key in a header of the sender's own, as the bearer that it stands for; ``None`` where there is none."""
    if name is None or name in head.repeated or b"authorization" in head.fields:
        return None
    value = head.fields.get(name)
    return None if value is None else b"Bearer " + value.strip().removeprefix(b"Bearer ").lstrip()
