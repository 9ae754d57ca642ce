"""What holds for every answer, whatever becomes of the request: request id, record, closed labels, a last resort."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.http import problems
from relay.http.application import ServedPages, Surroundings, build_metrics_application
from support.front import CountedIds, FixedClock, Front, Witness

FRONT = Front(key=None)

PATHS = [
    ("POST", "/v1/notifications", "/v1/notifications"),
    ("POST", "/v1/notifications/", "/v1/notifications"),
    ("GET", "/v1//notifications", "/v1/notifications"),
    ("GET", "/v1/notifications/anything", "/v1/notifications/{id}"),
    ("PUT", "/v1/notifications/anything", "/v1/notifications/{id}"),
    ("OPTIONS", "/v1/notifications/anything", "/v1/notifications/{id}"),
    ("POST", "/v1/operator/unknown/anything/resolve", "/v1/operator/unknown/{id}/resolve"),
    ("GET", "/v1/notifications/batch", "/v1/notifications/batch"),
    ("GET", "/readyz", "/readyz"),
    ("GET", "/docs/problems", "/docs"),
    ("GET", "/docs/docs.css", "/docs"),
    ("GET", "/", "/"),
    ("GET", "/v1", "unmatched"),
    ("GET", "/v1/notifications/a/b", "unmatched"),
    ("GET", "/v1/notifications%2fpreview", "unmatched"),
    ("GET", "/.env", "unmatched"),
    ("OPTIONS", "*", "unmatched"),
    ("CONNECT", "", "/"),
]


@pytest.mark.parametrize(("method", "path", "route"), PATHS)
async def test_every_request_has_one_record_under_its_template(method: str, path: str, route: str) -> None:
    front = Front()
    reply = await front.request(method, path)
    [record] = front.witness.records

    assert record["route"] == route
    assert record["status"] == reply.status
    assert record["seconds"] > 0
    assert record["request_id"] == reply.headers["x-request-id"]


async def test_a_record_names_the_client_once_its_key_was_checked() -> None:
    front = Front()
    await front.send()
    await front.request("GET", "/v1/balance", key="rk_x_wrong")

    assert [record["client"] for record in front.witness.records] == ["billing", None]


async def test_labels_stay_a_closed_set_whatever_is_asked() -> None:
    front = Front()
    chance = random.Random(7)
    for _ in range(300):
        path = "/" + "/".join(
            chance.choice(["v1", "notifications", "x" * chance.randrange(9), "%00", "é"]) for _ in "abc"
        )
        method = chance.choice(["GET", "FOO", f"BAR-{chance.random()}"])
        await front.request(method, path)
    routes = {record["route"] for record in front.witness.records}
    methods = {record["method"] for record in front.witness.records}

    assert routes <= {"unmatched", "/v1/notifications/{id}", "/v1/notifications"}
    assert methods <= {"GET", "OTHER"}


# --- request ids ---


@pytest.mark.parametrize("target", ["/v1/balance", "/nowhere", "/metrics", "/docs"])
async def test_a_sane_request_id_comes_back_on_every_answer(target: str) -> None:
    front = Front()
    for method in ("GET", "DELETE", "OPTIONS", "HEAD"):
        reply = await front.request(method, target, headers={"X-Request-Id": "mine-1"})
        assert reply.headers["x-request-id"] == "mine-1"


@pytest.mark.parametrize("request_id", ["", "a" * 129, "two words", "\xe9", "a\x7f"])
async def test_another_one_is_replaced_by_a_fresh_one(request_id: str) -> None:
    reply = await Front().request("GET", "/readyz", headers={"X-Request-Id": request_id})

    assert reply.headers["x-request-id"] == "fresh-1"


# --- methods ---


async def test_an_unknown_path_is_404_with_a_problem() -> None:
    front = Front()
    reply = await front.request("GET", "/canary")

    assert (reply.status, reply.code) == (404, "not_found")
    assert b"canary" not in reply.body
    assert front.witness.refusals == [("edge", "not_found", None)]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/notifications", "POST, GET, HEAD, OPTIONS"),
        ("POST", "/v1/notifications/x", "GET, PATCH, DELETE, HEAD, OPTIONS"),
        ("HEAD", "/v1/notifications/batch", "POST, OPTIONS"),
        ("DELETE", "/v1/notifications/preview/", "POST, OPTIONS"),
        ("FOO", "/healthz", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_wrong_method_is_405_with_those_that_are_allowed(method: str, path: str, allow: str) -> None:
    reply = await Front().request(method, path)

    assert reply.status == 405
    assert reply.headers["allow"] == allow
    if method != "HEAD":
        assert reply.code == "method_not_allowed"


async def test_options_tells_what_a_path_allows_and_nothing_to_other_origins() -> None:
    reply = await Front().request("OPTIONS", "/v1/notifications", headers={"Origin": "https://elsewhere.example"})

    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["allow"] == "POST, GET, HEAD, OPTIONS"
    assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize("target", ["/healthz", "/v1/balance", "/docs", "/nowhere", "/openapi.json"])
async def test_head_is_get_without_the_body(target: str) -> None:
    front = Front()
    get, head = await front.request("GET", target), await front.request("HEAD", target)

    assert head.status == get.status
    assert head.body == b""
    assert head.headers["content-type"] == get.headers["content-type"]
    if target != "/nowhere":  # where the request id, and so the length, is another each time
        assert head.headers["content-length"] == get.headers["content-length"]


# --- heads that contradict themselves ---


@pytest.mark.parametrize(
    "headers",
    [
        [("content-length", "2"), ("transfer-encoding", "chunked")],
        [("content-length", "2"), ("content-length", "2")],
        [("content-length", "2"), ("content-length", "3")],
        [("host", "a"), ("host", "b")],
        [("host", "")],
        [("host", "-")],
    ],
    ids=str,
)
@pytest.mark.parametrize("target", ["/v1/notifications", "/nowhere"])
async def test_an_ambiguous_head_is_400_and_closes(headers: list[tuple[str, str]], target: str) -> None:
    front = Front()
    reply = await front.request("POST", target, headers=headers)

    assert (reply.status, reply.code) == (400, "bad_request")
    assert reply.headers["connection"] == "close"
    assert front.core.requests == []


@given(st.text(st.characters(max_codepoint=0x24F, exclude_characters="?\x00"), max_size=40))
async def test_any_path_is_answered_with_a_problem_or_a_page(path: str) -> None:
    reply = await FRONT.request("GET", "/" + path)

    assert reply.status in (200, 302, 401, 404, 405)


# --- the last resort ---


async def test_a_bug_in_the_error_path_itself_is_still_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("canary")

    monkeypatch.setattr(problems, "render_problem", fail)
    for method, target in (("POST", "/v1/notifications"), ("GET", "/v1/balance"), ("GET", "/nowhere")):
        front = Front(key=None)
        reply = await front.request(method, target, documented=False)
        assert (reply.status, reply.code) == (500, "internal_error")
        [record] = front.witness.records
        assert record["status"] == 500
        assert "ZeroDivisionError at test_edge.py" in str(front.witness.events[-1])
        assert "canary" not in str(front.witness.events)


# --- pages that can be switched off ---


async def test_metrics_can_move_to_a_listener_of_their_own() -> None:
    front = Front(pages=ServedPages(metrics=False))
    assert (await front.request("GET", "/metrics", documented=False)).status == 404

    witness = Witness()
    front.app = build_metrics_application(
        Surroundings(events=witness, recorder=witness, clock=FixedClock(), ids=CountedIds()), witness
    )
    reply = await front.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
    assert (reply.status, reply.body) == (200, b"relay_paused 0\n")
    assert reply.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    assert witness.accepted == ["application/openmetrics-text"]
    assert (await front.request("GET", "/v1/balance", documented=False)).status == 404


@pytest.mark.parametrize(
    ("pages", "served"),
    [
        (ServedPages(), {"/docs": 200, "/openapi.json": 200}),
        (ServedPages(docs=False), {"/docs": 404, "/docs/problems": 404, "/docs/docs.js": 404, "/openapi.json": 200}),
        (ServedPages(docs=False, openapi=False), {"/docs": 404, "/openapi.json": 404}),
    ],
)
async def test_reference_and_document_can_be_switched_off(pages: ServedPages, served: dict[str, int]) -> None:
    front = Front(pages=pages)

    assert {path: (await front.request("GET", path)).status for path in served} == served
