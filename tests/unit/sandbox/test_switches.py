"""Each doubtful behaviour has a switch, and a switch holds for as long as it was set."""

import json
from typing import Any

import msgspec
import pytest

from relay.sandbox.switches import Fault, SandboxSwitches, SwitchBoard, parse_switches
from support.sandbox import BALANCE, DND, FALLBACK, NORMAL, ask, make_responder

PAIR = "2348010000001,2348010000004"


def asked_with(change: dict[str, Any], path: str = FALLBACK, **parameters: str) -> str:
    """Set switches, then send once."""
    responder = make_responder()
    responder.switches.set(change)
    return ask(responder, path, **parameters)


def test_a_record_has_nine_fields_on_demand_with_a_carriage_return_and_colons_in_them() -> None:
    body = asked_with({"fields": 9})

    record = body.partition(":")[2].split("|")
    assert len(record) == 9
    assert record[5:] == ["MTNNG", "NIGERIA\r", "999", "0000-00-00 00:00:00"]


def test_the_answer_is_json_on_demand() -> None:
    accepted = json.loads(asked_with({"format": "json"}))
    rejected = json.loads(asked_with({"format": "json"}, password="wrong"))

    assert accepted["responseCode"] == "TG00"
    assert accepted["messages"][0]["statusCode"] == "0000"
    assert accepted["messages"][0]["recipient"] == "2348010000001"
    assert rejected == {"responseCode": "TG11", "response": "Invalid Authentication Credentials"}


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("described", "TG12-Empty Username"),
        ("bare", "TG12"),
        ("colon", "TG12:Empty Username"),
        ("arrow", "TG12=>Empty Username"),
    ],
)
def test_a_rejection_reads_as_switched(form: str, body: str) -> None:
    assert asked_with({"rejection": form}, username="") == body


def test_a_rejection_has_the_http_status_that_was_switched_on_and_an_acceptance_has_200() -> None:
    responder = make_responder()
    responder.switches.set({"rejection_status": 402})

    assert ask(responder, password="wrong").startswith("TG11")
    assert ask(responder).startswith("TG00")
    assert [entry.status for entry in responder.ledger.since()] == [402, 200]


@pytest.mark.parametrize(
    ("form", "number"), [("234", "2348010000001"), ("080", "08010000001"), ("+234", "+2348010000001")]
)
def test_numbers_come_back_in_the_form_that_was_switched_on(form: str, number: str) -> None:
    assert f"|{number}|" in asked_with({"echo": form})


def test_records_come_in_another_order_on_demand() -> None:
    numbers = [f"23480390000{index:02d}" for index in range(8)]

    def order(kind: str) -> list[str]:
        body = asked_with({"order": kind}, recipient=",".join(numbers))
        return [record.split("|")[1] for record in body.partition(":")[2].split(",")]

    assert order("asked") == numbers
    assert order("reversed") == numbers[::-1]
    assert sorted(order("shuffled")) == numbers != order("shuffled")
    assert order("shuffled") == order("shuffled")


def test_invalid_numbers_are_processed_rejected_or_dropped() -> None:
    parameters = {"recipient": "2348010000001,23480"}

    assert "0000|23480|" in asked_with({}, **parameters)
    assert "2222|23480|" in asked_with({"invalid_numbers": "rejected"}, **parameters)
    assert "23480|" not in asked_with({"invalid_numbers": "dropped"}, **parameters)


def test_repeated_numbers_are_merged_or_repeated() -> None:
    parameters = {"recipient": "2348010000001,08010000001"}

    assert asked_with({}, **parameters).count("|2348010000001|") == 1
    assert asked_with({"duplicates": "repeated"}, **parameters).count("|2348010000001|") == 2


def test_with_dnd_on_everybody_is_reached_by_the_dnd_routes_only() -> None:
    assert ":3333|" in asked_with({"dnd": True}, NORMAL)
    assert ":0014|" in asked_with({"dnd": True}, FALLBACK)
    assert ":0014|" in asked_with({"dnd": True}, DND)
    assert ":2222|" in asked_with({"dnd": True}, recipient="2348010000004")


def test_the_dnd_route_may_say_0014_of_everybody() -> None:
    assert ":0014|" in asked_with({"dnd_route": "0014"}, DND)
    assert ":0000|" in asked_with({"dnd_route": "0014"}, FALLBACK)


def test_with_no_balance_sends_are_rejected_and_the_balance_is_nought() -> None:
    assert asked_with({"no_balance": True}).startswith("TG17")
    assert asked_with({"no_balance": True, "on": "balance"}, BALANCE) == "0.00"


@pytest.mark.parametrize("code", ["TG11", "TG20", "TG21", "TG99"])
def test_any_code_can_be_forced_listed_or_not(code: str) -> None:
    assert asked_with({"tg": code, "rejection": "bare"}) == code


