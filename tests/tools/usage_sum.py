"""Send very many messages, and hold the usage against what the upstreams took: exact, and quickly told.

``make usage-sum`` runs this as a program; the quick form runs in the tests. Three clients, two billing codes, two
routes, two days, two accounts of which the first one is dry now and then; some numbers are rejected, and some calls are
never answered. The core and the journal are the relay's own, the upstreams are the stand-in in this process; then a
relay of its own tells the usage.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx

from relay.domain.clients import Client
from relay.domain.codes import RequestedRoute, Source
from relay.domain.routing import DEFAULT_ROUTES
from relay.domain.secret import Secret
from relay.domain.usage import Prices, UsageField, UsageQuery, format_units
from relay.domain.words import WordMatcher
from relay.journal.opening import open_journal
from relay.sandbox.ledger import LedgerEntry
from relay.sandbox.responder import Responder
from relay.sandbox.switches import SandboxAccount, SandboxConfig
from relay.sending.breaker import Breaker
from relay.sending.bulkhead import Bulkhead
from relay.sending.channels import Channel, Channels
from relay.sending.lifecycle import Lifecycle
from relay.sending.prepare import Rules
from relay.sending.requests import Caller
from relay.smsclone.client import SmscloneClient
from relay.smsclone.exchange import InProcessTransport
from relay.smsclone.query import Queries
from support.fakes import FakeClock, SequentialIds
from support.relay import make_client, running_relay
from support.sending import make_runtime, submission

CLIENTS, CODES = ("shop", "desk", "care"), ("", "marketing")
ROUTES = (RequestedRoute.NORMAL, RequestedRoute.DND_FALLBACK)
PRICES = {"smsclone": Prices(Decimal("0.85"), Decimal("2.5")), "backup": Prices(Decimal("1.25"))}
BY = "client,billing_code,day,route,account,outcome"
LAGOS = ZoneInfo("Africa/Lagos")
AT_A_TIME = 16
SECONDS_A_DAY = 10_000
"""Of each day, in which its messages are sent: long enough that a dry account is asked again."""
OUTCOMES = {"sent": "sent", "sent_dnd": "sent", "delivered": "sent", "rejected": "rejected", "dnd_rejected": "rejected"}
GOOD, REJECTED, ON_DND, SILENT = "2348031234567", "2348010000003", "2348010000002", "2348010000011"
TEXTS = ("Your order 1204 is on its way.", "x" * 200)

Row = tuple[str, ...]
Sums = dict[Row, tuple[int, str]]
"""By the fields of ``BY``: segments, units."""


@dataclass
class Told:
    """What a run found."""

    calls: int
    differences: list[str]
    kinds: set[Row]
    """Route, account and outcome, as they occurred."""
    milliseconds: float
    """Median of ``GET /v1/usage`` for a month, by client, billing code and day."""
    rows: int


def sender_of(client: str, code: str) -> str:
    """The sender of a client's messages for a billing code: the upstreams know nothing else of either."""
    return f"{client}{'M' if code else ''}".upper()


WHO = {sender_of(client, code): (client, code) for client in CLIENTS for code in CODES}


