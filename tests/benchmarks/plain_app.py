"""The plain app that a colleague would write in an afternoon: litestar and stock httpx, no journal, filter or metrics.

It is the baseline of ``make bench``, and it has the usual faults on purpose: success is any answer that holds ``TG00``.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec
from litestar import Litestar, post
from litestar.datastructures import State
from litestar.exceptions import HTTPException


class Sms(msgspec.Struct):
    sender: str
    recipients: list[str]
    message: str


def normalize(number: str) -> str:
    digits = "".join(character for character in number if character.isdigit())
    return "234" + digits[1:] if digits.startswith("0") else digits


@asynccontextmanager
async def upstream_client(app: Litestar) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=os.environ["UPSTREAM"], timeout=20, limits=limits) as client:
        app.state.client = client
        yield


@post("/v1/notifications", status_code=200)
async def send(data: Sms, state: State) -> dict[str, object]:
    numbers = [normalize(number) for number in data.recipients]
    client: httpx.AsyncClient = state.client
    try:
        response = await client.get(
            "/api/sms/dnd-fallback",
            params={
                "username": "demo",
                "password": "demo",
                "sender": data.sender,
                "recipient": ",".join(numbers),
                "message": data.message,
            },
        )
    except httpx.HTTPError as error:
        raise HTTPException(status_code=502, detail="gateway error") from error
    if "TG00" not in response.text:
        raise HTTPException(status_code=502, detail=response.text[:80])
    return {"status": "sent", "recipients": numbers}


app = Litestar(route_handlers=[send], lifespan=[upstream_client], openapi_config=None, logging_config=None)
