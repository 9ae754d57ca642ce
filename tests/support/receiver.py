"""A callback's receiver over real sockets: it keeps what came and answers as a test says. In the test's own loop."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Received:
    """One request, as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class CallbackReceiver:
    """A server on the loopback interface.

    Attributes:
        answers: whole responses, one a request; the last one is repeated.
        behave: what is done after a request was read instead of answering.
        requests: what came.
        connections: how many were made, whatever came over them.
    """

    answers: list[bytes] = field(default_factory=lambda: [answer(204)])
    behave: Behave | None = None
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        self.connections += 1
        try:
            self.requests.append(await _read(reader))
            self.arrived.set()
            if self.behave is not None:
                await self.behave(reader, writer)
                return
            writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


def answer(status: int, headers: str = "", body: bytes = b"") -> bytes:
    """A whole response."""
    length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status} X\r\n{headers}{length}Connection: close\r\n\r\n".encode() + body


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    return Received(line, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


@asynccontextmanager
async def running_receiver(
    receiver: CallbackReceiver | None = None,
    tls: ssl.SSLContext | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[CallbackReceiver]:
    """A receiver that listens, ended afterwards with every connection that is left."""
    receiver = receiver if receiver is not None else CallbackReceiver()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(receiver.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, host, port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
