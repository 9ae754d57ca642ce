"""A raw TCP or TLS server that misbehaves as a test says, and remembers every request that arrived in full.

One thread a connection runs a script: a function that is handed the connection and does to it what it likes. The ledger
is the oracle: what is not in it was not received, whatever a client believes.
"""

import selectors
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from support.waiting import PATIENCE_SECONDS

BODY = "TG00-MESSAGE PROCESSED:0000|2348012345678|9967534522177818556581618|SENT|MESSAGE SENT TO PROVIDER"
"""An answer that says "sent": whoever believes it after a fault has failed the probe."""

HTML = "text/html; charset=UTF-8"
"""What smsclone calls its plain text."""

_PIECE = 65_536


class Gone(Exception):
    """The client left, or the test is over."""


class Peer:
    """One accepted connection, as a script sees it."""

    def __init__(self, server: "FaultServer", connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self._buffered = b""

    def receive(self) -> bytes:
        """Read one request in full and put it into the ledger.

        Raises:
            Gone: the client left before it was complete.
        """
        while b"\r\n\r\n" not in self._buffered:
            piece = self._connection.recv(_PIECE)
            if not piece:
                raise Gone
            self._buffered += piece
        head, _, self._buffered = self._buffered.partition(b"\r\n\r\n")
        self._server.enter(head)
        return head

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._connection.sendall(data)

    def drip(self, data: bytes, seconds: float) -> None:
        """Send it byte by byte, with a pause after each."""
        for position in range(len(data)):
            self.send(data[position : position + 1])
            self.pause(seconds)

    def pause(self, seconds: float) -> None:
        """Do nothing for a while.

        Raises:
            Gone: the test is over.
        """
        if self._server.closing.wait(seconds):
            raise Gone

    def hang(self) -> None:
        """Do nothing until the client leaves or the test is over."""
        self._connection.settimeout(0.05)
        while not self._server.closing.is_set():
            with suppress(TimeoutError):
                if not self._connection.recv(_PIECE):
                    return

    def end(self) -> None:
        """Close in order, without TLS's own goodbye."""
        self._connection.close()

    def reset(self) -> None:
        """Close with a reset."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def pump(self, host: str, port: int) -> None:
        """Pass bytes to and fro, as a proxy does, until either side ends."""
        with socket.create_connection((host, port)) as onward:
            there = threading.Thread(target=_copy, args=(self._connection, onward), daemon=True)
            there.start()
            _copy(onward, self._connection)
            there.join(timeout=5)

    def pump_in(self, host: str, port: int) -> None:
        """Pass on what the client sends, until it is answered there; the answer is kept back.

        Raises:
            Gone: there was none.
        """
        with socket.create_connection((host, port)) as onward, selectors.DefaultSelector() as waiting:
            for line in (self._connection, onward):
                waiting.register(line, selectors.EVENT_READ)
            while onward not in [key.fileobj for key, _ in waiting.select()]:
                piece = self._connection.recv(_PIECE)
                if not piece:
                    raise Gone
                onward.sendall(piece)
            if not onward.recv(_PIECE):
                raise Gone


Script = Callable[[Peer], None]


class FaultServer:
    """Listens on 127.0.0.1 until the block ends.

    Args:
        scripts: for the first connection, the second, …; the last one serves all that follow.
        tls: speaks TLS with this context.
        address: where to listen.

    Attributes:
        ledger: heads of the requests that arrived in full.
        connections: how many connections were accepted.
        resumed: for each TLS handshake, whether it resumed a session.
        closing: set when the block ends.
        arrived: counts up with each request that arrived in full.
    """

    def __init__(
        self, *scripts: Script, tls: ssl.SSLContext | None = None, address: tuple[str, int] = ("127.0.0.1", 0)
    ):
        self._scripts = scripts
        self._tls = tls
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(address, backlog=512)
        self._ledger: list[bytes] = []
        self.host, self.port = self._listener.getsockname()[:2]
        self.connections = 0
        self.resumed: list[bool] = []
        self.closing = threading.Event()
        self.arrived = threading.Semaphore(0)

    @property
    def base_url(self) -> str:
        """Where it listens; ``localhost`` under TLS, which is the name in the certificates."""
        return f"http://{self.host}:{self.port}" if self._tls is None else f"https://localhost:{self.port}"

    @property
    def ledger(self) -> list[bytes]:
        """What arrived in full so far."""
        with self._lock:
            return list(self._ledger)

    def enter(self, head: bytes) -> None:
        """Note a request that arrived in full."""
        with self._lock:
            self._ledger.append(head)
        self.arrived.release()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        with suppress(OSError):  # wakes accept(), which would else take one more connection; gone where a test ended it
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, script), daemon=True).start()

    def _serve(self, connection: socket.socket, script: Script) -> None:
        with suppress(OSError, Gone):
            if self._tls is not None:
                connection = self._shake_hands(connection, self._tls)
            with self._lock:
                self._open.add(connection)
            with suppress(OSError, Gone):
                script(Peer(self, connection))
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def _shake_hands(self, connection: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        connection.settimeout(PATIENCE_SECONDS)
        secure = tls.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True)
        secure.settimeout(None)
        self.resumed.append(bool(secure.session_reused))
        return secure


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def silent_address(port: int = 0) -> Iterator[tuple[str, int]]:
    """An address to which packets seem to be lost: its queue is full, so that the kernel drops who knocks."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.2", port))
    listener.listen(0)
    address = listener.getsockname()[:2]
    knocking = [socket.socket() for _ in range(4)]
    try:
        for connection in knocking:
            connection.setblocking(False)
            connection.connect_ex(address)
        yield address
    finally:
        for connection in (*knocking, listener):
            connection.close()


