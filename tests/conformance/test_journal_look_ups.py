"""Look-ups: every filter and all of them together, by index and in small steps; what is entered at leisure."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.domain.codes import Code, NotificationStatus, ResolvedBy, Status
from relay.domain.notification import Entry, Outcome, UpstreamRecord, overview_of
from relay.journal import filling, lookups
from relay.journal import list_query as lists
from relay.journal.base import StoredJournal
from relay.journal.opening import open_journal
from relay.journal.page_reading import CALLS_AT_ONCE, Reader, read_stored
from relay.journal.statements import Work
from relay.sending.ports import Claim, Cursor, Journal, JournalUnavailable, ListFilter, Quota, QuotaExhausted
from support.journal import (
    DAY_MS,
    NO_ANSWER,
    NOON,
    REJECTED,
    SENT,
    accept,
    audit,
    ended,
    first_call,
    found,
    listing,
    make_claim,
    make_queued,
    send,
)
from support.stores import Store

NUMBERS = [f"23480312345{number:02}" for number in range(4)]
MANY = [f"23480{number:08}" for number in range(450)]


def ids(claims: Sequence[Claim]) -> list[str]:
    return [claim.notification.id for claim in claims]


async def listed(journal: Journal, **fields: object) -> list[str]:
    """The ids of a page; both forms of a list agree."""
    selection = listing(**fields)
    page = await journal.select(selection)
    assert await journal.list_overviews(selection) == [overview_of(stored) for stored in page]
    return [stored.notification.id for stored in page]


# --- recipients ---------------------------------------------------------------------------------------------------


async def test_what_a_number_got_is_found_and_nobody_elses(journal: Journal) -> None:
    one = make_claim(NUMBERS[0], NUMBERS[1], created_at=NOON)
    two = make_claim(NUMBERS[0], created_at=NOON + 1)
    await journal.claim([one, two, make_claim(NUMBERS[0], client="monitoring"), make_claim(NUMBERS[2])])

    assert await listed(journal, recipient=NUMBERS[0]) == ids([two, one])
    assert await listed(journal, recipient=NUMBERS[1]) == ids([one])
    assert await listed(journal, recipient=NUMBERS[3]) == []
    assert await listed(journal, recipient=NUMBERS[0], created_to=NOON + 1) == ids([one])


async def test_a_number_stands_nowhere_where_it_is_looked_up(store: Store) -> None:
    journal = await store.open()
    await send(journal, make_claim(NUMBERS[0]))

    assert NUMBERS[0] not in repr(store.query("SELECT * FROM lookups"))
    assert len(store.query("SELECT * FROM lookups")) == 2


async def test_a_claim_that_was_refused_leaves_nothing_to_look_up(store: Store) -> None:
    journal = await store.open()
    [refused] = await journal.claim([make_claim(NUMBERS[0], claim={"quota": Quota("2026-12-01", 2, 1)})])

    assert isinstance(refused, QuotaExhausted)
    assert store.query("SELECT * FROM lookups") == []


async def test_very_many_recipients_are_found_as_soon_as_they_are_accepted(store: Store) -> None:
    journal = await store.open()
    claim = make_queued(*MANY, entries=(*make_claim(*MANY).notification.entries, Entry("bad", None)))
    await accept(journal, claim)

    for number in (MANY[0], MANY[211], MANY[-1]):
        assert await listed(journal, recipient=number) == ids([claim])
    assert store.query("SELECT * FROM unindexed") == []
    assert not await journal.tend()


async def test_recipients_that_a_crash_left_out_are_entered_at_leisure(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await store.open()

    async def fail(_: object) -> None:
        raise JournalUnavailable("unreachable")

    claim = make_queued(*MANY)
    with monkeypatch.context() as crash:
        crash.setattr(journal, "_enter", fail)
        await accept(journal, claim)
    assert await listed(journal, recipient=MANY[7]) == []
    assert not await journal.finds_every_number()

    while await journal.tend():
        pass

    assert await journal.finds_every_number()
    assert await listed(journal, recipient=MANY[7]) == ids([claim])


async def test_message_ids_are_entered_whoever_brought_them(store: Store) -> None:
    journal = await store.open()
    plain, late = make_claim(NUMBERS[0]), make_claim(NUMBERS[1])
    await send(journal, plain, Outcome(code=Code.SENT, upstream=UpstreamRecord("0000", message_id="996")))
    await send(journal, late, NO_ANSWER)
    answer = {0: Outcome(code=Code.SENT, upstream=UpstreamRecord("0000", message_id="997"))}
    await journal.settle(
        late.notification.id, answer, ResolvedBy.OPERATOR, NOON, audit("resolve", late.notification.id)
    )

    rows = store.query("SELECT subject, notification_id FROM lookups WHERE client = ''")
    assert {(bytes(subject), key) for subject, key in rows} == {
        (lookups.message_id_subject("996"), plain.notification.id),
        (lookups.message_id_subject("997"), late.notification.id),
    }


# --- every filter with every other --------------------------------------------------------------------------------

STATUSES = [None, NotificationStatus.SENT, NotificationStatus.REJECTED, NotificationStatus.QUEUED]
REFERENCES = [None, "order-1", "order-2"]
KEYS = [None, "key-1", "key-2"]
ACCOUNTS = [None, "smsclone", "backup"]
filters = st.fixed_dictionaries(
    {
        "reference": st.sampled_from(REFERENCES),
        "recipient": st.sampled_from([None, *NUMBERS[:3]]),
        "status": st.sampled_from(STATUSES),
        "idempotency_key": st.sampled_from(KEYS),
        "account": st.sampled_from(ACCOUNTS),
        "created_from": st.sampled_from([None, NOON + 5]),
        "created_to": st.sampled_from([None, NOON + 20]),
        "limit": st.integers(1, 7),
    }
)


async def fill(journal: Journal) -> list[Claim]:
    """Sixty notifications in which every filter finds some and misses some."""
    claims: list[Claim] = []
    for number in range(60):
        key = KEYS[1 + number // 30] if number in (10, 40) else f"other-{number}"
        claim = make_claim(
            NUMBERS[number % 3],
            *([NUMBERS[3]] if number % 7 == 0 else []),
            reference=REFERENCES[number * number % 5 % 3],
            idempotency_key=key,
            created_at=NOON + number // 2,
        )
        if number % 4 == 3:
            await accept(journal, claim)
        else:
            account = "backup" if number % 5 == 0 else "smsclone"
            await send(journal, claim, SENT if number % 4 else REJECTED, account)
        claims.append(claim)
    return claims


async def test_filters_in_any_combination_find_what_a_look_at_everything_would(
    journal: StoredJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "_STEP", 3)
    everything = [await found(journal, claim) for claim in await fill(journal)]
    everything.sort(key=lambda stored: (stored.notification.created_at, stored.notification.id), reverse=True)

    def matching(asked: ListFilter) -> list[str]:
        return [
            item.notification.id
            for item in everything
            if asked.reference in (None, item.notification.reference)
            and asked.recipient in (None, *(entry.number for entry in item.notification.entries))
            and asked.status in (None, overview_of(item).status)
            and asked.idempotency_key in (None, item.notification.idempotency_key)
            and asked.account in (None, *(call.account for call in item.calls))
            and (asked.created_from or 0) <= item.notification.created_at < (asked.created_to or NOON * 2)
        ]

    checked: list[dict[str, object]] = []

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(filters)
    def collect(fields: dict[str, object]) -> None:
        checked.append(fields)

    await asyncio.to_thread(collect)
    for fields in checked:
        asked = listing(**fields)
        expected, seen, cursor = matching(asked), [], None
        while page := await listed(journal, **fields, before=cursor):
            seen += page
            last = (await journal.find(page[-1])).notification  # type: ignore[union-attr]
            cursor = Cursor(last.created_at, last.id)
        assert seen == expected, fields


async def test_what_went_by_an_account_is_found_over_all_clients(journal: StoredJournal) -> None:
    one, two = make_claim(NUMBERS[0], created_at=NOON), make_claim(NUMBERS[1], client="shop", created_at=NOON + 1)
    await send(journal, one, SENT, "backup")
    await send(journal, two, SENT, "backup")
    await send(journal, make_claim(NUMBERS[2]), SENT)

    assert await journal.search(listing(client=None, account="backup")) == ids([two, one])
    assert await journal.search(listing(client="shop", account="backup")) == ids([two])
    assert await journal.search(listing(client=None, account="elsewhere")) == []


async def test_a_message_id_is_found_at_the_account_that_gave_it(journal: StoredJournal) -> None:
    claim = make_claim(NUMBERS[0])
    await send(journal, claim, Outcome(code=Code.SENT, upstream=UpstreamRecord("0000", message_id="996")), "backup")

    assert await journal.search(listing(client=None, message_id="996", account="backup")) == ids([claim])
    assert await journal.search(listing(client=None, message_id="996", account="smsclone")) == []


async def test_what_the_claim_itself_dials_is_found_by_its_account(journal: StoredJournal) -> None:
    claim = make_claim(NUMBERS[0], claim={"dials": True})
    via = replace(claim, calls=(replace(claim.calls[0], account="backup"),))
    await journal.claim([via])

    assert await journal.search(listing(client=None, account="backup")) == ids([claim])


async def test_a_dial_that_was_undone_is_found_by_no_account(store: Store) -> None:
    journal = await store.open()
    claim = make_claim(NUMBERS[0], claim={"dials": True})
    await journal.claim([replace(claim, calls=(replace(claim.calls[0], account="backup"),))])

    await journal.take_back([claim.notification.id], [claim.notification.id])

    assert await journal.search(listing(client=None, account="backup")) == []
    assert len(store.query("SELECT * FROM lookups")) == 1


# --- the end of what was kept -------------------------------------------------------------------------------------


async def test_what_is_purged_is_looked_up_no_more(store: Store) -> None:
    journal = await store.open()
    await send(journal, make_claim(*NUMBERS, calls=[[0, 1, 2, 3]]), SENT, "backup")
    kept = make_claim(NUMBERS[0], created_at=NOON + 40 * DAY_MS)
    await send(journal, kept, at=NOON + 40 * DAY_MS)
    store.clock.wall_ms += 40 * DAY_MS

    await journal.purge(NOON + 30 * DAY_MS)

    assert await listed(journal, recipient=NUMBERS[0]) == ids([kept])
    assert len(store.query("SELECT * FROM lookups")) == 2


async def test_an_erased_number_is_looked_up_no_more_and_its_neighbours_are(store: Store) -> None:
    journal = await store.open()
    claim = make_claim(NUMBERS[0], NUMBERS[1])
    await send(journal, claim)
    waiting = make_queued(NUMBERS[0])
    await accept(journal, waiting)

    assert await journal.erase_recipient(NUMBERS[0], audit("erase")) == 1

    assert await listed(journal, recipient=NUMBERS[0]) == ids([waiting])
    assert await listed(journal, recipient=NUMBERS[1]) == ids([claim])


# --- what the version before wrote --------------------------------------------------------------------------------


async def forget(store: Store, journal: Journal, *, after_ms: int = 0) -> None:
    """Make a journal look as if the version before had written everything in it."""
    await journal.close()
    store.query("DELETE FROM lookups")
    store.query("UPDATE notifications SET counts = NULL")
    until = NOON + after_ms
    value = f"""'{{"after": "", "until": {until}}}'"""
    cast = f"CAST({value} AS BLOB)" if not store.shared else f"convert_to({value}, 'UTF8')"
    store.query(f"INSERT INTO control (name, value) VALUES ('{filling.TO_FILL}', {cast})")


async def test_what_the_version_before_wrote_is_found_once_it_is_entered(store: Store) -> None:
    journal = await store.open()
    claims = [make_claim(NUMBERS[number % 3], created_at=NOON + number) for number in range(130)]
    for claim in claims:
        await send(journal, claim, SENT)
    await forget(store, journal, after_ms=1_000)
    journal = await store.open()

    assert await listed(journal, limit=200) == ids(claims[::-1])
    while await journal.tend():
        pass
    later = make_claim(NUMBERS[0], created_at=NOON + 900)
    await send(journal, later)

    assert await listed(journal, recipient=NUMBERS[0], limit=200) == ids(
        [later] + [claim for claim in claims[::-1] if claim.notification.entries[0].number == NUMBERS[0]]
    )
    assert store.query("SELECT count(*) FROM notifications WHERE counts IS NULL") == [(0,)]


async def test_the_walk_over_what_is_kept_waits_for_replicas_of_the_version_before(store: Store) -> None:
    journal = await store.open()
    await send(journal, make_claim(NUMBERS[0]))
    await forget(store, journal, after_ms=60_000)
    journal = await store.open()
    assert not await journal.tend() or not await journal.tend()

    late = make_claim(NUMBERS[1], created_at=NOON + 30_000)
    await send(journal, late)
    store.query(f"DELETE FROM lookups WHERE notification_id = '{late.notification.id}'")
    while await journal.tend():
        pass
    assert await listed(journal, recipient=NUMBERS[1]) == ids([late])
    assert store.query(f"SELECT count(*) FROM control WHERE name = '{filling.TO_FILL}'") == [(1,)]

    store.clock.wall_ms += 120_000
    while await journal.tend():
        pass
    assert store.query(f"SELECT count(*) FROM control WHERE name = '{filling.TO_FILL}'") == [(0,)]


async def test_a_number_is_erased_from_what_is_not_entered_yet(store: Store) -> None:
    journal = await store.open()
    await send(journal, make_claim(NUMBERS[0]))
    await forget(store, journal)
    journal = await store.open()

    assert await journal.erase_recipient(NUMBERS[0], audit("erase")) == 1
    assert NUMBERS[0] not in store.dump()


async def test_counts_that_the_version_before_did_not_keep_up_are_counted_anew(store: Store) -> None:
    journal = await store.open()
    claim = make_claim(NUMBERS[0])
    await send(journal, claim, SENT)
    store.query("UPDATE notifications SET counts = '{\"unknown\":1}'")

    [overview] = await journal.list_overviews(listing())

    assert overview.counts == {Status.SENT: 1}


# --- the key of the hashes ----------------------------------------------------------------------------------------


async def test_another_key_of_the_hashes_is_refused(store: Store) -> None:
    await (await store.open()).close()
    other = open_journal(store.url, clock=store.clock, hash_key=b"k" * 32)

    with pytest.raises(JournalUnavailable, match="other_hash_key"):
        await other.open()

    assert (await (await store.open()).hash_key()) != b"k" * 32


async def test_the_key_that_the_settings_give_is_the_one(store: Store) -> None:
    for _ in range(2):
        journal = open_journal(store.url, clock=store.clock, hash_key=b"k" * 32)
        await journal.open()
        assert await journal.hash_key() == b"k" * 32
        await journal.close()

    with pytest.raises(JournalUnavailable, match="other_hash_key"):
        await store.open()


def watched(journal: StoredJournal, rows: list[int]) -> Reader:
    """How the journal reads; keeps how many rows each step of a work brought."""

    def counted(work: Callable[[], Work[Any]]) -> Work[Any]:
        steps = work()
        try:
            asked = next(steps)
            while True:
                results = yield asked
                rows.append(sum(len(result.rows) for result in results))
                asked = steps.send(results)
        except StopIteration as end:
            return end.value

    async def read(work: Callable[[], Work[Any]]) -> Any:
        return await journal._read(partial(counted, work))

    return read


async def test_filters_that_match_many_together_look_at_twice_a_page_however_many_are_kept(
    journal: StoredJournal,
) -> None:
    claims = [make_claim(number, reference="campaign", created_at=NOON + at) for at, number in enumerate(MANY[:60])]
    for claim in claims:
        await send(journal, claim)
    selection = listing(reference="campaign", status=NotificationStatus.SENT, limit=5)
    rows: list[int] = []

    page = await lists.find_page(watched(journal, rows), lists.ask(selection, journal._subjects))

    assert page == ids(claims[::-1][:5])
    assert max(rows) == 2 * len(page)


@pytest.mark.parametrize("is_done", [True, False], ids=["done", "under way"])
async def test_very_many_calls_are_read_a_few_at_a_time_once_they_are_done(
    journal: StoredJournal, is_done: bool
) -> None:
    count = 3 * CALLS_AT_ONCE
    claim = make_claim(*MANY[:count], calls=[[place] for place in range(count)])
    accepted = await accept(journal, claim)
    for place in range(count):
        last = is_done and place == count - 1
        ref = first_call(accepted, place)
        await journal.start_dialling(ref, "smsclone")
        await journal.record(ref, (SENT,), ended=ended() if last else None)
    small = make_claim(NUMBERS[0])
    await send(journal, small)
    rows: list[int] = []
    asked = [claim.notification.id, "no-such-notification", small.notification.id]
    items = await read_stored(watched(journal, rows), asked)

    assert items == [await found(journal, claim), await found(journal, small)]
    assert (max(rows) <= 2 * (CALLS_AT_ONCE + 1)) is is_done, "what is under way is read at one moment"
