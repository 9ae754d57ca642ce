"""What a command says of a message, as the fields of a request."""

import re
from typing import Any

from relay.cli.look_up_commands import read_moment
from relay.cli.sheets import TimeColumn
from relay.cli.terminal import CommandError, ExitStatus


def request_options(
    sender: str | None,
    kind: str,
    route: str,
    on_non_gsm: str,
    reference: str | None,
    send_at: str | None = None,
    window: str | None = None,
) -> dict[str, Any]:
    """The fields that are given.

    Raises:
        CommandError: a time or a window is none.
    """
    options = {"message_type": kind, "route": route, "on_non_gsm": on_non_gsm}
    at = None if send_at is None else read_moment(send_at, "--send-at")
    hours = None if window is None else _read_window(window)
    given = {"sender": sender, "reference": reference, "send_at": at, "delivery_window": hours}
    return options | {name: value for name, value in given.items() if value is not None}


def text_of(message: str, template: str | None, value: tuple[str, ...], language: str | None) -> dict[str, Any]:
    """What a message says: a text, or a template with its values.

    Raises:
        CommandError: neither, or both, or a value that is none.
    """
    if template is None:
        if value or language is not None or not message:
            raise CommandError("nothing to send.", "Give --message, or --template with its values.", ExitStatus.USAGE)
        return {"message": message}
    pairs = [each.partition("=") for each in value]
    if message or not all(name and mark for name, mark, _ in pairs):
        remedy = "Give --template without --message, and each --value as name=text."
        raise CommandError("the template cannot be used like that.", remedy, ExitStatus.USAGE)
    given = {} if language is None else {"language": language}
    named = {"name": template, "values": {name: text for name, _, text in pairs}, **given}
    return {"template": named}


def time_columns(send_at: str | None, window: str | None) -> tuple[TimeColumn, ...]:
    """The columns of a file that are given to say when its rows are to be sent."""
    columns = (
        ("send_at", "send-at-column", send_at, lambda cell: read_moment(cell, "--send-at-column")),
        ("delivery_window", "window-column", window, _read_window),
    )
    return tuple(TimeColumn(field, option, given, read) for field, option, given, read in columns if given is not None)


def _read_window(text: str) -> dict[str, str]:
    found = re.fullmatch(r"(\d\d:\d\d)-(\d\d:\d\d)(?: +(\S+))?", text)
    if found is None:
        remedy = 'Give 08:00-20:00, or "08:00-20:00 Europe/London".'
        raise CommandError("--window is not a time range.", remedy, ExitStatus.USAGE)
    zone = {} if found[3] is None else {"time_zone": found[3]}
    return {"from": found[1], "to": found[2], **zone}


def without_type(options: dict[str, Any]) -> dict[str, Any]:
    """The same for a template, whose own message type counts."""
    return {name: value for name, value in options.items() if name != "message_type"}
