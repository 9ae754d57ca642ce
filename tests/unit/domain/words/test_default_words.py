"""The shipped list: what must pass, what must not, and that no innocent word is taken for an entry."""

from collections.abc import Iterator
from importlib import resources
from itertools import product
from pathlib import Path

import pytest

from relay.domain.codes import MessageType
from relay.domain.words import WordMatch, WordMatcher, parse_word_list

SOURCE = resources.files("relay.domain.words").joinpath("default_words.toml").read_text(encoding="utf-8")
ENTRIES = parse_word_list(SOURCE)
MATCHER = WordMatcher(ENTRIES)
STOCKS = Path(__file__).parents[3] / "vectors" / "innocent_words"

OTHER_TYPES = [member for member in MessageType if member is not MessageType.PROMOTIONAL]

BANK_ALERTS = [
    "Debit Alert! Acct: 012****789 Amt: NGN5,000.00 Desc: POS/WEB PYMT Date: 12-05-2026 08:30 Avail Bal: NGN12,345.67",
    "Your account 0123****45 was debited with N5,000.00 on 12/05/2026. Balance: N10,250.33.",
    "Acct:XX6789 DR:NGN2,500.00 Desc:ATM WDL IKEJA Bal:NGN1,000.00",
    "Credit: N40,000. From ADA OBI. Transaction ref 0092. Your balance is N52,000.",
]
GENUINE = {
    MessageType.OTP: [
        "Your OTP is 123456. Do not share it.",
        "Your OTP is 123456. Do not share your OTP or PIN with anyone.",
        "481516 is your one-time password. It expires in 5 minutes. Never share your password. Call 0700-000-0000.",
        "Use 481516 to confirm your PIN change. We will never ask you to send your PIN.",
        "Use 4815 to verify your BVN. Your bank won't ask you to share your BVN.",
    ],
    MessageType.TRANSACTIONAL: [
        *BANK_ALERTS,
        "Your parcel 8812 is out for delivery today. The rider will call you on 080****4567. Pay N2,500 on delivery.",
        "Hello Edwin, order 77K has been delivered. Please confirm at the gate. Thank you.",
        "Your loan repayment of N5,000 is due on Friday. Pay by bank transfer.",
        "Ẹ kú àárọ̀. Wọ́n ti rí owó yín gbà. Ẹ ṣé díẹ̀ díẹ̀.",
    ],
    MessageType.ALERT: [
        "DiskFull on db-1 is firing: 95% used, see runbook",
        "[RESOLVED] HighLatency win-host-3, code 502",
    ],
}


def find(text: str, message_type: MessageType, field: str = "message") -> list[WordMatch]:
    return MATCHER.find(text, field="sender" if field == "sender" else "message", message_type=message_type)


def blocking(text: str, message_type: MessageType, field: str = "message") -> list[str]:
    return [found.hit.entry for found in find(text, message_type, field) if found.action == "block"]


@pytest.mark.parametrize(("message_type", "text"), [(kind, text) for kind, texts in GENUINE.items() for text in texts])
def test_genuine_messages_pass_as_their_message_types(message_type: MessageType, text: str) -> None:
    assert blocking(text, message_type) == []


@pytest.mark.parametrize("text", BANK_ALERTS)
def test_a_bank_alert_is_refused_on_the_promotional_route_with_the_entry_named(text: str) -> None:
    (first, *_) = [found for found in find(text, MessageType.PROMOTIONAL) if found.action == "block"]
    assert first.hit.category in ("transactional", "money")
    assert first.hit.entry in text[first.hit.start : first.hit.end].casefold()


@pytest.mark.parametrize(
    "text",
    [
        *("You have WON a car", "You h\u0430ve w.o.n", "cash pr1ze inside", "Send your PIN to this number"),
        *("reply with your OTP now", "Kindly send us your card number", "L0TTERY results"),
    ],
)
def test_what_has_no_honest_use_is_refused_in_every_message(text: str) -> None:
    assert all(blocking(text, message_type) for message_type in MessageType)


def test_everyday_words_only_warn() -> None:
    for word in ("free", "win", "won", "bank", "call", "news", "claim", "urgent", "die"):
        found = find(f"a {word} b", MessageType.PROMOTIONAL)
        assert [(f.hit.entry, f.action) for f in found] == [(word, "warn")]


@pytest.mark.parametrize("message_type", OTHER_TYPES)
def test_words_of_bank_alerts_say_nothing_outside_of_promotion(message_type: MessageType) -> None:
    text = "account transaction balance statement invoice otp pin code refund billing bank atm bvn loan call visa"
    assert find(text, message_type) == []


def test_names_of_others_warn_in_a_sender() -> None:
    for name in ("MTN Data", "GLO", "EFCC", "GTBank", "Union Crest"):
        assert [found.action for found in find(name, MessageType.ALERT, "sender")] == ["warn"]


def test_a_cot_to_sleep_in_may_be_advertised() -> None:
    assert blocking("Baby cot at half price", MessageType.PROMOTIONAL) == []
    assert blocking("No C.O.T charges", MessageType.PROMOTIONAL) == ["cot"]


def test_no_entry_stands_there_twice_and_each_place_has_one_action() -> None:
    seen: dict[tuple[str, str, MessageType], str] = {}
    for entry in ENTRIES:
        for field, message_type in product(entry.fields, entry.message_types or MessageType):
            assert seen.setdefault((entry.text, field, message_type), entry.action) is entry.action
    assert len(set(ENTRIES)) == len(ENTRIES)


def test_every_entry_says_where_it_was_seen() -> None:
    headers = [line for line in SOURCE.splitlines() if line.startswith("[[entry]]")]
    assert len(headers) == len(ENTRIES)
    assert all("# [" in header or "# after [" in header for header in headers)


def derive(word: str) -> Iterator[str]:
    """English forms of a word, made by rule; some are no words, all are innocent."""
    stem = word.removesuffix("e")
    yield word
    if len(word) > 2:
        yield from (
            word + "s",
            stem + "ed",
            stem + "ing",
            stem + "er",
            stem + "ers",
            word + "ly",
            word + "less",
            "re" + word,
        )
    if word.startswith("i"):
        yield word.capitalize()  # its capital may be meant as an l


def innocent_words() -> list[str]:
    """Plain everyday words of five languages, without those that are entries themselves."""
    listed = {word for entry in ENTRIES for word in entry.text.casefold().split()}
    words: dict[str, None] = {}
    for stock in sorted(STOCKS.glob("*.txt")):
        for word in stock.read_text(encoding="utf-8").split():
            words.update(dict.fromkeys(derive(word) if stock.stem == "english" else (word,)))
    return [word for word in words if listed.isdisjoint(word.casefold().split("-"))]


WORDS = innocent_words()


def test_the_sample_of_innocent_words_is_large_enough() -> None:
    assert len(WORDS) >= 10_000


def test_no_innocent_word_is_taken_for_an_entry() -> None:
    taken = [
        (word, found.hit.entry)
        for word in WORDS
        for written in (word, word.capitalize(), word.upper())
        for field in ("message", "sender")
        for found in find(written, MessageType.PROMOTIONAL, field)
    ]
    assert taken == []


@pytest.mark.parametrize("message_type", list(MessageType))
def test_no_text_of_innocent_words_is_refused(message_type: MessageType) -> None:
    for start in range(0, len(WORDS), 40):
        assert blocking(" ".join(WORDS[start : start + 40]), message_type) == []
