"""Commands of a calling service: ``send``, ``preview``, ``move``, ``cancel``, ``balance``."""

from pathlib import Path
from typing import Annotated, Any

import uuid_utils
from cyclopts import App, Parameter
from rich.markup import escape

from relay.cli.api_connection import DEFAULT_URL, Key, Url, call, expect
from relay.cli.look_up_commands import read_moment
from relay.cli.message_options import request_options, text_of, time_columns, without_type
from relay.cli.terminal import STATUS_STYLES, CommandError, ExitStatus, Json, counted, note, print_json, print_rows, say
from relay.cli.usage_command import usage

Recipients = Annotated[
    tuple[str, ...], Parameter(name=["--to", "-t"], negative="", help="A recipient; may be given again.")
]
Message = Annotated[str, Parameter(name=["--message", "-m"], help="The text.")]
Sender = Annotated[str | None, Parameter(name="--sender", help="The sender ID; the client's default if left out.")]
MessageKind = Annotated[str, Parameter(name="--type", help="otp, alert, transactional or promotional.")]
RouteName = Annotated[str, Parameter(name="--route", help="auto, normal, dnd or dnd-fallback.")]
SendAt = Annotated[
    str | None,
    Parameter(name="--send-at", help="When to send it: 14:00 is today in Lagos; else RFC 3339. With --async."),
]
TemplateName = Annotated[str | None, Parameter(help="A template in place of a text; its type is the message's.")]
TemplateValues = Annotated[
    tuple[str, ...], Parameter(negative="", help="A value of the template, as name=text; may be given again.")
]
Language = Annotated[str | None, Parameter(help="The template's language; its first one if left out.")]
NumberColumn = Annotated[
    str | None, Parameter(help="The heading of the numbers in --file, where it is not one of the usual ones.")
]
SendAtColumn = Annotated[
    str | None, Parameter(help="The heading in --file of when each row is to be sent; empty cells: as --send-at says.")
]
WindowColumn = Annotated[
    str | None, Parameter(help="The heading in --file of when each row may be sent; empty cells: as --window says.")
]
Window = Annotated[
    str | None,
    Parameter(name="--window", help='When it may be sent: 08:00-20:00, or "08:00-20:00 Europe/London".'),
]
OnNonGsm = Annotated[str, Parameter(name="--on-non-gsm", help="send, fold, fold-letters or reject.")]


_FILE_ALONE = (
    "a file is sent asynchronously, each row with a key of its own.",
    "Give --file with --async and --message, without --to, --template and --idempotency-key.",
)
_NOBODY = ("nobody to send to.", "Give --to, or --file with --async; see relay send --help.")


def request_commands(app: App) -> None:
    """Add the commands of a calling service."""
    app.command(send)
    app.command(preview)
    app.command(move)
    app.command(cancel)
    app.command(balance)
    app.command(usage)


