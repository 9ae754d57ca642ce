"""The command ``relay``, also as ``python -m relay``.

**Decisions**

- ``relay serve`` loads nothing of the command line, nor what libraries load to print in colour where they find it: a
  server would keep it all for as long as it lives (7.5 of 97 MiB, ``make soak``).
"""

import os
import signal
import sys
from pathlib import Path

_FOR_TERMINALS = ("rich", "pygments", "click")
"""structlog and httpx load them if they are there, and do without if not."""


def main() -> None:
    """Run the command line.

    A SIGHUP that comes while a server loads its modules waits, and has the settings read again once there are any;
    not taken, it would end the process.
    """
    open_standard_streams()
    if sys.argv[1:2] == ["serve"]:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    if sys.argv[1:] == ["serve"]:
        try:
            serve()
        except KeyboardInterrupt:
            sys.exit(130)
    from relay.cli import main as run

    run()


def open_standard_streams() -> None:
    """Open what a caller closed (``>&-``) on nothing: else the next file gets its number, and all that is printed.

    Source: POSIX, exec: the implementation may open closed standard descriptors, or leave that to the program.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 — as long as the process


def serve() -> None:
    """Run the relay, and exit when it ends. Returns where the settings have mistakes: the command tells them."""
    sys.modules.update(dict.fromkeys(_FOR_TERMINALS))  # type: ignore[arg-type]  # None: not there, says the language
    from relay.app import StartError, run
    from relay.settings import SettingsError, find_file, load_settings, require_credentials

    for name in _FOR_TERMINALS:
        del sys.modules[name]
    try:
        settings = load_settings(os.environ, find_file(os.environ))
        require_credentials(settings)
    except SettingsError:
        return
    try:
        run(settings)
    except StartError as failure:
        from relay.cli.terminal import CommandError, ExitStatus, print_error

        print_error(CommandError(failure.what, failure.remedy, ExitStatus.USAGE))
        sys.exit(ExitStatus.USAGE)
    sys.exit(0)


if __name__ == "__main__":
    main()
