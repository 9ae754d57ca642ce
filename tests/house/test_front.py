"""The front stays an ordinary litestar application, and out of litestar's traps; a new route touches one file of it."""

import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from relay.app.routes import MORE, SERVICES
from relay.http.application import describe

RELAY = Path(__file__).parents[2] / "relay"
OPTIONS = {
    "permission",
    "source",
    "idempotency_key",
    "prefer",
    "body_bytes",
    "own_admission",
    "route",
    "heavy",
    "ndjson",
}


def handlers() -> Iterator[HTTPRouteHandler]:
    for route in describe(MORE, SERVICES).routes:
        assert isinstance(route, HTTPRoute), "the front has neither mounts nor websockets"
        yield from (handler for handler in route.route_handlers if handler.http_methods != {"OPTIONS"})


HANDLERS = {str(handler): handler for handler in handlers()}
every_handler = pytest.mark.parametrize("name", sorted(HANDLERS))


@every_handler
def test_no_handler_has_a_guard(name: str) -> None:
    handler = HANDLERS[name]
    # litestar copies the handler for each guard at each request (16 µs), and runs a sync one in a thread (150 µs).
    assert list(handler.resolve_guards()) == []


@every_handler
def test_a_handler_asks_for_one_service_at_most(name: str) -> None:
    handler = HANDLERS[name]
    # For two that are independent litestar starts a task group at each request (82 µs).
    asked = handler.resolve_dependencies().keys() & handler.parsed_fn_signature.parameters.keys()

    assert len(asked) <= 1


@every_handler
def test_a_handler_runs_in_the_event_loop(name: str) -> None:
    handler = HANDLERS[name]
    assert inspect.iscoroutinefunction(handler.fn)
    assert handler.sync_to_thread is None


@every_handler
def test_what_a_handler_declares_is_read_by_somebody(name: str) -> None:
    handler = HANDLERS[name]
    assert handler.opt.keys() <= OPTIONS


def test_nothing_is_answered_past_litestar_but_what_litestar_cannot_answer() -> None:
    answering = {
        str(path.relative_to(RELAY))
        for path in RELAY.rglob("*.py")
        if "http.response.start" in path.read_text() and "sandbox" not in path.parts
    }

    # A whole answer, and one in pieces; OPTIONS and what goes out; what is refused under overload before it is read.
    assert answering == {"http/asgi.py", "http/pieces.py", "http/edge.py", "http/shedding.py"}


ROUTE = '''
    @get(
        "/v1/balance/{name:str}/history",
        operation_id="getBalanceHistory",
        tags=["Looking up"],
        summary="How the balance went",
        description="A route that a test adds.",
        opt={"permission": Permission.BALANCE},
        operation_class=described(
            Answered(200, "The balance.", (Content(JSON, BalanceBody),)), problems=(*ANY_CALLER, *UPSTREAM)
        ),
    )
    async def history(self, name: FromPath[str], sending: Service[Sending]) -> BalanceBody:
        """What a test asks for."""
        return BalanceBody(name, "2026-12-01T09:00:00.042Z", [])
'''
QUESTIONS = """
import asyncio, json
from relay.app.routes import openapi_document, route_labels
from relay.http.documents import render_page
from support.front import Front

ADDRESS = "/v1/balance/acme/history"

async def ask():
    front = Front()
    good = await front.request("GET", ADDRESS)
    wrong = await front.request("PUT", ADDRESS)
    nobody = await front.request("GET", ADDRESS, key=None)
    return [good.status, good.json()["units"], wrong.headers["allow"], nobody.status], front.witness.records[0]["route"]

document = openapi_document()
print(json.dumps({
    "answers": asyncio.run(ask()),
    "labels": route_labels().get("/v1/balance/{name}/history"),
    "document": document["paths"]["/v1/balance/{name}/history"]["get"]["description"],
    "page": "getBalanceHistory" in render_page("reference.html", document).decode(),
}))
"""


@pytest.mark.slow
def test_a_new_route_touches_one_file_of_the_relay(tmp_path: Path) -> None:
    copy = tmp_path / "relay"
    shutil.copytree(RELAY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    status = copy / "http/status.py"
    text = status.read_text().replace(
        "from litestar import", "from litestar.params import FromPath\nfrom litestar import", 1
    )
    before, controller, after = re.split(r"(class LiveBody)", text, maxsplit=1)
    status.write_text(before.rstrip() + "\n" + ROUTE + "\n\n" + controller + after)
    search = [str(tmp_path), str(Path(__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path[:0] = {search!r}\n{QUESTIONS}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "answers": [[200, "acme", "GET, HEAD, OPTIONS", 401], "/v1/balance/{name}/history"],
        "labels": ["GET"],
        "document": "A route that a test adds.\n\nNeeds the permission `balance`.",
        "page": True,
    }
