"""What lies between a relay and its upstream: TLS, names, the breaker (C1 of the catalogue, 20 to 27)."""

import json
import ssl
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import trustme

from support.fault_server import FaultServer, Peer, http_answer, silent_address
from support.oracle import Oracle, count_heads, fresh_number, numbers_of
from support.relay import AT_DEBUG, ClientKey, RelayProcess, free_port, make_client, running_relay
from support.upstream import Upstream, processed, running_upstream, send_all
from support.upstream import http_answer as whole_answer
from support.waiting import wait_until

pytestmark = pytest.mark.slow

CONNECT_SECONDS = 1.2
NAMELESS_SECONDS = 30
"""How long a slow name server takes: far longer than a refusal, on a busy machine too."""

ROOT = Path(__file__).parents[2]

RESOLVER = '''
"""Stands in for the name server: reads what it knows from a file at each question."""
import json, os, socket, time
from pathlib import Path

_ask = socket.getaddrinfo


def _answer(host, port, *args, **options):
    known = json.loads(Path(os.environ["TEST_NAMES"]).read_text())
    if host not in known:
        return _ask(host, port, *args, **options)
    time.sleep(known[host].get("seconds", 0))
    if "error" in known[host]:
        raise socket.gaierror(known[host]["error"], "made up")
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]["addresses"]]


socket.getaddrinfo = _answer
'''


def honest(peer: Peer) -> None:
    """Answer well."""
    numbers = list(numbers_of(peer.receive()))
    peer.send(http_answer(processed(dict.fromkeys(numbers, "sent")), headers=("Connection: close",)))


# --- TLS ------------------------------------------------------------------------------------------------------------


class Authority:
    """Issues a server's certificate, well or badly."""

    def __init__(self) -> None:
        self.good, self.stranger = trustme.CA(), trustme.CA()

    def context(self, fault: str) -> ssl.SSLContext:
        """What a server with this fault speaks."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        name = "elsewhere.invalid" if fault == "tls_wrong_host" else "localhost"
        not_after = datetime(2020, 1, 1, tzinfo=UTC) if fault == "tls_expired" else None
        authority = self.stranger if fault == "tls_untrusted" else self.good
        authority.issue_cert(name, not_after=not_after).configure_cert(context)
        if fault == "tls":
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = ssl.TLSVersion.TLSv1
        return context


class Trusting(NamedTuple):
    """A relay that trusts an authority, and the port at which it looks for its upstream."""

    relay: RelayProcess
    client: ClientKey
    authority: Authority
    port: int


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trusting]:
    directory, authority, client, port = tmp_path_factory.mktemp("tls"), Authority(), make_client(), free_port()
    authority.good.cert_pem.write_to_path(str(directory / "ca.pem"))
    toml = (
        f"[smsclone]\nca_file = '{directory / 'ca.pem'}'\nbalance_interval_seconds = 86400\n"
        "[breaker]\nfailures = 1000\n"
    )
    with running_relay(directory, client, upstream=f"https://localhost:{port}", toml=toml) as relay:
        yield Trusting(relay, client, authority, port)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("tls_expired", id="20-expired"),
        pytest.param("tls_wrong_host", id="20-wrong-host"),
        pytest.param("tls_untrusted", id="20-self-signed"),
        pytest.param("tls", id="20-tls-1.0"),
    ],
)
def test_a_tls_fault_is_not_sent_with_its_own_reason_and_never_falls_back(trusting: Trusting, fault: str) -> None:
    relay = trusting.relay
    with FaultServer(honest, tls=trusting.authority.context(fault), address=("127.0.0.1", trusting.port)) as server:
        oracle = Oracle([relay], trusting.client, lambda: count_heads(server.ledger))
        number = fresh_number()
        answer = oracle.send(number)

        assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unreachable")
        assert oracle.check() == {number: ["not_sent"]}
        assert server.ledger == []
        wait_until(lambda: f'"cause":"{fault}"' in relay.log(), relay.log)


hosts = (f"127.0.0.{number}" for number in range(20, 255))
"""Addresses of this machine, each for one server only: the port is the same for all."""


# --- names ----------------------------------------------------------------------------------------------------------


class Names:
    """A relay whose upstream has a name, and the name server that it asks."""

    def __init__(self, relay: RelayProcess, client: ClientKey, file: Path, port: int) -> None:
        self.relay, self.client, self._file, self.port = relay, client, file, port

    def know(self, **answer: object) -> None:
        """Answer so from now on."""
        write_names(self._file, answer)

    def oracle(self, *servers: FaultServer) -> Oracle:
        """A judge with these servers' ledgers."""
        return Oracle([self.relay], self.client, lambda: count_heads([head for one in servers for head in one.ledger]))


