"""Sender IDs: every vector, the order of the checks, look-alikes of reserved names."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.senders import (
    BANKS,
    BRANDS,
    GENERIC,
    IMPERSONATION,
    NETWORKS,
    PAYMENT,
    STATE,
    SUFFIXES,
    SenderReason,
    SenderWarning,
    check_sender,
    skeleton,
)

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "vectors" / "senders.jsonl").read_text(encoding="utf-8").splitlines()
]
RESERVED_NAMES = (*NETWORKS, *BANKS, *PAYMENT, *STATE, *BRANDS, *IMPERSONATION)


def fits(name: str) -> bool:
    return 3 <= len(name) <= 11 and not name.isdecimal()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['id']} {v.get('note', '')}")
def test_every_sender_vector_agrees(vector: dict[str, Any]) -> None:
    verdict = check_sender(vector["sender"], allowed=False)
    result = "error" if verdict.error is not None else "warn" if verdict.warnings else "ok"
    assert result == vector["result"]
    if result == "error":
        assert verdict.error == vector["why"]
    if result == "warn":
        assert verdict.warnings == (vector["why"],)


@pytest.mark.parametrize(
    ("sender", "reason"),
    [
        ("\t\n", SenderReason.EMPTY),
        ("0803 123 4567", SenderReason.NUMERIC),
        ("0803-123-456", SenderReason.NUMERIC),
        ("1", SenderReason.NUMERIC),
        ("---", SenderReason.BAD_CHARACTER),
        ("\uff11\uff13\uff11", SenderReason.BAD_CHARACTER),
        ("AC\x00ME", SenderReason.BAD_CHARACTER),
        ("AC_ME", SenderReason.BAD_CHARACTER),
        ("AC\u00a0ME", SenderReason.BAD_CHARACTER),
        ("ACME\ud800", SenderReason.BAD_CHARACTER),
        ("€", SenderReason.BAD_CHARACTER),
        ("MTN PROMO AWARD", SenderReason.TOO_LONG),
        ("M T N", SenderReason.RESERVED),
        ("MTN0ffer", SenderReason.RESERVED),
        ("Mtn-Alert", SenderReason.RESERVED),
        ("GloPromo", SenderReason.RESERVED),
        ("Zenith.Bank", SenderReason.RESERVED),
        ("I80", SenderReason.RESERVED),
        ("18O", SenderReason.RESERVED),
        ("Fidelitybk", SenderReason.RESERVED),
        ("DHLNG", SenderReason.RESERVED),
        ("UNlON", SenderReason.RESERVED),
        ("Call Centre", SenderReason.RESERVED),
    ],
)
def test_the_first_reason_against_a_sender_is_named(sender: str, reason: SenderReason) -> None:
    verdict = check_sender(sender, allowed=False)
    assert (verdict.name, verdict.error, verdict.warnings) == (None, reason, ())


@pytest.mark.parametrize(
    "sender",
    [
        "Gloria",
        "Global",
        "Dubai",
        "Banky",
        "Bankole",
        "Bishop",
        "Accessible",
        "Sussex",
        "Pinecone",
        "Autopay",
        "Visage",
    ],
)
def test_a_name_is_not_reserved_for_what_it_holds(sender: str) -> None:
    assert check_sender(sender, allowed=False) == check_sender(sender, allowed=True)
    assert check_sender(sender, allowed=False).name == sender


def test_every_warning_is_given_and_in_order() -> None:
    verdict = check_sender("A-1 Shop", allowed=False)
    assert verdict.warnings == (SenderWarning.PUNCTUATION, SenderWarning.DIGITS)
    assert check_sender("1nf0.", allowed=False).warnings == tuple(SenderWarning)


@pytest.mark.parametrize("name", [name for name in RESERVED_NAMES if fits(name)])
def test_a_reserved_name_passes_only_on_the_allow_list(name: str) -> None:
    assert check_sender(name.upper(), allowed=False).error is SenderReason.RESERVED
    assert check_sender(name.upper(), allowed=True).name == name.upper()


@given(st.text(max_size=14))
def test_the_allow_list_passes_the_reserved_check_and_no_other(sender: str) -> None:
    strict, allowed = check_sender(sender, allowed=False), check_sender(sender, allowed=True)
    if strict.error is not SenderReason.RESERVED:
        assert allowed == strict
    assert allowed.error is not SenderReason.RESERVED


@given(st.one_of(st.text(max_size=14), st.text("AbC1 .&-", max_size=14)), st.booleans())
def test_an_accepted_name_is_what_the_networks_carry_and_is_never_cut(sender: str, allowed: bool) -> None:
    verdict = check_sender(sender, allowed=allowed)
    assert (verdict.name is None) is (verdict.error is not None)
    if verdict.name is not None:
        assert verdict.name == sender.strip()
        assert 3 <= len(verdict.name) <= 11
        assert verdict.name.isascii()
        assert any(character.isalpha() for character in verdict.name)
        assert not set(verdict.name) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .&-")


@given(st.sampled_from(RESERVED_NAMES), st.sampled_from(("", *SUFFIXES)), st.randoms(use_true_random=False))
def test_no_disguise_gets_a_reserved_name_through(name: str, suffix: str, random: Any) -> None:
    if name in IMPERSONATION:
        suffix = ""
    disguises = {"o": "0Oo", "i": "1lIi", "l": "1lIL", "e": "3eE", "a": "4aA", "s": "5sS", "t": "7tT"}
    disguised = "".join(random.choice(disguises.get(letter, letter + letter.upper())) for letter in name + suffix)
    if fits(disguised):
        assert check_sender(disguised, allowed=False).error is SenderReason.RESERVED


@given(st.text(max_size=14))
def test_a_skeleton_looks_like_itself(name: str) -> None:
    assert skeleton(skeleton(name)) == skeleton(name)


def test_no_generic_name_is_reserved_too() -> None:
    for name in GENERIC:
        assert check_sender(name, allowed=False).warnings == (SenderWarning.GENERIC,)
