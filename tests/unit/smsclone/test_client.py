"""What a call's exchange becomes: an outcome for every number, whatever came back."""

import asyncio
import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.domain.codes import Code, Rejection, Route, Status
from relay.domain.notification import UpstreamRecord
from relay.sending.ports import MessageTooLongEncoded, SendOutcome, SendRequest, SendResult
from relay.smsclone.client import SmscloneClient
from relay.smsclone.exchange import GetTransport, InProcessTransport
from relay.smsclone.query import Queries
from relay.smsclone.transport import Cause, Exchange
from relay.smsclone.upstream_answers import rejection_of

ADA = "2348012345678"
BOLA = "2348098765432"
ACCEPTED = b"TG00-MESSAGE PROCESSED:"
SENT_TO_ADA = ACCEPTED + b"0000|2348012345678|9967534522177818556581618|SENT|MESSAGE SENT TO PROVIDER"
REQUEST = SendRequest("Kanu", "Your code is 4711", (ADA, BOLA), Route.DND)
QUERIES = Queries("https://sms.example", "kanu-account", "p4ssword")
_WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


class Scripted(GetTransport):
    """Gives one exchange, and remembers what was asked."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange_given = exchange
        self.asked: list[tuple[bytes, float]] = []

    async def exchange(self, target: bytes, deadline: float) -> Exchange:
        self.asked.append((target, deadline))
        return self.exchange_given


class Watch:
    """A clock that goes forward when told."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def client_over(exchange: Exchange, *, most: int = 100, watch: Callable[[], float] | None = None) -> SmscloneClient:
    return SmscloneClient(QUERIES, Scripted(exchange), most_recipients=most, monotonic=watch or Watch())


def answered(body: bytes, status: int = 200) -> Exchange:
    return Exchange(wrote=True, cause=Cause.ANSWERED, status=status, body=body)


async def send(exchange: Exchange, request: SendRequest = REQUEST) -> SendResult:
    return await client_over(exchange).send(request, 5.0)


def codes(result: SendResult) -> list[Code]:
    return [outcome.code for outcome in result.outcomes]


# --- sends ------------------------------------------------------------------------------------------------------------


async def test_an_accepted_batch_gives_each_number_what_its_record_says() -> None:
    result = await send(answered(SENT_TO_ADA + b",3333|08098765432|1|DND_REJECTED|DND_REJECTED_NUMBER"))
    assert (result.outcome, result.cause, result.warnings) == (SendOutcome.ACCEPTED, "answered", ())
    assert result.upstream_code == "TG00"
    assert codes(result) == [Code.SENT, Code.DND_REJECTED]
    assert result.outcomes[0].upstream is not None
    assert result.outcomes[0].upstream.message_id == "9967534522177818556581618"


@pytest.mark.parametrize(
    "exchange",
    [
        Exchange(wrote=True, cause=Cause.TIMEOUT),
        Exchange(wrote=False, cause=Cause.REFUSED),
        *(
            Exchange(wrote=True, cause=Cause.ANSWERED, status=status, body=body)
            for status, body in [
                (200, SENT_TO_ADA),
                (200, b"TG11-Invalid"),
                (200, b"TG11-X:0000|2348012345678|1"),
                (200, b"OK"),
                (302, b""),
            ]
        ),
    ],
    ids=["no answer", "no connection", "accepted", "rejected", "contradiction", "unreadable", "redirect"],
)
async def test_every_call_says_how_long_it_took(exchange: Exchange) -> None:
    clock = asyncio.get_running_loop().time
    before = clock()
    result = await send(exchange)

    assert 0 <= result.seconds <= clock() - before


async def test_a_number_that_the_answer_leaves_out_is_unknown() -> None:
    assert codes(await send(answered(SENT_TO_ADA))) == [Code.SENT, Code.MISSING_IN_ANSWER]


