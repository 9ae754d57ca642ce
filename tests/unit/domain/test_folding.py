"""The folded copy, and the way back to the caller's text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.folding import DOT_BELOW, fold
from relay.domain.look_alikes import I_OR_L, LOOK_ALIKES


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
        ("I AM In", "i am in"),
        ("A\u04c0r", f"a{I_OR_L}r"),
    ],
)
def test_only_a_capital_i_inside_a_word_of_small_letters_may_be_an_l(text: str, folded: str) -> None:
    assert fold(text).text == folded


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
