"""Calls that are still to be made: how they are planned, and how they are written first."""

from collections.abc import Iterable, Sequence

from relay.domain.notification import Call, CallState, PlannedCall
from relay.journal.encoding import encode_indexes
from relay.journal.schema import calls
from relay.journal.statements import Rows, Statement, Step, every_column

_INSERT_CALL = Statement(calls.insert().values(every_column(calls)), rows=Rows(calls))


def plan_without(calls: Iterable[PlannedCall], capped: Sequence[int]) -> list[PlannedCall]:
    """The calls without some entries; one that is left empty is not made."""
    kept = [
        PlannedCall(
            route=call.route,
            recipients=tuple(index for index in call.recipients if index not in capped),
            level=call.level,
        )
        for call in calls
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
    )


def insert_call_step(notification_id: str, call: Call) -> Step:
    """What writes a new call."""
    return _INSERT_CALL, {
        "notification_id": notification_id,
        "ordinal": call.ordinal,
        "state": call.state.value,
        "route": call.route.value,
        "level": call.level,
        "dialled": call.dialled,
        "recipients": encode_indexes(call.recipients),
        "outcomes": None,
    }
