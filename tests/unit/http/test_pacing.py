"""Requests begin a few at a time, so that a send finds a place between them; sends, probes and metrics do not wait."""

import asyncio
from typing import Any

import pytest

from relay.http.asgi import Receive, Scope, Send
from relay.http.pacing import BEGUN_A_TURN, Pacing

MANY = 5 * BEGUN_A_TURN


async def unused(*_: Any) -> Any:
    raise AssertionError("nobody is answered here")


class Begun:
    """Counts what began, and in which turn of the loop."""

    def __init__(self) -> None:
        self.turn = 0
        self.at: list[tuple[int, str]] = []
        self.pacing = Pacing(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.at.append((self.turn, scope.get("path", scope["type"])))

    def ask(self, path: str, method: str = "GET") -> "asyncio.Task[None]":
        scope = {"type": "http", "method": method, "path": path}
        return asyncio.ensure_future(self.pacing(scope, unused, unused))

    async def turns(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)
            self.turn += 1


async def test_of_many_that_ask_at_once_a_few_begin_a_turn_in_order() -> None:
    begun = Begun()
    asked = [begun.ask(f"/v1/balance?{place}") for place in range(MANY)]

    await begun.turns(2 * MANY)
    await asyncio.gather(*asked)

    turns = [turn for turn, _ in begun.at]
    assert [path for _, path in begun.at] == [f"/v1/balance?{place}" for place in range(MANY)]
    assert max(turns.count(turn) for turn in turns) == BEGUN_A_TURN
    assert len(set(turns)) == MANY / BEGUN_A_TURN


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/notifications"), ("GET", "/readyz"), ("GET", "/metrics")])
async def test_a_send_a_probe_and_metrics_begin_before_whatever_waits(method: str, path: str) -> None:
    begun = Begun()
    waiting = [begun.ask("/v1/balance") for _ in range(MANY)]
    await begun.turns(1)

    late = begun.ask(path, method)
    await begun.turns(1)
    before = len(begun.at)
    await asyncio.gather(*waiting, late)

    assert path in [each for _, each in begun.at[:before]]
    assert before < MANY


async def test_who_went_away_while_waiting_takes_nobodys_turn_and_nothing_stays_behind() -> None:
    begun = Begun()
    asked = [begun.ask(f"/v1/balance?{place}") for place in range(3 * BEGUN_A_TURN)]
    await begun.turns(1)
    for task in asked[BEGUN_A_TURN : 2 * BEGUN_A_TURN]:
        task.cancel()

    await asyncio.gather(*asked, return_exceptions=True)
    await begun.turns(2)
    again = [begun.ask("/v1/balance") for _ in range(BEGUN_A_TURN)]
    await begun.turns(1)

    assert len(begun.at) == 3 * BEGUN_A_TURN, "those that stayed, and as many as may begin at once"
    assert all(task.done() for task in again)


async def test_the_servers_life_cycle_passes() -> None:
    begun = Begun()

    await begun.pacing({"type": "lifespan"}, unused, unused)

    assert begun.at == [(0, "lifespan")]
