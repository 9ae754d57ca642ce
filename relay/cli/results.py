"""The results of campaigns: a file beside the recipients, which says what became of each row, without its number.

Lines of JSON, appended and made durable batch by batch. One file holds the results of every campaign from one file of
recipients. A row is known by its key, so that it is found again where the rows around it changed.
"""

import hashlib
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from relay.cli.sheets import Row, normalize
from relay.cli.terminal import CommandError, ExitStatus, counted

_TOO_OLD = "idempotency_key_expired"
_VERSION: Final = 2
_FIRST_LINE: Final = b'{"version":2}'


class Header(Struct, omit_defaults=True):
    """The first line. The first edition's has the number of rows, and no version."""

    version: int = 1
    rows: int | None = None


class RowResult(Struct, frozen=True, omit_defaults=True):
    """What became of a row: accepted with an ``id``, or refused with a ``problem``."""

    campaign: str
    row: int
    line: int
    key: str
    person: str
    """Stands for the number, within this campaign."""
    id: str | None = None
    replayed: bool = False
    """Whether an earlier request had the row accepted before."""
    problem: str | None = None
    reason: str | None = None
    field: str | None = None
    message: str | None = None


class AskedRow(Struct, frozen=True, omit_defaults=True):
    """Rows that the relay is about to be asked for: what has no result after it may have been accepted."""

    asked: tuple[str, ...]
    campaign: str
    at: int
    """Seconds since 1970-01-01 UTC."""
    timed: bool = False
    """Whether the client's keys carry their time; that of a row is then this one."""

    def idempotency_key(self, key: str) -> str:
        """What one of these rows is asked for with: its own key, or a UUIDv7 that follows from key and time."""
        if not self.timed:
            return key
        chance = int.from_bytes(hashlib.sha256(key.encode()).digest()[:10], "big")
        made = (self.at * 1000 << 80 | chance) & ~(0xF << 76) & ~(0x3 << 62)
        return str(UUID(int=made | 0x7 << 76 | 0x2 << 62))


class Message(Struct, frozen=True):
    """A row and what it is known by: ``key`` for its content, ``person`` for its number."""

    row: Row
    key: str
    person: str


def name_rows(rows: Iterable[Row], campaign: str) -> list[Message]:
    """Give each row its idempotency key: from the campaign's name, the number, the text, and which of several rows
    with the same content it is. A file in which other rows change, or the order, keeps its keys."""
    seen: Counter[tuple[str, str]] = Counter()
    named = []
    for row in rows:
        number, text = normalize(row.number), unicodedata.normalize("NFC", row.message)
        seen[number, text] += 1
        key = "file-" + _digest(campaign, number, text, str(seen[number, text]))
        named.append(Message(row, key, _digest(campaign, number)[:16]))
    return named


def _digest(*parts: str) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:40]


