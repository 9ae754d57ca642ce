"""Every setting of the process: name, type, unit, default, range, meaning. Clients and receivers have their own module.

Values here are right by themselves and together (``relay.settings.rules``); nothing downstream checks them again.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from msgspec import Struct, field

from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import MessageType, Route
from relay.domain.secret import Secret
from relay.settings.account_sections import AccountSettings, SmscloneSettings
from relay.settings.client_sections import AccountName, ClientSettings, ReceiverSettings
from relay.settings.values import (
    TIME_OF_DAY,
    check_api_url,
    check_hash_key,
    check_host,
    check_journal_url,
    check_network,
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

    level: Annotated[LogLevel, setting("The lowest level that is logged.")] = LogLevel.INFO


class ListenSettings(Struct, frozen=True, kw_only=True):
    """Where the relay is reached."""

    host: Annotated[
        str, setting("Address to listen on; 0.0.0.0 for all IPv4 addresses, :: for all.", check=check_host)
    ] = "127.0.0.1"
    port: Annotated[int, setting("Port of the API.", ge=1, le=65_535)] = 8080
    metrics_port: (
        Annotated[int, setting("A separate port for /metrics; none: it is on the main port.", ge=1, le=65_535)] | None
    ) = None
    docs: Annotated[bool, setting("Whether /docs is served.")] = True
    openapi: Annotated[bool, setting("Whether /openapi.json is served; without it there is no /docs.")] = True
    console: Annotated[bool, setting("Whether /console, the operator's page, is served.")] = True


class SendingSettings(Struct, frozen=True, kw_only=True):
    """How notifications are taken on and sent."""

    accounts: Annotated[
        tuple[AccountName, ...],
        setting(
            "Accounts in order of preference: the first that can take a call gets it.", min_length=1, max_length=20
        ),
    ] = (FIRST_ACCOUNT,)

    notification_deadline_seconds: Annotated[
        float,
        setting(
            "Deadline of a synchronous notification, for waiting and all its calls.", unit="seconds", ge=0.1, le=600
        ),
    ] = 25.0
    calls_at_a_time: Annotated[int, setting("Most calls at a time for one notification.", ge=1, le=100)] = 4
    dnd_second_attempt: Annotated[
        tuple[MessageType, ...],
        setting("Message types that are tried once more, on dnd, for a number that normal answered with DND_REJECTED."),
    ] = ()
    max_waiting: Annotated[
        int, setting("Most synchronous notifications at a time; more are refused with 503.", ge=1, le=100_000)
    ] = 200
    queue_lifetime_seconds: Annotated[
        int, setting("How long a queued notification without expires_at may wait.", unit="seconds", ge=60, le=30 * _DAY)
    ] = _DAY
    drain_seconds: Annotated[
        float, setting("How long a shutdown waits for sends in flight.", unit="seconds", ge=0, le=600)
    ] = 30.0
    allow_foreign_numbers: Annotated[bool, setting("Whether numbers outside Nigeria are accepted.")] = False


class BreakerSettings(Struct, frozen=True, kw_only=True):
    """When calls to the upstream are stopped for a while."""

    failures: Annotated[int, setting("Number of calls in a row without an answer that open it.", ge=1, le=1_000)] = 5
    open_seconds: Annotated[
        float, setting("How long it stays open before the first probe.", unit="seconds", ge=0.1, le=600)
    ] = 10.0


class RoutesSettings(Struct, frozen=True, kw_only=True):
    """What the route "auto" gives, by message type."""

    otp: Annotated[Route, setting("Route of one-time passwords.")] = Route.DND_FALLBACK
    alert: Annotated[Route, setting("Route of alerts.")] = Route.DND_FALLBACK
    transactional: Annotated[Route, setting("Route of transactional messages.")] = Route.DND_FALLBACK
    promotional: Annotated[Route, setting("Route of promotional messages; only normal is allowed.")] = Route.NORMAL


class QuietHoursRange(Struct, frozen=True, kw_only=True):
    """A part of the day, from one minute up to, not including, another; it may pass midnight."""

    start: Annotated[str, setting("When the quiet hours begin, as 20:00.", pattern=TIME_OF_DAY)] = field(
        default="20:00", name="from"
    )
    end: Annotated[str, setting("When they end, as 08:00; equal to from: no quiet hours.", pattern=TIME_OF_DAY)] = (
        field(default="08:00", name="to")
    )
    time_zone: Annotated[str, setting("The time zone of these hours.", check=check_time_zone)] = "Africa/Lagos"


class QuietHoursSettings(Struct, frozen=True, kw_only=True):
    """When messages of a type are not sent."""

    promotional: QuietHoursRange = QuietHoursRange()


class PrefilterSettings(Struct, frozen=True, kw_only=True):
    """The word lists."""

    lists: Annotated[
        tuple[Path, ...], setting("Word lists (TOML), all used together; none: the shipped list.", max_length=100)
    ] = ()


class TemplatesSettings(Struct, frozen=True, kw_only=True):
    """Message templates."""

    files: Annotated[tuple[Path, ...], setting("Files of templates (TOML), all used together.", max_length=100)] = ()


class SuppressionSettings(Struct, frozen=True, kw_only=True):
    """Numbers that are not to be written to, beside those that /v1/suppressions has."""

    learn_dnd_days: Annotated[
        int,
        setting(
            "How long a number that the normal route answered with DND_REJECTED gets no promotional messages; 0: not"
            " learned.",
            unit="days",
            ge=0,
            le=3_650,
        ),
    ] = 0


class JournalSettings(Struct, frozen=True, kw_only=True):
    """The durable memory."""

    url: Annotated[
        Secret,
        setting(
            "sqlite:///relay.db for one process; postgresql://… for several replicas, as libpq reads it (several hosts"
            " and poolers too).",
            check=check_journal_url,
        ),
    ] = Secret("sqlite:///relay.db")
    url_file: Annotated[Path, setting("A file with the address.")] | None = None
    idempotency_days: Annotated[
        int, setting("How long a repeated Idempotency-Key gets the stored answer.", unit="days", ge=1, le=365)
    ] = 7
    retention_days: Annotated[
        int, setting("How long finished notifications are kept, with their numbers.", unit="days", ge=1, le=3_650)
    ] = 30
    usage_months: Annotated[int, setting("How long usage is kept.", unit="months", ge=1, le=1_200)] = 24
    audit_months: Annotated[
        int, setting("How long the audit of what operators did is kept.", unit="months", ge=1, le=120)
    ] = 24
    replicas: Annotated[int, setting("How many relays share this journal; with SQLite only one.", ge=1, le=1_000)] = 1
    hash_key: (
        Annotated[
            Secret,
            setting(
                "Key of fingerprints and hashes; none: made at the first start and kept in the journal.",
                check=check_hash_key,
            ),
        ]
        | None
    ) = None
    hash_key_file: Annotated[Path, setting("A file with the key.")] | None = None


class SendLimitSettings(Struct, frozen=True, kw_only=True):
    """Sends to one number of one message type in a window."""

    sends: Annotated[int, setting("Sends to one number in the window; 0: no limit.", ge=0, le=100_000)]
    window_seconds: Annotated[int, setting("Length of the window.", unit="seconds", ge=1, le=30 * _DAY)] = 600


class LimitsSettings(Struct, frozen=True, kw_only=True):
    """Limits on what one number gets, by message type; none given: no limit."""

    otp: SendLimitSettings | None = SendLimitSettings(sends=5)
    alert: SendLimitSettings | None = None
    transactional: SendLimitSettings | None = None
    promotional: SendLimitSettings | None = None


class CallbacksSettings(Struct, frozen=True, kw_only=True):
    """Where callbacks may go, beside each client's callback_hosts."""

    allowed_networks: Annotated[
        tuple[Annotated[str, setting("A network.", check=check_network)], ...],
        setting("Private networks that callbacks may connect to; none: public addresses only.", max_length=100),
    ] = ()
    ca_file: Annotated[Path, setting("CA certificates (PEM) to trust instead of the system's.")] | None = None


