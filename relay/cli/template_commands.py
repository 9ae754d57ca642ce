"""Commands for message templates: judge files as a relay would, and see what a template comes to."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.markup import escape

from relay.cli.terminal import CommandError, ExitStatus, Json, counted, note, print_json, print_rows, say
from relay.domain.templates import TemplateError, TemplateUse
from relay.domain.text import count_segments
from relay.domain.words import WordListError, WordMatcher
from relay.template_files import Loaded, read_templates
from relay.word_lists import read_word_lists

templates_app = App(name="templates", help="Message templates: judge files, see what one comes to.")

Lists = Annotated[
    tuple[Path, ...],
    Parameter(name="--list", negative="", help="The word lists that texts are judged by; none: the shipped one."),
]


@templates_app.command
def check(
    files: Annotated[tuple[Path, ...], Parameter(negative="")],
    /,
    *,
    list: Lists = (),  # noqa: A002
    json: Json = False,
) -> int:
    """Judge files of templates, as a relay does before it takes them; exit status 1 where it would not.

    Example: relay templates check templates.toml --list blocked_words.toml
    """
    try:
        loaded = _load(files, list)
    except TemplateError as failure:
        if json:
            print_json({"acceptable": False, "errors": failure.errors})
        else:
            for error in failure.errors:
                note(f"[red]{escape(error)}[/]")
        return ExitStatus.REFUSED
    templates = [template for versions in loaded.book.list_versions() for template in versions]
    if json:
        shown = [
            {
                "name": template.name,
                "version": template.version,
                "message_type": template.message_type,
                "languages": [*template.texts],
                "values": template.values,
                "worst_case": {"encoding": template.encoding, "segments": template.segments},
            }
            for template in templates
        ]
        print_json({"acceptable": True, "templates": shown})
        return ExitStatus.DONE
    rows = [
        (
            template.name,
            str(template.version),
            template.message_type.value,
            ", ".join(template.texts),
            ", ".join(f"{name} ({longest})" for name, longest in template.values.items()) or "none",
            f"{counted(template.segments, 'segment')} at most, {template.encoding.value}",
        )
        for template in templates
    ]
    print_rows(("name", "version", "type", "languages", "values", "worst case"), rows)
    return ExitStatus.DONE


@templates_app.command
def preview(
    name: str,
    /,
    *,
    file: Annotated[tuple[Path, ...], Parameter(negative="", help="The file that it is in; may be given again.")],
    value: Annotated[tuple[str, ...], Parameter(negative="", help="name=text; may be given again.")] = (),
    language: str | None = None,
    version: int | None = None,
    list: Lists = (),  # noqa: A002
    json: Json = False,
) -> int:
    """Show what a template comes to with values; nothing is sent, and no relay is asked.

    Example: relay templates preview order_sent --file templates.toml --value order=1204 --language pcm
    """
    try:
        loaded = _load(file, list)
    except TemplateError as failure:
        raise CommandError("; ".join(failure.errors), "See: relay templates check", ExitStatus.USAGE) from None
    if wrong := [each for each in value if "=" not in each]:
        raise CommandError(f"{counted(len(wrong), 'value')} without =.", "Write --value name=text.", ExitStatus.USAGE)
    values = dict(each.split("=", 1) for each in value)
    filled, errors = loaded.book.fill(TemplateUse(name=name, language=language, version=version, values=values))
    if filled is None or errors:
        what = "; ".join(f"{error.field}: {error.message}" for error in errors)
        raise CommandError(what, "", ExitStatus.REFUSED)
    count = count_segments(filled.text)
    facts = {"encoding": count.encoding, "characters": len(filled.text), "segments": count.segments}
    if json:
        print_json(
            {"name": name, "language": filled.language, "version": filled.template.version, "text": filled.text} | facts
        )
    else:
        say(escape(filled.text))
        note(f"{counted(count.segments, 'segment')}, {counted(len(filled.text), 'character')}, {count.encoding.value}")
    return ExitStatus.DONE


def _load(files: tuple[Path, ...], lists: tuple[Path, ...]) -> Loaded:
    try:
        matcher = WordMatcher(read_word_lists(lists))
    except WordListError as failure:
        raise CommandError("; ".join(failure.errors), "Mend the list.", ExitStatus.USAGE) from None
    return read_templates(files, matcher)
