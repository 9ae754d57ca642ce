"""The journal's contract, over both stores: sends to one number, recipients a day."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import Code, MessageType, NotificationStatus
from relay.domain.notification import view_recipients
from relay.journal.limits import Passed, judge
from relay.sending.ports import (
    AllCapped,
    Budget,
    Cap,
    Claim,
    ClaimResult,
    Journal,
    KeyTaken,
    Lease,
    Quota,
    QuotaExhausted,
)
from support.journal import (
    NO_ANSWER,
    NOON,
    NOT_SENT,
    SENT,
    accept,
    codes,
    ended,
    first_call,
    found,
    make_claim,
    make_queued,
    send,
)
from support.stores import Store

DAY, MONTH = "2026-12-01", "2026-12"
WINDOW_MS = 600_000


def capped(*hashes: bytes, at: int = NOON, limit: int = 2, **changes: Any) -> Claim:
    """A claim to the numbers behind some hashes, under a cap."""
    cap = Cap(MessageType.OTP, limit, WINDOW_MS, dict(enumerate(hashes)))
    numbers = [f"2348{number:09d}" for number in range(len(hashes))]
    return make_claim(*numbers, message_type=MessageType.OTP, created_at=at, claim={"cap": cap}, **changes)


def limited(recipients: int = 1, limit: int = 100, client: str = "billing", **changes: Any) -> Claim:
    """A claim that takes some recipients of a client's day."""
    numbers = [f"2348{number:09d}" for number in range(recipients)]
    claim = {"quota": Quota(DAY, recipients, limit)} | changes.pop("claim", {})
    return make_claim(*numbers, client=client, claim=claim, **changes)


def count_claimed(results: Sequence[Sequence[ClaimResult]]) -> int:
    """How many of many claims stand."""
    return sum(isinstance(result, Lease) for [result] in results)


# --- sends to one number ------------------------------------------------------------------------------------------


async def test_a_number_over_its_cap_is_left_out_of_every_call(journal: Journal) -> None:
    await accept(journal, capped(b"a"))
    await accept(journal, capped(b"a"))

    claim = capped(b"a", b"b", b"c", calls=[[0], [1, 2]])
    accepted = await accept(journal, claim)

    assert accepted.stored.capped == (0,)
    assert [call.recipients for call in accepted.stored.calls] == [(1, 2)]
    assert await found(journal, claim) == accepted.stored
    assert view_recipients(accepted.stored)[0].code is Code.RECIPIENT_CAPPED


async def test_all_numbers_over_their_cap_refuse_the_claim_and_write_nothing(journal: Journal) -> None:
    await accept(journal, capped(b"a", at=NOON))
    await accept(journal, capped(b"a", at=NOON + 1_000))
    claim = capped(b"a", at=NOON + 2_000, idempotency_key="k")

    [result] = await journal.claim([claim])

    assert result == AllCapped(free_at=NOON + WINDOW_MS)
    assert await journal.find(claim.notification.id) is None
    await accept(journal, make_claim(idempotency_key="k"))


async def test_a_place_under_the_cap_is_free_when_the_window_has_passed(journal: Journal) -> None:
    await accept(journal, capped(b"a", at=NOON))
    await accept(journal, capped(b"a", at=NOON + 1_000))

    [early] = await journal.claim([capped(b"a", at=NOON + WINDOW_MS - 1)])
    await accept(journal, capped(b"a", at=NOON + WINDOW_MS))
    [full] = await journal.claim([capped(b"a", at=NOON + WINDOW_MS)])

    assert early == AllCapped(free_at=NOON + WINDOW_MS)
    assert full == AllCapped(free_at=NOON + 1_000 + WINDOW_MS)


async def test_each_message_type_has_its_own_cap(journal: Journal) -> None:
    for _ in range(2):
        await accept(journal, capped(b"a"))
    alert = Cap(MessageType.ALERT, 2, WINDOW_MS, {0: b"a"})

    await accept(journal, make_claim(message_type=MessageType.ALERT, claim={"cap": alert}))


async def test_what_was_not_sent_gives_its_place_back_and_unknown_does_not(journal: Journal) -> None:
    await send(journal, capped(b"a", limit=1), NOT_SENT)
    await send(journal, capped(b"a", limit=1), NO_ANSWER)

    [result] = await journal.claim([capped(b"a", limit=1)])

    assert isinstance(result, AllCapped)


