"""A journal that an earlier version wrote opens, and gives everything that was in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.sending.ports import Claim, Journal
from support.journal import NO_ANSWER, REJECTED, SENT, accept, listing, make_claim, make_queued, send
from support.stores import Store

NUMBER = "2348012345678"


async def write(store: Store) -> list[Claim]:
    """A journal with something of every kind in it, closed again; newest first."""
    journal = await store.open()
    claims = [make_claim(NUMBER, reference="order-1", idempotency_key=f"key-{number}") for number in range(4)]
    for claim, outcome in zip(claims, (SENT, REJECTED, NO_ANSWER), strict=False):
        await send(journal, claim, outcome)
    await accept(journal, claims[3])
    claims.append(make_queued(NUMBER))
    await accept(journal, claims[-1])
    await journal.close()
    return claims[::-1]


async def all_ids(journal: Journal, **fields: object) -> list[str]:
    """The ids of a list, in both forms."""
    page = [stored.notification.id for stored in await journal.select(listing(**fields))]
    assert [overview.notification.id for overview in await journal.list_overviews(listing(**fields))] == page
    return page


@pytest.fixture(params=["sqlite", "postgresql"])
async def private_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store whose tables a test may do anything to."""
    is_shared = request.param == "postgresql"
    url = request.getfixturevalue("postgres_url") if is_shared else f"sqlite:///{tmp_path / 'relay.db'}"
    made = Store(url, shared=is_shared)
    yield made
    await made.close()


async def test_a_journal_of_the_first_edition_opens_with_everything_in_it(private_store: Store) -> None:
    claims = await write(private_store)
    private_store.return_to("0002")

    journal = await private_store.open()
    expected = [claim.notification.id for claim in claims]
    assert await all_ids(journal) == expected
    sent = await journal.find(expected[-1])
    assert sent is not None
    assert [call.account for call in sent.calls] == ["smsclone"], "the first edition knew no other account"
    while await journal.tend():
        pass
    assert await all_ids(journal) == expected
    assert await all_ids(journal, recipient=NUMBER) == expected


async def test_what_the_version_before_wrote_stays_as_it_is_and_its_days_are_added_up(private_store: Store) -> None:
    sums = "SELECT day, account, outcome, SUM(micro_units) FROM {} GROUP BY day, account, outcome ORDER BY outcome"
    await write(private_store)
    written = private_store.query(sums.format("usage_totals"))
    private_store.query("DELETE FROM usage_totals")
    before = private_store.dump()
    private_store.return_to("0011")

    await (await private_store.open()).close()
    totals = private_store.query(sums.format("usage_totals"))
    assert totals == written == private_store.query(sums.format("usage"))
    assert [row[2] for row in totals] == ["rejected", "sent", "unknown"]
    private_store.query("DELETE FROM usage_totals")
    assert private_store.dump() == before


async def test_a_large_database_gets_its_index_while_everybody_works_on(
    own_store: Store,
) -> None:
    claims = await write(own_store)
    own_store.return_to("0002")
    own_store.query(
        "SET session_replication_role = replica;"  # no trigger takes the filler for moves of the journal
        "INSERT INTO notifications"
        " (id, client, message_type, mode, state, fence, unknown, created_at, key_freed, facts)"
        " SELECT 'filler-' || number, 'other', message_type, mode, 'done', 1, false, created_at, '', facts"
        f" FROM notifications, generate_series(1, 10000) AS number WHERE id = '{claims[0].notification.id}'"
    )
    indexes = (
        "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indexrelid::regclass::text LIKE '%status'"
    )

    journal = await own_store.open()
    assert own_store.query(indexes) == [("notifications_by_status", True)]
    assert await all_ids(journal) == [claim.notification.id for claim in claims]
    await journal.tend()
    assert own_store.query(indexes) == [("notifications_by_client_status", True)]

    own_store.query(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'notifications_by_client_status'::regclass"
    )
    await (await own_store.open()).tend()
    assert own_store.query(indexes) == [("notifications_by_client_status", True)]
