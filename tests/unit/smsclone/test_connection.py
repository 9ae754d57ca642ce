"""A connection that is not there, or that ends while TLS begins, says so; no request is written to it."""

import asyncio
import select
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from relay.smsclone.connection import Connection
from relay.smsclone.exchange import Cause, Exchange

REQUEST = b"GET / HTTP/1.1\r\nHost: smsclone\r\n\r\n"


class Line(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self, near: socket.socket) -> None:
        super().__init__({"socket": near})
        self.written = b""
        self.closing = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


@pytest.fixture
async def wired() -> AsyncIterator[tuple[Line, Connection]]:
    """A line, and a connection over it."""
    near, far = socket.socketpair()
    with near, far:
        line, connection = Line(near), Connection(asyncio.get_running_loop())
        connection.connection_made(line)
        yield line, connection


class NoTls(asyncio.SelectorEventLoop):
    """A loop whose handshake ends without a transport, as asyncio's does where the connection went meanwhile."""

    async def start_tls(self, *_: Any, **__: Any) -> None:
        """Give nothing."""


async def test_a_connection_that_is_not_there_writes_nothing_and_says_so() -> None:
    connection = Connection(asyncio.get_running_loop())

    assert not connection.is_open
    assert not connection.is_quiet()
    assert await connection.ask(REQUEST, 1e12) == Exchange(wrote=False, cause=Cause.CLOSED)
    with pytest.raises(ConnectionResetError):
        await connection.start_tls(ssl.create_default_context(), "smsclone")
    connection.close()


async def test_a_connection_that_is_closing_writes_nothing_and_says_so(wired: tuple[Line, Connection]) -> None:
    line, connection = wired
    connection.close()

    assert not connection.is_open
    assert not connection.is_quiet()
    assert await connection.ask(REQUEST, 1e12) == Exchange(wrote=False, cause=Cause.CLOSED)
    with pytest.raises(ConnectionResetError):
        await connection.start_tls(ssl.create_default_context(), "smsclone")
    assert line.written == b""


async def test_at_the_deadline_nothing_is_written(wired: tuple[Line, Connection]) -> None:
    line, connection = wired
    now = asyncio.get_running_loop().time()

    assert await connection.ask(REQUEST, now) == Exchange(wrote=False, cause=Cause.DEADLINE)
    assert line.written == b""


async def begin(connection: Connection) -> "asyncio.Task[Exchange]":
    """Ask, and come back once the request is written."""
    asked = asyncio.create_task(connection.ask(REQUEST, asyncio.get_running_loop().time() + 60))
    await asyncio.sleep(0)
    return asked


async def test_a_question_that_is_given_up_cuts_its_connection_and_takes_no_answer(
    wired: tuple[Line, Connection],
) -> None:
    line, connection = wired
    asked = await begin(connection)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked

    assert line.written == REQUEST
    assert not connection.is_open
    connection.connection_lost(None)


async def test_an_answer_that_came_is_not_changed_by_what_follows_it(wired: tuple[Line, Connection]) -> None:
    _, connection = wired
    asked = await begin(connection)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nTG17")
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nTG00")
    connection.connection_lost(ConnectionResetError())

    assert await asked == Exchange(wrote=True, cause=Cause.ANSWERED, status=200, body=b"TG17")


async def test_what_comes_before_anything_was_asked_cuts_the_connection(wired: tuple[Line, Connection]) -> None:
    _, connection = wired
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nTG00")

    assert not connection.is_open
    assert await connection.ask(REQUEST, 1e12) == Exchange(wrote=False, cause=Cause.CLOSED)


def test_a_handshake_that_ends_without_a_connection_is_a_lost_connection() -> None:
    near, far = socket.socketpair()
    loop = NoTls()
    try:
        with near, far:
            connection = Connection(loop)
            connection.connection_made(Line(near))
            with pytest.raises(ConnectionResetError):
                loop.run_until_complete(connection.start_tls(ssl.create_default_context(), "smsclone"))
    finally:
        loop.close()


@pytest.mark.parametrize("poll", [True, False], ids=["poll", "select"])
async def test_a_connection_with_bytes_that_nobody_asked_for_is_not_quiet(
    monkeypatch: pytest.MonkeyPatch, poll: bool
) -> None:
    if not poll:
        monkeypatch.delattr(select, "poll")
    near, far = socket.socketpair()
    with near, far:
        connection = Connection(asyncio.get_running_loop())
        connection.connection_made(Line(near))

        assert connection.is_quiet()
        far.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        assert not connection.is_quiet()
        assert connection.is_open
