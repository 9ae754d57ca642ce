"""``relay suppressions``: numbers that are not to be written to: import a file of them, list, lift."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from relay.cli.api_connection import DEFAULT_URL, Key, Url, call, expect, read_pages
from relay.cli.look_up_commands import read_moment
from relay.cli.terminal import CommandError, ExitStatus, Json, counted, note, print_json, print_rows, say, say_empty

suppressions_app = App(name="suppressions", help="Numbers that are not to be written to: import, list, lift.")

AT_ONCE = 500
_HEADINGS = ("recipient", "message_types", "reason", "until")
Everybody = Annotated[
    bool, Parameter(name="--all-clients", negative="", help="For everybody's messages; needs the permission operate.")
]


@suppressions_app.command(name="import")
def import_file(
    file: Annotated[Path, Parameter(help="CSV in UTF-8: recipient,message_types,reason,until; types with blanks.")],
    /,
    *,
    all_clients: Everybody = False,
    reason: Annotated[str, Parameter(help="For rows that give none.")] = "imported",
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Enter the numbers of a file. The same file again changes nothing. Exit status 1: some were refused.

    Only the column recipient must be there. Of each number the relay keeps a keyed hash and the last two digits.

    Example: relay suppressions import opted_out.csv --key rk_…
    """
    rows = list(_read(file, reason))
    scope = "all" if all_clients else "client"
    entered, refused = 0, []
    for begin in range(0, len(rows), AT_ONCE):
        some = rows[begin : begin + AT_ONCE]
        body = {"scope": scope, "items": [item for _, item in some]}
        answer = expect(call("POST", url, "/v1/suppressions/import", key, json=body))
        entered += answer["entered"]
        for result in answer["items"]:
            if "problem" in result:
                problem = result["problem"]
                [first, *_] = problem.get("errors") or [{"field": "", "code": problem["code"]}]
                refused.append({"line": some[result["index"]][0], "field": first["field"], "code": first["code"]})
    if json:
        print_json({"entered": entered, "refused": refused})
    else:
        for each in refused:
            note(f"line {each['line']}: {each['field']} {each['code']}")
        say(f"{counted(entered, 'number')} entered, {len(refused):,} refused")
    return ExitStatus.REFUSED if refused else ExitStatus.DONE


def _read(file: Path, reason: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row with its line.

    Raises:
        CommandError: the file cannot be used.
    """
    try:
        text = file.read_text("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        headings = [str(name).strip() for name in reader.fieldnames or ()]
        if "recipient" not in headings or not set(headings) <= set(_HEADINGS):
            raise CommandError(
                f"{file.name} has not the columns {', '.join(_HEADINGS)}.", "recipient must be there.", ExitStatus.USAGE
            )
        reader.fieldnames = headings
        for row in reader:
            given = {name: (row.get(name) or "").strip() for name in _HEADINGS}
            until = {} if not given["until"] else {"until": read_moment(given["until"], "until")}
            yield (
                reader.line_num,
                {
                    "recipient": given["recipient"],
                    "message_types": given["message_types"].replace(";", " ").split(),
                    "reason": given["reason"] or reason,
                    **until,
                },
            )
    except (OSError, UnicodeDecodeError, csv.Error):
        remedy = "Give a CSV file in UTF-8 with the columns recipient, message_types, reason, until."
        raise CommandError(f"{file.name} cannot be read.", remedy, ExitStatus.USAGE) from None


@suppressions_app.command(name="list")
def list_suppressions(
    *,
    recipient: Annotated[str | None, Parameter(help="Only those of this number.")] = None,
    all_clients: Everybody = False,
    limit: Annotated[int | None, Parameter(help="The newest so many; all if left out.")] = None,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """List what is suppressed, newest first; numbers but for two digits hidden. In a pipe it is the export.

    Example: relay suppressions list --all-clients
    """
    query = {"scope": "all"} if all_clients else {}
    query |= {} if recipient is None else {"recipient": recipient}
    items = [item for page in read_pages("/v1/suppressions", query, limit, url, key) for item in page["items"]]
    if json:
        print_json(items)
        return ExitStatus.DONE
    rows = [
        (
            *(item["id"], item["recipient"], item["scope"], " ".join(item["message_types"]) or "all"),
            *(item["until"] or "", item["by"], item["reason"]),
        )
        for item in items
    ]
    if rows:
        print_rows(("id", "number", "scope", "types", "until", "by", "reason"), rows)
    else:
        say_empty("No number is suppressed.")
    return ExitStatus.DONE


@suppressions_app.command
def lift(suppression_id: str, /, *, json: Json = False, url: Url = DEFAULT_URL, key: Key = "") -> int:
    """Take one off the list.

    Example: relay suppressions lift 0f1e2d3c4b5a69788796a5b4c3d2e1f0
    """
    body = expect(call("DELETE", url, f"/v1/suppressions/{suppression_id}", key))
    if json:
        print_json(body)
    else:
        say(f"lifted {body['id']}")
    return ExitStatus.DONE
