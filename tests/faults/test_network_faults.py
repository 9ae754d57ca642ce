"""What lies between a relay and its upstream: TLS, names, the breaker (C1 of the catalogue, 20 to 27)."""

import json
import ssl
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import trustme

from fault_server import FaultServer, Peer, http_answer, silent_address
from support_oracle import Oracle, count_heads, fresh_number, numbers_of
from support_relay import AT_DEBUG, ClientKey, RelayProcess, free_port, make_client, running_relay
from support_upstream import Upstream, processed, running_upstream, send_all
from support_upstream import http_answer as whole_answer

pytestmark = pytest.mark.slow

CONNECT_SECONDS = 1.2
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


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "did not happen in time"
        time.sleep(0.02)


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


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("tls_expired", id="20-expired"),
        pytest.param("tls_wrong_host", id="20-wrong-host"),
        pytest.param("tls_untrusted", id="20-self-signed"),
        pytest.param("tls", id="20-tls-1.0"),
    ],
)
def test_a_tls_fault_is_not_sent_with_its_own_reason_and_never_falls_back(tmp_path: Path, fault: str) -> None:
    authority, client = Authority(), make_client()
    authority.good.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    toml = f"[smsclone]\nca_file = '{tmp_path / 'ca.pem'}'\nbalance_interval_seconds = 86400\n"
    with (
        FaultServer(honest, tls=authority.context(fault)) as server,
        running_relay(tmp_path, client, upstream=server.base_url, toml=toml) as relay,
    ):
        oracle = Oracle([relay], client, lambda: count_heads(server.ledger))
        number = fresh_number()
        answer = oracle.send(number)

        assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unreachable")
        assert oracle.check() == {number: ["not_sent"]}
        assert server.ledger == []
        assert f'"cause":"{fault}"' in relay.log()


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
        f"[smsclone]\ntimeout_seconds = 2\nconnect_timeout_seconds = {CONNECT_SECONDS}\nallow_insecure = true\n"
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
        pytest.param({"seconds": 10}, id="21-ten-seconds"),
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
                httpx.get(f"{names.relay.base_url}/healthz", trust_env=False, timeout=2).raise_for_status()
                looks += 1
            refused = waiting.result()

        assert (refused.status_code, refused.json()["code"]) == (503, "upstream_unreachable")
        assert time.monotonic() - started < 5
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

        assert oracle.send().json()["status"] == "sent"
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
    toml = (
        "[smsclone]\ntimeout_seconds = 1\nbalance_interval_seconds = 86400\n"
        f"[breaker]\nfailures = {FAILURES}\nopen_seconds = 1\n"
    )
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
    polls = len(upstream.ledger) - len(upstream.sends)
    waiting = [oracle.send(headers={"Prefer": "respond-async"}) for _ in range(20)]
    sends_in_the_outage = len(upstream.sends)
    upstream.answer = send_all
    wait_until(lambda: len(upstream.sends) == sends_in_the_outage + len(waiting))
    probes = len(upstream.ledger) - len(upstream.sends) - polls

    assert [answer.status_code for answer in answers] == [200] * FAILURES + [503] * 10
    assert sends_in_the_outage == FAILURES
    assert probes in (1, 2)  # one may have gone out, and failed, before the upstream was back
    states = [status for told in oracle.check().values() for status in told]
    assert (states.count("unknown"), states.count("sent")) == (FAILURES, len(waiting))
