"""Word lists as files: read them, watch them, change them.

The rules of a list are ``relay.domain.words.entries``; here is only where its text comes from and goes. A list
that cannot be used never takes the place of one that can.
"""

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path

from relay.domain.words import WordEntry, WordListError, WordMatcher, parse_word_list
from relay.domain.words.entries import IN_MESSAGE
from relay.watching import Nudge, TextFile, read_text_file, watch_files

_SHIPPED_LIST = "default_words.toml"

_HEADER = re.compile(r"[ \t]*\[\[[ \t]*entry[ \t]*\]\]")
_OTHER_HEADER = re.compile(r"[ \t]*\[[ \t]*[\w\"']")
_BLANK_OR_COMMENT = re.compile(r"[ \t]*(?:#.*)?\r?\n?")


def read_word_lists(paths: Sequence[Path]) -> list[WordEntry]:
    """Read lists.

    Args:
        paths: the files, whose entries are joined in this order; if there are none, the shipped list.

    Raises:
        WordListError: with all errors of all files, each with the file's name in front.
    """
    return _parse(_read(paths))


async def watch_word_lists(
    paths: Sequence[Path],
    on_change: Callable[[WordMatcher], None],
    on_error: Callable[[WordListError], None],
    *,
    loaded: Sequence[WordEntry] | None = None,
    nudge: Nudge | None = None,
) -> None:
    """Build a new matcher whenever the lists change, until cancelled. Returns at once if there are no files to watch.

    Reading, parsing and building happen in a thread.

    Args:
        paths: as for :func:`read_word_lists`.
        on_change: called on the event loop with a matcher of the new lists.
        on_error: called on the event loop, once for each bad state of the files; the old lists stay in use.
        loaded: the entries in use, if the files may have changed since they were read; ``None``: those that the files
            hold when the watch begins.
        nudge: look at each of these too.
    """
    if not paths:
        return
    look = _Look(paths, loaded)
    await _report(look, on_change, on_error)
    async for _ in watch_files(paths, nudge=nudge):
        await _report(look, on_change, on_error)


async def _report(
    look: "_Look", on_change: Callable[[WordMatcher], None], on_error: Callable[[WordListError], None]
) -> None:
    try:
        matcher = await asyncio.to_thread(look)
    except WordListError as error:
        on_error(error)
    else:
        if matcher is not None:
            on_change(matcher)


class _Look:
    """Looks at the files, and remembers what they held last time and which entries are in use."""

    def __init__(self, paths: Sequence[Path], loaded: Sequence[WordEntry] | None) -> None:
        self._paths = paths
        self._sources: list[TextFile] = []
        self._entries = None if loaded is None else list(loaded)

    def __call__(self) -> WordMatcher | None:
        """Look.

        Returns:
            A matcher, if the files hold other entries than those in use; else ``None``.

        Raises:
            WordListError: the files changed and cannot be used.
        """
        sources = _read(self._paths)
        if sources == self._sources:
            return None
        is_first = not self._sources
        self._sources = sources
        entries = _parse(sources)
        if entries == self._entries:
            return None
        is_new = self._entries is not None or not is_first
        self._entries = entries
        return WordMatcher(entries) if is_new else None


def _read(paths: Sequence[Path]) -> list[TextFile]:
    if paths:
        return [read_text_file(path) for path in paths]
    shipped = resources.files("relay.domain.words").joinpath(_SHIPPED_LIST)
    return [TextFile(_SHIPPED_LIST, shipped.read_text(encoding="utf-8"))]


def _parse(sources: Sequence[TextFile]) -> list[WordEntry]:
    entries: list[WordEntry] = []
    errors: list[str] = []
    for source in sources:
        if source.text is None:
            errors.append(f"{source.name}: {source.error}")
            continue
        try:
            entries += parse_word_list(source.text)
        except WordListError as error:
            errors += [f"{source.name}: {message}" for message in error.errors]
    if errors:
        raise WordListError(tuple(errors))
    return entries


def add_entry(path: Path, entry: WordEntry) -> None:
    """Append an entry to a list; the file is created if it does not exist.

    Raises:
        WordListError: the file cannot be used, or the entry is wrong or already there. The file is unchanged.
    """
    source = _read_for_change(path) if path.exists() else ""
    listed = parse_word_list(source) if source.strip() else []
    if entry in listed:
        raise WordListError((f"{path.name}: has this entry already",))
    parted = "" if not source else "\n" if source.endswith("\n") else "\n\n"
    changed = source + parted + _write_entry(entry)
    if parse_word_list(changed) != [*listed, entry]:
        raise WordListError((f"{path.name}: the entry cannot be written so that it is read back the same",))
    _replace_text(path, changed)


def remove_entry(path: Path, text: str) -> int:
    """Remove the entries with this text, whatever its case, from a list. Comments between entries stay.

    Returns:
        How many were removed.

    Raises:
        WordListError: the file cannot be used, or could not be used without them. The file is unchanged.
    """
    source = _read_for_change(path)
    listed = parse_word_list(source)
    goes = [entry.text.casefold() == text.casefold() for entry in listed]
    if not any(goes):
        return 0
    changed = _cut_out(source, goes)
    if parse_word_list(changed) != [entry for entry, going in zip(listed, goes, strict=True) if not going]:
        raise WordListError((f"{path.name}: is written in a way that only an editor can change",))
    _replace_text(path, changed)
    return sum(goes)


def _read_for_change(path: Path) -> str:
    source = read_text_file(path)
    if source.text is None:
        raise WordListError((f"{source.name}: {source.error}",))
    return source.text


def _write_entry(entry: WordEntry) -> str:
    lines = ["[[entry]]", f"text = {_quote(entry.text)}", f"category = {_quote(entry.category)}"]
    lines.append(f"action = {_quote(entry.action)}")
    if entry.fields != IN_MESSAGE:
        lines.append(f"fields = {_quote_all(sorted(entry.fields))}")
    if entry.message_types:
        lines.append(f"message_types = {_quote_all(sorted(entry.message_types))}")
    if entry.exceptions:
        lines.append(f"except = {_quote_all(entry.exceptions)}")
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    # A JSON string is a TOML basic string, except for the delete character, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _quote_all(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_quote, texts))}]"


def _cut_out(source: str, goes: Sequence[bool]) -> str:
    """The source without the blocks of those entries: each from its header to its last line that is not a comment."""
    kept: list[str] = []
    index, going, waiting = -1, False, list[str]()
    for line in source.splitlines(keepends=True):
        if _HEADER.match(line) or _OTHER_HEADER.match(line):
            index += 1 if _HEADER.match(line) else 0
            kept += waiting
            waiting = []
            going = bool(_HEADER.match(line)) and index < len(goes) and goes[index]
        if not going:
            kept.append(line)
        elif _BLANK_OR_COMMENT.fullmatch(line):
            waiting.append(line)
        else:
            waiting = []
    return "".join([*kept, *waiting])


def _replace_text(path: Path, text: str) -> None:
    """Replace a file's text atomically, keeping its mode and the links to it."""
    target = path.resolve()
    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise WordListError((f"{path.name}: cannot be written: {error.strerror}",)) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        Path(temporary).replace(target)
    except (OSError, UnicodeEncodeError) as error:
        with suppress(OSError):
            Path(temporary).unlink()
        reason = error.strerror if isinstance(error, OSError) else "contains characters that are not text"
        raise WordListError((f"{path.name}: cannot be written: {reason}",)) from None
