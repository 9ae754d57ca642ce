"""The parts of the OpenAPI document that operations refer to: tags, headers, schemas; and what the relay calls back.

Schemas are msgspec's own, from the structs that decode and encode; what no struct says is written by hand.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from relay.domain.codes import ProblemCode
from relay.http.examples import EXAMPLES
from relay.http.field_texts import FIELD_TEXTS
from relay.http.openapi import JSON, TEXT, public_name, reference
from relay.http.schemas import MOST_ITEMS

TIME: dict[str, Any] = {"type": "string", "format": "date-time"}

_BLANKS = re.compile(r"\s+")


# --- what is called back ---


def callbacks() -> dict[str, Any]:
    """The two events that are posted to a ``callback_url``, signed by Standard Webhooks."""
    said = {
        "notification.completed": "Every recipient of an asynchronous notification has its outcome.",
        "notification.resolved": "An outcome that was unknown became definite later.",
    }
    return {
        event: {
            "post": {
                "operationId": event.replace(".", " ").title().replace(" ", "").replace("N", "n", 1),
                "tags": ["Callbacks"],
                "summary": f"`{event}`",
                "description": f"{text} Posted to the request's `callback_url` until it is answered 2xx, so it may come"
                " more than once; 410 ends all callbacks to this address.",
                "security": [],
                "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in _SIGNED],
                "requestBody": {
                    "required": True,
                    _PYTHON: "NotificationEvent",
                    "content": {
                        JSON: {"schema": reference("NotificationEvent"), "example": _event_example(event)},
                    },
                },
                "responses": {"2XX": {"description": "Taken."}, "410": {"description": "No more of these, please."}},
            }
        }
        for event, text in said.items()
    }


def _event_example(event: str) -> dict[str, Any]:
    data = EXAMPLES["notification"]
    recipients = [{name: value for name, value in entry.items() if name != "input"} for entry in data["recipients"]]
    return {"type": event, "timestamp": "2026-12-01T09:00:01.310Z", "data": data | {"recipients": recipients}}


# --- components ---


TAGS = {
    "Sending": "Send messages, see how one would go out, cancel what waits.",
    "Looking up": "What became of messages, and what is left to send with.",
    "Webhooks": "Alerts in, pages out.",
    "Operating": "What those do who run the relay.",
    "Watching": "What machines ask.",
    "Callbacks": "What the relay posts to you.",
}
"""In the order of the reference page."""

PARAMETERS: dict[str, Any] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "1 to 255 visible ASCII characters, bare or in double quotes. The same key with the same request"
        " gets the stored answer for 7 days, and never a second SMS.",
        "schema": {"type": "string", "pattern": r'^([!#-~][!-~]{0,254}|"([!#-\[\]-~]|\\["\\]){1,255}")$'},
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "required": False,
        "description": "`respond-async`: accept and answer 202. `wait=n`: wait at most n seconds.",
        "schema": TEXT,
    },
    "RequestId": {
        "name": "X-Request-Id",
        "in": "header",
        "required": False,
        "description": "Your own id for this request, up to 128 visible ASCII characters.",
        "schema": TEXT,
    },
}

_PYTHON = "x-py-typing"
"""openapi-generator's client for Python (7.26) forgets the types of what webhooks take, unless it is told."""

_SIGNED = {
    "WebhookId": ("webhook-id", "The same for each attempt at this event: a repetition is known by it."),
    "WebhookTimestamp": ("webhook-timestamp", "Seconds since 1970-01-01 UTC, of this attempt."),
    "WebhookSignature": (
        "webhook-signature",
        "`v1,` and a signature; two of them, with a blank between, while secrets are rotated.",
    ),
}
PARAMETERS |= {
    name: {"name": header, "in": "header", "required": True, "description": text, "schema": TEXT, _PYTHON: "StrictStr"}
    for name, (header, text) in _SIGNED.items()
}

HEADERS = {
    "X-Request-Id": "Yours, if you sent a sane one; else a fresh one.",
    "Location": "Where the outcome can be looked up.",
    "Idempotency-Replayed": "`true` where an earlier request with this key was answered before.",
    "Preference-Applied": "What of Prefer was done.",
    "Retry-After": "Seconds.",
    "RateLimit": "What is left of the limit, and when it is full again.",
    "RateLimit-Policy": "The limit: how many in how many seconds.",
    "WWW-Authenticate": "`Bearer`.",
}


class DetectedBy(StrEnum):
    """Whose list a blocked word is on."""

    RELAY = "relay"
    SMSCLONE = "smsclone"


class EventType(StrEnum):
    """What a callback tells."""

    COMPLETED = "notification.completed"
    RESOLVED = "notification.resolved"


