"""Commands that run something, and those that prepare it: ``serve``, ``sandbox``, ``demo``, ``keys new``, …"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from rich.markup import escape

from relay.cli.console import CommandError, ExitStatus, console, error_console
from relay.settings import Settings, SettingsError, load_settings, require_credentials

keys_app = App(name="keys", help="API keys of calling services.")


def running_commands(app: App) -> None:
    """Add the commands that run the relay and what belongs to it."""
    for command in (serve, sandbox, demo, openapi, migrate, recover):
        app.command(command)
    app.command(check_config, name="check-config")
    app.command(keys_app)


def _settings(*, serving: bool = False) -> Settings:
    """Load the settings, or print every error and stop; ``serving`` needs an account at smsclone too."""
    try:
        settings = load_settings(os.environ)
        if serving:
            require_credentials(settings)
    except SettingsError as failure:
        for error in failure.errors:
            error_console.print(f"[bold red]{escape(error.path)}[/] {escape(error.message)}", soft_wrap=True)
        count = len(failure.errors)
        raise CommandError(
            f"{count} setting(s) are wrong.", "Mend them all and start again.", ExitStatus.USAGE
        ) from None
    return settings


def serve() -> int:
    """Run the relay with the settings of RELAY_CONFIG and the environment, until SIGTERM.

    Example: RELAY_CONFIG=relay.toml relay serve
    """
    from relay.app import StartError, run

    settings = _settings(serving=True)
    try:
        run(settings)
    except StartError as failure:
        raise CommandError(failure.what, failure.remedy, ExitStatus.USAGE) from None
    return ExitStatus.DONE


def sandbox(
    *,
    host: str = "127.0.0.1",
    port: int = 9100,
    username: str = "demo",
    password: str = "demo",  # noqa: S107 — the stand-in's, not a secret
    switch: Annotated[list[str] | None, Parameter(negative="")] = None,
) -> int:
    """Run a stand-in for smsclone: same paths and answers, a ledger of what it received, an inbox page.

    Example: relay sandbox --port 9100 --switch fields=9 --switch fault=slow

    Parameters
    ----------
    switch
        A behaviour as name=value, from the start on; may be repeated. GET /behaviours lists them all.
    """
    from relay.domain.secret import Secret
    from relay.sandbox.server import SandboxConfig, run_sandbox
    from relay.sandbox.switches import parse_switches

    try:
        switches = parse_switches(switch or ())
    except ValueError as failure:
        remedy = "Give name=value; GET /behaviours of a running sandbox lists names and values."
        raise CommandError(f"no such switch: {failure}.", remedy, ExitStatus.USAGE) from None
    config = SandboxConfig(host=host, port=port, username=username, password=Secret(password), switches=switches)
    try:
        run_sandbox(config, on_started=lambda url: console.print(f"sandbox at {url}/ (inbox), {url}/ledger (JSON)"))
    except OSError as failure:
        raise CommandError(
            f"cannot listen: {failure.strerror}.", "Choose another --host or --port.", ExitStatus.USAGE
        ) from None
    return ExitStatus.DONE


def demo() -> int:
    """Run sandbox and relay with sample traffic, told as a story. Ends by itself, leaves nothing behind.

    Example: relay demo
    """
    from relay.cli.demo import run_demo

    return asyncio.run(run_demo())


@keys_app.command(name="new")
def new_key() -> int:
    """Make an API key. The key is shown once; the settings hold its id and hash only.

    Example: relay keys new
    """
    from relay.http import auth

    key, key_id, digest = auth.new_key()
    console.print(f"key, for the calling service (shown once):\n  {key}\n", markup=False, soft_wrap=True)
    line = f'keys = [{{ id = "{key_id}", sha256 = "{digest}" }}]'
    console.print(f"for the settings, under [[clients]]:\n  {line}", markup=False, soft_wrap=True)
    return ExitStatus.DONE


def check_config() -> int:
    """Check the settings and word lists without starting anything.

    Example: RELAY_CONFIG=relay.toml relay check-config
    """
    from relay.app import StartError, load_words

    settings = _settings()
    try:
        load_words(settings)
    except StartError as failure:
        raise CommandError(failure.what, failure.remedy, ExitStatus.USAGE) from None
    console.print(f"settings are good: {len(settings.clients)} client(s), {len(settings.receivers)} receiver(s)")
    return ExitStatus.DONE


def openapi(*, output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None) -> int:
    """Print the OpenAPI document, or write it to a file.

    Example: relay openapi --output openapi/openapi.json
    """
    from relay.http.documents import openapi_document

    document = msgspec.json.format(msgspec.json.encode(openapi_document()), indent=2) + b"\n"
    if output is None:
        sys.stdout.buffer.write(document)
    else:
        output.write_bytes(document)
    return ExitStatus.DONE


def migrate() -> int:
    """Bring the journal's schema up to date, then stop: for a Job that runs before new replicas start.

    Example: RELAY_JOURNAL_URL=postgresql://… relay migrate
    """
    from relay.app import StartError, migrate_journal

    try:
        asyncio.run(migrate_journal(_settings()))
    except StartError as failure:
        raise CommandError(failure.what, failure.remedy, ExitStatus.USAGE) from None
    console.print("the journal's schema is up to date")
    return ExitStatus.DONE


def recover(*, restored: Annotated[bool, Parameter(negative="")] = False) -> int:
    """After a restore from a backup: turn every call that is not finished into unknown, before any server starts.

    Example: relay recover --restored
    """
    from relay.app import StartError, mark_restored

    if not restored:
        raise CommandError(
            "nothing to do.", "A running relay recovers by itself; after a restore give --restored.", ExitStatus.USAGE
        )
    try:
        turned = asyncio.run(mark_restored(_settings()))
    except StartError as failure:
        raise CommandError(failure.what, failure.remedy, ExitStatus.USAGE) from None
    console.print(f"{turned} call(s) are unknown now; settle them with: relay unknown list")
    return ExitStatus.DONE