async def test_the_call_is_made_once_with_the_deadline_of_the_loops_clock() -> None:
    transport = Scripted(answered(SENT_TO_ADA))
    client = SmscloneClient(QUERIES, transport, most_recipients=100, monotonic=Watch())
    before = asyncio.get_running_loop().time()
    await client.send(REQUEST, 5.0)
    [(target, deadline)] = transport.asked
    assert target == QUERIES.send(Route.DND, "Kanu", (ADA, BOLA), "Your code is 4711")
    assert before + 5.0 <= deadline <= asyncio.get_running_loop().time() + 5.0


async def test_new_credentials_are_those_of_every_later_call() -> None:
    transport = Scripted(answered(SENT_TO_ADA))
    client = SmscloneClient(QUERIES, transport, most_recipients=100, monotonic=Watch())
    others = Queries("https://sms.example", "kanu-account", "an0ther")
    client.use(others)
    await client.send(REQUEST, 5.0)
    await client.balance(5.0)
    sent = others.send(Route.DND, "Kanu", (ADA, BOLA), "Your code is 4711")
    assert [target for target, _ in transport.asked] == [sent, others.balance()]


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.ANSWERED])
async def test_an_exchange_without_an_answer_is_unknown_if_a_byte_left_and_not_sent_otherwise(cause: Cause) -> None:
    left = await send(Exchange(wrote=True, cause=cause))
    assert (left.outcome, left.cause) == (SendOutcome.UNKNOWN, cause.value)
    assert {outcome.status for outcome in left.outcomes} == {Status.UNKNOWN}
    stayed = await send(Exchange(wrote=False, cause=cause))
    assert stayed.outcome is SendOutcome.NOT_SENT
    assert stayed.cause == cause.value
    assert {outcome.status for outcome in stayed.outcomes} == {Status.NOT_SENT}
    assert codes(stayed) == [Code.UPSTREAM_UNREACHABLE] * 2


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (Cause.TIMEOUT, Code.NO_ANSWER),
        (Cause.RESET, Code.NO_ANSWER),
        (Cause.CLOSED, Code.NO_ANSWER),
        (Cause.TRUNCATED, Code.NO_ANSWER),
        (Cause.MALFORMED, Code.UNREADABLE_ANSWER),
        (Cause.TOO_LARGE, Code.UNREADABLE_ANSWER),
        (Cause.COMPRESSED, Code.UNREADABLE_ANSWER),
        (Cause.INTERIM_FLOOD, Code.UNREADABLE_ANSWER),
    ],
)
async def test_an_answer_that_came_and_cannot_be_read_is_told_from_none(cause: Cause, code: Code) -> None:
    assert codes(await send(Exchange(wrote=True, cause=cause))) == [code] * 2


@pytest.mark.parametrize(
    "body",
    [
        b"TG17-Not Enough Units Balance:0000|2348012345678|9967534522177818556581618|SENT|MESSAGE SENT TO PROVIDER",
        b"TG20-X:2222|2348012345678|1|REJECTED|X,14|2348098765432|1|dnd_sent|X",
        b'{"responseCode":"TG17","messages":[{"statusCode":"1111","recipient":"1","messageId":"1","status":"DELIVERED"}]}',
        b"TG17-Not Enough Units Balance:0000|2348012345678|1|ACCEPTED|X",
        b"TG17-Not Enough Units Balance:2222|2348012345678|1|REJECTED|X,7777|2348098765432|1|QUEUED|X",
        b"TG11-X:0000|2348012345678|1",
    ],
)
async def test_a_rejection_with_a_record_that_is_none_is_unknown_and_never_safe_to_repeat(body: bytes) -> None:
    result = await send(answered(body))
    assert (result.outcome, result.cause, result.rejection) == (SendOutcome.UNKNOWN, "contradiction", None)
    assert codes(result) == [Code.CONFLICTING_ANSWER] * 2
    assert not result.too_many
    assert "records_on_rejection" in result.warnings


async def test_a_rejection_whose_records_say_no_as_well_is_a_rejection() -> None:
    result = await send(answered(b"TG17-Not Enough Units Balance:2222|2348012345678|1|REJECTED|MESSAGE REJECTED"))
    assert (result.outcome, codes(result)) == (SendOutcome.REJECTED, [Code.UPSTREAM_REJECTED] * 2)
    assert result.warnings == ("records_on_rejection",)


