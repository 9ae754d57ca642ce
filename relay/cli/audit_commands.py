"""``relay audit``: who did what, and whether anybody changed what the audit says."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.markup import escape

from relay.cli.api_connection import DEFAULT_URL, Key, Url, read_pages
from relay.cli.terminal import CommandError, ExitStatus, Json, counted, print_json, print_rows, say, say_empty
from relay.domain.audit import FIRST, Act, AuditRow, check_chain
from relay.http.times import to_milliseconds

audit_app = App(name="audit", help="What operators did: list it, and check that nobody changed it.")

_HASH = re.compile(r"[0-9a-f]{64}")


@audit_app.command(name="list")
def list_audit(
    *,
    notification: Annotated[str | None, Parameter(help="Only rows about this notification: who looked at it?")] = None,
    limit: Annotated[int | None, Parameter(help="The newest so many; all if left out.")] = None,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """List what operators did, newest first.

    In a pipe: row, time, client, key, action, notification, other notification, count, reason, with a tab between them.

    Example: relay audit list --limit 20
    """
    query = {} if notification is None else {"notification_id": notification}
    items = [item for page in read_pages("/v1/operator/audit", query, limit, url, key) for item in page["items"]]
    if json:
        print_json(items)
        return ExitStatus.DONE
    fields = ("id", "at", "client", "key", "action", "notification_id", "other_id", "count", "reason")
    rows = [tuple("" if item[name] is None else str(item[name]) for name in fields) for item in items]
    if rows:
        headings = ("row", "at", "client", "key", "action", "notification", "other", "count", "reason")
        print_rows(headings, rows)
    else:
        say_empty("Nobody has done anything yet.")
    return ExitStatus.DONE


@audit_app.command
def verify(
    *,
    expect: Annotated[
        str | None, Parameter(help="A hash that the relay logged earlier; its row must be there.")
    ] = None,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Check the audit's chain: find rows that were changed, inserted, or taken out.

    Who writes to the database can cut off the newest rows, or write all of them anew. Give a hash from the log (event
    audit.sealed, every hour) to find that too. Exit status 1 if something is wrong.

    Example: relay audit verify --expect 3b1f…
    """
    if expect is not None and _HASH.fullmatch(expect) is None:
        remedy = "Give the 64 characters of a hash: the field hash of a log line audit.sealed."
        raise CommandError("--expect is not a hash.", remedy, ExitStatus.USAGE)
    rows, newest_hash = _read_all(url, key)
    findings = check_chain(rows, newest_hash, expect)
    if json:
        print_json({"ok": not findings, "rows": len(rows), "newest_hash": newest_hash, "findings": findings})
    elif findings:
        print_rows(
            ("finding", "row", "what"),
            [(each.kind, "" if each.row is None else str(each.row), each.detail) for each in findings],
        )
    else:
        say(f"{counted(len(rows), 'row')}, each as it was written; the newest hash is {escape(newest_hash)}")
    return ExitStatus.REFUSED if findings else ExitStatus.DONE


def _read_all(url: str, key: str) -> tuple[list[AuditRow], str]:
    pages = list(_pages(url, key))
    rows = [_row_of(item) for page in pages for item in page["items"]]
    return rows, pages[0]["newest_hash"] if pages else FIRST


def _pages(url: str, key: str) -> Iterator[dict[str, Any]]:
    return read_pages("/v1/operator/audit", {}, None, url, key)


def _row_of(item: dict[str, Any]) -> AuditRow:
    act = Act(
        at=to_milliseconds(datetime.fromisoformat(item["at"])),
        client=item["client"],
        key=item["key"],
        action=item["action"],
        notification_id=item["notification_id"],
        other_id=item["other_id"],
        count=item["count"],
        reason=item["reason"],
    )
    return AuditRow(id=item["id"], act=act, previous_hash=item["previous_hash"], hash=item["hash"])
