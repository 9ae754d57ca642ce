"""The journal's moves, held against the model's: triggers keep every change of a row, a table says what may be.

The simulation always keeps them. The suites of the journal and of the faults do where ``RELAY_TEST_MOVES`` names a file
(``make moves``), which takes what each database came to. The relay knows nothing of this. Each move is named as
``tests/model/relay.pml`` tells it.
"""

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from relay.domain.codes import DEFINITE, STATUS_OF, Code, Status
from support.journal_file import lay_journal

SWITCH = os.environ.get("RELAY_TEST_MOVES")
"""A file that takes a line for every database whose moves were judged."""

MOVES: dict[str, tuple[str, ...]] = {
    "accepted for the queue": ("accepts %d for the queue", "accepts %d for later"),
    "accepted for a caller who waits": ("accepts %d for a caller who waits",),
    "taken": ("takes %d from the queue",),
    "taken back": ("looks for its claim in doubt",),
    "taken over": ("takes %d over from one that died", "takes %d over from one that lives and seems dead"),
    "put back": ("puts what is not dialled back into the queue", "puts its claim into the queue"),
    "moved": ("is moved to a later time",),
    "ended": ("records call %d of %d: sent",),
    "ended in the queue": ("cancels %d",),
    "planned": ("plans what follows",),
    "planned with the right to dial": ("with the right to dial",),
    "authorised": ("asks for the right to dial",),
    "right taken back": ("looks for its claim in doubt",),
    "never dialled": (
        "records call %d of %d: not dialled",
        "found claimed: not sent",
        "ends what it told the caller no about",
        "cancels %d",
    ),
    "never dialled, planned again": ("not dialled, and plans it again",),
    "sent": ("records call %d of %d: sent",),
    "rejected or not sent": ("records call %d of %d: rejected", "records call %d of %d: not sent"),
    "replaced": ("rejected, and plans what follows", "rejected, plans what follows", "not sent, and plans it again"),
    "unknown": ("records call %d of %d: unknown", "found dialling: unknown"),
    "several outcomes": (),
    "unknown after a restore": ("the standby takes over",),
    "settled": (
        "a late answer of call %d of %d: sent",
        "a late answer of call %d of %d: rejected",
        "an operator settles call",
    ),
}
"""What may happen to a row, and the model's words for it (one call of the model goes to one recipient, so that it has
no call of several outcomes)."""

_CALL = "NEW.state || '|' || CASE WHEN NEW.dialled THEN 1 ELSE 0 END || '|' || coalesce(NEW.outcomes, '')"
_OLD_CALL = _CALL.replace("NEW.", "OLD.")
_NOTE = "NEW.state || '|' || coalesce(NEW.owner, '') || '|' || NEW.fence"
_OLD_NOTE = _NOTE.replace("NEW.", "OLD.")
_ROW = "(SELECT state FROM notifications WHERE id = {}.notification_id)"
_TABLE = "CREATE TABLE moves (n {}, ordinal INTEGER, row TEXT, was TEXT, became TEXT)"
_INTO = "INSERT INTO moves (ordinal, row, was, became) VALUES"
_KEEPS = (
    ("calls", "INSERT", "", f"{_INTO} (NEW.ordinal, {_ROW.format('NEW')}, NULL, {_CALL})"),
    (
        "calls",
        "UPDATE",
        f"({_CALL}) <> ({_OLD_CALL})",
        f"{_INTO} (NEW.ordinal, {_ROW.format('NEW')}, {_OLD_CALL}, {_CALL})",
    ),
    ("notifications", "INSERT", "", f"{_INTO} (0, NEW.state, NULL, {_NOTE})"),
    (
        "notifications",
        "UPDATE",
        f"({_NOTE}) <> ({_OLD_NOTE})",
        f"{_INTO} (0, NEW.state, {_OLD_NOTE}, {_NOTE})",
    ),
    (
        "notifications",
        "UPDATE",
        "OLD.completed_at IS NOT NULL AND (NEW.completed_at IS NULL OR NEW.completed_at <> OLD.completed_at)",
        f"{_INTO} (0, NEW.state, 'ended', 'ended again')",
    ),
)


class Move(NamedTuple):
    """One change of a row: of a call (``ordinal`` from 1), or of the notification itself (0)."""

    ordinal: int
    row: str
    was: str | None
    became: str


class Verdict(NamedTuple):
    """What moves came to: how often each was seen, and those that may not be."""

    seen: Counter[str]
    illegal: list[str]


def watch_sqlite(connection: sqlite3.Connection) -> None:
    """Keep the moves of this database, which has its tables already."""
    connection.execute(_TABLE.format("INTEGER PRIMARY KEY"))
    for place, (table, event, when, action) in enumerate(_KEEPS):
        condition = f"WHEN {when}" if when else ""
        connection.execute(f"CREATE TRIGGER moves_{place} AFTER {event} ON {table} {condition} BEGIN {action}; END")


