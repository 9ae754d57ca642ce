"""smsclone's own list of messages: read by its headings, and believed only where its words are known."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from relay.domain.errors import ValidationFailed
from relay.domain.message_list import MOST_ROWS, ListedMessage, UnreadableRow, read_message_list

FIVE_PAST_TWO = round(datetime(2026, 11, 29, 13, 5, tzinfo=UTC).timestamp() * 1000)


def read(text: str) -> Sequence[ListedMessage | UnreadableRow]:
    return list(read_message_list(text))


@pytest.mark.parametrize(
    "headings",
    [
        "Mobile,Date,Status",
        "status;date_sent;RECIPIENT",
        "S/N\tMessage\tTo\tDate\tTime\tDelivery Status",
        "\ufeffGSM,Sent At,State",
    ],
)
def test_headings_may_stand_in_any_order_with_any_delimiter(headings: str) -> None:
    delimiter = max(",;\t", key=headings.count)
    cells = {"m": "08031234578", "t": "08031234578", "r": "08031234578", "g": "08031234578"}
    row = []
    for heading in headings.strip("\ufeff").split(delimiter):
        plain = heading.lower()
        if plain == "time":
            row.append("14:05")
        elif "date" in plain or "sent at" in plain:
            row.append("29/11/2026" if "Time" in headings else "29/11/2026 14:05")
        elif "stat" in plain:
            row.append("SENT")
        else:
            row.append("x" if plain in ("s/n", "message") else cells[plain[0]])

    assert read(f"{headings}\r\n{delimiter.join(row)}\r\n") == [
        ListedMessage(2, "08031234578", FIVE_PAST_TWO, "SENT", True)
    ]


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-29 14:05:00",
        "2026-11-29T13:05:00Z",
        "29/11/2026 14:05",
        "29-11-2026 14:05:00",
        "29/11/2026 02:05 PM",
        "29 Nov 2026 14:05",
        "29 November 2026 02:05:00 PM",
    ],
)
def test_a_time_is_read_as_people_write_it_the_day_first_and_in_lagos(written: str) -> None:
    [row] = read(f"number,date,status\n0803,{written},sent\n")

    assert isinstance(row, ListedMessage)
    assert row.at == FIVE_PAST_TWO


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        *((word, True) for word in ("SENT", "Delivered", "DND_SENT", "0014", " message sent to provider ")),
        *((word, False) for word in ("REJECTED", "DND-REJECTED", "Not Sent", "2222")),
        *((word, None) for word in ("", "pending", "failed", "undelivered", "not delivered", "sent?", "unsent")),
    ],
)
def test_a_status_counts_only_where_its_words_are_known(said: str, sent: bool | None) -> None:
    [row] = read(f"number,date,status\n0803,2026-11-29 14:05,{said}\n")

    assert isinstance(row, ListedMessage)
    assert row.sent is sent


def test_what_cannot_be_read_is_told_by_its_line_and_empty_rows_are_left_out() -> None:
    text = "number,date,status\n0803,yesterday,sent\n,,\n\n,2026-11-29 14:05,sent\n0803\n"

    assert read(text) == [UnreadableRow(2, "time"), UnreadableRow(5, "number"), UnreadableRow(6, "time")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "number, date, status"),
        ("a,b,c\n1,2,3\n", "number, date, status"),
        ("number,date\n", "status"),
        ("number,date,status\n" + "0803,2026-11-29 14:05,sent\n" * (MOST_ROWS + 1), "10,000 rows"),
    ],
)
def test_a_list_that_cannot_be_compared_is_refused_with_what_to_do(text: str, said: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        read(text)

    [error] = refused.value.errors
    assert error.field == "csv"
    assert said in error.message
