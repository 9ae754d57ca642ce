"""Look-ups: one notification, what nobody can know, what waits. Nothing here writes."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import groupby

from sqlalchemy import ColumnElement, bindparam, exists, func, literal_column, select, tuple_

from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import Code, Status
from relay.domain.notification import Stored, open_indexes
from relay.journal.encoding import Kept, decode_call, decode_kept, open_of
from relay.journal.lookups import message_id_subject
from relay.journal.schema import calls, lookups, notifications, word
from relay.journal.statements import Row, Statement, Work, one_of
from relay.sending.ports import (
    CallTimes,
    Cursor,
    ListFilter,
    OpenUnknown,
    QueueDepth,
    TimelineFacts,
    UnknownCall,
    UnknownFilter,
    UnknownState,
)

_n = notifications.c
COLUMNS = (
    _n.id,
    _n.facts,
    _n.message,
    _n.capped,
    _n.state,
    _n.owner,
    _n.fence,
    _n.completed_at,
    _n.resolved_at,
    _n.key_expires_at,
    _n.resent,
    _n.waiting,
    _n.suppressed,
)
_is_owned = _n.state == word("owned")
_is_queued = _n.state == word("queued")

_BY_IDS = select(*COLUMNS).where(one_of(_n.id, "ids"))
FIND = Statement(_BY_IDS, lists=("ids",))
_FIND_AND_LOCK = Statement(_BY_IDS.order_by(_n.id).with_for_update(key_share=True), lists=("ids",))
CALL_COLUMNS = (
    calls.c.notification_id,
    calls.c.ordinal,
    calls.c.state,
    calls.c.route,
    calls.c.level,
    calls.c.dialled,
    calls.c.recipients,
    calls.c.outcomes,
    calls.c.account,
    calls.c.account_reason,
)
_CALLS = Statement(
    select(*CALL_COLUMNS)
    .where(one_of(calls.c.notification_id, "ids"))
    .order_by(calls.c.notification_id, calls.c.ordinal),
    lists=("ids",),
)
_MOST_COUNTED = 10_000
"""Notifications that are counted, open or not due yet: beyond that, more is no news."""
_MOST_DUE = 1_000_000

HOLDER = Statement(
    select(_n.id).where(
        _n.client == bindparam("for_client"), _n.idempotency_key == bindparam("key"), _n.key_freed == word("")
    )
)
_by_due_time = select(_n.client, _n.waiting, _n.due_at).where(_is_queued).order_by(_n.due_at)
# The limits make both stores read by due time: to group by client SQLite would walk over all that ever waits.
_due = _by_due_time.where(_n.due_at <= bindparam("now")).limit(literal_column(str(_MOST_DUE))).subquery()
_next = _by_due_time.where(_n.due_at > bindparam("now")).limit(literal_column(str(_MOST_COUNTED))).subquery()
_DUE = Statement(select(_due.c.client, func.count(), func.min(_due.c.due_at)).group_by(_due.c.client))
_NOT_DUE = Statement(
    select(func.count(), func.count().filter(_next.c.waiting == word(Code.SCHEDULED.value))).select_from(_next)
)
_OWNED = Statement(select(func.count()).select_from(notifications).where(_is_owned))


def load_rows(ids: Sequence[str], *, lock: bool = False) -> Work[tuple[Sequence[Row], Sequence[Row]]]:
    """What :func:`load` decodes: the rows of notifications, and those of their calls."""
    wanted = {"ids": list(ids)}
    found, their_calls = yield [(_FIND_AND_LOCK if lock else FIND, wanted), (_CALLS, wanted)]
    return found.rows, their_calls.rows


def load(ids: Sequence[str], *, lock: bool = False) -> Work[dict[str, Kept]]:
    """Notifications with their calls, by id; those that are not there are absent.

    Args:
        lock: keep others from changing them until the transaction ends (SQLite has one writer anyway).
    """
    if not ids:
        return {}
    found, their_calls = yield from load_rows(ids, lock=lock)
    grouped = {key: [decode_call(row) for row in rows] for key, rows in groupby(their_calls, lambda row: row[0])}
    return {row[0]: decode_kept(row, grouped.get(row[0], ())) for row in found}


def find(notification_id: str, client: str | None) -> Work[Stored | None]:
    """One notification; of this client only, where one is given."""
    kept = (yield from load([notification_id])).get(notification_id)
    if kept is None or (client is not None and kept.stored.notification.client != client):
        return None
    return kept.stored


def find_by_key(client: str, key: str, now: int) -> Work[Stored | None]:
    """The notification that holds this key now."""
    [holder] = yield [(HOLDER, {"for_client": client, "key": key})]
    found = yield from load([row[0] for row in holder.rows])
    for kept in found.values():
        if kept.key_expires_at is not None and kept.key_expires_at > now:
            return kept.stored
    return None


_STATES = {
    UnknownState.OPEN: _n.unknown.is_(True),
    UnknownState.RESENT: _n.resent.is_not(None),
    UnknownState.SETTLED: _n.resolved_at.is_not(None) & _n.unknown.is_(False) & _n.resent.is_(None),
}


def took_account(account: str) -> ColumnElement[bool]:
    """Whether a call of a notification was dialled at the account of that parameter."""
    is_there = (calls.c.notification_id == _n.id, calls.c.dialled.is_(True), calls.c.account == bindparam(account))
    return exists(select(literal_column("1")).where(*is_there))


_UNKNOWN_FIELDS: dict[str, ColumnElement[bool]] = {
    "client": _n.client == bindparam("client"),
    "account": took_account("account"),
    "created_from": _n.created_at >= bindparam("created_from"),
    "created_to": _n.created_at < bindparam("created_to"),
}


@cache
def _unknown(state: UnknownState, fields: tuple[str, ...], *, goes_on: bool) -> Statement:
    query = select(_n.id).where(_STATES[state], *(_UNKNOWN_FIELDS[field] for field in fields))
    if goes_on:
        query = query.where(tuple_(_n.created_at, _n.id) < tuple_(bindparam("before_at"), bindparam("before_id")))
    return Statement(query.order_by(_n.created_at.desc(), _n.id.desc()).limit(bindparam("limit")))


def list_unknown(limit: int, before: Cursor | None, asked: UnknownFilter) -> Work[list[UnknownCall]]:
    """Terminal notifications that had recipients nobody could know about, newest first."""
    fields = tuple(name for name in _UNKNOWN_FIELDS if getattr(asked, name) is not None)
    values: dict[str, object] = {name: getattr(asked, name) for name in fields} | {"limit": limit}
    if before is not None:
        values |= {"before_at": before.created_at, "before_id": before.id}
    [page] = yield [(_unknown(asked.state, fields, goes_on=before is not None), values)]
    found = yield from load([row[0] for row in page.rows])
    newest_first = [found[row[0]].stored for row in page.rows if row[0] in found]
    return [UnknownCall(stored, open_indexes(stored)) for stored in newest_first]


_MOST_OPENED = 200
"""Open notifications whose recipients are counted: some milliseconds, for it is asked every few seconds."""

_OPEN = select(_n.created_at, _n.id).where(_n.unknown.is_(True)).order_by(_n.created_at, _n.id)
_OPEN_COUNTS = Statement(_OPEN.add_columns(_n.counts, _n.resent).limit(bindparam("most")))
_ACCOUNTS = Statement(
    select(calls.c.notification_id, calls.c.account)
    .where(one_of(calls.c.notification_id, "ids"), calls.c.account.is_not(None))
    .distinct(),
    lists=("ids",),
)
NEWER_AT_ONCE = 500
"""Newer ones that are looked at in one piece: three milliseconds. Ten thousand took 55, which a send waited for."""
_newer = _OPEN.limit(bindparam("most")).offset(bindparam("passed_over")).subquery()
_NEWER = Statement(
    select(func.coalesce(calls.c.account, word(FIRST_ACCOUNT)), func.count())
    .select_from(
        _newer.join(calls, (calls.c.notification_id == _newer.c.id) & (calls.c.ordinal == literal_column("1")))
    )
    .group_by(calls.c.account)
)


def count_unknown() -> Work[tuple[OpenUnknown, range]]:
    """How many recipients of the oldest open notifications are open, and since when the oldest is; and where to go on
    with :func:`count_newer`, as many times as it says."""
    [oldest] = yield [(_OPEN_COUNTS, {"most": _MOST_OPENED})]
    if not oldest.rows:
        return OpenUnknown({}, None), range(0)
    [took] = yield [(_ACCOUNTS, {"ids": [row[1] for row in oldest.rows]})]
    accounts: dict[str, list[str]] = {}
    for notification_id, account in took.rows:
        accounts.setdefault(notification_id, []).append(account)
    several = yield from load([key for key, names in accounts.items() if len(names) > 1])
    recipients: Counter[str] = Counter()
    for _, notification_id, counts, resent in oldest.rows:
        if notification_id in several:
            recipients.update(_open_by_account(several[notification_id].stored))
        else:
            [account] = accounts.get(notification_id, [FIRST_ACCOUNT])
            recipients[account] += max(open_of(counts, resent), 1)
    more = range(_MOST_OPENED, _MOST_COUNTED, NEWER_AT_ONCE) if len(oldest.rows) == _MOST_OPENED else range(0)
    return OpenUnknown(dict(recipients), oldest.rows[0][0]), more


def count_newer(passed_over: int) -> Work[dict[str, int]]:
    """How many of the next open notifications there are by the account of their first call, up to some."""
    [newer] = yield [(_NEWER, {"passed_over": passed_over, "most": NEWER_AT_ONCE})]
    return {row[0]: row[1] for row in newer.rows}


def _open_by_account(stored: Stored) -> Counter[str]:
    still_open = set(open_indexes(stored))
    return Counter(
        call.account or FIRST_ACCOUNT
        for call in stored.calls
        for index, outcome in zip(call.recipients, call.outcomes, strict=False)
        if index in still_open and outcome.status is Status.UNKNOWN
    )


_WITH_MESSAGE_ID = Statement(
    select(lookups.c.notification_id).where(lookups.c.subject == bindparam("subject")).limit(bindparam("row_limit"))
)
_TIMES = Statement(
    select(_n.claimed_at, _n.held_at, _n.called_back_at, _n.called_back).where(_n.id == bindparam("notification"))
)
_CALL_TIMES = Statement(
    select(calls.c.ordinal, calls.c.dialled_at, calls.c.done_at)
    .where(calls.c.notification_id == bindparam("notification"))
    .order_by(calls.c.ordinal)
)


def find_by_message_id(selection: ListFilter) -> Work[list[str]]:
    """The ids of notifications with this message id of the upstream's, newest first."""
    subject = message_id_subject(selection.message_id or "")
    [found] = yield [(_WITH_MESSAGE_ID, {"subject": subject, "row_limit": selection.limit})]
    kept = yield from load([row[0] for row in found.rows])
    matching = [
        item.stored.notification
        for item in kept.values()
        if (selection.client in (None, item.stored.notification.client))
        and (selection.account is None or any(call.account == selection.account for call in item.stored.calls))
        and (selection.created_from is None or item.stored.notification.created_at >= selection.created_from)
        and (selection.created_to is None or item.stored.notification.created_at < selection.created_to)
    ]
    matching.sort(key=lambda notification: (notification.created_at, notification.id), reverse=True)
    return [notification.id for notification in matching]


