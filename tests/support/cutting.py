"""A TCP proxy in front of PostgreSQL that breaks connections in the middle of a commit."""

import asyncio
import contextlib
import struct
from enum import Enum
from types import TracebackType


class AtCommit(Enum):
    """What happens to the next COMMIT."""

    PASS = "pass"
    LOSE_ANSWER = "lose_answer"
    """The server commits; the client never hears of it."""
    LOSE_REQUEST = "lose_request"
    """The server never hears of it, and sees the connection end."""
    HOLD_REQUEST = "hold_request"
    """The client sees the connection end; the server sees nothing until :meth:`CuttingProxy.release`."""


_EXECUTE_AND_SYNC = b"E" + struct.pack("!ixi", 9, 0) + b"S" + struct.pack("!i", 4)


class CuttingProxy:
    """Listens on the loopback interface, and leads to a server's port.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self.port = 0
        self.at_commit = AtCommit.PASS
        self.lets_in = True
        self.cuts = 0
        self._held: list[tuple[asyncio.StreamWriter, bytes]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> "CuttingProxy":
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        for writer in self._writers:
            writer.close()
        await self._listener.wait_closed()

    def release(self, *, commit: bool) -> None:
        """Let the server see what was held: the commit, or only the end of the connection."""
        for writer, request in self._held:
            if commit:
                writer.write(request)
            writer.close()
        self._held.clear()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if not self.lets_in:
            to_client.close()
            return
        server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers += [to_client, to_server]
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await asyncio.gather(
                self._forward_requests(client, to_client, to_server),
                self._forward_answers(server, to_client, to_server),
            )

    async def _forward_requests(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter, to_server: asyncio.StreamWriter
    ) -> None:
        """Message by message: the frontend's messages are a type, a length that counts itself, and a body."""
        startup = await client.readexactly(4)
        to_server.write(startup + await client.readexactly(struct.unpack("!i", startup)[0] - 4))
        commits: set[bytes] = set()
        while True:
            try:
                head = await client.readexactly(5)
                body = await client.readexactly(struct.unpack("!i", head[1:])[0] - 4)
            except (asyncio.IncompleteReadError, ConnectionError):
                to_server.close()
                return
            name, _, rest = body.partition(b"\0")
            if head[:1] == b"P" and rest.startswith(b"COMMIT\0"):
                commits.add(name)
            is_commit = head[:1] == b"B" and rest.partition(b"\0")[0] in commits
            if is_commit and self.at_commit in (AtCommit.LOSE_REQUEST, AtCommit.HOLD_REQUEST):
                self._cut(to_client, to_server, head + body + _EXECUTE_AND_SYNC)
                return
            to_server.write(head + body)

    async def _forward_answers(
        self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter, to_server: asyncio.StreamWriter
    ) -> None:
        while answer := await server.read(65536):
            if self.at_commit is AtCommit.LOSE_ANSWER and b"COMMIT\0" in answer:
                self.at_commit = AtCommit.PASS
                self.cuts += 1
                to_client.close()
                to_server.close()
                return
            to_client.write(answer)
        to_client.close()

    def _cut(self, to_client: asyncio.StreamWriter, to_server: asyncio.StreamWriter, request: bytes) -> None:
        self.cuts += 1
        to_client.close()
        if self.at_commit is AtCommit.HOLD_REQUEST:
            self._held.append((to_server, request))
        else:
            to_server.close()
        self.at_commit = AtCommit.PASS
