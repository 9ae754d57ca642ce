"""The OpenAPI document describes exactly what is served; that answers agree with it, every other test here checks."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from relay.app.routes import openapi_document, route_labels
from relay.domain.codes import Permission, ProblemCode
from relay.http.examples import EXAMPLES, REQUEST
from relay.http.field_texts import FIELD_TEXTS
from relay.http.problems import PROBLEMS
from support.front import DOCUMENT, Front

SCHEMAS = DOCUMENT["components"]["schemas"]


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


def test_every_route_is_described_and_nothing_else() -> None:
    described = {path: tuple(sorted(map(str.upper, methods))) for path, methods in DOCUMENT["paths"].items()}

    pages = ("/", "/docs", "/openapi.json", "/console")

    assert described == {route: methods for route, methods in route_labels().items() if route not in pages}


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
    undocumented = set(ProblemCode) - documented - {ProblemCode.METHOD_NOT_ALLOWED}
    assert undocumented == set(), "name it where it is refused: in described(…), or in a list of relay/http/openapi.py"
    assert ProblemCode.METHOD_NOT_ALLOWED not in documented


def test_everything_under_v1_needs_a_key_and_says_which_permission() -> None:
    said = set()
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            permission = re.findall(r"Needs the permission `(\w+)`", operation["description"])
            assert bool(permission) == bool(operation["security"]) == path.startswith("/v1/")
            said.update(permission)
    assert said == set(Permission)


async def test_the_document_is_served_as_it_is_written() -> None:
    reply = await Front(key=None).request("GET", "/openapi.json")

    assert reply.json() == json.loads(json.dumps(DOCUMENT))


def test_every_field_says_what_it_means() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for name, schema in schemas.items():
        for field, kind in schema.get("properties", {}).items():
            named = kind.get("$ref", "").rsplit("/", 1)[-1]
            assert kind.get("description") or schemas.get(named, {}).get("description"), (
                f"{name}.{field}: say in relay/http/field_texts.py what it means"
            )


def test_every_text_about_a_field_is_used() -> None:
    schemas = DOCUMENT["components"]["schemas"].items()
    names = {
        key for name, schema in schemas for field in schema.get("properties", {}) for key in (field, f"{name}.{field}")
    }

    assert set(FIELD_TEXTS) <= names


def test_what_is_called_back_is_described_with_its_signed_headers() -> None:
    assert set(DOCUMENT["webhooks"]) == {"notification.completed", "notification.resolved"}
    for operation in (each["post"] for each in DOCUMENT["webhooks"].values()):
        names = [reference["$ref"].rsplit("/", 1)[1] for reference in operation["parameters"]]
        headers = [DOCUMENT["components"]["parameters"][name]["name"] for name in names]
        content = operation["requestBody"]["content"]["application/json"]
        assert headers == ["webhook-id", "webhook-timestamp", "webhook-signature"]
        Draft202012Validator(content["schema"] | {"components": DOCUMENT["components"]}).validate(content["example"])


def find_enums(part: Any) -> Iterator[dict[str, Any]]:
    """Every schema with an enum, wherever it stands; what an example holds is none."""
    if isinstance(part, dict):
        if isinstance(part.get("enum"), list):
            yield part
        for name, each in part.items():
            if name not in ("example", "examples"):
                yield from find_enums(each)
    elif isinstance(part, list):
        for each in part:
            yield from find_enums(each)


def test_nothing_optional_has_a_default_and_every_enum_has_a_name_of_its_own() -> None:
    names = [
        name for schema in DOCUMENT["components"]["schemas"].values() for name in schema.get("x-enum-varnames", ())
    ]

    assert len(names) == len(set(names)) > 0
    named = DOCUMENT["components"]["schemas"].values()
    assert [place for place in find_enums(DOCUMENT) if not any(place is schema for schema in named)] == []
    for schema in DOCUMENT["components"]["schemas"].values():
        assert not [kind for kind in schema.get("properties", {}).values() if "default" in kind]
