"""What the stand-in tells about itself, to whom, and what it takes."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from relay.sandbox.magic import MAGIC
from relay.sandbox.pages import GUARDS, InboxPages, PageReply, PageRequest
from relay.sandbox.responder import Responder
from support.sandbox import FALLBACK, ask, make_responder

JSON = {"content-type": "application/json"}


def request(
    responder: Responder,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] = JSON,
    *,
    query: bytes = b"",
    host: str = "127.0.0.1:9100",
    loopback_only: bool = True,
) -> PageReply:
    """Ask the stand-in itself."""
    asked = PageRequest(method, path, query, {"host": host, **headers}, body)
    return InboxPages(responder, loopback_only=loopback_only).answer(asked)


def read(reply: PageReply) -> Any:
    """The JSON of an answer that must be a good one."""
    assert (reply.status, reply.content_type) == (200, "application/json")
    return json.loads(reply.body)


def test_the_ledger_is_listed_in_full_since_a_number_up_to_a_limit_or_from_its_end() -> None:
    responder = make_responder(ledger_entries=4)
    for _ in range(6):
        ask(responder)

    def listed(query: bytes) -> list[int]:
        return [entry["number"] for entry in read(request(responder, "GET", "/ledger", query=query))["entries"]]

    assert listed(b"") == [3, 4, 5, 6]
    assert listed(b"since=4") == [5, 6]
    assert listed(b"since=3&limit=2") == [4, 5]
    assert listed(b"last=2") == [5, 6]
    whole = read(request(responder, "GET", "/ledger"))
    assert (whole["total"], whole["count"]) == (6, 4)


@pytest.mark.parametrize("query", [b"since=x", b"limit=1.5", b"unknown=1"])
def test_a_wrong_ledger_query_is_refused(query: bytes) -> None:
    assert request(make_responder(), "GET", "/ledger", query=query).status == 400


def test_the_ledger_is_cleared() -> None:
    responder = make_responder()
    ask(responder)

    state = read(request(responder, "DELETE", "/ledger"))

    assert (state["total"], state["count"], state["first"]) == (1, 0, 2)


def test_switches_are_set_told_and_taken_back() -> None:
    responder = make_responder()

    state = read(request(responder, "POST", "/behaviours", b'{"dnd": true, "calls": 2, "units": "7.5"}'))

    assert state["set"] == {"dnd": {"value": True, "calls_left": 2, "on": "sends"}}
    assert state["units"] == "7.50"
    assert state["switches"]["dnd"] is False
    assert "hang" in state["choices"]["fault"]
    assert read(request(responder, "GET", "/behaviours")) == state
    assert read(request(responder, "DELETE", "/behaviours"))["set"] == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"no_such_switch": 1}',
        b'{"units": "NaN"}',
        b'{"units": "1e99"}',
        b'{"units": true}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
    ],
)
def test_a_wrong_change_is_told_and_changes_nothing(body: bytes) -> None:
    responder = make_responder()

    reply = request(responder, "POST", "/behaviours", body)

    assert reply.status == 400
    assert json.loads(reply.body)["error"]
    assert read(request(responder, "GET", "/behaviours"))["set"] == {}


def test_a_page_of_another_origin_cannot_change_anything() -> None:
    responder = make_responder()

    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        reply = request(responder, "POST", "/behaviours", b'{"dnd": true}', {"content-type": content_type})
        assert reply.status == 415

    assert read(request(responder, "GET", "/behaviours"))["set"] == {}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9100", 200),
        ("LOCALHOST", 200),
        ("[::1]:9100", 200),
        ("127.0.0.1", 200),
        ("evil.example:9100", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
def test_on_loopback_only_loopback_names_are_answered(host: str, status: int) -> None:
    assert request(make_responder(), "GET", "/ledger", host=host).status == status


def test_beyond_loopback_every_name_is_answered() -> None:
    assert request(make_responder(), "GET", "/ledger", host="sandbox:9100", loopback_only=False).status == 200


def test_other_paths_and_methods_are_refused() -> None:
    assert request(make_responder(), "GET", "/nothing").status == 404
    assert request(make_responder(), "PUT", "/ledger").status == 405
    assert request(make_responder(), "POST", "/").status == 405


def test_the_magic_table_is_told_in_full() -> None:
    table = read(request(make_responder(), "GET", "/magic"))

    assert {row["recipient"] for row in table["recipients"]} == set(MAGIC)
    assert (table["sender"], table["word"]) == ("BLOCKED", "sandbox-blocked")


def test_the_page_loads_nothing_from_elsewhere_and_holds_no_script_or_style_of_its_own() -> None:
    responder = make_responder()
    page = request(responder, "GET", "/").body.decode()

    for address in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert address.startswith(("/", "#"))
        if address.startswith("/"):
            assert request(responder, "GET", address).status == 200
    assert re.findall(r"<style|style=|\son\w+=|<script(?! type=\"module\" src=)", page) == []
    policy = dict(GUARDS)["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_the_script_never_makes_markup_from_text() -> None:
    script = request(make_responder(), "GET", "/inbox.js").body.decode()

    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", script) == []


def test_asking_the_stand_in_itself_is_not_in_the_ledger() -> None:
    responder = make_responder()
    request(responder, "GET", "/")
    request(responder, "GET", "/ledger")

    assert responder.ledger.total == 0
    ask(responder, FALLBACK)
    assert responder.ledger.total == 1
