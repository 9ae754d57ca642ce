"""Commands that run something, and those that prepare it: ``serve``, ``sandbox``, ``demo``, ``keys new``, …"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from msgspec.structs import replace
from rich.markup import escape

from relay.cli.terminal import CommandError, ExitStatus, Json, counted, note, print_json, say
from relay.domain.words import WordMatcher
from relay.settings import (
    Settings,
    SettingsError,
    describe_file,
    find_file,
    find_warnings,
    load_settings,
    require_credentials,
)

keys_app = App(name="keys", help="API keys of calling services.")


def running_commands(app: App) -> None:
    """Add the commands that run the relay and what belongs to it."""
    for command in (serve, sandbox, demo, openapi, migrate, recover):
        app.command(command)
    app.command(check_config, name="check-config")
    app.command(keys_app)


def _settings(
    *, file: Path | None = None, serving: bool = False, with_secrets: bool = True, json: bool = False
) -> Settings:
    """Load the settings, or print every error and stop; ``serving`` needs credentials too."""
    file = file or find_file(os.environ)
    try:
        settings = load_settings(os.environ, file, with_secrets=with_secrets)
        if serving:
            require_credentials(settings)
    except SettingsError as failure:
        if json:
            print_json({"settings": describe_file(file), "errors": failure.errors})
        else:
            for error in failure.errors:
                note(f"[bold red]{escape(error.path)}[/] {escape(error.message)}")
        what = f"{counted(len(failure.errors), 'mistake')} in the settings: {describe_file(file)}."
        raise CommandError(what, "Mend all of it and start again.", ExitStatus.USAGE) from None
    return settings


def serve() -> int:
    """Run the relay with the settings of RELAY_CONFIG and the environment, until SIGTERM. SIGHUP re-reads the settings.

    Example: RELAY_CONFIG=relay.toml relay serve
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # `run` takes what comes meanwhile
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
    account: Annotated[list[str] | None, Parameter(negative="")] = None,
    switch: Annotated[list[str] | None, Parameter(negative="")] = None,
) -> int:
    """Run a stand-in for smsclone: same paths and answers, a ledger of what it received, an inbox page.

    Example: relay sandbox --port 9100 --switch fields=9 --switch fault=slow

    Parameters
    ----------
    account
        A further account as name=…,username=…,password=…, and what else of units=…, price=…, price_dnd=… and
        senders=ACME/Orders; may be repeated. Password, balance and switches change while it runs: the inbox page, or
        POST /behaviours with "account".
    switch
        A behaviour as name=value, from the start on; may be repeated. GET /behaviours lists them all.
    """
    from relay.domain.secret import Secret
    from relay.sandbox.server import SandboxConfig, run_sandbox
    from relay.sandbox.switches import parse_account, parse_switches

    try:
        switches = parse_switches(switch or ())
    except ValueError as failure:
        remedy = "Give name=value; GET /behaviours of a running sandbox lists names and values."
        raise CommandError(f"no such switch: {failure}.", remedy, ExitStatus.USAGE) from None
    try:
        accounts = tuple(map(parse_account, account or ()))
        config = SandboxConfig(
            host=host,
            port=port,
            username=username,
            password=Secret(password),
            accounts=accounts,
            switches=switches,
        )
        run_sandbox(config, on_started=_tell_sandbox)
    except ValueError as failure:
        raise CommandError(f"no such account: {failure}.", "", ExitStatus.USAGE) from None
    except OSError as failure:
        raise CommandError(
            f"cannot listen: {failure.strerror}.", "Choose another --host or --port.", ExitStatus.USAGE
        ) from None
    return ExitStatus.DONE


def _tell_sandbox(url: str) -> None:
    say(f"sandbox at {url}/ (inbox), {url}/ledger (JSON)")
    sys.stdout.flush()


def demo() -> int:
    """Run sandbox and relay with sample traffic, told as a story. Ends by itself, leaves nothing behind.

    Example: relay demo
    """
    from relay.cli.demo import run_demo

    return asyncio.run(run_demo())


@keys_app.command(name="new")
def new_key(*, json: Json = False) -> int:
    """Make an API key. The key is shown once; the settings hold its id and hash only.

    Example: relay keys new
    """
    from relay.http import auth

    key, key_id, digest = auth.new_key()
    if json:
        print_json({"key": key, "id": key_id, "sha256": digest})
        return ExitStatus.DONE
    say(f"key, for the calling service, as RELAY_CLIENT_KEY (shown once):\n  {escape(key)}\n")
    line = f'keys = [{{ id = "{key_id}", sha256 = "{digest}" }}]'
    say(escape(f"for the settings, under [[clients]]:\n  {line}"))
    return ExitStatus.DONE


