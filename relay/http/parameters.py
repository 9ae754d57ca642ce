"""Parameters of requests and headers of answers, as the OpenAPI document describes them."""

from typing import Any

from relay.domain.codes import NotificationStatus, Source
from relay.http.listing import DEFAULT_LIMIT, HIGHEST_LIMIT

WEBHOOK_KINDS = tuple(kind.value for kind in (Source.ALERTMANAGER, Source.GRAFANA, Source.GENERIC))
TEXT: dict[str, Any] = {"type": "string"}
TIME: dict[str, Any] = {"type": "string", "format": "date-time"}


def parameters() -> dict[str, Any]:
    """Every parameter, by the name that operations refer to it with."""
    visible = {"type": "string", "pattern": "^[!-~]{1,64}$"}
    key = {"type": "string", "minLength": 1, "maxLength": 257}
    limit = {"type": "integer", "minimum": 1, "maximum": HIGHEST_LIMIT, "default": DEFAULT_LIMIT}
    status = {"type": "string", "enum": [status.value for status in NotificationStatus]}
    return {
        "Id": _parameter("path", "id", {"type": "string", "format": "uuid"}, "A notification's id."),
        "Kind": _parameter("path", "kind", {"type": "string", "enum": list(WEBHOOK_KINDS)}, "What sends."),
        "Receiver": _parameter("path", "receiver", TEXT, "A receiver of the relay's settings."),
        "IdempotencyKey": _parameter(
            "header",
            "Idempotency-Key",
            key,
            "1 to 255 visible ASCII characters, bare or in double quotes. The same key with the same request gets the"
            " stored answer for 7 days, and never a second SMS.",
        ),
        "Prefer": _parameter(
            "header", "Prefer", TEXT, "`respond-async`: accept and answer 202. `wait=n`: wait at most n seconds."
        ),
        "RequestId": _parameter(
            "header", "X-Request-Id", TEXT, "Your own id for this request, up to 128 visible ASCII characters."
        ),
        "Reference": _parameter("query", "reference", visible, "Notifications with this reference."),
        "IdempotencyKeyFilter": _parameter(
            "query", "idempotency_key", {"type": "string", "pattern": "^[!-~]{1,255}$"}, "The one with this key."
        ),
        "Status": _parameter("query", "status", status, "Notifications with this status."),
        "CreatedFrom": _parameter("query", "created_from", TIME, "Created at this time or later."),
        "CreatedTo": _parameter("query", "created_to", TIME, "Created before this time."),
        "Limit": _parameter("query", "limit", limit, "How many on a page."),
        "Cursor": _parameter("query", "cursor", TEXT, "The `next_cursor` of the page before."),
    }


def _parameter(place: str, name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "description": description, "schema": schema}


def headers() -> dict[str, Any]:
    """Every header of an answer."""
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
    return {name: {"description": text, "schema": TEXT} for name, text in described.items()}
