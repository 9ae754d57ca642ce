"""Evidence from the balance: what two readings say about a call whose outcome nobody knows."""

from decimal import Decimal

from relay.domain.codes import ResolvedBy
from relay.sending.ports import BalanceEvidence, CallEvidence
from support.journal import DAY_MS, NO_ANSWER, NOON, REJECTED, SENT, audit, make_claim, send
from support.stores import Store

ACCOUNT = "smsclone"
TO_MIDNIGHT_SECONDS = 12 * 3600  # noon in Lagos


async def test_the_fall_between_two_readings_is_told_with_what_explains_it(store: Store) -> None:
    journal = await store.open()
    await send(journal, make_claim("2348012345670"))  # charged before the first reading
    await journal.keep_balance(ACCOUNT, Decimal("100.50"), NOON)
    store.clock.advance(10)
    lost = await send(journal, make_claim("2348012345671"), NO_ANSWER)
    await send(journal, make_claim("2348012345672", "2348012345673"), SENT)
    await send(journal, make_claim("2348012345674"), NO_ANSWER)
    store.clock.advance(10)
    await journal.keep_balance(ACCOUNT, Decimal("97.50"), NOON + 20_000)
    await journal.keep_balance(ACCOUNT, Decimal(5), NOON + 80_000)

    assert await journal.read_evidence([lost]) == {
        lost.notification.id: CallEvidence(
            NOON + 10_000,
            BalanceEvidence(
                before=Decimal("100.5"),
                before_at=NOON,
                after=Decimal("97.5"),
                after_at=NOON + 20_000,
                explained=Decimal(2),
                unknown=Decimal(2),
            ),
        )
    }


async def test_a_midnight_between_the_readings_loses_nothing(store: Store) -> None:
    journal = await store.open()
    store.clock.advance(TO_MIDNIGHT_SECONDS - 20)
    await send(journal, make_claim("2348012345670"))
    await journal.keep_balance(ACCOUNT, Decimal(100), store.clock.now_ms())
    await send(journal, make_claim("2348012345671"))
    lost = await send(journal, make_claim("2348012345672"), NO_ANSWER)
    store.clock.advance(40)
    await send(journal, make_claim("2348012345673"))
    await journal.keep_balance(ACCOUNT, Decimal(97), store.clock.now_ms())

    told = (await journal.read_evidence([lost]))[lost.notification.id].balance
    assert told is not None
    assert (told.explained, told.unknown) == (Decimal(2), Decimal(1))


async def test_the_drift_is_the_fall_beyond_what_calls_explain_since_the_last_rise(store: Store) -> None:
    journal = await store.open()
    at = iter(range(NOON, NOON + 1_000_000, 60_000))
    assert await journal.keep_balance(ACCOUNT, Decimal(100), next(at)) == 0
    await send(journal, make_claim("2348012345671", "2348012345672"), SENT)
    lost = await send(journal, make_claim("2348012345673"), NO_ANSWER)
    assert await journal.keep_balance(ACCOUNT, Decimal(97), next(at)) == 0
    await journal.keep_balance("backup", Decimal(5), next(at))
    assert await journal.keep_balance(ACCOUNT, Decimal("90.5"), next(at)) == Decimal("6.5")
    await journal.settle(lost.notification.id, {0: REJECTED}, ResolvedBy.OPERATOR, NOON, audit("resolve_not_sent"))
    await journal.close()

    again = await store.open()
    assert await again.keep_balance(ACCOUNT, Decimal("90.5"), next(at)) == Decimal("7.5"), "what it cost is not known"
    store.clock.advance(3 * DAY_MS / 1000)
    await send(again, make_claim("2348012345674"), SENT)
    assert await again.keep_balance(ACCOUNT, Decimal("89.5"), next(at) + 3 * DAY_MS) == Decimal("7.5")
    assert await again.keep_balance(ACCOUNT, Decimal(189), next(at) + 3 * DAY_MS) == 0
    assert await again.keep_balance(ACCOUNT, Decimal(180), next(at) + 3 * DAY_MS) == 9


async def test_what_nobody_read_around_the_call_is_no_evidence(store: Store) -> None:
    journal = await store.open()
    await journal.keep_balance(ACCOUNT, Decimal(100), NOON - 3_600_001)
    await journal.keep_balance("backup", Decimal(100), NOON)
    lost = await send(journal, make_claim("2348012345671"), NO_ANSWER)
    known = await send(journal, make_claim("2348012345672"), SENT)
    await journal.keep_balance("backup", Decimal(90), NOON + 1)

    assert await journal.read_evidence([lost, known]) == {lost.notification.id: CallEvidence(NOON, None)}
    assert await journal.read_evidence([]) == {}


async def test_what_was_settled_is_unknown_no_more(store: Store) -> None:
    journal = await store.open()
    lost = await send(journal, make_claim("2348012345671"), NO_ANSWER)
    settled = await journal.settle(lost.notification.id, {0: SENT}, ResolvedBy.OPERATOR, NOON, audit("resolve_sent"))

    assert settled is not None
    assert await journal.read_evidence([settled]) == {}


async def test_readings_go_with_the_retention(store: Store) -> None:
    journal = await store.open()
    await journal.keep_balance(ACCOUNT, Decimal(100), NOON - DAY_MS)
    await journal.keep_balance(ACCOUNT, Decimal(100), NOON)
    await journal.keep_balance(ACCOUNT, Decimal(99), NOON)  # the same moment again

    await journal.purge(NOON)

    assert store.query("SELECT at, micro_units FROM balances") == [(NOON, 100_000_000)]
