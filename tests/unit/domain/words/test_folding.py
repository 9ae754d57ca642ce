"""The folded copy, and the way back to the caller's text."""

import string
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.words.folding import DOT_BELOW, fold
from relay.domain.words.look_alikes import I_OR_L, LOOK_ALIKES


def locate(text: str, part: str) -> str:
    """The caller's text at the place where a part stands in the folded copy."""
    folded = fold(text)
    start = folded.text.index(part)
    return folded.cut_out(start, start + len(part))


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("PROMO Today", "promo today"),
        ("\uff30\uff32\uff2f\uff2d\uff2f", "promo"),
        ("\U0001d429\U0001d42b\U0001d428\U0001d426\U0001d428", "promo"),
        ("ⓟⓡⓞⓜⓞ", "promo"),
        ("⒫⒭⒪⒨⒪", "promo"),
        ("\U0001f17f\U0001f181\U0001f17e\U0001f17c\U0001f17e", "promo"),
        ("pr\u00f3mo", "promo"),
        ("pro\u0301mo", "promo"),
        ("p\u0336r\u0336o\u0336m\u0336o\u0336", "promo"),
        ("pro\u200bmo", "promo"),
        ("pro\u00admo", "promo"),
        ("\u202epromo\u2066", "promo"),
        ("pro\ufe0fmo", "promo"),
        ("pro\x00mo", "promo"),
        ("\u0440\u0433\u043e\u043c\u043e", "promo"),
        ("\u03c1\u0433\u03bf\u043c\u03bf", "promo"),
        ("\u1d18\u0280\u1d0f\u1d0d\u1d0f", "promo"),
        ("ﬁrs", "firs"),
        ("STRASSE straße", "strasse strasse"),
        ("\u0130NEC", "inec"),
        ("won\u2019t", "won't"),
        ("pro\u02ccmo pro\u02d0mo", "pro'mo pro'mo"),
        ("MTN\u2122", "mtn "),
        ("\u00a0win\u3000big\u0085now", " win big now"),
        ("w_i_n", "w~i~n"),
        ("\U0001f1f5\U0001f1f7\U0001f1f4\U0001f1f2\U0001f1f4", "promo"),
        ("\u2ca2\u2c84\u2c9e\u2c98\u2c9e \u2ca3\u2c85\u2c9f\u2c99\u2c9f \u2c97\u2c9f\u2c81\u2c9b", "promo promo loan"),
        ("\U0001f160\U0001f171 get\U0001f193now", "qb get free now"),
        ("pr\u0669m\u06f0 \u0ce61\u0967 \u0e53\u0f24", "pr9m0 011 34"),
        ("\u2776\u24ff \u24eb \u2488 \u2474", "10 11 1 1"),
        ("\U0001f110\U0001f12a", "as"),
        ("\u049b\u04ab\u0495 \u1e9d", "kcr \u1e9d"),
        ("\U00010415\U0001043d \U000104c2\U000104ea", "cc oo"),
    ],
)
def test_what_a_reader_does_not_mind_is_folded(text: str, folded: str) -> None:
    assert fold(text).text == folded


@pytest.mark.parametrize("text", ["w\u1ecdn", "wo\u0323n", "wo\u0301\u0323n", "wo\u0329n", "W\u1eccN"])
def test_the_dot_below_is_kept_however_it_is_written(text: str) -> None:
    assert fold(text).text == f"wo{DOT_BELOW}n"


def test_a_line_below_counts_as_the_dot_only_on_the_letters_of_yoruba() -> None:
    assert fold("w\u0329i\u0329n\u0329").text == "win"


def test_the_hooked_letters_of_hausa_stay_other_letters() -> None:
    assert fold("ɓera ɗaki ƙasa ƴan").text == "ɓera ɗaki ƙasa ƴan"


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("AirteI", f"airte{I_OR_L}"),
        ("GIo", f"g{I_OR_L}o"),
        ("GIO", "gio"),
        ("Gio", "gio"),
        ("I AM In", f"i am {I_OR_L}n"),
        ("Ioan", f"{I_OR_L}oan"),
        ("A\u04c0r", f"a{I_OR_L}r"),
        ("PRlZE lNEC", f"pr{I_OR_L}ze {I_OR_L}nec"),
        ("prize all", "prize all"),
    ],
)
def test_only_a_capital_i_beside_small_letters_may_be_an_l_and_a_small_l_beside_capitals_an_i(
    text: str, folded: str
) -> None:
    assert fold(text).text == folded


