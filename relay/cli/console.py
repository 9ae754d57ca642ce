"""What commands print: tables and colour where the terminal has them, one line with a remedy for an error."""

from enum import IntEnum

from rich.console import Console
from rich.markup import escape

console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)


class ExitStatus(IntEnum):
    """What the shell learns."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    UNCLEAR = 4


class CommandError(Exception):
    """A command cannot go on. ``what`` is wrong, and the ``remedy``; neither holds a secret, a number or a text."""

    def __init__(self, what: str, remedy: str, status: ExitStatus) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.status = status


def print_error(error: CommandError) -> None:
    """Print an error as one line."""
    error_console.print(f"[bold red]relay:[/] {escape(error.what)} [dim]{escape(error.remedy)}[/]", soft_wrap=True)


STATUS_STYLES = {
    "sent": "green",
    "rejected": "yellow",
    "unknown": "bold magenta",
    "not_sent": "red",
    "queued": "cyan",
    "in_progress": "cyan",
    "partial": "yellow",
}
"""Colours of the statuses; the words stand beside them, so that colour is never the only sign."""
