"""Changed files while the relay runs: clients, receivers, credentials, word lists, templates. A bad one keeps the old
in force.

Files are looked at every second; SIGHUP asks for it at once, and has the settings read again and told about even where
no file changed.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from relay.app.composition import Relay
from relay.domain.templates import TemplateBook, TemplateError
from relay.domain.words import WordListError, WordMatcher
from relay.settings import SettingsError, find_file, reload_settings, watched_files
from relay.template_files import watch_template_files
from relay.watching import Nudge, watch_files
from relay.word_lists import watch_word_lists

REFUSALS_SECONDS = 1.0
"""Between two looks for new credentials after refusals."""


async def watch_settings(relay: Relay, environ: Mapping[str, str], nudge: Nudge) -> None:
    """Take up clients, receivers and credentials whenever the settings file or a file with a secret changes, or a
    nudge asks for it, until cancelled."""
    while True:
        files = _files_of(relay, environ)
        async for _ in watch_files(files, nudge=nudge):
            await _take_up_settings(relay, environ)
            if _files_of(relay, environ) != files:
                break


async def watch_refusals(relay: Relay, environ: Mapping[str, str]) -> None:
    """Read the settings again whenever an account refuses its credentials, at most once a second, until cancelled: they
    may have changed where nobody could see it, or before the account knew them."""
    async for _ in watch_files([], nudge=relay.credentials.refused):
        await _take_up_settings(relay, environ)
        await asyncio.sleep(REFUSALS_SECONDS)


def _files_of(relay: Relay, environ: Mapping[str, str]) -> list[Path]:
    path = find_file(environ)
    return [*([path] if path is not None else []), *watched_files(relay.settings)]


async def _take_up_settings(relay: Relay, environ: Mapping[str, str]) -> None:
    try:
        relay.follow(reload_settings(relay.settings, environ))
    except SettingsError as failure:
        relay.recorder.record_reload("settings", [str(error) for error in failure.errors])
    else:
        relay.recorder.record_reload("settings")
        await relay.credentials.renew(relay.settings)


async def watch_words(relay: Relay, nudge: Nudge) -> None:
    """Take up word lists whenever they change, until cancelled; returns at once where the shipped list is in force."""

    def on_change(matcher: WordMatcher) -> None:
        relay.use_words(matcher)
        relay.recorder.record_reload("words")

    def on_error(error: WordListError) -> None:
        relay.word_state = "bad_list"
        relay.recorder.record_reload("words", error.errors)

    await watch_word_lists(relay.settings.prefilter.lists, on_change, on_error, loaded=relay.words, nudge=nudge)


async def watch_templates(relay: Relay, nudge: Nudge) -> None:
    """Take up templates whenever their files change, until cancelled; returns at once where there are none."""

    def on_change(templates: TemplateBook) -> None:
        relay.use_templates(templates)
        relay.recorder.record_reload("templates")

    def on_error(error: TemplateError) -> None:
        relay.template_state = "bad_file"
        relay.recorder.record_reload("templates", error.errors)

    await watch_template_files(
        relay.settings.templates.files,
        on_change,
        on_error,
        loaded=relay.templates,
        matcher=lambda: relay.matcher,
        nudge=nudge,
    )


def environment() -> Mapping[str, str]:
    """The process's environment, as it was at the start."""
    return dict(os.environ)
