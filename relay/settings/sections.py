"""Every setting of the process: name, type, unit, default, range, meaning. Clients and receivers have their own module.

Values here are right by themselves and together (``relay.settings.rules``); nothing downstream checks them again.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from msgspec import Struct, field

from relay.domain.codes import MessageType, Route
from relay.domain.secret import Secret
from relay.settings.clients import ClientSettings, ReceiverSettings
from relay.settings.values import (
    TIME_OF_DAY,
    check_api_url,
    check_base_url,
    check_hash_key,
    check_host,
    check_journal_url,
    check_network,
    check_proxy,
    check_time_zone,
    setting,
)

_SERVICE_ACCOUNT_FILES = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DAY = 86_400


class LogLevel(StrEnum):
    """What is written to the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogSettings(Struct, frozen=True, kw_only=True):
    """The log: JSON lines on standard output."""

    level: Annotated[LogLevel, setting("From which level on lines are written.")] = LogLevel.INFO


class ListenSettings(Struct, frozen=True, kw_only=True):
    """Where the relay is reached."""

    host: Annotated[str, setting("Address to listen on; 0.0.0.0 for all of IPv4, :: for all.", check=check_host)] = (
        "127.0.0.1"
    )
    port: Annotated[int, setting("Port of the API.", ge=1, le=65_535)] = 8080
    metrics_port: (
        Annotated[int, setting("A port of its own for /metrics; none: it is on the main port.", ge=1, le=65_535)] | None
    ) = None
    docs: Annotated[bool, setting("Whether /docs is served.")] = True
    openapi: Annotated[bool, setting("Whether /openapi.json is served; without it there is no /docs.")] = True


class SmscloneSettings(Struct, frozen=True, kw_only=True):
    """The upstream and how it is called."""

    base_url: Annotated[
        str, setting("Where smsclone is; http:// only with allow_insecure or on loopback.", check=check_base_url)
    ] = "https://smsclone.com"
    username: Annotated[Secret, setting("User name at smsclone; serve needs it.")] | None = None
    username_file: Annotated[Path, setting("A file that holds the user name.")] | None = None
    password: Annotated[Secret, setting("Password at smsclone; serve needs it.")] | None = None
    password_file: Annotated[Path, setting("A file that holds the password.")] | None = None
    timeout_seconds: Annotated[
        float, setting("One deadline for a call, from dial to last byte.", unit="seconds", ge=0.1, le=300)
    ] = 20.0
    connect_timeout_seconds: Annotated[
        float, setting("How long name look-up, connection and TLS may take.", unit="seconds", ge=0.1, le=300)
    ] = 5.0
    keepalive_seconds: Annotated[
        float,
        setting(
            "How long a connection is kept for the next call; 0: a fresh one a call. Raise it only when the upstream's"
            " own is known.",
            unit="seconds",
            ge=0,
            le=300,
        ),
    ] = 0.0
    max_recipients_per_call: Annotated[int, setting("Recipients in one call at most.", ge=1, le=1_000)] = 100
    max_connections: Annotated[int, setting("Calls that are out at once at most.", ge=1, le=1_000)] = 50
    balance_interval_seconds: Annotated[
        float, setting("How often one replica reads the balance.", unit="seconds", ge=1, le=_DAY)
    ] = 60.0
    ca_file: (
        Annotated[Path, setting("Certificates (PEM) to trust instead of the system's; for a proxy that inspects TLS.")]
        | None
    ) = None
    proxy: (
        Annotated[Secret, setting("An HTTP proxy, with user and password where it wants them.", check=check_proxy)]
        | None
    ) = None
    allow_insecure: Annotated[bool, setting("Allow http:// to another machine: the password travels in clear.")] = False


class SendingSettings(Struct, frozen=True, kw_only=True):
    """How notifications are taken on and sent."""

    notification_deadline_seconds: Annotated[
        float,
        setting("Deadline of a synchronous notification: waiting and all its calls.", unit="seconds", ge=0.1, le=600),
    ] = 25.0
    calls_at_a_time: Annotated[int, setting("Calls of one notification that are out at once.", ge=1, le=100)] = 4
    dnd_second_attempt: Annotated[
        tuple[MessageType, ...],
        setting("Message types whose numbers are tried once more by dnd after DND_REJECTED by normal."),
    ] = ()
    max_waiting: Annotated[
        int, setting("Synchronous notifications admitted at once; more are shed with 503.", ge=1, le=100_000)
    ] = 200
    queue_lifetime_seconds: Annotated[
        int, setting("When a queued notification without expires_at is given up.", unit="seconds", ge=60, le=30 * _DAY)
    ] = _DAY
    drain_seconds: Annotated[
        float, setting("How long a stop waits for sends in flight.", unit="seconds", ge=0, le=600)
    ] = 30.0
    allow_foreign_numbers: Annotated[bool, setting("Whether numbers outside Nigeria are accepted.")] = False


class BreakerSettings(Struct, frozen=True, kw_only=True):
    """When calls to the upstream are stopped for a while."""

    failures: Annotated[int, setting("So many calls in a row without an answer open it.", ge=1, le=1_000)] = 5
    open_seconds: Annotated[
        float, setting("How long it stays open before the first probe.", unit="seconds", ge=0.1, le=600)
    ] = 10.0