def send(
    *,
    to: Recipients = (),
    file: Annotated[
        Path | None, Parameter(help="A CSV file: one message a row, {column} in the text filled in.")
    ] = None,
    campaign: Annotated[
        str, Parameter(help="A name for the messages of --file; under one name nobody gets a row's message twice.")
    ] = "default",
    again: Annotated[
        bool, Parameter(negative="", help="With --file: also to people who would get a second message by it.")
    ] = False,
    allow_empty: Annotated[
        bool, Parameter(negative="", help="With --file: cells that the text uses may be empty.")
    ] = False,
    delimiter: Annotated[str, Parameter(help="What divides the cells of --file: , ; | or tab.")] = ",",
    number_column: NumberColumn = None,
    send_at_column: SendAtColumn = None,
    window_column: WindowColumn = None,
    results: Annotated[Path | None, Parameter(help="Where the results of --file go; FILE.results if left out.")] = None,
    message: Message = "",
    template: TemplateName = None,
    value: TemplateValues = (),
    language: Language = None,
    sender: Sender = None,
    type: MessageKind = "transactional",  # noqa: A002 — the option's name is the field's word
    route: RouteName = "auto",
    on_non_gsm: OnNonGsm = "send",
    reference: str | None = None,
    send_at: SendAt = None,
    window: Window = None,
    idempotency_key: str | None = None,
    asynchronous: Annotated[bool, Parameter(name="--async", negative="")] = False,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Send a message through a running relay, and show what became of each recipient.

    Without --idempotency-key a fresh one is made and shown, so that the same command can be repeated with it.

    With --file and --async every row of a CSV file is a message. The whole file is judged before the first one is
    sent: UTF-8, cells divided by commas (or --delimiter), a heading that names the numbers (recipient, number, phone,
    mobile, msisdn, or --number-column), something in every cell that the text uses. A file without headings is a list
    of numbers.

    Stopped in the middle, or mended where rows were refused, the same command continues: a row is known by its number
    and text under the name of the --campaign, and nobody gets it twice. For a new message give a new name.

    Exit status: 0 sent or accepted, 1 refused, 2 wrong usage, 3 no relay there, 4 unknown or different outcomes.

    Example: relay send --to 08012345678 --message "Your order is on its way." --key rk_…

    Example: relay send --to 08012345678 --template order_sent --value order=1204 --key rk_…

    Example: relay send --file customers.csv --async --message "Dear {name}, we open at 9." --key rk_…
    """
    options = request_options(sender, type, route, on_non_gsm, reference, send_at, window)
    if file is not None:
        if to or not asynchronous or idempotency_key or template is not None or not message:
            raise CommandError(*_FILE_ALONE, ExitStatus.USAGE)
        from relay.cli.files import CampaignFile, send_file

        source = CampaignFile(
            *(file, results, campaign, delimiter, number_column, time_columns(send_at_column, window_column)),
            allow_empty=allow_empty,
            again=again,
        )
        return send_file(source, message, options, url, key, json=json)
    if not to:
        raise CommandError(*_NOBODY, ExitStatus.USAGE)
    idempotency_key = idempotency_key or str(uuid_utils.uuid7())
    headers = {"Idempotency-Key": idempotency_key, **({"Prefer": "respond-async"} if asynchronous else {})}
    text = text_of(message, template, value, language)
    request = {"recipients": list(to), **(options if template is None else without_type(options)), **text}
    # Before anything is sent: whoever loses the answer repeats with this key.
    note(f"[dim]idempotency key {escape(idempotency_key)}[/]")
    body = expect(call("POST", url, "/v1/notifications", key, json=request, headers=headers))
    _show(body, json=json)
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
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Show everything but the send: numbers, encoding, segments, word-list hits, route, calls.

    With --alertmanager it shows the SMS that a receiver of the settings (RELAY_CONFIG) would make of an alert.

    Example: relay preview --to 08012345678 --message "You have W0N" --type promotional --key rk_…
    """
    if alertmanager is not None:
        from relay.cli.alert_preview import preview_alerts

        sms = preview_alerts(alertmanager, receiver)
        if json:
            print_json({"message": sms})
        else:
            say(escape(sms))
        return ExitStatus.DONE
    request = {"recipients": list(to), "message": message, **request_options(sender, type, route, on_non_gsm, None)}
    body = expect(call("POST", url, "/v1/notifications/preview", key, json=request))
    if json:
        print_json(body)
    else:
        _print_preview(body)
    return ExitStatus.DONE if body["acceptable"] else ExitStatus.REFUSED


NotificationId = Annotated[str, Parameter(help="The notification's id.")]


def move(
    notification_id: NotificationId,
    *,
    send_at: Annotated[
        str, Parameter(name="--send-at", help="14:00 is today in Lagos; else RFC 3339. What has passed means now.")
    ],
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> int:
    """Send what still waits at another time.

    Example: relay move 0192f3c4-5b1e-7c3a-9d2f-000000000001 --send-at 2026-12-01T09:00:00+01:00
    """
    asked = {"send_at": read_moment(send_at, "--send-at")}
    _show(expect(call("PATCH", url, f"/v1/notifications/{notification_id}", key, json=asked)), json=json)
    return ExitStatus.DONE


def cancel(notification_id: NotificationId, *, json: Json = False, url: Url = DEFAULT_URL, key: Key = "") -> int:
    """Cancel what still waits. Exit status 1: it is too late.

    Example: relay cancel 0192f3c4-5b1e-7c3a-9d2f-000000000001
    """
    _show(expect(call("DELETE", url, f"/v1/notifications/{notification_id}", key)), json=json)
    return ExitStatus.DONE


def _show(body: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json(body)
    else:
        _print_notification(body)


def balance(*, json: Json = False, url: Url = DEFAULT_URL, key: Key = "") -> int:
    """Show the units left at smsclone.

    Example: relay balance --key rk_…
    """
    body = expect(call("GET", url, "/v1/balance", key))
    if json:
        print_json(body)
    else:
        say(f"{body['units']} units, read at {body['read_at']}")
    return ExitStatus.DONE


def _exit_status(status: str) -> int:
    return {
        "sent": ExitStatus.DONE,
        "queued": ExitStatus.DONE,
        "in_progress": ExitStatus.DONE,
        "rejected": ExitStatus.REFUSED,
        "not_sent": ExitStatus.REFUSED,
    }.get(status, ExitStatus.UNCLEAR)


def _print_notification(body: dict[str, Any]) -> None:
    route, text = body["route"], body["text"]
    say(f"[{STATUS_STYLES.get(body['status'], '')}]{body['status']}[/]  {body['id']}")
    say(
        f"route {route['used']} ({route['reason']}), {text['encoding']}, {counted(text['segments'], 'segment')}"
        + ("  [yellow]replayed[/]" if body["replayed"] else "")
        + ("  [cyan]sandbox[/]" if body["sandbox"] else "")
        + (f"  send at {body['send_at']}" if "send_at" in body else "")
    )
    rows = [
        (
            recipient["input"],
            recipient["status"],
            recipient["code"] + (f" ({recipient['reason']})" if recipient.get("reason") else ""),
            (recipient["upstream"] or {}).get("code") or "",
            "safe" if recipient["retry_safe"] else "no",
        )
        for recipient in body["recipients"]
    ]
    print_rows(("recipient", "status", "code", "upstream", "again?"), rows, styles=STATUS_STYLES)


def _print_preview(body: dict[str, Any]) -> None:
    text, route = body["text"], body["route"]
    say("[green]would be accepted[/]" if body["acceptable"] else "[red]would be refused[/]")
    for problem in body["problems"]:
        say(f"  [red]{problem['code']}[/] {escape(problem.get('detail', ''))}")
    for hit in body["hits"]:
        say(f"  “{escape(hit['entry'])}” ({hit['category']}) at characters {hit['start']} to {hit['end']}")
    say(f"{text['encoding']}, {counted(text['characters'], 'character')}, {counted(text['segments'], 'segment')}")
    if route is not None:
        say(f"route {route['used']} ({route['reason']})")
    units = f"{body['estimated_units']} unit" + ("" if body["estimated_units"] == "1" else "s")
    say(f"{counted(body['calls'], 'call')}, about {units} (an estimate)")
    for recipient in body["recipients"]:
        became = recipient.get("recipient") or recipient.get("reason")
        say(f"  {escape(recipient['input'])} → {became}")