def schemas_of(kinds: Iterable[type[Struct | StrEnum]]) -> dict[str, Any]:
    named = (*kinds, DetectedBy, EventType, ProblemCode)
    _, components = msgspec.json.schema_components(named, ref_template="#/components/schemas/{name}")
    schemas = {public_name(name): _tidy(schema) for name, schema in components.items()}
    for name, schema in schemas.items():
        if "enum" in schema:
            # Generators for Go put the names of all enums into one package.
            schema["x-enum-varnames"] = [name + "".join(map(str.title, re.split(r"\W|_", v))) for v in schema["enum"]]
    schemas |= _handmade() | _called_back(schemas)
    for name, schema in schemas.items():
        schema["properties"] = {
            field: _explain(name, field, kind) for field, kind in schema.get("properties", {}).items()
        }
        if not schema["properties"]:
            del schema["properties"]
    return dict(sorted(schemas.items()))


def _explain(schema: str, field: str, kind: dict[str, Any]) -> dict[str, Any]:
    """Say what a field means, where it does not say it itself and is no schema of its own, which does."""
    text = FIELD_TEXTS.get(f"{schema}.{field}") or FIELD_TEXTS.get(field)
    return kind if text is None or "description" in kind or "$ref" in kind else kind | {"description": text}


def _called_back(schemas: dict[str, Any]) -> dict[str, Any]:
    """The notification of a callback: as in answers, but without the numbers as they were written."""
    recipient, notification = schemas["Recipient"], schemas["Notification"]
    return {
        "CallbackRecipient": recipient
        | {
            "properties": {name: kind for name, kind in recipient["properties"].items() if name != "input"},
            "required": [name for name in recipient["required"] if name != "input"],
        },
        "CallbackNotification": notification
        | {
            "properties": notification["properties"]
            | {"recipients": {"type": "array", "items": reference("CallbackRecipient")}}
        },
    }


def _handmade() -> dict[str, Any]:
    """What no struct says."""
    items = {"type": "array", "items": reference("BatchEntry")}
    counts = {"accepted": {"type": "integer"}, "refused": {"type": "integer"}}
    problem = _object("An item that was refused, with its own problem.", {"index": {"type": "integer"}})
    problem["properties"]["problem"] = reference("Problem")
    problem["required"].append("problem")
    event = {"type": reference("EventType"), "timestamp": TIME, "data": reference("CallbackNotification")}
    return {
        "Batch": _object("What became of each item, in order.", {"items": items, **counts}),
        "BatchEntry": {
            "description": "What became of one item.",
            "oneOf": [reference("AcceptedItem"), reference("RefusedItem")],
        },
        "BatchRequest": {
            "description": f"Up to {MOST_ITEMS:,} requests.",
            "type": "array",
            "items": reference("BatchItem"),
            "minItems": 1,
            "maxItems": MOST_ITEMS,
        },
        "RefusedItem": problem,
        "AlertsBody": {
            "description": "What the sender sends. Unknown fields are ignored.",
            "type": "object",
            "additionalProperties": True,
        },
        "NotificationEvent": _object("What is called back.", event),
        "Problem": _problem_schema(),
    }


def _object(description: str, properties: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "description": description,
        "type": "object",
        "properties": properties | (optional or {}),
        "required": list(properties),
    }


def _problem_schema() -> dict[str, Any]:
    hits = {"type": "array", "items": reference("Hit"), "description": "List entries, by code point in your text."}
    errors = {"type": "array", "items": reference("FieldError"), "description": "Everything that is wrong, at once."}
    retry_safe = {"type": "boolean", "description": "Whether the same request may be sent again: no second SMS."}
    return _object(
        "Why the relay said no (RFC 9457). It never repeats a value that you sent.",
        {
            "type": {"type": "string", "format": "uri-reference"},
            "title": TEXT,
            "status": {"type": "integer"},
            "code": reference("ProblemCode"),
            "detail": TEXT,
            "request_id": TEXT,
        },
        {
            "retry_safe": retry_safe,
            "id": {"type": "string", "description": "The notification, where one was accepted first."},
            "errors": errors,
            "hits": hits,
            "detected_by": reference("DetectedBy"),
            "allowed_from": TIME,
        },
    )


def _tidy(schema: Any) -> Any:
    """Give schemas their public names and flowing text; times are marked as such; a default is told in words, because
    generators take a field that has one for required."""
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value) for key, value in schema.items() if key not in ("title", "default")}
    if "enum" in tidy:
        tidy = {"type": "string"} | tidy
    if isinstance(tidy.get("$ref"), str):
        tidy["$ref"] = public_name(tidy["$ref"])
    if isinstance(tidy.get("description"), str):
        tidy["description"] = _BLANKS.sub(" ", tidy["description"].replace("``", "`"))
        if (default := schema.get("default")) is not None and not isinstance(default, dict):
            tidy["description"] += f" Left out: `{msgspec.json.encode(default).decode().strip(chr(34))}`."
    for name, value in tidy.get("properties", {}).items():
        if name.endswith("_at"):
            tidy["properties"][name] = _as_time(value)
    return tidy


def _as_time(schema: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in schema:
        return schema | {"anyOf": [_as_time(part) for part in schema["anyOf"]]}
    return TIME if schema == TEXT else schema
