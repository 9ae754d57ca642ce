"""Where too many wait already, one more is told so before anything of the request is read."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from relay.domain.codes import ProblemCode
from relay.http.asgi import Message
from relay.http.shedding import Shedding
from relay.sending.admission import refuse_overload
from relay.sending.shares import AdmissionVerdict
from support.front import BILLING_KEY as KEY
from support.front import CountedIds, Front, Reply, check_against_document

HEADERS = {"Host": "relay", "Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "Content-Length": "2"}


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
    shedding = Shedding(
        inner, sending=front.core, name_client=front.gate.name_client, recorder=counts, ids=CountedIds()
    )
    await shedding(scope, never, send)
    return Reply(
        sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}, sent[1]["body"]
    )


def overloaded() -> Front:
    front = Front()
    front.core.refusal = refuse_overload("billing", AdmissionVerdict.OVER_SHARE)
    return front


async def test_it_is_the_same_503_that_the_api_gives_without_a_look_at_the_body() -> None:
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
        (HEADERS | {"Authorization": "Bearer rk_unknown_key"}, {}),
        (HEADERS | {"Authorization": "Basic YTpi"}, {}),
        (HEADERS, {"path": "/v1/notifications/preview"}),
        (HEADERS, {"method": "GET"}),
        (HEADERS, {"type": "lifespan"}),
    ],
    ids=["asynchronous", "a key that nobody has", "no key", "another path", "another method", "no request"],
)
async def test_who_does_not_wait_or_is_not_known_by_a_key_is_not_shed(
    headers: dict[str, str], head: dict[str, str]
) -> None:
    assert (await ask(overloaded(), Counts(), headers, **head)).status == 299


async def test_while_there_are_places_nobody_is_shed() -> None:
    assert (await ask(Front(), Counts())).status == 299


async def shed(count: int, counts: Counts) -> Shedding:
    """Something that refused so many."""

    async def send(_: Message) -> None:
        """Nobody looks at the answers."""

    front = overloaded()
    shedding = Shedding(
        front.app, sending=front.core, name_client=front.gate.name_client, recorder=counts, ids=CountedIds()
    )
    headers = [(b"authorization", f"Bearer {KEY}".encode())]
    for _ in range(count):
        await shedding({"type": "http", "method": "POST", "path": "/v1/notifications", "headers": headers}, never, send)
    return shedding


TOLD = {"route": "/v1/notifications", "method": "POST", "status": 503, "code": ProblemCode.OVERLOADED}


async def test_what_was_shed_is_told_together() -> None:
    counts = Counts()
    await shed(3, counts)
    await counts.told.wait()

    assert counts.shed == [{**TOLD, "shed": Counter({("billing", "over_share"): 3})}]


async def test_at_the_end_what_was_shed_is_told_at_once_and_not_again() -> None:
    counts = Counts()
    shedding = await shed(2, counts)
    shedding.tell()
    shedding.tell()

    assert counts.shed == [{**TOLD, "shed": Counter({("billing", "over_share"): 2})}]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long answers were held back."""
    seconds: list[float] = []

    async def sleep(for_seconds: float) -> None:
        seconds.append(for_seconds)

    monkeypatch.setattr("relay.http.request.asyncio.sleep", sleep)
    return seconds


async def test_a_client_that_is_refused_again_and_again_is_told_later(slept: list[float]) -> None:
    front = overloaded()
    front.core.refused_at_once = 1

    prompt = await ask(front, Counts())
    before = list(slept)
    late = await ask(front, Counts())

    assert (prompt.status, late.status) == (503, 503)
    assert (before, slept) == ([], [0.01])


async def test_so_it_is_where_the_refusal_comes_once_the_request_was_read(slept: list[float]) -> None:
    front = overloaded()
    front.core.refused_at_once = 0

    late = await front.request("POST", "/v1/notifications", {})

    assert (late.code, slept) == ("overloaded", [0.01])
