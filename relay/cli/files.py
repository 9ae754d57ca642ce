"""What ``relay send --file`` reads and tells; what lies between is ``relay.cli.campaign``."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from rich.markup import escape

from relay.cli.campaign import Campaign, write_lines
from relay.cli.records import SheetError, SheetMistake
from relay.cli.results import Results, RowResult
from relay.cli.sheets import DELIMITERS, LARGEST_BYTES, Row, TimeColumn, read_rows
from relay.cli.terminal import CommandError, ExitStatus, counted, note, print_json, say

MISTAKES_SHOWN = 20


class CampaignFile(Struct, frozen=True):
    """What ``--file`` and the options beside it say."""

    file: Path
    results: Path | None
    campaign: str
    delimiter: str
    number_column: str | None
    time_columns: tuple[TimeColumn, ...]
    allow_empty: bool
    again: bool


def send_file(source: CampaignFile, message: str, fields: Mapping[str, Any], url: str, key: str, *, json: bool) -> int:
    """Judge the file, then send what has not been sent of it.

    Args:
        fields: what every notification says beside number and text.

    Returns:
        The exit status.

    Raises:
        CommandError: the file, its results or the relay do not allow it.
    """
    rows = _read_recipients(source, message, json=json)
    path = source.results or source.file.with_name(source.file.name + ".results")
    results = Results(path, source.campaign)
    try:
        campaign = Campaign(rows, results, fields, url, key, again=source.again)
        try:
            campaign.run()
        except KeyboardInterrupt:
            what = f"stopped: {campaign.done:,} of {counted(len(rows), 'row')} asked."
            raise CommandError(what, "The same command continues there.", ExitStatus.UNCLEAR) from None
        _print_outcome(source.campaign, len(rows), campaign, path, json=json)
        return ExitStatus.REFUSED if campaign.refused else ExitStatus.DONE
    finally:
        results.close()


def _read_recipients(source: CampaignFile, message: str, *, json: bool) -> list[Row]:
    """Read and judge a file; what is wrong with it is printed, a line each.

    Raises:
        CommandError: it cannot be used.
    """
    delimiter = "\t" if source.delimiter in ("tab", "\\t") else source.delimiter
    if delimiter not in DELIMITERS:
        raise CommandError("--delimiter cannot be that.", "Give one of , ; | or tab.", ExitStatus.USAGE)
    name = source.file.name
    try:
        with source.file.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as failure:
        remedy = "Give a CSV file in UTF-8 with --file."
        raise CommandError(f"{name} cannot be read: {failure.strerror}.", remedy, ExitStatus.USAGE) from None
    if len(content) > LARGEST_BYTES:
        raise CommandError(f"{name} is larger than 256 MiB.", "Split it.", ExitStatus.USAGE)
    try:
        return read_rows(
            content,
            message,
            delimiter=delimiter,
            number_column=source.number_column,
            time_columns=source.time_columns,
            allow_empty=source.allow_empty,
        )
    except SheetError as failure:
        mistakes = failure.mistakes
        if json:
            print_json({"mistakes": mistakes})
        else:
            _print_mistakes(name, mistakes)
        what = f"{name} has {counted(len(mistakes), 'mistake')}."
        raise CommandError(what, "Nothing was sent.", ExitStatus.USAGE) from None


def _print_mistakes(name: str, mistakes: Sequence[SheetMistake]) -> None:
    for mistake in mistakes[:MISTAKES_SHOWN]:
        where = f"{name}, {mistake.place}" if mistake.line else "--message"
        note(f"[bold]{escape(where)}[/]: {escape(mistake.what)}. [dim]{escape(mistake.remedy)}[/]")
    if len(mistakes) > MISTAKES_SHOWN:
        note(f"… and {len(mistakes) - MISTAKES_SHOWN} more of the kind")


def _print_outcome(name: str, rows: int, campaign: Campaign, results: Path, *, json: bool) -> None:
    refused = campaign.refused
    accepted = rows - len(refused)
    if json:
        outcome = {"campaign": name, "rows": rows, "accepted": accepted, "accepted_before": campaign.accepted_before}
        print_json(outcome | {"refused": len(refused), "refusals": refused, "results": str(results)})
        return
    if campaign.replayed:
        count = counted(campaign.replayed, "row")
        note(f"accepted before, by a run whose results are not here, and not sent again: {count}")
    if campaign.accepted_before == rows:
        note("nothing was new. To send the same once more, give it a name of its own: --campaign NAME --again")
    say(f"{accepted:,} accepted, {len(refused):,} refused")
    groups = defaultdict[tuple[str, str, str], list[RowResult]](list)
    for result in refused:
        code = f"{result.problem}, {result.reason}" if result.reason else result.problem or ""
        groups[code, result.field or "", result.message or ""].append(result)
    for (code, field, message), alike in sorted(groups.items()):
        what = f"[red]{escape(code)}[/]" + (f" ({escape(field)})" if field else "")
        where = write_lines([result.line for result in alike])
        say(f"  {what}: {counted(len(alike), 'row')}, {where}. {escape(message)}".rstrip())
    say(f"results: {escape(str(results))}")