class RoutesSettings(Struct, frozen=True, kw_only=True):
    """What the route "auto" gives, by message type."""

    otp: Annotated[Route, setting("Route of one-time passwords.")] = Route.DND_FALLBACK
    alert: Annotated[Route, setting("Route of alerts.")] = Route.DND_FALLBACK
    transactional: Annotated[Route, setting("Route of transactional messages.")] = Route.DND_FALLBACK
    promotional: Annotated[Route, setting("Route of promotional messages; only normal is allowed.")] = Route.NORMAL


class QuietHours(Struct, frozen=True, kw_only=True):
    """A part of the day, from one minute up to, not including, another; it may pass midnight."""

    start: Annotated[str, setting("When the quiet hours begin, as 20:00.", pattern=TIME_OF_DAY)] = field(
        default="20:00", name="from"
    )
    end: Annotated[str, setting("When they end, as 08:00; equal to from: no quiet hours.", pattern=TIME_OF_DAY)] = (
        field(default="08:00", name="to")
    )
    time_zone: Annotated[str, setting("The zone whose clock counts.", check=check_time_zone)] = "Africa/Lagos"


class QuietHoursSettings(Struct, frozen=True, kw_only=True):
    """When messages of a type are not sent."""

    promotional: QuietHours = QuietHours()


class PrefilterSettings(Struct, frozen=True, kw_only=True):
    """The word lists."""

    lists: Annotated[
        tuple[Path, ...], setting("Word lists (TOML), all in force together; none: the shipped list.", max_length=100)
    ] = ()


class JournalSettings(Struct, frozen=True, kw_only=True):
    """The durable memory."""

    url: Annotated[
        Secret,
        setting("sqlite:///relay.db for one process, postgresql://… for several replicas.", check=check_journal_url),
    ] = Secret("sqlite:///relay.db")
    url_file: Annotated[Path, setting("A file that holds the address.")] | None = None
    idempotency_days: Annotated[
        int, setting("How long an Idempotency-Key gets the stored answer.", unit="days", ge=1, le=365)
    ] = 7
    retention_days: Annotated[
        int, setting("When finished notifications are deleted, numbers and all.", unit="days", ge=1, le=3_650)
    ] = 30
    replicas: Annotated[int, setting("How many relays share this journal; SQLite bears one.", ge=1, le=1_000)] = 1
    hash_key: (
        Annotated[
            Secret,
            setting(
                "Key of fingerprints and hashes; none: made at first start, kept in the journal.", check=check_hash_key
            ),
        ]
        | None
    ) = None
    hash_key_file: Annotated[Path, setting("A file that holds the key.")] | None = None


class SendLimit(Struct, frozen=True, kw_only=True):
    """Sends to one number of one message type in a window."""

    sends: Annotated[int, setting("Sends to one number in the window; 0: no limit.", ge=0, le=100_000)]
    window_seconds: Annotated[int, setting("The window.", unit="seconds", ge=1, le=30 * _DAY)] = 600


class LimitsSettings(Struct, frozen=True, kw_only=True):
    """Limits on what one number gets, by message type; none given: no limit."""

    otp: SendLimit | None = SendLimit(sends=5)
    alert: SendLimit | None = None
    transactional: SendLimit | None = None
    promotional: SendLimit | None = None


class CallbacksSettings(Struct, frozen=True, kw_only=True):
    """Where callbacks may go, beside each client's callback_hosts."""

    allowed_networks: Annotated[
        tuple[Annotated[str, setting("A network.", check=check_network)], ...],
        setting("Private networks that callbacks may connect to; none: public addresses only.", max_length=100),
    ] = ()
    ca_file: Annotated[Path, setting("Certificates (PEM) to trust instead of the system's.")] | None = None


class KubernetesSettings(Struct, frozen=True, kw_only=True):
    """How projected service account tokens are checked; used where a client has a service_account."""

    api_url: Annotated[str, setting("The API server.", check=check_api_url)] = "https://kubernetes.default.svc"
    token_file: Annotated[Path, setting("The relay's own token, read again when it changes.")] = (
        _SERVICE_ACCOUNT_FILES / "token"
    )
    ca_file: Annotated[Path, setting("The API server's certificates.")] = _SERVICE_ACCOUNT_FILES / "ca.crt"
    audience: Annotated[str, setting("What tokens must be made for.", min_length=1, max_length=200)] = "relay"


class Settings(Struct, frozen=True, kw_only=True):
    """All settings, checked."""

    log: LogSettings = LogSettings()
    listen: ListenSettings = ListenSettings()
    smsclone: SmscloneSettings = SmscloneSettings()
    sending: SendingSettings = SendingSettings()
    breaker: BreakerSettings = BreakerSettings()
    routes: RoutesSettings = RoutesSettings()
    quiet_hours: QuietHoursSettings = QuietHoursSettings()
    prefilter: PrefilterSettings = PrefilterSettings()
    journal: JournalSettings = JournalSettings()
    limits: LimitsSettings = LimitsSettings()
    callbacks: CallbacksSettings = CallbacksSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    clients: Annotated[tuple[ClientSettings, ...], setting("The calling services.", max_length=500)] = ()
    receivers: Annotated[tuple[ReceiverSettings, ...], setting("Targets of webhooks.", max_length=500)] = ()
