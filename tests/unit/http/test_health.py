"""Readiness is started and not draining; everything else is told and does not decide."""

import pytest
from msgspec.structs import replace

from support.front import Front


async def test_liveness_needs_no_key() -> None:
    reply = await Front(key=None).request("GET", "/healthz")

    assert (reply.status, reply.json()) == (200, {"status": "ok"})


async def test_readiness_tells_how_things_stand() -> None:
    reply = await Front(key=None).request("GET", "/readyz")

    assert reply.status == 200
    assert reply.json() == {
        "ready": True,
        "started": True,
        "draining": False,
        "paused": False,
        "pauses": [],
        "journal": "ok",
        "upstream": "ok",
        "word_lists": "ok",
        "template_files": "ok",
        "in_flight": 0,
        "waiting": 0,
        "accounts": [{"account": "smsclone", "state": "ok"}],
    }


@pytest.mark.parametrize("change", [{"draining": True, "ready": False}, {"started": False, "ready": False}])
async def test_what_should_get_no_requests_is_503_with_the_same_body(change: dict[str, bool]) -> None:
    front = Front(key=None)
    front.core.state = replace(front.core.state, **change)
    reply = await front.request("GET", "/readyz")

    assert reply.status == 503
    assert reply.json()["ready"] is False


@pytest.mark.parametrize("change", [{"journal": "unreachable"}, {"upstream": "open"}, {"paused": True}])
async def test_a_pod_that_can_say_why_it_refuses_stays_ready(change: dict[str, str]) -> None:
    front = Front(key=None)
    front.core.state = replace(front.core.state, **change)

    assert (await front.request("GET", "/readyz")).status == 200
