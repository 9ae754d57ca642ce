"""Service accounts: believed on the API server's word alone, for a minute at most, and on nobody's if it gives none."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from relay.kubernetes import reviews
from relay.kubernetes.reviews import ReviewFailed, TokenReviews, Trouble
from support.fakes import FakeClock
from support.kubernetes import ACCOUNT, ApiServer, make_token, running_api_server
from support.waiting import PATIENCE_SECONDS, until


@pytest.fixture(autouse=True)
def _patient_reviews(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a review take as long as it takes on a busy machine; its limit has a test of its own."""
    monkeypatch.setattr(reviews, "REVIEW_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with running_api_server(tmp_path / "api") as running:
        yield running


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(int(time.time() * 1000))


@pytest.fixture
async def bound() -> set[str]:
    return {"orders/api"}


@pytest.fixture
async def tokens(server: ApiServer, clock: FakeClock, bound: set[str]) -> AsyncIterator[TokenReviews]:
    made = TokenReviews(
        api_url=server.url,
        token_file=server.token_file,
        ca_file=server.ca_file,
        audience="relay",
        clock=clock,
        is_bound=lambda account: account in bound,
    )
    yield made
    await made.aclose()


def good_token(server: ApiServer, mark: str = "signed") -> bytes:
    token = make_token(mark=mark)
    server.accept(token)
    return token.encode()


async def test_a_good_token_is_its_account_and_is_asked_about_once_a_minute(
    tokens: TokenReviews, server: ApiServer, clock: FakeClock
) -> None:
    token = good_token(server)

    assert [await tokens.find_account(token) for _ in range(3)] == ["orders/api"] * 3
    assert [body["spec"]["audiences"] for body in server.asked] == [["relay"]]
    clock.advance(61)
    assert await tokens.find_account(token) == "orders/api"
    assert len(server.asked) == 2


async def test_a_byte_order_mark_and_a_remark_in_the_files_change_nothing(
    tokens: TokenReviews, server: ApiServer
) -> None:
    server.token_file.write_text("\ufeffown-token-1\n", encoding="utf-8")
    server.ca_file.write_bytes("\ufeff# Ségou\n".encode() + server.ca_file.read_bytes())

    assert await tokens.find_account(good_token(server)) == "orders/api"


async def test_a_deleted_account_is_out_within_a_minute(
    tokens: TokenReviews, server: ApiServer, clock: FakeClock
) -> None:
    token = good_token(server)
    assert await tokens.find_account(token) == "orders/api"

    server.verdicts.clear()
    clock.advance(61)

    assert await tokens.find_account(token) is None


async def test_an_answer_is_not_kept_beyond_the_end_of_the_token(
    tokens: TokenReviews, server: ApiServer, clock: FakeClock
) -> None:
    token = make_token(seconds=20)
    server.accept(token)
    assert await tokens.find_account(token.encode()) == "orders/api"

    server.verdicts.clear()
    clock.advance(21)

    assert await tokens.find_account(token.encode()) is None


@pytest.mark.parametrize(
    "verdict",
    [
        {"authenticated": False, "error": "[invalid bearer token, Token has expired]"},
        {"authenticated": True, "user": {"username": ACCOUNT}, "audiences": ["https://kubernetes.default.svc"]},
        {"authenticated": True, "user": {"username": ACCOUNT}},
        {"authenticated": True, "user": {"username": "system:serviceaccount:orders:other"}, "audiences": ["relay"]},
        {"authenticated": True, "user": {"username": "system:admin"}, "audiences": ["relay"]},
        {"authenticated": True, "audiences": ["relay"]},
        {},
    ],
)
async def test_a_token_that_the_api_server_does_not_bear_out_is_refused(
    tokens: TokenReviews, server: ApiServer, verdict: dict[str, object]
) -> None:
    token = make_token()
    server.verdicts[token] = verdict

    assert await tokens.find_account(token.encode()) is None
    assert await tokens.find_account(token.encode()) is None
    assert len(server.asked) == 1  # a no is remembered as well


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(make_token(subject="system:serviceaccount:orders:other"), id="nobody's account"),
        pytest.param(make_token(subject="system:serviceaccount:orders"), id="half an account"),
        pytest.param(make_token(subject="admin"), id="a person"),
        pytest.param(make_token(audience=["https://kubernetes.default.svc"]), id="the API server's audience"),
        pytest.param(make_token(audience="vault"), id="another audience"),
        pytest.param(make_token(seconds=-120), id="expired"),
        pytest.param("aaaa.bbbb.cccc", id="no JSON"),
        pytest.param("e30.e30.e30", id="no claims"),
        pytest.param("a" * 9000, id="too long"),
        pytest.param(make_token() + ".more", id="four parts"),
    ],
)
async def test_what_cannot_be_good_is_refused_without_a_question(
    tokens: TokenReviews, server: ApiServer, token: str
) -> None:
    assert await tokens.find_account(token.encode()) is None
    assert server.asked == []


