"""Admits requests before their body is read: checks key, permission, parameters, and the headers that steer a send.
Only of a heavy request the body is read here, so that one that is slow to come holds up nobody else.

A handler says in its ``opt`` what it needs. A guard would cost 16 µs per request (litestar copies the handler for
each), and a sync one runs in a thread; a middleware costs 2 to 4 (measured).
"""

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import (
    ASGIApp,
    HTTPReceiveMessage,
    HTTPRequestEvent,
    Message,
    Receive,
    Scope,
    Send,
    WebSocketReceiveMessage,
)

from relay.domain.codes import Source
from relay.http.asgi import Head, head_of
from relay.http.asgi import Receive as AsgiReceive
from relay.http.auth import Gate, require_permission
from relay.http.bodies import BODY_BYTES, check_media_type, read_body
from relay.http.headers import parse_idempotency_key
from relay.http.parameters import parameters_of
from relay.http.validation import read_query
from relay.sending.requests import HeavyPlace, Sending

_WITH_BODY = ("POST", "PATCH")


class AdmissionMiddleware(ASGIMiddleware):
    """Admits a request to a handler whose ``opt`` has a ``permission``.

    ``opt`` may also have a ``source`` (the door, for the counters), and ``idempotency_key`` where one is read.
    ``own_admission``: the handler finds out by itself who calls, and whether they may. ``heavy``: it is one of the
    requests of which a client makes one at a time; its ``body_bytes`` are the limit of its body, and ``ndjson`` says
    that it takes lines too.

    Args:
        sending: knows who makes a heavy request now.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, gate: Gate, sending: Sending) -> None:
        self._gate = gate
        self._sending = sending

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Raise a ``Refusal``, or call the handler."""
        opt = scope["route_handler"].opt
        permission = opt.get("permission")
        if permission is not None:
            head = head_of(scope)
            if "own_admission" not in opt:
                head.source = opt.get("source", Source.API)
                scope["user"] = caller = await self._gate.identify(head, head.source)
                require_permission(caller, permission)
            parameters = parameters_of(scope["route_handler"])
            for name, field in parameters.path.items():
                if field.check is not None:
                    field.check(scope["path_params"][name])
            if parameters.query:
                # Handed on as it was understood, so that litestar cannot understand it otherwise.
                scope["query_string"] = urlencode(read_query(scope["query_string"], parameters.query)).encode("ascii")
            if "idempotency_key" in opt:
                head.idempotency_key = parse_idempotency_key(head.all_values(b"idempotency-key"))
            if "heavy" in opt:
                async with self._sending.heavy(scope["user"]) as place:
                    if scope.get("method") in _WITH_BODY:
                        receive = await _read_ahead(head, receive, opt)
                    await place.begin()
                    await next_app(scope, receive, _give_up_at_answer(place, send))
                return
        await next_app(scope, receive, send)


def _give_up_at_answer(place: HeavyPlace, send: Send) -> Send:
    """A ``send`` that gives the place up as the answer begins: who reads it slowly holds up nobody else."""

    async def send_on(message: Message) -> None:
        place.end()
        await send(message)

    return send_on


async def _read_ahead(head: Head, receive: Receive, opt: Mapping[str, Any]) -> Receive:
    """Read a body; what is given instead of ``receive`` gives it once more."""
    check_media_type(head, ndjson="ndjson" in opt)
    body = await read_body(head, cast("AsgiReceive", receive), opt.get("body_bytes", BODY_BYTES))
    whole: list[HTTPRequestEvent] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> HTTPReceiveMessage | WebSocketReceiveMessage:
        return whole.pop() if whole else await receive()

    return receive_again
