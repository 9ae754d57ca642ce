"""The operator's acts go through the server, in the name of the client whose key was used."""

from typing import Any

import pytest

from relay.domain.codes import Code
from relay.domain.notification import Outcome
from support.front import Front

NOBODYS_ID = "0192f3c4-0000-7000-8000-000000000000"


async def with_unknown(count: int = 1) -> tuple[Front, list[str]]:
    front = Front()
    front.core.outcome = lambda _: Outcome(code=Code.NO_ANSWER)
    return front, [(await front.send()).json()["id"] for _ in range(count)]


async def test_a_pause_says_what_is_stopped_why_and_until_when() -> None:
    front = Front()
    reply = await front.request("POST", "/v1/operator/pause", {"reason": "it hangs", "client": "billing", "for": "15m"})

    [pause] = reply.json()["pauses"]
    assert (reply.status, pause["reason"], pause["client"], pause["by"]) == (200, "it hangs", "billing", "billing")
    assert front.core.acts == [("pause", "billing")]


@pytest.mark.parametrize("body", [None, {}])
async def test_resume_needs_no_body(body: dict[str, str] | None) -> None:
    front = Front()
    reply = await front.request("POST", "/v1/operator/resume", body)

    assert (reply.status, reply.json()) == (200, {"paused": False, "pauses": []})


@pytest.mark.parametrize("wrong", ["15", "0s", "25h", "1d", "-1h", "", "15 m", "\u0665m", 15])
async def test_a_pause_lasts_a_number_with_its_unit_and_a_day_at_most(wrong: object) -> None:
    reply = await Front().request("POST", "/v1/operator/pause", {"reason": "it hangs", "for": wrong})

    assert (reply.status, [error["field"] for error in reply.json()["errors"]]) == (422, ["for"])


async def test_a_pause_without_a_reason_is_refused() -> None:
    reply = await Front().request("POST", "/v1/operator/pause", {})

    assert (reply.status, [error["field"] for error in reply.json()["errors"]]) == (422, ["reason"])


async def test_unknown_outcomes_are_listed_with_whose_they_are_page_by_page() -> None:
    front, made = await with_unknown(3)
    first = (await front.request("GET", "/v1/operator/unknown?limit=2")).json()
    second = (await front.request("GET", f"/v1/operator/unknown?limit=2&cursor={first['next_cursor']}")).json()

    assert [item["id"] for item in first["items"] + second["items"]] == made[::-1]
    assert second["next_cursor"] is None
    assert first["items"][0]["client"] == "billing"
    assert first["items"][0]["recipients"][0]["status"] == "unknown"


async def test_a_bad_parameter_of_the_list_is_422() -> None:
    assert (await Front().request("GET", "/v1/operator/unknown?limit=0")).status == 422


@pytest.mark.parametrize(("outcome", "status"), [("sent", "sent"), ("not_sent", "not_sent")])
async def test_a_verdict_makes_unknown_recipients_definite_and_says_by_whom(outcome: str, status: str) -> None:
    front, [notification_id] = await with_unknown()
    reply = await front.request(
        "POST", f"/v1/operator/unknown/{notification_id}/resolve", {"outcome": outcome, "reason": "seen"}
    )
    [entry] = reply.json()["recipients"]

    assert reply.status == 200
    assert (entry["status"], entry["resolved_by"]) == (status, "operator")
    assert front.core.acts == [("resolve", notification_id, outcome, "billing")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "seen"}, "outcome"),
        ({"outcome": "sent"}, "reason"),
        ({"outcome": "lost", "reason": "seen"}, "outcome"),
        ({"outcome": "sent", "reason": "seen", "recipients": "08012345678"}, "recipients"),
        ({"outcome": "sent", "reason": "seen", "recipients": [1]}, "recipients[0]"),
        ({"outcome": "sent", "reason": "seen", "canary": 1}, "(unknown)"),
        ([], "(body)"),
    ],
)
async def test_a_malformed_verdict_is_422(body: Any, field: str) -> None:
    front, [notification_id] = await with_unknown()
    reply = await front.request("POST", f"/v1/operator/unknown/{notification_id}/resolve", body)

    assert (reply.status, reply.code) == (422, "validation_failed")
    assert [error["field"] for error in reply.json()["errors"]] == [field]
    assert front.core.acts == []


async def test_what_is_not_unknown_cannot_be_settled() -> None:
    reply = await Front().request(
        "POST", f"/v1/operator/unknown/{NOBODYS_ID}/resolve", {"outcome": "sent", "reason": "seen"}
    )

    assert (reply.status, reply.code) == (404, "not_found")


async def test_a_resend_is_a_notification_of_its_own() -> None:
    front, [notification_id] = await with_unknown()
    text = "Your order 1204 is on its way."
    reply = await front.request("POST", f"/v1/operator/unknown/{notification_id}/resend", {"message": text})

    assert reply.status == 202
    assert reply.json()["id"] != notification_id
    assert reply.headers["location"] == f"/v1/notifications/{reply.json()['id']}"
    assert front.core.acts == [("resend", notification_id, "billing")]


async def test_a_resend_of_another_text_is_422() -> None:
    front, [notification_id] = await with_unknown()
    reply = await front.request("POST", f"/v1/operator/unknown/{notification_id}/resend", {"message": "Another"})

    assert [error["field"] for error in reply.json()["errors"]] == ["message"]


async def test_erasing_says_from_how_many() -> None:
    front = Front()
    await front.send()
    reply = await front.request("POST", "/v1/operator/erase", {"recipient": "+234 801 234 5678"})

    receipt = reply.json()
    assert (reply.status, receipt["notifications"], receipt["recipient"]) == (200, 1, "23480•••••78")


async def test_erasing_what_is_no_number_is_422_by_the_fields_own_name() -> None:
    reply = await Front().request("POST", "/v1/operator/erase", {"recipient": "12"})

    assert [error["field"] for error in reply.json()["errors"]] == ["recipient"]


async def test_balance_is_units_as_text_and_when_they_were_read() -> None:
    reply = await Front().request("GET", "/v1/balance")

    read = {"units": "256.21", "read_at": "2026-12-01T10:00:00.042Z"}
    assert reply.json() == read | {"accounts": [{"account": "smsclone"} | read]}
