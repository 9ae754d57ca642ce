"""Signatures of webhooks that come in, which stand for a key. Pure, but for Standard Webhooks' own look at the clock.

Source: Standard Webhooks specification 1.0, "Signature scheme"; Stripe, "Verify webhook signatures manually", which is
a form that others use too; Grafana's is in ``relay.webhooks.grafana``.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from functools import partial

from msgspec import Struct
from standardwebhooks import Webhook, WebhookVerificationError

from relay.domain.codes import Source
from relay.domain.secret import Secret
from relay.settings import ReceiverSettings, SignatureScheme
from relay.webhooks.grafana import SIGNATURE, TIMESTAMP, is_recent, is_signed

STANDARD = (b"webhook-signature", b"webhook-id", b"webhook-timestamp")
"""The headers of Standard Webhooks, in lower case."""

_PREFIX = b"sha256="
_LONGEST_HEADER = 4_096

Headers = Mapping[bytes, bytes]
"""By lower-case name."""


class Signature(Struct, frozen=True, kw_only=True):
    """How one receiver's sender signs.

    Attributes:
        headers: none of them may come twice; the first one holds the signature.
        check: takes the body as it came, the headers, and wall-clock milliseconds since 1970.
    """

    headers: tuple[bytes, ...]
    check: Callable[[bytes, Headers, int], bool]

    def is_genuine(self, body: bytes, headers: Headers, now_ms: int) -> bool:
        """Whether the signature is of this body, and new enough where the scheme has a time."""
        return len(headers.get(self.headers[0], b"")) <= _LONGEST_HEADER and self.check(body, headers, now_ms)


def make_signatures(settings: ReceiverSettings) -> dict[Source, Signature]:
    """Give how a receiver's senders sign, by the kind of webhook; those of other kinds do not."""
    secret = settings.hmac_secret
    if secret is None:
        return {}
    if settings.signature is SignatureScheme.NONE:
        return {Source.GRAFANA: Signature(headers=(SIGNATURE, TIMESTAMP), check=partial(_is_grafanas, secret))}
    if settings.signature is SignatureScheme.STANDARD_WEBHOOKS:
        return {Source.GENERIC: Signature(headers=STANDARD, check=partial(_is_standard, secret))}
    name = (settings.signature_header or "").lower().encode()
    timestamped = settings.signature is SignatureScheme.TIMESTAMPED_HMAC_SHA256
    check = partial(_is_timestamped if timestamped else _is_plain, secret, name)
    return {Source.GENERIC: Signature(headers=(name,), check=check)}


def _is_grafanas(secret: Secret, body: bytes, headers: Headers, now_ms: int) -> bool:
    return is_signed(body, headers[SIGNATURE], headers.get(TIMESTAMP), secret.reveal(), now_ms)


def _is_standard(secret: Secret, body: bytes, headers: Headers, now_ms: int) -> bool:
    """By the reference library, which looks at the clock itself. Supabase puts a comma behind each signature."""
    del now_ms
    given = {name.decode(): headers.get(name, b"").decode("latin-1") for name in STANDARD}
    signatures = given[STANDARD[0].decode()].split()
    given[STANDARD[0].decode()] = " ".join(signature.rstrip(",") for signature in signatures)
    try:
        Webhook(secret.reveal().removeprefix("v1,")).verify(body, given, json_parse=False)
    except (WebhookVerificationError, ValueError):
        return False
    return True


def _is_plain(secret: Secret, name: bytes, body: bytes, headers: Headers, now_ms: int) -> bool:
    del now_ms
    return hmac.compare_digest(_digest(body, secret), headers.get(name, b"").strip().lower().removeprefix(_PREFIX))


def _is_timestamped(secret: Secret, name: bytes, body: bytes, headers: Headers, now_ms: int) -> bool:
    parts = [part.strip().partition(b"=") for part in headers.get(name, b"").split(b",")]
    times = [text for key, _, text in parts if key == b"t"]
    if len(times) != 1 or not is_recent(times[0], now_ms):
        return False
    expected = _digest(times[0] + b"." + body, secret)
    return any(hmac.compare_digest(expected, text.lower()) for key, _, text in parts if key == b"v1")


def _digest(signed: bytes, secret: Secret) -> bytes:
    return hmac.new(secret.reveal().encode(), signed, hashlib.sha256).hexdigest().encode()
