"""The stores that the journal's suite runs over."""

from support_stores import journal, shared_store, store

__all__ = ["journal", "shared_store", "store"]
