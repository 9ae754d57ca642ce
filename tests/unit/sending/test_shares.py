"""Nobody feels the neighbour: who gets a place where places are short (SPEC section 11)."""

from hypothesis import given
from hypothesis import strategies as st

from relay.domain.codes import MessageType
from relay.domain.notification import Mode
from relay.sending.shares import URGENT, AdmissionVerdict, Asker, Shares, order

CODE, RECEIPT, PROMOTION = MessageType.OTP, MessageType.TRANSACTIONAL, MessageType.PROMOTIONAL
ASKERS = st.builds(Asker, st.sampled_from(["billing", "orders", "shop"]), st.sampled_from([*MessageType, None]))
STEPS = st.lists(st.tuples(ASKERS, st.booleans()), max_size=120)


def fill(shares: Shares, client: str, message_type: MessageType = RECEIPT) -> int:
    """Let a client take all that it is given."""
    asker = Asker(client, message_type)
    taken = 0
    while shares.judge(asker).admits:
        shares.take(asker)
        taken += 1
    return taken


def test_a_client_alone_may_hold_everything_but_the_quarter_for_codes_and_alerts() -> None:
    shares = Shares(200)

    assert fill(shares, "billing") == 150
    assert shares.judge(Asker("billing", RECEIPT)) is AdmissionVerdict.RESERVED
    assert fill(shares, "billing", CODE) == 50
    assert shares.judge(Asker("billing", RECEIPT)) is AdmissionVerdict.OVER_SHARE


def test_a_client_below_its_share_is_let_in_though_another_one_holds_all_places() -> None:
    shares = Shares(200)
    fill(shares, "hog")
    fill(shares, "hog", CODE)

    assert shares.judge(Asker("quiet", CODE)) is AdmissionVerdict.BELOW_SHARE
    assert fill(shares, "quiet") == 75
    assert not shares.judge(Asker("hog", RECEIPT)).admits


def test_one_type_of_a_client_does_not_stop_its_others() -> None:
    shares = Shares(40)
    fill(shares, "shop", PROMOTION)

    assert shares.judge(Asker("shop", RECEIPT)) is AdmissionVerdict.BELOW_SHARE
    assert shares.judge(Asker("shop", PROMOTION)) is AdmissionVerdict.RESERVED


@given(st.integers(1, 60), STEPS)
def test_whoever_is_below_its_share_is_never_refused(limit: int, steps: list[tuple[Asker, bool]]) -> None:
    shares = Shares(limit)
    held: list[Asker] = []
    for asker, gives_back in steps:
        if gives_back and held:
            shares.give_back(held.pop())
        clients = {each.client for each in held} | {asker.client}
        share = max((limit - shares.reserved) // len(clients), 1)
        verdict = shares.judge(asker)
        if sum(each.client == asker.client for each in held) < share:
            assert verdict.admits
        if verdict.admits:
            shares.take(asker)
            held.append(asker)
        assert shares.held == len(held)


@given(st.integers(2, 60), STEPS)
def test_there_are_never_more_than_twice_as_many_as_the_limit_says(limit: int, steps: list[tuple[Asker, bool]]) -> None:
    shares = Shares(limit)
    for asker, _ in steps:
        if shares.judge(asker).admits:
            shares.take(asker)
    # At the smallest limits a share is still one place each, of every kind.
    assert shares.held <= 2 * limit + 3 * (len(MessageType) + 1)


@given(st.integers(2, 60), STEPS)
def test_ordinary_traffic_of_one_client_leaves_the_reserve_free(limit: int, steps: list[tuple[Asker, bool]]) -> None:
    shares = Shares(limit)
    for asker, _ in steps:
        alone = asker._replace(client="billing", message_type=RECEIPT)
        if asker.message_type not in URGENT and shares.judge(alone).admits:
            shares.take(alone)
    assert shares.held <= limit - shares.reserved
    assert shares.judge(Asker("billing", CODE)) is AdmissionVerdict.ROOM


@given(STEPS)
def test_what_was_given_back_is_forgotten(steps: list[tuple[Asker, bool]]) -> None:
    shares = Shares(10)
    for asker, _ in steps:
        shares.take(asker)
    for asker, _ in steps:
        shares.give_back(asker)

    assert (shares.held, shares.held_by, shares.held_by_type) == (0, {}, {})


def test_codes_go_first_then_who_holds_the_fewest_then_callers_who_wait() -> None:
    shares = Shares(8)
    for _ in range(3):
        shares.take(Asker("hog", RECEIPT))
    waiting = [
        Asker("hog", PROMOTION, Mode.ASYNCHRONOUS),
        Asker("hog", RECEIPT),
        Asker("quiet", PROMOTION, Mode.ASYNCHRONOUS),
        Asker("quiet", RECEIPT, Mode.ASYNCHRONOUS),
        Asker("hog", CODE, Mode.ASYNCHRONOUS),
        Asker("quiet", RECEIPT),
    ]

    assert sorted(waiting, key=lambda asker: order(shares, asker)) == [waiting[n] for n in (4, 5, 3, 2, 1, 0)]
