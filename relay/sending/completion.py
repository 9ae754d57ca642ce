"""The end of a notification: what is written with its last outcome. Pure."""

from relay.domain.codes import Code, Status
from relay.domain.notification import Mode, RecipientResult, Stored, overall_status, view_recipients
from relay.sending.ports import Completion

_NEVER_RESERVED = (Code.INVALID_NUMBER, Code.DUPLICATE_RECIPIENT)


def completion_of(stored: Stored, now_ms: int) -> Completion:
    """Say how a notification ends, all of whose calls are done.

    The key is free again where the call was synchronous and certainly nothing was sent; the quota gets back the
    recipients that were certainly not sent to. ``unknown`` counts as used.
    """
    results = view_recipients(stored)
    return Completion(
        status=overall_status(results),
        at=now_ms,
        frees_key=stored.notification.mode is Mode.SYNCHRONOUS and all(_not_sent(result) for result in results),
        quota_given_back=sum(1 for result in results if _not_sent(result) and result.code not in _NEVER_RESERVED),
        callback_url=stored.notification.callback_url,
    )


def _not_sent(result: RecipientResult) -> bool:
    return result.status is Status.NOT_SENT