async def test_a_partly_sent_notification_gives_back_the_places_of_the_rest(journal: Journal) -> None:
    claim = capped(b"a", b"b", limit=1, calls=[[0], [1]])
    accepted = await accept(journal, claim)
    first, second = first_call(accepted), first_call(accepted, 1)
    await journal.start_dialling(first)
    await journal.record(first, [SENT])
    await journal.record(second, [NOT_SENT], ended=ended(NotificationStatus.PARTIAL))

    again = await accept(journal, capped(b"a", b"b", limit=1))

    assert again.stored.capped == (0,)


async def test_one_list_cannot_send_more_to_a_number_than_its_cap(journal: Journal) -> None:
    results = await journal.claim([capped(b"a", limit=3) for _ in range(5)])

    assert [type(result) for result in results] == [Lease] * 3 + [AllCapped] * 2


async def test_racers_to_one_number_get_exactly_as_many_places_as_there_are(journal: Journal) -> None:
    results = await asyncio.gather(*(journal.claim([capped(b"a", limit=5)]) for _ in range(20)))

    assert count_claimed(results) == 5


async def test_replicas_that_race_to_one_number_get_exactly_its_places(shared_store: Store) -> None:
    replicas = [await shared_store.open() for _ in range(3)]

    results = await asyncio.gather(
        *(replicas[turn % 3].claim([capped(b"a", b"b", limit=5)]) for turn in range(30)),
        *(replicas[turn % 3].claim([capped(b"b", b"a", limit=5)]) for turn in range(30)),
    )

    assert count_claimed(results) == 5


async def test_a_queued_notification_with_a_capped_number_is_listed_as_partial(journal: Journal) -> None:
    await accept(journal, capped(b"a", limit=1))
    cap = Cap(MessageType.OTP, 1, WINDOW_MS, {0: b"a", 1: b"b"})
    claim = make_queued(
        "2348012345678", "2348012345679", message_type=MessageType.OTP, claim={"cap": cap}, client="queueing"
    )
    await accept(journal, claim)

    assert codes(await found(journal, claim)) == [Code.RECIPIENT_CAPPED, Code.QUEUED]


# --- recipients a day ---------------------------------------------------------------------------------------------


async def test_a_day_is_all_or_nothing_and_says_what_was_used(journal: Journal) -> None:
    await accept(journal, limited(7, limit=10))
    claim = limited(4, limit=10, idempotency_key="k")

    [refused] = await journal.claim([claim])

    assert refused == QuotaExhausted(used=7)
    assert await journal.find(claim.notification.id) is None
    assert await journal.find_by_key("billing", "k", NOON) is None
    await accept(journal, limited(3, limit=10, idempotency_key="k"))


async def test_days_and_clients_have_quotas_of_their_own(journal: Journal) -> None:
    await accept(journal, limited(10, limit=10))

    await accept(journal, limited(10, limit=10, client="monitoring"))
    await accept(journal, limited(10, claim={"quota": Quota("2026-12-02", 10, 10)}))
    [refused] = await journal.claim([limited(1, limit=10)])
    assert refused == QuotaExhausted(used=10)


async def test_unused_recipients_come_back_with_the_completion(journal: Journal) -> None:
    await send(journal, limited(10, limit=10), NOT_SENT, quota_given_back=10)
    await send(journal, limited(10, limit=10), NO_ANSWER)

    [refused] = await journal.claim([limited(1, limit=10)])

    assert refused == QuotaExhausted(used=10)


async def test_recipients_come_back_once(journal: Journal) -> None:
    claim = limited(5, limit=10)
    ref = first_call(await accept(journal, claim))
    end = ended(NotificationStatus.NOT_SENT, quota_given_back=5)
    for _ in range(3):
        await journal.record(ref, [NOT_SENT] * 5, ended=end)
        await journal.end(claim.notification.id, end)

    results = [await journal.claim([limited(5, limit=10)]) for _ in range(3)]

    assert count_claimed(results) == 2


async def test_a_refused_key_takes_nothing_from_the_day(journal: Journal) -> None:
    await accept(journal, limited(5, limit=10, idempotency_key="k"))

    for _ in range(5):
        [result] = await journal.claim([limited(5, limit=10, idempotency_key="k")])
        assert isinstance(result, KeyTaken)

    await accept(journal, limited(5, limit=10))


async def test_a_cap_is_judged_before_the_day(journal: Journal) -> None:
    await accept(journal, capped(b"a", limit=1))
    cap = Cap(MessageType.OTP, 1, WINDOW_MS, {0: b"a"})

    [result] = await journal.claim([limited(1, limit=0, message_type=MessageType.OTP, claim={"cap": cap})])

    assert isinstance(result, AllCapped)


