"""``/v1/suppressions``: numbers that are not to be written to, entered, listed, lifted, never shown."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from relay.app.routes import openapi_document
from relay.domain.codes import Code, MessageType, Permission
from relay.http.application import Surroundings, build_application
from relay.http.suppressions import SuppressionsController
from relay.sending.requests import Answer, Submission
from relay.sending.suppression_list import SuppressionList
from support.front import ORDERS_KEY, CountedIds, Front
from support.journal import codes
from support.sending import Scene, running_scene, submission

ONE = "2348031234567"
WISH = {"recipient": "0803 123 4567", "reason": "asked by phone"}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running_scene(tmp_path) as scene:
        yield scene


@pytest.fixture
def front(scene: Scene) -> Front:
    """The front over a real journal, for a client that may suppress and another one that may operate."""
    front = Front()
    front.clients["billing"] = replace(front.clients["billing"], permissions=frozenset({Permission.SUPPRESS}))
    front.clients["orders"] = replace(front.clients["orders"], permissions=frozenset({Permission.OPERATE}))
    front.app = build_application(
        Surroundings(events=front.witness, recorder=front.witness, clock=front.clock, ids=CountedIds()),
        sending=front.core,
        operations=front.core,
        gate=front.gate,
        metrics=front.witness,
        word_lists=lambda: "ok",
        template_state=lambda: "ok",
        templates=lambda: front.core.rules.templates,
        document=openapi_document,
        more=(SuppressionsController,),
        services={"suppressions": SuppressionList(cast("Any", scene.journal), scene.clock)},
    )
    return front


async def test_a_number_is_entered_and_shown_with_two_digits_only(front: Front) -> None:
    entered = await front.request("POST", "/v1/suppressions", WISH | {"message_types": ["promotional"]})
    again = await front.request("POST", "/v1/suppressions", WISH | {"message_types": ["promotional"]})
    listed = await front.request("GET", "/v1/suppressions")
    found = await front.request("GET", "/v1/suppressions?recipient=08031234567")
    none = await front.request("GET", "/v1/suppressions?recipient=08031234568")

    body = entered.json()
    assert entered.status == 200
    assert (body["recipient"], body["scope"], body["message_types"]) == ("•••••••••••67", "client", ["promotional"])
    assert again.json()["id"] == body["id"]
    assert listed.json()["items"] == found.json()["items"] == [again.json()]
    assert none.json() == {"items": [], "next_cursor": None}
    assert b"8031234567" not in listed.body


async def test_only_operators_suppress_for_everybody_and_see_that(front: Front) -> None:
    everybody = WISH | {"scope": "all"}
    refused = await front.request("POST", "/v1/suppressions", everybody)
    unseen = await front.request("GET", "/v1/suppressions?scope=all")
    entered = await front.request("POST", "/v1/suppressions", everybody, key=ORDERS_KEY)
    listed = await front.request("GET", "/v1/suppressions?scope=all", key=ORDERS_KEY)
    path = f"/v1/suppressions/{entered.json()['id']}"
    others = await front.request("DELETE", path)
    lifted = await front.request("DELETE", path, key=ORDERS_KEY)

    assert (refused.status, refused.code) == (unseen.status, unseen.code) == (403, "permission_missing")
    assert entered.json()["scope"] == "all"
    assert [item["id"] for item in listed.json()["items"]] == [entered.json()["id"]]
    assert (others.status, lifted.status) == (404, 200)


async def test_all_that_is_wrong_is_told_by_field(front: Front) -> None:
    wrong = {"recipient": "12", "reason": " ", "until": "2020-01-01T00:00:00Z"}
    reply = await front.request("POST", "/v1/suppressions", wrong)
    cursor = await front.request("GET", "/v1/suppressions?cursor=" + "A" * 44)
    path = await front.request("DELETE", "/v1/suppressions/nobody")

    assert (reply.status, reply.code) == (422, "validation_failed")
    assert {error["field"] for error in reply.json()["errors"]} == {"recipient", "reason", "until"}
    assert (cursor.status, path.status) == (422, 404)


async def test_many_are_entered_at_once_each_by_itself(front: Front) -> None:
    items = [WISH, WISH | {"recipient": "12"}, WISH | {"recipient": "08031234568"}]
    reply = await front.request("POST", "/v1/suppressions/import", {"items": items})
    bad = await front.request("POST", "/v1/suppressions/import", {"items": items[1:2]})
    none = await front.request("POST", "/v1/suppressions/import", {"items": []})

    assert reply.json()["entered"] == 2
    assert [sorted(item) for item in reply.json()["items"]] == [["id", "index"], ["index", "problem"], ["id", "index"]]
    assert (bad.status, bad.json()["entered"]) == (200, 0)
    assert (none.status, none.json()["errors"][0]["field"]) == (422, "items")
    first = await front.request("GET", "/v1/suppressions?limit=1")
    second = await front.request("GET", f"/v1/suppressions?limit=1&cursor={first.json()['next_cursor']}")
    assert len({page.json()["items"][0]["id"] for page in (first, second)}) == 2
    assert second.json()["next_cursor"] is None


async def test_the_audit_says_who_and_how_many_and_no_number(front: Front, scene: Scene) -> None:
    entered = await front.request("POST", "/v1/suppressions", WISH | {"reason": "call 08031234567 back"})
    await front.request("DELETE", f"/v1/suppressions/{entered.json()['id']}")
    page = await scene.journal.real.read_audit(10)

    assert [(row.act.action, row.act.client, row.act.count) for row in page.rows] == [
        ("lift_suppression", "billing", 1),
        ("suppress", "billing", 1),
    ]
    assert "8031234567" not in repr(page)


# --- what becomes of a send ---


async def suppress(scene: Scene, front: Front, **fields: Any) -> None:
    reply = await front.request("POST", "/v1/suppressions", WISH | fields)
    assert reply.status == 200


async def test_a_send_to_nobody_else_is_not_sent_and_keeps_its_key(scene: Scene, front: Front) -> None:
    await suppress(scene, front)
    answer = await scene.lifecycle.send(submission(ONE, idempotency_key="k"), scene.caller)
    again = await scene.lifecycle.send(submission(ONE, idempotency_key="k"), scene.caller)

    assert codes(answer.stored) == [Code.SUPPRESSED]
    assert again.replayed
    assert scene.sends() == {}
    assert scene.bulkhead.in_use == 0


async def test_the_others_get_theirs_and_a_key_is_freed_where_only_the_way_was_barred(
    scene: Scene, front: Front
) -> None:
    await suppress(scene, front)
    both = submission(ONE, "2348031234568", idempotency_key="k")
    scene.upstream.switches.set({"tg": "TG19", "calls": 1})
    refused = await scene.lifecycle.send(both, scene.caller)
    answer = await scene.lifecycle.send(both, scene.caller)

    assert codes(refused.stored) == [Code.SUPPRESSED, Code.UPSTREAM_REJECTED]
    assert not answer.replayed
    assert codes(answer.stored) == [Code.SUPPRESSED, Code.SENT]
    assert scene.sends() == {"2348031234568": 1}


async def test_what_waits_already_does_not_go_to_who_said_no_meanwhile(scene: Scene, front: Front) -> None:
    stored = await scene.enqueue(ONE, "2348031234568", send_at=scene.clock.now_ms() + 3_600_000)
    alone = await scene.enqueue(ONE, send_at=scene.clock.now_ms() + 3_600_000)
    await suppress(scene, front)

    assert await scene.deliver_due(3600) == 2
    assert codes(await scene.find(stored.notification.id)) == [Code.SUPPRESSED, Code.SENT]
    assert codes(await scene.find(alone.notification.id)) == [Code.SUPPRESSED]
    assert scene.sends() == {"2348031234568": 1}


async def test_a_preview_says_who_is_suppressed(scene: Scene, front: Front) -> None:
    await suppress(scene, front, message_types=["promotional"])

    async def look(kind: MessageType) -> tuple[Any, ...]:
        asked = Submission(recipients=(ONE, "2348031234568"), message="Hi there", message_type=kind)
        preview = await scene.lifecycle.preview(asked, scene.caller, asynchronous=True)
        return preview.suppressed, preview.calls, preview.estimated_units

    assert await look(MessageType.PROMOTIONAL) == ((0,), 1, 1)
    assert await look(MessageType.TRANSACTIONAL) == ((), 1, 2)
    assert isinstance(await scene.lifecycle.send(submission(ONE), scene.caller), Answer)
