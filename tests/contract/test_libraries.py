"""What the relay takes for granted of its libraries: an upgrade that changes it is seen here, not in production.

Each test pins behaviour as it is, whether we like it or build around it; the docstring says what stands on it.
"""

import hmac
import logging
import math
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import ahocorasick_rs
import httptools
import httpx
import jinja2.sandbox
import jmespath
import msgspec
import prometheus_client
import pytest
import standardwebhooks
from msgspec import Struct
from prometheus_client.exposition import choose_encoder


class Item(Struct, forbid_unknown_fields=True):
    name: str
    count: int = 0


class Open(Struct):
    name: str


# --- msgspec ------------------------------------------------------------------------------------------------------


def test_of_a_json_name_that_comes_twice_the_last_counts() -> None:
    """So the relay looks for it itself: such a request is refused."""
    assert msgspec.json.decode(b'{"name": "a", "name": "b"}', type=Item).name == "b"


@pytest.mark.parametrize("body", [b'{"name": "a", "count": "1"}', b'{"name": "a", "count": true}', b'{"name": 1}'])
def test_no_type_is_turned_into_another(body: bytes) -> None:
    """Strict mode is the default; the API's types stand on it."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=Item)


def test_unknown_names_are_refused_only_where_a_struct_says_so() -> None:
    """Requests say so; webhook payloads do not, because they grow."""
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"name": "a", "more": 1}', type=Item)
    assert msgspec.json.decode(b'{"name": "a", "more": 1}', type=Open).name == "a"


@pytest.mark.parametrize("body", [b'{"name": NaN}', b"\xef\xbb\xbf{}", b"{} {}", '{"name": "a"}'.encode("utf-16")])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Nothing of ours looks for these."""
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body)


def test_invalid_utf_8_is_an_error_of_another_class() -> None:
    """Decoders of foreign bytes therefore catch ``ValueError``."""
    with pytest.raises(UnicodeDecodeError):
        msgspec.json.decode(b'"\xff"')
    assert issubclass(msgspec.DecodeError, ValueError)


def test_nan_is_written_as_null_and_a_lone_surrogate_not_at_all() -> None:
    """Answers hold no floats, and the log catches this."""
    assert msgspec.json.encode(math.nan) == b"null"
    with pytest.raises(UnicodeEncodeError):
        msgspec.json.encode("\ud800")


def test_a_pattern_searches_and_an_end_of_line_satisfies_a_dollar() -> None:
    """So patterns of settings are written with \\A and \\Z."""
    loose = msgspec.json.Decoder(Annotated[str, msgspec.Meta(pattern="[0-9]$")])
    assert loose.decode(b'"x1\\n"') == "x1\n"


def test_a_struct_prints_its_fields() -> None:
    """So secrets are of a type of their own."""
    assert "canary" in repr(Item("canary"))


# --- HTTP ---------------------------------------------------------------------------------------------------------


class Heard:
    def __init__(self) -> None:
        self.said: list[str] = []

    def on_message_complete(self) -> None:
        self.said.append("complete")

    def on_body(self, body: bytes) -> None:
        self.said.append("body")


def test_the_parser_of_answers_refuses_a_length_beside_chunks() -> None:
    """An answer that two readers could cut differently is no answer."""
    parser = httptools.HttpResponseParser(Heard())
    with pytest.raises(httptools.HttpParserError):
        parser.feed_data(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
        )


def test_the_parser_of_answers_does_not_end_a_body_without_a_length() -> None:
    """Whether it is whole is judged by us, at the end of the connection."""
    heard = Heard()
    httptools.HttpResponseParser(heard).feed_data(b"HTTP/1.1 200 OK\r\n\r\nTG00")
    assert heard.said == ["body"]


def test_the_parser_of_answers_tells_a_switch_of_protocols_by_an_exception_of_its_own() -> None:
    """It is no parser error, and would pass by a handler of those alone."""
    assert not issubclass(httptools.HttpParserUpgrade, httptools.HttpParserError)


def test_a_stock_client_asks_the_environment_and_keeps_cookies() -> None:
    """So ours are made with ``trust_env=False``, and none carries a send."""
    with httpx.Client(timeout=60) as client:
        assert client.trust_env
        assert not client.follow_redirects
        client.cookies.set("a", "b")
        assert client.build_request("GET", "http://relay.test/").headers["cookie"] == "a=b"


def test_an_address_that_is_too_long_or_no_text_is_no_http_error() -> None:
    """Callers of httpx in the command line and for callbacks catch these beside ``HTTPError``."""
    with pytest.raises(httpx.InvalidURL):
        httpx.URL("http://relay.test/?a=" + "b" * 70_000)
    assert not issubclass(httpx.InvalidURL, httpx.HTTPError)


