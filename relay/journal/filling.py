"""What is entered at leisure: look-ups and counts of what the version before wrote, and of very many recipients."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct
from sqlalchemy import bindparam, delete, literal_column, select, update

from relay.domain.notification import count_recipients
from relay.journal.control import READ_CONTROL, WRITE_CONTROL
from relay.journal.encoding import encode_counts
from relay.journal.lookups import INDEXED, NEXT_UNINDEXED, Subjects, answer_steps, enter_steps
from relay.journal.reading import load
from relay.journal.schema import control, notifications, word
from relay.journal.statements import Statement, Step, Work

TO_FILL = "look_ups_to_fill"
"""Names the row that a migration leaves where there is something to enter."""

ROWS_AT_A_TIME = 100
"""Look-ups a transaction: two milliseconds."""
_NOTIFICATIONS_AT_A_TIME = 20

_n = notifications.c
_NEXT = Statement(
    select(_n.id).where(_n.id > bindparam("after")).order_by(_n.id).limit(literal_column(str(_NOTIFICATIONS_AT_A_TIME)))
)
_COUNT = Statement(
    update(notifications)
    .values(counts=bindparam("counted"))
    .where(_n.id == bindparam("notification"), _n.counts.is_(None), _n.state == word("done"))
)
_FILLED = Statement(delete(control).where(control.c.name == bindparam("for_name")))


class Progress(Struct):
    """How far the walk is: past this id, and on until what was created by then."""

    after: str
    until: int


def read_progress() -> Work[Progress | None]:
    """How far the walk over what is kept is; ``None`` once it is over."""
    [found] = yield [(READ_CONTROL, {"for_name": TO_FILL})]
    return msgspec.json.decode(bytes(found.rows[0][0]), type=Progress) if found.rows else None


def fill_some(progress: Progress, now: int, subjects: Subjects) -> Work[bool]:
    """Enter the next few of what is kept; whether there are more now.

    Replicas of the version before may go on writing for a while: so the walk ends only once nothing of their time can
    come any more.
    """
    [page] = yield [(_NEXT, {"after": progress.after})]
    kept = list((yield from load([row[0] for row in page.rows], lock=True)).values())
    steps: list[Step] = []
    for item in kept:
        notification = item.stored.notification
        steps += enter_steps(notification, subjects.of_recipients(notification))
        steps += [step for call in item.stored.calls for step in answer_steps(notification.id, call.outcomes)]
        counts = encode_counts(count_recipients(item.stored))
        steps.append((_COUNT, {"notification": notification.id, "counted": counts}))
    created = [item.stored.notification.created_at for item in kept]
    is_over = min(created) > progress.until if created else now > progress.until
    if is_over:
        steps.append((_FILLED, {"for_name": TO_FILL}))
    elif page.rows:
        moved = msgspec.json.encode(Progress(page.rows[-1][0], progress.until))
        steps.append((WRITE_CONTROL, {"for_name": TO_FILL, "new_value": moved}))
    yield steps
    return bool(page.rows) and not is_over


def next_unindexed() -> Work[str | None]:
    """A notification whose recipients are still to be entered."""
    [found] = yield [(NEXT_UNINDEXED, {"most": 1})]
    return found.rows[0][0] if found.rows else None


def enter_some(steps: Sequence[Step]) -> Work[None]:
    """Enter some."""
    yield steps


def end_entering(notification_id: str) -> Work[None]:
    """Say that all of a notification's recipients are entered."""
    yield [(INDEXED, {"ids": [notification_id]})]
