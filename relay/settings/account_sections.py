"""Settings of the accounts that sends take: smsclone's own, and further ones of its dialect."""

from pathlib import Path
from typing import Annotated

from msgspec import Struct

from relay.domain.secret import Secret
from relay.settings.client_sections import SenderId
from relay.settings.values import NAME, check_account_name, check_base_url, check_proxy, setting

_DAY = 86_400


class SmscloneSettings(Struct, frozen=True, kw_only=True):
    """The account ``smsclone`` and how it is called: a user name and password at a server of smsclone's dialect."""

    base_url: Annotated[
        str, setting("Where the account is; http:// only with allow_insecure or on loopback.", check=check_base_url)
    ] = "https://smsclone.com"
    username: Annotated[Secret, setting("User name there; relay serve needs it where the account is used.")] | None = (
        None
    )
    username_file: Annotated[Path, setting("A file with the user name; read again when it changes.")] | None = None
    password: Annotated[Secret, setting("Password there; relay serve needs it where the account is used.")] | None = (
        None
    )
    password_file: Annotated[Path, setting("A file with the password; read again when it changes.")] | None = None
    senders: Annotated[
        tuple[SenderId, ...], setting("Sender IDs registered there; none: every one.", max_length=1_000)
    ] = ()
    units_per_segment: (
        Annotated[float, setting("What a segment to one recipient costs, for estimates; none: 1.", ge=0, le=1_000)]
        | None
    ) = None
    units_per_segment_dnd: (
        Annotated[
            float,
            setting("The same by the routes dnd and dnd-fallback; none: as units_per_segment.", ge=0, le=1_000),
        ]
        | None
    ) = None
    bill_rejected: Annotated[bool, setting("Whether messages that it rejected cost units.")] = False
    timeout_seconds: Annotated[
        float, setting("Deadline of one call, from dial to last byte.", unit="seconds", ge=0.1, le=300)
    ] = 20.0
    connect_timeout_seconds: Annotated[
        float, setting("Limit for DNS, connection and TLS together.", unit="seconds", ge=0.1, le=300)
    ] = 5.0
    keepalive_seconds: Annotated[
        float,
        setting(
            "How long an idle connection is kept for the next call; 0: every call has a fresh one. Raise it only if you"
            " know the upstream's limit.",
            unit="seconds",
            ge=0,
            le=300,
        ),
    ] = 0.0
    max_recipients_per_call: Annotated[int, setting("Most recipients in one call.", ge=1, le=1_000)] = 100
    max_connections: Annotated[int, setting("Most calls to it at a time, for each replica.", ge=1, le=1_000)] = 50
    balance_interval_seconds: Annotated[
        float, setting("How often the balance is read, by one replica for all.", unit="seconds", ge=1, le=_DAY)
    ] = 60.0
    ca_file: (
        Annotated[
            Path, setting("CA certificates (PEM) to trust instead of the system's; for a proxy that inspects TLS.")
        ]
        | None
    ) = None
    proxy: (
        Annotated[Secret, setting("An HTTP proxy, with user name and password if it needs them.", check=check_proxy)]
        | None
    ) = None
    allow_insecure: Annotated[bool, setting("Allow http:// to another machine: the password is sent unencrypted.")] = (
        False
    )


class AccountSettings(SmscloneSettings, frozen=True, kw_only=True):
    """A further account, there or at a reseller with the same software."""

    name: Annotated[str, setting("The account's name, in metrics and answers.", pattern=NAME, check=check_account_name)]
