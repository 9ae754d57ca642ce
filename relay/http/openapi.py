"""Builds the OpenAPI 3.1 document: schemas from the structs that decode and encode, operations from ``reference``."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from relay import __version__
from relay.domain.codes import NotificationStatus, ProblemCode
from relay.http.answers import NotificationBody
from relay.http.balance import BalanceBody
from relay.http.batch import MOST_ITEMS, AcceptedItem, RefusedItem
from relay.http.examples import EXAMPLES
from relay.http.health import HealthBody
from relay.http.notifications import PreviewBody
from relay.http.operator import ErasedBody, PausedBody
from relay.http.parameters import TEXT, TIME, headers, parameters
from relay.http.problems import PROBLEMS, TYPE_PREFIX
from relay.http.reference import ALWAYS, Content, Operation, Outcome
from relay.http.reference_calling import CALLING
from relay.http.reference_running import RUNNING
from relay.http.schemas import BatchItem, EraseRequest, NotificationRequest, ResendRequest, ResolveRequest
from relay.sending.requests import PreviewProblem

_STRUCTS = (
    *(NotificationRequest, BatchItem, ResolveRequest, ResendRequest, EraseRequest),
    *(NotificationBody, PreviewBody, PreviewProblem, BalanceBody, PausedBody, ErasedBody, HealthBody),
    *(AcceptedItem, RefusedItem),
)
OPERATIONS = (*CALLING, *RUNNING)
"""Every operation of the API, in the order of the reference page."""

_PROBLEM_JSON = "application/problem+json"
_BLANKS = re.compile(r"\s+")


_INTRODUCTION = """\
One service through which every other service sends SMS over smsclone.com.

Send `Authorization: Bearer rk_<id>_<secret>` with every request under `/v1`. Errors are problem documents (RFC 9457)
whose `code` is one of a closed set; [each is explained here](/docs/problems). `retry_safe` tells whether sending the
same again can bring a second SMS. Every answer carries `X-Request-Id`.
"""


def openapi_document() -> dict[str, Any]:
    """Build the document; the same for every relay of a version."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Relay",
            "version": __version__,
            "summary": "SMS over smsclone.com: never twice, never lost, never leaked.",
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "parameters": parameters(),
            "headers": headers(),
            "examples": {code.value: _problem_example(code) for code in _documented_codes()},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key that `relay keys new` made."},
                "basic": {"type": "http", "scheme": "basic", "description": "The key as the password, any user name."},
            },
        },
    }


# --- operations ---


def _operation(operation: Operation) -> dict[str, Any]:
    text = operation.text
    if operation.permission is not None:
        text += f"\n\nNeeds the permission `{operation.permission.value}`."
    return {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": text,
        "security": [] if operation.permission is None else [{scheme: []} for scheme in operation.schemes],
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in operation.parameters],
        **({"requestBody": {"required": True, "content": _contents(operation.body)}} if operation.body else {}),
        "responses": _responses(operation),
    }


def _responses(operation: Operation) -> dict[str, Any]:
    responses = {outcome.status: _outcome(outcome) for outcome in operation.outcomes}
    by_status: dict[int, list[ProblemCode]] = {}
    for code in (*operation.problems, *ALWAYS):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    if operation.come_again:
        by_status.setdefault(503, []).extend(operation.come_again)
    for status, codes in by_status.items():
        problems = _problems(status, codes)
        if status in responses:
            problems["description"] = f"{responses[status]['description']} Or: {problems['description']}"
            problems["content"] |= responses[status]["content"]
        responses[status] = problems
    return {str(status): responses[status] for status in sorted(responses)}


def _outcome(outcome: Outcome) -> dict[str, Any]:
    names = ("X-Request-Id", *outcome.headers)
    return {
        "description": outcome.description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": _contents(outcome.contents),
    }


def _contents(contents: Iterable[Content]) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for content in contents:
        media: dict[str, Any] = {"schema": TEXT if content.schema is None else _reference(content.schema)}
        if content.example is not None:
            media["example"] = EXAMPLES[content.example]
        described[content.media_type] = media
    return described


def _problems(status: int, codes: list[ProblemCode]) -> dict[str, Any]:
    names = ["X-Request-Id"]
    if status in (409, 429, 503):
        names.append("Retry-After")
    if status == 429:
        names += ["RateLimit", "RateLimit-Policy"]
    if status == 401:
        names.append("WWW-Authenticate")
    examples = {code.value: {"$ref": f"#/components/examples/{code.value}"} for code in codes}
    return {
        "description": " ".join(f"`{code.value}`: {PROBLEMS[code].title}." for code in codes),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {_PROBLEM_JSON: {"schema": _reference("Problem"), "examples": examples}},
    }


