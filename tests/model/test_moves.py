"""The table of allowed moves is the model's, and finds what it must."""

import re
from pathlib import Path

import pytest

from support.moves import MOVES, Move, judge_moves

MODEL = (Path(__file__).parent / "relay.pml").read_text()
UNKNOWN = '[{"code":"no_answer"}]'
SENT = '[{"code":"sent"}]'
NOT_SENT = '[{"code":"upstream_unreachable"}]'


@pytest.mark.parametrize("name", MOVES)
def test_every_move_of_the_table_is_told_by_the_model(name: str) -> None:
    assert [words for words in MOVES[name] if words not in MODEL] == []


def test_every_move_of_the_model_that_writes_is_in_the_table() -> None:
    told = set(re.findall(r'printf\("replica %d:? ([^"]*)\\n"', MODEL))
    elsewhere = (  # of the world outside the journal, of what a process knows, or of the queue's due times
        *("dials call", "dies", "the standby", "confirms", "is due", "looks again", "does not hear"),
        *("has lost it", "is done with it", "must hold", "tells the caller no"),
    )
    known = [words for several in MOVES.values() for words in several]

    assert [said for said in told if not any(words in said for words in (*known, *elsewhere))] == []


@pytest.mark.parametrize(
    ("move", "illegal"),
    [
        (Move(1, "owned", "claimed|0|", "dialling|1|"), False),
        (Move(1, "queued", "claimed|0|", "dialling|1|"), True),
        (Move(1, "owned", "dialling|1|", f"done|1|{SENT}"), False),
        (Move(1, "owned", "claimed|0|", f"done|0|{SENT}"), True),
        (Move(1, "owned", "claimed|0|", f"done|0|{NOT_SENT}"), False),
        (Move(1, "owned", "dialling|1|", "claimed|1|"), True),
        (Move(1, "done", f"done|1|{UNKNOWN}", f"done|1|{SENT}"), False),
        (Move(1, "done", f"done|1|{SENT}", f"done|1|{UNKNOWN}"), True),
        (Move(1, "done", None, "claimed|0|"), True),
        (Move(0, "owned", "queued||1", "owned|p|2"), False),
        (Move(0, "owned", "queued||1", "owned|p|1"), True),
        (Move(0, "owned", "owned|p|1", "owned|q|1"), True),
        (Move(0, "queued", "owned|p|2", "queued||2"), False),
        (Move(0, "queued", "owned|p|2", "queued||3"), False),
        (Move(0, "queued", "queued||2", "queued||3"), False),
        (Move(0, "queued", "done||2", "queued||2"), True),
        (Move(0, "queued", "done||2", "queued||3"), True),
        (Move(0, "done", "ended", "ended again"), True),
    ],
)
def test_a_move_is_allowed_or_not(move: Move, illegal: bool) -> None:
    assert bool(judge_moves([move]).illegal) is illegal
