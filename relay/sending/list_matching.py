"""Outcomes that nobody knows, compared with the upstream's own list of messages: by number and time.

A list is of one account. What is certain is only this: one row for one open recipient within the window, with words
that say what became of it, and no other call of ours to this number around then that the row could be about. Everything
else is shown to a person.
A recipient that the list lacks is no proof of anything: nobody says how complete the list is.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from relay.domain.audit import Action
from relay.domain.codes import Status
from relay.domain.errors import Refusal
from relay.domain.message_list import ListedMessage, UnreadableRow, read_message_list
from relay.domain.notification import Stored, may_have_left
from relay.domain.numbers import match_number
from relay.sending.operations import MOST_SETTLED, check_reason
from relay.sending.ports import Clock, Journal, ListFilter, UnknownFilter
from relay.sending.prepare import MOST_DAYS_AHEAD
from relay.sending.requests import Caller, Operations

_LONGEST_QUEUED_MS = (MOST_DAYS_AHEAD + 1) * 86_400_000
"""No call is made later than this after its notification was accepted: so far ahead, and a day in the queue."""
_MOST_OTHERS = 100
"""Other notifications to one number in that time that are looked into; where there are more, nothing is certain."""


class OpenRecipient(Struct, frozen=True):
    """A recipient nobody knows about, and when the call for it was made."""

    stored: Stored
    number: str
    dialled_at: int


class Match(Struct, frozen=True, kw_only=True):
    """A row of the list that fits an open recipient.

    ``sent``: what its words say, ``None`` where they say nothing that is known. ``doubt``: why it is not certain.
    """

    stored: Stored
    number: str
    dialled_at: int
    row: ListedMessage
    doubt: str | None
    settled: bool = False


class Matched(Struct, frozen=True, kw_only=True):
    """What a list came to: its rows, those that could not be read, what fits, and the open ones of its time without a
    row. ``more``: that more was open than is compared at once."""

    rows: int
    unreadable: tuple[UnreadableRow, ...]
    matches: tuple[Match, ...]
    missing: int
    more: bool


class ListMatching:
    """Compares.

    Args:
        journal: of all clients.
        operations: settle what is certain.
    """

    def __init__(self, journal: Journal, operations: Operations, clock: Clock) -> None:
        self._journal = journal
        self._operations = operations
        self._clock = clock

    async def match(
        self,
        text: str,
        account: str,
        window_ms: int,
        caller: Caller,
        *,
        reason: str | None,
        pause: Callable[[], Awaitable[None]],
    ) -> Matched:
        """Compare what is open with a list, and settle what is certain where a reason is given.

        Args:
            text: the list as CSV.
            account: whose list it is: calls at other accounts are not in it.
            window_ms: how far the times may be apart.
            pause: to be awaited after every bit of the work.

        Raises:
            Refusal: ``validation_failed``, on ``csv`` or ``reason``.
        """
        said = None if reason is None else check_reason(reason)
        found = await self._find_open(account)
        by_number: dict[str, list[OpenRecipient]] = {}
        for each in found[:MOST_SETTLED]:
            by_number.setdefault(each.number, []).append(each)
        tails = {number[-7:] for number in by_number}
        rows, fitting, unreadable = 0, [], []
        first, last = float("inf"), float("-inf")
        for row in read_message_list(text):
            rows += 1
            await pause()
            if isinstance(row, UnreadableRow):
                unreadable.append(row)
                continue
            first, last = min(first, row.at), max(last, row.at)
            if row.number[-7:] in tails:
                fitting += [
                    (each, row)
                    for each in by_number.get(match_number(row.number) or "", ())
                    if abs(row.at - each.dialled_at) <= window_ms
                ]
        matches = await self._judge(fitting, window_ms)
        fits = {(match.stored.notification.id, match.number) for match in matches}
        now = self._clock.now_ms()
        await self._journal.audit(
            caller.act(Action.SEARCH, now, count=len(matches), reason="match with a message list")
        )
        if said is not None:
            matches = [await self._settle(match, said, caller) for match in matches]
        return Matched(
            rows=rows,
            unreadable=tuple(unreadable),
            matches=tuple(matches),
            missing=sum(
                1
                for each in found
                if first <= each.dialled_at <= last and (each.stored.notification.id, each.number) not in fits
            ),
            more=len(found) > MOST_SETTLED,
        )

    async def _find_open(self, account: str) -> list[OpenRecipient]:
        calls = await self._journal.list_unknown(MOST_SETTLED + 1, None, UnknownFilter(account=account))
        evidence = await self._journal.read_evidence([call.stored for call in calls])
        found: list[OpenRecipient] = []
        for call in calls:
            notification = call.stored.notification
            known = evidence.get(notification.id)
            dialled_at = notification.created_at if known is None else known.dialled_at
            at_account = _indexes_at(call.stored, account)
            numbers = {notification.entries[index].number for index in call.indexes if index in at_account}
            found += [OpenRecipient(call.stored, number, dialled_at) for number in sorted(filter(None, numbers))]
        return found

    async def _judge(self, fitting: Sequence[tuple[OpenRecipient, ListedMessage]], window_ms: int) -> list[Match]:
        of_open = Counter((each.stored.notification.id, each.number) for each, _ in fitting)
        of_row = Counter(row.line for _, row in fitting)
        finds_all = await self._journal.finds_every_number()
        matches: list[Match] = []
        for each, row in fitting:
            doubt = None
            if row.sent is None:
                doubt = "its status says neither that it was sent nor that it was not"
            elif of_open[each.stored.notification.id, each.number] > 1:
                doubt = "several rows fit"
            elif of_row[row.line] > 1:
                doubt = "the row fits several notifications"
            elif _was_called_again(each):
                doubt = "this notification was sent to the number more than once"
            elif not finds_all:
                doubt = "the journal's index of numbers is still being filled"
            elif await self._is_ambiguous(each, window_ms):
                doubt = "another message went to this number at that time"
            matches.append(
                Match(stored=each.stored, number=each.number, dialled_at=each.dialled_at, row=row, doubt=doubt)
            )
        return matches

    async def _is_ambiguous(self, each: OpenRecipient, window_ms: int) -> bool:
        """Whether another call of ours to this number may be what the row is about."""
        ids = await self._journal.search(
            ListFilter(
                client=None,
                recipient=each.number,
                created_from=each.dialled_at - _LONGEST_QUEUED_MS,
                created_to=each.dialled_at + 2 * window_ms,
                limit=_MOST_OTHERS + 1,
            )
        )
        others = [found for found in ids if found != each.stored.notification.id]
        if len(ids) > _MOST_OTHERS:
            return True
        for other in others:
            facts = await self._journal.read_timeline(other)
            dialled = [] if facts is None else [call.dialled_at for call in facts.calls if call.dialled_at is not None]
            if any(abs(at - each.dialled_at) <= 2 * window_ms for at in dialled):
                return True
        return False

    async def _settle(self, match: Match, reason: str, caller: Caller) -> Match:
        if match.doubt is not None or match.row.sent is None:
            return match
        try:
            await self._operations.resolve(
                match.stored.notification.id,
                sent=match.row.sent,
                recipients=[f"+{match.number}"],
                reason=reason,
                caller=caller,
            )
        except Refusal:  # somebody else was faster
            return match
        return replace(match, settled=True)


def _indexes_at(stored: Stored, account: str) -> set[int]:
    """The entries that a call at this account left unknown."""
    return {
        index
        for call in stored.calls
        if call.account in (account, None)
        for index, outcome in zip(call.recipients, call.outcomes, strict=False)
        if outcome.status is Status.UNKNOWN
    }


def _was_called_again(each: OpenRecipient) -> bool:
    """Whether several calls of the notification may have reached the number: which one a row is about, nobody knows."""
    entries = each.stored.notification.entries
    calls = [call for call in each.stored.calls if may_have_left(call)]
    return sum(any(entries[index].number == each.number for index in call.recipients) for call in calls) > 1
