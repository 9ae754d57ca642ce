"""A real relay for tests: ``relay serve`` in a process of its own, over real sockets, and its output kept."""

import atexit
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from relay.http.auth import new_key
from support.journal_file import lay_journal
from support.moves import SWITCH, prepare_watched
from support.waiting import PATIENCE_SECONDS

USERNAME = "demo"
PASSWORD = "canary-password-7Q"
START_SECONDS = 120.0
TRIES = 10
"""What a busy machine keeps from its end in time is asked for again so often."""
AT_DEBUG = Path(__file__).parent / "at_debug"
"""On the path of Python: every library of a relay under test says all it can."""

PATIENT = {
    "RELAY_SMSCLONE_TIMEOUT_SECONDS": "200",
    "RELAY_SMSCLONE_CONNECT_TIMEOUT_SECONDS": "200",
    "RELAY_SENDING_NOTIFICATION_DEADLINE_SECONDS": "220",
    "RELAY_SENDING_DRAIN_SECONDS": "240",
}
"""The environment of a relay that waits as long as a test does, for what the test holds back or a busy machine."""

COVERED = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
"""What a process of its own needs, to be measured by ``make test COVERAGE=1``."""


_reserved: list[socket.socket] = []


def free_port() -> int:
    """A port of the loopback interface that nobody listens on, and that no other test is given.

    It stays bound, without anybody who listens, until the process ends: whoever asks for it by number may listen on it
    (servers set SO_REUSEADDR), and the system gives it to nobody who asks for any. Else a port would be gone now and
    then before a slow start came to it, or two relays would share it and each get some of the requests.
    """
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.bind(("127.0.0.1", 0))
    _reserved.append(reservation)
    return int(reservation.getsockname()[1])


@atexit.register
def _release_ports() -> None:
    for reservation in _reserved:
        reservation.close()


@dataclass
class ClientKey:
    """A client of the relay under test, with its secret key."""

    name: str
    key: str
    settings: str

    @property
    def headers(self) -> dict[str, str]:
        """What its requests carry."""
        return {"Authorization": f"Bearer {self.key}"}


def make_client(name: str = "billing", **settings: str) -> ClientKey:
    """A client with a fresh key; ``settings`` are TOML values by field, on top of ones that allow much."""
    key, key_id, digest = new_key()
    fields = {
        "senders": '["ACME"]',
        "default_sender": '"ACME"',
        "message_types": '["otp", "alert", "transactional", "promotional"]',
        "routes": '["auto", "normal", "dnd", "dnd-fallback"]',
        "permissions": '["send", "read", "preview", "balance"]',
    } | settings
    lines = [f'name = "{name}"', f'keys = [{{ id = "{key_id}", sha256 = "{digest}" }}]']
    lines += [f"{field} = {value}" for field, value in fields.items()]
    return ClientKey(name, key, "[[clients]]\n" + "\n".join(lines) + "\n")


@dataclass
class RelayProcess:
    """One ``relay serve``."""

    directory: Path
    config: Path
    port: int
    environment: Mapping[str, str]
    process: "subprocess.Popen[bytes]" = field(init=False)
    output: Path = field(init=False)

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, wait: bool = True, redirections: str = "") -> None:
        """Start it (again), and wait until it is ready; ``redirections`` are the shell's."""
        self.output = self.directory / "output.log"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", f'exec "$0" -m relay serve {redirections}', sys.executable],
                stdin=subprocess.DEVNULL,
                env=dict(self.environment),
                cwd=self.directory,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it answers that it is ready."""
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            if self.process.poll() is not None:
                raise AssertionError(f"relay ended with {self.process.returncode}:\n{self.output.read_text()}")
            with contextlib_suppress_http():
                if httpx.get(f"{self.base_url}/readyz", trust_env=False, timeout=10.0).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"relay was not ready in time:\n{self.output.read_text()}")

    def kill(self) -> None:
        """SIGKILL: no good-bye."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = START_SECONDS) -> int:
        """SIGTERM, and wait for the end; its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(seconds)

    def log(self) -> str:
        """Everything it printed."""
        return self.output.read_text()


class contextlib_suppress_http:
    """Let a connection that fails pass."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return isinstance(error, httpx.TransportError)


def make_relay(
    directory: Path,
    *clients: ClientKey,
    upstream: str,
    toml: str = "",
    environment: Mapping[str, str] | None = None,
    journal: str | None = None,
) -> RelayProcess:
    """Write settings for a relay in ``directory``; not started yet."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    if journal is None:
        (lay_journal if SWITCH is None else prepare_watched)(directory / "relay.db")
    config = directory / "relay.toml"
    config.write_text(toml + "\n" + "\n".join(client.settings for client in clients))
    env = {
        **COVERED,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{AT_DEBUG}:{Path(__file__).parents[2]}",
        "RELAY_CONFIG": str(config),
        "RELAY_LISTEN_PORT": str(port),
        "RELAY_SMSCLONE_BASE_URL": upstream,
        "RELAY_SMSCLONE_USERNAME": USERNAME,
        "RELAY_SMSCLONE_PASSWORD": PASSWORD,
        "RELAY_JOURNAL_URL": journal or f"sqlite:///{directory / 'relay.db'}",
        "RELAY_LOG_LEVEL": "debug",
    }
    return RelayProcess(directory, config, port, env | dict(environment or {}))


@contextmanager
def running_relay(directory: Path, *clients: ClientKey, upstream: str, **options: Any) -> Iterator[RelayProcess]:
    """A relay that answers, ended with SIGTERM (then SIGKILL) afterwards."""
    relay = make_relay(directory, *clients, upstream=upstream, **options)
    relay.start()
    try:
        yield relay
    finally:
        try:
            relay.stop()
        except subprocess.TimeoutExpired:
            relay.kill()
            raise


TEXT = "Your order is on its way."


def ask_again(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Ask, and again as long as the answer is 503 and says that this is safe: as callers of a busy relay do."""
    answer = ask()
    for _ in range(TRIES - 1):
        if answer.status_code != 503 or not answer.json().get("retry_safe"):
            break
        answer = ask()
    return answer


def send(relay: RelayProcess, client: ClientKey, number: str, **headers: str) -> httpx.Response:
    """Send a text to one number and wait for the answer."""
    return httpx.post(
        f"{relay.base_url}/v1/notifications",
        json={"recipients": [number], "message": TEXT},
        headers=client.headers | headers,
        trust_env=False,
        timeout=PATIENCE_SECONDS,
    )


def look(relay: RelayProcess, client: ClientKey, notification_id: str) -> dict[str, Any]:
    """Look a notification up."""
    url = f"{relay.base_url}/v1/notifications/{notification_id}"
    body: dict[str, Any] = httpx.get(url, headers=client.headers, trust_env=False, timeout=PATIENCE_SECONDS).json()
    return body
