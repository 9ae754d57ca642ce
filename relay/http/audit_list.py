"""``GET /v1/operator/audit``: what operators did, in a chain of hashes that anybody can check."""

import re
from typing import Annotated

from litestar import Controller, MediaType, Response, get
from litestar.params import QueryParameter
from msgspec import Meta, Struct

from relay.domain.audit import AuditRow
from relay.domain.codes import Permission, Source
from relay.domain.codes import ProblemCode as P
from relay.http.answers import PRIVATE
from relay.http.openapi import ANY_CALLER, JSON, Answered, Content, described
from relay.http.parameters import DEFAULT_LIMIT, Check, Limit, Service, check_uuid
from relay.http.times import format_time
from relay.http.validation import Wrong
from relay.sending.requests import Operations

_ROW = re.compile(r"[0-9]{1,18}")


def _check_cursor(text: str) -> None:
    if _ROW.fullmatch(text) is None:
        raise Wrong("malformed", "Give the next_cursor of the page before, unchanged.")


class AuditBody(Struct, frozen=True, kw_only=True):
    """Something that an operator did. `hash` is SHA-256 over a JSON array of `previous_hash`, `id`, `at` (milliseconds
    since 1970-01-01 UTC) and the fields from `client` to `reason`, in this order. A row that did not come through the
    relay may lack both hashes."""

    id: int
    at: str
    client: str
    key: Annotated[str | None, Meta(description="The id of the key; null in rows of the first edition.")]
    action: str
    notification_id: str | None
    other_id: Annotated[str | None, Meta(description="The notification that it was sent again as.")]
    count: int | None
    reason: str | None
    previous_hash: str | None
    hash: str | None


class AuditPageBody(Struct, frozen=True):
    """Rows, newest first. `newest_hash` is that of the newest of all, kept beside the rows."""

    items: list[AuditBody]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]
    newest_hash: str


class AuditController(Controller):
    """The audit."""

    path = "/v1/operator/audit"
    tags = ("Operating",)
    opt = {"permission": Permission.OPERATE, "source": Source.OPERATOR, "heavy": True}  # noqa: RUF012 — as litestar declares it

    @get(
        operation_id="listAudit",
        summary="What operators did",
        description=(
            "Newest first: who, by which key, what, why, how many. No numbers, no texts. Each row carries the hash of"
            " the one before; `relay audit verify` checks them all."
        ),
        media_type=MediaType.JSON,
        operation_class=described(
            Answered(200, "A page.", (Content(JSON, AuditPageBody),)),
            problems=(*ANY_CALLER, P.VALIDATION_FAILED, P.OVERLOADED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def list_audit(
        self,
        operations: Service[Operations],
        notification_id: Annotated[
            str | None, QueryParameter(description="Rows about this notification.", format="uuid"), Check(check_uuid)
        ] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Annotated[
            str | None,
            QueryParameter(description="The `next_cursor` of the page before.", pattern="^[0-9]{1,18}$"),
            Check(_check_cursor),
        ] = None,
    ) -> Response[AuditPageBody]:
        """A page of it."""
        before = None if cursor is None else int(cursor)
        page = await operations.read_audit(limit + 1, before, notification_id)
        rows = page.rows[:limit]
        more = str(rows[-1].id) if len(page.rows) > limit else None
        return Response(AuditPageBody(list(map(_render, rows)), more, page.newest_hash), headers=PRIVATE)


def _render(row: AuditRow) -> AuditBody:
    act = row.act
    return AuditBody(
        id=row.id,
        at=format_time(act.at),
        client=act.client,
        key=act.key,
        action=act.action,
        notification_id=act.notification_id,
        other_id=act.other_id,
        count=act.count,
        reason=act.reason,
        previous_hash=row.previous_hash,
        hash=row.hash,
    )
