"""``POST /v1/operator/unknown/match``: smsclone's own message list beside what nobody knows."""

from typing import Annotated

from litestar import Controller, Response, post
from litestar.params import JSONBody
from msgspec import Meta, Struct

from relay.domain.clients import FIRST_ACCOUNT
from relay.domain.codes import Permission, Source
from relay.domain.codes import ProblemCode as P
from relay.domain.errors import FieldError, ValidationFailed
from relay.domain.numbers import mask_number
from relay.http.answers import PRIVATE
from relay.http.openapi import ANY_BODY, ANY_CALLER, JSON, Answered, Content, described
from relay.http.parameters import Service
from relay.http.request import RelayRequest
from relay.http.schemas import Reason, Verdict
from relay.http.times import format_time
from relay.sending.list_matching import ListMatching, Match

_LARGEST_BYTES = 2 * 1024 * 1024
_MOST_TOLD = 50
"""Rows that could not be read which are told one by one."""
_LONGEST_WINDOW = 3600


class MatchRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A list, how it is compared, and whether what is certain is settled."""

    csv: Annotated[
        str,
        Meta(
            description="smsclone's list as CSV, with headings for number, date (or date and time) and status; up to"
            " 10,000 rows. Times without a zone are those of Lagos; the day comes before the month."
        ),
    ]
    within_seconds: Annotated[
        int,
        Meta(
            description="How far the times may be apart, 1 to 3,600.", extra_json_schema={"minimum": 1, "maximum": 3600}
        ),
    ] = 300
    account: Annotated[str, Meta(description="Whose list it is: the account's name in the settings.")] = FIRST_ACCOUNT
    settle: Annotated[bool, Meta(description="Settle what is certain; it needs a reason.")] = False
    reason: Reason | None = None


class MatchBody(Struct, frozen=True, kw_only=True):
    """A row of the list that fits an open recipient; the number is masked."""

    line: int
    id: str
    client: str
    reference: str | None
    recipient: str
    dialled_at: str
    listed_at: str
    listed_status: str | None
    outcome: Verdict | None
    certain: bool
    doubt: str | None
    settled: bool


class UnreadableBody(Struct, frozen=True):
    """A row that could not be read, and what of it: `number` or `time`."""

    line: int
    field: str


class MatchesBody(Struct, frozen=True, kw_only=True):
    """What the list came to."""

    rows: int
    unreadable: int
    unreadable_rows: list[UnreadableBody]
    matched: int
    certain: int
    settled: int
    missing: int
    more: bool
    items: list[MatchBody]


class MessageListController(Controller):
    """smsclone's own list."""

    opt = {"permission": Permission.OPERATE, "source": Source.OPERATOR}  # noqa: RUF012 — as litestar declares it

    @post(
        "/v1/operator/unknown/match",
        operation_id="matchUnknown",
        tags=["Operating"],
        summary="Compare unknown outcomes with smsclone's list",
        description=(
            "By number and time. Certain is one row for one open recipient whose status says what became of it, where"
            " no other call to that number was made around then. Nothing is settled unless `settle` is true. What the"
            " list lacks (`missing`) proves nothing."
        ),
        status_code=200,
        opt={"heavy": True, "body_bytes": _LARGEST_BYTES},
        operation_class=described(
            Answered(200, "What fits.", (Content(JSON, MatchesBody),)),
            takes=(Content(JSON, MatchRequest, "match"),),
            problems=(*ANY_CALLER, *ANY_BODY, P.OVERLOADED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def match(
        self, request: RelayRequest, data: JSONBody[MatchRequest], matching: Service[ListMatching]
    ) -> Response[MatchesBody]:
        """Compare, and settle where that is asked for."""
        if not 1 <= data.within_seconds <= _LONGEST_WINDOW:
            remedy = f"Give 1 to {_LONGEST_WINDOW:,} seconds."
            raise ValidationFailed([FieldError("within_seconds", "out_of_range", remedy)])
        if data.settle and data.reason is None:
            raise ValidationFailed([FieldError("reason", "required", "Say why: the audit keeps it.")])
        found = await matching.match(
            data.csv,
            data.account,
            data.within_seconds * 1000,
            request.user,
            reason=data.reason if data.settle else None,
            pause=request.app.state.sending.begin_slices().pause,
        )
        items = list(map(_match_body, found.matches))
        body = MatchesBody(
            rows=found.rows,
            unreadable=len(found.unreadable),
            unreadable_rows=[UnreadableBody(row.line, row.why) for row in found.unreadable[:_MOST_TOLD]],
            matched=len(items),
            certain=sum(item.certain for item in items),
            settled=sum(item.settled for item in items),
            missing=found.missing,
            more=found.more,
            items=items,
        )
        return Response(body, headers=PRIVATE)


def _match_body(match: Match) -> MatchBody:
    notification = match.stored.notification
    return MatchBody(
        line=match.row.line,
        id=notification.id,
        client=notification.client,
        reference=notification.reference,
        recipient=mask_number(match.number),
        dialled_at=format_time(match.dialled_at),
        listed_at=format_time(match.row.at),
        listed_status=None if match.row.sent is None else match.row.status,
        outcome=None if match.row.sent is None else Verdict.SENT if match.row.sent else Verdict.NOT_SENT,
        certain=match.doubt is None,
        doubt=match.doubt,
        settled=match.settled,
    )
