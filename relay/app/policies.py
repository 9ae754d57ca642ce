"""Settings in the words of the core: what each stage depends on, and what the log must hide."""

from decimal import Decimal
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from relay.app.adapters import StartError
from relay.domain.clients import Client
from relay.domain.codes import Code, MessageType, Route
from relay.domain.hours import DeliveryWindow, read_minute
from relay.domain.secret import Secret
from relay.domain.templates import TemplateBook, TemplateError
from relay.domain.usage import Prices
from relay.domain.words import WordEntry, WordListError, WordMatcher
from relay.sending.policy import Policy, SendLimit
from relay.sending.prepare import Rules
from relay.settings import ClientSettings, Settings
from relay.settings.client_sections import DeliveryWindowSettings
from relay.settings.values import journal_passwords
from relay.template_files import Loaded, read_templates
from relay.word_lists import read_word_lists

LAGOS = ZoneInfo("Africa/Lagos")
_DAY_MS = 86_400_000
_RESERVED_SHARE = 5
"""One in so many of the permits for calls is left to codes, alerts and callers who wait."""


def load_words(settings: Settings) -> list[WordEntry]:
    """Read the word lists in force.

    Raises:
        StartError: a list cannot be used.
    """
    try:
        return read_word_lists(settings.prefilter.lists)
    except WordListError as failure:
        remedy = "Correct the lists of [prefilter]; relay words list --list FILE shows one."
        raise StartError("; ".join(failure.errors) + ".", remedy) from None


def load_templates(settings: Settings, matcher: WordMatcher) -> Loaded:
    """Read the templates in force.

    Raises:
        StartError: a file cannot be used.
    """
    try:
        return read_templates(settings.templates.files, matcher)
    except TemplateError as failure:
        remedy = "Correct the files of [templates]; relay templates check FILE shows one."
        raise StartError("; ".join(failure.errors) + ".", remedy) from None


def make_rules(settings: Settings, matcher: WordMatcher, templates: TemplateBook) -> Rules:
    """What judging depends on."""
    return Rules(
        matcher=matcher,
        templates=templates,
        routes=_route_table(settings),
        hours=_hours(settings),
        allow_foreign=settings.sending.allow_foreign_numbers,
    )


def make_policy(settings: Settings, hash_key: bytes) -> Policy:
    """What stays as it is until the process ends."""
    sending, smsclone, journal = settings.sending, settings.smsclone, settings.journal
    return Policy(
        notification_deadline_seconds=sending.notification_deadline_seconds,
        max_waiting=sending.max_waiting,
        hash_key=hash_key,
        key_window_ms=journal.idempotency_days * _DAY_MS,
        queue_lifetime_ms=sending.queue_lifetime_seconds * 1000,
        send_limits=_send_limits(settings),
        day_zone=LAGOS,
        call_timeout_seconds=smsclone.timeout_seconds,
        calls_at_a_time=sending.calls_at_a_time,
        second_attempt=frozenset(sending.dnd_second_attempt),
        hours=_hours(settings),
        queue_deliveries=smsclone.max_connections * 2,
        queue_reserved=reserved_permits(settings),
        drain_seconds=sending.drain_seconds,
        balance_interval_seconds=smsclone.balance_interval_seconds,
        retention_days=journal.retention_days,
        audit_months=journal.audit_months,
        usage_months=journal.usage_months,
        prices=account_prices(settings),
    )


def account_prices(settings: Settings) -> dict[str, Prices]:
    """What a segment costs, by account."""
    return {
        name: Prices(
            Decimal(1) if account.units_per_segment is None else Decimal(str(account.units_per_segment)),
            None if account.units_per_segment_dnd is None else Decimal(str(account.units_per_segment_dnd)),
            account.bill_rejected,
        )
        for name, account in settings.all_accounts().items()
    }


def reserved_permits(settings: Settings) -> int:
    """How many of the permits for calls the queue's ordinary traffic leaves free."""
    return max(settings.smsclone.max_connections // _RESERVED_SHARE, 1)


def client_policies(settings: Settings) -> dict[str, Client]:
    """The clients as the core sees them, by name."""
    return {client.name: _policy(client, settings.accounts_of(client)) for client in settings.clients}


def _policy(client: ClientSettings, accounts: tuple[str, ...]) -> Client:
    return Client(
        name=client.name,
        accounts=accounts,
        senders=frozenset(client.senders),
        default_sender=client.default_sender,
        default_billing_code=client.default_billing_code,
        delivery_window=_window(client.delivery_window),
        message_types=frozenset(client.message_types),
        routes=frozenset(client.routes),
        permissions=frozenset(client.permissions),
        require_idempotency_key=client.require_idempotency_key,
        keys_carry_time=client.keys_carry_time,
        repeat_window_seconds=client.repeat_window_seconds,
        templates_only=client.templates_only,
        requests_per_second=client.requests_per_second,
        recipients_per_day=client.recipients_per_day,
        units_per_month=None if client.units_per_month is None else Decimal(str(client.units_per_month)),
        callback_hosts=frozenset(client.callback_hosts),
        word_exceptions=frozenset(client.word_exceptions),
        sandbox=client.sandbox,
    )


def _route_table(settings: Settings) -> dict[MessageType, Route]:
    """What the route ``auto`` means, by message type."""
    return {kind: getattr(settings.routes, kind.value) for kind in MessageType}


def _hours(settings: Settings) -> dict[MessageType, DeliveryWindow]:
    """When messages of a type are sent: outside its quiet hours."""
    quiet = settings.quiet_hours.promotional
    if quiet.start == quiet.end:
        return {}
    begin, end = read_minute(quiet.end), read_minute(quiet.start)
    return {MessageType.PROMOTIONAL: DeliveryWindow(begin, end, quiet.time_zone, Code.HELD_QUIET_HOURS)}


def _window(window: DeliveryWindowSettings | None) -> DeliveryWindow | None:
    if window is None:
        return None
    return DeliveryWindow(read_minute(window.start), read_minute(window.end), window.time_zone)


def _send_limits(settings: Settings) -> dict[MessageType, SendLimit]:
    """The limits on sends to one number, by message type; types without a limit are absent."""
    limits = {kind: getattr(settings.limits, kind.value) for kind in MessageType}
    return {
        kind: SendLimit(limit.sends, limit.window_seconds) for kind, limit in limits.items() if limit and limit.sends
    }


def list_secrets(settings: Settings) -> tuple[Secret, ...]:
    """Everything in the settings that no log line may hold, including passwords in URLs."""
    journal, accounts = settings.journal, settings.all_accounts().values()
    secrets = [secret for account in accounts for secret in (account.username, account.password)] + [journal.hash_key]
    passwords = journal_passwords(journal.url)
    for account in accounts:
        if account.proxy is not None:
            passwords += [urlsplit(account.proxy.reveal()).password or ""]
    for password in passwords:
        secrets += [Secret(password), Secret(unquote(password))]
    secrets += [receiver.hmac_secret for receiver in settings.receivers]
    secrets += [secret for client in settings.clients for secret in client.callback_secrets]
    return tuple(secret for secret in secrets if secret)
