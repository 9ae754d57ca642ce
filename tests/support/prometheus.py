"""The real Prometheus and Alertmanager beside a test: started from their Debian packages' binaries, ended by pid."""

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from support.relay import free_port

START_SECONDS = 120.0

_HERE = "127.0.0.1"


def find_binary(*names: str) -> str:
    """The first of these programs that is installed; the test is skipped where none is."""
    for name in names:
        if (path := shutil.which(name)) is not None:
            return path
    pytest.skip(f"{names[0]} is not installed (Debian: apt-get install prometheus prometheus-alertmanager)")


@dataclass
class Daemon:
    """One of them, running."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"
    output: Path

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://{_HERE}:{self.port}"

    def wait_ready(self) -> None:
        """Wait until it says that it is ready."""
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            assert self.process.poll() is None, f"{self.name} ended:\n{self.output.read_text()}"
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.base_url}/-/ready", trust_env=False, timeout=10.0).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{self.name} was not ready in time:\n{self.output.read_text()}")


@contextmanager
def _running(name: str, command: Sequence[str], port: int, directory: Path) -> Iterator[Daemon]:
    output = directory / "output.log"
    with output.open("wb") as stream:
        process = subprocess.Popen(command, cwd=directory, stdout=stream, stderr=subprocess.STDOUT)
    daemon = Daemon(name, port, process, output)
    try:
        daemon.wait_ready()
        yield daemon
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def running_alertmanager(
    directory: Path, webhook_url: str, key: str, *, cluster_port: int | None = None, peer_port: int | None = None
) -> Iterator[Daemon]:
    """An Alertmanager that tells the relay of every alert, after a second.

    Args:
        cluster_port: where its cluster listens; none: it is alone.
        peer_port: where its peer's cluster listens.
    """
    binary = find_binary("prometheus-alertmanager", "alertmanager")
    directory.mkdir()
    config = directory / "alertmanager.yml"
    config.write_text(f"""
route:
  receiver: relay
  group_by: [alertname]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: 4h
receivers:
  - name: relay
    webhook_configs:
      - url: {webhook_url}
        send_resolved: true
        http_config:
          authorization:
            credentials: {key}
""")
    port = free_port()
    cluster = "" if cluster_port is None else f"{_HERE}:{cluster_port}"
    command = [
        binary,
        f"--config.file={config}",
        f"--storage.path={directory / 'storage'}",
        f"--web.listen-address={_HERE}:{port}",
        f"--cluster.listen-address={cluster}",
        # Each tells at once instead of waiting for whether its peer does: nothing but the relay stands against two.
        "--cluster.peer-timeout=0s",
        "--cluster.settle-timeout=5s",
        *([f"--cluster.advertise-address={cluster}"] if cluster else []),
        *([f"--cluster.peer={_HERE}:{peer_port}"] if peer_port is not None else []),
    ]
    with _running("alertmanager", command, port, directory) as daemon:
        yield daemon


@contextmanager
def running_prometheus(
    directory: Path, alertmanagers: Sequence[Daemon], *, alert: str = "HighLatency"
) -> Iterator[Daemon]:
    """A Prometheus in which one rule fires for good, from when it knows (after five seconds) whom to tell.

    What it tells holds for four times the resend delay: a machine that stood still for longer would see the alert
    resolved and fire again. So that delay is long, and is not needed where the first telling has somebody to go to.
    """
    binary = find_binary("prometheus")
    directory.mkdir()
    (directory / "rules.yml").write_text("""
groups:
  - name: test
    interval: 1s
    rules:
      - alert: HighLatency
        expr: vector(1)
        for: 6s
        labels: {severity: critical, service: api}
        annotations: {summary: "p99 is over 1 s"}
""")
    targets = ", ".join(f'"{_HERE}:{daemon.port}"' for daemon in alertmanagers)
    config = directory / "prometheus.yml"
    config.write_text(f"""
global: {{evaluation_interval: 1s}}
rule_files: [{directory / "rules.yml"}]
alerting:
  alertmanagers:
    - static_configs: [{{targets: [{targets}]}}]
""")
    port = free_port()
    command = [
        binary,
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={_HERE}:{port}",
        "--rules.alert.resend-delay=20s",
    ]
    with _running("prometheus", command, port, directory) as daemon:
        yield daemon


@contextmanager
def running_scraper(directory: Path, ports: Sequence[int], rules: str) -> Iterator[Daemon]:
    """A Prometheus that scrapes ``/metrics`` on these ports every few seconds, and evaluates rules every second.

    A scrape may take as long as until the next one: a second is too little for a machine that is busy.
    """
    binary = find_binary("prometheus")
    directory.mkdir()
    (directory / "rules.yml").write_text(rules)
    targets = ", ".join(f'"{_HERE}:{port}"' for port in ports)
    config = directory / "prometheus.yml"
    config.write_text(f"""
global: {{scrape_interval: 5s, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: relay
    static_configs:
      - targets: [{targets}]
        labels: {{namespace: relay}}
""")
    port = free_port()
    command = [
        binary,
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={_HERE}:{port}",
    ]
    with _running("prometheus", command, port, directory) as daemon:
        yield daemon
