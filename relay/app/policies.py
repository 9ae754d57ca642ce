"""Settings in the words of the core: what each stage depends on."""

from zoneinfo import ZoneInfo

from relay.app.adapters import StartError
from relay.domain.blocked_words import WordEntry, WordListError, WordMatcher
from relay.domain.codes import MessageType
from relay.domain.routing import quiet_until
from relay.sending.accept import AcceptPolicy, SendLimit
from relay.sending.dial import DialPolicy
from relay.sending.dispatcher import SendingPolicy
from relay.sending.prepare import Rules
from relay.sending.upkeep import UpkeepPolicy
from relay.settings import Settings, quiet_windows, route_table, send_limits
from relay.word_lists import read_word_lists

LAGOS = ZoneInfo("Africa/Lagos")
_DAY_MS = 86_400_000
_RESERVED_SHARE = 5
"""One in so many of the places for calls is left to codes, alerts and callers who wait."""


def load_words(settings: Settings) -> list[WordEntry]:
    """Read the word lists in force.

    Raises:
        StartError: a list cannot be used.
    """
    try:
        return read_word_lists(settings.prefilter.lists)
    except WordListError as failure:
        remedy = "Mend the lists of [prefilter]; relay words list --list FILE shows one."
        raise StartError("; ".join(failure.errors), remedy) from None


def make_rules(settings: Settings, matcher: WordMatcher) -> Rules:
    """What judging depends on."""
    return Rules(
        matcher=matcher,
        routes=route_table(settings),
        quiet_hours=quiet_windows(settings),
        allow_foreign=settings.sending.allow_foreign_numbers,
    )


def make_accept_policy(settings: Settings, hash_key: bytes) -> AcceptPolicy:
    """What acceptance depends on."""
    return AcceptPolicy(
        hash_key=hash_key,
        key_window_ms=settings.journal.idempotency_days * _DAY_MS,
        queue_lifetime_ms=settings.sending.queue_lifetime_seconds * 1000,
        send_limits={
            kind: SendLimit(limit.sends, limit.window_seconds) for kind, limit in send_limits(settings).items()
        },
        day_zone=LAGOS,
    )


def make_dial_policy(settings: Settings) -> DialPolicy:
    """How calls are made."""
    windows = quiet_windows(settings)

    def quiet(kind: MessageType, now_ms: int) -> int | None:
        window = windows.get(kind)
        return None if window is None else quiet_until(window, now_ms)

    return DialPolicy(
        call_timeout_seconds=settings.smsclone.timeout_seconds,
        calls_at_a_time=settings.sending.calls_at_a_time,
        second_attempt=frozenset(settings.sending.dnd_second_attempt),
        quiet_until=quiet,
    )


def make_sending_policy(settings: Settings) -> SendingPolicy:
    """How much is taken on at once."""
    places = settings.smsclone.max_connections
    return SendingPolicy(
        notification_deadline_seconds=settings.sending.notification_deadline_seconds,
        max_waiting=settings.sending.max_waiting,
        queue_places=places * 2,
        queue_reserved=max(places // _RESERVED_SHARE, 1),
        drain_seconds=settings.sending.drain_seconds,
    )


def make_upkeep_policy(settings: Settings) -> UpkeepPolicy:
    """How often the balance is read, and how long notifications are kept."""
    return UpkeepPolicy(settings.smsclone.balance_interval_seconds, settings.journal.retention_days)


def reserved_slots(settings: Settings) -> int:
    """How many of the places for calls the queue's ordinary traffic leaves free."""
    return max(settings.smsclone.max_connections // _RESERVED_SHARE, 1)
