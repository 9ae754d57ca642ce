"""The two tables against the relay's own words, and against what domain.md says of them."""

import pytest

from relay.domain.codes import STATUS_OF, Code, Rejection, Status
from relay.domain.message_list import ListedMessage, read_message_list
from relay.smsclone.upstream_answers import rejection_of
from relay.smsclone.upstream_codes import (
    ACCEPTED,
    DOCUMENTED_DESCRIPTIONS,
    RECORDS,
    REJECTIONS,
    UNKNOWN_RANK,
    RecordCode,
)


def test_the_documented_rejections_are_tg11_to_tg20_and_success_is_none_of_them() -> None:
    assert list(REJECTIONS) == [f"TG{number}" for number in range(11, 21)]
    assert ACCEPTED not in REJECTIONS


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (("TG11", "TG12", "TG13"), Rejection.CREDENTIALS),
        (("TG14", "TG15", "TG16"), Rejection.CONTRACT),
        (("TG17",), Rejection.NO_BALANCE),
        (("TG18",), Rejection.BLOCKED_SENDER),
        (("TG19",), Rejection.BLOCKED_WORDS),
        (("TG20",), Rejection.TOO_MANY_RECIPIENTS),
        (("TG01", "TG10", "TG21", "TG99"), Rejection.CONTRACT),
    ],
)
def test_each_rejection_means_one_thing_and_an_unlisted_one_counts_as_broken_contract(
    codes: tuple[str, ...], kind: Rejection
) -> None:
    assert {rejection_of(code).rejection for code in codes} == {kind}


def test_every_kind_of_rejection_has_a_code() -> None:
    assert {known.rejection for known in REJECTIONS.values()} == set(Rejection)


def test_a_record_code_means_either_sent_or_rejected_and_nothing_else() -> None:
    unclear = [code for code, known in RECORDS.items() if STATUS_OF[known.code] not in (Status.SENT, Status.REJECTED)]
    assert unclear == [], "take the row out: a code without one is unlisted_code, so unknown"
    assert {STATUS_OF[known.code] for known in RECORDS.values()} == {Status.SENT, Status.REJECTED}


def test_sent_ranks_above_unclear_and_unclear_above_every_rejection() -> None:
    for known in RECORDS.values():
        assert (known.rank > UNKNOWN_RANK) == (STATUS_OF[known.code] is Status.SENT)
    assert min(RECORDS.values(), key=lambda known: known.rank).code is Code.DND_REJECTED


def test_no_documented_word_is_the_beginning_of_another_or_stands_for_two_codes() -> None:
    words = [known.word for known in RECORDS.values()]
    assert len(set(words)) == len(words)
    assert not [(a, b) for a in words for b in words if a != b and b.startswith(a)]


def test_documented_descriptions_hold_no_digit_that_could_be_a_number() -> None:
    assert not any(character.isdigit() for text in DOCUMENTED_DESCRIPTIONS for character in text)


@pytest.mark.parametrize(("code", "known"), RECORDS.items())
def test_code_and_word_of_a_record_mean_the_same_in_the_list_that_a_customer_downloads(
    code: str, known: RecordCode
) -> None:
    sent = STATUS_OF[known.code] is Status.SENT
    for status in (code, known.word):
        [row] = read_message_list(f"number,date,status\n0803,2026-11-29 14:05,{status}\n")
        assert isinstance(row, ListedMessage)
        assert row.sent is sent, f"add {status} to relay/domain/message_list.py"
