"""A request as handlers see it: litestar's own, with our rules for bodies.

litestar's ``body()`` and ``json()`` ignore the media type, answer invalid UTF-8 and deep nesting with 500, take ``"4"``
for 4, stop at the first error, and repeat names that the caller made up (pitfalls B2). Everything else is litestar's.
"""

import asyncio
from pathlib import PurePath
from typing import Any, cast

from litestar import Request
from litestar.datastructures import State

from relay.domain.clients import Client
from relay.domain.codes import ProblemCode
from relay.domain.errors import LimitReached, Overloaded, Refusal
from relay.http.asgi import Head, Receive, head_of
from relay.http.bodies import BODY_BYTES, check_media_type, check_nesting, read_body
from relay.http.headers import NO_PREFERENCES, Preferences, parse_preferences
from relay.http.schemas import decode, decode_anything
from relay.sending.events import Events, Refused, TaskFailed
from relay.sending.requests import Caller, Sending

ABOUT_THE_CALLER = frozenset({ProblemCode.UNAUTHENTICATED, ProblemCode.PERMISSION_MISSING})
"""Refusals of who asks, not of what is asked: they count under ``auth``, wherever they were found."""

UNMATCHED = "unmatched"
"""The route label of a request for a path that the relay does not have."""


def route_label(scope: Any) -> str:
    """What a request counts under: the template of its path, or what its handler says instead."""
    handler = scope.get("route_handler")
    return UNMATCHED if handler is None else str(handler.opt.get("route", scope["path_template"]))


def report_refusal(events: Events, scope: Any, refusal: Refusal) -> None:
    """Say that something is refused. Done once for each refusal, where it is turned into an answer."""
    caller: Caller | None = scope.get("user")
    events.emit(
        Refused(
            stage="auth" if refusal.code in ABOUT_THE_CALLER else refusal.stage,
            code=refusal.code,
            client=None if caller is None else caller.client.name,
            source=head_of(scope).source,
            limit=refusal.policy if isinstance(refusal, LimitReached) else None,
            shed=refusal.reason if isinstance(refusal, Overloaded) else None,
        )
    )


def report_bug(events: Events, scope: Any, bug: Exception) -> None:
    """Say that there is a bug, and where; never its text, which may hold anything."""
    events.emit(TaskFailed(task=f"http {route_label(scope)}", exception=f"{type(bug).__name__} at {_find_place(bug)}"))


def _find_place(bug: Exception) -> str:
    """The innermost line that raised, as ``module.py:12``."""
    trace = bug.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "nowhere"
    return f"{PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


class RelayRequest(Request[Caller, Any, State]):
    """One request. ``user`` is who calls, where the handler's ``opt`` asks for a permission."""

    __slots__ = ("_whole",)

    def __init__(self, scope: Any, receive: Any = None, send: Any = None) -> None:
        super().__init__(scope, receive, send)
        self._whole: bytes | None = None

    @property
    def head(self) -> Head:
        """The request's head."""
        return head_of(self.scope)

    @property
    def preferences(self) -> Preferences:
        """What ``Prefer`` asks for."""
        head = self.head
        return parse_preferences(head.all_values(b"prefer")) if b"prefer" in head.fields else NO_PREFERENCES

    def report(self, refusal: Refusal) -> None:
        """Say that a part of what this request asks for is refused; of the whole, the exception handlers say so."""
        report_refusal(self.app.state.events, self.scope, refusal)

    async def read(self) -> bytes:
        """Read the body as it comes, up to the ``body_bytes`` of the handler's ``opt`` (1 MiB).

        Raises:
            Refusal: ``body_too_large``, ``unsupported_media_type`` (compressed), ``bad_request``.
        """
        limit = self.route_handler.opt.get("body_bytes", BODY_BYTES)
        return await read_body(self.head, cast("Receive", self.receive), limit)

    async def body(self) -> bytes:
        """Read a body that must be JSON; litestar asks for it once more when it has it.

        Raises:
            Refusal: as :meth:`read`; ``unsupported_media_type``, ``invalid_json`` (nothing, or nested too deeply).
        """
        if self._whole is None:
            check_media_type(self.head)
            self._whole = await self.read()
            check_nesting(self._whole)
            if not self._whole:
                decode_anything(self._whole)
        return self._whole

    async def json(self) -> Any:
        """Decode the body as what the handler's ``data`` is.

        Raises:
            Refusal: as :meth:`body`; ``invalid_json``, or ``validation_failed`` with every error at once.
        """
        kind = self.route_handler.parsed_fn_signature.parameters["data"].annotation
        return decode(await self.body(), kind)


async def hold_back(sending: Sending, client: Client) -> None:
    """Wait before a client is told that there is no place, where it asks again and again without waiting."""
    seconds = sending.count_refusal(client)
    if seconds:
        await asyncio.sleep(seconds)
