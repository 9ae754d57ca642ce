"""Long answers: they go out piece by piece, others have their turn in between, and together they are what was meant."""

import asyncio
from typing import Any

import pytest

from relay.http.answers import encode_notification
from relay.http.pieces import PIECE_BYTES, PiecewiseResponse
from relay.sending import turns
from relay.sending.turns import Turns
from support.fakes import FakeClock
from support.front import REQUEST, Front

MANY = REQUEST | {"recipients": [f"234803{i:07}" for i in range(1_000)]}
ASYNC = {"Prefer": "respond-async"}


class Sent:
    """What a server was handed, and how often others had a turn before each piece of it."""

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self.bodies: list[bytes] = []
        self.others: list[int] = []
        self._turns = 0

    def count_turns(self) -> None:
        """Be somebody else, for ever."""
        self._turns += 1
        asyncio.get_running_loop().call_soon(self.count_turns)

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.start = message
            return
        self.bodies.append(message["body"])
        self.others.append(self._turns)
        assert message.get("more_body", False) == (len(b"".join(self.bodies)) < self.length)

    @property
    def length(self) -> int:
        """As announced."""
        return int(dict(self.start["headers"])[b"content-length"])


async def answer(*pieces: bytes) -> Sent:
    sent, clock = Sent(), FakeClock()
    slices = Turns(clock).begin()
    clock.advance(turns.SLICE_SECONDS)
    await PiecewiseResponse(200, pieces, {"cache-control": "no-store"}, slices)({}, None, sent)
    return sent


@pytest.mark.parametrize("pieces", [(), (b"",), (b"{", b"}"), (b"a" * (PIECE_BYTES - 1), b"b")])
async def test_a_short_answer_goes_out_at_once(pieces: tuple[bytes, ...]) -> None:
    sent = await answer(*pieces)

    assert (sent.bodies, sent.length) == ([b"".join(pieces)], sum(map(len, pieces)))
    assert dict(sent.start["headers"])[b"cache-control"] == b"no-store"


async def test_a_long_answer_goes_out_in_pieces_with_others_in_between() -> None:
    pieces = [bytes([65 + place % 26]) * 30_000 for place in range(30)]
    sent, clock = Sent(), FakeClock()
    sent.count_turns()
    slices = Turns(clock).begin()

    class Ticking(Sent):
        async def __call__(self, message: dict[str, Any]) -> None:
            clock.advance(turns.SLICE_SECONDS)  # to hand a piece over takes as long as a slice
            await sent(message)

    await PiecewiseResponse(200, pieces, {}, slices)({}, None, Ticking())

    assert b"".join(sent.bodies) == b"".join(pieces)
    assert max(map(len, sent.bodies)) < PIECE_BYTES + 30_000
    assert len(sent.bodies) == len(set(sent.others)) == 10


async def test_an_answer_about_very_many_recipients_is_never_put_together() -> None:
    front = Front()
    await front.send(ASYNC, recipients=MANY["recipients"])
    [stored] = front.core.stored.values()

    pieces = await encode_notification(stored, front.core.begin_slices())

    looked_up = await front.request("GET", f"/v1/notifications/{stored.notification.id}")
    assert looked_up.body == b"".join(pieces)
    assert max(map(len, pieces)) < len(looked_up.body) / 5, "a hundred recipients at most"
    assert [entry["recipient"] for entry in looked_up.json()["recipients"]] == MANY["recipients"]


async def test_who_reads_a_heavy_answer_slowly_holds_up_nobody() -> None:
    front = Front()
    await front.send(ASYNC, recipients=MANY["recipients"])
    for _ in range(3):
        await front.send(ASYNC)
    begun: list[str] = []

    async def read_slowly(message: Any) -> None:
        async with front.core.heavy_work.enter("billing") as place:
            await place.begin()
            begun.append(message["type"])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [(b"host", b"relay"), (b"authorization", f"Bearer {front.key}".encode())]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/v1/notifications",
        "raw_path": b"/v1/notifications",
        "query_string": b"expand=recipients",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "scheme": "http",
        "root_path": "",
    }
    await front.app(scope, receive, read_slowly)

    assert begun[0] == "http.response.start"
    assert len(begun) > 1, "the client's next heavy request begins before all of the answer is read"