def check_config(
    file: Annotated[Path | None, Parameter(help="The settings file; the one of RELAY_CONFIG if left out.")] = None,
    /,
    *,
    list: Annotated[  # noqa: A002 — the option's name
        tuple[Path, ...],
        Parameter(
            name="--list", negative="", help="A word list instead of those that the settings name; may be given again."
        ),
    ] = (),
    templates: Annotated[
        tuple[Path, ...],
        Parameter(negative="", help="A file of templates instead of those that the settings name; may be given again."),
    ] = (),
    no_secrets: Annotated[
        bool, Parameter(negative="", help="Read no file of a secret, and check nothing that depends on one.")
    ] = False,
    json: Json = False,
) -> int:
    """Check the settings, word lists and templates without starting anything.

    A repository of settings is checked before it is applied by naming its files in place of those in the pod. Variables
    RELAY_… of this shell count as they would for serve.

    Example: RELAY_CONFIG=relay.toml relay check-config

    Example: relay check-config relay.toml --list blocked_words.toml --no-secrets
    """
    from relay.app import StartError, load_templates, load_words

    file = file or find_file(os.environ)
    settings = _settings(file=file, with_secrets=not no_secrets, json=json)
    if list:
        settings = replace(settings, prefilter=replace(settings.prefilter, lists=list))
    if templates:
        settings = replace(settings, templates=replace(settings.templates, files=templates))
    try:
        entries = load_words(settings)
        versions = load_templates(settings, WordMatcher(entries)).book.list_versions()
    except StartError as failure:
        elsewhere = (
            "" if list or templates else " Where they are elsewhere on this machine, give --list or --templates."
        )
        remedy = failure.remedy + elsewhere
        raise CommandError(failure.what, remedy, ExitStatus.USAGE) from None
    checked = {
        "settings": describe_file(file),
        "clients": len(settings.clients),
        "receivers": len(settings.receivers),
        "word_list_entries": len(entries),
        "templates": len(versions),
        "secrets": not no_secrets,
        "warnings": (warnings := find_warnings(settings)),
    }
    if json:
        print_json(checked)
        return ExitStatus.DONE
    for warning in warnings:
        note(f"[bold yellow]{escape(warning.path)}[/] {escape(warning.message)}")
    counts = f"{counted(len(settings.clients), 'client')}, {counted(len(settings.receivers), 'receiver')}"
    if versions:
        counts += f", {counted(len(versions), 'template')}"
    unread = "; secrets were not read" if no_secrets else ""
    say(f"settings are good: {escape(describe_file(file))}; {counts}, {counted(len(entries), 'word')}{unread}")
    return ExitStatus.DONE


def openapi(*, output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None) -> int:
    """Print the OpenAPI document, or write it to a file.

    Example: relay openapi --output openapi/openapi.json
    """
    from relay.app.routes import openapi_document

    document = msgspec.json.format(msgspec.json.encode(openapi_document()), indent=2) + b"\n"
    if output is None:
        sys.stdout.buffer.write(document)
    else:
        output.write_bytes(document)
    return ExitStatus.DONE


def migrate(*, json: Json = False) -> int:
    """Bring the journal's schema up to date, then stop: for a Job that runs before new replicas start.

    Example: RELAY_JOURNAL_URL=postgresql://… relay migrate
    """
    from relay.app import StartError, migrate_journal

    try:
        asyncio.run(migrate_journal(_settings(json=json)))
    except StartError as failure:
        raise CommandError(failure.what, failure.remedy, ExitStatus.USAGE) from None
    if json:
        print_json({"migrated": True})
    else:
        say("the journal's schema is up to date")
    return ExitStatus.DONE


def recover(*, restored: Annotated[bool, Parameter(negative="")] = False, json: Json = False) -> int:
    """After a restore from a backup: turn every call that is not finished into unknown, before any server starts.

    Example: relay recover --restored
    """
    from relay.app import StartError, mark_restored

    if not restored:
        raise CommandError(
            "nothing to do.", "A running relay recovers by itself; after a restore give --restored.", ExitStatus.USAGE
        )
    try:
        turned = asyncio.run(mark_restored(_settings(json=json)))
    except StartError as failure:
        raise CommandError(failure.what, failure.remedy, ExitStatus.USAGE) from None
    if json:
        print_json({"unknown": turned})
    else:
        say(f"unknown now: {counted(turned, 'call')}; settle them with: relay unknown list")
    return ExitStatus.DONE
