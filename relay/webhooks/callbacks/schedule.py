"""What follows from an attempt: delivered, again later, gone, or given up. Pure.

Backoff is exponential with jitter, and bounded; the receiver's own Retry-After is honoured as far as it is sensible.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct

from relay.domain.callback_rules import CallbackOutcome

FIRST_DELAY_SECONDS = 5.0
DELAY_FACTOR = 3.0
LONGEST_DELAY_SECONDS = 3600.0
"""Also the most of a Retry-After that is honoured."""

GIVE_UP_SECONDS = 24 * 3600
"""From the event to the last attempt."""

_GONE = 410
_HAS_RETRY_AFTER = (429, 503)


class Response(Struct, frozen=True):
    """What an attempt brought. ``status`` is ``None`` where no answer came; ``cause`` is a closed word for it.

    ``refused``: the name leads only to addresses where callbacks may not go. ``retry_after`` is the header's text.
    """

    status: int | None
    cause: str
    retry_after: str | None = None
    refused: bool = False


class NextStep(Struct, frozen=True):
    """How an attempt ended; ``delay_seconds`` is set exactly where there is another. ``cause``: a status or a word."""

    outcome: CallbackOutcome
    delay_seconds: float | None = None
    cause: str = ""


def decide(response: Response, *, attempt: int, happened_at: int, now_ms: int, chance: float) -> NextStep:
    """Say what follows from an attempt.

    Args:
        response: what it brought.
        attempt: which one it was, from 1.
        happened_at, now_ms: wall-clock milliseconds of the event, and now.
        chance: a random number from 0 up to 1: half of each delay is left to it, so that what failed together does not
            come again together.

    Example:
        >>> decide(Response(503, "answered"), attempt=1, happened_at=0, now_ms=0, chance=1.0)
        NextStep(outcome=<CallbackOutcome.RETRIED: 'retried'>, delay_seconds=5.0, cause='503')
    """
    cause = response.cause if response.status is None else str(response.status)
    if response.refused:
        return NextStep(CallbackOutcome.REFUSED, cause=cause)
    if response.status is not None and 200 <= response.status < 300:
        return NextStep(CallbackOutcome.DELIVERED, cause=cause)
    if response.status == _GONE:
        return NextStep(CallbackOutcome.GONE, cause=cause)
    delay = _delay(attempt, chance)
    if response.status in _HAS_RETRY_AFTER and response.retry_after is not None:
        asked = parse_retry_after(response.retry_after, now_ms) or 0.0
        delay = max(delay, min(asked, LONGEST_DELAY_SECONDS))
    if (now_ms - happened_at) / 1000 + delay > GIVE_UP_SECONDS:
        return NextStep(CallbackOutcome.GIVEN_UP, cause=cause)
    return NextStep(CallbackOutcome.RETRIED, delay, cause)


def _delay(attempt: int, chance: float) -> float:
    grown = FIRST_DELAY_SECONDS * DELAY_FACTOR ** min(attempt - 1, 20)
    return min(grown, LONGEST_DELAY_SECONDS) * (0.5 + chance / 2)


def parse_retry_after(value: str, now_ms: int) -> float | None:
    """Read a Retry-After in seconds: seconds, or a date (RFC 9110, section 10.2.3); ``None`` where it is neither.

    Example:
        >>> parse_retry_after("120", 0), parse_retry_after("soon", 0)
        (120.0, None)
        >>> parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 0)
        60.0
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:10])
    try:
        moment = parsedate_to_datetime(text[:64])
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds(), 0.0)
