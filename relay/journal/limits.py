"""Limits of a client, and on sends to one number: exact over replicas, checked in the claim's transaction.

A client's day is one row, which a claim locks until it commits.

**Decisions**

- 2026-11-29: one row. The first edition split a day over eight (shards), so that replicas would not wait for each
  other. Measured with three replicas and 24 claims at a time for one client and day (PostgreSQL, a busy machine with
  two cores, three runs of 2,000 claims): 182 to 241 claims a second with eight rows, 178 to 217 with one: the same
  within the noise. Rows of the first edition still count, and what it set aside in them is withdrawn; the table stays
  as it is, so that replicas of both editions may run side by side.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select, text, update

from relay.journal.budgets import Month, change_steps, lock_months, months_of
from relay.journal.schema import quotas, sends
from relay.journal.statements import Statement, Step, Work, insert_all
from relay.sending.ports import AllCapped, BudgetExhausted, Cap, Claim, Quota, QuotaExhausted

Day = tuple[str, str]
"""Client and day."""

Number = tuple[str, bytes]
"""Message type and keyed hash."""


SHARD = 0
"""The row that is written; a first edition beside it in a rolling update may add others."""


class Passed(NamedTuple):
    """Within its limits, but for these entries."""

    capped: tuple[int, ...] = ()


Verdict = Passed | AllCapped | QuotaExhausted | BudgetExhausted

_s, _q = sends.c, quotas.c
_LOCK_NUMBER = Statement(
    sqlite=text("SELECT 1 WHERE :lock IS NULL"), postgres=text("SELECT pg_advisory_xact_lock(CAST(:lock AS bigint))")
)
_SENT = Statement(
    select(_s.sent_at)
    .where(
        _s.number_hash == bindparam("number"),
        _s.message_type == bindparam("for_type"),
        _s.sent_at > bindparam("since"),
    )
    .order_by(_s.sent_at)
)
_INSERT_SEND = insert_all(sends)

_of_day = (_q.client == bindparam("for_client"), _q.day == bindparam("for_day"))
_BEGIN_DAY = insert_all(quotas)
_LOCK_DAY = Statement(select(_q.shard, _q.used, _q.share).where(*_of_day).order_by(_q.shard).with_for_update())
_USE = Statement(
    update(quotas)
    .values(used=_q.used + bindparam("granted"), share=_q.used + bindparam("granted"), day_limit=bindparam("new_limit"))
    .where(*_of_day, _q.shard == bindparam("for_shard"))
)
_WITHDRAW_SHARES = Statement(update(quotas).values(share=_q.used).where(*_of_day))
GIVE_BACK = Statement(
    update(quotas).values(used=_q.used - bindparam("given_back")).where(*_of_day, _q.shard == bindparam("for_shard"))
)


def apply_limits(claims: Mapping[int, Claim]) -> Work[dict[int, Verdict]]:
    """Check claims in order, and take from the quotas what those that pass need."""
    history = yield from _read_history(claims.values())
    used = yield from _lock_days(claims.values())
    spent = yield from lock_months(months_of(claims.values()))
    verdicts = judge(claims, history, used, spent)
    days: list[Step] = [
        (
            _USE,
            {
                "for_client": client,
                "for_day": day,
                "for_shard": SHARD,
                "granted": quota.recipients,
                "new_limit": quota.limit,
            },
        )
        for (client, day), quota in sorted(_wanted(claims, verdicts).items())
    ]
    yield days + change_steps(_reserved(claims, verdicts))
    return verdicts


def _lock_days(claims: Iterable[Claim]) -> Work[dict[Day, int]]:
    """How much of each client's day is used, which nobody else changes before this transaction ends."""
    days = sorted({(claim.notification.client, claim.quota.day) for claim in claims if claim.quota is not None})
    if not days:
        return {}
    named = [{"for_client": client, "for_day": day} for client, day in days]
    empty = {"shard": SHARD, "day_limit": 0, "share": 0, "used": 0}
    found = yield [
        step
        for (client, day), name in zip(days, named, strict=True)
        for step in ((_BEGIN_DAY, empty | {"client": client, "day": day}), (_LOCK_DAY, name))
    ]
    locked = dict(zip(days, (result.rows for result in found[1::2]), strict=True))
    yield [
        (_WITHDRAW_SHARES, {"for_client": client, "for_day": day})
        for (client, day), rows in locked.items()
        if any(share > used for _, used, share in rows)
    ]
    return {day: sum(used for _, used, _ in rows) for day, rows in locked.items()}


def record_sends(claim: Claim, capped: Iterable[int]) -> list[Step]:
    """What keeps the sends of a claim that passed, for the caps of the next ones."""
    cap, notification = claim.cap, claim.notification
    if cap is None:
        return []
    left_out = set(capped)
    return [
        (
            _INSERT_SEND,
            {
                "notification_id": notification.id,
                "entry": entry,
                "message_type": cap.message_type.value,
                "number_hash": number,
                "sent_at": notification.created_at,
            },
        )
        for entry, number in cap.hashes.items()
        if entry not in left_out
    ]