def _documented_codes() -> list[ProblemCode]:
    """Every code that an operation can answer; 405 belongs to methods that are no operation."""
    documented = {code for operation in OPERATIONS for code in (*operation.problems, *operation.come_again, *ALWAYS)}
    return [code for code in ProblemCode if code in documented]


def _problem_example(code: ProblemCode) -> dict[str, Any]:
    kind = PROBLEMS[code]
    value = {
        "type": TYPE_PREFIX + code.value,
        "title": kind.title,
        "status": kind.status,
        "code": code.value,
        "detail": kind.cause,
        **({} if kind.retry_safe is None else {"retry_safe": kind.retry_safe}),
        "request_id": "0192f3c4-5b1e-7000-8000-000000000001",
    }
    return {"summary": kind.title, "value": value}


# --- components ---


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> dict[str, Any]:
    _, components = msgspec.json.schema_components(_STRUCTS, ref_template="#/components/schemas/{name}")
    schemas: dict[str, Any] = {_public(name): _tidy(schema) for name, schema in components.items()}
    schemas["RefusedItem"]["properties"]["problem"] = _reference("Problem")
    items = {"type": "array", "items": {"oneOf": [_reference("AcceptedItem"), _reference("RefusedItem")]}}
    counts = {"accepted": {"type": "integer"}, "refused": {"type": "integer"}}
    cursor = {"anyOf": [TEXT, {"type": "null"}], "description": "For the next page; null on the last one."}
    page = {"items": {"type": "array", "items": _reference("Notification")}, "next_cursor": cursor}
    requests = {"type": "array", "items": _reference("BatchItem"), "minItems": 1, "maxItems": MOST_ITEMS}
    return dict(
        sorted(
            {
                **schemas,
                "Batch": _object("What became of each item, in order.", {"items": items, **counts}),
                "BatchRequest": {"description": "Up to 1,000 requests.", **requests},
                "NotificationPage": _object("One page of a list.", page),
                "AlertsBody": _object("What the sender sends. Unknown fields are ignored.", {}),
                "AlertsAccepted": _alerts_accepted(),
                "Live": _object("The event loop turns.", {"status": {"type": "string", "enum": ["ok"]}}),
                "Problem": _problem_schema(),
            }.items()
        )
    )


def _alerts_accepted() -> dict[str, Any]:
    status = {"type": "string", "enum": [status.value for status in NotificationStatus]}
    page = _object("A page.", {"id": TEXT, "status": status, "duplicate": {"type": "boolean"}})
    count = {"type": "integer", "minimum": 0}
    return _object(
        "What became of a webhook. Unaddressed alerts name nobody who may be named, and reach nobody.",
        {
            "notifications": {"type": "array", "items": page},
            "firing": count,
            "resolved": count,
            "unaddressed": count,
        },
    )


def _object(description: str, properties: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "description": description,
        "type": "object",
        "properties": properties | (optional or {}),
        "required": list(properties),
    }


def _problem_schema() -> dict[str, Any]:
    hits = {"type": "array", "items": _reference("Hit"), "description": "List entries, by code point in your text."}
    errors = {"type": "array", "items": _reference("FieldError"), "description": "Everything that is wrong, at once."}
    retry_safe = {"type": "boolean", "description": "Whether the same request may be sent again: no second SMS."}
    return _object(
        "Why the relay said no (RFC 9457). It never repeats a value that you sent.",
        {
            "type": {"type": "string", "format": "uri-reference"},
            "title": TEXT,
            "status": {"type": "integer"},
            "code": _reference("ProblemCode"),
            "detail": TEXT,
            "request_id": TEXT,
        },
        {
            "retry_safe": retry_safe,
            "id": {"type": "string", "description": "The notification, where one was accepted first."},
            "errors": errors,
            "hits": hits,
            "detected_by": {"type": "string", "enum": ["relay", "smsclone"]},
            "allowed_from": TIME,
        },
    )


def _public(name: str) -> str:
    return name.removesuffix("Body")


def _tidy(schema: Any) -> Any:
    """Give schemas their public names and flowing text; times are marked as such."""
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value) for key, value in schema.items() if key != "title"}
    if isinstance(tidy.get("$ref"), str):
        tidy["$ref"] = _public(tidy["$ref"])
    if isinstance(tidy.get("description"), str):
        tidy["description"] = _BLANKS.sub(" ", tidy["description"].replace("``", "`"))
    for name, value in tidy.get("properties", {}).items():
        if name.endswith("_at"):
            tidy["properties"][name] = _as_time(value)
    return tidy


def _as_time(schema: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in schema:
        return schema | {"anyOf": [_as_time(part) for part in schema["anyOf"]]}
    return TIME if schema == TEXT else schema
