"""The command line: thin commands, each with an example, errors in one line with a remedy.

Exit status: 0 done, 1 refused or not sent, 2 wrong usage or settings, 3 the relay cannot be reached, 4 the outcome is
unknown or differs between recipients (look before you repeat).

**Decisions**

- Operator's commands go through the server, with a key that has the permission ``operate``: SQLite must never see a
  second connection (DESIGN, "The journal"). ``recover`` is the exception: it runs before any server does.
"""

import sys
from typing import Literal

from cyclopts import App

from relay import __version__
from relay.cli.console import CommandError, print_error
from relay.cli.doctor import doctor_commands
from relay.cli.operator import operator_commands
from relay.cli.requests import request_commands
from relay.cli.running import running_commands
from relay.cli.words import words_app

app = App(
    name="relay",
    help=(
        "The one service through which every other service sends SMS over smsclone.com.\n\n"
        "Exit status: 0 done, 1 refused or not sent, 2 wrong usage or settings, 3 the relay cannot be reached, 4 the "
        "outcome is unknown or differs between recipients: look before you repeat."
    ),
    version=__version__,
)
for commands in (running_commands, request_commands, operator_commands, doctor_commands):
    commands(app)
app.command(words_app)


@app.command
def completion(shell: Literal["bash", "zsh", "fish"] = "bash") -> int:
    """Print a script that completes commands and options in a shell.

    Example: relay completion bash > ~/.local/share/bash-completion/completions/relay
    """
    sys.stdout.write(app.generate_completion(prog_name="relay", shell=shell) + "\n")
    return 0


def main() -> None:
    """Run the command of ``sys.argv`` and exit with its status."""
    try:
        status = app(sys.argv[1:], exit_on_error=True)
    except CommandError as error:
        print_error(error)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)
