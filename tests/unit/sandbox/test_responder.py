"""What the stand-in answers, told from its documented table: without a socket, but through whole requests."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.domain.secret import Secret
from relay.sandbox.switches import SandboxSwitches
from support.sandbox import BALANCE, DND, FALLBACK, NORMAL, ask, make_responder

SAMPLE = (
    "TG00-MESSAGE PROCESSED:0000|2348012345678|9967534522177818556581618|SENT|MESSAGE SENT TO PROVIDER,"
    "3333|234803456789|6667534522177818556581618|DND_REJECTED|DND_REJECTED_NUMBER"
)


def records(body: str) -> list[tuple[str, str]]:
    """The codes and numbers of an accepted answer's records."""
    head, _, rest = body.partition(":")
    assert head == "TG00-MESSAGE PROCESSED"
    pairs = [record.split("|")[:2] for record in rest.split(",") if record]
    return [(code, number) for code, number in pairs]


def test_the_documented_sample_is_answered_to_the_letter() -> None:
    assert ask(make_responder(), recipient="2348012345678,234803456789") == SAMPLE


@pytest.mark.parametrize(
    ("number", "on_normal", "on_dnd", "on_fallback"),
    [
        ("2348010000001", ["0000"], ["0000"], ["0000"]),
        ("2348010000002", ["3333"], ["0014"], ["0014"]),
        ("2348010000003", ["3333"], ["3333"], ["3333"]),
        ("2348010000004", ["2222"], ["2222"], ["2222"]),
        ("2348010000005", [], [], []),
        ("2348010000006", ["4444"], ["4444"], ["4444"]),
        ("2348010000008", ["1111"], ["1111"], ["1111"]),
        ("2348010000010", ["3333", "0014"], ["3333", "0014"], ["3333", "0014"]),
        ("2348039999999", ["0000"], ["0000"], ["0000"]),
    ],
)
def test_a_magic_number_has_its_outcome_on_each_route(
    number: str, on_normal: list[str], on_dnd: list[str], on_fallback: list[str]
) -> None:
    for path, codes in ((NORMAL, on_normal), (DND, on_dnd), (FALLBACK, on_fallback)):
        assert records(ask(make_responder(), path, recipient=number)) == [(code, number) for code in codes]


def test_a_magic_number_is_known_in_every_form_a_caller_may_write_it_in() -> None:
    for written in ("08010000004", "+2348010000004", " 2348010000004"):
        assert records(ask(make_responder(), recipient=written)) == [("2222", "2348010000004")]


def test_one_magic_number_contradicts_itself_and_one_is_echoed_in_its_local_form() -> None:
    assert "0000|2348010000007|" in ask(make_responder(), recipient="2348010000007")
    assert "|DND_REJECTED|" in ask(make_responder(), recipient="2348010000007")
    assert records(ask(make_responder(), recipient="2348010000009")) == [("0000", "08010000009")]


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        ("2348010000011", "hang"),
        ("2348010000012", "reset"),
        ("2348010000013", "slow"),
        ("2348010000014", "html"),
        ("2348010000015", "close"),
        ("2348010000016", "cut"),
    ],
)
def test_a_magic_number_that_fails_fails_the_whole_call_after_it_was_taken(number: str, fault: str) -> None:
    responder = make_responder()

    ask(responder, recipient=f"2348010000001,{number}")

    [entry] = responder.ledger.since()
    assert entry.fault == fault
    assert number in entry.fault_rule
    assert [delivery.outcome for delivery in entry.deliveries] == ["sent", "sent"]


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"password": "wrong"}, "TG11-Invalid Authentication Credentials"),
        ({"username": "wrong"}, "TG11-Invalid Authentication Credentials"),
        ({"username": ""}, "TG12-Empty Username"),
        ({"password": ""}, "TG13-Empty Password"),
        ({"recipient": ""}, "TG14-Empty Recipients"),
        ({"recipient": " , ,"}, "TG14-Empty Recipients"),
        ({"message": " "}, "TG15-Empty Message"),
        ({"sender": ""}, "TG16-Empty SenderID"),
        ({"sender": "Blocked"}, "TG18-Blocked Words Found Sender ID"),
        ({"message": "this is Sandbox-Blocked."}, "TG19-Blocked Words Found in Message Body"),
    ],
)
def test_each_rejection_of_the_page_can_be_had(change: dict[str, str], answer: str) -> None:
    responder = make_responder()

    assert ask(responder, **change) == answer

    [entry] = responder.ledger.since()
    assert entry.result == answer[:4]
    assert entry.deliveries == ()
    assert responder.units == Decimal("10000.00")


def test_a_batch_above_the_limit_is_rejected_whole_and_repeats_do_not_count() -> None:
    responder = make_responder(switches=SandboxSwitches(recipient_limit=2))

    assert ask(responder, recipient="2348010000001,08010000001,2348010000004").startswith("TG00")
    assert (
        ask(responder, recipient="2348010000001,2348010000004,2348010000008")
        == "TG20-Recipients above the maximum target"
    )


