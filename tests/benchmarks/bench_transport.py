"""CPU of one GET on loopback: ours, fresh and kept alive, and beside it the stock transports.

    python tests/benchmarks/bench_transport.py [calls]

Prints microseconds of this process's CPU a call at 1 and at 64 in flight, on uvloop, against nginx in another process.
The stock ones are called as a client would that holds only the transport: a ready ``httpx.Request``, its body read.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import httpcore
import httpx
import httpx_aiohttp
import uvloop
from measure import running_nginx

from relay.smsclone.transport import BilledGetTransport

TARGET = b"/api/sms/dnd-fallback?username=kanu&password=p4ss&sender=ACME&recipient=2348012345678&message=Hello%20you"
WARM_UP_CALLS = 200
SECONDS = 20.0


class Subject(Protocol):
    """Something that makes a GET."""

    async def get(self) -> int | None:
        """One GET; its status."""
        ...

    async def aclose(self) -> None:
        """Drop what it holds."""
        ...


class Ours:
    """``BilledGetTransport.exchange``, as sends use it."""

    def __init__(self, base_url: str, keepalive_seconds: float) -> None:
        self._transport = BilledGetTransport(
            base_url,
            connect_timeout_seconds=SECONDS,
            tls=None,
            keepalive_seconds=keepalive_seconds,
            max_connections=64,
        )

    async def get(self) -> int | None:
        """One GET."""
        return (await self._transport.exchange(TARGET, asyncio.get_running_loop().time() + SECONDS)).status

    async def aclose(self) -> None:
        """Drop the connections."""
        await self._transport.aclose()


class ByHttpx:
    """A stock transport."""

    def __init__(self, base_url: str, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self._request = httpx.Request("GET", base_url + TARGET.decode())

    async def get(self) -> int | None:
        """One GET."""
        response = await self._transport.handle_async_request(self._request)
        await response.aread()
        await response.aclose()
        return response.status_code

    async def aclose(self) -> None:
        """Drop the connections."""
        await self._transport.aclose()


class ByHttpcore:
    """httpcore's public parts: a connection a call, without its pool."""

    def __init__(self, base_url: str) -> None:
        url = httpcore.URL(base_url)
        self._origin = url.origin
        self._url = httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=TARGET)
        self._host = (b"Host", f"127.0.0.1:{url.port}".encode())

    async def get(self) -> int | None:
        """One GET."""
        async with httpcore.AsyncHTTPConnection(self._origin) as connection:
            request = httpcore.Request("GET", self._url, headers=[self._host, (b"Connection", b"close")])
            response = await connection.handle_async_request(request)
            await response.aread()
            await response.aclose()
            return response.status

    async def aclose(self) -> None:
        """Nothing is held."""


async def _measure(subject: Subject, in_flight: int, calls: int) -> float:
    async def work(count: int) -> None:
        for _ in range(count):
            if await subject.get() != 200:
                raise RuntimeError("a call failed")

    await asyncio.gather(*(work(WARM_UP_CALLS // in_flight) for _ in range(in_flight)))
    each = max(calls // in_flight, 1)
    before = time.process_time()
    await asyncio.gather(*(work(each) for _ in range(in_flight)))
    spent = time.process_time() - before
    await subject.aclose()
    return spent / (each * in_flight) * 1e6


async def _measure_new(make: Callable[[], Subject], in_flight: int, calls: int) -> float:
    return await _measure(make(), in_flight, calls)


def _subjects(base_url: str) -> dict[str, Callable[[], Subject]]:
    limits = httpx.Limits(max_connections=64, keepalive_expiry=30)
    return {
        "ours, fresh": lambda: Ours(base_url, 0),
        "ours, kept alive": lambda: Ours(base_url, 30),
        "httpcore's connection, fresh": lambda: ByHttpcore(base_url),
        "httpx, kept alive": lambda: ByHttpx(base_url, httpx.AsyncHTTPTransport(limits=limits)),
        "httpx-aiohttp, kept alive": lambda: ByHttpx(base_url, httpx_aiohttp.AiohttpTransport(limits=limits)),
    }


def main() -> None:
    """Measure each transport and print a line for it."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 6_400
    with tempfile.TemporaryDirectory() as directory, running_nginx(Path(directory)) as base_url:
        if base_url is None:
            sys.exit("nginx is not installed")
        for name, make in _subjects(base_url).items():
            figures = []
            for in_flight in (1, 64):
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    spent = runner.run(_measure_new(make, in_flight, calls))
                figures.append(f"{spent:7.0f} us at {in_flight} in flight")
            print(f"{name:30}", "   ".join(figures))


if __name__ == "__main__":
    main()
