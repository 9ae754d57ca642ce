"""Settings in the words of the domain: what the core, the front and the log are given."""

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from relay.domain.clients import Client
from relay.domain.codes import MessageType, Route
from relay.domain.routing import QuietWindow
from relay.domain.secret import Secret
from relay.settings.clients import ClientSettings
from relay.settings.sections import SendLimit, Settings


def client_policies(settings: Settings) -> dict[str, Client]:
    """Give the clients as the rules see them, by name."""
    return {client.name: _policy(client) for client in settings.clients}


def _policy(client: ClientSettings) -> Client:
    return Client(
        name=client.name,
        senders=frozenset(client.senders),
        default_sender=client.default_sender,
        message_types=frozenset(client.message_types),
        routes=frozenset(client.routes),
        permissions=frozenset(client.permissions),
        require_idempotency_key=client.require_idempotency_key,
        requests_per_second=client.requests_per_second,
        recipients_per_day=client.recipients_per_day,
        callback_hosts=frozenset(client.callback_hosts),
        word_exceptions=frozenset(client.word_exceptions),
        sandbox=client.sandbox,
    )


def route_table(settings: Settings) -> dict[MessageType, Route]:
    """Give what the route ``auto`` means, by message type."""
    return {kind: getattr(settings.routes, kind.value) for kind in MessageType}


def quiet_windows(settings: Settings) -> dict[MessageType, QuietWindow]:
    """Give the quiet hours, by message type."""
    hours = settings.quiet_hours.promotional
    window = QuietWindow(_minute(hours.start), _minute(hours.end), ZoneInfo(hours.time_zone))
    return {MessageType.PROMOTIONAL: window}


def _minute(time_of_day: str) -> int:
    hours, minutes = time_of_day.split(":")
    return int(hours) * 60 + int(minutes)


def send_limits(settings: Settings) -> Mapping[MessageType, SendLimit]:
    """Give the limits on sends to one number, by message type; types without a limit are absent."""
    limits = {kind: getattr(settings.limits, kind.value) for kind in MessageType}
    return {kind: limit for kind, limit in limits.items() if limit is not None and limit.sends > 0}


def list_secrets(settings: Settings) -> tuple[Secret, ...]:
    """Give everything in the settings that no log line may hold, passwords inside of addresses among it."""
    smsclone, journal = settings.smsclone, settings.journal
    secrets = [smsclone.username, smsclone.password, journal.hash_key]
    for url in (journal.url, smsclone.proxy):
        if url is not None and (password := urlsplit(url.reveal()).password):
            secrets += [Secret(password), Secret(unquote(password))]
    secrets += [receiver.hmac_secret for receiver in settings.receivers]
    secrets += [secret for client in settings.clients for secret in client.callback_secrets]
    return tuple(secret for secret in secrets if secret)