def watch_postgres(connection: "psycopg.Connection[Any]") -> None:
    """The same for PostgreSQL."""
    connection.execute(_TABLE.format("BIGINT GENERATED ALWAYS AS IDENTITY").encode())
    for place, (table, event, when, action) in enumerate(_KEEPS):
        body = f"BEGIN {action}; RETURN NULL; END"
        connection.execute(f"CREATE FUNCTION moves_{place}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$".encode())
        condition = f"WHEN ({when})" if when else ""
        trigger = f"CREATE TRIGGER moves_{place} AFTER {event} ON {table} FOR EACH ROW {condition}"
        connection.execute(f"{trigger} EXECUTE FUNCTION moves_{place}()".encode())


def read_moves(rows: Iterable[Sequence[Any]]) -> Iterator[Move]:
    """Moves from ``SELECT ordinal, row, was, became FROM moves ORDER BY n``."""
    return (Move(*row) for row in rows)


READ = "SELECT ordinal, row, was, became FROM moves ORDER BY n"


_prepared: list[Path] = []


def prepare_watched(path: Path) -> None:
    """Make a SQLite journal that keeps its moves, unless there is one already; a relay is to open it."""
    if path.exists():
        return
    _prepared.append(path)
    lay_journal(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        watch_sqlite(connection)


def judge_prepared() -> None:
    """At the end of all tests: judge what relays did to the journals that were made for them."""
    for path in _prepared:
        with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
            write_verdict_of(connection.execute(READ).fetchall(), path.parent.name)


def write_verdict_of(rows: Iterable[Sequence[Any]], where: str) -> None:
    """Judge what a database kept, and add a line to the file of the switch."""
    verdict = judge_moves(read_moves(rows))
    with Path(SWITCH or os.devnull).open("a") as file:
        file.write(json.dumps({"where": where, "seen": verdict.seen, "illegal": verdict.illegal}) + "\n")


def judge_moves(moves: Iterable[Move]) -> Verdict:
    """Hold moves against the table."""
    seen: Counter[str] = Counter()
    illegal = []
    for move in moves:
        name = _name_call_move(move) if move.ordinal else _name_row_move(move)
        if name in MOVES:
            seen[name] += 1
        else:
            illegal.append(f"{name}: {move.was} → {move.became}, notification {move.row}")
    return Verdict(seen, illegal)


def _name_row_move(move: Move) -> str:
    if move.was == "ended":
        return "ended twice"
    state, owner, fence = move.became.split("|")
    if move.was is None:
        first = {
            ("queued", False, "1"): "accepted for the queue",
            ("owned", True, "1"): "accepted for a caller who waits",
        }
        return first.get((state, bool(owner), fence), "accepted in no known way")
    was_state, was_owner, was_fence = move.was.split("|")
    steps = int(fence) - int(was_fence)
    match was_state, state, steps:
        case "queued", "owned", 1 if owner:
            return "taken"
        case "owned", "owned", 1 if owner:
            return "taken back" if owner == was_owner else "taken over"
        case "owned", "queued", 0 if not owner:
            return "put back"
        case (("owned" | "queued"), "queued", 1) if not owner:
            return "moved"
        case (("owned" | "queued"), "done", 0) if not owner:
            return "ended" if was_state == "owned" else "ended in the queue"
    return "a change of hands that nothing allows"


def _name_call_move(move: Move) -> str:
    state, dialled, outcomes = move.became.split("|", 2)
    if move.was is None:
        if move.row == "done":
            return "planned after the end"
        return {"claimed": "planned", "dialling": "planned with the right to dial"}.get(state, "closed from the start")
    was_state, was_dialled, was_outcomes = move.was.split("|", 2)
    if state == "done" and was_state == "done":
        return "settled" if _is_settled(was_outcomes, outcomes) else "a definite outcome changed"
    if move.row == "done":
        return "a call of an ended notification"
    match was_state, was_dialled, state, dialled:
        case "claimed", "0", "dialling", "1" if move.row == "owned":
            return "authorised"
        case "dialling", "1", "claimed", "0" if move.row == "owned":
            return "right taken back"
        case "claimed", "0", "done", "0":
            return _name_undialled(outcomes)
        case "dialling", "1", "done", "1":
            return _name_dialled(outcomes)
    return "a state of a call that nothing leads to"


def _name_undialled(outcomes: str) -> str:
    if not outcomes:
        return "never dialled, planned again"
    if set(_statuses(outcomes)) == {Status.NOT_SENT}:
        return "never dialled"
    codes = {each["code"] for each in json.loads(outcomes)}
    return "unknown after a restore" if codes == {Code.INTERRUPTED} else "never dialled, and something else said"


def _name_dialled(outcomes: str) -> str:
    statuses = set(_statuses(outcomes))
    if not statuses:
        return "replaced"
    if len(statuses) > 1:
        return "several outcomes"
    status = statuses.pop()
    return "rejected or not sent" if status in (Status.REJECTED, Status.NOT_SENT) else status.value


def _is_settled(before: str, after: str) -> bool:
    was, became = _statuses(before), _statuses(after)
    return len(was) == len(became) and all(
        new == old or (old is Status.UNKNOWN and new in DEFINITE) for old, new in zip(was, became, strict=True)
    )


def _statuses(outcomes: str) -> list[Status]:
    return [STATUS_OF[Code(each["code"])] for each in json.loads(outcomes)] if outcomes else []
