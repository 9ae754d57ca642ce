"""What a receiver can check, with the reference library of Standard Webhooks: that it is ours, whole, and recent."""

import base64
import json
import time
from collections.abc import Sequence

import msgspec
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from relay.domain.codes import Route
from relay.domain.notification import Call, CallState, Stored
from relay.domain.secret import Secret
from relay.http.answers import build_notification
from relay.sending.callback_queue import CallbackKind, DueCallback
from relay.webhooks.callbacks.signing import build_body, sign
from support.journal import NOON, NOT_SENT, SENT, make_notification

SECRET = "whsec_" + base64.b64encode(b"canary-old-secret-0123456789").decode()
NEW_SECRET = "whsec_" + base64.b64encode(b"canary-new-secret-0123456789").decode()


def make_due(kind: CallbackKind = CallbackKind.COMPLETED) -> DueCallback:
    notification = make_notification("2348012345678", "2348012345679", reference="order-1204", message=None)
    call = Call(ordinal=1, route=Route.DND_FALLBACK, recipients=(0, 1), state=CallState.DONE, outcomes=(SENT, NOT_SENT))
    return DueCallback(
        id=f"msg_{notification.id}_completed",
        kind=kind,
        url="https://orders.internal/sms",
        target="https://orders.internal:443",
        happened_at=NOON,
        attempt=1,
        stored=Stored(notification=notification, calls=(call,), completed_at=NOON),
    )


def headers_of(body: bytes, secrets: Sequence[str], late_seconds: int = 0) -> dict[str, str]:
    """The headers of a callback that is signed now, or that long ago; the library looks at the clock itself."""
    now_ms = time.time_ns() // 1_000_000 - late_seconds * 1000
    return dict(sign("msg_1", body, [Secret(secret) for secret in secrets], now_ms))


def test_the_body_says_what_happened_when_and_to_which_notification() -> None:
    due = make_due()
    body = json.loads(build_body(due))

    assert body["type"] == "notification.completed"
    assert body["timestamp"] == "2026-12-01T11:00:00.000Z"
    assert body["data"]["id"] == due.stored.notification.id
    assert body["data"]["reference"] == "order-1204"
    assert [entry["status"] for entry in body["data"]["recipients"]] == ["sent", "not_sent"]


def test_the_notification_is_the_answers_own_without_inputs() -> None:
    due = make_due()
    told = json.loads(build_body(due))["data"]
    answered = json.loads(msgspec.json.encode(build_notification(due.stored)))
    for entry in answered["recipients"]:
        del entry["input"]

    assert told == answered


def test_what_became_definite_later_is_an_event_of_its_own() -> None:
    assert json.loads(build_body(make_due(CallbackKind.RESOLVED)))["type"] == "notification.resolved"


def test_the_reference_library_verifies_a_callback() -> None:
    body = build_body(make_due())

    assert Webhook(SECRET).verify(body, headers_of(body, [SECRET])) == json.loads(body)


@pytest.mark.parametrize("known", [SECRET, NEW_SECRET])
def test_while_rotating_a_receiver_may_know_either_secret(known: str) -> None:
    body = build_body(make_due())

    assert Webhook(known).verify(body, headers_of(body, [NEW_SECRET, SECRET])) == json.loads(body)


def test_a_text_outside_ascii_is_signed_as_it_is_sent() -> None:
    body = '{"name":"Ọlá"}'.encode()

    assert Webhook(SECRET).verify(body, headers_of(body, [SECRET])) == {"name": "Ọlá"}


def test_what_was_altered_repeated_later_or_signed_by_another_is_rejected() -> None:
    body = build_body(make_due())
    headers = headers_of(body, [SECRET])
    rejected: list[tuple[str, bytes, dict[str, str]]] = [
        (SECRET, body.replace(b'"sent"', b'"lost"'), headers),
        (SECRET, body, headers | {"webhook-id": "msg_2"}),
        (SECRET, body, headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}),
        (SECRET, body, headers_of(body, [SECRET], late_seconds=301)),
        (SECRET, body, headers_of(body, [SECRET], late_seconds=-400)),
        (NEW_SECRET, body, headers),
    ]

    for secret, altered, with_headers in rejected:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(altered, with_headers)