class KubernetesSettings(Struct, frozen=True, kw_only=True):
    """How projected service account tokens are checked; used where a client has a service_account."""

    api_url: Annotated[str, setting("The API server.", check=check_api_url)] = "https://kubernetes.default.svc"
    token_file: Annotated[Path, setting("The relay's own token; reread when it changes.")] = (
        _SERVICE_ACCOUNT_FILES / "token"
    )
    ca_file: Annotated[Path, setting("The API server's certificates.")] = _SERVICE_ACCOUNT_FILES / "ca.crt"
    audience: Annotated[str, setting("The audience that tokens must have.", min_length=1, max_length=200)] = "relay"


class Settings(Struct, frozen=True, kw_only=True):
    """All settings, checked."""

    log: LogSettings = LogSettings()
    listen: ListenSettings = ListenSettings()
    smsclone: SmscloneSettings = SmscloneSettings()
    accounts: Annotated[tuple[AccountSettings, ...], setting("Further accounts.", max_length=20)] = ()
    sending: SendingSettings = SendingSettings()
    breaker: BreakerSettings = BreakerSettings()
    routes: RoutesSettings = RoutesSettings()
    quiet_hours: QuietHoursSettings = QuietHoursSettings()
    prefilter: PrefilterSettings = PrefilterSettings()
    templates: TemplatesSettings = TemplatesSettings()
    suppression: SuppressionSettings = SuppressionSettings()
    journal: JournalSettings = JournalSettings()
    limits: LimitsSettings = LimitsSettings()
    callbacks: CallbacksSettings = CallbacksSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    clients: Annotated[tuple[ClientSettings, ...], setting("The calling services.", max_length=500)] = ()
    receivers: Annotated[tuple[ReceiverSettings, ...], setting("Targets of webhooks.", max_length=500)] = ()

    def all_accounts(self) -> dict[str, SmscloneSettings]:
        """Every account that is set up, by its name; the one of ``[smsclone]`` first."""
        return {FIRST_ACCOUNT: self.smsclone, **{account.name: account for account in self.accounts}}

    def accounts_of(self, client: ClientSettings) -> tuple[str, ...]:
        """The accounts of a client in its order of preference; none for a client of the stand-in."""
        return () if client.sandbox else client.accounts or self.sending.accounts

    def used_accounts(self) -> dict[str, SmscloneSettings]:
        """The accounts that a client can send by; where there are no clients, those of ``[sending]``."""
        named = {name for client in self.clients for name in self.accounts_of(client)}
        if not self.clients:
            named = set(self.sending.accounts)
        return {name: account for name, account in self.all_accounts().items() if name in named}

    def ready_accounts(self) -> dict[str, SmscloneSettings]:
        """The accounts that a relay which starts with these settings can call: those that are used, and those that
        have a user name and a password."""
        used = self.used_accounts()
        return {
            name: account
            for name, account in self.all_accounts().items()
            if name in used or (account.username and account.password)
        }