def write_names(file: Path, answer: Mapping[str, object]) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps({"upstream.invalid": answer}))
    fresh.replace(file)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Names]:
    directory, client, port = tmp_path_factory.mktemp("names"), make_client(), free_port()
    (directory / "sitecustomize.py").write_text((AT_DEBUG / "sitecustomize.py").read_text() + RESOLVER)
    write_names(directory / "names.json", {"error": -2})
    toml = (
        f"[smsclone]\ntimeout_seconds = 20\nconnect_timeout_seconds = {CONNECT_SECONDS}\nallow_insecure = true\n"
        "balance_interval_seconds = 86400\n[breaker]\nfailures = 1000\n"
    )
    environment = {"PYTHONPATH": f"{directory}:{ROOT}", "TEST_NAMES": str(directory / "names.json")}
    upstream = f"http://upstream.invalid:{port}"
    with running_relay(directory, client, upstream=upstream, toml=toml, environment=environment) as relay:
        yield Names(relay, client, directory / "names.json", port)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"error": -2}, id="21-no-such-name"),
        pytest.param({"error": -3}, id="21-server-failure"),
        pytest.param({"seconds": NAMELESS_SECONDS}, id="21-half-a-minute"),
    ],
)
def test_a_name_server_that_fails_is_not_sent_in_time_and_blocks_nothing(
    names: Names, answer: dict[str, object]
) -> None:
    with FaultServer(honest, address=(next(hosts), names.port)) as server:
        names.know(addresses=[server.host], **answer)
        oracle = names.oracle(server)
        number = fresh_number()
        with ThreadPoolExecutor(1) as pool:
            started = time.monotonic()
            waiting = pool.submit(oracle.send, number)
            looks = 0
            while not waiting.done():
                httpx.get(f"{names.relay.base_url}/healthz", trust_env=False, timeout=60).raise_for_status()
                looks += 1
            refused = waiting.result()

        assert (refused.status_code, refused.json()["code"]) == (503, "upstream_unreachable")
        assert time.monotonic() - started < NAMELESS_SECONDS - 1  # it was not waited for
        assert looks > 0
        assert oracle.check() == {number: ["not_sent"]}


def test_22_a_changed_address_is_honoured_at_the_next_call(names: Names) -> None:
    with (
        FaultServer(honest, address=(next(hosts), names.port)) as first,
        FaultServer(honest, address=(next(hosts), names.port)) as second,
    ):
        oracle = names.oracle(first, second)
        for place in (first, second):
            names.know(addresses=[place.host])
            wait_until(lambda: oracle.send().json().get("status") == "sent")

        assert len(first.ledger) == 1
        assert len(second.ledger) == 1
        oracle.check()


def test_23_an_address_that_swallows_packets_does_not_hide_one_that_works(names: Names) -> None:
    with (
        FaultServer(honest, address=(next(hosts), names.port)) as server,
        silent_address(names.port) as (silent, _),
    ):
        names.know(addresses=[silent, server.host])
        oracle = names.oracle(server)
        _, answer = oracle.send_that_counts(CONNECT_SECONDS)

        assert answer.json()["status"] == "sent"
        oracle.check()


# --- the breaker ----------------------------------------------------------------------------------------------------

FAILURES = 3


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture
def guarded(tmp_path: Path, upstream: Upstream) -> Iterator[tuple[RelayProcess, Oracle]]:
    """A relay whose breaker is quick, and its judge."""
    client = make_client()
    toml = f"[smsclone]\nbalance_interval_seconds = 86400\n[breaker]\nfailures = {FAILURES}\nopen_seconds = 1\n"
    with running_relay(tmp_path, client, upstream=upstream.base_url, toml=toml) as relay:
        wait_until(lambda: upstream.ledger)
        yield relay, Oracle([relay], client, upstream.count)


@pytest.mark.parametrize(
    ("code", "statuses"),
    [
        pytest.param("TG17", (503, 503), id="25-no-balance"),
        pytest.param("TG11", (502, 503), id="25-credentials"),
    ],
)
def test_after_a_refusal_of_the_account_nothing_more_is_sent(
    guarded: tuple[RelayProcess, Oracle], upstream: Upstream, code: str, statuses: tuple[int, int]
) -> None:
    _, oracle = guarded
    upstream.answer = lambda _: whole_answer(f"{code}-Whatever it says")
    first, second = oracle.send(), oracle.send()

    assert (first.status_code, second.status_code) == statuses
    assert len(upstream.sends) == 1
    assert {status for told in oracle.check().values() for status in told} <= {"not_sent"}


def test_27_after_an_outage_one_free_probe_goes_out_and_no_burst(
    guarded: tuple[RelayProcess, Oracle], upstream: Upstream
) -> None:
    _, oracle = guarded
    upstream.answer = lambda _: None
    answers = [oracle.send() for _ in range(FAILURES + 10)]
    waiting = [oracle.send(headers={"Prefer": "respond-async"}) for _ in range(20)]
    sends_in_the_outage = len(upstream.sends)
    polls = len(upstream.ledger) - sends_in_the_outage
    upstream.answer = send_all
    wait_until(lambda: len(upstream.sends) == sends_in_the_outage + len(waiting))
    probes = len(upstream.ledger) - len(upstream.sends) - polls

    assert [answer.status_code for answer in answers] == [200] * FAILURES + [503] * 10
    assert sends_in_the_outage == FAILURES
    assert probes in (1, 2)  # one may have gone out, and failed, before the upstream was back
    states = [status for told in oracle.check().values() for status in told]
    assert (states.count("unknown"), states.count("sent")) == (FAILURES, len(waiting))


def test_27_while_sends_are_lost_though_the_balance_answers_few_become_unknown(
    guarded: tuple[RelayProcess, Oracle], upstream: Upstream
) -> None:
    _, oracle = guarded
    upstream.answer = lambda request: send_all(request) if request.path.endswith("/balance") else None
    answers = []
    give_up = time.monotonic() + 4.0
    with ThreadPoolExecutor(8) as pool:
        while time.monotonic() < give_up:
            answers += list(pool.map(lambda _: oracle.send(), range(8)))
            time.sleep(0.1)  # their rate
    upstream.answer = send_all
    wait_until(lambda: oracle.send().status_code == 200)
    after = [oracle.send().json()["status"] for _ in range(5)]

    lost = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} == {200, 503}
    # As many as were out when it opened, then one at a time: after 1 and 2 seconds, and one more on the way.
    assert len(lost) <= 8 + 3
    assert after == ["sent"] * 5
    oracle.check()
