"""Grafana's signature: an HMAC in place of a key. Its bodies are Alertmanager's with more fields. Pure.

Source: Grafana, "Configure webhook notifications", HMAC signature: hex HMAC-SHA-256 of the body, or of
``timestamp:body`` where a timestamp header is configured.
"""

import hashlib
import hmac

SIGNATURE = b"x-grafana-alerting-signature"
"""Grafana's own default for the header's name."""

TIMESTAMP = b"x-grafana-alerting-timestamp"
"""The name to configure as timestamp header; without one, de-duplication is all that stands against repetition."""

TOLERANCE_SECONDS = 300
"""How old, or how far ahead, a signed timestamp may be."""

_LONGEST_TIMESTAMP = 12


def is_signed(body: bytes, signature: bytes, timestamp: bytes | None, secret: str, now_ms: int) -> bool:
    """Check a signature in constant time, and its timestamp where there is one.

    Args:
        body: as it came.
        signature: the signature header's value.
        timestamp: the timestamp header's value: seconds since 1970.
        secret: what both sides know.
        now_ms: wall-clock milliseconds since 1970.
    """
    signed = body if timestamp is None else timestamp + b":" + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
    genuine = hmac.compare_digest(expected, signature.strip().lower())
    return genuine and (timestamp is None or is_recent(timestamp, now_ms))


def is_recent(timestamp: bytes, now_ms: int) -> bool:
    """Whether a signed timestamp, in seconds since 1970, is near enough to now."""
    if len(timestamp) > _LONGEST_TIMESTAMP or not timestamp.isdigit():
        return False
    return abs(int(timestamp) - now_ms // 1000) <= TOLERANCE_SECONDS
