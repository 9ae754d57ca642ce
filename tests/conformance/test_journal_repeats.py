"""Requests without a key that equal each other: one of them stands, whoever is first, over all replicas."""

import asyncio

from relay.domain.codes import MessageType
from relay.sending.ports import AllCapped, Cap, Claim, Deduplication, Duplicate, Journal, Lease, Queued
from support.journal import accept, make_claim, make_queued
from support.stores import Store

RACERS, TEXTS = 20, 20


def racer(text: int) -> Claim:
    group = Deduplication(f"text-{text}".encode(), 60_000, counts_sent=True)
    return make_claim(claim={"deduplication": group, "dials": True})


async def test_twenty_racers_over_three_replicas_make_one_claim_a_text(shared_store: Store) -> None:
    replicas = [await shared_store.open() for _ in range(3)]
    won = 0
    for text in range(TEXTS):
        claims = [racer(text) for _ in range(RACERS)]
        results = await asyncio.gather(*(replicas[place % 3].claim([claim]) for place, claim in enumerate(claims)))
        leases = [result for [result] in results if isinstance(result, Lease)]
        others = [result for [result] in results if isinstance(result, Duplicate)]
        assert (len(leases), len(others)) == (1, RACERS - 1)
        assert {other.stored.notification.id for other in others} == {leases[0].stored.notification.id}
        won += len(leases)
    assert won == TEXTS


GROUP = Deduplication(b"text", 60_000, counts_sent=True)
ANEW = Deduplication(b"text", 60_000, counts_sent=True, anew=True)


async def compare_with(journal: Journal) -> str | None:
    """The notification whose answer the same text gets now."""
    [result] = await journal.claim([make_claim(claim={"deduplication": GROUP, "dials": True})])
    return result.stored.notification.id if isinstance(result, Duplicate) else None


async def test_one_that_was_to_be_sent_anew_and_was_refused_leaves_the_first_standing(journal: Journal) -> None:
    cap = Cap(MessageType.TRANSACTIONAL, 1, 60_000, {0: b"n" * 32})
    first = make_claim(claim={"deduplication": GROUP, "cap": cap})
    await accept(journal, first)
    [refused] = await journal.claim([make_claim(claim={"deduplication": ANEW, "cap": cap})])

    assert isinstance(refused, AllCapped)
    assert await compare_with(journal) == first.notification.id


async def test_one_that_was_sent_anew_stands_also_where_its_commit_was_in_doubt(journal: Journal) -> None:
    await accept(journal, make_claim(claim={"deduplication": GROUP}))
    anew = make_claim(claim={"deduplication": ANEW})
    for _ in range(2):
        assert (await accept(journal, anew)).stored.notification == anew.notification

    assert await compare_with(journal) == anew.notification.id


async def test_of_one_batch_the_same_after_one_that_is_sent_anew_is_compared_with_that_one(journal: Journal) -> None:
    batch = [make_queued(claim={"deduplication": group}) for group in (GROUP, ANEW, GROUP)]
    first, anew, last = await journal.claim(batch)

    assert isinstance(first, Queued)
    assert isinstance(anew, Queued)
    assert isinstance(last, Duplicate)
    assert last.stored.notification.id == anew.stored.notification.id
