"""Sends to one number, recipients a day: exact over replicas, decided inside the claim's transaction.

A client's day is a row a shard, each with a share of the limit, so that replicas do not wait for each other: a claim
takes from the share of its own process's shard. Only when that is used up are all shards locked, in order, the claim
judged by their sum, and what is left shared out anew.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select, text, update

from relay.journal.schema import quotas, sends
from relay.journal.statements import Result, Statement, Step, Work, insert_all
from relay.sending.ports import AllCapped, Cap, Claim, JournalUnavailable, Quota, QuotaExhausted

Day = tuple[str, str]
"""Client and day."""

Number = tuple[str, bytes]
"""Message type and keyed hash."""


class Identity(NamedTuple):
    """Which process acts, and from which of how many shards of a client's day it takes first."""

    process: str
    shard: int
    shards: int


class Passed(NamedTuple):
    """Within its limits, but for these entries."""

    capped: tuple[int, ...] = ()


Verdict = Passed | AllCapped | QuotaExhausted

_s, _q = sends.c, quotas.c
_LOCK_NUMBER = Statement(
    sqlite=text("SELECT 1 WHERE :lock IS NULL"), postgres=text("SELECT pg_advisory_xact_lock(CAST(:lock AS bigint))")
)
_SENT = Statement(
    select(_s.sent_at)
    .where(
        _s.number_hash == bindparam("number"),
        _s.message_type == bindparam("of_type"),
        _s.sent_at > bindparam("since"),
    )
    .order_by(_s.sent_at)
)
_INSERT_SEND = insert_all(sends)

_of_day = (_q.client == bindparam("of_client"), _q.day == bindparam("of_day"))
_READ_SHARE = Statement(select(_q.day_limit, _q.share - _q.used).where(*_of_day, _q.shard == bindparam("of_shard")))
_TAKE_FROM_SHARE = Statement(
    update(quotas)
    .values(used=_q.used + bindparam("wanted"))
    .where(
        *_of_day,
        _q.shard == bindparam("of_shard"),
        _q.day_limit == bindparam("at_limit"),
        _q.used + bindparam("wanted") <= _q.share,
    )
)
_ADD_SHARD = insert_all(quotas)
_LOCK_SHARDS = Statement(select(_q.shard, _q.used).where(*_of_day).order_by(_q.shard).with_for_update())
_SHARE_OUT = Statement(
    update(quotas)
    .values(used=bindparam("new_used"), share=bindparam("new_share"), day_limit=bindparam("new_limit"))
    .where(*_of_day, _q.shard == bindparam("of_shard"))
)
GIVE_BACK = Statement(
    update(quotas).values(used=_q.used - bindparam("unused")).where(*_of_day, _q.shard == bindparam("of_shard"))
)


def apply_limits(claims: Mapping[int, Claim], identity: Identity) -> Work[dict[int, Verdict]]:
    """Judge claims in order, and take from the quotas what those that pass need."""
    history = yield from _read_history(claims.values())
    verdicts = judge(claims, history, {})
    wanted = _wanted(claims, verdicts)
    if not wanted:
        return verdicts
    days = sorted(wanted.items())
    shares = yield [(_READ_SHARE, _shard_of(day, identity)) for day, _ in days]
    if not all(_is_enough(share, quota) for share, (_, quota) in zip(shares, days, strict=True)):
        return (yield from _share_out(claims, history, wanted, identity))
    taken = yield [
        (_TAKE_FROM_SHARE, _shard_of(day, identity) | {"wanted": quota.recipients, "at_limit": quota.limit})
        for day, quota in days
    ]
    if not all(result.changed for result in taken):
        # Another transaction took it first. To lock all shards now, with one of them in hand, might block for ever.
        raise JournalUnavailable("contended")
    return verdicts


def _shard_of(day: Day, identity: Identity) -> dict[str, object]:
    return {"of_client": day[0], "of_day": day[1], "of_shard": identity.shard}


def _is_enough(share: Result, quota: Quota) -> bool:
    return any(limit == quota.limit and left >= quota.recipients for limit, left in share.rows)


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
    claims: Mapping[int, Claim], history: Mapping[Number, Sequence[int]], used: Mapping[Day, int]
) -> dict[int, Verdict]:
    """Say in order which claims are within their limits; each that passes counts for those after it.

    Args:
        history: when each number was sent to, oldest first.
        used: recipients used of each day so far; a day that is absent has no limit here.
    """
    sent = {number: list(times) for number, times in history.items()}
    used = dict(used)
    verdicts: dict[int, Verdict] = {}
    for position, claim in claims.items():
        verdict = _judge_cap(claim, sent)
        quota = claim.quota
        day = None if quota is None else (claim.notification.client, quota.day)
        if quota is not None and day in used and isinstance(verdict, Passed):
            if used[day] + quota.recipients > quota.limit:
                verdict = QuotaExhausted(used[day])
            else:
                used[day] += quota.recipients
        if isinstance(verdict, Passed) and claim.cap is not None:
            for number in _numbers(claim.cap, verdict.capped):
                sent.setdefault(number, []).append(claim.notification.created_at)
        verdicts[position] = verdict
    return verdicts


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
        (_SENT, {"number": number, "of_type": of_type, "since": start}) for (of_type, number), start in since.items()
    ]
    return {number: [row[0] for row in result.rows] for number, result in zip(since, found, strict=True)}


def _wanted(claims: Mapping[int, Claim], verdicts: Mapping[int, Verdict]) -> dict[Day, Quota]:
    """What each day must give in all for the claims that passed."""
    wanted: dict[Day, Quota] = {}
    for position, claim in claims.items():
        if claim.quota is not None and isinstance(verdicts[position], Passed):
            day = (claim.notification.client, claim.quota.day)
            before = wanted[day].recipients if day in wanted else 0
            wanted[day] = Quota(claim.quota.day, before + claim.quota.recipients, claim.quota.limit)
    return wanted


def _share_out(
    claims: Mapping[int, Claim],
    history: Mapping[Number, Sequence[int]],
    wanted: Mapping[Day, Quota],
    identity: Identity,
) -> Work[dict[int, Verdict]]:
    """Judge by what all shards used together, and give each shard a share of what is left."""
    shards: dict[Day, dict[int, int]] = {}
    for day in sorted(wanted):
        where = {"of_client": day[0], "of_day": day[1]}
        empty = {"client": day[0], "day": day[1], "day_limit": 0, "share": 0, "used": 0}
        *_, locked = yield [
            *((_ADD_SHARD, empty | {"shard": shard}) for shard in range(identity.shards)),
            (_LOCK_SHARDS, where),
        ]
        shards[day] = {row[0]: row[1] for row in locked.rows}
    verdicts = judge(claims, history, {day: sum(used.values()) for day, used in shards.items()})
    granted = _wanted(claims, verdicts)
    for day, used in shards.items():
        if day in granted:
            used[identity.shard] = used.get(identity.shard, 0) + granted[day].recipients
        yield _share_steps(day, used, wanted[day].limit)
    return verdicts


def _share_steps(day: Day, used: Mapping[int, int], limit: int) -> list[Step]:
    left = max(limit - sum(used.values()), 0)
    steps: list[Step] = []
    for place, (shard, spent) in enumerate(sorted(used.items())):
        share = spent + left // len(used) + (1 if place < left % len(used) else 0)
        where = {"of_client": day[0], "of_day": day[1], "of_shard": shard}
        steps.append((_SHARE_OUT, where | {"new_used": spent, "new_share": share, "new_limit": limit}))
    return steps
