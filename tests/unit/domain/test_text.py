"""The text: every segment vector, the alphabet, folding, and positions that point into the caller's text."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.domain.codes import Encoding, OnNonGsm
from relay.domain.notification import Replacement
from relay.domain.text import (
    GSM_BASIC,
    GSM_EXTENSION,
    LETTERS,
    LONGEST,
    TYPOGRAPHY,
    count_segments,
    find_forbidden_character,
    prepare_text,
)

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "vectors" / "segments.jsonl").read_text(encoding="utf-8").splitlines()
]

# 3GPP TS 23.038 section 6.2.1, by septet, as code points; 0x1B is the escape.
ALPHABET = (
    "0040 00A3 0024 00A5 00E8 00E9 00F9 00EC 00F2 00C7 000A 00D8 00F8 000D 00C5 00E5 "
    "0394 005F 03A6 0393 039B 03A9 03A0 03A8 03A3 0398 039E 001B 00C6 00E6 00DF 00C9 "
    "0020 0021 0022 0023 00A4 0025 0026 0027 0028 0029 002A 002B 002C 002D 002E 002F "
    "0030 0031 0032 0033 0034 0035 0036 0037 0038 0039 003A 003B 003C 003D 003E 003F "
    "00A1 0041 0042 0043 0044 0045 0046 0047 0048 0049 004A 004B 004C 004D 004E 004F "
    "0050 0051 0052 0053 0054 0055 0056 0057 0058 0059 005A 00C4 00D6 00D1 00DC 00A7 "
    "00BF 0061 0062 0063 0064 0065 0066 0067 0068 0069 006A 006B 006C 006D 006E 006F "
    "0070 0071 0072 0073 0074 0075 0076 0077 0078 0079 007A 00E4 00F6 00F1 00FC 00E0"
)
EXTENSION = "000C 005E 007B 007D 005C 005B 007E 005D 007C 20AC"

FOLDS = (OnNonGsm.FOLD, OnNonGsm.FOLD_LETTERS)

gsm_text = st.text(GSM_BASIC + GSM_EXTENSION, max_size=400)
nigerian = "abeionsṣẹọịụṅɓɗƙƴẸỌṢàáèéìíòóùúńç₦\u2019“\u2013…•\u00a0\u0300\u0301\u0304\u0323\u02bc"
everyday = st.text(nigerian + "AZ 09.\n€[]😀\u200b`", max_size=60)
pieces = st.sampled_from(
    ["a", "e\u0301", "o\u0323\u0300", "\r\n", "\n", "₦", "\u2019", "…", "😀", "ɓ", "é", "[", "ọ\u0300"]
)
any_text = st.one_of(st.text(max_size=60), everyday, st.lists(pieces, max_size=40).map("".join))


def place_one_by_one(text: str) -> tuple[Encoding, int, int, int]:
    """The same count, the slow way: characters laid into parts one after another."""
    carried = {chr(int(code, 16)): 1 for code in ALPHABET.split() if code != "001B"}
    carried.update({chr(int(code, 16)): 2 for code in EXTENSION.split()})
    if all(character in carried for character in text):
        encoding, widths, single, part = Encoding.GSM_7, [carried[character] for character in text], 160, 153
    else:
        encoding, widths = Encoding.UCS_2, [2 if ord(character) > 0xFFFF else 1 for character in text]
        single, part = 70, 67
    if sum(widths) <= single:
        return encoding, sum(widths), 1, single - sum(widths)
    parts = [0]
    for width in widths:
        if parts[-1] + width > part:
            parts.append(0)
        parts[-1] += width
    return encoding, sum(widths), len(parts), part - parts[-1]


def count(text: str) -> tuple[Encoding, int, int, int]:
    counted = count_segments(text)
    return counted.encoding, counted.units, counted.segments, counted.remaining


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
def test_every_segment_vector_agrees(vector: dict[str, Any]) -> None:
    assert count(vector["text"]) == (
        vector["encoding"],
        vector["units"],
        vector["segments"],
        vector["remaining"],
    )


def test_the_alphabet_is_the_standards() -> None:
    assert list(GSM_BASIC) == [chr(int(code, 16)) for code in ALPHABET.split() if code != "001B"]
    assert set(GSM_EXTENSION) == {chr(int(code, 16)) for code in EXTENSION.split()}


@given(st.one_of(gsm_text, any_text, st.text("A[€", max_size=700), st.text("A😀₦", max_size=300)))
@example("")
@example("A" * 152 + "[" + "A" * 8)
@example("A" * 152 + "[" + "A" * 151 + "[" + "A")
@example("[" * 80)
@example("[" * 81)
@example("[" * 229)
@example("A" * 66 + "😀" + "A" * 66)
@example("😀" * 35)
def test_segments_agree_with_laying_characters_one_by_one(text: str) -> None:
    assert count(text) == place_one_by_one(text)


@pytest.mark.parametrize("tail", ["", "A", "[", "AA", "A[", "[A"])
@pytest.mark.parametrize("filling", ["A", "[", "₦", "😀"])
def test_segments_are_exact_around_every_boundary(filling: str, tail: str) -> None:
    for length in (*range(60, 82), *range(130, 170), *range(195, 205), *range(300, 310), *range(455, 465)):
        text = filling * length + tail
        assert count(text) == place_one_by_one(text)


@pytest.mark.parametrize(
    ("message", "position"),
    [
        ("one\ntwo\r\nthree", None),
        ("", None),
        ("tab\there", 3),
        ("lone\rcr", 4),
        ("\r\r\n", 0),
        ("end\r", 3),
        ("nul\x00", 3),
        ("\x1b[31m", 0),
        ("form\ffeed", 4),
        ("del\x7f", 3),
        ("c1 \x85", 3),
        ("half \ud83d", 5),
        ("the other half \ude00", 15),
        ("whole \U0001f600", None),
        ("Ọjọ́ \u200b\u2028", None),
    ],
)
def test_control_characters_but_line_feeds_are_found(message: str, position: int | None) -> None:
    assert find_forbidden_character(message) == position


def test_a_carriage_return_with_its_line_feed_becomes_one_line_feed() -> None:
    prepared = prepare_text("Hi\r\nBye", OnNonGsm.SEND)
    assert prepared.message == "Hi\nBye"
    assert prepared.facts.characters == 6


def test_composing_makes_a_decomposed_letter_travel_in_gsm_7() -> None:
    prepared = prepare_text("a\u0300 la carte", OnNonGsm.SEND)
    assert prepared.message == "à la carte"
    assert prepared.facts.encoding is Encoding.GSM_7
    assert prepared.facts.replaced == ()


@pytest.mark.parametrize(
    ("message", "folded"),
    [
        ("It\u2019s “ready” \u2013 now…", 'It\'s "ready" - now...'),
        ("₦5,000", "NGN5,000"),
        ("a\u00a0b\u202fc\u3000d", "a b c d"),
        ("• one\r\n• two", "* one\n* two"),
        ("pro\u200bmo\u00ad", "promo"),
        ("`x\u00b4", "'x'"),
    ],
)
@pytest.mark.parametrize("mode", FOLDS)
def test_fold_replaces_typography_and_the_naira_sign(message: str, folded: str, mode: OnNonGsm) -> None:
    prepared = prepare_text(message, mode)
    assert prepared.message == folded
    assert prepared.facts.encoding is Encoding.GSM_7


@pytest.mark.parametrize(
    ("message", "folded"),
    [
        ("Ẹ káàárọ̀, ọjà yín ti dé", "E kaàaro, ojà yin ti dé"),
        ("Ụtụtụ ọma, ṅụọ", "Ututu oma, nuo"),
        ("ɗan ƙasa, ɓera, ƴa\u02bcya", "dan kasa, bera, ya'ya"),
        ("ƊAN ƘASA ƁERA ƳA", "DAN KASA BERA YA"),
        ("ç São ₦5", "c Sao NGN5"),
    ],
)
def test_fold_letters_also_strips_what_gsm_7_cannot_carry(message: str, folded: str) -> None:
    for form in ("NFC", "NFD"):
        prepared = prepare_text(unicodedata.normalize(form, message), OnNonGsm.FOLD_LETTERS)
        assert prepared.message == folded
        assert prepared.non_gsm == ()
    assert prepare_text(message, OnNonGsm.FOLD).message == unicodedata.normalize("NFC", message)


def test_what_was_replaced_is_told_with_its_place_in_the_callers_text() -> None:
    message = "e\u0301\r\n₦5 o\u0323\u0300 …"
    prepared = prepare_text(message, OnNonGsm.FOLD_LETTERS)
    assert prepared.message == "é\nNGN5 o ..."
    assert prepared.facts.replaced == (
        Replacement(4, "₦", "NGN"),
        Replacement(7, "o\u0323\u0300", "o"),
        Replacement(11, "…", "..."),
    )


@pytest.mark.parametrize("mode", list(OnNonGsm))
def test_text_that_gsm_7_carries_is_never_touched(mode: OnNonGsm) -> None:
    message = "à la carte: £5 [ok] ~ €"
    prepared = prepare_text(message, mode)
    assert (prepared.message, prepared.facts.replaced, prepared.non_gsm) == (message, (), ())


@pytest.mark.parametrize("mode", FOLDS)
def test_a_text_of_which_folding_leaves_nothing_goes_out_as_it_is(mode: OnNonGsm) -> None:
    assert prepare_text("\u200b\u00a0", mode).message == "\u200b\u00a0"


def test_reject_learns_where_the_text_leaves_gsm_7() -> None:
    assert prepare_text("Hi\r\n“e\u0301 o\u0323” 😀", OnNonGsm.REJECT).non_gsm == (4, 8, 10, 12)


@given(any_text, st.sampled_from(OnNonGsm))
def test_folding_is_all_or_nothing(message: str, mode: OnNonGsm) -> None:
    prepared = prepare_text(message, mode)
    unfolded = unicodedata.normalize("NFC", message.replace("\r\n", "\n"))
    if prepared.message != unfolded:
        assert mode in FOLDS
        assert prepared.facts.encoding is Encoding.GSM_7
        assert prepared.facts.replaced
    else:
        assert prepared.facts.replaced == ()
    assert prepared.facts.encoding == place_one_by_one(prepared.message)[0]
    assert prepared.facts.segments == place_one_by_one(prepared.message)[2]
    assert prepared.facts.characters == len(prepared.message)


@given(any_text, st.sampled_from(FOLDS))
@example("\r\n" * 3 + "o\u0323", OnNonGsm.FOLD_LETTERS)
@example("\u1100\u1161\u11a8₦", OnNonGsm.FOLD)
def test_positions_of_replacements_map_back_to_the_callers_text(message: str, mode: OnNonGsm) -> None:
    prepared = prepare_text(message, mode)
    rebuilt, end = [], 0
    for replacement in prepared.facts.replaced:
        assert replacement.position >= end
        rebuilt.append(message[end : replacement.position])
        end = replacement.position + len(replacement.original)
        assert message[replacement.position : end] == replacement.original
        rebuilt.append(replacement.replacement)
    rebuilt.append(message[end:])
    assert unicodedata.normalize("NFC", "".join(rebuilt).replace("\r\n", "\n")) == prepared.message


@given(any_text)
@example("ab\r\n\r\ne\u0301o\u0323😀")
def test_positions_outside_gsm_7_map_back_to_the_callers_text(message: str) -> None:
    prepared = prepare_text(message, OnNonGsm.REJECT)
    assert list(prepared.non_gsm) == sorted(set(prepared.non_gsm))
    assert bool(prepared.non_gsm) is (prepared.facts.encoding is Encoding.UCS_2)
    outside = [c for c in prepared.message if place_one_by_one(c)[0] is Encoding.UCS_2]
    assert len(prepared.non_gsm) <= len(outside)
    for position in prepared.non_gsm:
        rest = prepare_text(message[position:], OnNonGsm.REJECT)
        assert rest.non_gsm[0] == 0
    if unicodedata.is_normalized("NFC", message) and "\r" not in message:
        assert [message[position] for position in prepared.non_gsm] == outside


@given(st.text())
def test_no_text_whatever_makes_preparing_fail(message: str) -> None:
    for mode in OnNonGsm:
        assert prepare_text(message + "\ud800", mode).facts.encoding is Encoding.UCS_2


def test_a_text_too_long_to_be_sent_is_only_counted() -> None:
    message = "a\u0301" + "x" * LONGEST
    prepared = prepare_text(message, OnNonGsm.FOLD_LETTERS)
    assert prepared.message == message
    assert prepared.non_gsm == (1,)
    assert prepared.facts.segments > 10


def test_a_run_of_marks_that_no_language_has_is_left_alone() -> None:
    message = "a" + "\u0301\u0316" * 1000
    assert prepare_text(message, OnNonGsm.FOLD_LETTERS).message == message


def test_every_row_of_the_folding_tables_is_needed_and_enough() -> None:
    for character, replacement in {**TYPOGRAPHY, **LETTERS}.items():
        assert place_one_by_one(character)[0] is Encoding.UCS_2
        assert place_one_by_one(replacement)[0] is Encoding.GSM_7
        assert unicodedata.normalize("NFC", character) == character
