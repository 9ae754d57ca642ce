"""Changed files while the relay runs: clients, receivers, word lists. A bad one is told and leaves the old in force."""

import os
from collections.abc import Mapping
from pathlib import Path

from watchfiles import awatch

from relay.app.composition import Relay
from relay.domain.blocked_words import WordListError, WordMatcher
from relay.settings import SettingsError, reload_settings
from relay.word_lists import watch_word_lists

_DEBOUNCE_MS = 200
_LOOK_ANYWAY_MS = 10_000
"""Not every file system reports changes."""


async def watch_settings(relay: Relay, path: Path, environ: Mapping[str, str]) -> None:
    """Take up clients and receivers whenever the settings file holds something else, until cancelled.

    The directory is watched, not the file: editors and Kubernetes replace files, they do not write into them.
    """
    seen = _content(path)
    changes = awatch(
        path.parent,
        watch_filter=None,
        recursive=False,
        debounce=_DEBOUNCE_MS,
        rust_timeout=_LOOK_ANYWAY_MS,
        yield_on_timeout=True,
    )
    async for _ in changes:
        content = _content(path)
        if content == seen:
            continue
        seen = content
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


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def environment() -> Mapping[str, str]:
    """The process's environment, as it was at the start."""
    return dict(os.environ)
