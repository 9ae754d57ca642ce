"""Commands of the operator, through the server: unknown outcomes, pause and resume, erasing a number."""

import sys
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from relay.cli.connection import DEFAULT_URL, Key, Url, call, expect
from relay.cli.console import CommandError, ExitStatus, console

unknown_app = App(name="unknown", help="Outcomes that nobody knows: list them, and settle them by hand.")


def operator_commands(app: App) -> None:
    """Add the operator's commands."""
    app.command(unknown_app)
    app.command(pause)
    app.command(resume)
    app.command(erase)


@unknown_app.command(name="list")
def list_unknown(*, limit: int = 50, url: Url = DEFAULT_URL, key: Key = "") -> int:
    """List notifications with recipients whose outcome is unknown, newest first.

    Example: relay unknown list --key rk_…
    """
    body = expect(call("GET", url, f"/v1/operator/unknown?limit={limit}", key))
    table = Table(box=None, pad_edge=False)
    for column in ("notification", "client", "created", "unknown recipients", "codes"):
        table.add_column(column, no_wrap=True, overflow="ignore")
    for item in body["items"]:
        unknown = [entry for entry in item["recipients"] if entry["status"] == "unknown"]
        codes = ", ".join(sorted({entry["code"] for entry in unknown}))
        table.add_row(item["id"], item.get("client", ""), item["created_at"], str(len(unknown)), codes)
    console.print(table if body["items"] else "Nothing is unknown.", soft_wrap=True, crop=False)
    return ExitStatus.DONE


@unknown_app.command
def resolve(
    notification_id: str,
    *,
    sent: Annotated[bool, Parameter(negative="")] = False,
    not_sent: Annotated[bool, Parameter(negative="")] = False,
    resend: Annotated[bool, Parameter(negative="")] = False,
    to: Annotated[tuple[str, ...], Parameter(name="--to", help="Only these recipients.")] = (),
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Settle the unknown recipients of a notification: they were sent, they were not, or send to them once more.

    --resend reads the text from standard input: the relay erased it, and checks what you give against its hash.

    Example: relay unknown resolve 0192f3c4-… --sent
    """
    if sent + not_sent + resend != 1:
        raise CommandError("one verdict is needed.", "Give --sent, --not-sent or --resend.", ExitStatus.USAGE)
    path = f"/v1/operator/unknown/{notification_id}"
    if resend:
        message = sys.stdin.read().removesuffix("\n")
        body = expect(call("POST", url, f"{path}/resend", key, json={"message": message}))
        console.print(f"queued as {body['id']}")
        return ExitStatus.DONE
    request = {"outcome": "sent" if sent else "not_sent", **({"recipients": list(to)} if to else {})}
    body = expect(call("POST", url, f"{path}/resolve", key, json=request))
    console.print(f"{body['id']} is {body['status']} now")
    return ExitStatus.DONE


def pause(*, url: Url = DEFAULT_URL, key: Key = "") -> int:
    """Stop all sending, on all replicas, within a second. Queued messages wait; waiting callers get 503 paused.

    Example: relay pause --key rk_…
    """
    expect(call("POST", url, "/v1/operator/pause", key))
    console.print("paused; start again with: relay resume")
    return ExitStatus.DONE


def resume(*, url: Url = DEFAULT_URL, key: Key = "") -> int:
    """Start sending again.

    Example: relay resume --key rk_…
    """
    expect(call("POST", url, "/v1/operator/resume", key))
    console.print("sending again")
    return ExitStatus.DONE


def erase(*, recipient: str, url: Url = DEFAULT_URL, key: Key = "") -> int:
    """Erase a number from all finished notifications before its retention ends.

    Example: relay erase --recipient 08012345678 --key rk_…
    """
    body = expect(call("POST", url, "/v1/operator/erase", key, json={"recipient": recipient}))
    console.print(f"erased from {body['notifications']} notification(s)")
    return ExitStatus.DONE
