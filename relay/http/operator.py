"""``/v1/operator/…``: what the operator's commands do, through the server, with the permission ``operate``."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from relay.domain.codes import Permission, Source
from relay.domain.errors import ValidationFailed
from relay.domain.notification import Stored
from relay.http.answers import PRIVATE, build_notification, location
from relay.http.auth import Gate
from relay.http.bodies import read_json
from relay.http.exchange import Exchange, Reply, Route
from relay.http.listing import DEFAULT_LIMIT, encode_page, parse_cursor, parse_limit, read_query
from relay.http.notifications import read_id
from relay.http.schemas import EraseRequest, ResendRequest, ResolveRequest, decode
from relay.sending.requests import Operations

S = TypeVar("S", bound=Struct)

PARAMETERS: dict[str, Callable[[str], Any]] = {"limit": parse_limit, "cursor": parse_cursor}


class PausedBody(Struct, frozen=True):
    """Whether sending is stopped, on all replicas, from their next look."""

    paused: bool


class ErasedBody(Struct, frozen=True):
    """From how many notifications the number was erased."""

    notifications: int


class OperatorPages:
    """The operator's endpoints."""

    def __init__(self, gate: Gate, operations: Operations) -> None:
        self._gate = gate
        self._operations = operations

    def routes(self) -> list[Route]:
        """What is served here."""
        return [
            Route("POST", "/v1/operator/pause", self.pause),
            Route("POST", "/v1/operator/resume", self.resume),
            Route("GET", "/v1/operator/unknown", self.list_unknown),
            Route("POST", "/v1/operator/unknown/{id}/resolve", self.resolve),
            Route("POST", "/v1/operator/unknown/{id}/resend", self.resend),
            Route("POST", "/v1/operator/erase", self.erase),
        ]

    async def pause(self, exchange: Exchange) -> Reply:
        """Stop all sending."""
        return await self._set_paused(exchange, paused=True)

    async def resume(self, exchange: Exchange) -> Reply:
        """Start sending again."""
        return await self._set_paused(exchange, paused=False)

    async def _set_paused(self, exchange: Exchange, *, paused: bool) -> Reply:
        caller = await self._gate.admit(exchange, Permission.OPERATE, Source.OPERATOR)
        exchange.stage = None
        await self._operations.set_paused(paused, caller.client.name)
        return Reply(200, msgspec.json.encode(PausedBody(paused)))

    async def list_unknown(self, exchange: Exchange) -> Reply:
        """Notifications with recipients whose outcome nobody knows, newest first, of all clients."""
        await self._gate.admit(exchange, Permission.OPERATE, Source.OPERATOR)
        values = read_query(exchange.query, PARAMETERS)
        limit: int = values.get("limit", DEFAULT_LIMIT)
        exchange.stage = None
        found = await self._operations.list_unknown(limit + 1, values.get("cursor"))
        page = [call.stored for call in found[:limit]]
        bodies = (build_notification(stored, with_client=True) for stored in page)
        body = await encode_page(bodies, page[-1] if len(found) > limit else None)
        return Reply(200, body, headers=(PRIVATE,))

    async def resolve(self, exchange: Exchange) -> Reply:
        """Settle unknown recipients as sent or not sent."""
        caller = await self._gate.admit(exchange, Permission.OPERATE, Source.OPERATOR)
        notification_id = read_id(exchange)
        request = await self._read(exchange, ResolveRequest)
        exchange.stage = None
        stored = await self._operations.resolve(
            notification_id,
            sent=request.outcome == "sent",
            recipients=request.recipients,
            actor=caller.client.name,
        )
        return _notification(200, stored)

    async def resend(self, exchange: Exchange) -> Reply:
        """Send once more to the unknown recipients, as a notification of its own."""
        caller = await self._gate.admit(exchange, Permission.OPERATE, Source.OPERATOR)
        notification_id = read_id(exchange)
        request = await self._read(exchange, ResendRequest)
        exchange.stage = None
        answer = await self._operations.resend(notification_id, message=request.message, caller=caller)
        reply = _notification(202, answer.stored)
        return replace(reply, headers=(*reply.headers, location(answer.stored)))

    async def erase(self, exchange: Exchange) -> Reply:
        """Erase a number from every finished notification."""
        caller = await self._gate.admit(exchange, Permission.OPERATE, Source.OPERATOR)
        request = await self._read(exchange, EraseRequest)
        exchange.stage = None
        try:
            count = await self._operations.erase_recipient(request.recipient, caller.client.name)
        except ValidationFailed as refusal:
            errors = [replace(error, field="recipient") for error in refusal.errors]
            raise ValidationFailed(errors, code=refusal.code) from None
        return Reply(200, msgspec.json.encode(ErasedBody(count)))

    async def _read(self, exchange: Exchange, kind: type[S]) -> S:
        return decode(await read_json(exchange), kind)


def _notification(status: int, stored: Stored) -> Reply:
    return Reply(status, msgspec.json.encode(build_notification(stored, with_client=True)), headers=(PRIVATE,))
