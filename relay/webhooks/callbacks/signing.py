"""What a callback says and how it is signed: Standard Webhooks, by its reference library. Pure.

While a secret is rotated there are two, and a signature by each: the receiver may know either.

Source: Standard Webhooks specification 1.0, "Signature scheme" and "Webhook headers".
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from standardwebhooks import Webhook

from relay.domain.secret import Secret
from relay.http.answers import NotificationBody, build_notification
from relay.http.times import format_time
from relay.sending.callback_queue import DueCallback


class CallbackBody(Struct, frozen=True):
    """What is posted: which event, when it happened, and the notification as it stands, without numbers' ``input``."""

    type: str
    timestamp: str
    data: NotificationBody


def build_body(due: DueCallback) -> bytes:
    """Make the body of a callback."""
    data = build_notification(due.stored, with_inputs=False)
    return msgspec.json.encode(CallbackBody(f"notification.{due.kind.value}", format_time(due.happened_at), data))


def sign(callback_id: str, body: bytes, secrets: Sequence[Secret], now_ms: int) -> list[tuple[str, str]]:
    """Give the three headers of a signed body.

    Args:
        callback_id: the same for each attempt, so that the receiver knows a repetition.
        body: what is posted.
        secrets: one, or two while rotating.
        now_ms: wall-clock milliseconds of this attempt: an old timestamp is refused by receivers.
    """
    at = datetime.fromtimestamp(now_ms // 1000, UTC)
    text = body.decode()
    signatures = [Webhook(secret.reveal()).sign(callback_id, at, text) for secret in secrets]
    return [
        ("webhook-id", callback_id),
        ("webhook-timestamp", str(now_ms // 1000)),
        ("webhook-signature", " ".join(signatures)),
    ]
