"""``relay doctor``: a table of what is well, what somebody should look at, and what will not work."""

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import App, Parameter
from rich.markup import escape
from rich.table import Table

from relay.cli.console import CommandError, ExitStatus, console
from relay.settings import SettingsError, load_settings

if TYPE_CHECKING:
    from relay.app.checkup import Finding

_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def doctor_commands(app: App) -> None:
    """Add the command."""
    app.command(doctor)


def doctor(
    *,
    idle: Annotated[float, Parameter(help="Also see for how long smsclone keeps an idle connection, up to here.")] = 0,
    json: Annotated[bool, Parameter(negative="", help="One JSON array instead of a table.")] = False,
) -> int:
    """Look at everything a relay with these settings needs: settings, keys, words, journal, clock, smsclone, balance.

    Nothing is sent, and a relay that runs is not disturbed. Exit status: 0 nothing fails, 1 something will not work,
    2 the settings are wrong.

    Example: RELAY_CONFIG=relay.toml relay doctor --idle 120
    """
    from relay.app.checkup import Finding, Verdict, check_up, failed

    if not 0 <= idle <= 3600:
        raise CommandError("--idle must be 0 to 3600 seconds.", "Give --idle 120.", ExitStatus.USAGE)

    async def look() -> list[Finding]:
        return [finding async for finding in check_up(settings, idle_seconds=idle)]

    status = ExitStatus.USAGE
    try:
        settings = load_settings(os.environ)
    except SettingsError as failure:
        findings = [failed(error.path, "is wrong", error.message) for error in failure.errors]
    else:
        findings = asyncio.run(look())
        fails = any(finding.verdict is Verdict.FAIL for finding in findings)
        status = ExitStatus.REFUSED if fails else ExitStatus.DONE
    if json:
        console.print(msgspec.json.encode(findings).decode(), markup=False, soft_wrap=True)
    else:
        _print_table(findings)
    return status


def _print_table(findings: "Sequence[Finding]") -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column()
    for finding in findings:
        verdict = finding.verdict.value
        says = escape(finding.says) + (f"\n[dim]{escape(finding.remedy)}[/]" if finding.remedy else "")
        table.add_row(f"[{_STYLES[verdict]}]{verdict}[/]", escape(finding.topic), says)
    console.print(table)
