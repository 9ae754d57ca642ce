"""The live feed of the inbox page: server-sent events, never more of them than the page can draw.

Owns the stream's form. A reader that falls behind misses the oldest entries, not the newest, and nothing piles up.

Source: WHATWG HTML, 9.2 (server-sent events).
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from typing import Any

import msgspec

from relay.sandbox.pages import GUARDS, InboxPages
from relay.sandbox.responder import Responder

MOST_ENTRIES = 200
"""Most entries in one event; the page shows no more at once."""

_QUIET_SECONDS = 15.0
"""After this long without an event, a comment shows that the stream is alive."""

_BREATH_SECONDS = 0.1
"""Changes within this time are sent together."""


def _head() -> bytes:
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in GUARDS]
    return "\r\n".join([*lines, "", ""]).encode()


def _event(name: str, content: object) -> bytes:
    return b"event: %b\ndata: %b\n" % (name.encode(), msgspec.json.encode(content))


class Feed:
    """One page's stream.

    Args:
        last_id: the page's ``Last-Event-ID`` when it reconnects; may be anything.
    """

    def __init__(self, responder: Responder, pages: InboxPages, last_id: str) -> None:
        self._ledger = responder.ledger
        self._pages = pages
        self._started = str(responder.started_ms)
        self._position = self._find_position(last_id)
        self._news = asyncio.Event()

    async def run(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Send events until the page disconnects."""
        gone = asyncio.ensure_future(reader.read(1))
        self._ledger.listeners.add(self._news.set)
        try:
            writer.write(_head() + b"retry: 1000\n\n")
            while not gone.done():
                writer.write(self._collect())
                await writer.drain()
                await self._wait(gone, writer)
        finally:
            self._ledger.listeners.discard(self._news.set)
            gone.cancel()

    def _collect(self) -> bytes:
        """The state, then the new entries: possibly none, which tells the page that it has them all."""
        self._news.clear()
        first = max(self._position, self._ledger.total - MOST_ENTRIES)
        self._position = self._ledger.total
        events = _event("state", self._pages.state()) + b"\n" + _event("entries", self._ledger.since(first))
        return events + f"id: {self._started}-{self._position}\n\n".encode()

    def _find_position(self, last_id: str) -> int:
        """The number of the last entry that the page has; 0 if its id is from before a restart."""
        started, _, number = last_id.partition("-")
        if started != self._started or not (number.isascii() and number.isdigit()):
            return 0
        return min(int(number[:18]), self._ledger.total)

    async def _wait(self, gone: "asyncio.Future[bytes]", writer: StreamWriter) -> None:
        while True:
            news = asyncio.ensure_future(self._news.wait())
            waiting: set[asyncio.Future[Any]] = {gone, news}
            await asyncio.wait(waiting, timeout=_QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            if gone.done():
                return
            if self._news.is_set():
                await asyncio.sleep(_BREATH_SECONDS)
                return
            writer.write(b": quiet\n\n")
            await writer.drain()
