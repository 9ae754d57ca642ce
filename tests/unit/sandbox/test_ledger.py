"""The ledger is bounded, and its numbers go on whatever is dropped or cleared."""

from relay.sandbox.ledger import Ledger
from relay.sandbox.responder import Responder
from support.sandbox import ask, make_responder


def filled(count: int, **config: object) -> Responder:
    """A stand-in that took so many sends."""
    responder = make_responder(**config)
    for index in range(count):
        ask(responder, message=f"message {index + 1}")
    return responder


def numbers(ledger: Ledger) -> list[int]:
    """The numbers of what is kept."""
    return [entry.number for entry in ledger.since()]


def test_the_oldest_entries_go_first_and_the_total_goes_on() -> None:
    ledger = filled(7, ledger_entries=3).ledger

    assert numbers(ledger) == [5, 6, 7]
    assert (ledger.total, len(ledger)) == (7, 3)


def test_large_entries_are_bounded_by_their_size_too() -> None:
    ledger = filled(50, ledger_bytes=20_000).ledger

    assert 0 < len(ledger) < 20
    assert sum(entry.weight for entry in ledger.since()) <= 20_000
    assert ledger.since()[-1].number == ledger.total == 50


def test_a_ledger_of_no_entries_only_counts() -> None:
    ledger = filled(3, ledger_entries=0).ledger

    assert (ledger.total, len(ledger), ledger.since()) == (3, 0, [])


def test_reading_goes_on_after_a_number_up_to_a_limit() -> None:
    ledger = filled(6, ledger_entries=5).ledger

    assert [entry.number for entry in ledger.since(3)] == [4, 5, 6]
    assert [entry.number for entry in ledger.since(0, 2)] == [2, 3]
    assert [entry.number for entry in ledger.last(2)] == [5, 6]
    assert [entry.number for entry in ledger.last(99)] == [2, 3, 4, 5, 6]
    assert ledger.since(6) == ledger.since(99) == []
    assert ledger.since(0, 0) == ledger.since(0, -1) == []


def test_numbers_are_not_used_again_after_a_clear() -> None:
    responder = filled(3)
    responder.ledger.clear()
    ask(responder)

    assert numbers(responder.ledger) == [4]
    assert responder.ledger.total == 4


def test_listeners_are_told_of_every_change_until_they_leave() -> None:
    responder = make_responder()
    heard: list[int] = []

    def listen() -> None:
        heard.append(responder.ledger.total)

    responder.ledger.listeners.add(listen)
    ask(responder)
    responder.ledger.clear()
    responder.ledger.listeners.discard(listen)
    ask(responder)

    assert heard == [1, 1]
