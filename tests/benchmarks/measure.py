"""What a benchmark needs: processes with their CPU and memory, a load generator, an upstream that answers at once."""

import asyncio
import math
import os
import re
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import cast

_TICKS = os.sysconf("SC_CLK_TCK")
KANNEL_CONF = """
group = core
admin-port = {admin}
admin-password = {secret}
smsbox-port = {boxes}
box-allow-ip = "127.0.0.1"
log-level = 4

group = smsc
smsc = http
smsc-id = clone
system-type = generic
port = {answers}
send-url = "{upstream}/api/sms/dnd-fallback?username=u&password={secret}&sender=%P&recipient=%p&message=%b"
status-success-regex = "TG00"
status-permfail-regex = "TG1"
status-tempfail-regex = "TG2"

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {port}
log-level = 4

group = sendsms-user
username = u
password = {secret}
"""

CRLF = "\r\n"
_LENGTH = re.compile(rb"(?i)content-length: *([0-9]+)")
_PAGE = os.sysconf("SC_PAGE_SIZE")

NGINX_CONF = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log /dev/null crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  large_client_header_buffers 4 16k;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    default_type text/html;
    location = /api/sms/balance {{ return 200 "256.21"; }}
    location / {{
      return 200 "TG00-MESSAGE PROCESSED:0000|$arg_recipient|9967534522177818556581618|SENT|MESSAGE SENT TO PROVIDER";
    }}
  }}
}}
"""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children that still live."""
    total = 0.0
    for task in (pid, *children(pid)):
        fields = Path(f"/proc/{task}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def children(pid: int) -> list[int]:
    """The children of a process."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listing.read_text().split()] if listing.exists() else []


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20


@contextmanager
def running_nginx(directory: Path) -> Iterator[str | None]:
    """nginx as an upstream that answers at once; ``None`` where it is not installed."""
    binary = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if binary is None:
        yield None
        return
    port = free_port()
    conf = directory / "nginx.conf"
    conf.write_text(NGINX_CONF.format(directory=directory, port=port))
    process = subprocess.Popen([binary, "-c", str(conf), "-p", str(directory)], stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running_kannel(directory: Path, upstream: str) -> Iterator[tuple[int, list[int]] | None]:
    """Kannel with the same upstream: the port that takes messages, and its processes; ``None`` where it is missing."""
    programs = shutil.which("bearerbox"), shutil.which("smsbox")
    if None in programs:
        yield None
        return
    admin, boxes, answers, port = (free_port() for _ in range(4))
    conf = directory / "kannel.conf"
    conf.write_text(
        KANNEL_CONF.format(admin=admin, boxes=boxes, answers=answers, port=port, upstream=upstream, secret="bench")
    )
    running: list[subprocess.Popen[bytes]] = []
    try:
        for program, listens in zip(programs, (boxes, port), strict=True):
            running.append(
                subprocess.Popen([str(program), str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            wait_for_port(listens)
        yield port, [process.pid for process in running]
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


def wait_for_port(port: int, seconds: float = 20.0) -> None:
    """Wait until somebody listens."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nobody listens on port {port}")


@dataclass
class Load:
    """What a run of the load generator saw."""

    seconds: float
    latencies: dict[int, list[float]] = field(repr=False)
    """Seconds until each answer, by its status."""

    @property
    def statuses(self) -> dict[int, int]:
        """How many answers there were of each status."""
        return {status: len(seconds) for status, seconds in self.latencies.items()}

    @property
    def requests(self) -> int:
        """Answers in all."""
        return sum(self.statuses.values())

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds

    def percentile_ms(self, share: float, *statuses: int) -> float:
        """The latency that this share of the answers (with one of these statuses) stayed below, in milliseconds."""
        ordered = sorted(chain.from_iterable(self.latencies.get(status, ()) for status in statuses or self.latencies))
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000 if ordered else math.nan


async def load(
    port: int,
    bodies: Sequence[bytes],
    *,
    path: str = "/v1/notifications",
    headers: Sequence[str] = (),
    connections: int,
    rate: float | None = None,
    keys: bool = False,
    whole: bool = False,
) -> Load:
    """Send every body once over kept-alive connections: as fast as the answers come, or at a steady rate.

    With ``keys`` each gets an idempotency key of its own; with ``whole`` the bodies are whole requests. A raw HTTP/1.1
    client whose requests are made beforehand: it costs less than what it measures (about 10 µs a request on uvloop).
    """
    run = uuid.uuid4().hex
    extra = "".join(f"{header}\r\n" for header in headers)
    requests = [
        body
        if whole
        else (
            f"POST {path} HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n{extra}"
            f"{f'Idempotency-Key: {run}-{index}{CRLF}' if keys else ''}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        + body
        for index, body in enumerate(bodies)
    ]
    loop = asyncio.get_running_loop()
    lines = [_Line(loop) for _ in range(connections)]
    for line in lines:
        await loop.create_connection(lambda line=line: line, "127.0.0.1", port)  # type: ignore[misc]
    queue = enumerate(requests)
    latencies: dict[int, list[float]] = {}
    started = time.perf_counter()
    await asyncio.gather(*(line.work(queue, latencies, started, rate) for line in lines))
    return Load(time.perf_counter() - started, latencies)


class _Line(asyncio.Protocol):
    """One connection that sends a request, waits for its answer, and takes the next."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._done: asyncio.Future[None] = loop.create_future()
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    async def work(
        self,
        queue: Iterator[tuple[int, bytes]],
        latencies: dict[int, list[float]],
        started: float,
        rate: float | None,
    ) -> None:
        """Take requests from the queue until it is empty."""
        self._queue, self._latencies, self._started, self._rate = queue, latencies, started, rate
        self._next()
        await self._done

    def _next(self) -> None:
        index, self._request = next(self._queue, (0, b""))
        if not self._request:
            self._transport.close()
            return
        wait = 0.0 if self._rate is None else self._started + index / self._rate - time.perf_counter()
        if wait > 0:
            self._loop.call_later(wait, self._send)
        else:
            self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end or len(body) < int(_LENGTH.findall(head)[0]):
            return
        self._answer = b""
        self._latencies.setdefault(int(head[9:12]), []).append(time.perf_counter() - self._sent)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._request:
            self._done.set_exception(exc or ConnectionError("the server closed a connection that was in use"))
        else:
            self._done.set_result(None)
