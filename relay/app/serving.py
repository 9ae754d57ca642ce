"""A relay that listens: start, signals, drain, stop.

A stop goes in this order: readiness fails and new sends are refused with 503, what is out finishes and is recorded,
callers get their answers, the listener closes, the journal says goodbye.
"""

import asyncio
import gc
import signal
import socket
from collections.abc import Sequence
from typing import BinaryIO

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from relay import __version__
from relay.app.adapters import StartError
from relay.app.composition import Relay
from relay.app.reloading import environment, watch_refusals, watch_settings, watch_templates, watch_words
from relay.http.asgi import AsgiApplication
from relay.journal.opening import describe_journal
from relay.settings import ListenSettings, Settings, describe_file, find_file
from relay.watching import Nudge

_HEADER_TIMEOUT_MS = 10_000
_YOUNG_OBJECTS = 10_000
"""Between looks for garbage in cycles. With Python's own 700, 64 notifications in flight are looked through over and
over: 13 % of the CPU (measured with perf)."""
_LINGER_SECONDS = 0.2
"""Between the last record and the end of the listener: answers are on their way to callers."""


class RunningRelay:
    """A relay that answers."""

    def __init__(
        self,
        relay: Relay,
        servers: Sequence[Server],
        tasks: "Sequence[asyncio.Task[None]]",
        watches: "Sequence[asyncio.Task[None]]",
    ) -> None:
        self._relay = relay
        self._servers = servers
        self._tasks = tasks
        self._watches = watches

    @property
    def base_url(self) -> str:
        """Where it listens."""
        listen = self._relay.settings.listen
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        return f"http://{host}:{listen.port}"

    def announce(self) -> None:
        """Say in one line of the log what this process is: the first thing that somebody looks for."""
        settings = self._relay.settings
        listen = settings.listen
        addresses = [self.base_url]
        if listen.metrics_port is not None:
            addresses.append(f"{self.base_url.removesuffix(f':{listen.port}')}:{listen.metrics_port}/metrics")
        self._relay.log.announce(
            "process.started",
            version=__version__,
            addresses=addresses,
            settings=describe_file(find_file(environment())),
            journal=describe_journal(settings.journal.url),
            accounts={name: account.base_url for name, account in settings.used_accounts().items()},
            clients=len(settings.clients),
            receivers=len(settings.receivers),
        )

    async def wait(self) -> None:
        """Return when the listener ended by itself, which it should not."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        """Drain, then close."""
        await self._relay.drain()
        for task in self._watches:
            task.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await asyncio.sleep(_LINGER_SECONDS)
        for server in self._servers:
            server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait(self._tasks, timeout=_HEADER_TIMEOUT_MS / 1000)
        await self._relay.close()


async def start_relay(
    settings: Settings, *, log_stream: BinaryIO | None = None, owns_process: bool = False, nudge: Nudge | None = None
) -> RunningRelay:
    """Open a relay and listen.

    Args:
        log_stream: where lines go; standard output if left out.
        owns_process: whether everything that the process says goes through the relay's log.
        nudge: has settings and word lists read again.

    Raises:
        StartError: word lists or journal cannot be used, or nobody can listen there.
    """
    listen = settings.listen
    _refuse_taken_ports(listen)
    relay = Relay(settings, log_stream)
    if owns_process:
        relay.log.take_over()
        relay.log.gather(asyncio.get_running_loop())
    await relay.open()
    try:
        _refuse_taken_ports(listen)  # that took a while, in which another one may have begun
    except StartError:
        await relay.drain()
        await relay.close()
        raise
    servers = [_make_server(relay.application, _address_of(listen), listen.port)]
    if listen.metrics_port is not None:
        servers.append(_make_server(relay.metrics_application, _address_of(listen), listen.metrics_port))
    tasks = [asyncio.create_task(server.serve(), name="server") for server in servers]
    await asyncio.wait(tasks, timeout=0)
    return RunningRelay(relay, servers, tasks, _watch(relay, nudge or Nudge()))


def _refuse_taken_ports(listen: ListenSettings) -> None:
    """Refuse a port on which somebody listens: granian shares it (SO_REUSEPORT), and each gets some of the requests.

    Raises:
        StartError: nobody else can listen there.
    """
    for setting, port in (("listen.port", listen.port), ("listen.metrics_port", listen.metrics_port)):
        if port is None:
            continue
        try:
            host = _address_of(listen)
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as failure:
            raise StartError(
                f"cannot listen on {listen.host}, port {port} ({failure.strerror}).",
                f"Stop what listens there, or change listen.host or {setting}.",
            ) from None


def _address_of(listen: ListenSettings) -> str:
    """Where to listen; granian knows no names."""
    return "127.0.0.1" if listen.host == "localhost" else listen.host


def _make_server(application: AsgiApplication, host: str, port: int) -> Server:
    return Server(
        application,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        backlog=2048,
        backpressure=10_000,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_TIMEOUT_MS),
        log_enabled=False,
    )


def _watch(relay: Relay, nudge: Nudge) -> "list[asyncio.Task[None]]":
    watches = (
        watch_words(relay, nudge),
        watch_templates(relay, nudge),
        watch_settings(relay, environment(), nudge),
        watch_refusals(relay, environment()),
    )
    return [asyncio.create_task(watch, name="watch") for watch in watches]


def run(settings: Settings) -> None:
    """Run a relay until SIGTERM or SIGINT; SIGHUP has settings and word lists read again.

    Raises:
        StartError: it cannot start.
    """
    uvloop.run(_run(settings))


async def _run(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    nudge = Nudge()
    loop.add_signal_handler(signal.SIGHUP, nudge.give)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    running = await start_relay(settings, owns_process=True, nudge=nudge)
    running.announce()
    _spare_collector()
    ended = asyncio.ensure_future(running.wait())
    await asyncio.wait({ended, asyncio.ensure_future(stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
    failed = ended.done() and not stopping.is_set()
    await running.stop()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # the handler ends with the loop
    if failed:
        raise StartError("the listener ended by itself.", "Check that nobody else uses [listen] host and port.")


def _spare_collector() -> None:
    """Let the garbage collector leave alone what lives as long as the process, and look less often at the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])


async def migrate_journal(settings: Settings) -> None:
    """Bring the journal's schema up to date.

    Raises:
        StartError: the journal cannot be used.
    """
    relay = Relay(settings)
    await relay.open_journal()
    await relay.close()


async def mark_restored(settings: Settings) -> int:
    """After a restore: turn every call that is not finished into unknown.

    Raises:
        StartError: the journal cannot be used, or a server runs on it.
    """
    relay = Relay(settings)
    await relay.open_journal()
    try:
        return await relay.mark_restored()
    finally:
        await relay.close()
