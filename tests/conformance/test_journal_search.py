"""Look-ups over all clients: they give what one walk over everything would give, in its order, page by page."""

from typing import Any

import pytest

from relay.domain.codes import NotificationStatus, ResolvedBy
from relay.domain.notification import Notification, overview_of
from relay.journal import reading
from relay.journal.base import StoredJournal
from relay.journal.statements import Work
from relay.sending.ports import Cursor, ListFilter, OpenUnknown
from support.journal import (
    NO_ANSWER,
    NOON,
    REJECTED,
    SENT,
    accept,
    audit,
    ended,
    first_call,
    found,
    make_claim,
    make_queued,
    send,
)

NUMBERS = [f"23480312345{number:02}" for number in range(5)]
CLIENTS = [f"client-{number:02}" for number in range(11)]
"""More than the first step asks."""
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"status": NotificationStatus.SENT},
    {"status": NotificationStatus.REJECTED},
    {"status": NotificationStatus.QUEUED},
    {"status": NotificationStatus.IN_PROGRESS},
    {"reference": "order-1"},
    {"reference": "no-such-order"},
    {"recipient": NUMBERS[1]},
    {"recipient": "2348099999999"},
    {"idempotency_key": "key-3"},
    {"status": NotificationStatus.SENT, "reference": "order-1"},
    {"recipient": NUMBERS[1], "status": NotificationStatus.UNKNOWN},
    {"status": NotificationStatus.SENT, "created_from": NOON + 10, "created_to": NOON + 40},
    {"client": CLIENTS[3], "status": NotificationStatus.SENT},
)


async def fill(journal: StoredJournal) -> list[tuple[Notification, NotificationStatus]]:
    """Something of everybody's, in several states; newest first."""
    claims = []
    for row in range(66):
        claim = make_claim(
            NUMBERS[row % 5],
            client=CLIENTS[row % 11] if row < 55 else CLIENTS[0],  # the last ones are all of one client
            reference=f"order-{row % 3}",
            idempotency_key=f"key-{row}",
            created_at=NOON + row // 2,  # two at a time
        )
        await send(journal, claim, (SENT, SENT, REJECTED, NO_ANSWER)[row % 4])
        claims.append(claim)
    waits = make_queued(NUMBERS[1], client=CLIENTS[5], created_at=NOON + 90)
    held = make_claim(NUMBERS[1], client=CLIENTS[7], created_at=NOON + 91)
    for claim in (waits, held):
        await accept(journal, claim)
        claims.append(claim)
    kept = [await found(journal, claim) for claim in claims]
    kept.sort(key=lambda stored: (stored.notification.created_at, stored.notification.id), reverse=True)
    return [(stored.notification, overview_of(stored).status) for stored in kept]


def expect(kept: list[tuple[Notification, NotificationStatus]], asked: dict[str, Any]) -> list[str]:
    """The ids that match, by a look at each."""

    def matches(notification: Notification, status: NotificationStatus) -> bool:
        numbers = [entry.number for entry in notification.entries]
        return (
            asked.get("status", status) is status
            and asked.get("recipient", numbers[0]) in numbers
            and asked.get("client", notification.client) == notification.client
            and asked.get("reference", notification.reference) == notification.reference
            and asked.get("idempotency_key", notification.idempotency_key) == notification.idempotency_key
            and asked.get("created_from", 0) <= notification.created_at < asked.get("created_to", 2**62)
        )

    return [notification.id for notification, status in kept if matches(notification, status)]


async def test_a_look_up_over_all_clients_gives_what_a_walk_over_everything_would(journal: StoredJournal) -> None:
    kept = await fill(journal)
    at = {notification.id: notification.created_at for notification, _ in kept}

    for asked in FILTERS:
        selection: dict[str, Any] = {"client": None} | asked
        assert await journal.search(ListFilter(limit=200, **selection)) == expect(kept, asked), asked
        pages: list[str] = []
        before: Cursor | None = None
        while page := await journal.search(ListFilter(limit=3, before=before, **selection)):
            pages += page
            before = Cursor(at[page[-1]], page[-1])
        assert pages == expect(kept, asked), asked


@pytest.mark.parametrize("asked", [{}, {"status": NotificationStatus.SENT}, {"recipient": NUMBERS[0]}])
async def test_a_look_up_in_an_empty_journal_finds_nothing(journal: StoredJournal, asked: dict[str, Any]) -> None:
    assert await journal.search(ListFilter(client=None, limit=10, **asked)) == []


async def test_open_outcomes_are_told_by_the_account_that_was_called(
    journal: StoredJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(journal, make_claim(), NO_ANSWER)
    await send(journal, make_claim(), NO_ANSWER, account="backup")
    accepted = await accept(journal, make_claim(*NUMBERS[:3], calls=[[0], [1, 2]]))
    for position, account in enumerate(("smsclone", "backup")):
        ref = first_call(accepted, position)
        assert await journal.start_dialling(ref, account)
        await journal.record(ref, (NO_ANSWER,) * (position + 1), ended=ended(NotificationStatus.UNKNOWN))

    assert (await journal.count_unknown()).recipients == {"smsclone": 2, "backup": 3}
    monkeypatch.setattr(reading, "_MOST_OPENED", 1)
    assert (await journal.count_unknown()).recipients == {"smsclone": 2, "backup": 1}


async def test_open_outcomes_are_counted_by_recipient_and_very_many_by_notification(
    journal: StoredJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in range(3):
        lost = await send(journal, make_claim(*NUMBERS[:3], created_at=NOON + place), NO_ANSWER)
        await journal.settle(lost.notification.id, {0: SENT}, ResolvedBy.OPERATOR, NOON, audit("resolve_sent"))

    assert await journal.count_unknown() == OpenUnknown({"smsclone": 6}, NOON)
    monkeypatch.setattr(reading, "_MOST_OPENED", 2)
    assert await journal.count_unknown() == OpenUnknown({"smsclone": 5}, NOON)


async def test_very_many_open_outcomes_are_counted_in_pieces_up_to_a_limit(
    journal: StoredJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in range(6):
        await send(journal, make_claim(created_at=NOON + place), NO_ANSWER)
    monkeypatch.setattr(reading, "_MOST_OPENED", 1)
    pieces: list[int] = []

    def count_newer(passed_over: int) -> Work[dict[str, int]]:
        pieces.append(passed_over)
        counted: dict[str, int] = yield from count_in_one(passed_over)
        return counted

    count_in_one = reading.count_newer
    monkeypatch.setattr(reading, "count_newer", count_newer)
    monkeypatch.setattr(reading, "NEWER_AT_ONCE", 2)

    assert await journal.count_unknown() == OpenUnknown({"smsclone": 6}, NOON)
    assert pieces == [1, 3, 5]
    monkeypatch.setattr(reading, "_MOST_COUNTED", 3)
    assert await journal.count_unknown() == OpenUnknown({"smsclone": 3}, NOON)
