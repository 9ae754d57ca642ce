"""smsclone's answers: every vector, and what must hold for bodies nobody listed."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.domain.codes import Code, Status
from relay.domain.notification import Outcome
from relay.smsclone.record_redaction import LONGEST_DESCRIPTION, RecordRedactor, list_forms
from relay.smsclone.upstream_answers import (
    BatchAnswer,
    BatchRecord,
    Unreadable,
    match_outcomes,
    parse_answer,
    parse_balance,
    record_outcome,
)
from relay.smsclone.upstream_codes import RECORDS, REJECTIONS

VECTORS = Path(__file__).parents[2] / "vectors"
ADA = "2348012345678"
BOLA = "2348098765432"
USERNAME, PASSWORD, MESSAGE = "kanu-account", "p4ss w&rd", "Your code is 4711, keep it"
NOTHING = RecordRedactor(frozenset(), "")
HIDING = RecordRedactor(list_forms(USERNAME, PASSWORD), MESSAGE)
# What a vector calls a warning, where ours is a code of the outcome instead.
SAID_BY_THE_OUTCOME = {"unknown_code": Code.UNLISTED_CODE, "code_word_conflict": Code.CONFLICTING_ANSWER}


def read_vectors(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (VECTORS / name).read_text(encoding="utf-8").splitlines()]


def read_outcomes(body: bytes | str, *numbers: str, redactor: RecordRedactor = NOTHING) -> list[Outcome]:
    answer = parse_answer(body.encode() if isinstance(body, str) else body)
    assert isinstance(answer, BatchAnswer)
    return list(match_outcomes(answer.records, numbers, redactor)[0])


def read_codes(body: bytes | str, *numbers: str) -> list[Code]:
    return [outcome.code for outcome in read_outcomes(body, *numbers)]


REASONS = {
    "TG11": "auth_failed",
    "TG12": "missing_username",
    "TG13": "missing_password",
    "TG14": "no_recipients",
    "TG15": "empty_message",
    "TG16": "empty_sender",
    "TG17": "insufficient_units",
    "TG18": "sender_blocked",
    "TG19": "content_blocked",
    "TG20": "too_many_recipients",
}
"""The words that the vectors have for rejections; any other code is ``unknown_rejection``."""


def line(
    code: str, number: str, word: str, description: str = "X", message_id: str = "9967534522177818556581618"
) -> str:
    return f"{code}|{number}|{message_id}|{word}|{description}"


def batch(*records: str) -> str:
    return "TG00-MESSAGE PROCESSED:" + ",".join(records)


@pytest.mark.parametrize("vector", read_vectors("upstream_answers.jsonl"), ids=lambda v: f"{v['id']} {v['note']}")
def test_every_answer_vector_agrees(vector: dict[str, Any]) -> None:
    answer = parse_answer(vector["raw"].encode("utf-8", "surrogatepass"))
    expected = vector["expect"]
    if expected["outcome"] == "unparseable":
        assert answer == Unreadable(expected["reason"])
        return
    assert isinstance(answer, BatchAnswer)
    assert answer.code == expected["code"]
    assert answer.accepted == (expected["outcome"] == "accepted")
    if not answer.accepted:
        assert REASONS.get(answer.code, "unknown_rejection") == expected["reason"]
        assert list(answer.warnings) == expected.get("warn", [])
        assert not answer.contradicts_itself
        return
    judged = [record_outcome(record, "", NOTHING)[0] for record in answer.records]
    states = [outcome.code.value if outcome.status is not Status.UNKNOWN else "unknown" for outcome in judged]
    said = [[record.recipient, record.code, state] for record, state in zip(answer.records, states, strict=True)]
    assert said == expected.get("recipients", [])
    warned = set(answer.warnings) | {
        name for name, code in SAID_BY_THE_OUTCOME.items() if code in {o.code for o in judged}
    }
    assert set(expected.get("warn", [])) <= warned


def test_every_row_of_the_tables_has_a_vector() -> None:
    expected = [vector["expect"] for vector in read_vectors("upstream_answers.jsonl")]
    batches = {said.get("code") for said in expected}
    records = {(code, state) for said in expected for _, code, state in said.get("recipients", [])}

    missing = "write a line for it in tests/vectors/upstream_answers.jsonl"
    assert REJECTIONS.keys() - batches == set(), missing
    assert {(code, known.code.value) for code, known in RECORDS.items()} - records == set(), missing


@pytest.mark.parametrize("vector", read_vectors("balance_answers.jsonl"), ids=lambda v: f"{v['id']} {v['raw'][:20]!r}")
def test_every_balance_vector_agrees(vector: dict[str, Any]) -> None:
    balance = parse_balance(vector["raw"].encode())
    if vector["expect"] == "unparseable":
        assert isinstance(balance, Unreadable)
    elif vector["expect"].startswith("rejected "):
        assert isinstance(balance, BatchAnswer)
        assert f"rejected {REASONS.get(balance.code, 'unknown_rejection')}" == vector["expect"]
    else:
        assert balance == vector["expect"]


# --- whose record it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "record", "warnings"),
    [
        ("0000|1|9|SENT|TAX", BatchRecord("0000", "1", "9", "SENT", "TAX"), ()),
        ("0000|1|9|SENT", BatchRecord("0000", "1", "9", "SENT", None), ()),
        ("0000|1|9", BatchRecord("0000", "1", "9", None, None), ("short_record",)),
        ("0|1|9|SENT|OK", BatchRecord("0000", "1", "9", "SENT", "OK"), ("padded_code",)),
        ("0000|1||SENT|OK", BatchRecord("0000", "1", None, "SENT", "OK"), ()),
        ("0000|1|9|SENT|OK|more|and more", BatchRecord("0000", "1", "9", "SENT", "OK"), ()),
        (" 0000 |\u00a01\u200b|\t9|\ufeffSENT|OK\r\n", BatchRecord("0000", "1", "9", "SENT", "OK"), ()),
        (", 0000|1|9|SENT|OK,", BatchRecord("0000", "1", "9", "SENT", "OK"), ()),
    ],
)
def test_a_record_is_its_fields_in_the_order_of_the_page(
    text: str, record: BatchRecord, warnings: tuple[str, ...]
) -> None:
    assert parse_answer(batch(text).encode()) == BatchAnswer(code="TG00", records=(record,), warnings=warnings)


def test_a_json_record_is_read_by_the_names_of_its_fields() -> None:
    message = {"statusCode": 0, "recipient": ADA, "messageId": 10**64 - 1, "status": "SENT", "description": "a|b"}
    unusable = {"statusCode": "\u0663", "recipient": ADA, "messageId": 10**64, "status": "SENT", "description": True}
    document = {"responseCode": "tg00", "messages": [message, unusable]}

    assert parse_answer(json.dumps(document).encode()) == BatchAnswer(
        code="TG00",
        records=(
            BatchRecord("0000", ADA, "9" * 64, "SENT", "a b"),
            BatchRecord("\u0663", ADA, None, "SENT", None),
        ),
        warnings=("lower_case", "padded_code"),
    )


@pytest.mark.parametrize(
    "body", ["{}", '{"responseCode": 0}', '{"responseCode": "TG00 "}', '{"responseCode": "XTG00"}']
)
def test_json_without_a_code_is_no_answer(body: str) -> None:
    assert parse_answer(body.encode()) == Unreadable("no_code_at_start")


def test_of_two_records_that_say_the_same_the_first_is_kept() -> None:
    both = batch(line("2222", ADA, "REJECTED", message_id="1"), line("2222", ADA, "REJECTED", message_id="2"))
    [outcome] = read_outcomes(both, ADA)

    assert outcome.upstream is not None
    assert outcome.upstream.message_id == "1"


@pytest.mark.parametrize(
    ("body", "units"),
    [
        ('"1,234.50"', "1234.50"),
        ('" +7 "', "7"),
        ("1" * 40, "1" * 40),
        ("1" * 41, Unreadable("no_decimal")),
        ('"', Unreadable("no_decimal")),
        ('""', Unreadable("no_decimal")),
        ("12,34", Unreadable("no_decimal")),
        ("TG00-5", Unreadable("no_decimal")),
        ("TG11-NO", BatchAnswer(code="TG11")),
    ],
)
def test_a_balance_is_a_decimal_or_a_rejection(body: str, units: object) -> None:
    assert parse_balance(body.encode()) == units


def test_records_are_matched_by_number_and_never_by_position() -> None:
    body = batch(line("2222", "08098765432", "REJECTED"), line("0000", "+2348012345678", "SENT"))
    assert read_codes(body, ADA, BOLA) == [Code.SENT, Code.REJECTED]


def test_a_number_without_a_record_is_unknown_and_a_record_nobody_asked_for_is_a_warning() -> None:
    answer = parse_answer(batch(line("0000", "2348099999999", "SENT")).encode())
    assert isinstance(answer, BatchAnswer)
    outcomes, warnings = match_outcomes(answer.records, (ADA,), NOTHING)
    assert [outcome.code for outcome in outcomes] == [Code.MISSING_IN_ANSWER]
    assert warnings == ("unasked_record",)


RECORD_LINES = {
    Code.DELIVERED: line("1111", ADA, "DELIVERED"),
    Code.SENT: line("0000", ADA, "SENT"),
    Code.SENT_DND: line("0014", ADA, "DND_SENT"),
    Code.CONFLICTING_ANSWER: line("0000", ADA, "REJECTED"),
    Code.UNLISTED_CODE: line("4444", ADA, "QUEUED"),
    Code.UNREADABLE_ANSWER: f"0000|{ADA}",
    Code.REJECTED: line("2222", ADA, "REJECTED"),
    Code.DND_REJECTED: line("3333", ADA, "DND_REJECTED"),
}
RANKS = [
    {Code.DELIVERED},
    {Code.SENT, Code.SENT_DND},
    {Code.CONFLICTING_ANSWER, Code.UNLISTED_CODE, Code.UNREADABLE_ANSWER},
]
RANKS += [{Code.REJECTED}, {Code.DND_REJECTED}]


@given(st.lists(st.sampled_from(list(RECORD_LINES)), min_size=1, max_size=5))
@example([Code.DND_REJECTED, Code.REJECTED])
@example([Code.CONFLICTING_ANSWER, Code.SENT])
@example([Code.REJECTED, Code.UNLISTED_CODE])
def test_of_several_records_for_one_number_sent_wins_then_unclear_then_rejected_and_dnd_only_alone(
    said: list[Code],
) -> None:
    best = next(rank for rank in RANKS if rank & set(said))
    assert read_codes(batch(*(RECORD_LINES[code] for code in said)), ADA)[0] in best


@pytest.mark.parametrize("word", ["\u017fent", "SENT\u200b", "\uff33\uff25\uff2e\uff34", "SEN", "SENT!", "DND_SENT"])
def test_a_word_that_only_looks_like_sent_is_not_sent(word: str) -> None:
    assert read_outcomes(batch(line("0000", ADA, word)), ADA)[0].status is (
        Status.SENT if word.strip("\u200b") == "SENT" else Status.UNKNOWN
    )


@pytest.mark.parametrize("body", ["TG20 0000|2348012345678|1|SENT", "TG20-X:0000|2348012345678|1|SENT|X"])
def test_records_on_a_rejection_are_warned_of_wherever_they_stand(body: str) -> None:
    answer = parse_answer(body.encode())
    assert isinstance(answer, BatchAnswer)
    assert (answer.code, answer.warnings, answer.contradicts_itself) == ("TG20", ("records_on_rejection",), True)


def test_records_on_a_rejection_in_json_are_warned_of() -> None:
    body = b'{"responseCode":"TG20","messages":[{"statusCode":"0000"}]}'
    answer = parse_answer(body)
    assert isinstance(answer, BatchAnswer)
    assert (answer.code, answer.warnings, answer.contradicts_itself) == ("TG20", ("records_on_rejection",), True)


@pytest.mark.parametrize(
    "body", ["TG00\u00e9:0000|2348012345678|1|SENT", "TG000:0000|2348012345678|1|SENT", "xTG00", "TG0"]
)
def test_a_code_that_goes_on_or_stands_elsewhere_is_no_code(body: str) -> None:
    assert parse_answer(body.encode()) == Unreadable("no_code_at_start")


# --- bytes ------------------------------------------------------------------------------------------------------------


def test_invalid_utf_8_in_a_description_spoils_nothing() -> None:
    body = batch(line("0000", ADA, "SENT", "MESSAGE")).encode() + b"\x92S"
    assert read_codes(body, ADA) == [Code.SENT]


def test_a_nul_in_a_description_spoils_nothing_and_is_not_kept() -> None:
    outcome = read_outcomes(batch(line("0000", ADA, "SENT", "TO\0 PROVIDER\x1b[31m\u202e")), ADA)[0]
    assert outcome.code is Code.SENT
    assert outcome.upstream is not None
    assert outcome.upstream.description == "TO PROVIDER [31m"


def test_five_megabytes_are_read_without_complaint() -> None:
    for body in (b"TG00:" + b"," * 5_000_000, b"TG00:" + b"0000|" * 1_000_000, b"TG00:, " + b" " * 5_000_000):
        assert isinstance(parse_answer(body), BatchAnswer)


@pytest.mark.parametrize("name", ["text", "nine fields", "json"])
def test_an_answer_cut_at_any_byte_never_says_sent_for_more_than_the_full_records_before_the_cut(name: str) -> None:
    numbers = tuple(f"23480123456{n:02}" for n in range(4))
    words = [("0000", "SENT"), ("0014", "DND_SENT"), ("1111", "DELIVERED"), ("0000", "SENT")]
    tail = "" if name == "text" else "|MTNNG|NIGERIA\r|999|0000-00-00 00:00:00"
    lines = [line(code, number, word) + tail for number, (code, word) in zip(numbers, words, strict=True)]
    whole = batch(*lines).encode()
    complete_at = [len(batch(*lines[: n + 1]).encode()) - len(f"|X{tail}") for n in range(4)]
    if name == "json":
        messages = [
            {"statusCode": code, "recipient": number, "messageId": "1", "status": word}
            for number, (code, word) in zip(numbers, words, strict=True)
        ]
        whole = json.dumps({"responseCode": "TG00", "messages": messages}).encode()
        complete_at = [len(whole)] * 4
    for cut in range(len(whole) + 1):
        answer = parse_answer(whole[:cut])
        records = answer.records if isinstance(answer, BatchAnswer) else ()
        sent = [outcome.status is Status.SENT for outcome in match_outcomes(records, numbers, NOTHING)[0]]
        assert sent == [cut >= end for end in complete_at], whole[:cut]


RECORD_FIELD = st.one_of(
    st.sampled_from(["0000", "0014", "1111", "2222", "SENT", "DND_SENT", "", ADA, "08012345678", "9" * 25]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
LIKE_AN_ANSWER = st.builds(
    lambda head, records, tail: head + ",".join("|".join(fields) for fields in records) + tail,
    st.sampled_from(["TG00:", "TG00-MESSAGE PROCESSED:", "tg00:", "TG17:", "TG00"]),
    st.lists(st.lists(RECORD_FIELD, max_size=7), max_size=4),
    st.sampled_from(["", ",", "|", "\r\n", "</html>"]),
)


@given(LIKE_AN_ANSWER)
def test_sent_needs_a_full_record_of_that_number_with_code_and_word_in_accord(body: str) -> None:
    answer = parse_answer(body.encode())
    if isinstance(answer, Unreadable):
        return
    outcome = match_outcomes(answer.records, (ADA,), NOTHING)[0][0]
    if outcome.status is Status.SENT:
        assert answer.accepted
        pairs = [(code, known.word) for code, known in RECORDS.items() if known.code is outcome.code]
        assert any(
            (record.code, (record.word or "").upper()) in pairs and record.recipient.lstrip("+").endswith("8012345678")
            for record in answer.records
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["responseCode", "messages", "statusCode", "recipient", "status", "messageId", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.one_of(st.binary(max_size=300), JSON.map(lambda value: json.dumps(value).encode())))
@example(b'{"responseCode":"TG00","messages":[{"messageId":' + b"9" * 5_000 + b"}]}")
@example(b'{"responseCode":"TG00","messages":[{"messageId":"\\ud800"}]}')
@example(b'{"a":' + b"[" * 100_000)
@example(b'{"responseCode":["TG00"],"messages":{}}')
def test_no_body_raises(body: bytes) -> None:
    answer = parse_answer(body)
    parse_balance(body)
    if isinstance(answer, BatchAnswer):
        outcomes, _ = match_outcomes(answer.records, (ADA, BOLA), HIDING)
        msgspec.json.encode(outcomes)


# --- what is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "leak",
    [
        f"SENT FOR {USERNAME.upper()}",
        f"password={PASSWORD}",
        "password=p4ss%20w%26rd",
        "password=p4ss+w%26rd",
        f"text {MESSAGE}",
        "text Your code is 47...",
        "your%20code%20is%204711%2C%20keep%20it",
        f"ALSO {BOLA}",
        "ALSO 0809 876 5432",
        "ALSO +234 (809) 876-5432",
    ],
)
def test_a_description_that_holds_what_the_relay_hides_is_dropped(leak: str) -> None:
    outcome = read_outcomes(batch(line("0000", ADA, "SENT", leak)), ADA, redactor=HIDING)[0]
    assert outcome.code is Code.SENT
    assert outcome.upstream is not None
    assert outcome.upstream.description is None


def test_a_description_may_name_its_own_number() -> None:
    outcome = read_outcomes(batch(line("2222", ADA, "REJECTED", "NO ROUTE TO 08012345678")), ADA, redactor=HIDING)[0]
    assert outcome.upstream is not None
    assert outcome.upstream.description == "NO ROUTE TO 08012345678"


@pytest.mark.parametrize("description", ["MESSAGE SENT TO PROVIDER", "DND_REJECTED_NUMBER"])
def test_a_documented_description_is_kept_whatever_the_account_is_called(description: str) -> None:
    record = RecordRedactor(list_forms("MESSAGE", "DND"), "SENT").keep("0000", "SENT", description, "1", ADA)
    assert record.description == description


@pytest.mark.parametrize("message", ["1", "E", "SENT", "0000", "99"])
def test_a_short_message_does_not_take_code_word_and_id_away(message: str) -> None:
    record = RecordRedactor(list_forms("u", "p"), message).keep(
        "0000", "SENT", "MESSAGE SENT TO PROVIDER", "9967534522", ADA
    )
    assert (record.code, record.status, record.message_id) == ("0000", "SENT", "9967534522")


def test_everything_kept_of_a_record_is_short() -> None:
    record = BatchRecord("0" * 500, ADA, "9" * 5_000, "W" * 5_000, "d " * 5_000)
    upstream = record_outcome(record, ADA, HIDING)[0].upstream
    assert upstream is not None
    assert (upstream.code, upstream.status, upstream.message_id) == ("", None, None)
    assert upstream.description is not None
    assert len(upstream.description) == LONGEST_DESCRIPTION


@given(
    st.sampled_from([USERNAME, PASSWORD, MESSAGE, BOLA]), st.integers(0, 3), st.text(max_size=3), st.text(max_size=3)
)
def test_nothing_hidden_survives_in_any_field(secret: str, field: int, before: str, after: str) -> None:
    code, word, description, message_id = (
        before + secret + after if position == field else text
        for position, text in enumerate(["0000", "SENT", "X", "1"])
    )
    upstream = HIDING.keep(code, word, description, message_id, ADA)
    assert secret not in msgspec.json.encode(upstream).decode()
