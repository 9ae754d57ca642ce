"""Commands of a calling service: ``send``, ``preview``, ``balance``."""

import uuid
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.markup import escape
from rich.table import Table

from relay.cli.connection import DEFAULT_URL, Key, Url, call, expect
from relay.cli.console import STATUS_STYLES, CommandError, ExitStatus, console, error_console

Recipients = Annotated[tuple[str, ...], Parameter(name=["--to", "-t"], help="A recipient; may be given again.")]
Message = Annotated[str, Parameter(name=["--message", "-m"], help="The text.")]
Sender = Annotated[str | None, Parameter(name="--sender", help="The sender ID; the client's default if left out.")]
MessageKind = Annotated[str, Parameter(name="--type", help="otp, alert, transactional or promotional.")]
RouteName = Annotated[str, Parameter(name="--route", help="auto, normal, dnd or dnd-fallback.")]
OnNonGsm = Annotated[str, Parameter(name="--on-non-gsm", help="send, fold, fold-letters or reject.")]


def request_commands(app: App) -> None:
    """Add the commands of a calling service."""
    app.command(send)
    app.command(preview)
    app.command(balance)


def send(
    *,
    to: Recipients = (),
    file: Annotated[
        Path | None, Parameter(help="A CSV file: one message a row, {column} in the text filled in.")
    ] = None,
    results: Annotated[Path | None, Parameter(help="Where the results of --file go; FILE.results if left out.")] = None,
    message: Message,
    sender: Sender = None,
    type: MessageKind = "transactional",  # noqa: A002 — the option's name is the field's word
    route: RouteName = "auto",
    on_non_gsm: OnNonGsm = "send",
    reference: str | None = None,
    idempotency_key: str | None = None,
    asynchronous: Annotated[bool, Parameter(name="--async", negative="")] = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Send a message through a running relay, and show what became of each recipient.

    Without --idempotency-key a fresh one is made and shown, so that the same command can be repeated with it.

    With --file and --async every row of a CSV file is a message; stopped in the middle, the same command continues
    where it was, and nobody gets a second SMS.

    Exit status: 0 sent or accepted, 1 refused, 2 wrong usage, 3 no relay there, 4 unknown or different outcomes.

    Example: relay send --to 08012345678 --message "Your order is on its way." --key rk_…

    Example: relay send --file customers.csv --async --message "Dear {name}, we open at 9." --key rk_…
    """
    if file is not None:
        if to or not asynchronous or idempotency_key:
            remedy = "Give --file with --async, without --to and --idempotency-key."
            raise CommandError(
                "a file is sent asynchronously, each row with a key of its own.", remedy, ExitStatus.USAGE
            )
        return _send_file(file, results, message, _options(sender, type, route, on_non_gsm, reference), url, key)
    if not to:
        raise CommandError("nobody to send to.", "Give --to, or --file with --async.", ExitStatus.USAGE)
    idempotency_key = idempotency_key or str(uuid.uuid4())
    headers = {"Idempotency-Key": idempotency_key, **({"Prefer": "respond-async"} if asynchronous else {})}
    request = {"recipients": list(to), "message": message, **_options(sender, type, route, on_non_gsm, reference)}
    # Before anything is sent: whoever loses the answer repeats with this key.
    error_console.print(f"idempotency key {idempotency_key}", markup=False, soft_wrap=True, style="dim")
    body = expect(call("POST", url, "/v1/notifications", key, json=request, headers=headers))
    _print_notification(body)
    return _exit_status(body["status"])


def preview(
    *,
    to: Recipients = (),
    message: Message = "",
    sender: Sender = None,
    type: MessageKind = "transactional",  # noqa: A002 — the option's name is the field's word
    route: RouteName = "auto",
    on_non_gsm: OnNonGsm = "send",
    alertmanager: Annotated[Path | None, Parameter(help="A webhook body of Alertmanager or Grafana.")] = None,
    receiver: Annotated[str | None, Parameter(help="The receiver whose SMS to show, from the settings.")] = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Show everything but the send: numbers, encoding, segments, word-list hits, route, calls.

    With --alertmanager it shows the SMS that a receiver of the settings (RELAY_CONFIG) would make of an alert.

    Example: relay preview --to 08012345678 --message "You have W0N" --type promotional --key rk_…
    """
    if alertmanager is not None:
        from relay.cli.alerts import preview_alerts

        console.print(preview_alerts(alertmanager, receiver), markup=False, soft_wrap=True)
        return ExitStatus.DONE
    request = {"recipients": list(to), "message": message, **_options(sender, type, route, on_non_gsm, None)}
    body = expect(call("POST", url, "/v1/notifications/preview", key, json=request))
    _print_preview(body)
    return ExitStatus.DONE if body["acceptable"] else ExitStatus.REFUSED


def balance(*, url: Url = DEFAULT_URL, key: Key = "") -> int:
    """Show the units left at smsclone.

    Example: relay balance --key rk_…
    """
    body = expect(call("GET", url, "/v1/balance", key))
    console.print(f"{body['units']} units, read at {body['read_at']}")
    return ExitStatus.DONE


def _send_file(file: Path, results: Path | None, message: str, options: dict[str, Any], url: str, key: str) -> int:
    from relay.cli.campaign import Results, read_campaign, run_campaign

    campaign = read_campaign(file, message, options)
    kept = Results(results or file.with_name(file.name + ".results"), campaign)
    try:
        return run_campaign(campaign, kept, options, url, key)
    except KeyboardInterrupt:
        remedy = "The same command continues there."
        raise CommandError(
            f"stopped: {kept.done} of {len(campaign.rows)} rows have their result.", remedy, ExitStatus.UNCLEAR
        ) from None
    finally:
        kept.close()


def _options(sender: str | None, kind: str, route: str, on_non_gsm: str, reference: str | None) -> dict[str, Any]:
    options = {"message_type": kind, "route": route, "on_non_gsm": on_non_gsm}
    given = {"sender": sender, "reference": reference}
    return options | {name: value for name, value in given.items() if value is not None}


def _exit_status(status: str) -> int:
    return {
        "sent": ExitStatus.DONE,
        "queued": ExitStatus.DONE,
        "in_progress": ExitStatus.DONE,
        "rejected": ExitStatus.REFUSED,
        "not_sent": ExitStatus.REFUSED,
    }.get(status, ExitStatus.UNCLEAR)


def _print_notification(body: dict[str, Any]) -> None:
    style = STATUS_STYLES.get(body["status"], "")
    route, text = body["route"], body["text"]
    console.print(f"[{style}]{body['status']}[/]  {body['id']}")
    console.print(
        f"route {route['used']} ({route['reason']}), {text['encoding']}, {text['segments']} segment(s)"
        + ("  [yellow]replayed[/]" if body["replayed"] else "")
        + ("  [cyan]sandbox[/]" if body["sandbox"] else "")
    )
    table = Table(box=None, pad_edge=False)
    for column in ("recipient", "status", "code", "upstream", "again?"):
        table.add_column(column, style="dim" if column == "upstream" else None)
    for recipient in body["recipients"]:
        upstream = recipient["upstream"] or {}
        table.add_row(
            escape(recipient["input"]),
            f"[{STATUS_STYLES.get(recipient['status'], '')}]{recipient['status']}[/]",
            recipient["code"] + (f" ({recipient['reason']})" if recipient.get("reason") else ""),
            upstream.get("code") or "",
            "safe" if recipient["retry_safe"] else "no",
        )
    console.print(table)


def _print_preview(body: dict[str, Any]) -> None:
    text, route = body["text"], body["route"]
    verdict = "[green]would be accepted[/]" if body["acceptable"] else "[red]would be refused[/]"
    console.print(verdict)
    for problem in body["problems"]:
        console.print(f"  [red]{problem['code']}[/] {escape(problem.get('detail', ''))}")
    for hit in body["hits"]:
        where = f"at characters {hit['start']} to {hit['end']}"
        console.print(f"  “{hit['entry']}” ({hit['category']}) {where}", markup=False)
    console.print(f"{text['encoding']}, {text['characters']} characters, {text['segments']} segment(s)")
    if route is not None:
        console.print(f"route {route['used']} ({route['reason']})")
    console.print(f"{body['calls']} call(s), about {body['estimated_units']} unit(s) (an estimate)")
    for recipient in body["recipients"]:
        became = recipient.get("recipient") or recipient.get("reason")
        console.print(f"  {recipient['input']} → {became}", markup=False)
