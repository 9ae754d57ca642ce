"""Acceptance, all or nothing: the group's key, the idempotency key, the limits, then notification and calls.

Claims are worked off together, phase by phase and in one order of keys, so that a store may pipeline them and two
processes never wait for each other. A claim whose notification is already there is the repetition of one whose commit
was in doubt: it stands.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from msgspec.structs import replace
from sqlalchemy import ClauseElement, Table, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.domain.codes import NotificationStatus
from relay.domain.notification import CallState, Notification, Stored, find_status
from relay.domain.suppression import Addressed
from relay.journal.calls import insert_call_step, plan_call, plan_without
from relay.journal.encoding import OWNED, QUEUED, Kept, encode_facts, encode_indexes
from relay.journal.limits import SHARD, Passed, Verdict, apply_limits, record_sends
from relay.journal.lookups import Subjects, claim_steps, dial_steps
from relay.journal.reading import HOLDER, load
from relay.journal.schema import deduplications, notifications, word
from relay.journal.statements import Statement, Step, Work, every_column, insert_all
from relay.journal.suppressing import address_of, find_suppressed
from relay.journal.usage_ledger import encode_bill
from relay.sending.ports import (
    Claim,
    ClaimResult,
    Deduplication,
    DialLease,
    Duplicate,
    JournalUnavailable,
    KeyTaken,
    Lease,
    Queued,
)

FIRST_FENCE = 1
FIRST_ORDINAL = 1
_MOST_ROUNDS = 8

_n, _d = notifications.c, deduplications.c
_INSERT_NOTIFICATION = insert_all(notifications)


def _register(insert: Callable[[Table], Any], *, anew: bool = False) -> ClauseElement:
    """Insert a group, or take over one whose window has passed (or any); or nothing."""
    row = insert(deduplications).values(every_column(deduplications))
    newer = {"notification_id": row.excluded.notification_id, "expires_at": row.excluded.expires_at}
    statement: ClauseElement = row.on_conflict_do_update(
        index_elements=[_d.key], set_=newer, where=None if anew else _d.expires_at <= bindparam("now")
    )
    return statement


_REGISTER_GROUP = {
    anew: Statement(sqlite=_register(sqlite.insert, anew=anew), postgres=_register(postgresql.insert, anew=anew))
    for anew in (False, True)
}
_group_holder = select(_d.notification_id).where(_d.key == bindparam("group_key"))
_GROUP_HOLDER = Statement(_group_holder)
_LOCK_GROUP = Statement(_group_holder.with_for_update())
_FREE_OUTDATED_KEY = Statement(
    update(notifications).values(key_freed=_n.id).where(_n.id == bindparam("notification"), _n.key_freed == word(""))
)
_WITHDRAW = Statement(delete(notifications).where(_n.id == bindparam("notification")))
_WITHDRAW_GROUP = Statement(
    delete(deduplications).where(_d.notification_id == bindparam("notification"), _d.key == bindparam("group_key"))
)
_LEAVE_OUT = Statement(
    update(notifications)
    .values(capped=bindparam("new_capped"), suppressed=bindparam("new_suppressed"), status=bindparam("new_status"))
    .where(_n.id == bindparam("notification"))
)


class ClaimList(NamedTuple):
    """What one caller asks for.

    ``suppressed`` are the places, by notification, of those that were looked up before because they are so many. What
    came onto the list since is seen when they are taken.
    """

    claims: Sequence[Claim]
    suppressed: Mapping[str, Sequence[int]]


def claim_lists(lists: Sequence[ClaimList], process: str, subjects: Subjects) -> Work[list[list[ClaimResult]]]:
    """Accept the claims of several callers together, each by itself; each caller gets its own results, in order."""
    claims = [claim for each in lists for claim in each.claims]
    known = {key: places for each in lists for key, places in each.suppressed.items()}
    results: dict[int, ClaimResult] = {}
    waiting = dict(enumerate(claims))
    for _ in range(_MOST_ROUNDS):
        yield from _claim_once(_without_followers(waiting), process, subjects, known, results)
        waiting = {position: claim for position, claim in waiting.items() if position not in results}
        if not waiting:
            rest = iter([results[position] for position in range(len(claims))])
            return [list(islice(rest, len(each.claims))) for each in lists]
    raise JournalUnavailable("contended")


def _without_followers(claims: Mapping[int, Claim]) -> dict[int, Claim]:
    """The claims but for those whose group an earlier one of them takes over, with which they are to be compared."""
    taken_over: set[bytes] = set()
    ready: dict[int, Claim] = {}
    for position, claim in claims.items():
        group = claim.deduplication
        if group is not None and group.anew:
            taken_over.add(group.key)
        elif group is not None and group.key in taken_over:
            continue
        ready[position] = claim
    return ready


def _claim_once(
    claims: Mapping[int, Claim],
    process: str,
    subjects: Subjects,
    known: Mapping[str, Sequence[int]],
    results: dict[int, ClaimResult],
) -> Work[None]:
    """Try every claim; those whose rival vanished in the meantime stay without a result, to be tried again."""
    rivals = yield from _register_groups(claims)
    standing = {position: claim for position, claim in claims.items() if position not in rivals}
    losers = yield from _insert_notifications(standing, process)
    if losers:
        yield [step for position in losers for step in _withdraw_group_steps(claims[position])]
        rivals |= losers
        standing = {position: claim for position, claim in standing.items() if position not in losers}
    suppressed = yield from _find_suppressed(standing, subjects, known)
    for position, entries in suppressed.items():
        standing[position] = _without(standing[position], entries)
    verdicts: Mapping[int, Verdict] = dict.fromkeys(standing, _PASSED)
    if any(claim.cap or claim.quota or claim.budget for claim in standing.values()):
        verdicts = yield from apply_limits(dict(sorted(standing.items())))
    steps: list[Step] = []
    look_ups: list[Step] = []  # rows of one table that stand side by side are inserted together
    for position, claim in standing.items():
        verdict = verdicts[position]
        if isinstance(verdict, Passed):
            stored = _build_stored(claim, verdict.capped, suppressed.get(position, ()))
            steps += _standing_steps(claim, stored)
            look_ups += claim_steps(claim.notification, subjects)
            if claim.dials and stored.calls:
                look_ups += dial_steps(claim.notification.id, stored.calls[0].account)
            results[position] = _grant(claim, stored, FIRST_FENCE, may_dial=claim.dials and bool(stored.calls))
        else:
            steps += _withdraw_steps(claim)
            results[position] = verdict
    yield steps + look_ups
    if rivals:
        yield from _face_rivals({position: claims[position] for position in rivals}, results)


_PASSED = Passed()


def _find_suppressed(
    claims: Mapping[int, Claim], subjects: Subjects, known: Mapping[str, Sequence[int]]
) -> Work[Mapping[int, Sequence[int]]]:
    found: dict[int, Sequence[int]] = {}
    asked: dict[int, Addressed] = {}
    for position, claim in claims.items():
        if claim.notification.id not in known:
            asked[position] = address_of(claim.notification)
        elif places := known[claim.notification.id]:
            found[position] = places
    now = max((claim.notification.created_at for claim in claims.values()), default=0)
    return found | (yield from find_suppressed(asked, subjects, now))


def _grant(claim: Claim, stored: Stored, fence: int, *, may_dial: bool) -> Lease | Queued:
    if claim.due_at is not None:
        return Queued(stored)
    return DialLease(stored, fence) if may_dial else Lease(stored, fence)


def _register_groups(claims: Mapping[int, Claim]) -> Work[set[int]]:
    """Claims whose group was accepted within the window.

    One that takes its group over does so once nothing can refuse it any more (:func:`_standing_steps`).
    """
    steps = [
        (group.key, position, (_LOCK_GROUP, {"group_key": group.key}) if group.anew else _register_step(claim, group))
        for position, claim in claims.items()
        if (group := claim.deduplication) is not None
    ]
    if not steps:
        return set()
    steps.sort(key=lambda each: each[:2])  # one order for all processes, so that two never wait for each other
    results = yield [step for _, _, step in steps]
    return {
        position
        for (_, position, (statement, _)), result in zip(steps, results, strict=True)
        if statement is not _LOCK_GROUP and not result.changed
    }


def _register_step(claim: Claim, group: Deduplication) -> Step:
    created_at = claim.notification.created_at
    row: dict[str, object] = {
        "key": group.key,
        "notification_id": claim.notification.id,
        "expires_at": created_at + group.window_ms,
        "now": created_at,
    }
    return _REGISTER_GROUP[group.anew], row


def _insert_notifications(claims: Mapping[int, Claim], process: str) -> Work[set[int]]:
    """Claims whose key (or, in a repetition, id) is taken."""
    if not claims:
        return set()
    in_order = list(claims)
    if len(in_order) > 1:
        in_order.sort(key=lambda position: _key_order(claims[position].notification))
    results = yield [(_INSERT_NOTIFICATION, _row(claims[position], process)) for position in in_order]
    return {position for position, result in zip(in_order, results, strict=True) if not result.changed}


def _key_order(notification: Notification) -> tuple[str, str]:
    return notification.client, notification.idempotency_key or ""


def _row(claim: Claim, process: str) -> dict[str, object]:
    notification, quota = claim.notification, claim.quota
    queued = claim.due_at is not None
    return {
        "id": notification.id,
        "client": notification.client,
        "message_type": notification.message_type.value,
        "mode": notification.mode.value,
        "state": QUEUED if queued else OWNED,
        "owner": None if queued else process,
        "fence": FIRST_FENCE,
        "status": _status_in_queue(_build_stored(claim)) if queued else None,
        "unknown": False,
        "created_at": notification.created_at,
        "due_at": claim.due_at,
        "waiting": None if claim.waiting is None else claim.waiting.value,
        "expires_at": notification.expires_at,
        "resent": None,
        "claimed_at": None,
        "held_at": None,
        "called_back_at": None,
        "called_back": None,
        "completed_at": None,
        "resolved_at": None,
        "reference": notification.reference,
        "idempotency_key": notification.idempotency_key,
        "key_freed": "",
        "key_expires_at": key_expiry(notification, claim.key_window_ms),
        "quota_day": None if quota is None else quota.day,
        "quota_shard": None if quota is None else SHARD,
        "capped": None,
        "suppressed": None,
        "facts": encode_facts(notification),
        "message": notification.message,
        "counts": None,
    }


def key_expiry(notification: Notification, window_ms: int) -> int:
    """When an idempotency key stops holding: so long after the later of acceptance and ``send_at``."""
    return max(notification.created_at, notification.send_at or 0) + window_ms


def _status_in_queue(stored: Stored) -> str:
    """What callers see while nobody has taken it; a column, so that a listing can ask for it."""
    return find_status(stored).value


def _without(claim: Claim, entries: Sequence[int]) -> Claim:
    """A claim in which these entries count under no cap and cost nothing: nothing goes to them."""
    cap, budget = claim.cap, claim.budget
    if cap is not None:
        cap = replace(cap, hashes={index: number for index, number in cap.hashes.items() if index not in entries})
    if budget is not None:
        budget = replace(budget, recipients=budget.recipients - len(entries))
    return replace(claim, cap=cap, budget=budget)


def _build_stored(claim: Claim, capped: Sequence[int] = (), suppressed: Sequence[int] = ()) -> Stored:
    left_out = {*capped, *suppressed}
    planned = plan_without(claim.calls, left_out) if left_out else claim.calls
    return Stored(
        notification=claim.notification,
        calls=tuple(plan_call(call, ordinal, dials=claim.dials) for ordinal, call in enumerate(planned, FIRST_ORDINAL)),
        capped=tuple(capped),
        suppressed=tuple(suppressed),
        owned=claim.due_at is None,
        waiting=claim.waiting,
    )


def _standing_steps(claim: Claim, stored: Stored) -> list[Step]:
    notification = stored.notification
    first = min((call.recipients[0] for call in stored.calls), default=0)
    steps = [
        insert_call_step(
            notification.id,
            call,
            encode_bill(notification, call.recipients, first, claim.budget),
            notification.created_at,
        )
        for call in stored.calls
    ]
    steps += record_sends(claim, stored.capped)
    if (group := claim.deduplication) is not None and group.anew:
        steps.append(_register_step(claim, group))
    if stored.capped or stored.suppressed:
        shown = None if stored.owned else _status_in_queue(stored)
        changes = {
            "notification": notification.id,
            "new_capped": encode_indexes(stored.capped) if stored.capped else None,
            "new_suppressed": encode_indexes(stored.suppressed) if stored.suppressed else None,
            "new_status": shown,
        }
        steps.append((_LEAVE_OUT, changes))
    return steps


def _withdraw_steps(claim: Claim) -> list[Step]:
    return [(_WITHDRAW, {"notification": claim.notification.id}), *_withdraw_group_steps(claim)]


def _withdraw_group_steps(claim: Claim) -> list[Step]:
    key = _group_key(claim)
    return [] if key is None else [(_WITHDRAW_GROUP, {"notification": claim.notification.id, "group_key": key})]


def _face_rivals(claims: Mapping[int, Claim], results: dict[int, ClaimResult]) -> Work[None]:
    """Give each claim that met another its result; clear away what no longer stands in the way."""
    groups = yield from _find_holders({p: (_GROUP_HOLDER, {"group_key": _group_key(c)}) for p, c in claims.items()})
    keys = yield from _find_holders({p: (HOLDER, _key_of(c.notification)) for p, c in claims.items()})
    ids = {claim.notification.id for claim in claims.values()} | {*groups.values(), *keys.values()}
    kept = yield from load(sorted(ids))
    outdated: list[Step] = []
    for position, claim in claims.items():
        in_group, with_key = groups.get(position), keys.get(position)
        result = _judge_rivals(claim, kept, in_group, with_key)
        if result is not None:
            results[position] = result
        elif in_group is not None:
            outdated.append((_WITHDRAW_GROUP, {"notification": in_group, "group_key": _group_key(claim)}))
        elif with_key is not None:
            outdated.append((_FREE_OUTDATED_KEY, {"notification": with_key}))
    yield outdated


def _find_holders(steps: Mapping[int, Step]) -> Work[dict[int, str]]:
    found = yield list(steps.values())
    return {position: result.rows[0][0] for position, result in zip(steps, found, strict=True) if result.rows}


def _group_key(claim: Claim) -> bytes | None:
    """The group that may stand in a claim's way."""
    group = claim.deduplication
    return None if group is None or group.anew else group.key