@pytest.mark.parametrize("status", [300, 301, 302, 307, 399])
async def test_a_redirect_is_unknown_whatever_its_body_says(status: int) -> None:
    result = await send(answered(SENT_TO_ADA, status))
    assert (result.outcome, result.cause, codes(result)) == (
        SendOutcome.UNKNOWN,
        "redirect",
        [Code.UNREADABLE_ANSWER] * 2,
    )


@pytest.mark.parametrize(
    "body", [b"", b"<html>TG00</html>", b"Too Many Attempts.", b'{"responseCode":"TG00","mess', b"OK"]
)
@pytest.mark.parametrize("status", [200, 204, 429, 503])
async def test_a_body_that_is_no_answer_is_unknown(body: bytes, status: int) -> None:
    result = await send(answered(body, status))
    assert (result.outcome, result.cause, codes(result)) == (
        SendOutcome.UNKNOWN,
        "unreadable",
        [Code.UNREADABLE_ANSWER] * 2,
    )
    assert result.warnings == (() if status == 200 else ("http_status",))


@pytest.mark.parametrize("status", [400, 500])
async def test_under_another_status_the_body_decides_with_a_warning(status: int) -> None:
    result = await send(answered(SENT_TO_ADA, status))
    assert (codes(result)[0], result.warnings) == (Code.SENT, ("http_status",))
    assert (await send(answered(b"TG17", 402))).warnings == ("http_status",)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("TG11", Rejection.CREDENTIALS),
        ("TG14", Rejection.CONTRACT),
        ("TG17", Rejection.NO_BALANCE),
        ("TG18", Rejection.BLOCKED_SENDER),
        ("TG19", Rejection.BLOCKED_WORDS),
        ("TG20", Rejection.TOO_MANY_RECIPIENTS),
        ("TG42", Rejection.CONTRACT),
    ],
)
async def test_a_rejection_sends_nothing_to_any_number_and_says_which_kind_it_is(code: str, kind: Rejection) -> None:
    result = await send(answered(f"{code}-p4ssword of kanu-account".encode()))
    assert (result.outcome, result.cause) == (SendOutcome.REJECTED, "rejected")
    assert result.rejection is not None
    assert (result.rejection, result.upstream_code) == (kind, code)
    assert {outcome.upstream for outcome in result.outcomes} == {
        UpstreamRecord(code, description=rejection_of(code).description)
    }
    assert codes(result) == [Code.UPSTREAM_REJECTED] * 2
    assert {outcome.status for outcome in result.outcomes} == {Status.NOT_SENT}
    assert result.too_many == (code == "TG20")
    assert "p4ssword" not in repr(result)


async def test_an_echoed_query_is_not_kept() -> None:
    echo = b"0000|2348012345678|1|SENT|?username=kanu-account&password=p4ssword&recipient=2348098765432&message=Your"
    outcome = (await send(answered(ACCEPTED + echo))).outcomes[0]
    assert outcome.upstream is not None
    assert (outcome.code, outcome.upstream.description) == (Code.SENT, None)


# --- TG20 -------------------------------------------------------------------------------------------------------------


def chunk_sizes(client: SmscloneClient) -> list[int]:
    numbers = [f"2348{n:09}" for n in range(100)]
    return [len(chunk) for chunk in client.chunk("Kanu", "Hi", Route.NORMAL, numbers)]


def request_to(count: int) -> SendRequest:
    return SendRequest("Kanu", "Hi", tuple(f"2348{n:09}" for n in range(count)), Route.NORMAL)


async def test_tg20_halves_what_later_chunks_hold_for_an_hour() -> None:
    watch = Watch()
    client = client_over(answered(b"TG20"), watch=watch)
    await client.send(request_to(100), 5.0)
    assert chunk_sizes(client) == [50, 50]
    watch.seconds += 3_599
    assert chunk_sizes(client) == [50, 50]
    watch.seconds += 1
    assert chunk_sizes(client) == [100]


