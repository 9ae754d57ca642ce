"""How PostgreSQL is reached, and why it is not: every failure of a connection has a word of its own.

Between the relay and the server there may be a pooler that gives each transaction another of its connections. So
nothing here, and nothing of what is built on it, belongs to a session: settings are set within a transaction, locks end
with it, and statements are prepared only where no pooler stands in between.
"""

import re
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from relay.domain.secret import Secret
from relay.sending.ports import JournalUnavailable

_CONNECTION = {
    "application_name": "relay",
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    "target_session_attrs": "read-write",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""How a connection is made, unless the URL says otherwise: a server that vanished is noticed within ten seconds."""

BACKEND = b"SELECT pg_backend_pid()"
"""A server tells a connection the number of its process twice: when it is made, and here. A pooler answers for the
server when it is made, with a number of its own."""

_WORDS = (
    ("pooler", r"server login failed|pgbouncer|unsupported startup parameter|statement pooling|query_wait_timeout"),
    (
        "wrong_password",
        r'auth(entication)? failed|no password supplied|empty password|no such user|role "[^"]*" does not exist',
    ),
    ("no_database", r'database "[^"]*" does not exist|no such database'),
    ("permission_denied", r"permission denied|not permitted to log in|not currently accepting connections"),
    ("not_admitted", r"pg_hba\.conf"),
    ("tls", r"SSL|TLS|certificate"),
    ("standby", r"session is read-only|server is in hot standby"),
    ("too_many_connections", r"too many (clients|connections)|connection slots|no more connections allowed"),
    ("refused", r"Connection refused|Is the server running"),
    ("unknown_host", r"failed to resolve host|could not translate host name|Name or service not known"),
)
"""What libpq, PostgreSQL and PgBouncer say where no connection comes about: libpq hands over a text and no code. Of
several hosts all say something; what is nearest to a session counts."""
_NAMED = [(word, re.compile(pattern)) for word, pattern in _WORDS]

OF_THE_CONNECTION = frozenset({"unreachable", *(word for word, _ in _WORDS)} - {"permission_denied"})
"""Failures that every transaction would meet alike. What was idle may have died, and a new connection may do better."""

_UNREACHABLE = ("08", "57P", "53300", "25006")
_CODES = {"53100": "disk_full", "42501": "permission_denied"}
_TIMED_OUT = ("55P03", "57014", "25P03")
_CONTENDED = ("40001", "40P01")


def connection_parameters(url: Secret) -> dict[str, Any]:
    """What psycopg is told; statements are not prepared unless somebody has looked for a pooler.

    Raises:
        JournalUnavailable: ``bad_url``; its text stays behind.
    """
    try:
        return _CONNECTION | conninfo_to_dict(url.reveal()) | {"prepare_threshold": None}
    except psycopg.ProgrammingError:
        raise JournalUnavailable("bad_url") from None


def reason_of(error: Exception) -> str:
    """A closed word for a failure of the driver."""
    code = getattr(error, "sqlstate", None)
    if code is None:
        return _name(str(error)) if isinstance(error, psycopg.OperationalError) else "failed"
    if code.startswith(_UNREACHABLE):
        return _name(str(error)) if code.startswith("08") else "unreachable"
    if code in _CODES:
        return _CODES[code]
    if code in _TIMED_OUT:
        return "timeout"
    return "contended" if code in _CONTENDED else "failed"


def _name(text: str) -> str:
    # The text names host, user and database, so a word may be found in a name: it only ever chooses one of ours.
    return next((word for word, pattern in _NAMED if pattern.search(text)), "unreachable")
