"""The stores that the journal's suite runs over."""

import pytest

from support.stores import journal, let_wait, own_store, shared_store, store

__all__ = ["journal", "own_store", "shared_store", "store"]


@pytest.fixture(autouse=True)
def _patient_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wins among many is asked here, and not how long they may take."""
    let_wait(monkeypatch)
