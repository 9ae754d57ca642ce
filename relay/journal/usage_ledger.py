"""The ledger of units: what the recorded calls came to, by day and whom it is charged to.

Written in the transaction that ends a call, so that it adds up to the calls exactly, whatever dies when. It holds no
number and outlives the notifications. A call keeps what it was charged at, so that an ``unknown`` which is settled can
move to its new outcome, on the day of the call.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import Route, Status
from relay.domain.notification import Call, CallState, Notification, Outcome
from relay.domain.usage import MICRO, Prices
from relay.journal.budgets import Month, change_steps, lock_months
from relay.journal.encoding import decode_indexes
from relay.journal.schema import calls, usage, usage_totals, word
from relay.journal.statements import Statement, Step, Work, every_column
from relay.sending.ports import Budget

ZONE = ZoneInfo("Africa/Lagos")
_CHARGED = (Status.SENT, Status.UNKNOWN, Status.REJECTED)
_NOWHERE = -1

_u, _c = usage.c, calls.c


class Bill(Struct, array_like=True, frozen=True):
    """Whom a call is charged to, written with the call.

    ``first`` is the position in the call of the notification's first recipient, with whom the notification is counted;
    -1 where it is not in this call, or was counted before. ``reserved`` is what was set aside of the client's budget of
    ``month`` for each recipient, in millionths of a unit; no month: the client had no budget then.
    """

    client: str
    billing_code: str
    message_type: str
    segments: int
    first: int
    month: str = ""
    reserved: int = 0


class Charge(Struct, array_like=True, frozen=True):
    """When and at which prices a call was charged, written with its outcomes."""

    day: str
    account: str
    prices: Prices


class UsageKey(NamedTuple):
    """A row of the ledger, but for its shard."""

    day: str
    client: str
    billing_code: str
    message_type: str
    route: str
    account: str
    outcome: str


class Amount(NamedTuple):
    """What is added to a row."""

    messages: int
    recipients: int
    segments: int
    micro_units: int

    def plus(self, other: "Amount", sign: int = 1) -> "Amount":
        """The sum, or the difference."""
        return Amount(*(mine + sign * theirs for mine, theirs in zip(self, other, strict=True)))


NOTHING = Amount(0, 0, 0, 0)


class Lines:
    """What a transaction adds to the ledger, and to what clients spent of their budgets."""

    def __init__(self) -> None:
        self.usage: dict[UsageKey, Amount] = {}
        self.budgets: dict[Month, int] = {}

    def add(self, key: UsageKey, amount: Amount, sign: int) -> None:
        """Add to a row of the ledger, or take away."""
        self.usage[key] = self.usage.get(key, NOTHING).plus(amount, sign)

    def spend(self, bill: Bill, micro_units: int) -> None:
        """Spend of the budget of a call, if there is one."""
        if bill.month:
            month = (bill.client, bill.month)
            self.budgets[month] = self.budgets.get(month, 0) + micro_units

    def reserve(self, bill: str, recipients: int) -> None:
        """Set aside what a call to so many recipients costs at most; below 0: give that back."""
        if bill:
            who = _bill.decode(bill)
            self.spend(who, recipients * who.reserved)


_encoder = msgspec.json.Encoder()
_bill = msgspec.json.Decoder(Bill)
_charge = msgspec.json.Decoder(Charge)


def _add(table: Table) -> Statement:
    """Add to the row of this key, or make it."""

    def put(insert: Any) -> Any:
        row = insert(table).values(every_column(table))
        sums = {name: table.c[name] + row.excluded[name] for name in Amount._fields if name in table.c}
        return row.on_conflict_do_update(index_elements=list(table.primary_key), set_=sums)

    return Statement(sqlite=put(sqlite.insert), postgres=put(postgresql.insert))


_ADD = _add(usage)
_ADD_TO_TOTAL = _add(usage_totals)
_TOTALS_SHARDS = 8
"""Every call of an account adds to the same total: so many transactions can do that without waiting for each other."""
_CHARGED_CALLS = Statement(
    select(_c.ordinal, _c.bill, _c.charge).where(
        _c.notification_id == bindparam("notification"), _c.charge.is_not(None)
    )
)


class UsageLedger:
    """Charges calls.

    Args:
        prices: by account; 1 where there is none.
        shard: of this process, so that replicas do not wait for each other's rows.
    """

    def __init__(self, prices: Mapping[str, Prices], shard: int) -> None:
        self._prices = prices
        self._shard = shard
        self._totals_shard = shard
        self._charged: dict[str, tuple[int, str]] = {}

    def charge_at(self, at: int, account: str = FIRST_ACCOUNT) -> str:
        """What a call that ends now is charged at, as its row keeps it."""
        minute, text = self._charged.get(account, (_NOWHERE, ""))
        if minute != at // 60_000:  # asked for several times a call, and the same for many
            text = _encoder.encode(Charge(day_of(at), account, self._prices.get(account, Prices()))).decode()
            self._charged[account] = at // 60_000, text
        return text

    def steps(self, lines: Lines) -> list[Step]:
        """What adds lines to the ledger: last in a transaction, in one order, so that two never wait for each other."""
        steps = change_steps(lines.budgets)
        totals: Counter[tuple[str, str, str]] = Counter()
        for key, amount in sorted(lines.usage.items()):
            if amount != NOTHING:
                steps.append((_ADD, {**key._asdict(), **amount._asdict(), "shard": self._shard}))
                totals[key.day, key.account, key.outcome] += amount.micro_units
        self._totals_shard = (self._totals_shard + 1) % _TOTALS_SHARDS
        for (day, account, outcome), micro_units in sorted(totals.items()):
            total = {"day": day, "account": account, "outcome": outcome, "micro_units": micro_units}
            steps.append((_ADD_TO_TOTAL, total | {"shard": self._totals_shard}))
        return steps


def day_of(at: int) -> str:
    """The day in Lagos."""
    return datetime.fromtimestamp(at / 1000, ZONE).strftime("%Y-%m-%d")


def account_of(charge: str) -> str:
    """The account that a call was charged to."""
    return _charge.decode(charge).account


def encode_bill(notification: Notification, recipients: Sequence[int], first: int, budget: Budget | None) -> str:
    """Whom a new call is charged to, as text; empty for a sandbox client's, which nobody pays for.

    Args:
        first: the index of the notification's first recipient.
        budget: of which the claim reserves what the call costs at most.
    """
    if notification.sandbox:
        return ""
    position = recipients.index(first) if first in recipients else _NOWHERE
    bill = Bill(
        notification.client,
        notification.billing_code or "",
        notification.message_type.value,
        notification.text.segments,
        position,
        "" if budget is None else budget.month,
        0 if budget is None else budget.each,
    )
    return _encoder.encode(bill).decode()


def pass_on(bill: str, done: Sequence[int], outcomes: Sequence[Outcome], recipients: Sequence[int]) -> str:
    """The bill of a call that follows another: the notification is not counted again.

    Args:
        bill: of the call before.
        done: its recipients.
        outcomes: what it brought; none where it is replaced.
        recipients: of the call that follows.
    """
    if not bill:
        return ""
    before = _bill.decode(bill)
    first = _NOWHERE
    if before.first != _NOWHERE and not (outcomes and outcomes[before.first].status in _CHARGED):
        index = done[before.first]
        first = recipients.index(index) if index in recipients else _NOWHERE
    return _encoder.encode(replace(before, first=first)).decode()


def charge_call(lines: Lines, bill: str, charge: str, route: str, outcomes: Sequence[Outcome], sign: int = 1) -> None:
    """Add what a call came to, or take it away again."""
    if not bill:
        return
    who, at = _bill.decode(bill), _charge.decode(charge)
    for position, outcome in enumerate(outcomes):
        if outcome.status not in _CHARGED:
            continue
        units = who.segments * at.prices.of(Route(route), outcome.status)
        amount = Amount(int(position == who.first), 1, who.segments, int(units * MICRO))
        key = UsageKey(at.day, who.client, who.billing_code, who.message_type, route, at.account, outcome.status.value)
        lines.add(key, amount, sign)
        lines.spend(who, sign * amount.micro_units)


_OPEN_BILLS = Statement(
    select(_c.ordinal, _c.bill, _c.recipients).where(
        _c.notification_id == bindparam("notification"), _c.state != word("done")
    )
)
_REBILL = Statement(
    update(calls)
    .values(bill=bindparam("new_bill"))
    .where(_c.notification_id == bindparam("notification"), _c.ordinal == bindparam("call_ordinal"))
)


def rebook(notification_id: str, month: str) -> Work[None]:
    """Charge the calls that are still to be made to the budget of another month, whether or not they fit there."""
    [found] = yield [(_OPEN_BILLS, {"notification": notification_id})]
    lines = Lines()
    steps: list[Step] = []
    client = ""
    for ordinal, bill, recipients in found.rows:
        if bill and (who := _bill.decode(bill)).month not in ("", month):
            client, moved = who.client, _encoder.encode(replace(who, month=month)).decode()
            lines.reserve(bill, -len(decode_indexes(recipients)))
            lines.reserve(moved, len(decode_indexes(recipients)))
            steps.append((_REBILL, {"notification": notification_id, "call_ordinal": ordinal, "new_bill": moved}))
    if steps:
        yield from lock_months({(client, month)})
        yield [*steps, *change_steps(lines.budgets)]


def charge_changed(lines: Lines, notification_id: str, changed: Iterable[tuple[Call, Call]]) -> Work[None]:
    """Add what calls came to that are changed by now, on their own day.

    Args:
        changed: each call before and after.
    """
    [charged] = yield [(_CHARGED_CALLS, {"notification": notification_id})]
    kept = {ordinal: (bill or "", charge) for ordinal, bill, charge in charged.rows}
    for before, after in changed:
        if before.ordinal in kept:
            bill, charge = kept[before.ordinal]
            charge_call(lines, bill, charge, before.route.value, before.outcomes, sign=-1)
            charge_call(lines, bill, charge, after.route.value, after.outcomes)
            if before.state is not CallState.DONE:
                lines.reserve(bill, -len(before.recipients))
