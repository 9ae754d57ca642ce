"""The command ``relay``, also as ``python -m relay``."""

import signal
import sys


def main() -> None:
    """Run the command line.

    A SIGHUP that comes while a server loads its modules waits, and has the settings read again once there are any;
    not taken, it would end the process.
    """
    if sys.argv[1:2] == ["serve"]:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from relay.cli import main as run

    run()


if __name__ == "__main__":
    main()
