"""Refusals: a no that is said before a claim exists, so that certainly nothing was sent.

::

    Refusal
    ├── ValidationFailed      field errors, all at once
    ├── Blocked               prefilter (or the upstream)
    ├── NotAllowed            the client may not do this
    ├── LimitReached          rate, quota, per-recipient cap
    ├── OutsideHours          quiet hours, or outside a delivery window
    ├── IdempotencyConflict   same key, other request or still running
    └── Unavailable           overloaded, draining, paused, breaker open, journal away

An outcome (a value) is the other kind of no; see ``relay.domain.notification``.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from relay.domain.codes import ProblemCode
from relay.domain.notification import Hit


class FieldError(Struct, frozen=True):
    """One thing that is wrong with a request.

    ``field`` is a path of our own names (``recipients[3]``), ``message`` a sentence with the remedy; neither ever
    holds a value that the caller sent.
    """

    field: str
    code: str
    message: str


class Refusal(Exception):
    """A no before the claim. ``detail`` is a sentence for the caller; it never repeats what the caller sent.

    Args:
        code: which problem it is; ``relay.http.problems`` knows its HTTP status.
        detail: what is wrong and what to do.
        retry_after_seconds: when it is worth trying again, where that is known.

    Attributes:
        stage: where the no was said, for the counters. Whoever turns a refusal into an answer counts it, once.
    """

    stage = "edge"

    def __init__(self, code: ProblemCode, detail: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(code.value)
        self.code = code
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


class ValidationFailed(Refusal):
    """One or more fields are wrong; all of them are listed."""

    def __init__(
        self, errors: Sequence[FieldError], *, code: ProblemCode = ProblemCode.VALIDATION_FAILED, detail: str = ""
    ) -> None:
        super().__init__(code, detail or "The request has fields that cannot be accepted; see errors.")
        self.errors = tuple(errors)


class Blocked(Refusal):
    """A word list says no."""

    def __init__(
        self,
        code: Literal[ProblemCode.BLOCKED_WORDS, ProblemCode.BLOCKED_SENDER],
        detail: str,
        *,
        detected_by: Literal["relay", "smsclone"],
        hits: Sequence[Hit] = (),
    ) -> None:
        super().__init__(code, detail)
        self.detected_by = detected_by
        self.hits = tuple(hits)


class NotAllowed(Refusal):
    """The client is known and may not do this."""


class LimitReached(Refusal):
    """A limit of the client, with what the RateLimit fields need.

    Args:
        policy: the limit's name in ``RateLimit-Policy``.
        limit: how many in a window.
        window_seconds: the window.
        remaining: how many are left now.
    """

    def __init__(
        self,
        code: ProblemCode,
        detail: str,
        *,
        policy: str,
        limit: int,
        window_seconds: int,
        remaining: int = 0,
        retry_after_seconds: float,
    ) -> None:
        super().__init__(code, detail, retry_after_seconds=retry_after_seconds)
        self.policy = policy
        self.limit = limit
        self.window_seconds = window_seconds
        self.remaining = remaining


class OutsideHours(Refusal):
    """Not at this hour; ``allowed_from`` is milliseconds since 1970-01-01 UTC."""

    def __init__(self, code: ProblemCode, detail: str, *, allowed_from: int, retry_after_seconds: float) -> None:
        super().__init__(code, detail, retry_after_seconds=retry_after_seconds)
        self.allowed_from = allowed_from


class IdempotencyConflict(Refusal):
    """The key is taken by another request, or by the same one that is still running."""


class Unavailable(Refusal):
    """Something that passes: overloaded, draining, paused, breaker open, journal away."""


class Overloaded(Unavailable):
    """All places are held, and this client holds its share of them; ``reason`` is the rule's word for it."""

    def __init__(self, detail: str, *, client: str, reason: str, retry_after_seconds: float) -> None:
        super().__init__(ProblemCode.OVERLOADED, detail, retry_after_seconds=retry_after_seconds)
        self.client = client
        self.reason = reason
