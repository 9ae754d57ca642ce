"""What an operator looks up over all clients. Each look is a row of the audit, which names no number and no text."""

from collections.abc import Sequence

from msgspec.structs import replace

from relay.domain.audit import Action
from relay.domain.notification import Overview, Stored
from relay.sending.ports import Clock, Cursor, Journal, ListFilter
from relay.sending.requests import Caller
from relay.sending.timeline import TimelineEvent, tell_timeline

_MOST_ACTS = 200
"""Rows of the audit that a timeline is told from; looks are among them."""


class OperatorSearch:
    """The operator's look-ups.

    Args:
        journal: of all clients.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def search(
        self, asked: ListFilter, caller: Caller, *, filters: Sequence[str], full: bool
    ) -> tuple[list[Stored], bool]:
        """Find notifications, newest first.

        Args:
            filters: the names of those that were given, for the audit.
            full: whether whole numbers are shown.

        Returns:
            A page, and whether there is another one.
        """
        ids = await self._journal.search(replace(asked, limit=asked.limit + 1))
        found = await self._journal.read_stored(ids[: asked.limit])
        await self._note_search(caller, filters, len(found), full=full)
        return found, len(ids) > asked.limit

    async def list_overviews(
        self, asked: ListFilter, caller: Caller, *, filters: Sequence[str]
    ) -> tuple[list[Overview], bool]:
        """Find notifications without their recipients."""
        ids = await self._journal.search(replace(asked, limit=asked.limit + 1))
        found = await self._journal.read_overviews(ids[: asked.limit])
        await self._note_search(caller, filters, len(found), full=False)
        return found, len(ids) > asked.limit

    async def _note_search(self, caller: Caller, filters: Sequence[str], count: int, *, full: bool) -> None:
        action = Action.FULL_NUMBERS if full else Action.SEARCH
        reason = f"search by {', '.join(filters)}" if filters else "search"
        await self._journal.audit(caller.act(action, self._clock.now_ms(), count=count, reason=reason))

    async def open(self, notification_id: str, caller: Caller, *, full: bool) -> Stored | None:
        """One notification of any client."""
        stored = await self._journal.find(notification_id)
        if stored is not None:
            await self._note(Action.OPEN, notification_id, caller, full=full)
        return stored

    async def timeline(self, notification_id: str, caller: Caller, *, full: bool) -> list[TimelineEvent] | None:
        """What happened to one notification of any client, oldest first."""
        facts = await self._journal.read_timeline(notification_id)
        if facts is None:
            return None
        page = await self._journal.read_audit(_MOST_ACTS, notification_id=notification_id)
        await self._note(Action.TIMELINE, notification_id, caller, full=full)
        return tell_timeline(facts, [row.act for row in reversed(page.rows)])

    async def export(
        self, number: str, limit: int, before: Cursor | None, caller: Caller
    ) -> tuple[list[Stored], bool, int]:
        """Everything that is held about a number, newest first: a page, whether more follows, and when that was."""
        asked = ListFilter(client=None, recipient=number, limit=limit + 1, before=before)
        ids = await self._journal.search(asked)
        found = await self._journal.read_stored(ids[:limit])
        now = self._clock.now_ms()
        await self._journal.audit(caller.act(Action.EXPORT, now, count=len(found), reason="by recipient"))
        return found, len(ids) > limit, now

    async def _note(self, action: Action, notification_id: str, caller: Caller, *, full: bool) -> None:
        done = Action.FULL_NUMBERS if full else action
        act = caller.act(
            done, self._clock.now_ms(), notification_id=notification_id, reason=action.value if full else None
        )
        await self._journal.audit(act)


def next_cursor(last: Stored | Overview) -> Cursor:
    """Where a list goes on after this one."""
    return Cursor(last.notification.created_at, last.notification.id)
