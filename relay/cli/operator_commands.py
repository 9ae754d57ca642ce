"""Commands of the operator, through the server: unknown outcomes, pause and resume, erasing a number."""

from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.markup import escape

from relay.cli.api_connection import DEFAULT_URL, Key, Url, call, expect
from relay.cli.audit_commands import audit_app
from relay.cli.look_up_commands import find, show
from relay.cli.terminal import (
    ExitStatus,
    Json,
    counted,
    note,
    print_json,
    print_rows,
    say,
)
from relay.cli.unknown_commands import unknown_app


def operator_commands(app: App) -> None:
    """Add the operator's commands."""
    app.command(find)
    app.command(show)
    app.command(unknown_app)
    app.command(audit_app)
    app.command(pause)
    app.command(resume)
    app.command(erase)
    app.command(export)


def pause(
    *,
    reason: Annotated[str, Parameter(help="Why: up to 200 characters, kept in the audit.")],
    for_: Annotated[str | None, Parameter(name="--for", help="It ends by itself after so long: 90s, 15m, 2h.")] = None,
    client: Annotated[str | None, Parameter(help="Only what this client sends.")] = None,
    message_type: Annotated[str | None, Parameter(help="Only messages of this type.")] = None,
    account: Annotated[str | None, Parameter(help="Only what would go over this account.")] = None,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Stop sending, on all replicas, within a second. Queued messages wait; waiting callers get 503 paused.

    Example: relay pause --reason "smsclone hangs" --for 15m

    Example: relay pause --client marketing --reason "wrong text in campaign 12"
    """
    fields = {"reason": reason, "for": for_, "client": client, "message_type": message_type, "account": account}
    given = {name: value for name, value in fields.items() if value is not None}
    body = expect(call("POST", url, "/v1/operator/pause", key, json=given))
    _tell_pauses(body, json=json)
    return ExitStatus.DONE


def resume(
    *,
    client: str | None = None,
    message_type: str | None = None,
    account: str | None = None,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Start sending again: end every pause, or just the one with these fields.

    Example: relay resume

    Example: relay resume --client marketing
    """
    fields = {"client": client, "message_type": message_type, "account": account}
    given = {name: value for name, value in fields.items() if value is not None}
    body = expect(call("POST", url, "/v1/operator/resume", key, json=given))
    _tell_pauses(body, json=json)
    return ExitStatus.DONE


def _tell_pauses(body: Any, *, json: bool) -> None:
    if json:
        print_json(body)
        return
    if not body["pauses"]:
        say("sending again")
    for each in body["pauses"]:
        named = ", ".join(f"{name} {each[name]}" for name in ("client", "message_type", "account") if each[name])
        until = each["until"] or "somebody runs: relay resume"
        say(escape(f"paused: {named or 'all sending'}, until {until} ({each['by']}: {each['reason']})"))


def erase(*, recipient: str, json: Json = False, url: Url = DEFAULT_URL, key: Key = "") -> int:
    """Erase a number from all finished notifications before its retention ends.

    Example: relay erase --recipient 08012345678 --key rk_…
    """
    body = expect(call("POST", url, "/v1/operator/erase", key, json={"recipient": recipient}))
    told = f"erased from {counted(body['notifications'], 'notification')}"
    if body["not_ended"]:
        told += f"; {counted(body['not_ended'], 'notification')} not ended yet still hold it: erase it again later"
    _tell(body, told, json=json)
    if not json:
        note(f"receipt: {body['recipient']} at {body['at']}, audit row {body['hash']}")
    return ExitStatus.DONE


def export(*, recipient: str, json: Json = False, url: Url = DEFAULT_URL, key: Key = "") -> int:
    """Tell what is held about a number, of every client, newest first. It is a row of the audit.

    In a pipe: id, client, time, message type, sender, status, code, reference, whether the text is held.

    Example: relay export --recipient 08012345678 --json > held.json
    """
    items: list[dict[str, Any]] = []
    body: dict[str, Any] = {"next_cursor": None}
    while not items or body["next_cursor"] is not None:
        asked = {"recipient": recipient} | ({"cursor": body["next_cursor"]} if body["next_cursor"] else {})
        body = expect(call("POST", url, "/v1/operator/export", key, json=asked))
        items += body["items"]
        if not body["items"]:
            break
    if json:
        print_json({"recipient": body["recipient"], "at": body["at"], "items": items})
        return ExitStatus.DONE
    fields = ("id", "client", "created_at", "message_type", "sender", "status", "code", "reference", "text_held")
    print_rows(fields, [tuple("" if item[name] is None else str(item[name]) for name in fields) for item in items])
    return ExitStatus.DONE


def _tell(body: Any, words: str, *, json: bool) -> None:
    if json:
        print_json(body)
    else:
        say(words)