async def test_the_answer_to_a_larger_chunk_that_was_already_out_does_not_raise_what_was_learned() -> None:
    client = client_over(answered(b"TG20"))
    await client.send(request_to(50), 5.0)
    await client.send(request_to(100), 5.0)
    assert chunk_sizes(client) == [25, 25, 25, 25]


async def test_tg20_for_two_numbers_teaches_that_one_at_a_time_may_do() -> None:
    client = client_over(answered(b"TG20"))
    assert (await client.send(request_to(2), 5.0)).too_many
    assert chunk_sizes(client) == [1] * 100


async def test_tg20_whose_records_say_no_as_well_is_no_leave_to_halve() -> None:
    client = client_over(answered(b"TG20-X:2222|2348012345678|1|REJECTED|MESSAGE REJECTED"))
    result = await client.send(REQUEST, 5.0)
    assert (result.rejection, result.too_many) == (Rejection.TOO_MANY_RECIPIENTS, False)
    assert chunk_sizes(client) == [100]


async def test_tg20_for_one_number_teaches_nothing() -> None:
    client = client_over(answered(b"TG20"))
    await client.send(request_to(1), 5.0)
    assert chunk_sizes(client) == [100]


@pytest.mark.parametrize("body", [b"TG20-X:0000|2348012345678|1|SENT|X", b"TG20 0000|2348012345678|1|SENT"])
async def test_tg20_with_records_is_no_leave_to_halve_and_teaches_nothing(body: bytes) -> None:
    client = client_over(answered(body))
    assert not (await client.send(request_to(100), 5.0)).too_many
    assert chunk_sizes(client) == [100]


async def test_a_learned_limit_never_exceeds_the_settings() -> None:
    client = client_over(answered(b"TG20"), most=30)
    await client.send(request_to(100), 5.0)
    assert chunk_sizes(client) == [30, 30, 30, 10]


def test_the_whole_url_stays_under_6000_bytes() -> None:
    client = client_over(answered(b""))
    without_text = len("https://sms.example") + len(QUERIES.send(Route.NORMAL, "Kanu", [ADA], ""))
    longest = "x" * (5_999 - without_text)
    assert client.chunk("Kanu", longest, Route.NORMAL, [ADA]) == [(0,)]
    with pytest.raises(MessageTooLongEncoded):
        client.chunk("Kanu", longest + "x", Route.NORMAL, [ADA])


@pytest.mark.parametrize(("body", "refusals"), [(b"TG11-Invalid", 2), (b"TG17", 0)])
async def test_whoever_watches_the_credentials_hears_of_a_refusal_of_them_and_of_no_other(
    body: bytes, refusals: int
) -> None:
    heard: list[str] = []
    client = SmscloneClient(
        QUERIES,
        Scripted(answered(body)),
        most_recipients=100,
        monotonic=Watch(),
        on_refusal=lambda: heard.append("refused"),
    )
    await client.send(REQUEST, 5.0)
    await client.balance(5.0)
    assert len(heard) == refusals


# --- balance ----------------------------------------------------------------------------------------------------------


async def test_units_come_back_as_they_were_written() -> None:
    assert (await client_over(answered(b" 1,256.210\r\n")).balance(5.0)).units == "1256.210"


@pytest.mark.parametrize(
    ("exchange", "cause"),
    [
        (Exchange(wrote=True, cause=Cause.TIMEOUT), "timeout"),
        (Exchange(wrote=False, cause=Cause.REFUSED), "refused"),
        (answered(b"<html>"), "unreadable"),
        (answered(SENT_TO_ADA), "unreadable"),
        *((answered(b"256.21", status), "redirect") for status in (300, 302, 399)),
        (answered(b"256.21", 400), "http_status"),
        (answered(b"0", 503), "http_status"),
    ],
)
async def test_units_that_cannot_be_read_have_a_cause_and_no_number(exchange: Exchange, cause: str) -> None:
    balance = await client_over(exchange).balance(5.0)
    assert (balance.units, balance.cause, balance.rejection) == (None, cause, None)


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.ANSWERED])
@pytest.mark.parametrize("wrote", [True, False])
async def test_every_end_without_an_answer_keeps_its_cause_on_the_way_through_httpx(cause: Cause, wrote: bool) -> None:
    balance = await client_over(Exchange(wrote=wrote, cause=cause)).balance(5.0)
    assert (balance.units, balance.cause) == (None, cause.value)