def test_units_go_down_by_segment_and_recipient_until_there_are_too_few() -> None:
    responder = make_responder(units=Decimal("5.50"))

    assert ask(responder, recipient="2348010000001,2348010000004", message="A" * 161).startswith("TG00")
    assert ask(responder, BALANCE) == "1.50"
    assert ask(responder, recipient="2348010000001,2348010000004") == "TG17-Not Enough Units Balance"
    assert ask(responder).startswith("TG00")
    assert responder.units == Decimal("0.50")


def test_without_a_number_of_units_they_never_run_out() -> None:
    responder = make_responder(units=None)

    for _ in range(3):
        assert ask(responder).startswith("TG00")

    assert ask(responder, BALANCE) == "10000.00"


def test_other_paths_and_methods_get_a_page_and_are_in_the_ledger() -> None:
    responder = make_responder()

    assert responder.answer("/api/sms/nothing", b"").status == 404
    assert responder.answer(FALLBACK, b"username=demo", method="POST").status == 405

    assert [(entry.method, entry.route, entry.result) for entry in responder.ledger.since()] == [
        ("GET", "unknown", "404"),
        ("POST", "dnd-fallback", "405"),
    ]


def test_the_ledger_tells_what_came_what_was_answered_and_why() -> None:
    responder = make_responder()

    body = ask(responder, NORMAL, recipient="08010000002,2348039999999", message="Owó ọjà: ₦500")

    [entry] = responder.ledger.since()
    assert (entry.number, entry.route, entry.sender, entry.message) == (1, "normal", "ACME", "Owó ọjà: ₦500")
    assert entry.recipients == ("08010000002", "2348039999999")
    assert (entry.encoding, entry.segments, entry.units) == ("ucs-2", 1, "2")
    assert (entry.status, entry.answer) == (200, body)
    assert [(d.recipient, d.code, d.outcome, d.rule) for d in entry.deliveries] == [
        ("2348010000002", "3333", "dnd_rejected", "magic number: on DND: reached by the DND routes only"),
        ("2348039999999", "0000", "sent", "sent by default"),
    ]


def test_the_ledger_never_holds_the_password_not_even_half_of_one_that_was_not_encoded() -> None:
    responder = make_responder(password=Secret("canary-7Q&canary-8R"))

    responder.answer(FALLBACK, b"username=demo&password=canary-7Q&canary-8R&sender=ACME&recipient=1&message=m")
    ask(responder, password="canary-7Q&canary-8R")

    assert "canary" not in repr(responder.ledger.since())
    assert [entry.result for entry in responder.ledger.since()] == ["TG11", "processed"]


def test_a_repeated_parameter_shows_in_the_ledger_and_its_last_value_counts() -> None:
    responder = make_responder()

    responder.answer(FALLBACK, b"username=demo&password=no&sender=A&recipient=2348010000001&message=m&password=demo")

    [entry] = responder.ledger.since()
    assert entry.result == "processed"
    assert entry.parameters.count("password") == 2


@settings(max_examples=150, deadline=None)
@given(path=st.sampled_from([NORMAL, DND, FALLBACK, BALANCE, "/api/", "/api/sms/x"]), query=st.binary(max_size=200))
def test_whatever_bytes_arrive_are_answered_and_entered_once(path: str, query: bytes) -> None:
    responder = make_responder()

    reply = responder.answer(path, query)

    assert reply.status in (200, 404)
    assert responder.ledger.total == len(responder.ledger) == 1


@settings(max_examples=100, deadline=None)
@given(message=st.text(min_size=1, max_size=60), sender=st.text(min_size=1, max_size=11))
def test_text_and_sender_arrive_as_they_were_encoded(message: str, sender: str) -> None:
    responder = make_responder()

    ask(responder, message=message, sender=sender)

    [entry] = responder.ledger.since()
    assert (entry.message, entry.sender) == (message, sender)


def test_in_process_every_fault_comes_down_to_what_could_be_read() -> None:
    def asked(number: str) -> tuple[int, bytes]:
        query = f"username=demo&password=demo&sender=ACME&recipient={number}&message=Hi"
        return make_responder().answer_in_process(f"{FALLBACK}?{query}".encode())

    for number in ("2348010000011", "2348010000012", "2348010000015", "2348010000016"):
        assert asked(number) == (200, b"")
    assert asked("2348010000013")[1].startswith(b"TG00-MESSAGE PROCESSED:0000|")
    assert asked("2348010000014")[1].startswith(b"<!DOCTYPE html>")
    assert asked("2348010000001")[1].startswith(b"TG00-MESSAGE PROCESSED:0000|")


def test_message_ids_are_25_digits_and_distinct() -> None:
    body = ask(make_responder(), recipient="2348010000001,2348010000004")

    ids = [record.split("|")[2] for record in body.partition(":")[2].split(",")]
    assert len(set(ids)) == 2
    assert all(len(message_id) == 25 and message_id.isdigit() for message_id in ids)
