"""What is told of a journal's address: which store and where, never by whom."""

import pytest

from relay.domain.secret import Secret
from relay.journal.opening import describe_journal


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:///relay.db", "sqlite relay.db"),
        ("sqlite:////var/lib/relay/relay.db", "sqlite /var/lib/relay/relay.db"),
        ("postgresql://user:canary@db.internal:5432/relay", "postgresql db.internal:5432/relay"),
        (
            "postgresql://user:canary@h1:1,h2:5432/relay?target_session_attrs=read-write",
            "postgresql h1:1,h2:5432/relay",
        ),
        ("postgres://db.internal/relay?user=u&password=canary&sslmode=require", "postgresql db.internal/relay"),
        ("postgresql://user:canary@/relay?host=/var/run/postgresql", "postgresql /var/run/postgresql/relay"),
        ("postgresql://user:canary%zz@db.internal/relay", "postgresql"),
    ],
)
def test_a_journal_is_told_by_store_and_place_without_user_and_password(url: str, told: str) -> None:
    assert describe_journal(Secret(url)) == told
