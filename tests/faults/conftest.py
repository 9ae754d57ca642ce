"""The stores that the journal's faults happen to."""

from support.stores import own_store, shared_store

__all__ = ["own_store", "shared_store"]
