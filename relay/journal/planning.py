"""Calls that are still to be made: how they are planned, and how they are written first."""

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.notification import Call, CallState, PlannedCall
from relay.journal.encoding import encode_indexes
from relay.journal.schema import calls
from relay.journal.statements import Rows, Statement, Step, every_column

_INSERT_CALL = Statement(calls.insert().values(every_column(calls)), rows=Rows(calls))


def plan_without(calls: Iterable[PlannedCall], capped: Collection[int]) -> list[PlannedCall]:
    """The calls without some entries; one that is left empty is not made."""
    kept = [
        replace(call, recipients=tuple(index for index in call.recipients if index not in capped)) for call in calls
    ]
    return [call for call in kept if call.recipients]


def plan_call(planned: PlannedCall, ordinal: int, *, dials: bool = False) -> Call:
    """A planned call as it stands at first; ``dials`` where whoever writes it dials it next."""
    return Call(
        ordinal=ordinal,
        route=planned.route,
        recipients=planned.recipients,
        state=CallState.DIALLING if dials else CallState.CLAIMED,
        level=planned.level,
        dialled=dials,
        account=planned.account or (FIRST_ACCOUNT if dials else None),
        account_reason=planned.account_reason,
    )


def insert_call_step(notification_id: str, call: Call, bill: str, at: int) -> Step:
    """What writes a new call, and whom it is charged to; ``at`` is when, for one that is dialled next."""
    return _INSERT_CALL, {
        "notification_id": notification_id,
        "ordinal": call.ordinal,
        "state": call.state.value,
        "route": call.route.value,
        "level": call.level,
        "dialled": call.dialled,
        "recipients": encode_indexes(call.recipients),
        "outcomes": None,
        "bill": bill,
        "charge": None,
        "dialled_at": at if call.dialled else None,
        "done_at": None,
        "account": call.account,
        "account_reason": None if call.account_reason is None else call.account_reason.value,
    }
