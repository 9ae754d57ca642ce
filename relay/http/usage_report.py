"""``GET /v1/usage``: what was sent, and what it comes to in units, as JSON or CSV."""

import csv
import io
import re
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

from litestar import Controller, MediaType, Response, get
from litestar.params import QueryParameter
from msgspec import Meta, Struct

from relay.domain.codes import Permission
from relay.domain.codes import ProblemCode as P
from relay.domain.errors import FieldError, ValidationFailed
from relay.domain.usage import UsageField, UsageQuery, UsageRow, format_units
from relay.http.answers import PRIVATE
from relay.http.openapi import ANY_CALLER, JSON, Answered, Content, described
from relay.http.parameters import Check, Service
from relay.http.request import RelayRequest
from relay.http.validation import Wrong
from relay.sending.requests import Sending

AMOUNTS = ("messages", "recipients", "segments", "units")
_CSV = "text/csv"
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class UsageBody(Struct, frozen=True, rename={"first_day": "from"}):
    """Usage of days of Africa/Lagos; an estimate, by the prices in the relay's settings."""

    first_day: Annotated[str, Meta(extra_json_schema={"format": "date"})]
    to: Annotated[str, Meta(extra_json_schema={"format": "date"})]
    by: list[UsageField]
    estimate: bool
    rows: list[dict[str, str | int]]


def parse_day(text: str) -> str:
    """Read a day, ``2026-11-01``."""
    try:
        return date.fromisoformat(text).isoformat() if _DAY.fullmatch(text) else _refuse_day()
    except ValueError:
        return _refuse_day()


def _refuse_day() -> str:
    raise Wrong("malformed", "Give a day of Africa/Lagos, such as 2026-11-01.")


def parse_by(text: str) -> tuple[UsageField, ...]:
    """Read fields with commas between them, each once."""
    names = text.split(",")
    try:
        fields = tuple(UsageField(name) for name in names)
    except ValueError:
        fields = ()
    if not fields or len(set(fields)) < len(fields):
        raise Wrong("unlisted_value", f"Give some of {', '.join(UsageField)}, each once, with commas between them.")
    return fields


FirstDay = Annotated[str, QueryParameter(name="from", description="The first day.", format="date"), Check(parse_day)]
UntilDay = Annotated[
    str, QueryParameter(name="to", description="The day after the last one.", format="date"), Check(parse_day)
]
GroupBy = Annotated[
    str | None,
    QueryParameter(
        description=f"What a row is for: some of {', '.join(f'`{field}`' for field in UsageField)}, with commas."
        " Left out: one row for all.",
        pattern="^[a-z_]+(,[a-z_]+)*$",
    ),
    Check(parse_by),
]


class UsageController(Controller):
    """Who used how much."""

    @get(
        "/v1/usage",
        operation_id="getUsage",
        tags=["Looking up"],
        summary="What was sent, and what it comes to",
        description=(
            "Messages, recipients, segments and units of this client, by day and by what else is asked for; of all"
            " clients with the permission `operate`. Units are an estimate: segments times the account's price."
            " `Accept: text/csv` gives the same as CSV."
        ),
        media_type=MediaType.JSON,
        opt={"permission": Permission.USAGE, "heavy": True},
        operation_class=described(
            Answered(200, "The usage.", (Content(JSON, UsageBody, "usage"), Content(_CSV, None))),
            problems=(*ANY_CALLER, P.VALIDATION_FAILED, P.OVERLOADED, P.JOURNAL_UNAVAILABLE),
        ),
    )
    async def read(
        self,
        request: RelayRequest,
        sending: Service[Sending],
        first_day: FirstDay,
        until_day: UntilDay,
        by: GroupBy = None,
    ) -> Response[Any]:
        """Add it up."""
        if until_day <= first_day:
            remedy = "Give a day after `from`: it is the first one that does not count."
            raise ValidationFailed([FieldError("to", "out_of_range", remedy)])
        fields = () if by is None else parse_by(by)
        client = request.user.client
        sees_all = Permission.OPERATE in client.permissions
        query = UsageQuery(
            first_day=first_day, until_day=until_day, by=fields, client=None if sees_all else client.name
        )
        rows = await sending.usage(query)
        accept = b",".join(request.head.all_values(b"accept")).decode("latin-1").lower()
        if _CSV in accept:
            return Response(_to_csv(fields, rows), headers={**PRIVATE, "content-type": "text/csv; charset=utf-8"})
        named = [dict(zip(_names(fields), _values(row), strict=True)) for row in rows]
        return Response(UsageBody(first_day, until_day, list(fields), True, named), headers=PRIVATE)


def _names(fields: Sequence[UsageField]) -> list[str]:
    return [*(field.value for field in fields), *AMOUNTS]


def _values(row: UsageRow) -> list[str | int]:
    return [*row.group, row.messages, row.recipients, row.segments, format_units(row.units)]


def _to_csv(fields: Sequence[UsageField], rows: Sequence[UsageRow]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_names(fields))
    # A billing code may begin like a formula; a spreadsheet would run it.
    writer.writerows([_harmless(value) for value in _values(row)] for row in rows)
    return text.getvalue().encode()


def _harmless(value: str | int) -> str | int:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
