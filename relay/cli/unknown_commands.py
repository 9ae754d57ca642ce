"""``relay unknown``: outcomes that nobody knows: list them, settle one or many, send once more."""

import csv
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from rich.markup import escape

from relay.cli.api_connection import DEFAULT_URL, Key, Url, call, expect, read_pages
from relay.cli.look_up_commands import read_moment
from relay.cli.terminal import CommandError, ExitStatus, Json, counted, note, print_json, print_rows, say, say_empty
from relay.domain.clients import FIRST_ACCOUNT

unknown_app = App(name="unknown", help="Outcomes that nobody knows: list them, settle them, send once more.")

_COLUMNS = ("notification", "client", "created", "unknown", "codes", "reference", "recipients", "state", "dialled")
_EVIDENCE = ("fell", "explained", "unknown")
"""Of the balance around the calls, in units: how much it fell, what other calls explain, what is unknown."""

From = Annotated[str | None, Parameter(name="--from", help="Accepted then or later: 14:00 is today in Lagos.")]
Before = Annotated[str | None, Parameter(name="--before", help="Accepted before then.")]
Reason = Annotated[str, Parameter(help="Why: up to 200 characters, kept in the audit.")]


@unknown_app.command(name="list")
def list_unknown(
    *,
    state: Annotated[Literal["open", "resent", "settled"], Parameter(help="Where they stand.")] = "open",
    client: str | None = None,
    account: str | None = None,
    from_: From = None,
    before: Before = None,
    limit: Annotated[int | None, Parameter(help="The newest so many; all if left out.")] = None,
    csv_: Annotated[bool, Parameter(name="--csv", negative="", help="Print CSV with headings.")] = False,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """List notifications with recipients whose outcome is unknown, newest first.

    In a pipe: id, client, time, number of unknown recipients, codes, reference, with a tab between them. Numbers are
    masked.

    Example: relay unknown list --key rk_…

    Example: relay unknown list --from 14:00 --csv > unknown.csv
    """
    query = _filters(client, account, from_, before) | {"state": state}
    items = [item for page in read_pages("/v1/operator/unknown", query, limit, url, key) for item in page["items"]]
    if json:
        print_json(items)
        return ExitStatus.DONE
    rows = [_row(item) for item in items]
    if csv_:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow((*_COLUMNS, *(f"balance_{name}" for name in _EVIDENCE)))
        writer.writerows([[_harmless(cell) for cell in row] for row in rows])
    elif rows:
        print_rows(_COLUMNS[:6], [row[:6] for row in rows])
    else:
        say_empty("Nothing is unknown.")
    return ExitStatus.DONE


def _filters(client: str | None, account: str | None, from_: str | None, before: str | None) -> dict[str, str]:
    given = {
        "client": client,
        "account": account,
        "created_from": None if from_ is None else read_moment(from_, "--from"),
        "created_to": None if before is None else read_moment(before, "--before"),
    }
    return {name: value for name, value in given.items() if value is not None}


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    unknown = [entry for entry in item["recipients"] if entry["status"] == "unknown"]
    codes = ", ".join(sorted({entry["code"] for entry in unknown}))
    people = ", ".join(entry["recipient"] or "erased" for entry in unknown)
    return (
        *(item["id"], item["client"], item["created_at"], str(len(unknown)), codes),
        *(item["reference"] or "", people, item["state"], item["dialled_at"] or ""),
        *((item["evidence"] or {}).get(name, "") for name in _EVIDENCE),
    )


def _harmless(cell: str) -> str:
    """A cell that a spreadsheet does not take for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell


@unknown_app.command
def resolve(
    *notification_ids: str,
    sent: Annotated[bool, Parameter(negative="", help="They were sent.")] = False,
    not_sent: Annotated[bool, Parameter(negative="", help="They were not: their callers may send again.")] = False,
    resend: Annotated[bool, Parameter(negative="", help="As relay unknown resend.")] = False,
    reason: Reason = "",
    to: Annotated[tuple[str, ...], Parameter(name="--to", negative="", help="Only these recipients.")] = (),
    all_: Annotated[bool, Parameter(name="--all", negative="", help="All that is open and matches.")] = False,
    client: str | None = None,
    account: str | None = None,
    from_: From = None,
    before: Before = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Only say what it would settle.")] = False,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Settle unknown recipients: they were sent, or they were not. By ids, or with --all by filter.

    Example: relay unknown resolve 0192f3c4-… --sent --reason "in smsclone's list"

    Example: relay unknown resolve --all --from 14:00 --before 14:20 --sent --reason "in smsclone's list" --dry-run
    """
    filters = _filters(client, account, from_, before)
    if resend:
        if len(notification_ids) != 1 or sent or not_sent:
            raise CommandError("one notification is sent again at a time.", "Give one id.", ExitStatus.USAGE)
        return resend_unknown(notification_ids[0], json=json, url=url, key=key)
    if sent + not_sent != 1:
        raise CommandError("one verdict is needed.", "Give --sent, --not-sent or --resend.", ExitStatus.USAGE)
    if all_ == bool(notification_ids) or (filters and not all_):
        raise CommandError("which ones?", "Give ids, or --all with filters.", ExitStatus.USAGE)
    if not (reason or dry_run):
        raise CommandError("--reason is missing.", "Say why: the audit keeps it.", ExitStatus.USAGE)
    request: dict[str, Any] = {"outcome": "sent" if sent else "not_sent"} | ({"reason": reason} if reason else {})
    request |= {"recipients": list(to)} if to else {}
    if len(notification_ids) == 1 and not dry_run:
        path = f"/v1/operator/unknown/{notification_ids[0]}/resolve"
        body = expect(call("POST", url, path, key, json=request))
        if json:
            print_json(body)
        else:
            say(f"{body['id']} is {body['status']} now")
        return ExitStatus.DONE
    request |= {"filter": filters} if all_ else {"ids": list(notification_ids)}
    body = expect(call("POST", url, "/v1/operator/unknown/resolve", key, json=request | {"dry_run": dry_run}))
    if json:
        print_json(body)
        return ExitStatus.DONE
    headings = ("notification", "client", "recipients", "status", "reference")
    print_rows(headings, [_settlement(item) for item in body["items"]])
    note(f"{counted(body['matched'], 'notification')} matched, {body['settled']:,} settled")
    return ExitStatus.DONE


@unknown_app.command
def match(
    file: Path,
    *,
    settle: Annotated[bool, Parameter(negative="", help="Settle what is certain.")] = False,
    reason: Reason = "",
    within: Annotated[int, Parameter(help="Seconds by which the times may be apart.")] = 300,
    account: Annotated[str, Parameter(help="The account whose list it is.")] = FIRST_ACCOUNT,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Compare unknown outcomes with smsclone's own list of messages (CSV), by number and time.

    Without --settle nothing is changed. The file needs headings for number, date and status; up to 10,000 rows.

    In a pipe: id, line of the file, recipient (masked), what the list says, what that means, and any doubt, with a tab
    between them.

    Example: relay unknown match messages.csv

    Example: relay unknown match messages.csv --settle --reason "in smsclone's list of today"
    """
    if settle and not reason:
        raise CommandError("--reason is missing.", "Say why: the audit keeps it.", ExitStatus.USAGE)
    request: dict[str, Any] = {"csv": _read_list(file), "account": account, "within_seconds": within, "settle": settle}
    request |= {"reason": reason} if settle else {}
    body = expect(call("POST", url, "/v1/operator/unknown/match", key, json=request))
    if json:
        print_json(body)
        return ExitStatus.DONE
    headings = ("notification", "line", "recipient", "listed", "outcome", "doubt")
    print_rows(headings, [_fit(item) for item in body["items"]])
    note(
        f"{counted(body['rows'], 'row')}: {body['matched']:,} fit, {body['certain']:,} certain, {body['settled']:,}"
        f" settled; {body['unreadable']:,} unreadable, {body['missing']:,} open ones of that time are not in it"
    )
    return ExitStatus.DONE


def _read_list(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.", "", ExitStatus.USAGE) from None
    except UnicodeDecodeError:
        raise CommandError(f"{file} is not UTF-8.", "Save it as CSV in UTF-8.", ExitStatus.USAGE) from None


def _fit(item: dict[str, Any]) -> tuple[str, ...]:
    means = item["outcome"] or "?"
    done = "settled as " if item["settled"] else ""
    return (
        *(item["id"], str(item["line"]), item["recipient"], item["listed_status"] or "?"),
        *(f"{done}{means}", item["doubt"] or ""),
    )


def _settlement(item: dict[str, Any]) -> tuple[str, ...]:
    return item["id"], item["client"], str(item["recipients"]), item["status"], item["reference"] or ""


@unknown_app.command(name="resend")
def resend_unknown(notification_id: str, *, json: Json = False, url: Url = DEFAULT_URL, key: Key = "") -> int:
    """Send once more to the unknown recipients of a notification. Whoever got the first one gets it twice.

    The text is read from standard input: the relay erased it, and checks what you give against its hash.

    Example: relay unknown resend 0192f3c4-… < text.txt
    """
    message = sys.stdin.read().removesuffix("\n")
    path = f"/v1/operator/unknown/{notification_id}/resend"
    body = expect(call("POST", url, path, key, json={"message": message}))
    if json:
        print_json(body)
    else:
        say(escape(f"queued as {body['id']}"))
    return ExitStatus.DONE