async def test_a_claim_that_the_day_refuses_takes_no_place_under_a_cap(journal: Journal) -> None:
    cap = Cap(MessageType.OTP, 1, WINDOW_MS, {0: b"a"})

    refused, accepted = await journal.claim(
        [
            limited(1, limit=0, message_type=MessageType.OTP, claim={"cap": cap}),
            make_claim(message_type=MessageType.OTP, claim={"cap": cap}),
        ]
    )

    assert refused == QuotaExhausted(used=0)
    assert isinstance(accepted, Lease)


async def test_a_list_is_judged_in_its_order(journal: Journal) -> None:
    claims = [limited(size, limit=10, idempotency_key=f"key-{9 - size}") for size in (6, 5, 4, 1)]

    results = await journal.claim(claims)

    assert [type(result) for result in results] == [Lease, QuotaExhausted, Lease, QuotaExhausted]


async def test_a_client_whose_day_is_full_costs_another_in_the_same_list_nothing(journal: Journal) -> None:
    await accept(journal, limited(1, limit=10))
    await accept(journal, limited(1, limit=1, client="monitoring"))

    results = await journal.claim([limited(5, limit=10), limited(1, limit=1, client="monitoring")])
    assert [type(result) for result in results] == [Lease, QuotaExhausted]

    await accept(journal, limited(4, limit=10))
    [full] = await journal.claim([limited(1, limit=10)])
    assert full == QuotaExhausted(used=10)


async def test_a_changed_limit_holds_at_once(journal: Journal) -> None:
    await accept(journal, limited(6, limit=100))

    [lowered] = await journal.claim([limited(5, limit=10)])
    await accept(journal, limited(4, limit=10))
    await accept(journal, limited(10, limit=20))
    [full] = await journal.claim([limited(1, limit=20)])

    assert lowered == QuotaExhausted(used=6)
    assert full == QuotaExhausted(used=20)


async def test_parallel_claims_fill_the_day_exactly(journal: Journal) -> None:
    results = await asyncio.gather(*(journal.claim([limited(1, limit=100)]) for _ in range(300)))

    assert count_claimed(results) == 100


@pytest.mark.slow
async def test_parallel_claims_over_replicas_fill_the_day_exactly(shared_store: Store) -> None:
    replicas = [await shared_store.open() for _ in range(3)]
    sizes = [1, 2, 3, 5]

    results = await asyncio.gather(
        *(replicas[turn % 3].claim([limited(sizes[turn % 4], limit=500)]) for turn in range(1_000))
    )

    claimed = sum(len(result.stored.notification.entries) for [result] in results if isinstance(result, Lease))
    refused = [result for [result] in results if isinstance(result, QuotaExhausted)]
    assert claimed == 500
    assert refused
    assert shared_store.query("SELECT sum(used) FROM quotas") == [(500,)]


async def test_quotas_given_back_on_other_replicas_are_used_again(shared_store: Store) -> None:
    replicas = [await shared_store.open() for _ in range(3)]
    for replica in replicas:
        await send(replica, limited(30, limit=90), NOT_SENT, quota_given_back=30)

    results = [await replicas[0].claim([limited(30, limit=90)]) for _ in range(4)]

    assert count_claimed(results) == 3


# --- the rule itself ----------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([b"a", b"b"]), st.integers(0, 20)), max_size=12),
    st.integers(0, 12),
    st.integers(0, 36),
    st.integers(1, 4),
)
def test_judging_never_passes_more_than_cap_day_and_month_allow(
    asked: list[tuple[int, bytes, int]], day_limit: int, month_limit: int, cap_limit: int
) -> None:
    claims = {}
    for position, (recipients, number, at) in enumerate(asked):
        cap = Cap(MessageType.OTP, cap_limit, 10, {0: number})
        limits = {
            "cap": cap,
            "quota": Quota(DAY, recipients, day_limit),
            "budget": Budget(MONTH, 3, recipients, month_limit),
        }
        claims[position] = make_claim(created_at=NOON + at, claim=limits)

    verdicts = judge(claims, {}, {("billing", DAY): 0}, {("billing", MONTH): 0})

    passed = [position for position, verdict in verdicts.items() if isinstance(verdict, Passed)]
    assert sum(asked[position][0] for position in passed) <= day_limit
    assert 3 * sum(asked[position][0] for position in passed) <= month_limit
    for position in passed:
        _, number, at = asked[position]
        window = [asked[p] for p in passed if p <= position and asked[p][1] == number and asked[p][2] > at - 10]
        assert len([sent for sent in window if sent[2] <= at]) <= cap_limit
