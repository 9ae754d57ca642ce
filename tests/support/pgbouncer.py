"""A real PgBouncer in front of the tests' PostgreSQL, where Debian's package is installed."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from support.postgres import START_SECONDS, USER, PostgresServer
from support.relay import free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Pooler:
    """A pooler on a port of the loopback interface, with few connections to the server, so that they are shared."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, database: str, *, user: str = USER) -> str:
        """How a journal gets to a database through it."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        """Another application's connection, that prepares nothing."""
        return psycopg.connect(self.url(database), autocommit=True, prepare_threshold=None)


@contextmanager
def running_pooler(server: PostgresServer, *, mode: str = "transaction", size: int = 2) -> Iterator[Pooler]:
    """A pooler in this mode, ended afterwards; skips where there is none."""
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed (Debian: pgbouncer)")
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
    directory = Path(tempfile.mkdtemp(prefix="relay-pgbouncer-"))
    pooler = Pooler(free_port())
    (directory / "users").write_text(f'"{USER}" ""\n')
    (directory / "pgbouncer.ini").write_text(
        f"""
[databases]
* = host=127.0.0.1 port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {pooler.port}
unix_socket_dir =
auth_type = trust
auth_file = {directory}/users
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 200
"""
    )
    if user is not None:
        for path in (directory, *directory.iterdir()):
            shutil.chown(path, user)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, directory / "pgbouncer.ini"], user=user, stdout=log, stderr=log)
    try:
        _wait_until_it_answers(pooler, process)
        yield pooler
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        shutil.rmtree(directory, ignore_errors=True)


def _wait_until_it_answers(pooler: Pooler, process: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            with closing(psycopg.connect(f"{pooler.url('pgbouncer')}", autocommit=True)):
                return
        except psycopg.OperationalError as error:
            if "not allowed" in str(error) or "admin" in str(error):  # it speaks, and lets nobody see its inside
                return
            if process.poll() is not None or time.monotonic() > give_up:
                raise
            time.sleep(0.02)
