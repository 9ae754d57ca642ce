"""Recipients' numbers: every vector, and what must hold for numbers nobody listed."""

import json
from pathlib import Path
from typing import Any

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.domain.codes import NumberReason
from relay.domain.notification import Entry
from relay.domain.numbers import match_number, parse_number, parse_recipients

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "vectors" / "numbers.jsonl").read_text(encoding="utf-8").splitlines()
]

mobile = st.builds(
    str.__add__,
    st.sampled_from(["70", "71", "72", "80", "81", "90", "91"]),
    st.text("0123456789", min_size=8, max_size=8),
).filter(lambda digits: digits[:3] not in {"700", "800", "900"})
prefix = st.sampled_from(["", "0", "234", "+234", "2340", "+2340", "00234", "009234", "+234 (0) ", "(+234) ", "[0]"])
separator = st.sampled_from(["", " ", "-", ".", "\u00a0", "\u2013", "(", ")", "\u200b", "\u2009", "[", "]"])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['id']} {v['note']}")
def test_every_number_vector_agrees(vector: dict[str, Any]) -> None:
    assert parse_number(vector["input"]) == vector.get("ok", vector.get("error"))


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("\u200b\u2060", NumberReason.EMPTY),
        ("\n\t", NumberReason.EMPTY),
        ("+", NumberReason.BAD_CHARACTER),
        ("()", NumberReason.BAD_CHARACTER),
        (".08012345678", NumberReason.BAD_CHARACTER),
        ("0801\t234\t5678", NumberReason.BAD_CHARACTER),
        ("08012345678\n08098765432", NumberReason.BAD_CHARACTER),
        ("08012345678,08098765432", NumberReason.BAD_CHARACTER),
        ("0801/234/5678", NumberReason.BAD_CHARACTER),
        ("234+8012345678", NumberReason.BAD_CHARACTER),
        ("0801234567\ud800", NumberReason.BAD_CHARACTER),
        ("0801234567²", NumberReason.BAD_CHARACTER),
        ("00", NumberReason.FOREIGN),
        ("+08012345678", NumberReason.FOREIGN),
        ("0234 801 234 5678", NumberReason.TOO_LONG),
        ("+234 (0) 801 234 567", NumberReason.TOO_SHORT),
        ("+234 00 801 234 567", NumberReason.UNASSIGNED),
        ("+2342014630643", NumberReason.NOT_MOBILE),
        ("09002345678", NumberReason.NOT_MOBILE),
        ("06012345678", NumberReason.UNASSIGNED),
        ("2348212345678", NumberReason.UNASSIGNED),
    ],
)
def test_a_number_that_cannot_be_sent_to_has_a_typed_reason(written: str, reason: NumberReason) -> None:
    assert parse_number(written) is reason


@pytest.mark.parametrize(
    "written",
    [
        "\u202a+2348012345678\u202c",
        "\ufeff08012345678\n",
        "(0801) 234 5678",
        "(+234) 801 234 5678",
        "+ 234 801 234 5678",
        "0801\u2009234\u20095678",
        "0801\u2212234\u20125678",
        "[0801] 234-56-78.",
    ],
)
def test_what_people_paste_is_read(written: str) -> None:
    assert parse_number(written) == "2348012345678"


@given(mobile, prefix, st.lists(separator, min_size=11, max_size=11))
def test_however_a_mobile_number_is_written_it_is_one_number(digits: str, start: str, between: list[str]) -> None:
    written = start + "".join(digit + mark for digit, mark in zip(digits, between, strict=False))
    assert parse_number(written) == "234" + digits


@given(st.one_of(st.text(max_size=20), st.text("0123456789+ -.()234", max_size=20), mobile))
@example("2342348012345678")
@example("0234801234567")
def test_normalizing_is_idempotent(written: str) -> None:
    number = parse_number(written)
    if not isinstance(number, NumberReason):
        assert number.isascii()
        assert number.isdecimal()
        assert len(number) == 13
        assert parse_number(number) == number
        assert parse_number("+" + number) == number


@given(mobile)
def test_nothing_that_libphonenumber_calls_a_nigerian_mobile_is_refused(digits: str) -> None:
    number = phonenumbers.parse("+234" + digits)
    if phonenumbers.is_valid_number(number):
        assert parse_number("0" + digits) == phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]


@given(st.text())
def test_no_text_whatever_makes_parsing_fail(written: str) -> None:
    assert isinstance(parse_number(written), str)
    assert isinstance(parse_number(written, allow_foreign=True), str)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("+233200000000", "233200000000"),
        ("00233 20 000 0000", "233200000000"),
        ("+1 201 555 0123", "12015550123"),
        ("+447700900123", NumberReason.FOREIGN),  # a number for films: libphonenumber calls it invalid
        ("+442071838750", NumberReason.NOT_MOBILE),
        ("+99912345678", NumberReason.FOREIGN),
        ("+2", NumberReason.FOREIGN),
        ("+2332000000000000", NumberReason.TOO_LONG),
        ("233200000000", NumberReason.TOO_LONG),  # without a plus it reads as a local number
        ("0801 234 5678", "2348012345678"),
    ],
)
def test_foreign_numbers_are_accepted_only_where_they_are_allowed(written: str, expected: str) -> None:
    assert parse_number(written, allow_foreign=True) == expected
    if written.startswith(("+", "00")):
        assert parse_number(written) is NumberReason.FOREIGN


def test_recipients_keep_their_order_and_duplicates_point_at_the_first() -> None:
    entries = parse_recipients(["+2348012345678", "08098765432", "bad", "0801 234 5678", "bad", "8012345678"])
    assert entries == (
        Entry("+2348012345678", "2348012345678"),
        Entry("08098765432", "2348098765432"),
        Entry("bad", reason=NumberReason.BAD_CHARACTER),
        Entry("0801 234 5678", "2348012345678", duplicate_of=0),
        Entry("bad", reason=NumberReason.BAD_CHARACTER),
        Entry("8012345678", "2348012345678", duplicate_of=0),
    )


@given(st.lists(st.one_of(st.sampled_from(["08012345678", "2348012345678", "07012345678"]), st.text(max_size=5))))
def test_no_number_is_dialled_twice(inputs: list[str]) -> None:
    entries = parse_recipients(inputs)
    assert [entry.input for entry in entries] == inputs
    dialled = [entry.number for entry in entries if entry.number is not None and entry.duplicate_of is None]
    assert len(dialled) == len(set(dialled))
    for index, entry in enumerate(entries):
        assert (entry.number is None) is (entry.reason is not None)
        if entry.duplicate_of is not None:
            first = entries[entry.duplicate_of]
            assert entry.duplicate_of < index
            assert (first.number, first.duplicate_of) == (entry.number, None)


@pytest.mark.parametrize("echoed", ["2348012345678", "08012345678", "+2348012345678", "8012345678", " 2348012345678\r"])
def test_an_echo_matches_whatever_its_form(echoed: str) -> None:
    assert match_number(echoed) == "2348012345678"


def test_an_echo_that_is_no_number_that_was_asked_matches_none() -> None:
    # The seed's own sample holds a number that is one digit short.
    assert match_number("234803456789") == "234803456789"
    assert isinstance(parse_number("234803456789"), NumberReason)
    assert match_number("") is None
    assert match_number("INVALID") is None


def test_an_echo_of_a_foreign_number_matches_the_number_that_was_asked() -> None:
    asked = parse_number("+233 20 000 0000", allow_foreign=True)
    assert match_number("233200000000") == match_number("+233200000000") == asked
