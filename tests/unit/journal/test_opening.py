"""Which store a URL means, and that no URL is ever repeated."""

import pytest

from fakes import FakeClock
from relay.domain.secret import Secret
from relay.journal import open_journal
from relay.journal.postgres import PostgresJournal
from relay.journal.sqlite import SqliteJournal


@pytest.mark.parametrize(
    ("url", "store"),
    [
        ("sqlite:///relay.db", SqliteJournal),
        ("sqlite:////var/lib/relay/relay.db", SqliteJournal),
        ("postgresql://relay@db/relay", PostgresJournal),
        ("postgres://relay@db1,db2/relay?target_session_attrs=read-write", PostgresJournal),
    ],
)
def test_a_url_means_a_store(url: str, store: type) -> None:
    assert isinstance(open_journal(url, clock=FakeClock()), store)
    assert isinstance(open_journal(Secret(url), clock=FakeClock()), store)


@pytest.mark.parametrize(
    "url", ["", "sqlite://", "sqlite:///", "sqlite:///:memory:", "relay.db", "mysql://relay:canary@db/relay"]
)
def test_another_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="journal's URL must be") as caught:
        open_journal(url, clock=FakeClock())

    assert "canary" not in str(caught.value)
