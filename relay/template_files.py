"""Templates as files: read them, watch them. Files that cannot be used never take the place of those in force."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from relay.domain.templates import TemplateBook, TemplateError, parse_templates
from relay.domain.words import WordMatcher
from relay.watching import Nudge, TextFile, read_text_file, watch_files


class Loaded(Struct, frozen=True):
    """Templates, and what the files held that they were read from."""

    book: TemplateBook
    sources: tuple[TextFile, ...] = ()


def read_templates(paths: Sequence[Path], matcher: WordMatcher) -> Loaded:
    """Read and judge templates.

    Args:
        paths: the files, whose templates are taken together; none: there are no templates.
        matcher: the word lists in force.

    Raises:
        TemplateError: with all errors of all files, each with the file's name in front.
    """
    return _judge(tuple(map(read_text_file, paths)), matcher)


def _judge(sources: tuple[TextFile, ...], matcher: WordMatcher) -> Loaded:
    templates, errors = [], []
    for source in sources:
        if source.text is None:
            errors.append(f"{source.name}: {source.error}")
            continue
        try:
            templates += parse_templates(source.text, matcher)
        except TemplateError as error:
            errors += [f"{source.name}: {message}" for message in error.errors]
    if errors:
        raise TemplateError(tuple(errors))
    return Loaded(TemplateBook(templates), sources)


async def watch_template_files(
    paths: Sequence[Path],
    on_change: Callable[[TemplateBook], None],
    on_error: Callable[[TemplateError], None],
    *,
    loaded: Loaded,
    matcher: Callable[[], WordMatcher],
    nudge: Nudge | None = None,
) -> None:
    """Judge the templates again whenever their files change, until cancelled. Returns at once if there are no files.

    Reading and judging happen in a thread.

    Args:
        on_change: called on the event loop with the new templates.
        on_error: called on the event loop, once for each bad state of the files; the old templates stay in use.
        loaded: those in use, and what the files held then.
        matcher: the word lists in force.
        nudge: look at each of these too.
    """
    if not paths:
        return
    seen = loaded.sources

    async def look() -> None:
        nonlocal seen
        sources = await asyncio.to_thread(lambda: tuple(map(read_text_file, paths)))
        if sources == seen:
            return
        seen = sources
        try:
            found = await asyncio.to_thread(_judge, sources, matcher())
        except TemplateError as error:
            on_error(error)
        else:
            on_change(found.book)

    await look()
    async for _ in watch_files(paths, nudge=nudge):
        await look()
