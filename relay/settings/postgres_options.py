"""What stands behind the question mark of a PostgreSQL address, and what other programs write there.

Source: PostgreSQL's documentation, "Parameter Key Words" and "Connection URIs".
"""

import re

_KNOWN = frozenset(
    [
        "application_name",
        "authtype",
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "dbname",
        "fallback_application_name",
        "gssdelegation",
        "gssencmode",
        "gsslib",
        "host",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "krbsrvname",
        "load_balance_hosts",
        "max_protocol_version",
        "min_protocol_version",
        "oauth_client_id",
        "oauth_client_secret",
        "oauth_issuer",
        "oauth_scope",
        "options",
        "passfile",
        "password",
        "port",
        "replication",
        "require_auth",
        "requirepeer",
        "scram_client_key",
        "scram_server_key",
        "service",
        "servicefile",
        "ssl",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcertmode",
        "sslcompression",
        "sslcrl",
        "sslcrldir",
        "sslkey",
        "sslkeylogfile",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "sslrootcert",
        "sslsni",
        "target_session_attrs",
        "tcp_user_timeout",
        "tty",
        "user",
    ]
)

SECRET_OPTIONS = frozenset(("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"))
"""Those whose values no log may hold."""

_OTHERS = {
    "pgbouncer": "leave it out: the relay finds a pooler by itself",
    "prepareThreshold": "leave it out: the relay finds a pooler by itself",
    "statement_cache_size": "leave it out: the relay finds a pooler by itself",
    "prepared_statement_cache_size": "leave it out: the relay finds a pooler by itself",
    "schema": "write options=-csearch_path%3DNAME",
    "currentSchema": "write options=-csearch_path%3DNAME",
    "search_path": "write options=-csearch_path%3DNAME",
    "connection_limit": "leave it out",
    "pool_timeout": "leave it out",
    "pool_size": "leave it out",
    "sslaccept": "write sslmode",
    "ssl_mode": "write sslmode",
    "timezone": "leave it out",
}
"""Options of other drivers, which people copy with the address, and what to do about them."""

_VALUES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "load_balance_hosts": ("disable", "random"),
}

_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")


def find_wrong_option(url: str, options: str) -> str | None:
    """What libpq would refuse in an address that is well formed otherwise; nothing of a value is told.

    Example:
        >>> find_wrong_option("postgresql://h/db?pgbouncer=true", "pgbouncer=true")
        "has the option pgbouncer, which is another program's: leave it out: the relay finds a pooler by itself"
    """
    if _BROKEN_PERCENT.search(url):
        return "has a percent sign without two hexadecimal digits; the sign itself is written %25"
    for place, option in enumerate(options.split("&") if options else (), 1):
        name, equals, value = option.partition("=")
        if name in _OTHERS:
            return f"has the option {name}, which is another program's: {_OTHERS[name]}"
        if not equals or name not in _KNOWN:
            return f"has an option that libpq does not know (number {place} behind the question mark)"
        if value not in _VALUES.get(name, (value,)):
            return f"has another {name} than libpq knows: write one of {', '.join(_VALUES[name])}"
    return None
