"""What takes long, one at a time for each client: lists, previews, batches, requests to many, the operator's pages."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from relay.app.routes import MORE, SERVICES
from relay.domain.codes import ProblemCode
from relay.http.application import describe
from relay.http.openapi import DescribedOperation
from relay.sending.turns import AT_ONCE, MOST_WAITING
from support.front import ORDERS_KEY, REQUEST, Front
from support.waiting import PATIENCE_SECONDS

MANY = REQUEST | {"recipients": [f"234803{i:07}" for i in range(101)]}
ASYNC = {"Prefer": "respond-async"}
ID = "0192f3c4-5b1e-7000-8000-000000000001"
QUERIES = {"/v1/usage": "?from=2026-11-01&to=2026-12-01"}


def operations() -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    """Method, address and handler of all that are served."""
    for route in describe(MORE, SERVICES).routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            for method in handler.http_methods - {"OPTIONS"}:
                address = route.path_format.replace("{id}", ID)
                yield method, address + QUERIES.get(address, ""), handler


HEAVY: list[tuple[str, str, Any, dict[str, str]]] = [
    *(
        (method, address, None if method == "GET" else {}, {})
        for method, address, handler in operations()
        if "heavy" in handler.opt
    ),
    ("POST", "/v1/notifications", MANY, ASYNC),
]


@pytest.mark.parametrize(("method", "target", "body", "headers"), HEAVY, ids=[f"{each[0]} {each[1]}" for each in HEAVY])
async def test_beside_as_many_of_the_client_as_may_wait_it_is_refused_with_a_reason(
    method: str, target: str, body: Any, headers: dict[str, str]
) -> None:
    front = Front(more=MORE)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(front.core.heavy_work.enter("billing"))
        front.core.heavy_work._asking["billing"] += MOST_WAITING
        refused = await front.request(method, target, body, headers)
        front.core.heavy_work._asking["billing"] -= MOST_WAITING

    assert (refused.status, refused.code) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert "one at a time" in refused.json()["detail"]
    assert [event.shed for event in front.witness.events if hasattr(event, "shed")] == ["heavy"]


def test_whatever_may_be_told_to_come_later_is_heavy_or_a_send() -> None:
    told = {
        handler.operation_id
        for _, _, handler in operations()
        if issubclass(handler.operation_class, DescribedOperation)
        and ProblemCode.OVERLOADED in handler.operation_class.problems
    }
    heavy = {handler.operation_id for _, _, handler in operations() if "heavy" in handler.opt}

    assert heavy >= {
        "listNotifications",
        "sendBatch",
        "previewNotification",
        "importSuppressions",
        "resolveManyUnknown",
    }
    sends = {"sendNotification", "resendUnknown", "receiveWebhook"}
    assert told - heavy == {*sends, "cancelNotification", "moveNotification"}, "the last two where recipients are many"
    assert heavy - told == set()


@pytest.mark.parametrize("target", ["/v1/notifications/batch", "/v1/operator/unknown/resolve"])
async def test_a_body_that_is_slow_to_come_takes_no_place_from_another_client(target: str) -> None:
    front, whole = Front(), asyncio.Event()
    async with AsyncExitStack() as stack:
        for other in range(AT_ONCE - 1):
            place = await stack.enter_async_context(front.core.heavy_work.enter(f"client-{other}"))
            await place.begin()
        slow = asyncio.create_task(
            front.request("POST", target, headers={"content-type": "application/json"}, chunks=[b"["], until=whole)
        )
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            quick = await front.request("POST", "/v1/notifications/batch", [REQUEST], key=ORDERS_KEY)
        assert not slow.done()
        whole.set()

        assert quick.status == 202
        assert (await slow).code == "invalid_json"


async def test_a_single_send_and_a_look_up_are_never_held_up_by_the_clients_heavy_request() -> None:
    front = Front()

    async with front.core.heavy_work.enter("billing") as place:
        await place.begin()
        front.core.heavy_work._asking["billing"] += MOST_WAITING
        sent = await front.request("POST", "/v1/notifications", REQUEST)
        queued = await front.request("POST", "/v1/notifications", REQUEST, ASYNC)
        found = await front.request("GET", f"/v1/notifications/{sent.json()['id']}")

    assert [reply.status for reply in (sent, queued, found)] == [200, 202, 200]
