"""Acceptance, all or nothing: the group's key, the idempotency key, the limits, then notification and calls.

Claims are worked off together, phase by phase and in one order of keys, so that a store may pipeline them and two
processes never wait for each other. A claim whose notification is already there is the repetition of one whose commit
was in doubt: it stands.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import ClauseElement, Table, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.domain.notification import (
    CallState,
    Notification,
    Stored,
    overall_status,
    view_recipients,
)
from relay.journal.encoding import OWNED, QUEUED, Kept, encode_facts, encode_indexes
from relay.journal.limits import Identity, Passed, Verdict, apply_limits, record_sends
from relay.journal.planning import insert_call_step, plan_call, plan_without
from relay.journal.reading import HOLDER, load
from relay.journal.schema import deduplications, notifications, word
from relay.journal.statements import Statement, Step, Work, every_column, insert_all
from relay.sending.ports import Claim, Claimed, ClaimResult, Duplicate, JournalUnavailable, KeyTaken

FIRST_FENCE = 1
FIRST_ORDINAL = 1
_MOST_ROUNDS = 8

_n, _d = notifications.c, deduplications.c
_INSERT_NOTIFICATION = insert_all(notifications)


def _register(insert: Callable[[Table], Any]) -> ClauseElement:
    """Insert a group, or take over one whose window has passed; or nothing."""
    row = insert(deduplications).values(every_column(deduplications))
    newer = {"notification_id": row.excluded.notification_id, "expires_at": row.excluded.expires_at}
    statement: ClauseElement = row.on_conflict_do_update(
        index_elements=[_d.key], set_=newer, where=_d.expires_at <= bindparam("now")
    )
    return statement


_REGISTER_GROUP = Statement(sqlite=_register(sqlite.insert), postgres=_register(postgresql.insert))
_GROUP_HOLDER = Statement(select(_d.notification_id).where(_d.key == bindparam("group")))
_FREE_OUTDATED_KEY = Statement(
    update(notifications).values(key_freed=_n.id).where(_n.id == bindparam("of"), _n.key_freed == word(""))
)
_WITHDRAW = Statement(delete(notifications).where(_n.id == bindparam("of")))
_WITHDRAW_GROUP = Statement(
    delete(deduplications).where(_d.notification_id == bindparam("of"), _d.key == bindparam("group"))
)
_LEAVE_OUT = Statement(
    update(notifications)
    .values(capped=bindparam("left_out"), status=bindparam("shown"))
    .where(_n.id == bindparam("of"))
)


def claim_lists(lists: Sequence[Sequence[Claim]], identity: Identity) -> Work[list[list[ClaimResult]]]:
    """Accept the claims of several callers together; each gets its own results, in order."""
    results = yield from claim_all([claim for claims in lists for claim in claims], identity)
    rest = iter(results)
    return [list(islice(rest, len(claims))) for claims in lists]


def claim_all(claims: Sequence[Claim], identity: Identity) -> Work[list[ClaimResult]]:
    """Accept each claim by itself; results come in order."""
    results: dict[int, ClaimResult] = {}
    waiting = dict(enumerate(claims))
    for _ in range(_MOST_ROUNDS):
        yield from _claim_once(waiting, identity, results)
        waiting = {position: claim for position, claim in waiting.items() if position not in results}
        if not waiting:
            return [results[position] for position in range(len(claims))]
    raise JournalUnavailable("contended")


def _claim_once(claims: Mapping[int, Claim], identity: Identity, results: dict[int, ClaimResult]) -> Work[None]:
    """Try every claim; those whose rival vanished in the meantime stay without a result, to be tried again."""
    rivals = yield from _register_groups(claims)
    standing = {position: claim for position, claim in claims.items() if position not in rivals}
    losers = yield from _insert_notifications(standing, identity)
    if losers:
        yield [step for position in losers for step in _withdraw_group_steps(claims[position])]
        rivals |= losers
        standing = {position: claim for position, claim in standing.items() if position not in losers}
    verdicts: Mapping[int, Verdict] = dict.fromkeys(standing, _PASSED)
    if any(claim.cap is not None or claim.quota is not None for claim in standing.values()):
        verdicts = yield from apply_limits(dict(sorted(standing.items())), identity)
    steps: list[Step] = []
    for position, claim in standing.items():
        verdict = verdicts[position]
        if isinstance(verdict, Passed):
            stored = _build_stored(claim, verdict.capped)
            steps += _standing_steps(claim, stored)
            results[position] = Claimed(stored, FIRST_FENCE, may_dial=claim.dials)
        else:
            steps += _withdraw_steps(claim)
            results[position] = verdict
    yield steps
    if rivals:
        yield from _face_rivals({position: claims[position] for position in rivals}, results)


_PASSED = Passed()


def _register_groups(claims: Mapping[int, Claim]) -> Work[set[int]]:
    """Claims whose group was accepted within the window."""
    rows = [
        (
            group.key,
            position,
            {
                "key": group.key,
                "notification_id": claim.notification.id,
                "expires_at": claim.notification.created_at + group.window_ms,
                "now": claim.notification.created_at,
            },
        )
        for position, claim in claims.items()
        if (group := claim.deduplication) is not None
    ]
    if not rows:
        return set()
    rows.sort(key=lambda row: row[:2])  # one order for all processes, so that two never wait for each other
    results = yield [(_REGISTER_GROUP, row) for _, _, row in rows]
    return {position for (_, position, _), result in zip(rows, results, strict=True) if not result.changed}


def _insert_notifications(claims: Mapping[int, Claim], identity: Identity) -> Work[set[int]]:
    """Claims whose key (or, in a repetition, id) is taken."""
    if not claims:
        return set()
    in_order = list(claims)
    if len(in_order) > 1:
        in_order.sort(key=lambda position: _key_order(claims[position].notification))
    results = yield [(_INSERT_NOTIFICATION, _row(claims[position], identity)) for position in in_order]
    return {position for position, result in zip(in_order, results, strict=True) if not result.changed}


def _key_order(notification: Notification) -> tuple[str, str]:
    return notification.client, notification.idempotency_key or ""


def _row(claim: Claim, identity: Identity) -> dict[str, object]:
    notification, quota = claim.notification, claim.quota
    queued = claim.due_at is not None
    return {
        "id": notification.id,
        "client": notification.client,
        "message_type": notification.message_type.value,
        "mode": notification.mode.value,
        "state": QUEUED if queued else OWNED,
        "owner": None if queued else identity.process,
        "fence": FIRST_FENCE,
        "status": _status_in_queue(_build_stored(claim, ())) if queued else None,
        "unknown": False,
        "created_at": notification.created_at,
        "due_at": claim.due_at,
        "expires_at": notification.expires_at,
        "completed_at": None,
        "resolved_at": None,
        "reference": notification.reference,
        "idempotency_key": notification.idempotency_key,
        "key_freed": "",
        "key_expires_at": notification.created_at + claim.key_window_ms,
        "quota_day": None if quota is None else quota.day,
        "quota_shard": None if quota is None else identity.shard,
        "capped": None,
        "facts": encode_facts(notification),
        "message": notification.message,
    }


def _status_in_queue(stored: Stored) -> str:
    """What callers see while nobody has taken it; a column, so that a listing can ask for it."""
    return overall_status(view_recipients(stored)).value


def _build_stored(claim: Claim, capped: Sequence[int]) -> Stored:
    planned = plan_without(claim.calls, capped) if capped else claim.calls
    return Stored(
        notification=claim.notification,
        calls=tuple(plan_call(call, ordinal, dials=claim.dials) for ordinal, call in enumerate(planned, FIRST_ORDINAL)),
        capped=tuple(capped),
        owned=claim.due_at is None,
    )


def _standing_steps(claim: Claim, stored: Stored) -> list[Step]:
    notification = stored.notification
    steps = [insert_call_step(notification.id, call) for call in stored.calls]
    steps += record_sends(claim, stored.capped)
    if stored.capped:
        shown = None if stored.owned else _status_in_queue(stored)
        steps.append((_LEAVE_OUT, {"of": notification.id, "left_out": encode_indexes(stored.capped), "shown": shown}))
    return steps


def _withdraw_steps(claim: Claim) -> list[Step]:
    return [(_WITHDRAW, {"of": claim.notification.id}), *_withdraw_group_steps(claim)]


def _withdraw_group_steps(claim: Claim) -> list[Step]:
    group = claim.deduplication
    return [] if group is None else [(_WITHDRAW_GROUP, {"of": claim.notification.id, "group": group.key})]


def _face_rivals(claims: Mapping[int, Claim], results: dict[int, ClaimResult]) -> Work[None]:
    """Give each claim that met another its result; clear away what no longer stands in the way."""
    groups = yield from _find_holders({p: (_GROUP_HOLDER, {"group": _group_key(c)}) for p, c in claims.items()})
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
            outdated.append((_WITHDRAW_GROUP, {"of": in_group, "group": _group_key(claim)}))
        elif with_key is not None:
            outdated.append((_FREE_OUTDATED_KEY, {"of": with_key}))
    yield outdated


def _find_holders(steps: Mapping[int, Step]) -> Work[dict[int, str]]:
    found = yield list(steps.values())
    return {position: result.rows[0][0] for position, result in zip(steps, found, strict=True) if result.rows}


def _group_key(claim: Claim) -> bytes | None:
    return None if claim.deduplication is None else claim.deduplication.key


def _key_of(notification: Notification) -> dict[str, object]:
    return {"holder": notification.client, "key": notification.idempotency_key}


def _is_as_claimed(kept: Kept) -> bool:
    """Whether a claim that was to dial is as it was written: nobody has taken it over since."""
    dialling = [call.state is CallState.DIALLING for call in kept.stored.calls]
    return (kept.state, kept.fence, dialling) == (OWNED, FIRST_FENCE, [True])


def _judge_rivals(
    claim: Claim, kept: Mapping[str, Kept], in_group: str | None, with_key: str | None
) -> ClaimResult | None:
    own = kept.get(claim.notification.id)
    if own is not None:
        return Claimed(own.stored, own.fence, may_dial=claim.dials and _is_as_claimed(own))
    if in_group is not None:
        return Duplicate(kept[in_group].stored) if in_group in kept else None
    holder = kept.get(with_key or "")
    if holder is None or (holder.key_expires_at or 0) <= claim.notification.created_at:
        return None
    return KeyTaken(holder.stored)
