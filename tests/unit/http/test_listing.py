"""Lists: filters that must all match, pages that go on where the last one ended, bad parameters refused at once."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.http import listing
from relay.http.parameters import parse_cursor
from relay.http.validation import Wrong
from support.fake_core import NOW_MS
from support.front import ORDERS_KEY, REQUEST, Front

FRONT = Front()


async def filled(count: int) -> Front:
    front = Front()
    for number in range(count):
        await front.send({"Idempotency-Key": f"key-{number}"}, reference=f"order-{number}")
    return front


async def ids(front: Front, query: str) -> tuple[list[str], str | None]:
    reply = await front.request("GET", f"/v1/notifications?{query}")
    assert reply.status == 200, reply.body
    body = reply.json()
    return [item["id"] for item in body["items"]], body["next_cursor"]


async def test_pages_follow_each_other_newest_first_without_gap_or_overlap() -> None:
    front = await filled(7)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page, cursor = await ids(front, f"limit=3&cursor={cursor}" if cursor else "limit=3")
        seen += page

    assert seen == list(reversed(front.core.stored))


async def test_a_page_that_is_just_full_has_no_next_one() -> None:
    front = await filled(3)

    assert (await ids(front, "limit=3"))[1] is None


async def test_a_long_page_is_read_in_parts_without_gap_or_overlap() -> None:
    front = await filled(60)

    page, cursor = await ids(front, "limit=57")

    assert page == list(reversed(front.core.stored))[:57]
    assert await ids(front, f"limit=57&cursor={cursor}") == (list(front.core.stored)[2::-1], None)


async def test_a_page_of_large_notifications_ends_early_and_goes_on_at_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "_RECIPIENTS_A_PAGE", 400)
    front = Front()
    many = [f"234801{number:07}" for number in range(50)]
    for _ in range(12):
        await front.send({"Prefer": "respond-async"}, recipients=many)

    page, cursor = await ids(front, "limit=20&expand=recipients")
    rest, end = await ids(front, f"limit=20&expand=recipients&cursor={cursor}")

    assert len(page) < 12
    assert (page + rest, end) == (list(reversed(front.core.stored)), None)


async def test_an_item_of_a_list_is_the_same_as_looked_up() -> None:
    front = await filled(1)
    [notification_id] = front.core.stored
    page = await front.request("GET", "/v1/notifications")
    expanded = await front.request("GET", "/v1/notifications?expand=recipients")
    one = (await front.request("GET", f"/v1/notifications/{notification_id}")).json()

    assert expanded.json()["items"] == [one]
    del one["recipients"], one["route"]["account"]
    assert page.json()["items"] == [one]


async def test_a_page_with_recipients_has_at_most_twenty() -> None:
    front = await filled(22)

    page, cursor = await ids(front, "expand=recipients")

    assert (len(page), cursor is not None) == (20, True)
    assert len((await ids(front, ""))[0]) == 22
    reply = await front.request("GET", "/v1/notifications?expand=recipients&limit=21")
    assert [(error["field"], error["code"]) for error in reply.json()["errors"]] == [("limit", "out_of_range")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("reference=order-1", 1),
        ("reference=order-9", 0),
        ("idempotency_key=key-2", 1),
        ("recipient=08012345678", 3),
        (f"recipient={quote('+234 801 234 5678')}&reference=order-1", 1),
        ("recipient=08012345679", 0),
        ("status=sent", 3),
        ("status=queued", 0),
        ("created_from=2026-12-01T10:00:00.043Z", 2),
        (f"created_from={quote('2026-12-01T11:00:00.043+01:00')}", 2),
        ("created_to=2026-12-01T10:00:00.043Z", 1),
        ("reference=order-1&status=sent", 1),
        ("reference=order-1&status=rejected", 0),
    ],
)
async def test_every_filter_narrows(query: str, expected: int) -> None:
    assert NOW_MS % 1000 == 42
    front = await filled(3)

    assert len((await ids(front, query))[0]) == expected


async def test_others_notifications_are_not_listed() -> None:
    front = Front()
    await front.request("POST", "/v1/notifications", REQUEST, key=ORDERS_KEY)

    assert (await ids(front, ""))[0] == []


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("limit=0", "limit", "out_of_range"),
        ("limit=201", "limit", "out_of_range"),
        ("limit=ten", "limit", "out_of_range"),
        ("limit=%D9%A1", "limit", "out_of_range"),
        ("limit=", "limit", "out_of_range"),
        ("limit=1&limit=2", "limit", "repeated"),
        ("status=lost", "status", "unlisted_value"),
        ("status=", "status", "unlisted_value"),
        ("created_from=yesterday", "created_from", "malformed"),
        ("created_from=2026-12-01T10:00:00", "created_from", "malformed"),
        ("created_from=2026-12-01T10:00:00+01:00", "created_from", "malformed"),
        ("created_to=1796119200000", "created_to", "malformed"),
        ("reference=", "reference", "malformed"),
        (f"reference={'a' * 65}", "reference", "malformed"),
        ("reference=two%20words", "reference", "malformed"),
        ("idempotency_key=%00", "idempotency_key", "malformed"),
        ("recipient=0803", "recipient", "too_short"),
        ("recipient=canary", "recipient", "bad_character"),
        ("recipient=", "recipient", "empty"),
        ("expand=everything", "expand", "unlisted_value"),
        ("cursor=", "cursor", "malformed"),
        ("cursor=canary", "cursor", "malformed"),
        ("cursor=%F0%9F%98%80", "cursor", "malformed"),
        ("canary=1", "(unknown)", "unknown_parameter"),
        ("Limit=1", "(unknown)", "unknown_parameter"),
        ("limit=%FF", "(query)", "malformed"),
        ("&".join(f"a{i}=1" for i in range(100)), "(query)", "malformed"),
    ],
)
async def test_a_parameter_that_cannot_be_read_is_422(query: str, field: str, code: str) -> None:
    reply = await Front().request("GET", f"/v1/notifications?{query}")

    assert (reply.status, reply.code) == (422, "validation_failed")
    assert [(error["field"], error["code"]) for error in reply.json()["errors"]] == [(field, code)]
    assert b"canary" not in reply.body


async def test_all_wrong_parameters_are_told_at_once() -> None:
    reply = await Front().request("GET", "/v1/notifications?limit=0&status=lost&x=1&y=2")

    assert [error["field"] for error in reply.json()["errors"]] == ["limit", "status", "(unknown)"]


@given(st.text(max_size=80))
def test_no_text_but_a_cursor_is_taken_for_one(text: str) -> None:
    with pytest.raises(Wrong):
        parse_cursor(text)


@given(st.binary(max_size=60))
async def test_any_query_is_answered_with_200_or_422(query: bytes) -> None:
    reply = await FRONT.request("GET", "/v1/notifications?" + query.decode("latin-1"))

    assert reply.status in (200, 422)
