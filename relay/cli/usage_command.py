"""``relay usage``: who used how much."""

from datetime import date, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from cyclopts import Parameter

from relay.cli.api_connection import DEFAULT_URL, Key, Url, call, expect
from relay.cli.terminal import CommandError, ExitStatus, Json, print_json, print_rows, say_empty

_AMOUNTS = ("messages", "recipients", "segments", "units")


def usage(
    *,
    month: Annotated[str, Parameter(help="A month of Africa/Lagos, such as 2026-11; this one if left out.")] = "",
    by: Annotated[
        str,
        Parameter(
            help="What a row is for, with commas: day, month, client, billing_code, message_type, route, account,"
            " outcome."
        ),
    ] = "client",
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Show what was sent in a month, and what it comes to in units (an estimate, by the prices in the settings).

    In a pipe: the fields of --by in their order, messages, recipients, segments, units, with a tab between them.

    Example: relay usage --month 2026-11 --by client,billing_code
    """
    first = _first_day(month)
    until = (first + timedelta(days=31)).replace(day=1)
    query = urlencode({"from": first.isoformat(), "to": until.isoformat(), "by": by}, safe=",")
    body = expect(call("GET", url, f"/v1/usage?{query}", key))
    if json:
        print_json(body)
    elif body["rows"]:
        names = (*body["by"], *_AMOUNTS)
        print_rows(names, [tuple(str(row[name]) for name in names) for row in body["rows"]])
    else:
        say_empty(f"Nothing was sent from {first} to {until - timedelta(days=1)}.")
    return ExitStatus.DONE


def _first_day(month: str) -> date:
    if not month:
        return datetime.now(ZoneInfo("Africa/Lagos")).date().replace(day=1)
    try:
        return date.fromisoformat(f"{month}-01")
    except ValueError:
        raise CommandError("--month is not a month.", "Write it like 2026-11.", ExitStatus.USAGE) from None
