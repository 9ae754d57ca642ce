"""The command line: thin commands, each with an example, errors in one line with a remedy.

Exit status: 0 done, 1 refused or not sent, 2 wrong usage or settings, 3 the relay cannot be reached, 4 the outcome is
unknown or differs between recipients (look before you repeat).

**Decisions**

- Operator's commands go through the server, with a key that has the permission ``operate``: SQLite must never see a
  second connection (DESIGN, "The journal"). ``recover`` is the exception: it runs before any server does.
"""

import errno
import signal
import sys
from io import TextIOWrapper
from typing import Literal

from cyclopts import App, CycloptsError

from relay import __version__
from relay.cli.client_commands import request_commands
from relay.cli.doctor import doctor_commands
from relay.cli.operator_commands import operator_commands
from relay.cli.running import running_commands
from relay.cli.suppression_commands import suppressions_app
from relay.cli.template_commands import templates_app
from relay.cli.terminal import (
    LONGEST_LINE,
    CommandError,
    ExitStatus,
    console,
    forget_output,
    is_terminal,
    print_error,
)
from relay.cli.words import words_app

app = App(
    name="relay",
    help=(
        "The one service through which every other service sends SMS over smsclone.com.\n\n"
        "Exit status: 0 done, 1 refused or not sent, 2 wrong usage or settings, 3 the relay cannot be reached, 4 the "
        "outcome is unknown or differs between recipients: look before you repeat."
    ),
    version=__version__,
    console=console,
)
for commands in (running_commands, request_commands, operator_commands, doctor_commands):
    commands(app)
app.command(words_app)
app.command(templates_app)
app.command(suppressions_app)


@app.command
def completion(shell: Literal["bash", "zsh", "fish"] = "bash") -> int:
    """Print a script that completes commands and options in a shell.

    Example: relay completion bash > ~/.local/share/bash-completion/completions/relay
    """
    sys.stdout.write(app.generate_completion(prog_name="relay", shell=shell) + "\n")
    return 0


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main() -> None:
    """Run the command of ``sys.argv`` and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no arrow still gets its line
    if not is_terminal():  # help too: plain, and no line broken, so that its examples can be copied
        app.help_formatter, app.help_format, console.width = "plain", "plaintext", LONGEST_LINE
    try:
        status = app(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        remedy = f"See: {' '.join(['relay', *(error.command_chain or ()), '--help'])}"
        print_error(CommandError(str(error), remedy, ExitStatus.USAGE))
        sys.exit(ExitStatus.USAGE)
    except CommandError as error:
        print_error(error)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `relay unknown list | head` has read enough
        forget_output(sys.stdout)
        sys.exit(128 + signal.SIGPIPE)
    except OSError as failure:
        if failure.errno not in _FULL:
            raise
        forget_output(sys.stdout)
        what = f"the output cannot be written in full: {failure.strerror}."
        print_error(CommandError(what, "Look what was done before you repeat it.", ExitStatus.UNCLEAR))
        sys.exit(ExitStatus.UNCLEAR)
    sys.exit(status if isinstance(status, int) else 0)
