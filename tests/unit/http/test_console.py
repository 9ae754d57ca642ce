"""The console is served with everything that keeps a browser from being turned against an operator."""

import pytest

from relay.http.application import ServedPages
from relay.http.console import FILES, HEADERS
from support.front import Front


@pytest.mark.parametrize("path", FILES)
async def test_page_and_assets_are_served_to_anybody_and_say_whom_the_browser_may_trust(path: str) -> None:
    reply = await Front(key=None).request("GET", path)

    assert reply.status == 200
    assert reply.headers["content-type"] == FILES[path][1]
    for name, value in HEADERS.items():
        assert reply.headers[name] == value


@pytest.mark.parametrize("path", ["/console/", "/console/console.html", "/console/../look/look.css", "/console/x.js"])
async def test_nothing_else_is_served_there(path: str) -> None:
    reply = await Front(key=None).request("GET", path)

    assert reply.status == (200 if path == "/console/" else 404)


async def test_it_can_be_switched_off() -> None:
    front = Front(key=None, pages=ServedPages(console=False))

    for path in FILES:
        assert (await front.request("GET", path)).status == 404
