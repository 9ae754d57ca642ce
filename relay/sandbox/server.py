"""The stand-in on a socket: a small HTTP/1.1 server that can also go wrong on purpose.

Owns connections. A request enters the ledger only when it has arrived in full; what goes wrong goes wrong after that.
"""

import asyncio
import contextlib
import signal
import socket
import struct
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from ipaddress import ip_address

import h11
from msgspec import Struct

from relay.sandbox.dialect import API_PREFIX
from relay.sandbox.faults import plan
from relay.sandbox.live_feed import Feed
from relay.sandbox.pages import EVENTS_PATH, GUARDS, InboxPages, PageRequest
from relay.sandbox.responder import Responder
from relay.sandbox.switches import SandboxConfig
from relay.sandbox.wire import Drip, Ending, Pause, SandboxReply, Send, Step, Wire

__all__ = ["RunningSandbox", "SandboxConfig", "run_sandbox", "start_sandbox"]

_BODY_LIMIT = 1 << 16
_BACKLOG = 1024
_READ_SIZE = 1 << 16


class _Received(Struct, frozen=True):
    """One request that arrived in full."""

    method: str
    path: str
    query: bytes
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


class _Connection:
    """One caller's connection: requests one after the other."""

    def __init__(self, reader: StreamReader, writer: StreamWriter, responder: Responder, pages: InboxPages) -> None:
        self._reader = reader
        self._writer = writer
        self._responder = responder
        self._pages = pages
        self._surplus = b""

    async def serve(self) -> None:
        """Answer until either side ends the connection."""
        with contextlib.suppress(OSError):  # the caller is gone
            try:
                while (request := await self._receive()) is not None:
                    if not await self._answer(request):
                        return
            except h11.RemoteProtocolError as failure:
                await self._play(plan(SandboxReply(status=failure.error_status_hint), keep_alive=False))

    async def _receive(self) -> _Received | None:
        """Read one request to its end; ``None`` where the caller left."""
        parser = h11.Connection(h11.SERVER)
        if self._surplus:
            parser.receive_data(self._surplus)
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(await self._reader.read(_READ_SIZE))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > _BODY_LIMIT:
                    raise h11.RemoteProtocolError("body too large", error_status_hint=413)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                self._surplus = parser.trailing_data[0]
                return _read(request, bytes(body))
            else:
                return None

    async def _answer(self, request: _Received) -> bool:
        """Answer one request; whether another may follow."""
        if request.path.startswith(API_PREFIX):
            reply = self._responder.answer(request.path, request.query, method=request.method)
            # A page that answers HEAD has a body that nobody expects: nothing may follow it.
            stays = request.keep_alive and request.method == "GET"
            return await self._play(plan(reply, keep_alive=stays))
        if request.path == EVENTS_PATH and request.method == "GET" and self._pages.allows(request.headers["host"]):
            last_id = request.headers.get("last-event-id", "")
            await Feed(self._responder, self._pages, last_id).run(self._reader, self._writer)
            return False
        asked = PageRequest(request.method, request.path, request.query, request.headers, request.body)
        answer = self._pages.answer(asked)
        headers = (("Content-Type", answer.content_type), *GUARDS)
        reply = SandboxReply(status=answer.status, headers=headers, body=answer.body)
        return await self._play(plan(reply, keep_alive=request.keep_alive))

    async def _play(self, wire: Wire) -> bool:
        """Play the steps of an answer; whether the connection stays."""
        for step in wire.steps:
            await self._step(step)
        match wire.ending:
            case Ending.KEEP:
                return True
            case Ending.HANG:
                while await self._reader.read(_READ_SIZE):
                    pass
            case Ending.RESET:
                reset = struct.pack("ii", 1, 0)
                self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                self._writer.transport.abort()
            case Ending.CLOSE:
                pass
        return False

    async def _step(self, step: Step) -> None:
        match step:
            case Send(data, times):
                for _ in range(times):
                    self._writer.write(data)
                    await self._writer.drain()
            case Drip(data, seconds):
                for position in range(len(data)):
                    self._writer.write(data[position : position + 1])
                    await self._writer.drain()
                    await asyncio.sleep(seconds)
            case Pause(seconds):
                await asyncio.sleep(seconds)


def _read(request: h11.Request, body: bytes) -> _Received:
    target = request.target
    if not target.startswith(b"/"):  # the absolute form, which callers send through a proxy (RFC 9112, 3.2.2)
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    path, _, query = target.partition(b"?")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
    stays = headers.get("connection", "").lower() != "close" and request.http_version == b"1.1"
    headers.setdefault("host", "")  # HTTP/1.0 may leave it out
    return _Received(request.method.decode("latin-1"), path.decode("latin-1"), query, headers, body, stays)


class RunningSandbox:
    """A stand-in that listens. ``responder`` has its ledger, switches and units."""

    def __init__(self, config: SandboxConfig, responder: Responder) -> None:
        self.responder = responder
        self._pages = InboxPages(responder, loopback_only=_is_loopback(config.host))
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.host = config.host
        self.port = config.port

    @property
    def base_url(self) -> str:
        """Its base URL, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def open(self) -> None:
        """Start listening.

        Raises:
            OSError: the address is in use or not ours.
        """
        self._server = await asyncio.start_server(self._accept, self.host, self.port, backlog=_BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop all connections, hanging answers included. May be called twice."""
        if self._server is not None:
            server, self._server = self._server, None
            # asyncio (3.11) forgets a connection that it accepts in the same loop iteration in which the server
            # closes, and leaves it open. So first stop accepting, then let the last connections be handled.
            with contextlib.suppress(NotImplementedError):  # Windows
                for listener in server.sockets:
                    asyncio.get_running_loop().remove_reader(listener.fileno())
            await asyncio.sleep(0)
            server.close()
        connections = tuple(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._server is None:  # it came while the server closed
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await _Connection(reader, writer, self.responder, self._pages).serve()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            writer.close()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def start_sandbox(config: SandboxConfig) -> RunningSandbox:
    """Start a stand-in on the running loop.

    Raises:
        OSError: the address is in use or not ours.
    """
    sandbox = RunningSandbox(config, Responder(config, _now_ms))
    await sandbox.open()
    return sandbox


def run_sandbox(config: SandboxConfig, on_started: Callable[[str], None]) -> None:
    """Run a stand-in until SIGINT or SIGTERM.

    Args:
        on_started: called with its base URL as soon as it listens.

    Raises:
        OSError: the address is in use or not ours.
    """
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(config, on_started))


async def _run(config: SandboxConfig, on_started: Callable[[str], None]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: there asyncio.run ends on Ctrl-C by itself
            loop.add_signal_handler(number, stopped.set)
    sandbox = await start_sandbox(config)
    on_started(sandbox.base_url)
    try:
        await stopped.wait()
    finally:
        await sandbox.close()
