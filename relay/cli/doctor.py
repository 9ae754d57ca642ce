"""``relay doctor``: a table of what is well, what somebody should look at, and what will not work."""

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.markup import escape

from relay.cli.terminal import CommandError, ExitStatus, Json, is_terminal, note, print_json, print_rows
from relay.settings import SettingsError, describe_file, find_file, load_settings

if TYPE_CHECKING:
    from relay.app.self_check import Finding

_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def doctor_commands(app: App) -> None:
    """Add the command."""
    app.command(doctor)


def doctor(
    *,
    idle: Annotated[float, Parameter(help="Also see for how long smsclone keeps an idle connection, up to here.")] = 0,
    json: Json = False,
) -> int:
    """Look at everything a relay with these settings needs: settings, keys, words, journal, clock, smsclone, balance.

    Nothing is sent, and a relay that runs is not disturbed. Exit status: 0 nothing fails, 1 something will not work,
    2 the settings are wrong.

    Example: RELAY_CONFIG=relay.toml relay doctor --idle 120
    """
    from relay.app.self_check import Finding, Grade, check_up, failed

    if not 0 <= idle <= 3600:
        raise CommandError("--idle must be 0 to 3600 seconds.", "Give --idle 120.", ExitStatus.USAGE)

    async def look() -> list[Finding]:
        return [finding async for finding in check_up(settings, file, idle_seconds=idle)]

    status, file = ExitStatus.USAGE, find_file(os.environ)
    try:
        settings = load_settings(os.environ)
    except SettingsError as failure:
        note(f"settings: {escape(describe_file(file))}")
        findings = [failed(error.path, "is wrong", error.message) for error in failure.errors]
    else:
        findings = asyncio.run(look())
        fails = any(finding.verdict is Grade.FAIL for finding in findings)
        status = ExitStatus.REFUSED if fails else ExitStatus.DONE
    if json:
        print_json(findings)
    else:
        _print_table(findings)
    return status


def _print_table(findings: "Sequence[Finding]") -> None:
    if is_terminal():
        rows = [(each.verdict.value, each.topic, f"{each.says}\n{each.remedy}".strip()) for each in findings]
        print_rows(("", "", ""), rows, styles=_STYLES)
    else:
        print_rows(("",) * 4, [(each.verdict.value, each.topic, each.says, each.remedy) for each in findings])