class Results:
    """What became of each row.

    Args:
        path: made where it is not there, else continued.
        campaign: the name under which rows are kept now.

    Attributes:
        accepted: keys of rows that were accepted, with who they are for.
        refused: the newest refusal of rows that were not.
        in_doubt: keys that were asked for and have no result, with when and how that was. One that had become too old
            when it was asked for again stays in doubt: nobody can know whether it was accepted.
        is_new: whether nothing is known of any run before.
        timed: whether rows were asked for with keys that carry their time.

    Raises:
        CommandError: the file holds something else, or cannot be written, or another command writes it.
    """

    def __init__(self, path: Path, campaign: str) -> None:
        self.campaign = campaign
        self._name = path.name
        self.accepted: dict[str, str] = {}
        self.refused: dict[str, RowResult] = {}
        self.in_doubt: dict[str, AskedRow] = {}
        self.is_new = True
        self.timed = False
        self._elsewhere: defaultdict[str, set[str]] = defaultdict(set)
        try:
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b")
        except OSError as failure:
            raise _unusable(path, failure.strerror or "") from None
        try:
            self._lock(path)
            self._read(path)
        except BaseException:
            self._file.close()
            raise

    def _lock(self, path: Path) -> None:
        try:
            import fcntl
        except ImportError:  # not on Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            remedy = "Wait for it, or stop it; then the same command continues."
            raise CommandError(f"another command writes {path.name}.", remedy, ExitStatus.USAGE) from None

    def _read(self, path: Path) -> None:
        content = self._file.read()
        whole, end, torn = content.rpartition(b"\n")
        if not end and not _FIRST_LINE.startswith(torn):
            raise _unusable(path, "it holds something else")
        self._file.truncate(len(whole) + len(end))  # a last line that was torn is forgotten
        if not end:
            self._write([Header(version=_VERSION)])
            return
        first, *lines = whole.splitlines()
        try:
            header = msgspec.json.decode(first, type=Header)
            if header.version == _VERSION:
                for line in lines:
                    if line.startswith(b'{"asked"'):
                        self._take(msgspec.json.decode(line, type=AskedRow))
                    else:
                        self._take(msgspec.json.decode(line, type=RowResult))
                return
        except (msgspec.DecodeError, ValueError):
            raise _unusable(path, "it holds something else") from None
        raise _unusable(path, "it holds something else") if header.rows is None else _first_edition(path, lines)

    def _take(self, result: RowResult | AskedRow) -> None:
        if isinstance(result, AskedRow):
            if result.campaign == self.campaign:
                self.in_doubt |= dict.fromkeys(result.asked, result)
                self.is_new, self.timed = False, result.timed
            return
        if result.campaign != self.campaign:
            if result.id is not None:
                self._elsewhere[result.campaign].add(result.key)
        elif result.id is not None:
            self.accepted[result.key] = result.person
            self.refused.pop(result.key, None)
        else:
            self.refused[result.key] = result
        if result.campaign == self.campaign and result.problem != _TOO_OLD:
            self.in_doubt.pop(result.key, None)

    def find_sent_elsewhere(self, rows: Sequence[Row]) -> set[int]:
        """The places of rows that were accepted as they are, under the name of another campaign."""
        return {
            message.row.place
            for campaign, keys in self._elsewhere.items()
            for message in name_rows(rows, campaign)
            if message.key in keys
        }

    def find_sent_otherwise(self, messages: Sequence[Message]) -> set[int]:
        """The places of rows whose number was sent, in this campaign, a text that the file no longer holds."""
        gone = self.accepted.keys() - {message.key for message in messages}
        persons = {self.accepted[key] for key in gone}
        return {
            message.row.place for message in messages if message.person in persons and message.key not in self.accepted
        }

    def add(self, results: Sequence[RowResult | AskedRow]) -> None:
        """Keep the results of a batch, or that it is asked for."""
        self._write(results)
        for result in results:
            self._take(result)

    def close(self) -> None:
        """Close the file; what it could not take has been told."""
        with suppress(OSError):
            self._file.close()

    def _write(self, lines: Sequence[Struct]) -> None:
        try:
            self._file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as failure:
            what = f"{self._name} cannot take the results: {failure.strerror}."
            remedy = "Make room; then the same command continues, and nobody gets a second message."
            raise CommandError(what, remedy, ExitStatus.UNCLEAR) from None


def _unusable(path: Path, why: str) -> CommandError:
    what = f"{path.name} cannot take the results: {why}."
    return CommandError(what, "Name another file by --results.", ExitStatus.USAGE)


def _first_edition(path: Path, lines: Sequence[bytes]) -> CommandError:
    accepted = counted(sum(b'"id"' in line for line in lines), "row")
    what = f"{path.name} was written by relay 0.1, which knew rows by their place only: {accepted} accepted."
    remedy = (
        "Finish that campaign with relay 0.1; or take the rows that it lists with an id out of your file and name "
        "another --results. Every row that you leave in gets a message."
    )
    return CommandError(what, remedy, ExitStatus.USAGE)