def read_timeline(notification_id: str) -> Work[TimelineFacts | None]:
    """One notification with the times of what happened to it."""
    kept = (yield from load([notification_id])).get(notification_id)
    if kept is None:
        return None
    times, of_calls = yield [
        (_TIMES, {"notification": notification_id}),
        (_CALL_TIMES, {"notification": notification_id}),
    ]
    claimed_at, held_at, called_back_at, called_back = times.rows[0]
    return TimelineFacts(
        stored=kept.stored,
        claimed_at=claimed_at,
        held_at=held_at,
        called_back_at=called_back_at,
        called_back=called_back,
        calls=tuple(CallTimes(*row) for row in of_calls.rows),
    )


def measure_depth(now: int) -> Work[QueueDepth]:
    """What waits now: ``queued`` is due, ``claimed`` is in some process's hands.

    Of what is not due yet the next ones are counted, up to a limit: a million that wait for next month cost nothing.
    """
    due, later, owned = yield [(_DUE, {"now": now}), (_NOT_DUE, {"now": now}), (_OWNED, {})]
    [(not_due, scheduled)] = later.rows
    return QueueDepth(
        queued=sum(row[1] for row in due.rows),
        held=not_due - scheduled,
        claimed=owned.rows[0][0],
        oldest_due_at=min((row[2] for row in due.rows), default=None),
        clients=tuple(sorted(row[0] for row in due.rows)),
        scheduled=scheduled,
    )