@pytest.mark.parametrize(
    ("form", "start", "end"),
    [
        ("bom", b"\xef\xbb\xbfTG00", b"PROVIDER"),
        ("padded", b"  \r\nTG00", b"PROVIDER\r\n"),
        ("new_lines", b"TG00-MESSAGE PROCESSED:\n0000", b"PROVIDER"),
        ("lower_case", b"tg00-message processed:", b"PROVIDER"),
        ("trailing_comma", b"TG00", b"PROVIDER,"),
        ("junk_after", b"TG00", b"</script>"),
        ("bad_utf8", b"TG00", b"MESSAGE\x92S SENT TO PROVIDER"),
        ("nul", b"TG00", b"MESSAGE\x00SENT TO PROVIDER"),
        ("empty", b"", b""),
    ],
)
def test_the_body_has_the_noise_that_was_switched_on(form: str, start: bytes, end: bytes) -> None:
    responder = make_responder()
    responder.switches.set({"text": form})

    body = responder.answer(FALLBACK, b"username=demo&password=demo&sender=A&recipient=2348039999999&message=m").body

    assert body.startswith(start)
    assert body.endswith(end)
    assert bool(body) == (form != "empty")


def test_a_switch_holds_for_the_next_calls_and_counts_only_calls_it_is_for() -> None:
    responder = make_responder()
    responder.switches.set({"tg": "TG17", "calls": 2})

    answers = [ask(responder, path)[:4] for path in (FALLBACK, BALANCE, FALLBACK, FALLBACK)]

    assert answers == ["TG17", "1000", "TG17", "TG00"]


def test_a_switch_may_hold_on_balance_calls_only_or_on_all() -> None:
    responder = make_responder()
    responder.switches.set({"tg": "TG11", "on": "balance"})
    assert [ask(responder, path)[:4] for path in (FALLBACK, BALANCE)] == ["TG00", "TG11"]

    responder.switches.set({"tg": "TG11", "on": "all"})
    assert [ask(responder, path)[:4] for path in (FALLBACK, BALANCE)] == ["TG11", "TG11"]


def test_a_switch_without_a_count_holds_until_it_is_cleared() -> None:
    responder = make_responder()
    responder.switches.set({"tg": "TG17"})
    assert {ask(responder)[:4] for _ in range(5)} == {"TG17"}

    responder.switches.clear()
    assert ask(responder).startswith("TG00")


def test_switches_set_at_different_times_run_out_at_different_times() -> None:
    responder = make_responder()
    responder.switches.set({"fields": 9, "calls": 1})
    responder.switches.set({"echo": "080", "calls": 2})

    seen = [(body.count("|") + 1, "|08010000001|" in body) for body in (ask(responder) for _ in range(3))]

    assert seen == [(9, True), (5, True), (5, False)]


def test_setting_what_holds_at_the_start_takes_a_switch_back() -> None:
    board = SwitchBoard(SandboxSwitches(dnd=True))
    board.set({"dnd": False, "fault": "hang"})
    assert set(board.describe()["set"]) == {"dnd", "fault"}  # type: ignore[call-overload]

    board.set({"dnd": True, "fault": None})

    assert board.describe()["set"] == {}
    assert board.next_call("sends") == SandboxSwitches(dnd=True)


def test_a_fault_is_given_by_its_kind_or_with_its_measures() -> None:
    board = SwitchBoard(SandboxSwitches())

    board.set({"fault": "hang"})
    assert board.next_call("sends").fault == Fault("hang")

    board.set({"fault": {"kind": "slow", "seconds": 0.5}})
    assert board.next_call("sends").fault == Fault("slow", 0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"fields": 7},
        {"no_such_switch": True},
        {"fault": "explode"},
        {"fault": {"kind": "slow", "seconds": -1}},
        {"fault": {"kind": "redirect", "location": "http://a/\r\nSet-Cookie: b"}},
        {"tg": "TG1"},
        {"tg": "TG17\n"},
        {"rejection_status": 99},
        {"recipient_limit": 0},
        {"dnd": True, "calls": 0},
        {"dnd": True, "on": "nothing"},
        {"dnd": True, "fields": "5"},
    ],
)
def test_a_wrong_change_is_refused_whole(change: dict[str, object]) -> None:
    board = SwitchBoard(SandboxSwitches())

    with pytest.raises(msgspec.ValidationError):
        board.set(change)

    assert board.describe()["set"] == {}


def test_a_command_line_gives_switches_as_pairs() -> None:
    pairs = ["fields=9", "echo=234", "rejection_status=402", "tg=TG17", 'fault={"kind": "slow", "seconds": 0.5}']

    assert parse_switches(pairs) == SandboxSwitches(
        fields=9, echo="234", rejection_status=402, tg="TG17", fault=Fault("slow", 0.5)
    )
    assert parse_switches([]) == SandboxSwitches()


@pytest.mark.parametrize("pair", ["fields=7", "nothing=1", "dnd", "dnd=perhaps", "fault=explode", "fault={", ""])
def test_a_wrong_pair_is_refused(pair: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 — the text is msgspec's
        parse_switches([pair])
