"""Shed before the claim: say no at once where a send could only wait or fail. Nothing is claimed, nothing is sent."""

from relay.domain.codes import ProblemCode
from relay.domain.errors import Unavailable
from relay.sending.breaker import Breaker
from relay.sending.ports import JournalUnavailable

RETRY_SOON_SECONDS = 1.0
_PAUSED_SECONDS = 30.0


def refuse_overload() -> Unavailable:
    """The refusal where as many notifications are under way as may be."""
    detail = "Too many notifications are under way. This request sent nothing; try again, or use Prefer: respond-async."
    return Unavailable(ProblemCode.OVERLOADED, detail, retry_after_seconds=RETRY_SOON_SECONDS)


def refuse_stopping() -> Unavailable:
    """The refusal of an instance that stops, or is not ready yet."""
    detail = "This instance is stopping or not yet ready; another one will take the request. Nothing was sent."
    return Unavailable(ProblemCode.DRAINING, detail, retry_after_seconds=RETRY_SOON_SECONDS)


def find_obstacle(breaker: Breaker, now: float, *, paused: bool, overloaded: bool) -> Unavailable | None:
    """Say why a caller who waits cannot be served now, or ``None``.

    Args:
        breaker: of the line that the send would take.
        now: monotonic seconds.
        paused: whether the operator stopped all sending.
        overloaded: whether as many notifications are under way as may be.
    """
    if paused:
        detail = "The operator has stopped all sending. Nothing was sent."
        return Unavailable(ProblemCode.PAUSED, detail, retry_after_seconds=_PAUSED_SECONDS)
    if (wait := breaker.seconds_until_allowed(now)) > 0:
        detail = "smsclone does not answer, or refuses the relay; sending stops for a moment. Nothing was sent."
        return Unavailable(ProblemCode.UPSTREAM_UNREACHABLE, detail, retry_after_seconds=wait)
    if (wait := breaker.seconds_without_balance(now)) > 0:
        detail = "The units at smsclone ran out. Nothing was sent; the operator has to buy units."
        return Unavailable(ProblemCode.UPSTREAM_NO_BALANCE, detail, retry_after_seconds=wait)
    return refuse_overload() if overloaded else None


def journal_unavailable(failure: JournalUnavailable) -> Unavailable:
    """The refusal for a journal that does not answer: nothing was sent."""
    return Unavailable(
        ProblemCode.JOURNAL_UNAVAILABLE,
        f"The relay cannot write its journal now ({failure.reason}); nothing was sent. Try again as Retry-After says.",
        retry_after_seconds=RETRY_SOON_SECONDS,
    )
