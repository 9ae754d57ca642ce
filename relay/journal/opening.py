"""Which store a URL means."""

from relay.domain.secret import Secret
from relay.journal.base import StoredJournal
from relay.sending.ports import Clock

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def open_journal(url: Secret | str, *, clock: Clock, migrate: bool = True) -> StoredJournal:
    """Make the journal that a URL means; it is not opened yet.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, or ``postgresql://…`` as libpq takes it.
        clock: for what the port gives no time for.
        migrate: whether a PostgreSQL database may be migrated at opening (SQLite always is).

    Raises:
        ValueError: neither of them; the text does not repeat the URL, which may hold a password.
    """
    text = _reveal(url)
    path = sqlite_path(url)
    if path and path != ":memory:":  # which would forget everything
        from relay.journal.sqlite import SqliteJournal

        return SqliteJournal(path, clock=clock)
    if text.startswith(_POSTGRES):
        from relay.journal.postgres import PostgresJournal

        return PostgresJournal(url, clock=clock, migrate=migrate)
    raise ValueError("the journal's URL must be sqlite:///<path> or postgresql://…")


def sqlite_path(url: Secret | str) -> str:
    """The file that a URL of SQLite names; empty for any other."""
    text = _reveal(url)
    return text.removeprefix(_SQLITE) if text.startswith(_SQLITE) else ""


def _reveal(url: Secret | str) -> str:
    return url.reveal() if isinstance(url, Secret) else url
