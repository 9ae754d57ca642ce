"""Changed files while the relay runs: clients, receivers, word lists. A bad one is told and leaves the old in force."""

import os
from collections.abc import Mapping
from pathlib import Path

from relay.app.composition import Relay
from relay.domain.blocked_words import WordListError, WordMatcher
from relay.settings import SettingsError, reload_settings
from relay.watching import watch_files
from relay.word_lists import watch_word_lists


async def watch_settings(relay: Relay, path: Path, environ: Mapping[str, str]) -> None:
    """Take up clients and receivers whenever the settings file changes, until cancelled."""
    async for _ in watch_files([path]):
        try:
            relay.follow(reload_settings(relay.settings, environ, path))
        except SettingsError as failure:
            relay.recorder.record_reload("settings", [str(error) for error in failure.errors])
        else:
            relay.recorder.record_reload("settings")


async def watch_words(relay: Relay) -> None:
    """Take up word lists whenever they change, until cancelled; returns at once where the shipped list is in force."""

    def on_change(matcher: WordMatcher) -> None:
        relay.use_words(matcher)
        relay.recorder.record_reload("words")

    def on_error(error: WordListError) -> None:
        relay.word_state = "bad_list"
        relay.recorder.record_reload("words", error.errors)

    await watch_word_lists(relay.settings.prefilter.lists, on_change, on_error, loaded=relay.words)


def environment() -> Mapping[str, str]:
    """The process's environment, as it was at the start."""
    return dict(os.environ)