def test_the_http_library_logs_whole_addresses(caplog: pytest.LogCaptureFixture) -> None:
    """So its loggers are silenced, whatever the level."""
    with (
        caplog.at_level(logging.INFO, logger="httpx"),
        httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200)), timeout=60) as c,
    ):
        c.get("http://relay.test/?password=canary")
    assert "canary" in caplog.text


# --- stores -------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "x.db", isolation_level=None, timeout=0)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (k TEXT PRIMARY KEY)")
    yield connection
    connection.close()


def test_an_insert_that_meets_a_taken_key_counts_no_row(database: sqlite3.Connection) -> None:
    """The claim of an idempotency key is judged by this, row by row and together."""
    assert database.execute("INSERT INTO t VALUES ('a') ON CONFLICT DO NOTHING").rowcount == 1
    assert database.execute("INSERT INTO t VALUES ('a') ON CONFLICT DO NOTHING").rowcount == 0
    assert database.execute("INSERT INTO t VALUES ('a'), ('b') ON CONFLICT DO NOTHING").rowcount == 1


def test_a_transaction_that_begins_to_write_late_may_fail_at_once(database: sqlite3.Connection, tmp_path: Path) -> None:
    """So every write begins with BEGIN IMMEDIATE."""
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None, timeout=5)
    other.execute("BEGIN")
    other.execute("SELECT * FROM t").fetchall()
    database.execute("INSERT INTO t VALUES ('a')")
    with pytest.raises(sqlite3.OperationalError) as failure:
        other.execute("INSERT INTO t VALUES ('b')")
    other.close()
    assert failure.value.sqlite_errorname == "SQLITE_BUSY_SNAPSHOT"


def test_durability_is_of_a_connection_and_not_of_the_file(database: sqlite3.Connection, tmp_path: Path) -> None:
    """So ``synchronous`` is set each time the journal is opened."""
    database.execute("PRAGMA synchronous=FULL")
    fresh = sqlite3.connect(tmp_path / "x.db")
    fresh.execute("PRAGMA synchronous=NORMAL")
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert fresh.execute("PRAGMA synchronous").fetchone() == (1,)
    fresh.close()


# --- the rest -----------------------------------------------------------------------------------------------------


def test_matches_overlap_only_if_asked_for_and_are_of_letters_as_they_stand() -> None:
    """The prefilter asks for it, and folds before."""
    automaton = ahocorasick_rs.AhoCorasick(["abcd", "bc"])
    assert [match[0] for match in automaton.find_matches_as_indexes("abcd", overlapping=True)] == [1, 0]
    assert automaton.find_matches_as_indexes("ABCD", overlapping=True) == []
    with pytest.raises(ValueError, match="empty"):
        ahocorasick_rs.AhoCorasick([""])


def test_keys_of_text_outside_ascii_cannot_be_compared() -> None:
    """So digests are compared, as bytes."""
    with pytest.raises(TypeError):
        hmac.compare_digest("kéy", "key")


def test_a_label_that_is_no_text_breaks_every_later_scrape() -> None:
    """So every label is of a closed set."""
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("x", "x", ["l"], registry=registry).labels("\ud800").inc()
    with pytest.raises(UnicodeEncodeError):
        choose_encoder("")[0](registry)


@pytest.mark.parametrize("source", ["{{ ''.__class__ }}", "{{ [].append.__self__.__class__ }}", "{{ x.__init__ }}"])
def test_a_template_cannot_reach_beyond_what_it_is_given(source: str) -> None:
    """Receivers' templates run in this sandbox."""
    template = jinja2.sandbox.ImmutableSandboxedEnvironment().from_string(source + "{{ ''.__class__.__mro__ }}")
    with pytest.raises(jinja2.exceptions.SecurityError):
        template.render(x=object())


def test_an_expression_that_finds_nothing_gives_none_and_never_an_error() -> None:
    """A generic webhook's field may be missing."""
    assert jmespath.search("a.b[0].c", {"a": 1}) is None


def test_a_signature_is_good_for_five_minutes_and_with_any_of_several() -> None:
    """What receivers do with our callbacks, by the reference library."""
    secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    library: Any = standardwebhooks.Webhook(secret)

    def headers(at: datetime) -> dict[str, str]:
        signature = library.sign("m1", at, "{}")
        return {
            "webhook-id": "m1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": f"v1,AAAA {signature}",
        }

    now = datetime.now(UTC)
    library.verify("{}", headers(now))
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        library.verify("{}", headers(now - timedelta(minutes=6)))
