"""An update that replaces three replicas one after the other under load: nobody notices, nothing is sent twice.

    RELAY_TEST_RATE=100 python -m pytest tests/faults/test_rolling_update.py

The long form (faults 43) has 100 or 200 requests a second; by itself it has 40.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from support.postgres import PostgresServer
from support.relay import ClientKey, RelayProcess, make_client, make_relay
from support.upstream import Upstream, running_upstream
from support.waiting import until

pytestmark = pytest.mark.slow

RATE = float(os.environ.get("RELAY_TEST_RATE", "40"))
PRE_STOP_SECONDS = 2.0
"""Between the end of a pod's traffic and its SIGTERM; five seconds in the manifests."""


class Balancer:
    """What a Service does: each new connection goes to one of the pods that are ready, and stays there."""

    def __init__(self) -> None:
        self.ready: list[int] = []
        self.on_their_way: Counter[int] = Counter()
        self._turn = 0
        self._connections: set[asyncio.Task[None]] = set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        self._turn += 1
        port = self.ready[self._turn % len(self.ready)]
        self.on_their_way[port] += 1
        back, forth = await asyncio.open_connection("127.0.0.1", port)
        forth.write(await reader.read(65536))  # the request, which is small: the pod has it before it is told to end
        self.on_their_way[port] -= 1
        await asyncio.gather(_pipe(reader, forth), _pipe(back, writer))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Listen; gives the port."""
        server = await asyncio.start_server(self.carry, "127.0.0.1", 0, backlog=512)
        async with server:
            yield server.sockets[0].getsockname()[1]


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def send(port: int, client: ClientKey, number: str) -> str:
    """One request on a connection of its own, never repeated: its status, or what went wrong."""
    body = json.dumps({"recipients": [number], "message": "Your order is on its way."}).encode()
    head = (
        f"POST /v1/notifications HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {client.key}\r\n"
        f"Idempotency-Key: roll-{number}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + body)
        answer = await reader.read()
        writer.close()
    except OSError as error:
        return type(error).__name__
    return answer[9:12].decode() or "no answer"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


async def replace_each(relays: list[RelayProcess], balancer: Balancer) -> None:
    """What a Deployment with ``maxUnavailable: 1`` does to its pods."""
    for relay in relays:
        balancer.ready.remove(relay.port)
        await until(lambda: not balancer.on_their_way[relay.port])  # noqa: B023
        await asyncio.sleep(PRE_STOP_SECONDS)  # the wait that the manifests prescribe
        relay.process.terminate()
        assert await asyncio.to_thread(relay.process.wait, 60) == 0
        await asyncio.to_thread(relay.start)
        balancer.ready.append(relay.port)


async def test_three_replicas_are_replaced_under_load_without_a_failure_or_a_double(
    tmp_path: Path, upstream: Upstream, postgres_server: PostgresServer
) -> None:
    client, url = make_client(), postgres_server.url(postgres_server.create_database())
    relays = [make_relay(tmp_path / f"{n}", client, upstream=upstream.base_url, journal=url) for n in range(3)]
    balancer = Balancer()
    with ExitStack() as running:
        for relay in relays:
            relay.start()
            running.callback(relay.stop)
            balancer.ready.append(relay.port)
        async with balancer.listening() as port:
            rolling = asyncio.create_task(replace_each(relays, balancer))
            loop = asyncio.get_running_loop()
            begun, requests = loop.time(), 0
            sends: dict[str, asyncio.Task[str]] = {}
            room = asyncio.Semaphore(round(RATE))  # on a machine that cannot keep up they are fewer, and not refused
            while not rolling.done():
                number = f"234803{requests:07}"
                await room.acquire()
                sends[number] = asyncio.create_task(send(port, client, number))
                sends[number].add_done_callback(lambda _: room.release())
                requests += 1
                await asyncio.sleep(max(begun + requests / RATE - loop.time(), 0))
            await rolling
            answers = dict(zip(sends, await asyncio.gather(*sends.values()), strict=True))

    assert Counter(answers.values()) == {"200": requests}
    assert upstream.count() == dict.fromkeys(sends, 1)
    assert all('"abandoned":0' in relay.log() for relay in relays)
