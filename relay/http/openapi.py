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
from relay.http.listing import DEFAULT_LIMIT, HIGHEST_LIMIT
from relay.http.notifications import PreviewBody
from relay.http.operator import ErasedBody, PausedBody
from relay.http.problems import PROBLEMS, TYPE_PREFIX
from relay.http.reference import ALWAYS, OPERATIONS, Content, Operation, Outcome
from relay.http.schemas import BatchItem, EraseRequest, NotificationRequest, ResendRequest, ResolveRequest
from relay.sending.requests import PreviewProblem

_STRUCTS = (
    *(NotificationRequest, BatchItem, ResolveRequest, ResendRequest, EraseRequest),
    *(NotificationBody, PreviewBody, PreviewProblem, BalanceBody, PausedBody, ErasedBody, HealthBody),
    *(AcceptedItem, RefusedItem),
)
_PROBLEM_JSON = "application/problem+json"
_BLANKS = re.compile(r"\s+")

_TEXT: dict[str, Any] = {"type": "string"}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}

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
            "parameters": _parameters(),
            "headers": _headers(),
            "examples": {code.value: _problem_example(code) for code in _documented_codes()},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key that `relay keys new` made."}
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
        "security": [] if operation.permission is None else [{"key": []}],
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in operation.parameters],
        **({"requestBody": {"required": True, "content": _contents(operation.body)}} if operation.body else {}),
        "responses": _responses(operation),
    }


def _responses(operation: Operation) -> dict[str, Any]:
    responses = {outcome.status: _outcome(outcome) for outcome in operation.outcomes}
    by_status: dict[int, list[ProblemCode]] = {}
    for code in (*operation.problems, *ALWAYS):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
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
        media: dict[str, Any] = {"schema": _TEXT if content.schema is None else _reference(content.schema)}
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
    documented = {code for operation in OPERATIONS for code in (*operation.problems, *ALWAYS)}
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
    cursor = {"anyOf": [_TEXT, {"type": "null"}], "description": "For the next page; null on the last one."}
    page = {"items": {"type": "array", "items": _reference("Notification")}, "next_cursor": cursor}
    requests = {"type": "array", "items": _reference("BatchItem"), "minItems": 1, "maxItems": MOST_ITEMS}
    return dict(
        sorted(
            {
                **schemas,
                "Batch": _object("What became of each item, in order.", {"items": items, **counts}),
                "BatchRequest": {"description": "Up to 1,000 requests.", **requests},
                "NotificationPage": _object("One page of a list.", page),
                "Live": _object("The event loop turns.", {"status": {"type": "string", "enum": ["ok"]}}),
                "Problem": _problem_schema(),
            }.items()
        )
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
            "title": _TEXT,
            "status": {"type": "integer"},
            "code": _reference("ProblemCode"),
            "detail": _TEXT,
            "request_id": _TEXT,
        },
        {
            "retry_safe": retry_safe,
            "id": {"type": "string", "description": "The notification, where one was accepted first."},
            "errors": errors,
            "hits": hits,
            "detected_by": {"type": "string", "enum": ["relay", "smsclone"]},
            "allowed_from": _TIME,
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
    return _TIME if schema == _TEXT else schema


def _parameters() -> dict[str, Any]:
    visible = {"type": "string", "pattern": "^[!-~]{1,64}$"}
    key = {"type": "string", "minLength": 1, "maxLength": 257}
    limit = {"type": "integer", "minimum": 1, "maximum": HIGHEST_LIMIT, "default": DEFAULT_LIMIT}
    status = {"type": "string", "enum": [status.value for status in NotificationStatus]}
    return {
        "Id": _parameter("path", "id", {"type": "string", "format": "uuid"}, "A notification's id."),
        "IdempotencyKey": _parameter(
            "header",
            "Idempotency-Key",
            key,
            "1 to 255 visible ASCII characters, bare or in double quotes. The same key with the same request gets the"
            " stored answer for 7 days, and never a second SMS.",
        ),
        "Prefer": _parameter(
            "header", "Prefer", _TEXT, "`respond-async`: accept and answer 202. `wait=n`: wait at most n seconds."
        ),
        "RequestId": _parameter(
            "header", "X-Request-Id", _TEXT, "Your own id for this request, up to 128 visible ASCII characters."
        ),
        "Reference": _parameter("query", "reference", visible, "Notifications with this reference."),
        "IdempotencyKeyFilter": _parameter(
            "query", "idempotency_key", {"type": "string", "pattern": "^[!-~]{1,255}$"}, "The one with this key."
        ),
        "Status": _parameter("query", "status", status, "Notifications with this status."),
        "CreatedFrom": _parameter("query", "created_from", _TIME, "Created at this time or later."),
        "CreatedTo": _parameter("query", "created_to", _TIME, "Created before this time."),
        "Limit": _parameter("query", "limit", limit, "How many on a page."),
        "Cursor": _parameter("query", "cursor", _TEXT, "The `next_cursor` of the page before."),
    }


def _parameter(place: str, name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "description": description, "schema": schema}


def _headers() -> dict[str, Any]:
    described = {
        "X-Request-Id": "Yours, if you sent a sane one; else a fresh one.",
        "Location": "Where the outcome can be looked up.",
        "Idempotency-Replayed": "`true` where an earlier request with this key was answered before.",
        "Preference-Applied": "What of Prefer was done.",
        "Retry-After": "Seconds.",
        "RateLimit": "What is left of the limit, and when it is full again.",
        "RateLimit-Policy": "The limit: how many in how many seconds.",
        "WWW-Authenticate": "`Bearer`.",
    }
    return {name: {"description": text, "schema": _TEXT} for name, text in described.items()}