def judge(
    claims: Mapping[int, Claim],
    history: Mapping[Number, Sequence[int]],
    used: Mapping[Day, int],
    spent: Mapping[Month, int],
) -> dict[int, Verdict]:
    """Say in order which claims are within their limits; each that passes counts for those after it.

    Args:
        history: when each number was sent to, oldest first.
        used: recipients used of each day so far; a day that is absent has no limit here.
        spent: of each month so far, in the same way.
    """
    sent = {number: list(times) for number, times in history.items()}
    used, spent = dict(used), dict(spent)
    verdicts: dict[int, Verdict] = {}
    for position, claim in claims.items():
        verdict = _judge_cap(claim, sent)
        if isinstance(verdict, Passed):
            verdict = _judge_sums(claim, verdict, used, spent)
        if isinstance(verdict, Passed) and claim.cap is not None:
            for number in _numbers(claim.cap, verdict.capped):
                sent.setdefault(number, []).append(claim.notification.created_at)
        verdicts[position] = verdict
    return verdicts


def _judge_sums(claim: Claim, passed: Passed, used: dict[Day, int], spent: dict[Month, int]) -> Verdict:
    """Whether day and month have enough left; where both have, it is taken."""
    client, quota, budget = claim.notification.client, claim.quota, claim.budget
    if quota is not None and (day := (client, quota.day)) in used and used[day] + quota.recipients > quota.limit:
        return QuotaExhausted(used[day])
    units = _units(claim, passed)
    if budget is not None and units and spent[client, budget.month] + units > budget.limit:
        return BudgetExhausted(spent[client, budget.month])
    if quota is not None and day in used:
        used[day] += quota.recipients
    if budget is not None:
        spent[client, budget.month] += units
    return passed


def _units(claim: Claim, passed: Passed) -> int:
    """What it costs at most, in millionths."""
    return 0 if claim.budget is None else claim.budget.each * (claim.budget.recipients - len(passed.capped))


def _judge_cap(claim: Claim, sent: Mapping[Number, Sequence[int]]) -> Verdict:
    cap = claim.cap
    if cap is None or not cap.hashes:
        return Passed()
    since = claim.notification.created_at - cap.window_ms
    free_at: dict[int, int] = {}
    for entry, number in cap.hashes.items():
        times = sorted(time for time in sent.get((cap.message_type.value, number), ()) if time > since)
        if len(times) >= cap.limit:
            free_at[entry] = times[len(times) - cap.limit] + cap.window_ms
    if len(free_at) == len(cap.hashes):
        return AllCapped(min(free_at.values()))
    return Passed(tuple(sorted(free_at)))


def _numbers(cap: Cap, capped: Iterable[int] = ()) -> Iterator[Number]:
    left_out = set(capped)
    return ((cap.message_type.value, number) for entry, number in cap.hashes.items() if entry not in left_out)


def _read_history(claims: Iterable[Claim]) -> Work[dict[Number, Sequence[int]]]:
    since: dict[Number, int] = {}
    for claim in claims:
        if claim.cap is not None:
            start = claim.notification.created_at - claim.cap.window_ms
            for number in _numbers(claim.cap):
                since[number] = min(start, since.get(number, start))
    if not since:
        return {}
    # One order for all processes, so that two of them never wait for each other.
    locks = sorted({int.from_bytes(number[:8].ljust(8), "big", signed=True) for _, number in since})
    yield [(_LOCK_NUMBER, {"lock": lock}) for lock in locks]
    found = yield [
        (_SENT, {"number": number, "for_type": of_type, "since": start}) for (of_type, number), start in since.items()
    ]
    return {number: [row[0] for row in result.rows] for number, result in zip(since, found, strict=True)}


def _reserved(claims: Mapping[int, Claim], verdicts: Mapping[int, Verdict]) -> dict[Month, int]:
    """What the claims that passed cost at most."""
    reserved: dict[Month, int] = {}
    for position, claim in claims.items():
        verdict = verdicts[position]
        if claim.budget is not None and isinstance(verdict, Passed):
            month = (claim.notification.client, claim.budget.month)
            reserved[month] = reserved.get(month, 0) + _units(claim, verdict)
    return reserved


def _wanted(claims: Mapping[int, Claim], verdicts: Mapping[int, Verdict]) -> dict[Day, Quota]:
    """What each day must give in all for the claims that passed."""
    wanted: dict[Day, Quota] = {}
    for position, claim in claims.items():
        if claim.quota is not None and isinstance(verdicts[position], Passed):
            day = (claim.notification.client, claim.quota.day)
            before = wanted[day].recipients if day in wanted else 0
            wanted[day] = Quota(claim.quota.day, before + claim.quota.recipients, claim.quota.limit)
    return wanted