def _key_of(notification: Notification) -> dict[str, object]:
    return {"for_client": notification.client, "key": notification.idempotency_key}


def _is_as_claimed(kept: Kept) -> bool:
    """Whether a claim that was to dial is as it was written: nobody has taken it over since."""
    dialling = [call.state is CallState.DIALLING for call in kept.stored.calls]
    return (kept.state, kept.fence, dialling) == (OWNED, FIRST_FENCE, [True])


def _stands_aside(claim: Claim, first: Kept) -> bool:
    """Whether the first of a group does not count: it ended without a send, and that is what counts here."""
    group = claim.deduplication
    unsent = first.stored.completed_at is not None and find_status(first.stored) is NotificationStatus.NOT_SENT
    return group is not None and group.counts_sent and unsent


def _judge_rivals(
    claim: Claim, kept: Mapping[str, Kept], in_group: str | None, with_key: str | None
) -> ClaimResult | None:
    own = kept.get(claim.notification.id)
    if own is not None:
        return _grant(claim, own.stored, own.fence, may_dial=claim.dials and _is_as_claimed(own))
    if in_group is not None:
        first = kept.get(in_group)
        return None if first is None or _stands_aside(claim, first) else Duplicate(first.stored)
    holder = kept.get(with_key or "")
    if holder is None or (holder.key_expires_at or 0) <= claim.notification.created_at:
        return None
    return KeyTaken(holder.stored)