async def send_many(directory: Path, calls: int) -> tuple[Sums, Sums]:
    """Send; what the journal says then, and what the upstreams took."""
    clock = FakeClock()
    backup = SandboxAccount(name="backup", username="team", password=Secret("x"), units=None)
    standin = Responder(SandboxConfig(units=None, accounts=(backup,), ledger_entries=4 * calls), clock.now_ms)
    journal = open_journal(f"sqlite:///{directory / 'relay.db'}", clock=clock, prices=PRICES)
    await journal.open()
    channels = {
        name: Channel(
            SmscloneClient(
                Queries("https://upstream.invalid", username, password),
                InProcessTransport(standin.answer_in_process),
                most_recipients=100,
                monotonic=clock.monotonic,
            ),
            Breaker(failures=1_000_000, open_seconds=10.0, on_change=lambda *_: None),
            Bulkhead(limit=AT_A_TIME),
            account=name,
        )
        for name, username, password in (("smsclone", "demo", "demo"), ("backup", "team", "x"))
    }
    runtime = make_runtime(journal, clock=clock)
    rules = Rules(matcher=WordMatcher([]), routes=DEFAULT_ROUTES, hours=runtime.policy.hours)
    lifecycle = Lifecycle(
        runtime, Channels(channels, channels["smsclone"]), SequentialIds(), lambda: rules, lambda: None
    )
    callers = [
        Caller(
            client=Client(
                name=name,
                accounts=("smsclone", "backup"),
                senders=frozenset(WHO),
                routes=frozenset(RequestedRoute),
            ),
            source=Source.API,
            request_id="r",
        )
        for name in CLIENTS
    ]

    async def send(number: int) -> None:
        caller, code = callers[number % 3], CODES[number // 3 % 2]
        if number % max(calls // 20, 40) == 0:
            standin.registry.change("smsclone", {"no_balance": True, "calls": 1})
        recipients = [GOOD, *((REJECTED,) * (number % 7 == 0)), *((ON_DND,) * (number % 5 == 0))]
        await lifecycle.send(
            submission(
                *([SILENT] if number % 17 == 0 else recipients),
                sender=sender_of(caller.client.name, code),
                message=TEXTS[number % 11 == 0],
                route=ROUTES[number // 6 % 2],
                billing_code=code or None,
            ),
            caller,
        )

    for day in range(2):
        numbers = range(day * calls // 2, (day + 1) * calls // 2)
        for begin in range(0, len(numbers), AT_A_TIME):
            clock.advance(SECONDS_A_DAY * AT_A_TIME / len(numbers))
            await asyncio.gather(*map(send, numbers[begin : begin + AT_A_TIME]))
        clock.advance(86_400)
    await runtime.tasks.drain(60.0)
    fields = UsageQuery(first_day="2026-12-01", until_day="2027-01-01", by=tuple(map_fields()))
    used = {row.group: (row.segments, format_units(row.units)) for row in await journal.usage(fields)}
    await journal.close()
    return used, add_up(standin.ledger.since())


def map_fields() -> list[UsageField]:
    """The fields of ``BY``."""
    return [UsageField(name) for name in BY.split(",")]


def add_up(entries: list[LedgerEntry]) -> Sums:
    """What the upstreams took, by what each message was for."""
    segments: Counter[Row] = Counter()
    units: dict[Row, Decimal] = {}
    for entry in entries:
        if entry.result != "processed":
            continue
        client, code = WHO[entry.sender]
        day = entry.at.astimezone(LAGOS).date().isoformat()
        prices = PRICES[entry.account]
        price = prices.per_segment if entry.route == "normal" else prices.per_segment_dnd or prices.per_segment
        for delivery in entry.deliveries:
            outcome = "unknown" if entry.fault else OUTCOMES[delivery.outcome]
            key = (client, code, day, entry.route, entry.account, outcome)
            segments[key] += entry.segments
            units[key] = units.get(key, Decimal(0)) + entry.segments * (0 if outcome == "rejected" else price)
    return {key: (count, format_units(units[key])) for key, count in segments.items()}


def ask(directory: Path, times: int) -> tuple[Sums, float, int]:
    """What a relay tells of that journal; how long a month takes it, and how many rows that is."""
    desk = make_client("ops", permissions='["operate", "usage"]')
    month = {"from": "2026-12-01", "to": "2027-01-01"}
    with (
        running_relay(directory, desk, upstream="http://127.0.0.1:9") as relay,
        httpx.Client(base_url=relay.base_url, headers=desk.headers, trust_env=False, timeout=60) as http,
    ):
        rows = http.get("/v1/usage", params=month | {"by": BY}).json()["rows"]
        took, by_day = [], []
        for _ in range(times):
            started = time.perf_counter()
            by_day = http.get("/v1/usage", params=month | {"by": "client,billing_code,day"}).json()["rows"]
            took.append((time.perf_counter() - started) * 1000)
    told = {tuple(row[name] for name in BY.split(",")): (row["segments"], row["units"]) for row in rows}
    return told, statistics.median(took), len(by_day)


def run(directory: Path, calls: int, times: int = 5) -> Told:
    """Send so many messages, and compare."""
    used, taken = asyncio.run(send_many(directory, calls))
    told, milliseconds, rows = ask(directory, times)
    differences = [
        f"{key}: taken {taken.get(key)}, in the journal {used.get(key)}, told {told.get(key)}"
        for key in sorted(taken.keys() | used.keys() | told.keys())
        if not taken.get(key) == used.get(key) == told.get(key)
    ]
    return Told(calls, differences, {key[3:] for key in told}, milliseconds, rows)


def main() -> int:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        started = time.monotonic()
        told = run(Path(directory), options.calls, times=50)
    print("\n".join(told.differences))
    print(
        f"{told.calls} messages in {time.monotonic() - started:.0f} s: {len(told.differences)} rows differ;"
        f" a month by client, billing code and day ({told.rows} rows): {told.milliseconds:.1f} ms (median of 50)"
    )
    return int(bool(told.differences))


if __name__ == "__main__":
    sys.exit(main())
