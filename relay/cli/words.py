"""Commands for word lists: try a text, add, remove, list entries."""

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from rich.markup import escape

from relay.cli.terminal import CommandError, ExitStatus, Json, print_json, print_rows, say
from relay.domain.codes import MessageType
from relay.domain.words import WordEntry, WordListError, WordMatcher
from relay.word_lists import add_entry, read_word_lists, remove_entry

words_app = App(name="words", help="The block list: try a text against it, change it.")

_LONGEST_SENDER = 11

ListFile = Annotated[Path | None, Parameter(name="--list", help="A word list; the shipped one if left out.")]


@words_app.command(name="test")
def try_text(
    text: str,
    *,
    type: MessageType = MessageType.TRANSACTIONAL,  # noqa: A002
    list: ListFile = None,  # noqa: A002
    json: Json = False,
) -> int:
    """Show what a text would hit, as message and as sender; exit status 1 where it would be refused.

    Example: relay words test "You have W0N" --type promotional
    """
    matcher = WordMatcher(_read(list))
    found = matcher.find(text, field="message", message_type=type)
    if len(text) <= _LONGEST_SENDER:
        found += matcher.find(text, field="sender", message_type=type)
    refused = any(hit.action == "block" for hit in found)
    if json:
        print_json([{"action": hit.action, "field": hit.field, **msgspec.structs.asdict(hit.hit)} for hit in found])
        return ExitStatus.REFUSED if refused else ExitStatus.DONE
    for hit in found:
        style = "red" if hit.action == "block" else "yellow"
        where = f"{hit.hit.start} to {hit.hit.end}"
        entry = escape(f"“{hit.hit.entry}” ({hit.hit.category})")
        say(f"[{style}]{hit.action}[/] {entry} in the {hit.field}, {where}")
    if not found:
        say("nothing is hit")
    return ExitStatus.REFUSED if refused else ExitStatus.DONE


@words_app.command(name="list")
def list_words(*, list: ListFile = None, json: Json = False) -> int:  # noqa: A002
    """List the entries.

    Example: relay words list --list blocked_words.toml
    """
    entries = _read(list)
    if json:
        print_json(entries)
        return ExitStatus.DONE
    rows = [
        (
            entry.text,
            entry.category,
            entry.action,
            ", ".join(sorted(entry.fields)),
            ", ".join(sorted(entry.message_types)) or "all",
        )
        for entry in entries
    ]
    print_rows(("entry", "category", "action", "fields", "message types"), rows)
    return ExitStatus.DONE


@words_app.command
def add(
    text: str,
    *,
    list: Annotated[Path, Parameter(name="--list")],  # noqa: A002
    category: str = "custom",
    action: str = "block",
    fields: tuple[str, ...] = ("message",),
    types: tuple[MessageType, ...] = (),
    json: Json = False,
) -> int:
    """Add an entry to a list file; running relays take it up at once.

    Example: relay words add "cash prize" --list blocked_words.toml --category prize --types promotional
    """
    if action not in ("block", "warn"):
        raise CommandError(f"{action} is not an action.", "Give --action block or warn.", ExitStatus.USAGE)
    entry = WordEntry(
        text=text,
        category=category,
        action="block" if action == "block" else "warn",
        fields=frozenset(fields),  # type: ignore[arg-type]
        message_types=frozenset(types),
    )
    try:
        add_entry(list, entry)
    except WordListError as failure:
        raise CommandError("; ".join(failure.errors), "Nothing was changed.", ExitStatus.USAGE) from None
    _tell("added", 1, json=json)
    return ExitStatus.DONE


@words_app.command
def remove(text: str, *, list: Annotated[Path, Parameter(name="--list")], json: Json = False) -> int:  # noqa: A002
    """Remove the entries with this text from a list file.

    Example: relay words remove "cash prize" --list blocked_words.toml
    """
    try:
        removed = remove_entry(list, text)
    except WordListError as failure:
        raise CommandError("; ".join(failure.errors), "Nothing was changed.", ExitStatus.USAGE) from None
    if not removed:
        raise CommandError("no such entry.", "See: relay words list", ExitStatus.REFUSED)
    _tell("removed", removed, json=json)
    return ExitStatus.DONE


def _read(path: Path | None) -> list[WordEntry]:
    try:
        return read_word_lists([path] if path is not None else [])
    except (WordListError, OSError) as failure:
        errors = failure.errors if isinstance(failure, WordListError) else ("the file cannot be read",)
        raise CommandError("; ".join(errors), "Mend the list.", ExitStatus.USAGE) from None


def _tell(done: str, entries: int, *, json: bool) -> None:
    if json:
        print_json({done: entries})
    else:
        say(done)
