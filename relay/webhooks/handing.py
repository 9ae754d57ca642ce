"""Pages to the core, under the name that the body gives where that can be used, else under the receiver's own."""

from collections.abc import Sequence

from msgspec.structs import replace

from relay.domain.codes import ProblemCode
from relay.domain.errors import Refusal, ValidationFailed
from relay.sending.requests import Answer, Caller, Sending, Submission

_ABOUT_SENDERS = frozenset({ProblemCode.SENDER_NOT_ALLOWED, ProblemCode.BLOCKED_SENDER})


async def hand_over(
    sending: Sending, submissions: Sequence[Submission], caller: Caller, own_sender: str | None
) -> tuple[list[Answer | Refusal], int]:
    """Enqueue pages. One that is refused for the sender in its body goes out under the receiver's: a page matters more
    than the name above it.

    Returns:
        What became of each, and how many senders were passed over.
    """
    results = await sending.enqueue(list(submissions), caller) if submissions else []
    again = [
        index
        for index, (submission, result) in enumerate(zip(submissions, results, strict=True))
        if submission.sender != own_sender and isinstance(result, Refusal) and _is_about_sender(result)
    ]
    if again:
        renamed = [replace(submissions[index], sender=own_sender) for index in again]
        for index, result in zip(again, await sending.enqueue(renamed, caller), strict=True):
            results[index] = result
    return results, len(again)


def _is_about_sender(refusal: Refusal) -> bool:
    if isinstance(refusal, ValidationFailed):
        return bool(refusal.errors) and all(error.field == "sender" for error in refusal.errors)
    return refusal.code in _ABOUT_SENDERS