@given(username=_WORDS, password=_WORDS)
def test_a_balance_call_reaches_the_wire_as_it_was_built_and_on_time(username: str, password: str) -> None:
    transport = Scripted(answered(b"1"))
    queries = Queries("https://sms.example:8443/v%31", username, password)
    client = SmscloneClient(queries, transport, most_recipients=100, monotonic=Watch())

    async def read() -> tuple[float, float]:
        clock = asyncio.get_running_loop().time
        before = clock()
        await client.balance(7.0)
        return before, clock()

    before, after = asyncio.run(read())
    [(target, deadline)] = transport.asked
    assert target == queries.balance()
    assert before + 7.0 <= deadline <= after + 7.0


async def test_a_balance_call_is_never_logged_by_httpx(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await client_over(answered(b"1")).balance(5.0)
    await client_over(answered(b"1", 503)).balance(5.0)
    assert [record for record in caplog.records if record.name.startswith(("httpx", "httpcore"))] == []
    assert "p4ssword" not in caplog.text


async def test_a_balance_call_takes_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    transport = Scripted(answered(b"1"))
    client = SmscloneClient(QUERIES, transport, most_recipients=100, monotonic=Watch())
    assert (await client.balance(5.0)).units == "1"
    assert len(transport.asked) == 1


async def test_a_rejected_balance_call_says_which_kind() -> None:
    balance = await client_over(answered(b"TG11-Invalid")).balance(5.0)
    assert (balance.units, balance.cause) == (None, "rejected")
    assert (balance.rejection, balance.upstream_code) == (Rejection.CREDENTIALS, "TG11")


async def test_the_stand_in_in_the_process_answers_like_a_wire() -> None:
    asked: list[bytes] = []

    def answer(target: bytes) -> tuple[int, bytes]:
        asked.append(target)
        return 200, SENT_TO_ADA

    client = SmscloneClient(QUERIES, InProcessTransport(answer), most_recipients=100, monotonic=Watch())
    assert codes(await client.send(REQUEST, 5.0))[0] is Code.SENT
    assert asked == [QUERIES.send(Route.DND, "Kanu", (ADA, BOLA), "Your code is 4711")]


async def test_a_stand_in_that_says_nothing_leaves_an_unknown() -> None:
    client = SmscloneClient(QUERIES, InProcessTransport(lambda _: (200, b"")), most_recipients=100, monotonic=Watch())
    result = await client.send(REQUEST, 5.0)
    assert (result.outcome, result.cause, codes(result)) == (SendOutcome.UNKNOWN, "timeout", [Code.NO_ANSWER] * 2)


@pytest.mark.parametrize(("recipients", "waits"), [(20, False), (21, True)])
async def test_an_answer_about_many_recipients_waits_for_its_turn_to_be_read(recipients: int, waits: bool) -> None:
    numbers = tuple(f"234803{i:07}" for i in range(recipients))
    records = ",".join(f"0000|{number}|99675{number}|SENT|MESSAGE SENT TO PROVIDER" for number in numbers)
    turns: list[str] = []

    async def wait_turn() -> None:
        turns.append("waited")

    transport = Scripted(answered(f"TG00-MESSAGE PROCESSED:{records}".encode()))
    client = SmscloneClient(QUERIES, transport, most_recipients=100, monotonic=Watch(), wait_turn=wait_turn)
    result = await client.send(replace(REQUEST, numbers=numbers), 5.0)

    assert bool(turns) is waits
    assert [outcome.code for outcome in result.outcomes] == [Code.SENT] * recipients