def test_a_digit_of_any_script_is_read_by_its_value() -> None:
    digits = [chr(point) for point in range(sys.maxunicode) if unicodedata.category(chr(point)) == "Nd"]

    assert len(digits) >= 650
    assert all(fold(digit).text == str(unicodedata.decimal(digit)) for digit in digits)


@pytest.mark.parametrize(
    "form",
    [
        *("REGIONAL INDICATOR SYMBOL LETTER", "NEGATIVE CIRCLED LATIN CAPITAL LETTER", "CIRCLED LATIN SMALL LETTER"),
        *(
            "NEGATIVE SQUARED LATIN CAPITAL LETTER",
            "SQUARED LATIN CAPITAL LETTER",
            "PARENTHESIZED LATIN CAPITAL LETTER",
        ),
        *("LATIN LETTER SMALL CAPITAL", "MODIFIER LETTER SMALL", "MODIFIER LETTER CAPITAL"),
        *("FULLWIDTH LATIN CAPITAL LETTER", "MATHEMATICAL FRAKTUR SMALL", "MATHEMATICAL MONOSPACE CAPITAL"),
        *("SUPERSCRIPT LATIN SMALL LETTER", "LATIN SUBSCRIPT SMALL LETTER"),
    ],
)
def test_a_latin_letter_in_any_dress_is_the_letter(form: str) -> None:
    there = 0
    for letter in string.ascii_lowercase:
        try:
            character = unicodedata.lookup(f"{form} {letter.upper()}")
        except KeyError:
            continue
        there += 1
        assert fold(character).text == (I_OR_L if character == "\u026a" else letter)
    assert there


def test_flags_part_words_and_letters_in_boxes_join_them() -> None:
    assert fold("promo\U0001f1f3\U0001f1ec\U0001f1ec\U0001f1edcash").text == "promo-nggh-cash"
    assert fold("p\U0001f1f7omo").text == "p-r-omo"


def test_a_place_in_the_copy_leads_back_to_the_callers_text() -> None:
    assert locate("say pro\u200bmo now", "promo") == "pro\u200bmo"
    assert locate("🎉🎉 ﬁrs and straße", "strasse") == "straße"
    assert locate("plain PROMO text", "promo") == "PROMO"


def test_marks_that_sit_on_the_last_letter_are_inside_the_place() -> None:
    assert locate("a p\u0336r\u0336o\u0336m\u0336o\u0336 b", "promo") == "p\u0336r\u0336o\u0336m\u0336o\u0336"


def test_lone_surrogates_are_dropped() -> None:
    assert fold("pro\ud83dmo").text == "promo"


@given(st.text(max_size=60))
def test_every_character_of_the_copy_comes_from_somewhere(text: str) -> None:
    folded = fold(text)
    places = folded.locate([(index, index + 1) for index in range(len(folded.text))])
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert [start for start, _ in places] == sorted(start for start, _ in places)


@given(st.text(max_size=60))
def test_composed_and_decomposed_texts_fold_alike(text: str) -> None:
    composed, decomposed = unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)
    assert fold(composed).text == fold(decomposed).text


@given(st.text(st.characters(min_codepoint=1, max_codepoint=126), max_size=60))
def test_plain_text_keeps_its_length(text: str) -> None:
    visible = "".join(c for c in text if c.isprintable() or c in "\t\n\v\f\r")
    assert len(fold(visible).text) == len(visible)


def test_every_look_alike_is_read_as_one_plain_character_or_none() -> None:
    assert all(shape not in "abcdefghijklmnopqrstuvwxyz" for shape in LOOK_ALIKES)
    assert all(len(letter) <= 1 and (letter.isascii() or letter == I_OR_L) for letter in LOOK_ALIKES.values())
