"""The OpenAPI document describes exactly what is served; that answers agree with it, every other test here checks."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from relay.domain.codes import Permission, ProblemCode
from relay.http.application import Pages
from relay.http.examples import EXAMPLES, REQUEST
from relay.http.openapi import OPERATIONS, openapi_document
from relay.http.problems import PROBLEMS
from relay.http.routes import RouteTable
from support_front import DOCUMENT, Front


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def operations() -> Iterator[Any]:
    for methods in DOCUMENT["paths"].values():
        yield from methods.values()


async def test_every_route_is_described_and_nothing_else() -> None:
    front = Front(pages=Pages(docs=False, openapi=False))
    table: RouteTable = front.app._table  # type: ignore[attr-defined]
    served = {(route.method, route.path) for route in table.routes}

    webhooks = {("POST", "/v1/webhooks/{kind}/{receiver}")}  # served by a front of their own
    assert {(operation.method, operation.path) for operation in OPERATIONS} == served | webhooks


def test_the_document_is_the_same_each_time() -> None:
    assert json.dumps(openapi_document()) == json.dumps(DOCUMENT)


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        node = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_component_is_used() -> None:
    used = set(references(DOCUMENT))
    made = {
        f"#/components/{kind}/{name}"
        for kind in ("parameters", "headers", "examples", "schemas")
        for name in DOCUMENT["components"][kind]
    }

    assert made - used == set()


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_every_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])


def test_every_example_is_what_its_schema_says() -> None:
    for operation in operations():
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            for content in body.get("content", {}).values():
                if "example" in content:
                    schema = content["schema"] | {"components": DOCUMENT["components"]}
                    Draft202012Validator(schema).validate(content["example"])
    problem = {"$ref": "#/components/schemas/Problem", "components": DOCUMENT["components"]}
    for example in DOCUMENT["components"]["examples"].values():
        Draft202012Validator(problem).validate(example["value"])


async def test_the_examples_of_requests_are_accepted_as_they_stand() -> None:
    front = Front()
    batch = await front.request("POST", "/v1/notifications/batch", EXAMPLES["batch"])
    lines = await front.request(
        "POST", "/v1/notifications/batch", EXAMPLES["batch_lines"].encode(), {"Content-Type": "application/x-ndjson"}
    )

    assert (await front.request("POST", "/v1/notifications", REQUEST)).status == 200
    assert batch.json()["accepted"] == lines.body.count(b"queued") == 2
    assert (await front.request("POST", "/v1/operator/erase", EXAMPLES["erase"])).status == 200


def test_every_answer_carries_the_request_id() -> None:
    for operation in operations():
        for response in operation["responses"].values():
            assert "X-Request-Id" in response["headers"]


def test_every_problem_stands_under_its_own_status() -> None:
    # Towards the sender of a webhook everything that may pass is 503 (SPEC section 8).
    for operation in (each for each in operations() if each["operationId"] != "receiveWebhook"):
        for status, response in operation["responses"].items():
            codes = response["content"].get("application/problem+json", {}).get("examples", {})
            assert {PROBLEMS[ProblemCode(code)].status for code in codes} <= {int(status)}


def test_every_code_is_documented_somewhere() -> None:
    documented = {
        code
        for operation in operations()
        for response in operation["responses"].values()
        for code in response["content"].get("application/problem+json", {}).get("examples", {})
    }

    # Of these no operation is the cause: there is no such path, or no such method.
    assert set(ProblemCode) - documented == {ProblemCode.METHOD_NOT_ALLOWED}


def test_everything_under_v1_needs_a_key_and_says_which_permission() -> None:
    for operation in OPERATIONS:
        assert (operation.permission is not None) == operation.path.startswith("/v1/")
    assert {operation.permission for operation in OPERATIONS} == {None, *Permission}


async def test_the_document_is_served_as_it_is_written() -> None:
    reply = await Front(key=None).request("GET", "/openapi.json")

    assert reply.json() == json.loads(json.dumps(DOCUMENT))
