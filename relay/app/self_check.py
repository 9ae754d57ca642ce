"""``relay doctor``: everything that can be known before the first message, without sending one.

Each look gives findings; none raises for what it finds, and none waits longer than it says. Nothing is repeated.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from relay.app.adapters import StartError, SystemClock, remedy_for
from relay.app.outbound import make_client
from relay.app.policies import load_words
from relay.app.self_check_upstream import UpstreamFindings, look_at_upstream
from relay.domain.clients import FIRST_ACCOUNT
from relay.journal.checkup import look_at_file, look_at_server
from relay.journal.opening import sqlite_path
from relay.sending.ports import JournalUnavailable
from relay.sending.turns import Turns
from relay.settings import (
    Settings,
    SettingsError,
    SmscloneSettings,
    describe_file,
    find_warnings,
    require_credentials,
)

SLOW_FSYNC_MS = 20.0
LITTLE_SPACE_MIB = 1024.0
OLDEST_POSTGRES = 140_000
CLOCK_WARN_SECONDS, CLOCK_FAIL_SECONDS = 5.0, 60.0
EXPIRES_SOON = timedelta(days=30)
LOW_UNITS = 1_000.0
_BALANCE_SECONDS = 10.0
_CERTIFICATE_DAYS = 14


class Grade(StrEnum):
    """What a finding means for a start."""

    GOOD = "pass"
    WARN = "warn"
    FAIL = "fail"


class Finding(Struct, frozen=True):
    """One thing that was looked at. ``remedy`` is empty where nothing has to be done."""

    topic: str
    verdict: Grade
    says: str
    remedy: str = ""


def passed(topic: str, says: str) -> Finding:
    """Nothing to do."""
    return Finding(topic, Grade.GOOD, says)


def warned(topic: str, says: str, remedy: str) -> Finding:
    """It works, and somebody should look at it."""
    return Finding(topic, Grade.WARN, says, remedy)


def failed(topic: str, says: str, remedy: str) -> Finding:
    """It will not work like this."""
    return Finding(topic, Grade.FAIL, says, remedy)


async def check_up(settings: Settings, file: Path | None, *, idle_seconds: float = 0.0) -> AsyncIterator[Finding]:
    """Look at everything, the nearest first.

    Args:
        file: where the settings are from, if from a file.
        idle_seconds: how long to see whether the upstream keeps an idle connection; 0: not at all.
    """
    for finding in (*_look_at_settings(settings, file), *_look_at_clients(settings), *_look_at_words(settings)):
        yield finding
    for finding in (*_look_at_zone(settings), *_look_at_journal(settings)):
        yield finding
    used = settings.used_accounts()
    for name, account in settings.all_accounts().items():
        if name not in used and not account.username:
            continue
        upstream = await look_at_upstream(account, idle_seconds)
        for finding in _judge_upstream(name, account, upstream):
            yield finding
        yield await _look_at_balance(name, account, settings, reached=upstream.trouble is None)


def _look_at_settings(settings: Settings, file: Path | None) -> Iterator[Finding]:
    says = f"{describe_file(file)}; clients: {len(settings.clients)}, receivers: {len(settings.receivers)}"
    remedy = "name the settings file in RELAY_CONFIG, as serve has it"
    yield passed("settings", says) if file is not None else warned("settings", says, remedy)
    try:
        require_credentials(settings)
    except SettingsError as failure:
        for error in failure.errors:
            yield failed(error.path, "is missing", error.message.removeprefix("is missing; "))
    for warning in find_warnings(settings):
        says, _, remedy = warning.message.partition(": ")
        yield warned(warning.path, says, remedy)
    sending = settings.sending
    if sending.drain_seconds < sending.notification_deadline_seconds + 2:
        remedy = "raise it to 2 more than sending.notification_deadline_seconds, or a stop makes sends unknown"
        yield warned("sending.drain_seconds", f"is {sending.drain_seconds:g} s, less than a send may take", remedy)


def _look_at_clients(settings: Settings) -> Iterator[Finding]:
    now = datetime.now(UTC)
    if not settings.clients:
        yield warned("clients", "there are none, so nobody can send", "add [[clients]]; relay keys new makes a key")
    for client in settings.clients:
        topic = f"client {client.name}"
        live = [key for key in client.keys if key.expires is None or key.expires > now]
        ends = [key.expires for key in live if key.expires is not None]
        if not live and client.service_account is None:
            yield failed(topic, "has no key that is valid now", "make one with relay keys new")
        elif live and len(ends) == len(live) and max(ends) < now + EXPIRES_SOON:
            yield warned(topic, f"its last key ends on {max(ends):%Y-%m-%d}", "give out a second one before that")
        else:
            yield passed(topic, f"valid keys: {len(live)}")


def _look_at_words(settings: Settings) -> Iterator[Finding]:
    try:
        entries = load_words(settings)
    except StartError as failure:
        yield failed("word lists", failure.what, failure.remedy)
        return
    named = (
        ", ".join(path.name for path in settings.prefilter.lists) if settings.prefilter.lists else "the shipped list"
    )
    if entries:
        yield passed("word lists", f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'} from {named}")
    else:
        yield warned(
            "word lists", "have no entries: nothing is filtered", "smsclone still blocks words, and does not say which"
        )


def _look_at_zone(settings: Settings) -> Iterator[Finding]:
    name = settings.quiet_hours.promotional.time_zone
    try:
        local = datetime.now(ZoneInfo(name))
    except (ZoneInfoNotFoundError, OSError):
        yield failed("time zone", f"{name} is not known here", "install tzdata, for Python or for the system")
    else:
        yield passed("time zone", f"{local:%H:%M} in {name}")


def _look_at_journal(settings: Settings) -> Iterator[Finding]:
    if sqlite_path(settings.journal.url):
        yield from _look_at_sqlite(settings)
    else:
        yield from _look_at_postgres(settings)


def _look_at_sqlite(settings: Settings) -> Iterator[Finding]:
    try:
        facts = look_at_file(settings.journal.url)
    except OSError as failure:
        yield failed("journal", f"nothing can be written there ({type(failure).__name__})", remedy_for("read_only"))
        return
    state = "an existing file" if facts.exists else "a new file"
    yield passed("journal", f"SQLite {facts.sqlite}, {state}")
    cost = f"a durable write takes {facts.fsync_ms:.1f} ms"
    if facts.fsync_ms > SLOW_FSYNC_MS:
        yield warned("journal disk", cost, "every send waits for three; use a local SSD, not a network file system")
    else:
        yield passed("journal disk", cost)
    if facts.free_mib < LITTLE_SPACE_MIB:
        yield warned("journal disk", f"{facts.free_mib:.0f} MiB are free", "a full disk stops all sending with 503")


def _look_at_postgres(settings: Settings) -> Iterator[Finding]:
    try:
        facts = look_at_server(settings.journal.url)
    except JournalUnavailable as failure:
        yield failed("journal", f"PostgreSQL cannot be used ({failure.reason})", remedy_for(failure.reason))
        return
    says = f"PostgreSQL {facts.version // 10_000}, {facts.round_trip_ms:.1f} ms away"
    says += ", through a pooler" if facts.pooled else ""
    if facts.is_standby:
        yield failed("journal", f"{says}, and only reads", "name the primary; target_session_attrs=read-write finds it")
    elif facts.version < OLDEST_POSTGRES:
        yield warned("journal", says, "use version 14 or later, which is tested")
    else:
        yield passed("journal", says)
    if facts.synchronous_commit == "off":
        yield warned("journal", "synchronous_commit is off; the relay turns it on for itself", "turn it on")
    if not facts.synchronous_standbys:
        remedy = "name one in synchronous_standby_names, or run relay recover --restored after every fail-over"
        yield warned("journal", "no synchronous standby: a fail-over may lose commits, and so send twice", remedy)
    yield _judge_clock("the database", facts.clock_ahead_seconds)


def _judge_upstream(topic: str, account: SmscloneSettings, upstream: UpstreamFindings) -> Iterator[Finding]:
    if upstream.trouble is not None:
        yield failed(topic, f"cannot be reached: {upstream.trouble}", upstream.remedy)
        return
    via = ", by the proxy" if account.proxy is not None else ""
    yield passed(topic, f"answers {upstream.milliseconds:.0f} ms after the dial{via}")
    if upstream.certificate_ends is not None:
        days = (upstream.certificate_ends - datetime.now(UTC)).days
        says = f"its certificate ends on {upstream.certificate_ends:%Y-%m-%d}"
        yield passed(topic, says) if days >= _CERTIFICATE_DAYS else warned(topic, says, f"tell {topic}")
    if upstream.clock_ahead_seconds is not None:
        yield _judge_clock(topic, upstream.clock_ahead_seconds)
    if upstream.idle_seconds is not None:
        kept = f"it keeps an idle connection for {upstream.idle_seconds:.0f} s"
        kept += " or longer" if upstream.still_open else ""
        if account.keepalive_seconds >= upstream.idle_seconds and not upstream.still_open:
            yield warned(topic, kept, "lower its keepalive_seconds below that, or sends become unknown")
        else:
            yield passed(topic, kept)


def _judge_clock(whose: str, ahead_seconds: float) -> Finding:
    apart = abs(ahead_seconds)
    says = f"{apart:.0f} s {'behind' if ahead_seconds > 0 else 'ahead of'} {whose}'s" if apart >= 1 else f"as {whose}'s"
    remedy = "synchronise this machine's clock (NTP): quiet hours, expiry and signatures depend on it"
    if apart >= CLOCK_FAIL_SECONDS:
        return failed("clock", says, remedy)
    return warned("clock", says, remedy) if apart >= CLOCK_WARN_SECONDS else passed("clock", says)


async def _look_at_balance(name: str, account: SmscloneSettings, settings: Settings, *, reached: bool) -> Finding:
    topic = "balance" if name == FIRST_ACCOUNT else f"balance {name}"
    if account.username is None or account.password is None:
        return warned(topic, "was not read", "give user name and password")
    if not reached:
        return warned(topic, "was not read", f"repair the connection to {name} first")
    clock = SystemClock()
    result = await make_client(account, clock, Turns(clock)).balance(_BALANCE_SECONDS)
    if result.units is None:
        remedy = "check user name and password" if result.rejection is not None else f"check base_url of {name}"
        code = "" if result.upstream_code is None else f", {result.upstream_code}"
        return failed(topic, f"cannot be read ({result.cause}{code})", remedy)
    if float(result.units) <= 0:
        return failed(topic, "no units are left", "buy units: sends are refused with 503 upstream_no_balance")
    says = f"{result.units} units"
    return passed(topic, says) if float(result.units) >= LOW_UNITS else warned(topic, says, "buy units")