# --- answers --------------------------------------------------------------------------------------------------------


def http_answer(
    body: str | bytes = BODY,
    *,
    status: str = "200 OK",
    headers: tuple[str, ...] = (),
    content_type: str = HTML,
    length: int | None = None,
) -> bytes:
    """An HTTP answer; ``length`` lies about the body's."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", *headers]
    lines.append(f"Content-Length: {len(content) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + content


def chunked(*chunks: bytes) -> bytes:
    """Chunks as they travel, without the last one."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


# --- scripts --------------------------------------------------------------------------------------------------------


def answer(data: bytes | None = None, *, requests: int = 1_000) -> Script:
    """Answer so many requests with these bytes, then close; well by default."""

    def script(peer: Peer) -> None:
        for _ in range(requests):
            peer.receive()
            peer.send(http_answer() if data is None else data)

    return script


def answer_and_close(data: bytes) -> Script:
    """Answer one request with these bytes and close."""
    return answer(data, requests=1)


def drip_answer(head: bytes, rest: bytes, seconds: float) -> Script:
    """Send the first part at once and the rest byte by byte."""

    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(head)
        peer.drip(rest, seconds)

    return script


def answer_late(seconds: float) -> Script:
    """Answer well, after a while."""

    def script(peer: Peer) -> None:
        peer.receive()
        peer.pause(seconds)
        peer.send(http_answer())

    return script


def answer_then(fault: Script) -> Script:
    """Answer one request well on a connection that stays open, then do that."""

    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(http_answer())
        fault(peer)

    return script


def receive_and_hang(peer: Peer) -> None:
    """Take the request and never answer."""
    peer.receive()
    peer.hang()


def receive_and_end(peer: Peer) -> None:
    """Take the request and close without an answer."""
    peer.receive()
    peer.end()


def receive_and_reset(peer: Peer) -> None:
    """Take the request and reset the connection."""
    peer.receive()
    peer.reset()


def reset_at_once(peer: Peer) -> None:
    """Reset the connection before anything is read."""
    peer.reset()


def reset_inside(data: bytes) -> Script:
    """Take the request, send these bytes, wait until they are there, reset."""

    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(data)
        peer.pause(0.1)
        peer.reset()

    return script


def tunnel_to(port: int) -> Script:
    """Be a proxy: take a CONNECT and pass everything on to that port of this machine."""

    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        peer.pump("127.0.0.1", port)

    return script


def lead_to(port: int) -> Script:
    """Be a way to that port of this machine."""

    def script(peer: Peer) -> None:
        peer.pump("127.0.0.1", port)

    return script


def lose_the_answer(port: int, then: Script) -> Script:
    """Be a way to that port of this machine, and do that once an answer has come, in place of passing it on."""

    def script(peer: Peer) -> None:
        peer.pump_in("127.0.0.1", port)
        then(peer)

    return script
