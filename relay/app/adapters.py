"""The small adapters that are the machine itself: its clocks, its chance; and why a start fails."""

import time

import uuid_utils

from relay.sending.ports import JournalUnavailable


class StartError(Exception):
    """The relay cannot start: what is wrong, and what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def journal_error(failure: JournalUnavailable) -> StartError:
    """The error of a start whose journal cannot be used."""
    return StartError(f"the journal cannot be used ({failure.reason}).", remedy_for(failure.reason))


def remedy_for(reason: str) -> str:
    """What to do about a journal that cannot be used."""
    return _REMEDIES.get(reason, "Check [journal] url and what stands behind it.")


_REMEDIES = {
    "locked": "Another relay uses this file, or still drains; one SQLite file serves one process. Stop that one first.",
    "read_only": "Make the file and its directory writable for the relay's user.",
    "cannot_open": "Make the directory of the file, writable for the relay's user.",
    "schema_too_new": "A newer relay has migrated this journal; run that version.",
    "truncated": "The file was emptied: restore it from a backup, then run relay recover --restored.",
    "not_a_database": "The file is not an SQLite database: check [journal] url.",
    "unreachable": "No answer in time: check that PostgreSQL runs, that no firewall stands between, and [journal] url.",
    "refused": "Nothing listens there: check that PostgreSQL runs, and host and port in [journal] url.",
    "unknown_host": "The host's name is not known to DNS: check it in [journal] url.",
    "wrong_password": "PostgreSQL, or the pooler, refuses user or password: check both in [journal] url.",
    "no_database": "PostgreSQL has no database of that name: create it, or check the name in [journal] url.",
    "permission_denied": "The user may not use the database or its tables: GRANT CONNECT on the database, and USAGE and"
    " CREATE on its schema.",
    "not_admitted": "pg_hba.conf has no line that admits this user, database and address; where it wants TLS, add"
    " sslmode=require to [journal] url.",
    "tls": "TLS does not come about: check sslmode and sslrootcert in [journal] url, and the server's certificate.",
    "standby": "Every host of [journal] url only reads: name the primary.",
    "too_many_connections": "PostgreSQL or the pooler takes no more connections: raise its limit, or run fewer replicas"
    " (8 connections each).",
    "pooler": "The pooler does not lead to PostgreSQL: it needs pool_mode transaction or session, and bears no options="
    " in [journal] url; its own log tells more.",
    "bad_url": "[journal] url must be one that libpq can read: postgresql://user:password@host1:port1,host2:port2/database?…",
    "other_hash_key": "The journal was written with another journal.hash_key (or with none): give that one again. With"
    " a new one, idempotency keys, look-ups by number and limits of what is kept would be void.",
    "schema_too_old": "Run relay migrate first: this process may not do it.",
    "foreign_database": "The database holds tables of something else: give the relay one of its own.",
}


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Wall-clock milliseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back: the clock of asyncio's loops too."""
        return time.monotonic()


class Uuid7Ids:
    """Fresh UUIDv7 identifiers (RFC 9562)."""

    def new_id(self) -> str:
        """One id, in its canonical text form."""
        return str(uuid_utils.uuid7())
