"""At most a few requests begin in one turn of the event loop, but single sends, which begin at once.

A hundred that ask for the balance at the same moment take twenty milliseconds together, and a code that came last
would wait for all of them. Begun a few at a time, they leave every step of a send a place in between.
"""

import asyncio
from collections import deque

from relay.http.asgi import AsgiApplication, Receive, Scope, Send
from relay.http.notifications import SEND_PATH

BEGUN_A_TURN = 4
"""About a millisecond."""

_PACED = "/v1/"
"""What is under it; probes and metrics begin at once, too."""


class Pacing:
    """An ASGI application around another."""

    def __init__(self, inner: AsgiApplication) -> None:
        self._inner = inner
        self._begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._ticking = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, in its turn."""
        if (
            scope["type"] == "http"
            and scope["path"].startswith(_PACED)
            and (scope["method"] != "POST" or scope["path"] != SEND_PATH)
        ):
            await self._wait()
        await self._inner(scope, receive, send)

    async def _wait(self) -> None:
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_soon(self._next_turn)
        if self._begun < BEGUN_A_TURN:
            self._begun += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _next_turn(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < BEGUN_A_TURN:
            turn = self._waiting.popleft()
            if not turn.done():  # whoever waited was cancelled
                turn.set_result(None)
                self._begun += 1
        self._ticking = self._begun > 0
        if self._ticking:
            asyncio.get_running_loop().call_soon(self._next_turn)
