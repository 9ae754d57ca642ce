"""Who calls a webhook: a client's key as bearer or as basic auth's password, or Grafana's signature over the body.

The user of basic auth may be anything; senders that know only basic auth must give one.
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping

from relay.domain.clients import Client
from relay.domain.codes import Permission, ProblemCode, Source
from relay.domain.errors import NotAllowed, Refusal
from relay.http.auth import LONGEST_CREDENTIALS, Gate
from relay.http.exchange import Exchange
from relay.http.headers import parse_traceparent
from relay.sending.ports import Clock
from relay.sending.requests import Caller
from relay.webhooks.grafana import SIGNATURE, TIMESTAMP, is_signed
from relay.webhooks.receivers import Receiver

_BASIC = re.compile(rb"basic +([A-Za-z0-9+/_-]+={0,2})", re.IGNORECASE)

ReadBody = Callable[[Exchange], Awaitable[bytes]]


class Doorman:
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

    async def admit(
        self, exchange: Exchange, kind: Source, receiver: Receiver | None, read_body: ReadBody
    ) -> tuple[Caller, Receiver, bytes]:
        """Let a request in and read its body; without a good key, it is read only where it may be signed.

        Returns:
            Who calls, for which receiver, with what.

        Raises:
            Refusal: ``unauthenticated``; ``permission_missing``: another client's receiver, or no permission to send;
                ``not_found``: no such receiver, which is told only to who has a key.
        """
        if self._may_be_signed(exchange, kind, receiver) and receiver is not None:
            return await self._admit_signed(exchange, kind, receiver, read_body)
        _take_basic_for_bearer(exchange)
        caller = await self._gate.admit(exchange, Permission.SEND, kind)
        if receiver is None:
            raise Refusal(ProblemCode.NOT_FOUND, "The relay's settings have no receiver of this name.")
        if receiver.client != caller.client.name:
            exchange.stage = "auth"
            raise NotAllowed(ProblemCode.PERMISSION_MISSING, "This receiver belongs to another client.")
        return caller, receiver, await read_body(exchange)

    def _may_be_signed(self, exchange: Exchange, kind: Source, receiver: Receiver | None) -> bool:
        known = receiver is not None and receiver.hmac_secret is not None
        return known and kind is Source.GRAFANA and SIGNATURE in exchange.headers

    async def _admit_signed(
        self, exchange: Exchange, kind: Source, receiver: Receiver, read_body: ReadBody
    ) -> tuple[Caller, Receiver, bytes]:
        exchange.source = kind
        exchange.stage = "auth"
        body = await read_body(exchange)
        client = self._clients().get(receiver.client)
        secret = receiver.hmac_secret
        headers = exchange.headers
        if client is None or secret is None or SIGNATURE in exchange.repeated or TIMESTAMP in exchange.repeated:
            raise _badly_signed()
        now_ms = self._clock.now_ms()
        if not is_signed(body, headers[SIGNATURE], headers.get(TIMESTAMP), secret.reveal(), now_ms):
            raise _badly_signed()
        exchange.client = client.name
        if Permission.SEND not in client.permissions:
            detail = f"This client's settings do not give it the permission {Permission.SEND.value}."
            raise NotAllowed(ProblemCode.PERMISSION_MISSING, detail)
        exchange.stage = "edge"
        caller = Caller(
            client=client,
            source=kind,
            request_id=exchange.request_id,
            traceparent=parse_traceparent(headers.get(b"traceparent")),
        )
        return caller, receiver, body


def _badly_signed() -> Refusal:
    detail = "The signature, or its timestamp, is not valid for this body and receiver; compare the HMAC secrets."
    return Refusal(ProblemCode.UNAUTHENTICATED, detail)


def _take_basic_for_bearer(exchange: Exchange) -> None:
    """Put the password of basic auth where a key is looked for; what is none is left as it is."""
    value = exchange.headers.get(b"authorization")
    if value is None or len(value) > LONGEST_CREDENTIALS or (basic := _BASIC.fullmatch(value)) is None:
        return
    try:
        _, colon, password = base64.b64decode(basic[1], validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return
    if colon:
        exchange.headers[b"authorization"] = b"Bearer " + password
