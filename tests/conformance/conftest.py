"""The stores that the journal's suite runs over."""

import pytest

from relay.journal import sessions
from support.stores import journal, own_store, shared_store, store
from support.waiting import PATIENCE_SECONDS

__all__ = ["journal", "own_store", "shared_store", "store"]


@pytest.fixture(autouse=True)
def _patient_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let many at once wait for a connection as long as a busy machine takes; the limit has a test in tests/faults."""
    monkeypatch.setattr(sessions, "_CONNECTION_SECONDS", PATIENCE_SECONDS)
