"""Where too many wait already, one more is told so before anything of the request is read."""

import asyncio
from typing import Any

import pytest

from relay.domain.codes import ProblemCode
from relay.http.exchange import Message
from relay.http.shedding import Shedding
from relay.sending.gate import refuse_overload
from support_front import CountedIds, Front, Reply, check_against_document

HEADERS = {"Host": "relay", "Content-Type": "application/json", "Content-Length": "2"}


class Counts:
    def __init__(self) -> None:
        self.shed: list[dict[str, Any]] = []
        self.told = asyncio.Event()

    def record_shed(self, **fields: Any) -> None:
        self.shed.append(fields)
        self.told.set()


async def never() -> Message:
    raise AssertionError("nobody may read the body")


async def ask(front: Front, counts: Counts, headers: dict[str, str] = HEADERS, **head: str) -> Reply:
    sent: list[Message] = []
    asked: list[str] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def inner(*_: Any) -> None:
        asked.append("inner")
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1/notifications", **head}
    scope["headers"] = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await Shedding(inner, sending=front.core, recorder=counts, ids=CountedIds())(scope, never, send)
    return Reply(
        sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}, sent[1]["body"]
    )


def overloaded() -> Front:
    front = Front()
    front.core.refusal = refuse_overload()
    return front


async def test_it_is_the_same_503_that_the_api_gives_without_a_look_at_key_or_body() -> None:
    front = overloaded()
    shed = await ask(front, Counts(), {**HEADERS, "X-Request-Id": 'mine-"1"'})
    usual = await front.request("POST", "/v1/notifications", {}, {"X-Request-Id": 'mine-"1"'})

    assert shed.json() == usual.json()
    assert shed.json()["request_id"] == shed.headers["x-request-id"] == 'mine-"1"'
    assert (shed.status, shed.headers["retry-after"]) == (503, "1")
    assert shed.headers["content-type"] == "application/problem+json"
    assert int(shed.headers["content-length"]) == len(shed.body)
    check_against_document("POST", "/v1/notifications", shed)


@pytest.mark.parametrize("given", [None, "+2348012345678", "rk_1_secret"])
async def test_without_a_request_id_that_can_be_kept_it_gets_one(given: str | None) -> None:
    shed = await ask(overloaded(), Counts(), HEADERS if given is None else {**HEADERS, "X-Request-Id": given})

    assert shed.json()["request_id"] == "fresh-1"


@pytest.mark.parametrize(
    ("headers", "head"),
    [
        ({**HEADERS, "Prefer": "respond-async"}, {}),
        (HEADERS, {"path": "/v1/notifications/preview"}),
        (HEADERS, {"method": "GET"}),
        (HEADERS, {"type": "lifespan"}),
    ],
    ids=["asynchronous", "another path", "another method", "no request"],
)
async def test_who_does_not_wait_is_not_shed(headers: dict[str, str], head: dict[str, str]) -> None:
    assert (await ask(overloaded(), Counts(), headers, **head)).status == 299


async def test_while_there_are_places_nobody_is_shed() -> None:
    assert (await ask(Front(), Counts())).status == 299


async def shed(count: int, counts: Counts) -> Shedding:
    """Something that refused so many."""

    async def send(_: Message) -> None:
        """Nobody looks at the answers."""

    front = overloaded()
    shedding = Shedding(front.app, sending=front.core, recorder=counts, ids=CountedIds())
    for _ in range(count):
        await shedding({"type": "http", "method": "POST", "path": "/v1/notifications", "headers": []}, never, send)
    return shedding


TOLD = {"route": "/v1/notifications", "method": "POST", "status": 503, "code": ProblemCode.OVERLOADED}


async def test_what_was_shed_is_told_together() -> None:
    counts = Counts()
    await shed(3, counts)
    await counts.told.wait()

    assert counts.shed == [{**TOLD, "count": 3}]


async def test_at_the_end_what_was_shed_is_told_at_once_and_not_again() -> None:
    counts = Counts()
    shedding = await shed(2, counts)
    shedding.tell()
    shedding.tell()

    assert counts.shed == [{**TOLD, "count": 2}]
