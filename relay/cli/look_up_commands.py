"""``relay find`` and ``relay show``: the first question of a customer's call, "she got no code at 14:05"."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from cyclopts import Parameter

from relay.cli.api_connection import DEFAULT_URL, Key, Url, call, expect, read_pages
from relay.cli.terminal import STATUS_STYLES, CommandError, ExitStatus, Json, note, print_json, print_rows, say_empty

_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_LAGOS = ZoneInfo("Africa/Lagos")
_AT_A_TIME = 20
Full = Annotated[bool, Parameter(name="--full", negative="", help="Whole numbers; the audit keeps that you asked.")]


def read_moment(text: str, option: str) -> str:
    """An RFC 3339 time; ``14:00`` is today in Africa/Lagos.

    Raises:
        CommandError: it is neither.
    """
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        today = datetime.now(UTC).astimezone(_LAGOS)
        return today.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0).isoformat()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        remedy = "Give 14:00 (today in Lagos), or 2026-12-01T14:00:00+01:00."
        raise CommandError(f"{option} is no time.", remedy, ExitStatus.USAGE)
    return moment.isoformat()


def find(
    *,
    recipient: Annotated[str | None, Parameter(help="A number, in any form.")] = None,
    reference: str | None = None,
    message_id: Annotated[str | None, Parameter(help="smsclone's id of the message.")] = None,
    idempotency_key: str | None = None,
    client: str | None = None,
    account: str | None = None,
    status: str | None = None,
    from_: Annotated[str | None, Parameter(name="--from", help="14:00 is today in Lagos; else RFC 3339.")] = None,
    to: Annotated[str | None, Parameter(name="--to", help="As --from.")] = None,
    limit: Annotated[int, Parameter(help="The newest so many.")] = 20,
    full: Full = False,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Find notifications of any client, newest first. Every search is a row of the audit.

    In a pipe: id, time, client, status, message type, recipients with their codes, reference,
    accounts, with a tab between them.

    Example: relay find --recipient 08012345678 --from 14:00

    Example: relay find --client billing --status unknown
    """
    filters = {
        "recipient": recipient,
        "reference": reference,
        "message_id": message_id,
        "idempotency_key": idempotency_key,
        "client": client,
        "account": account,
        "status": status,
        "created_from": None if from_ is None else read_moment(from_, "--from"),
        "created_to": None if to is None else read_moment(to, "--to"),
        "numbers": "full" if full else None,
    }
    query = {name: value for name, value in filters.items() if value is not None} | {"expand": "recipients"}
    pages = list(read_pages("/v1/operator/notifications", query, limit, url, key, most=_AT_A_TIME))
    items = [item for page in pages for item in page["items"]]
    if json:
        print_json(items)
    elif items:
        headings = ("notification", "accepted", "client", "status", "type", "recipients", "reference", "account")
        print_rows(headings, [_row(item) for item in items], styles=STATUS_STYLES)
    else:
        say_empty("Nothing was found. Widen the time, or look by another field.")
    if pages[-1]["next_cursor"] is not None:
        note(f"There are more; these are the newest {len(items)}. Give --limit, or narrow the search.")
    return ExitStatus.DONE


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    people = [f"{entry['recipient'] or 'erased'} {entry['code']}" for entry in item["recipients"][:3]]
    if len(item["recipients"]) > 3:
        people.append(f"and {len(item['recipients']) - 3} more")
    return (
        *(item["id"], item["created_at"], item["client"], item["status"], item["message_type"]),
        *(", ".join(people), item["reference"] or ""),
        ", ".join(dict.fromkeys(entry["account"] for entry in item["recipients"] if entry["account"])),
    )


def show(notification_id: str, *, full: Full = False, json: Json = False, url: Url = DEFAULT_URL, key: Key = "") -> int:
    """Show a notification of any client, and what happened to it, oldest first. Both are rows of the audit.

    In a pipe: lines of field and value, lines "recipient" with number, status, code, the upstream's answer, account;
    lines "event" with time, event, actor, facts.

    Example: relay show 0192f3c4-5b1e-7c3a-9d2f-000000000001
    """
    path = f"/v1/operator/notifications/{notification_id}"
    query = f"?{urlencode({'numbers': 'full'})}" if full else ""
    shown = expect(call("GET", url, f"{path}{query}", key))
    timeline = expect(call("GET", url, f"{path}/timeline{query}", key))["items"]
    if json:
        print_json(shown | {"timeline": timeline})
        return ExitStatus.DONE
    fields = ("id", "client", "reference", "status", "message_type", "sender", "created_at", "completed_at")
    route = " ".join(str(value) for value in shown["route"].values() if value)
    print_rows(("", ""), [(name, shown[name] or "") for name in fields] + [("route", route)], styles=STATUS_STYLES)
    print_rows(("", "number", "status", "code", "answer", "account"), [_person(entry) for entry in shown["recipients"]])
    print_rows(("", "at", "event", "by", "facts"), [_event(event) for event in timeline])
    return ExitStatus.DONE


def _person(entry: dict[str, Any]) -> tuple[str, ...]:
    upstream = entry["upstream"] or {}
    said = " ".join(
        str(upstream[name]) for name in ("code", "status", "description", "message_id") if upstream.get(name)
    )
    return "recipient", entry["recipient"] or "", entry["status"], entry["code"], said, entry["account"] or ""


def _event(event: dict[str, Any]) -> tuple[str, ...]:
    told = [f"{name}={value}" for name, value in event.items() if name not in ("event", "at", "actor")]
    return "event", event["at"], event["event"], event["actor"], " ".join(told)