@pytest.mark.parametrize(
    ("fault", "trouble"),
    [
        ("500", Trouble.HTTP_STATUS),
        ("429", Trouble.HTTP_STATUS),
        ("redirect", Trouble.HTTP_STATUS),
        ("401", Trouble.FORBIDDEN),
        ("403", Trouble.FORBIDDEN),
        ("garbage", Trouble.UNREADABLE),
        ("large", Trouble.UNREADABLE),
        ("other_kind", Trouble.UNREADABLE),
        ("close", Trouble.UNREACHABLE),
    ],
)
async def test_an_api_server_that_fails_lets_nobody_in_and_is_asked_again_next_time(
    tokens: TokenReviews, server: ApiServer, fault: str, trouble: Trouble
) -> None:
    token = good_token(server)
    server.fault = fault
    with pytest.raises(ReviewFailed) as failure:
        await tokens.find_account(token)
    server.fault = None

    assert failure.value.trouble is trouble
    assert await tokens.find_account(token) == "orders/api"


async def test_who_was_let_in_stays_in_for_the_minute_while_the_api_server_fails(
    tokens: TokenReviews, server: ApiServer, clock: FakeClock
) -> None:
    token = good_token(server)
    assert await tokens.find_account(token) == "orders/api"
    server.fault = "500"

    clock.advance(59)
    assert await tokens.find_account(token) == "orders/api"
    clock.advance(2)
    with pytest.raises(ReviewFailed):
        await tokens.find_account(token)


async def test_an_api_server_that_hangs_is_given_up_in_time(
    tokens: TokenReviews, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviews, "REVIEW_SECONDS", 0.3)
    server.gate.clear()

    with pytest.raises(ReviewFailed, match="timeout"):
        await tokens.find_account(good_token(server))


async def test_an_api_server_that_is_not_there_or_not_itself_lets_nobody_in(
    tokens: TokenReviews, server: ApiServer, tmp_path: Path
) -> None:
    token = good_token(server)
    with running_api_server(tmp_path / "stranger") as stranger:
        server.ca_file.write_bytes(stranger.ca_file.read_bytes())
        with pytest.raises(ReviewFailed, match="unreachable"):
            await tokens.find_account(token)
    server.ca_file.unlink()
    with pytest.raises(ReviewFailed, match="ca_unreadable"):
        await tokens.find_account(token)
    assert server.asked == []


async def test_a_certificate_for_another_host_is_not_the_api_servers(tmp_path: Path, clock: FakeClock) -> None:
    with running_api_server(tmp_path / "api", host="kubernetes.default.svc") as server:
        tokens = TokenReviews(
            api_url=server.url,
            token_file=server.token_file,
            ca_file=server.ca_file,
            audience="relay",
            clock=clock,
            is_bound=lambda _: True,
        )
        with pytest.raises(ReviewFailed, match="unreachable"):
            await tokens.find_account(good_token(server))
        await tokens.aclose()


async def test_the_relays_own_token_and_authority_are_read_again(
    tokens: TokenReviews, server: ApiServer, tmp_path: Path
) -> None:
    assert await tokens.find_account(good_token(server, "first")) == "orders/api"
    server.token_file.write_text("own-token-2")
    with running_api_server(tmp_path / "other") as other:  # a bundle with both authorities: one is on its way out
        server.ca_file.write_bytes(other.ca_file.read_bytes() + server.ca_file.read_bytes())
        assert await tokens.find_account(good_token(server, "second")) == "orders/api"
    server.token_file.unlink()
    with pytest.raises(ReviewFailed, match="own_token_unreadable"):
        await tokens.find_account(good_token(server, "third"))

    assert server.callers == ["Bearer own-token-1", "Bearer own-token-2"]


async def test_many_who_bring_the_same_token_ask_once(tokens: TokenReviews, server: ApiServer) -> None:
    token = good_token(server)
    server.gate.clear()
    waiting = [asyncio.ensure_future(tokens.find_account(token)) for _ in range(200)]
    await until(lambda: server.asked)
    server.gate.set()

    assert await asyncio.gather(*waiting) == ["orders/api"] * 200
    assert len(server.asked) == 1


async def test_a_flood_of_made_up_tokens_reaches_the_api_server_a_few_at_a_time(
    tokens: TokenReviews, server: ApiServer
) -> None:
    good = good_token(server)
    assert await tokens.find_account(good) == "orders/api"
    server.gate.clear()
    flood = [asyncio.ensure_future(tokens.find_account(make_token(mark=f"made-up-{n}").encode())) for n in range(1000)]
    await until(lambda: len(server.asked) >= 1 + reviews.REVIEWS_AT_ONCE)

    assert await tokens.find_account(good) == "orders/api"
    server.gate.set()
    ended = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(each, ReviewFailed) for each in ended) == 1000 - reviews.MOST_WAITING
    assert ended.count(None) == reviews.MOST_WAITING
    assert len(server.asked) == 1 + reviews.MOST_WAITING


async def test_refusals_drive_nobody_out_who_was_let_in(
    tokens: TokenReviews, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviews, "MOST_KEPT", 2)
    good = good_token(server)
    assert await tokens.find_account(good) == "orders/api"
    for number in range(4):
        assert await tokens.find_account(make_token(mark=f"made-up-{number}").encode()) is None
    asked = len(server.asked)

    assert await tokens.find_account(good) == "orders/api"
    assert len(server.asked) == asked


async def test_an_account_that_is_no_clients_any_more_is_out_at_once(
    tokens: TokenReviews, server: ApiServer, bound: set[str]
) -> None:
    token = good_token(server)
    assert await tokens.find_account(token) == "orders/api"

    bound.clear()

    assert await tokens.find_account(token) is None
