"""Which store a URL means."""

from collections.abc import Mapping

from relay.domain.secret import Secret
from relay.domain.usage import NO_PRICES, Prices
from relay.journal.base import StoredJournal
from relay.sending.ports import Clock

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def open_journal(
    url: Secret | str,
    *,
    clock: Clock,
    hash_key: bytes | None = None,
    prices: Mapping[str, Prices] = NO_PRICES,
    learn_dnd_ms: int = 0,
    migrate: bool = True,
) -> StoredJournal:
    """Make the journal that a URL means; it is not opened yet.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, or ``postgresql://…`` as libpq takes it.
        clock: for what the port gives no time for.
        prices: what a segment costs, by account, for the ledger.
        learn_dnd_ms: how long a 3333 on the normal route keeps promotional messages from a number; 0: not at all.
        hash_key: of fingerprints and hashes; the journal keeps one of its own where none is given.
        migrate: whether a PostgreSQL database may be migrated at opening (SQLite always is).

    Raises:
        ValueError: neither of them; the text does not repeat the URL, which may hold a password.
    """
    text = _reveal(url)
    path = sqlite_path(url)
    if path and path != ":memory:":  # which would forget everything
        from relay.journal.sqlite import SqliteJournal

        return SqliteJournal(path, clock=clock, hash_key=hash_key, prices=prices, learn_dnd_ms=learn_dnd_ms)
    if text.startswith(_POSTGRES):
        from relay.journal.postgres import PostgresJournal

        return PostgresJournal(
            url, clock=clock, hash_key=hash_key, prices=prices, learn_dnd_ms=learn_dnd_ms, migrate=migrate
        )
    raise ValueError("the journal's URL must be sqlite:///<path> or postgresql://…")


def sqlite_path(url: Secret | str) -> str:
    """The file that a URL of SQLite names; empty for any other."""
    text = _reveal(url)
    return text.removeprefix(_SQLITE) if text.startswith(_SQLITE) else ""


def describe_journal(url: Secret | str) -> str:
    """Say which store a URL means and where it is, without user and password."""
    if path := sqlite_path(url):
        return f"sqlite {path}"
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(_reveal(url))
    except ProgrammingError:
        return "postgresql"
    hosts = str(parts.get("host") or parts.get("hostaddr") or "").split(",")
    ports = str(parts.get("port") or "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    places = ",".join(f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=False))
    return f"postgresql {places}/{parts.get('dbname') or ''}"


def _reveal(url: Secret | str) -> str:
    return url.reveal() if isinstance(url, Secret) else url
