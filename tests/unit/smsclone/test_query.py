"""Targets: the exact bytes, what may stand in a text, and how numbers are split into calls."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.domain.codes import Route
from relay.sending.ports import MessageTooLongEncoded
from relay.smsclone.query import Queries

ADA = "2348012345678"
BOLA = "2348098765432"
QUERIES = Queries("https://sms.example", "kanu", "p&ss w#rd%+")
PATHS = {
    Route.NORMAL: "/api/sms/sendsms",
    Route.DND: "/api/sms/dnd-route",
    Route.DND_FALLBACK: "/api/sms/dnd-fallback",
}


def test_a_send_has_the_documented_path_and_parameters_in_the_documented_order() -> None:
    assert QUERIES.send(Route.NORMAL, "Kanu Ltd", [ADA, BOLA], "a b+c&d=#%\u20a6\r\n") == (
        b"/api/sms/sendsms?username=kanu&password=p%26ss%20w%23rd%25%2B&sender=Kanu%20Ltd"
        b"&recipient=2348012345678,2348098765432&message=a%20b%2Bc%26d%3D%23%25%E2%82%A6%0D%0A"
    )


def test_a_balance_call_has_the_documented_path_and_the_account_only() -> None:
    assert QUERIES.balance() == b"/api/sms/balance?username=kanu&password=p%26ss%20w%23rd%25%2B"


@pytest.mark.parametrize("route", list(Route))
def test_every_route_has_its_path(route: Route) -> None:
    assert urlsplit(QUERIES.send(route, "Kanu", [ADA], "x").decode()).path == PATHS[route]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/v2", b"/v2"), ("/v2/", b"/v2"), ("/sms/X", b"/sms/X"), ("/v%31", b"/v%31"), ("/a\u20a6", b"/a%E2%82%A6")],
)
def test_the_base_urls_path_stands_before_the_documented_one(path: str, expected: bytes) -> None:
    target = Queries(f"https://sms.example{path}", "u", "p").balance()

    assert target == expected + b"/api/sms/balance?username=u&password=p"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(username=TEXT, password=TEXT, sender=TEXT, message=TEXT)
@example("a,b", "&message=x", "=?#", "Hi & bye #1 100% + \r\n\0, 2348099999999&recipient=1\U0001f600")
def test_whatever_stands_in_a_value_a_server_reads_exactly_that_value(
    username: str, password: str, sender: str, message: str
) -> None:
    target = Queries("https://sms.example", username, password).send(Route.DND, sender, [ADA, BOLA], message)
    read = parse_qsl(urlsplit(target.decode("ascii")).query, keep_blank_values=True, strict_parsing=True)
    assert read == [
        ("username", username),
        ("password", password),
        ("sender", sender),
        ("recipient", f"{ADA},{BOLA}"),
        ("message", message),
    ]


@given(TEXT)
def test_a_target_holds_no_byte_that_could_end_the_request_line(text: str) -> None:
    target = Queries("https://sms.example", text, text).send(Route.NORMAL, text, [ADA], text)
    assert all(0x21 <= byte <= 0x7E for byte in target)


def test_the_path_of_the_base_url_is_escaped_too() -> None:
    target = Queries("https://sms.example/\u20a6 x", "u", "p").balance()
    assert target == b"/%E2%82%A6%20x/api/sms/balance?username=u&password=p"


def test_what_must_not_come_back_is_user_name_and_password_as_they_are_and_as_they_are_written() -> None:
    queries = Queries("https://sms.example", "kanu", "p&ss w#rd%+")

    assert {"kanu", "p&ss w#rd%+", "p%26ss%20w%23rd%25%2b"} <= queries.credentials


def test_the_queries_print_neither_user_name_nor_password() -> None:
    assert "kanu" not in f"{QUERIES!r} {QUERIES}"


# --- splitting --------------------------------------------------------------------------------------------------------


@given(
    numbers=st.lists(st.integers(0, 10**9 - 1).map(lambda n: f"2348{n:09}"), max_size=80, unique=True)
    | st.lists(st.text("0123456789", min_size=8, max_size=13), max_size=80),
    message=TEXT,
    most=st.integers(1, 100),
    spare_bytes=st.integers(13, 400) | st.integers(401, 3_000),
)
def test_every_position_is_in_one_chunk_in_order_and_no_target_is_too_long(
    numbers: list[str], message: str, most: int, spare_bytes: int
) -> None:
    limit = len(QUERIES.send(Route.NORMAL, "Kanu", [], message)) + spare_bytes
    chunks = QUERIES.chunk(Route.NORMAL, "Kanu", numbers, message, most=most, most_bytes=limit)
    assert [position for chunk in chunks for position in chunk] == list(range(len(numbers)))
    sizes = [len(QUERIES.send(Route.NORMAL, "Kanu", [numbers[i] for i in chunk], message)) for chunk in chunks]
    assert all(size <= limit for size in sizes)
    assert all(1 <= len(chunk) <= most for chunk in chunks)


@given(
    numbers=st.lists(st.just(ADA), min_size=1, max_size=60)
    | st.lists(st.sampled_from([ADA, "23480123", "234801234567"]), min_size=1, max_size=60),
    most=st.integers(1, 100),
    spare_bytes=st.integers(13, 200),
)
@example(numbers=[ADA, "23480123"], most=100, spare_bytes=13)
@example(numbers=[ADA, "23480123", ADA], most=2, spare_bytes=200)
def test_a_chunk_ends_only_where_one_number_more_would_be_too_many_or_too_long(
    numbers: list[str], most: int, spare_bytes: int
) -> None:
    limit = len(QUERIES.send(Route.DND, "Kanu", [], "Hi")) + spare_bytes
    chunks = QUERIES.chunk(Route.DND, "Kanu", numbers, "Hi", most=most, most_bytes=limit)
    for chunk in chunks[:-1]:
        one_more = [numbers[position] for position in (*chunk, chunk[-1] + 1)]
        assert len(one_more) > most or len(QUERIES.send(Route.DND, "Kanu", one_more, "Hi")) > limit


def test_numbers_of_two_lengths_fill_a_call_to_the_byte() -> None:
    short = "23480123"
    limit = len(QUERIES.send(Route.DND, "Kanu", [ADA, short], "Hi"))
    chunks = QUERIES.chunk(Route.DND, "Kanu", [ADA, ADA, short, short, short, ADA], "Hi", most=100, most_bytes=limit)
    assert chunks == [(0,), (1, 2), (3, 4), (5,)]


def test_a_hundred_numbers_are_one_call_and_one_more_makes_two() -> None:
    numbers = [f"2348{n:09}" for n in range(101)]
    chunks = QUERIES.chunk(Route.NORMAL, "Kanu", numbers, "Hi", most=100, most_bytes=6000)
    assert [len(chunk) for chunk in chunks] == [100, 1]


def test_a_text_that_leaves_no_room_for_one_recipient_is_refused() -> None:
    fits = 6000 - len(QUERIES.send(Route.NORMAL, "Kanu", [ADA], ""))
    assert QUERIES.chunk(Route.NORMAL, "Kanu", [ADA], "x" * fits, most=100, most_bytes=6000) == [(0,)]
    with pytest.raises(MessageTooLongEncoded):
        QUERIES.chunk(Route.NORMAL, "Kanu", [ADA], "x" * (fits + 1), most=100, most_bytes=6000)


@pytest.mark.parametrize("message", ["Hi", "x" * 3_000, "\U0001f600" * 400])
@pytest.mark.parametrize("numbers", [[ADA], [ADA, ADA], [ADA, "234803123456", "23480312345678"]])
def test_what_fits_to_the_byte_is_one_call_and_with_one_byte_less_it_is_not(message: str, numbers: list[str]) -> None:
    exact = len(QUERIES.send(Route.NORMAL, "Kanu", numbers, message))
    whole = [tuple(range(len(numbers)))]

    assert QUERIES.chunk(Route.NORMAL, "Kanu", numbers, message, most=100, most_bytes=exact) == whole
    try:
        less = QUERIES.chunk(Route.NORMAL, "Kanu", numbers, message, most=100, most_bytes=exact - 1)
    except MessageTooLongEncoded:
        assert len(numbers) == 1
    else:
        assert len(less) == 2


def test_no_numbers_make_no_calls() -> None:
    assert QUERIES.chunk(Route.NORMAL, "Kanu", [], "Hi", most=100, most_bytes=6000) == []
