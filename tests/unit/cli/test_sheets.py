"""Files of recipients: what a strict reader takes and what it tells, for any content."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.cli.cells import find_wrong_cell, is_garbled
from relay.cli.message_options import time_columns
from relay.cli.records import SheetError, SheetMistake, scan
from relay.cli.results import name_rows
from relay.cli.sheets import DELIMITERS, Row, read_rows

CELLS = st.lists(st.lists(st.text('ab",;|\t\r\n 1é', max_size=8), min_size=1, max_size=4), max_size=6)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), min_size=1, max_size=20).filter(
    lambda name: find_wrong_cell(name) is None
)


def write(rows: list[list[str]], delimiter: str = ",") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


@given(rows=CELLS, delimiter=st.sampled_from(sorted(DELIMITERS)))
def test_what_a_spreadsheet_writes_is_read_cell_by_cell(rows: list[list[str]], delimiter: str) -> None:
    records, mistakes = scan(write(rows, delimiter), delimiter)

    assert mistakes == []
    assert [list(record.cells) for record in records] == rows


@given(text=st.text('a1",\r\n', max_size=40))
def test_any_text_is_taken_apart_or_its_quotes_are_told_with_their_line(text: str) -> None:
    records, mistakes = scan(text, ",")

    lines = text.count("\r") + text.count("\n") - text.count("\r\n") + 1
    assert all(1 <= mistake.line <= lines for mistake in mistakes)
    assert all(1 <= line <= lines for record in records for line in record.lines)
    if '"' not in text:
        assert mistakes == []


@given(names=st.lists(NAMES, min_size=1, max_size=5))
def test_every_row_gets_its_own_words_and_nobody_elses(names: list[str]) -> None:
    numbers = [f"0801234{place:04}" for place in range(len(names))]
    content = write([["recipient", "name"], *([number, name] for number, name in zip(numbers, names, strict=True))])

    rows = read_rows(content.encode(), "Dear {name}.")

    assert [(row.number, row.message) for row in rows] == [
        (number, f"Dear {name.strip()}.") for number, name in zip(numbers, names, strict=True)
    ]


@given(names=st.lists(NAMES, min_size=2, max_size=5), data=st.data())
def test_a_quote_that_is_taken_away_or_put_in_brings_nobody_anothers_words(
    names: list[str], data: st.DataObject
) -> None:
    numbers = [f"0801234{place:04}" for place in range(len(names))]
    rows = [["recipient", "name"], *([number, name.strip()] for number, name in zip(numbers, names, strict=True))]
    text = write(rows)
    place = data.draw(st.integers(0, len(text)))
    broken = text[:place] + ('"' + text[place:] if data.draw(st.booleans()) else text[place + 1 :])

    try:
        read = read_rows(broken.encode(), "Dear {name}.")
    except SheetError:
        return
    for row in read:
        mine = [number for number in numbers if number[4:] in row.number]
        assert not any(number in row.message for number in numbers if number not in mine)


@pytest.mark.parametrize("spelling", ["08012345678", "+234 801 234 5678", "2348012345678", "0801-234-5678"])
def test_a_row_keeps_its_key_however_its_number_is_spelt_and_whatever_stands_around_it(spelling: str) -> None:
    alone = name_rows([Row(1, 2, "08012345678", "Hello")], "default")
    among = name_rows([Row(1, 2, "08012345671", "Hello"), Row(2, 3, spelling, "Hello")], "default")

    assert among[1].key == alone[0].key
    assert name_rows([Row(1, 2, spelling, "Hello")], "other")[0].key != alone[0].key


def test_mistakes_are_bounded_and_told_by_line() -> None:
    content = "recipient,name\n" + "08012345678,\n" * 20_000

    with pytest.raises(SheetError) as failure:
        read_rows(content.encode(), "Dear {name}.")

    assert len(failure.value.mistakes) == 10_000
    assert failure.value.mistakes[0] == SheetMistake(
        2,
        2,
        "name",
        "the cell is empty",
        "Fill it, or take the line out; --allow-empty lets a text go out without the words.",
    )


@pytest.mark.parametrize(
    ("text", "garbled"),
    [
        ("Zo\u00c3\u00ab", True),
        ("\u00e1\u00bb\u0152l\u00c3\u00a1", True),
        ("Zo\u00eb \u00c9\u00e9", False),
        ("\u1ecc\u0301", False),
    ],
)
def test_bytes_that_were_taken_for_letters_are_seen(text: str, garbled: bool) -> None:
    assert is_garbled(text) is garbled


def test_a_column_says_when_its_row_is_to_be_sent_and_what_is_no_time_is_told_with_its_place() -> None:
    columns = time_columns("When", "hours")
    content = (
        "number,when,Hours\n08012345678,2026-12-01T09:00:00+01:00,08:00-20:00\n08012345679,,\n"
        "08012345670,,08:00-20:00 Europe/London\n"
    )
    rows = read_rows(content.encode(), "Hello", time_columns=columns)
    assert [row.when for row in rows] == [
        {"send_at": "2026-12-01T09:00:00+01:00", "delivery_window": {"from": "08:00", "to": "20:00"}},
        {},
        {"delivery_window": {"from": "08:00", "to": "20:00", "time_zone": "Europe/London"}},
    ]
    assert [row.key for row in name_rows(rows, "x")] == [
        row.key for row in name_rows(read_rows(content.encode(), "Hello"), "x")
    ], "another time is no other message"

    wrong = "number,when,hours\n08012345678,tomorrow,\n08012345679,,8-20\n"
    with pytest.raises(SheetError) as raised:
        read_rows(wrong.encode(), "Hello", time_columns=columns)
    assert [(mistake.line, mistake.column) for mistake in raised.value.mistakes] == [(2, 2), (3, 3)]
    for content in ("08012345678\n", "number,when,when\n08012345678,,\n"):
        with pytest.raises(SheetError) as raised:
            read_rows(content.encode(), "Hello", time_columns=columns[:1])
        assert ["--send-at-column" in mistake.what for mistake in raised.value.mistakes] == [True]
